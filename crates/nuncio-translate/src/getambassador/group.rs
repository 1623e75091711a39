//! Groups: Mappings with equal criteria share their requests.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use nuncio_api::getambassador::Mapping;
use nuncio_model::route::{
    Action, ErrorResponses, Forward, Mirror, Route, RouteMatch, RuntimeFraction,
};
use nuncio_model::{Origin, Reason};
use serde_json::{Value, json};

use super::Context;
use super::association::{given, selects};
use super::cluster::{Clusters, digest};
use super::envoy_admin;
use super::mapping::{self, Association, Criteria, Parsed, RouteTarget, Target};
use super::order::SortKey;
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
    /// In the order in which they are tried.
    pub(super) routes: Vec<Arc<Route>>,
    pub(super) members: Vec<Member>,
}

/// One Mapping of a group, as diagnostics show it.
pub(super) struct Member {
    pub(super) origin: Origin,
    pub(super) rkey: String,
    pub(super) service: String,
    pub(super) cluster: Option<Arc<str>>,
    /// Its share in percent.
    pub(super) weight: u32,
    pub(super) kind: MemberKind,
    pub(super) rewrite: String,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum MemberKind {
    Route,
    Shadow,
    Redirect,
}

/// Reads all Mappings and groups them, in the order in which groups are created.
pub(super) fn groups(context: &mut Context<'_>, clusters: &mut Clusters) -> Vec<Group> {
    let store = context.store;
    let mut building: Vec<Building<'_>> = Vec::new();
    let mut index: HashMap<String, usize> = HashMap::new();
    for object in store.mappings.by_rkey() {
        let Some(parsed) = mapping::parse(context, object) else {
            continue;
        };
        let key = group_key(context, &parsed);
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
fn group_key(context: &Context<'_>, parsed: &Parsed<'_>) -> String {
    let criteria = &parsed.criteria;
    let mut key = format!("{}\0{}", criteria.precedence, criteria.prefix);
    for criterion in criteria.headers.iter().chain(&criteria.query_parameters) {
        key.push('\0');
        key.push_str(&criterion.name);
        key.push('\x01');
        key.push_str(&criterion.value);
    }
    key.push_str(&format!("\0{}", criteria.headers.len()));
    let labels = &parsed.object.meta.labels;
    if !labels.is_empty() {
        for host in context.store.hosts.iter() {
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
                        "it shares the criteria of Mapping {}/{}: write the same value in both, \
                         or give it criteria of its own",
                        self.first.namespace(),
                        self.first.name()
                    ));
                return;
            }
        }
        // What it does not set itself is the group's.
        let spec = &parsed.object.spec;
        if spec.prefix_regex.is_none()
            && spec.prefix_exact.is_none()
            && let Ok(path) = mapping::path_match(&self.first.spec, &parsed.criteria.prefix)
        {
            parsed.path = path;
        }
        if spec.case_sensitive.is_none() {
            parsed.case_sensitive = self.first.spec.case_sensitive.unwrap_or(true);
        }
        self.put(parsed);
    }

    fn finish(mut self, context: &mut Context<'_>, clusters: &mut Clusters) -> Option<Group> {
        let shares = shares(context, &mut self.routes);
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
    put("labels", spec.labels.clone());
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
        cors: target.cors.clone(),
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

/// A member's part of a group's requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Share {
    /// Index of the member.
    member: usize,
    percent: u32,
    /// Its share and those before it: what Envoy draws one random number against.
    cumulative: u32,
}

/// Gives every member its share, and leaves out those whose weight does not fit.
fn shares(context: &mut Context<'_>, members: &mut Vec<Parsed<'_>>) -> Vec<Share> {
    // Emissary stops at the first weight that does not fit, so that all others get nothing. Here
    // that member alone is left out.
    let mut sum = 0i64;
    members.retain(|parsed| {
        let Some(weight) = parsed.weight else {
            return true;
        };
        let at = parsed.object.at("spec.weight");
        let name = parsed.object.name();
        let message = if weight > 100 {
            format!("Mapping {name} has invalid weight {weight}")
        } else if sum + weight > 100 {
            format!(
                "Total weight of mappings exceeds 100: {name} wants {weight}, and {sum} are \
                 taken by Mappings with the same criteria"
            )
        } else {
            sum += weight;
            return true;
        };
        context
            .report
            .error(&at, Reason::InvalidValue, message)
            .help("write shares in percent, together at most 100; this Mapping is left out");
        false
    });
    let weights: Vec<Option<u32>> = members
        .iter()
        .map(|parsed| parsed.weight.and_then(|weight| u32::try_from(weight).ok()))
        .collect();
    normalise(&weights)
}

/// Emissary's normalisation. A lone member has everything. Weighted ones come first, in order;
/// those without a weight share the rest evenly, rounded to even, the last taking what is left.
/// Without any of those the rest of the requests goes on to later routes.
fn normalise(weights: &[Option<u32>]) -> Vec<Share> {
    if weights.len() == 1 {
        return vec![Share {
            member: 0,
            percent: 100,
            cumulative: 100,
        }];
    }
    let mut shares = Vec::new();
    let mut cumulative = 0;
    let mut push = |member, cumulative: &mut u32, to: u32| {
        shares.push(Share {
            member,
            percent: to - *cumulative,
            cumulative: to,
        });
        *cumulative = to;
    };
    for (member, weight) in weights.iter().enumerate() {
        if let Some(weight) = weight {
            let to = cumulative + weight;
            push(member, &mut cumulative, to);
        }
    }
    let unweighted: Vec<usize> = (0..weights.len())
        .filter(|member| weights[*member].is_none())
        .collect();
    if let Some((last, others)) = unweighted.split_last() {
        let each = divide_to_even(100 - cumulative, unweighted.len());
        for member in others {
            let to = (cumulative + each).min(100);
            push(*member, &mut cumulative, to);
        }
        push(*last, &mut cumulative, 100);
    }
    shares
}

/// Rounded to the nearest, halves to even, as Python does.
fn divide_to_even(total: u32, parts: usize) -> u32 {
    let parts = u32::try_from(parts).unwrap_or(u32::MAX);
    let (quotient, remainder) = (total / parts, total % parts);
    match (remainder * 2).cmp(&parts) {
        std::cmp::Ordering::Less => quotient,
        std::cmp::Ordering::Greater => quotient + 1,
        std::cmp::Ordering::Equal => quotient + quotient % 2,
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn cumulative(weights: &[Option<u32>]) -> Vec<(usize, u32)> {
        normalise(weights)
            .iter()
            .map(|share| (share.member, share.cumulative))
            .collect()
    }

    #[test]
    fn the_examples() {
        assert_eq!(cumulative(&[Some(0)]), [(0, 100)]);
        assert_eq!(cumulative(&[Some(10), Some(20)]), [(0, 10), (1, 30)]);
        assert_eq!(cumulative(&[None, Some(10)]), [(1, 10), (0, 100)]);
        assert_eq!(
            cumulative(&[None, None, None]),
            [(0, 33), (1, 66), (2, 100)]
        );
        assert_eq!(cumulative(&[Some(100), None]), [(0, 100), (1, 100)]);
        // (100 - 25) / 6 = 12.5 is 12, rounded to even.
        assert_eq!(
            cumulative(&[Some(25), None, None, None, None, None, None])[1..4],
            [(1, 37), (2, 49), (3, 61)]
        );
    }

    proptest! {
        /// Envoy draws one number a request and takes the first route that it is below.
        #[test]
        fn each_member_gets_the_specified_share(
            weights in prop::collection::vec(prop::option::of(0u32..=60), 2..8)
        ) {
            let sum: u32 = weights.iter().flatten().sum();
            prop_assume!(sum <= 100);
            let shares = normalise(&weights);
            let mut drawn = vec![0u32; weights.len()];
            for number in 0..100 {
                if let Some(share) = shares.iter().find(|share| number < share.cumulative) {
                    drawn[share.member] += 1;
                }
            }
            let open = weights.iter().filter(|weight| weight.is_none()).count();
            for (member, weight) in weights.iter().enumerate() {
                if let Some(weight) = weight {
                    prop_assert_eq!(drawn[member], *weight);
                }
                prop_assert_eq!(
                    drawn[member],
                    shares.iter().find(|s| s.member == member).unwrap().percent
                );
            }
            let total: u32 = drawn.iter().sum();
            prop_assert_eq!(total, if open == 0 { sum } else { 100 });
            if open > 0 {
                let each = f64::from(100 - sum) / open as f64;
                let rounded = {
                    let floor = each.floor();
                    let fraction = each - floor;
                    let up = fraction > 0.5 || (fraction == 0.5 && floor % 2.0 == 1.0);
                    floor + f64::from(u8::from(up))
                } as u32;
                let unweighted: Vec<_> =
                    (0..weights.len()).filter(|m| weights[*m].is_none()).collect();
                let mut left = 100 - sum;
                for (i, member) in unweighted.iter().enumerate() {
                    let expected =
                        if i + 1 == unweighted.len() { left } else { rounded.min(left) };
                    prop_assert_eq!(drawn[*member], expected);
                    left -= expected;
                }
            }
        }
    }
}
