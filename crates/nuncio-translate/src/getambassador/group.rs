//! Groups: Mappings with equal criteria share their requests.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use nuncio_api::getambassador::Mapping;
use nuncio_model::route::{
    Action, ErrorResponses, Forward, Mirror, PathMatch, Route, RouteMatch, RuntimeFraction,
};
use nuncio_model::{Origin, Reason};
use serde_json::{Value, json};

use super::Context;
use super::association::{given, selects};
use super::cluster::{Clusters, digest};
use super::envoy_admin;
use super::made::MadeMapping;
use super::mapping::{self, Association, Criteria, Parsed, RouteTarget, Target};
use super::order::SortKey;
use super::share;
use crate::store::Object;

/// Mappings with equal criteria, as one place in the order of routes.
pub(super) struct Group {
    /// Emissary's identifier, which diagnostics show.
    pub(super) id: String,
    /// Emissary's name of the group: after its first Mapping.
    pub(super) name: String,
    pub(super) key: SortKey,
    pub(super) criteria: Criteria,
    pub(super) association: Association,
    /// Of all its members.
    pub(super) labels: BTreeMap<String, String>,
    /// Every Host takes it, whatever it selects.
    pub(super) built_in: bool,
    /// Nobody wrote it as a Mapping.
    pub(super) made: bool,
    /// In the order in which they are tried.
    pub(super) routes: Vec<Arc<Route>>,
    pub(super) members: Vec<Member>,
}

/// One Mapping of a group, as diagnostics show it.
pub(super) struct Member {
    pub(super) name: String,
    pub(super) origin: Origin,
    pub(super) rkey: String,
    pub(super) service: String,
    pub(super) cluster: Option<Arc<str>>,
    /// Its share in percent.
    pub(super) weight: u32,
    pub(super) kind: MemberKind,
    pub(super) rewrite: String,
}

/// What a Mapping is in its group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MemberKind {
    Route,
    /// It gets copies of requests.
    Shadow,
    Redirect,
}

/// Reads all Mappings and groups them, in the order in which groups are created.
pub(super) fn groups(context: &mut Context<'_>, clusters: &mut Clusters) -> Vec<Group> {
    let store = context.store;
    let mut building: Vec<Building<'_>> = Vec::new();
    let mut index: HashMap<String, usize> = HashMap::new();
    let made = context.made.mappings.iter();
    let made = made.map(|made| (&made.object, Some(made)));
    let written = store.mappings.by_rkey().into_iter();
    for (object, made) in written.map(|object| (&**object, None)).chain(made) {
        let Some(mut parsed) = mapping::parse(context, object) else {
            continue;
        };
        if let Some(made) = made {
            made.amend(&mut parsed);
        } else if context.settings.hints {
            hint(context, &parsed);
        }
        let key = group_key(context, &parsed, made);
        match index.get(&key) {
            Some(&at) => building[at].add(context, parsed),
            None => {
                index.insert(key, building.len());
                building.push(Building::new(parsed));
            }
        }
    }
    building
        .into_iter()
        .filter_map(|building| building.finish(context, clusters))
        .collect()
}

/// Says what is so common that it is worth saying only to who asks.
fn hint(context: &mut Context<'_>, parsed: &Parsed<'_>) {
    if let PathMatch::Prefix(prefix) = &parsed.path
        && prefix.as_str().ends_with(|c: char| c.is_alphanumeric())
    {
        context
            .report
            .notice(
                &parsed.object.at("spec.prefix"),
                Reason::Surprising,
                format!("it takes every path that begins so, such as {prefix}-other"),
            )
            .help(format!(
                "write {prefix}/ for what is below it alone; {prefix} itself then needs a Mapping \
                 with prefix_exact: true"
            ));
    }
}

/// The first route that has error responses of its own.
pub(super) fn own_error_responses(groups: &[Group]) -> Option<Origin> {
    let mut routes = groups.iter().flat_map(|group| &group.routes);
    let own = |route: &&Arc<Route>| {
        matches!(&route.action, Action::Forward(forward)
            if matches!(forward.error_responses, ErrorResponses::Own(_)))
    };
    routes.find(own).map(|route| route.origin.clone())
}

/// Equal for Mappings of one group: their criteria, and the Hosts that select them by label.
///
/// Emissary looks at the Hosts only for Mappings without a hostname; two Mappings with hostname
/// "*" and one prefix, meant for two Hosts, become one canary group there and neither works.
fn group_key(context: &Context<'_>, parsed: &Parsed<'_>, made: Option<&MadeMapping>) -> String {
    let criteria = &parsed.criteria;
    let mut key = format!("{}\0{}", criteria.precedence, criteria.prefix);
    for criterion in criteria.headers.iter().chain(&criteria.query_parameters) {
        key.push('\0');
        key.push_str(&criterion.name);
        key.push('\x01');
        key.push_str(&criterion.value);
    }
    key.push_str(&format!("\0{}", criteria.headers.len()));
    if made.is_some_and(|made| made.wildcard.is_some()) {
        // It matches one label only, unlike a Mapping's hostname that is written alike.
        key.push_str("\0label");
    }
    let labels = &parsed.object.meta.labels;
    if !labels.is_empty() {
        let written = context.store.hosts.iter().map(AsRef::as_ref);
        for host in written.chain(&context.made.hosts) {
            let spec = &host.spec;
            let selector =
                given(spec.mapping_selector.as_ref()).or_else(|| given(spec.selector.as_ref()));
            if selector.is_some_and(|selector| selects(selector, labels)) {
                key.push_str(&format!("\0{}/{}", host.namespace(), host.name()));
            }
        }
    }
    key
}

/// Emissary's identifier of a group: a hash of its criteria, one after the other.
fn group_id(criteria: &Criteria) -> String {
    let mut text = format!("HTTP-GET{}", criteria.prefix);
    for criterion in criteria.headers.iter().chain(&criteria.query_parameters) {
        text.push_str(&criterion.name);
        text.push_str(&criterion.value);
    }
    if criteria.precedence != 0 {
        text.push_str(&criteria.precedence.to_string());
    }
    digest(&text)
}

struct Building<'a> {
    routes: Vec<Parsed<'a>>,
    shadow: Option<Parsed<'a>>,
    redirect: Option<Parsed<'a>>,
    /// Fields in which all members must agree, as the first has them.
    core: BTreeMap<&'static str, Value>,
    first: &'a Object<Mapping>,
    criteria: Criteria,
    path: PathMatch,
    association: Association,
}

impl<'a> Building<'a> {
    fn new(parsed: Parsed<'a>) -> Self {
        let mut building = Self {
            routes: Vec::new(),
            shadow: None,
            redirect: None,
            core: core(&parsed),
            first: parsed.object,
            criteria: parsed.criteria.clone(),
            path: parsed.path.clone(),
            association: parsed.association.clone(),
        };
        building.put(parsed);
        building
    }

    fn put(&mut self, parsed: Parsed<'a>) {
        match parsed.target {
            Target::Route(_) => self.routes.push(parsed),
            Target::Shadow(_) => self.shadow = Some(parsed),
            Target::Redirect(_) => self.redirect = Some(parsed),
        }
    }

    /// Takes a Mapping in, or says why the group cannot.
    fn add(&mut self, context: &mut Context<'_>, mut parsed: Parsed<'a>) {
        let name = parsed.object.name();
        let earlier = |parsed: &Option<Parsed<'_>>| {
            parsed
                .as_ref()
                .map(|parsed| parsed.object.name().to_owned())
        };
        let shadow = earlier(&self.shadow);
        let redirect = earlier(&self.redirect);
        let route = self.routes.first().map(|parsed| parsed.object.name());
        let refusal = match (&parsed.target, shadow, redirect, route) {
            (Target::Shadow(_), Some(shadow), _, _) => Some(format!(
                "cannot accept {name} as second shadow after {shadow}"
            )),
            (Target::Redirect(_), _, Some(redirect), _) => Some(format!(
                "cannot accept {name} as second host_redirect after {redirect}"
            )),
            (Target::Redirect(_), _, None, Some(route)) => Some(format!(
                "cannot accept {name} with host_redirect after mappings without host_redirect \
                 (eg {route})"
            )),
            (Target::Route(_), _, Some(redirect), _) => Some(format!(
                "cannot accept {name} without host_redirect after {redirect} with host_redirect"
            )),
            _ => None,
        };
        if let Some(message) = refusal {
            context
                .report
                .error(&parsed.object.origin(), Reason::Conflict, message)
                .help("give it criteria of its own, or remove it");
            return;
        }
        for (field, value) in core(&parsed) {
            let of_group = self.core.get(field);
            if of_group != Some(&value) {
                let of_group = of_group.map_or("-unset-".to_owned(), Value::to_string);
                context
                    .report
                    .error(
                        &parsed.object.at(format!("spec.{field}")),
                        Reason::Conflict,
                        format!(
                            "cannot accept new mapping {name} with mismatched {field}: {value} != \
                             {of_group}"
                        ),
                    )
                    .help(format!(
                        "it shares the criteria of {}: write the same value in both, or give it \
                         criteria of its own",
                        self.first.id
                    ));
                return;
            }
        }
        // What it does not set itself is the group's.
        let spec = &parsed.object.spec;
        if spec.prefix_regex.is_none() && spec.prefix_exact.is_none() {
            parsed.path = self.path.clone();
        }
        if spec.case_sensitive.is_none() {
            parsed.case_sensitive = self.first.spec.case_sensitive.unwrap_or(true);
        }
        self.put(parsed);
    }

    fn finish(mut self, context: &mut Context<'_>, clusters: &mut Clusters) -> Option<Group> {
        let shares = share::shares(context, &mut self.routes, |parsed| {
            (parsed.weight, parsed.object.at("spec.weight"))
        });
        if let Some(last) = shares.last().filter(|last| last.cumulative < 100) {
            context
                .report
                .notice(
                    &self.routes[last.member].object.at("spec.weight"),
                    Reason::Surprising,
                    format!(
                        "the weights of Mappings with these criteria add up to {}: the rest of \
                         the requests goes on to later routes, or finds none",
                        last.cumulative
                    ),
                )
                .help("write weights that add up to 100, or leave one out: it has the rest");
        }
        let mut members = Vec::new();
        let mut routes = Vec::new();
        let mirrors: Vec<Mirror> = self
            .shadow
            .iter()
            .filter_map(|parsed| match &parsed.target {
                Target::Shadow(spec) => {
                    let percent = u32::try_from(parsed.weight.unwrap_or(100)).unwrap_or(100);
                    let cluster = clusters.name(spec);
                    let percent = percent.min(100);
                    let mut member = member(parsed, MemberKind::Shadow, percent);
                    member.cluster = Some(Arc::clone(&cluster));
                    members.push(member);
                    Some(Mirror { cluster, percent })
                }
                _ => None,
            })
            .collect();
        let mut labels = BTreeMap::new();
        for parsed in self.routes.iter().chain(&self.shadow).chain(&self.redirect) {
            labels.extend(parsed.object.meta.labels.clone());
        }
        for share in &shares {
            let parsed = &self.routes[share.member];
            let Target::Route(target) = &parsed.target else {
                continue;
            };
            let cluster = clusters.name(&target.cluster);
            let mut member = member(parsed, MemberKind::Route, share.percent);
            member.cluster = Some(Arc::clone(&cluster));
            members.push(member);
            let fraction = (share.cumulative < 100).then(|| RuntimeFraction {
                percent: share.cumulative,
                runtime_key: Some(format!("routing.traffic_shift.{cluster}").into()),
            });
            let action = Action::Forward(Box::new(forward(target, cluster, &mirrors)));
            let route = route(parsed, fraction, action);
            if target.cluster.is_envoy_admin() {
                routes.extend(envoy_admin::read_only(&route));
            } else {
                routes.push(route);
            }
        }
        if let Some(parsed) = &self.redirect
            && let Target::Redirect(redirect) = &parsed.target
        {
            members.push(member(parsed, MemberKind::Redirect, 100));
            routes.push(route(parsed, None, Action::Redirect(redirect.clone())));
        }
        if routes.is_empty() {
            if let Some(shadow) = &self.shadow {
                context
                    .report
                    .warning(
                        &shadow.object.origin(),
                        Reason::NoEffect,
                        "it shadows nothing: no other Mapping has the same criteria",
                    )
                    .help("give it the prefix, hostname and conditions of the Mapping to shadow");
            }
            return None;
        }
        Some(Group {
            id: group_id(&self.criteria),
            name: format!("GROUP: {}", self.first.name()),
            key: SortKey::new(&self.criteria),
            criteria: self.criteria,
            association: self.association,
            labels,
            built_in: false,
            made: self.first.part.is_some(),
            routes,
            members,
        })
    }
}

/// The fields that all members of a group must agree in, where they are set.
fn core(parsed: &Parsed<'_>) -> BTreeMap<&'static str, Value> {
    let spec = &parsed.object.spec;
    let mut core = BTreeMap::from([(
        "circuit_breakers",
        json!(spec.circuit_breakers.clone().unwrap_or_default()),
    )]);
    let regexes: Vec<bool> = parsed.criteria.headers.iter().map(|c| c.regex).collect();
    core.insert("headers", json!(regexes));
    let mut put = |name, value: Option<Value>| {
        if let Some(value) = value {
            core.insert(name, value);
        }
    };
    put("bypass_auth", spec.bypass_auth.map(Value::from));
    put(
        "connect_timeout_ms",
        spec.connect_timeout_ms.map(Value::from),
    );
    put(
        "cluster_idle_timeout_ms",
        spec.cluster_idle_timeout_ms.map(Value::from),
    );
    put(
        "cluster_max_connection_lifetime_ms",
        spec.cluster_max_connection_lifetime_ms.map(Value::from),
    );
    put("keepalive", spec.keepalive.as_ref().map(|k| json!(k)));
    put("labels", spec.labels.as_ref().map(|l| json!(l)));
    put(
        "load_balancer",
        spec.load_balancer.as_ref().map(|l| json!(l)),
    );
    put("prefix_regex", spec.prefix_regex.map(Value::from));
    put("prefix_exact", spec.prefix_exact.map(Value::from));
    core
}

fn member(parsed: &Parsed<'_>, kind: MemberKind, weight: u32) -> Member {
    Member {
        name: parsed.object.name().to_owned(),
        origin: parsed.object.origin(),
        rkey: parsed.object.rkey.clone(),
        service: parsed.object.spec.service.clone().unwrap_or_default(),
        cluster: None,
        weight,
        kind,
        rewrite: parsed
            .object
            .spec
            .rewrite
            .clone()
            .unwrap_or_else(|| "/".to_owned()),
    }
}

/// Header changes, CORS, retries, rewrites, upgrades and priority are each Mapping's own. In
/// Emissary those of the last member, by name, hit the whole group: adding a canary changed what
/// the stable version's requests looked like, which nobody can have meant.
fn route(parsed: &Parsed<'_>, fraction: Option<RuntimeFraction>, action: Action) -> Arc<Route> {
    Arc::new(Route {
        origin: parsed.object.origin(),
        matches: RouteMatch {
            path: parsed.path.clone(),
            case_sensitive: parsed.case_sensitive,
            headers: parsed.headers.clone(),
            query_parameters: parsed.query_parameters.clone(),
            fraction,
        },
        action,
        request_headers: parsed.request_headers.clone(),
        response_headers: parsed.response_headers.clone(),
        cors: parsed.cors.clone(),
    })
}

fn forward(target: &RouteTarget, cluster: Arc<str>, mirrors: &[Mirror]) -> Forward {
    Forward {
        cluster,
        timeout: target.timeout,
        idle_timeout: target.idle_timeout,
        path_rewrite: target.path_rewrite.clone(),
        host_rewrite: target.host_rewrite.clone(),
        retry: target.retry.clone(),
        mirrors: mirrors.to_vec(),
        upgrades: target.upgrades.clone(),
        priority: target.priority,
        hash_policy: target
            .cluster
            .load_balancing
            .as_ref()
            .and_then(|balancing| balancing.hash.clone()),
        error_responses: target.error_responses.clone(),
    }
}

/// The group of one of nuncio's own, such as the probes.
pub(super) fn built_in(
    context: &mut Context<'_>,
    clusters: &mut Clusters,
    parsed: Parsed<'_>,
) -> Option<Group> {
    let group = Building::new(parsed).finish(context, clusters)?;
    Some(Group {
        built_in: true,
        ..group
    })
}
