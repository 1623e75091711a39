//! Groups: Mappings with equal criteria share their requests.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Arc, OnceLock};

use nuncio_api::getambassador::Mapping;
use nuncio_model::route::{
    Action, ErrorResponses, Forward, Mirror, PathMatch, PathRewrite, Route, RouteMatch,
    RuntimeFraction,
};
use nuncio_model::value::Fraction;
use nuncio_model::{Origin, Reason};
use serde_json::{Value, json};

use super::Context;
use super::association::selects;
use super::cluster::{ClusterSpec, digest};
use super::clusters::Clusters;
use super::diagnostics::{HttpGroup, http_group};
use super::envoy_admin;
use super::kept::Selector;
use super::mapping::{Association, Criteria, Parsed, RouteTarget, Target};
use super::security::Variant;
use super::share::{self, Share};
use crate::fields::request::CONNECT;
use crate::store::Object;

/// Mappings with equal criteria, as one place in the order of routes.
pub(super) struct Group {
    /// Whom it is named after.
    first: Arc<Object<Mapping>>,
    pub(super) criteria: Arc<Criteria>,
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
    /// Equal for groups whose routes match the same.
    pub(super) shape: u64,
    /// The first route that has error responses of its own.
    own_error_responses: Option<Origin>,
    /// As diagnostics show it.
    info: OnceLock<Box<HttpGroup>>,
    /// See [`Group::variants`].
    variants: OnceLock<Box<Variants>>,
}

type Variants = [OnceLock<Vec<Arc<Route>>>; Variant::COUNT];

impl Group {
    /// The first of its Mappings.
    pub(super) fn name(&self) -> &str {
        self.first.name()
    }

    pub(super) fn info(&self) -> &HttpGroup {
        self.info.get_or_init(|| Box::new(http_group(self)))
    }

    /// The routes as requests meet them.
    pub(super) fn variants(&self, variant: Variant) -> &[Arc<Route>] {
        if self.routes.iter().all(|route| variant.leaves(route)) {
            return &self.routes;
        }
        let routes = || {
            self.routes
                .iter()
                .flat_map(|route| variant.of(route))
                .collect()
        };
        self.variants.get_or_init(Default::default)[variant.index()].get_or_init(routes)
    }
}

/// One Mapping of a group.
pub(super) struct Member {
    pub(super) object: Arc<Object<Mapping>>,
    pub(super) cluster: Option<Arc<str>>,
    /// Its share in percent.
    pub(super) weight: u32,
    pub(super) kind: MemberKind,
}

impl Member {
    pub(super) fn rewrite(&self) -> &str {
        self.object.spec.rewrite.as_deref().unwrap_or("/")
    }
}

/// What a Mapping is in its group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MemberKind {
    Route,
    /// It gets copies of requests.
    Shadow,
    Redirect,
}

/// Says what is so common that it is worth saying only to who asks.
pub(super) fn hint(context: &mut Context<'_>, parsed: &Parsed) {
    if context.settings.hints
        && let PathMatch::Prefix(prefix) = &parsed.path
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
pub(super) fn own_error_responses(groups: &[Arc<Group>]) -> Option<Origin> {
    let mut own = groups
        .iter()
        .filter_map(|group| group.own_error_responses.as_ref());
    own.next().cloned()
}

/// Equal for Mappings of one group: their criteria, and the Hosts that select them by label.
///
/// Emissary looks at the Hosts only for Mappings without a hostname; two Mappings with hostname
/// "*" and one prefix, meant for two Hosts, become one canary group there and neither works.
pub(super) fn key(
    selectors: &[Selector],
    criteria: &Criteria,
    labels: &BTreeMap<String, String>,
    label: bool,
) -> String {
    let mut key = format!("{}\0{}", criteria.precedence, criteria.prefix);
    for criterion in criteria.all() {
        key.push('\0');
        key.push_str(&criterion.name);
        key.push('\x01');
        key.push_str(&criterion.value);
    }
    key.push_str(&format!("\0{}", criteria.headers.len()));
    if label {
        // It matches one label only, unlike a Mapping's hostname that is written alike.
        key.push_str("\0label");
    }
    if !labels.is_empty() {
        let selectors = selectors.iter();
        for selector in selectors.filter(|selector| selects(&selector.labels, labels)) {
            key.push_str(&format!("\0{}", selector.host));
        }
    }
    key
}

/// Emissary's identifier of a group: a hash of its criteria, one after the other.
pub(super) fn group_id(criteria: &Criteria) -> String {
    let mut text = format!("HTTP-GET{}", criteria.prefix);
    for criterion in criteria.all() {
        text.push_str(&criterion.name);
        text.push_str(&criterion.value);
    }
    if criteria.precedence != 0 {
        text.push_str(&criteria.precedence.to_string());
    }
    digest(&text)
}

pub(super) struct Building {
    routes: Vec<Parsed>,
    shadow: Option<Parsed>,
    redirect: Option<Parsed>,
    first: Arc<Object<Mapping>>,
    criteria: Arc<Criteria>,
    path: PathMatch,
    association: Association,
}

impl Building {
    pub(super) fn new(parsed: Parsed) -> Self {
        let mut building = Self {
            routes: Vec::new(),
            shadow: None,
            redirect: None,
            first: Arc::clone(&parsed.object),
            criteria: Arc::clone(&parsed.criteria),
            path: parsed.path.clone(),
            association: parsed.association.clone(),
        };
        building.put(parsed);
        building
    }

    fn put(&mut self, parsed: Parsed) {
        match parsed.target {
            Target::Route(_) => self.routes.push(parsed),
            Target::Shadow(_) => self.shadow = Some(parsed),
            Target::Redirect(_) => self.redirect = Some(parsed),
        }
    }

    /// Takes a Mapping in, or says why the group cannot.
    pub(super) fn add(&mut self, context: &mut Context<'_>, mut parsed: Parsed) {
        let object = Arc::clone(&parsed.object);
        let name = object.name();
        let earlier = |parsed: &Option<Parsed>| {
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
        let of_first = core(&self.first.spec, &self.criteria);
        for (field, value) in core(&parsed.object.spec, &parsed.criteria) {
            let of_group = of_first.get(field);
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

    pub(super) fn plan(mut self, context: &mut Context<'_>) -> Plan {
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
        Plan {
            building: self,
            shares,
        }
    }
}

/// A group whose clusters have no names yet.
pub(super) struct Plan {
    building: Building,
    shares: Vec<Share>,
}

impl Plan {
    /// The clusters of its routes, in their order.
    pub(super) fn uses(&self) -> impl Iterator<Item = &Arc<ClusterSpec>> {
        let shadow = self.building.shadow.iter();
        let shares = self.shares.iter();
        let routes = shares.map(|share| &self.building.routes[share.member]);
        shadow
            .chain(routes)
            .filter_map(|parsed| match &parsed.target {
                Target::Shadow(spec) => Some(spec),
                Target::Route(target) => Some(&target.cluster),
                Target::Redirect(_) => None,
            })
    }

    /// Makes the group, with the names of its clusters.
    pub(super) fn finish(
        self,
        context: &mut Context<'_>,
        mut clusters: impl Iterator<Item = Arc<str>>,
    ) -> Option<Group> {
        let Self { building, shares } = self;
        let mut next_cluster = || clusters.next().expect("invariant: each use has a name");
        let mut members = Vec::new();
        let mut routes = Vec::new();
        let mirrors: Vec<Mirror> = building
            .shadow
            .iter()
            .filter_map(|parsed| match &parsed.target {
                Target::Shadow(_) => {
                    let percent = u32::try_from(parsed.weight.unwrap_or(100)).unwrap_or(100);
                    let cluster = next_cluster();
                    let percent = percent.min(100);
                    let mut member = member(parsed, MemberKind::Shadow, percent);
                    member.cluster = Some(Arc::clone(&cluster));
                    members.push(member);
                    Some(Mirror {
                        cluster,
                        share: Fraction::percent(percent),
                    })
                }
                _ => None,
            })
            .collect();
        let mut labels = BTreeMap::new();
        for parsed in building
            .routes
            .iter()
            .chain(&building.shadow)
            .chain(&building.redirect)
        {
            labels.extend(parsed.object.meta.labels.clone());
        }
        for share in &shares {
            let parsed = &building.routes[share.member];
            let Target::Route(target) = &parsed.target else {
                continue;
            };
            let cluster = next_cluster();
            let mut member = member(parsed, MemberKind::Route, share.percent);
            member.cluster = Some(Arc::clone(&cluster));
            members.push(member);
            let fraction = (share.cumulative < 100).then(|| RuntimeFraction {
                share: Fraction::percent(share.cumulative),
                runtime_key: Some(format!("routing.traffic_shift.{cluster}").into()),
            });
            let action = Action::Forward(Box::new(forward(target, cluster, &mirrors)));
            let route = route(parsed, fraction, action);
            if target.cluster.is_envoy_admin() {
                routes.extend(envoy_admin::read_only(&route));
                continue;
            }
            let connect = target.connect.then(|| connect(&route));
            routes.push(route);
            routes.extend(connect);
        }
        if let Some(parsed) = &building.redirect
            && let Target::Redirect(redirect) = &parsed.target
        {
            members.push(member(parsed, MemberKind::Redirect, 100));
            routes.push(route(parsed, None, Action::Redirect(redirect.clone())));
        }
        if routes.is_empty() {
            if let Some(shadow) = &building.shadow {
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
        let own = |route: &&Arc<Route>| {
            matches!(&route.action, Action::Forward(forward)
                if matches!(forward.error_responses, ErrorResponses::Own(_)))
        };
        let own_error_responses = routes.iter().find(own).map(|route| route.origin.clone());
        Some(Group {
            shape: shape(&routes),
            own_error_responses,
            info: OnceLock::new(),
            variants: OnceLock::new(),
            criteria: building.criteria,
            association: building.association,
            labels,
            built_in: false,
            made: building.first.part.is_some(),
            first: building.first,
            routes,
            members,
        })
    }
}

/// A hash of what routes match.
fn shape(routes: &[Arc<Route>]) -> u64 {
    let mut hasher = DefaultHasher::new();
    for route in routes {
        route.matches.hash(&mut hasher);
    }
    hasher.finish()
}

/// The fields that all members of a group must agree in, where they are set.
fn core(spec: &Mapping, criteria: &Criteria) -> BTreeMap<&'static str, Value> {
    let mut core = BTreeMap::from([(
        "circuit_breakers",
        json!(spec.circuit_breakers.clone().unwrap_or_default()),
    )]);
    let regexes: Vec<bool> = criteria.headers.iter().map(|c| c.regex).collect();
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

fn member(parsed: &Parsed, kind: MemberKind, weight: u32) -> Member {
    Member {
        object: Arc::clone(&parsed.object),
        cluster: None,
        weight,
        kind,
    }
}

/// Header changes, CORS, retries, rewrites, upgrades and priority are each Mapping's own. In
/// Emissary those of the last member, by name, hit the whole group: adding a canary changed what
/// the stable version's requests looked like, which nobody can have meant.
fn route(parsed: &Parsed, fraction: Option<RuntimeFraction>, action: Action) -> Arc<Route> {
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
        authorization: None,
    })
}

/// The route of CONNECT requests beside that of all others.
fn connect(route: &Route) -> Arc<Route> {
    let mut connect = route.clone();
    connect.matches.path = PathMatch::Connect;
    connect.matches.case_sensitive = true;
    if let Action::Forward(forward) = &mut connect.action {
        forward.path_rewrite = PathRewrite::None;
        forward.upgrades = vec![CONNECT.into()];
    }
    Arc::new(connect)
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
        session: None,
        error_responses: target.error_responses.clone(),
        checks: target.checks.clone(),
    }
}

/// The group of one of nuncio's own, such as the probes.
pub(super) fn built_in(
    context: &mut Context<'_>,
    clusters: &mut Clusters,
    parsed: Parsed,
) -> Option<Group> {
    let plan = Building::new(parsed).plan(context);
    let names: Vec<_> = plan.uses().map(|spec| clusters.name_later(spec)).collect();
    let group = plan.finish(context, names.into_iter())?;
    Some(Group {
        built_in: true,
        ..group
    })
}
