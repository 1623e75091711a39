//! Groups: Mappings with equal criteria share their requests.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Arc, OnceLock};

use nuncio_api::getambassador::Mapping;
use nuncio_model::route::{
    Action, ErrorResponses, Forward, Mirror, PathMatch, Route, RouteMatch, RuntimeFraction,
};
use nuncio_model::{Origin, Reason};
use serde_json::{Value, json};

use super::Context;
use super::association::selects;
use super::cluster::{ClusterSpec, digest};
use super::clusters::{Clusters, User};
use super::diagnostics::{HttpGroup, http_group};
use super::envoy_admin;
use super::kept::{Effects, MappingKey, Selector, apart};
use super::mapping::{Association, Criteria, Parsed, RouteTarget, Target};
use super::order::{Created, Place};
use super::security::Variant;
use super::share::{self, Share};
use crate::store::Object;

/// Mappings with equal criteria, as one place in the order of routes.
pub(super) struct Group {
    /// Emissary's identifier, which diagnostics show.
    pub(super) id: String,
    /// Emissary's name of the group: after its first Mapping.
    pub(super) name: String,
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
    /// Equal for groups whose routes match the same.
    pub(super) shape: u64,
    /// The first route that has error responses of its own.
    own_error_responses: Option<Origin>,
    /// As diagnostics show it.
    info: OnceLock<Arc<HttpGroup>>,
    /// See [`Group::variants`].
    variants: [OnceLock<Vec<Arc<Route>>>; Variant::COUNT],
}

impl Group {
    pub(super) fn info(&self) -> Arc<HttpGroup> {
        Arc::clone(self.info.get_or_init(|| Arc::new(http_group(self))))
    }

    /// The routes as requests meet them.
    pub(super) fn variants(&self, variant: Variant) -> &[Arc<Route>] {
        let routes = || {
            self.routes
                .iter()
                .flat_map(|route| variant.of(route))
                .collect()
        };
        self.variants[variant.index()].get_or_init(routes)
    }
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

/// All groups that Mappings are in.
#[derive(Default)]
pub(super) struct Groups {
    by_key: HashMap<Arc<str>, KeptGroup>,
    dirty: BTreeSet<Arc<str>>,
    /// Keys of groups by their first Mapping.
    by_first: HashMap<Arc<MappingKey>, Arc<str>>,
    /// In the order in which their routes are tried.
    in_order: BTreeMap<Place, Arc<Group>>,
    effects: BTreeMap<Arc<str>, Effects>,
}

#[derive(Default)]
struct KeptGroup {
    members: BTreeMap<Arc<MappingKey>, Arc<Parsed>>,
    first: Option<Arc<MappingKey>>,
    uses: Vec<(User, Arc<ClusterSpec>)>,
    place: Option<Place>,
}

impl Groups {
    pub(super) fn add(&mut self, group: &Arc<str>, key: &Arc<MappingKey>, parsed: &Arc<Parsed>) {
        let members = &mut self.by_key.entry(Arc::clone(group)).or_default().members;
        members.insert(Arc::clone(key), Arc::clone(parsed));
        self.dirty.insert(Arc::clone(group));
    }

    pub(super) fn remove(&mut self, group: &Arc<str>, key: &Arc<MappingKey>) {
        if let Some(kept) = self.by_key.get_mut(group) {
            kept.members.remove(key);
            self.dirty.insert(Arc::clone(group));
        }
    }

    /// Makes the groups again whose Mappings are others now.
    pub(super) fn update(&mut self, context: &mut Context<'_>, clusters: &mut Clusters) {
        let dirty = std::mem::take(&mut self.dirty);
        for key in &dirty {
            self.take_out(clusters, key);
        }
        let mut plans = BTreeMap::new();
        for key in dirty {
            plans.extend(self.plan(context, clusters, key));
        }
        for user in clusters.rename() {
            if let User::Group(first, _) = user
                && let Some(key) = self.by_first.get(&first).cloned()
                && !plans.contains_key(&key)
            {
                self.take_out(clusters, &key);
                plans.extend(self.plan(context, clusters, key));
            }
        }
        // Those were taken off their clusters and put on again.
        clusters.rename();
        for (key, (plan, mut effects)) in plans {
            let Some(kept) = self.by_key.get_mut(&key) else {
                continue;
            };
            let uses = kept.uses.iter();
            let names = uses.map(|(user, spec)| clusters.name(user, spec));
            let (group, more, _) = apart(context, |context| plan.finish(context, names));
            let more = more.report.entries().iter().cloned();
            effects.report.extend(more);
            effects.keep(&mut self.effects, &key);
            if let Some(group) = group
                && let Some(first) = &kept.first
            {
                let created = Created::Mapping(Arc::clone(first));
                let place = Place::new(&group.criteria, created);
                kept.place = Some(place.clone());
                self.in_order.insert(place, Arc::new(group));
            }
        }
    }

    /// Takes a group out of the order, and off the clusters that it used.
    fn take_out(&mut self, clusters: &mut Clusters, key: &Arc<str>) {
        let Some(kept) = self.by_key.get_mut(key) else {
            return;
        };
        if let Some(place) = kept.place.take() {
            self.in_order.remove(&place);
        }
        if let Some(first) = kept.first.take() {
            self.by_first.remove(&first);
        }
        for (user, spec) in std::mem::take(&mut kept.uses) {
            clusters.remove(&user, &spec);
        }
        self.effects.remove(key);
        if kept.members.is_empty() {
            self.by_key.remove(key);
        }
    }

    /// Puts a group together as far as can be without the names of its clusters, and uses those.
    fn plan(
        &mut self,
        context: &mut Context<'_>,
        clusters: &mut Clusters,
        key: Arc<str>,
    ) -> Option<(Arc<str>, (Plan, Effects))> {
        let kept = self.by_key.get_mut(&key)?;
        let (first, parsed) = kept.members.first_key_value()?;
        let (plan, effects, _) = apart(context, |context| {
            let mut building = Building::new(Parsed::clone(parsed));
            for parsed in kept.members.values().skip(1) {
                building.add(context, Parsed::clone(parsed));
            }
            building.plan(context)
        });
        let user = |at| User::Group(Arc::clone(first), at);
        let uses = plan.uses().enumerate();
        let uses: Vec<_> = uses
            .map(|(at, spec)| (user(at), Arc::clone(spec)))
            .collect();
        for (user, spec) in &uses {
            clusters.add(user, spec);
        }
        self.by_first.insert(Arc::clone(first), Arc::clone(&key));
        kept.first = Some(Arc::clone(first));
        kept.uses = uses;
        Some((key, (plan, effects)))
    }

    pub(super) fn in_order(&self) -> impl Iterator<Item = (&Place, &Arc<Group>)> {
        self.in_order.iter()
    }

    pub(super) fn effects(&self) -> impl Iterator<Item = &Effects> {
        self.effects.values()
    }
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
pub(super) fn key(selectors: &[Selector], parsed: &Parsed, label: bool) -> String {
    let criteria = &parsed.criteria;
    let mut key = format!("{}\0{}", criteria.precedence, criteria.prefix);
    for criterion in criteria.headers.iter().chain(&criteria.query_parameters) {
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
    let labels = &parsed.object.meta.labels;
    if !labels.is_empty() {
        let selectors = selectors.iter();
        for selector in selectors.filter(|selector| selects(&selector.labels, labels)) {
            key.push_str(&format!("\0{}", selector.host));
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

struct Building {
    routes: Vec<Parsed>,
    shadow: Option<Parsed>,
    redirect: Option<Parsed>,
    /// Fields in which all members must agree, as the first has them.
    core: BTreeMap<&'static str, Value>,
    first: Arc<Object<Mapping>>,
    criteria: Criteria,
    path: PathMatch,
    association: Association,
}

impl Building {
    fn new(parsed: Parsed) -> Self {
        let mut building = Self {
            routes: Vec::new(),
            shadow: None,
            redirect: None,
            core: core(&parsed),
            first: Arc::clone(&parsed.object),
            criteria: parsed.criteria.clone(),
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
    fn add(&mut self, context: &mut Context<'_>, mut parsed: Parsed) {
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

    fn plan(mut self, context: &mut Context<'_>) -> Plan {
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
struct Plan {
    building: Building,
    shares: Vec<Share>,
}

impl Plan {
    /// The clusters of its routes, in their order.
    fn uses(&self) -> impl Iterator<Item = &Arc<ClusterSpec>> {
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
    fn finish(
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
                    Some(Mirror { cluster, percent })
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
            variants: Default::default(),
            id: group_id(&building.criteria),
            name: format!("GROUP: {}", building.first.name()),
            criteria: building.criteria,
            association: building.association,
            labels,
            built_in: false,
            made: building.first.part.is_some(),
            routes,
            members,
        })
    }
}

/// A hash of what routes match.
fn shape(routes: &[Arc<Route>]) -> u64 {
    let mut hasher = DefaultHasher::new();
    for route in routes {
        // The values of a match have no hash of their own.
        format!("{:?}", route.matches).hash(&mut hasher);
    }
    hasher.finish()
}

/// The fields that all members of a group must agree in, where they are set.
fn core(parsed: &Parsed) -> BTreeMap<&'static str, Value> {
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

fn member(parsed: &Parsed, kind: MemberKind, weight: u32) -> Member {
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
