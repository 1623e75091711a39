//! Which listeners each route attaches to, and for which hostnames.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use nuncio_api::ObjectMeta;
use nuncio_api::gateway_api::{GROUP, GrpcRoute, HttpRoute, ParentReference, StreamRoute};
use nuncio_model::{Origin, Reason, ResourceId};

use super::class::{Age, age};
use super::hostname::Hostname;
use super::listener::{Gateway, Listener, is_gateway};
use super::{Context, Fault};
use crate::store::{Object, Table};

/// A route of any kind that refers to a Gateway of nuncio's.
#[derive(Debug)]
pub(super) struct Route<'s> {
    pub(super) id: &'s Arc<ResourceId>,
    pub(super) meta: &'s ObjectMeta,
    pub(super) age: Arc<Age>,
    pub(super) spec: Spec<'s>,
    pub(super) parents: Vec<Parent<'s>>,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Spec<'s> {
    Http(&'s HttpRoute),
    Grpc(&'s GrpcRoute),
    /// A TLSRoute, a TCPRoute or a UDPRoute.
    Stream(&'s StreamRoute),
}

/// A parent of a route that is nuncio's.
#[derive(Debug)]
pub(super) struct Parent<'s> {
    pub(super) reference: &'s ParentReference,
    pub(super) gateway: usize,
    /// The listeners that it attaches to.
    pub(super) attached: Vec<Attachment>,
    pub(super) refused: Option<Fault>,
}

#[derive(Clone, Debug)]
pub(super) struct Attachment {
    pub(super) listener: ListenerKey,
    /// What route and listener have in common.
    pub(super) hostnames: Vec<Hostname>,
}

/// A listener of a Gateway: its own, or one of a ListenerSet of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct ListenerKey {
    pub(super) gateway: usize,
    pub(super) set: Option<usize>,
    pub(super) index: usize,
}

impl ListenerKey {
    pub(super) fn of<'g, 's>(self, gateways: &'g [Gateway<'s>]) -> &'g Listener<'s> {
        let gateway = &gateways[self.gateway];
        match self.set {
            None => &gateway.listeners[self.index],
            Some(set) => &gateway.sets[set].listeners[self.index],
        }
    }
}

impl Route<'_> {
    pub(super) fn kind(&self) -> &str {
        &self.id.kind
    }

    pub(super) fn origin(&self) -> Origin {
        Origin::new(Arc::clone(self.id))
    }

    pub(super) fn at(&self, field: impl Into<Arc<str>>) -> Origin {
        self.origin().field(field)
    }

    /// The Services that requests are sent to.
    pub(super) fn services(&self) -> Vec<(&str, &str)> {
        let own = self.meta.namespace.as_str();
        match self.spec {
            Spec::Http(spec) => {
                let rules = spec.rules.iter().flatten();
                let backends = rules.flat_map(|rule| &rule.backend_refs);
                backends
                    .map(|each| (each.namespace.as_deref().unwrap_or(own), each.name.as_str()))
                    .collect()
            }
            Spec::Grpc(spec) => {
                let backends = spec.rules.iter().flat_map(|rule| &rule.backend_refs);
                backends
                    .map(|each| (each.namespace.as_deref().unwrap_or(own), each.name.as_str()))
                    .collect()
            }
            Spec::Stream(spec) => {
                let backends = spec.rules.iter().flat_map(|rule| &rule.backend_refs);
                backends
                    .map(|each| (each.namespace.as_deref().unwrap_or(own), each.name.as_str()))
                    .collect()
            }
        }
    }

    fn hostnames(&self) -> &[String] {
        match self.spec {
            Spec::Http(spec) => &spec.hostnames,
            Spec::Grpc(spec) => &spec.hostnames,
            Spec::Stream(spec) => &spec.hostnames,
        }
    }
}

/// The hostnames of each listener's HTTPRoutes and of its GRPCRoutes.
#[derive(Default)]
struct Claims(HashMap<ListenerKey, [BTreeSet<Hostname>; 2]>);

impl Claims {
    /// Where the hostnames of a kind are; streams have their listeners for themselves.
    fn place(route: &Route<'_>) -> Option<usize> {
        match route.spec {
            Spec::Http(_) => Some(0),
            Spec::Grpc(_) => Some(1),
            Spec::Stream(_) => None,
        }
    }

    /// Whether the older routes of a listener are of the other kind for one of these hostnames.
    fn are_against(
        &self,
        route: &Route<'_>,
        listener: ListenerKey,
        hostnames: &[Hostname],
    ) -> bool {
        let (Some(place), Some(claimed)) = (Self::place(route), self.0.get(&listener)) else {
            return false;
        };
        let mut others = claimed[1 - place].iter();
        others.any(|other| {
            hostnames
                .iter()
                .any(|own| own.intersection(other).is_some())
        })
    }

    fn add(&mut self, route: &Route<'_>) {
        let Some(place) = Self::place(route) else {
            return;
        };
        for attachment in route.parents.iter().flat_map(|parent| &parent.attached) {
            let claimed = self.0.entry(attachment.listener).or_default();
            claimed[place].extend(attachment.hostnames.iter().cloned());
        }
    }
}

/// What a route's parents are found among.
struct Parents<'s> {
    gateways: HashMap<(&'s str, &'s str), usize>,
    sets: HashMap<(&'s str, &'s str), (usize, usize)>,
}

/// Attaches all routes, the oldest first.
pub(super) fn attach<'s>(
    context: &mut Context<'s>,
    gateways: &mut [Gateway<'s>],
) -> Vec<Route<'s>> {
    let mut parents = Parents {
        gateways: HashMap::new(),
        sets: HashMap::new(),
    };
    for (index, gateway) in gateways.iter().enumerate() {
        let object = gateway.object;
        parents
            .gateways
            .insert((object.namespace(), object.name()), index);
        for (of, set) in gateway.sets.iter().enumerate() {
            let name = (set.object.namespace(), set.object.name());
            parents.sets.insert(name, (index, of));
        }
    }
    let store = context.store;
    let http = store.http_routes.iter().map(|object| {
        let spec = &object.spec;
        route(object, Spec::Http(spec), &spec.parent_refs)
    });
    let grpc = store.grpc_routes.iter().map(|object| {
        let spec = &object.spec;
        route(object, Spec::Grpc(spec), &spec.parent_refs)
    });
    let streams = [&store.tls_routes, &store.tcp_routes, &store.udp_routes];
    let streams = streams.into_iter().flat_map(Table::iter);
    let streams = streams.map(|object| {
        let spec = &object.spec;
        route(object, Spec::Stream(spec), &spec.parent_refs)
    });
    let mut all: Vec<_> = http.chain(grpc).chain(streams).collect();
    all.sort_by(|(one, _), (other, _)| (&one.age, one.kind()).cmp(&(&other.age, other.kind())));
    let mut routes = Vec::new();
    let mut claims = Claims::default();
    for (mut route, references) in all {
        let hostnames = hostnames(context, &route);
        for (index, reference) in references.iter().enumerate() {
            let Some((gateway, set)) = parents.find(route.meta, reference) else {
                continue;
            };
            let at = route.at(format!("spec.parentRefs[{index}]"));
            let parent = Parent {
                reference,
                gateway,
                attached: Vec::new(),
                refused: None,
            };
            let around = Around {
                gateway: &gateways[gateway],
                set,
                claims: &claims,
            };
            let parent = parent.attach(context, &route, &at, &hostnames, &around);
            route.parents.push(parent);
        }
        claims.add(&route);
        if route.parents.is_empty() {
            continue;
        }
        // One that names a listener twice is one route of it.
        let attached = route.parents.iter().flat_map(|parent| &parent.attached);
        let listeners: BTreeSet<ListenerKey> = attached.map(|each| each.listener).collect();
        for key in listeners {
            let gateway = &mut gateways[key.gateway];
            let listener = match key.set {
                None => &mut gateway.listeners[key.index],
                Some(set) => &mut gateway.sets[set].listeners[key.index],
            };
            listener.attached += 1;
        }
        routes.push(route);
    }
    routes
}

fn route<'s, T>(
    object: &'s Arc<Object<T>>,
    spec: Spec<'s>,
    references: &'s [ParentReference],
) -> (Route<'s>, &'s [ParentReference]) {
    let route = Route {
        id: &object.id,
        meta: &object.meta,
        age: Arc::new(age(object)),
        spec,
        parents: Vec::new(),
    };
    (route, references)
}

impl Parents<'_> {
    /// The Gateway that a reference is to, and the ListenerSet of it.
    fn find(
        &self,
        meta: &ObjectMeta,
        reference: &ParentReference,
    ) -> Option<(usize, Option<usize>)> {
        let namespace = reference.namespace.as_deref().unwrap_or(&meta.namespace);
        let name = (namespace, reference.name.as_str());
        let (group, kind) = (reference.group.as_deref(), reference.kind.as_deref());
        if is_gateway(group, kind) {
            return self.gateways.get(&name).map(|gateway| (*gateway, None));
        }
        if group.unwrap_or(GROUP) == GROUP && kind == Some("ListenerSet") {
            return self
                .sets
                .get(&name)
                .map(|(gateway, set)| (*gateway, Some(*set)));
        }
        None
    }
}

/// `None` is every one. One that is wrong costs itself.
fn hostnames(context: &mut Context<'_>, route: &Route<'_>) -> Option<Vec<Hostname>> {
    let hostnames = route.hostnames();
    if hostnames.is_empty() {
        return None;
    }
    let mut read = Vec::new();
    for (index, hostname) in hostnames.iter().enumerate() {
        match Hostname::parse(hostname) {
            Ok(hostname) => read.push(hostname),
            Err(what) => {
                let at = route.at(format!("spec.hostnames[{index}]"));
                context.invalid(&at, "UnsupportedValue", what);
            }
        }
    }
    Some(read)
}

/// What a route attaches to.
#[derive(Clone, Copy)]
struct Around<'a, 's> {
    gateway: &'a Gateway<'s>,
    set: Option<usize>,
    claims: &'a Claims,
}

impl Parent<'_> {
    fn attach(
        mut self,
        context: &mut Context<'_>,
        route: &Route<'_>,
        at: &Origin,
        hostnames: &Option<Vec<Hostname>>,
        around: &Around<'_, '_>,
    ) -> Self {
        let Around {
            gateway,
            set,
            claims,
        } = *around;
        let listeners = match set {
            None => &gateway.listeners,
            Some(set) => &gateway.sets[set].listeners,
        };
        let refused =
            gateway.refused.is_some() || set.is_some_and(|set| gateway.sets[set].refused.is_some());
        let reference = self.reference;
        let named = |listener: &Listener<'_>| {
            let section = reference
                .section_name
                .as_deref()
                .filter(|name| !name.is_empty());
            section.is_none_or(|section| section == listener.spec.name)
                && reference.port.is_none_or(|port| port == listener.spec.port)
        };
        let mut reason = "NoMatchingParent";
        for (index, listener) in listeners.iter().enumerate() {
            if refused || !named(listener) {
                continue;
            }
            if !listener.is_accepted() {
                continue;
            }
            if !listener.allows(context.store, route.kind(), &route.meta.namespace) {
                reason = match reason {
                    "NoMatchingParent" => "NotAllowedByListeners",
                    reason => reason,
                };
                continue;
            }
            let own = std::slice::from_ref(&listener.hostname);
            let common: Vec<Hostname> = match hostnames {
                None => own.to_vec(),
                Some(hostnames) => {
                    let common = hostnames.iter();
                    let common = common.filter_map(|each| each.intersection(&listener.hostname));
                    common.cloned().collect()
                }
            };
            if common.is_empty() {
                reason = "NoMatchingListenerHostname";
                continue;
            }
            let key = ListenerKey {
                gateway: self.gateway,
                set,
                index,
            };
            // "The implementation MUST accept exactly one of these two routes": the older.
            if claims.are_against(route, key, &common) {
                reason = "HostnameConflict";
                continue;
            }
            self.attached.push(Attachment {
                listener: key,
                hostnames: common,
            });
        }
        if self.attached.is_empty() {
            let (message, help) = match reason {
                "NotAllowedByListeners" => (
                    format!(
                        "no listener of it takes routes of kind {} from namespace {}",
                        route.kind(),
                        route.meta.namespace
                    ),
                    "write allowedRoutes into the listener, or name another",
                ),
                "NoMatchingListenerHostname" => (
                    "no listener of it has one of the hostnames".to_owned(),
                    "write hostnames that a listener has, or none",
                ),
                "HostnameConflict" => (
                    "an older route has the same hostnames: of HTTPRoutes and GRPCRoutes a hostname is \
                     one kind's"
                        .to_owned(),
                    "write other hostnames, or the matches of one into the other",
                ),
                _ => (
                    "it has no such listener in effect".to_owned(),
                    "write sectionName and port as a listener of it has them, or leave them out",
                ),
            };
            self.refused = Some(context.fault(at, Reason::NotBound, reason, message, help));
        }
        self
    }
}
