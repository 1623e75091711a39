//! Which listeners each route attaches to, and for which hostnames.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use nuncio_api::ObjectMeta;
use nuncio_api::gateway_api::{GROUP, GrpcRoute, HttpRoute, ParentReference, StreamRoute};
use nuncio_model::{Origin, Reason, ResourceId};

use super::class::{Age, age};
use super::hostname::Hostname;
use super::listener::{Gateway, Listener, is_gateway};
use super::{Context, Fault};
use crate::store::{Object, Store};

/// A route of any kind.
#[derive(Debug)]
pub(super) struct Route<'s> {
    pub(super) id: &'s Arc<ResourceId>,
    pub(super) meta: &'s ObjectMeta,
    pub(super) age: Arc<Age>,
    pub(super) spec: Spec<'s>,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Spec<'s> {
    Http(&'s HttpRoute),
    Grpc(&'s GrpcRoute),
    /// A TLSRoute, a TCPRoute or a UDPRoute.
    Stream(&'s StreamRoute),
}

/// Names a route. The oldest comes first: that is the order in which routes count.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct RouteKey {
    age: Arc<Age>,
    id: Arc<ResourceId>,
}

/// A parent of a route that is nuncio's.
#[derive(Debug)]
pub(super) struct Parent {
    /// Its place among all that the route has.
    index: usize,
    pub(super) reference: ParentReference,
    pub(super) gateway: usize,
    /// Those of its listeners that are in effect and that the reference names.
    answers: Vec<(ListenerKey, Answer)>,
}

/// What a listener says to a route.
#[derive(Debug)]
enum Answer {
    NotAllowed,
    NoHostname,
    /// For the hostnames that both have in common.
    Takes(Vec<Hostname>),
}

/// A listener of a Gateway: its own, or one of a ListenerSet of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct ListenerKey {
    pub(super) gateway: usize,
    pub(super) set: Option<usize>,
    pub(super) index: usize,
}

impl ListenerKey {
    pub(super) fn of(self, gateways: &[Gateway]) -> &Listener {
        let gateway = &gateways[self.gateway];
        match self.set {
            None => &gateway.listeners[self.index],
            Some(set) => &gateway.sets[set].listeners[self.index],
        }
    }
}

impl<'s> Route<'s> {
    /// The route of this kind and name.
    pub(super) fn find(store: &'s Store, kind: &str, namespace: &str, name: &str) -> Option<Self> {
        let streams = match kind {
            "HTTPRoute" => {
                let object = store.http_routes.get(namespace, name)?;
                return Some(Self::new(object, Spec::Http(&object.spec)));
            }
            "GRPCRoute" => {
                let object = store.grpc_routes.get(namespace, name)?;
                return Some(Self::new(object, Spec::Grpc(&object.spec)));
            }
            "TLSRoute" => &store.tls_routes,
            "TCPRoute" => &store.tcp_routes,
            _ => &store.udp_routes,
        };
        let object = streams.get(namespace, name)?;
        Some(Self::new(object, Spec::Stream(&object.spec)))
    }

    fn new<T>(object: &'s Arc<Object<T>>, spec: Spec<'s>) -> Self {
        Self {
            id: &object.id,
            meta: &object.meta,
            age: Arc::new(age(object)),
            spec,
        }
    }

    pub(super) fn key(&self) -> RouteKey {
        RouteKey {
            age: Arc::clone(&self.age),
            id: Arc::clone(self.id),
        }
    }

    pub(super) fn kind(&self) -> &str {
        &self.id.kind
    }

    pub(super) fn origin(&self) -> Origin {
        Origin::new(Arc::clone(self.id))
    }

    pub(super) fn at(&self, field: impl Into<Arc<str>>) -> Origin {
        self.origin().field(field)
    }

    /// The Services that requests are sent to, and those that are asked about them.
    pub(super) fn services(&self) -> Vec<(&str, &str)> {
        let own = self.meta.namespace.as_str();
        match self.spec {
            Spec::Http(spec) => {
                let rules = || spec.rules.iter().flatten();
                let backends = rules().flat_map(|rule| &rule.backend_refs);
                let backends = backends.map(|each| (&each.namespace, &each.name));
                let asked = rules().flat_map(|rule| &rule.filters);
                let asked = asked.filter_map(|filter| filter.external_auth.as_ref());
                let asked =
                    asked.map(|asked| (&asked.backend_ref.namespace, &asked.backend_ref.name));
                let all = backends.chain(asked);
                all.map(|(namespace, name)| (namespace.as_deref().unwrap_or(own), name.as_str()))
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

    fn parent_refs(&self) -> &'s [ParentReference] {
        match self.spec {
            Spec::Http(spec) => &spec.parent_refs,
            Spec::Grpc(spec) => &spec.parent_refs,
            Spec::Stream(spec) => &spec.parent_refs,
        }
    }
}

impl RouteKey {
    pub(super) fn id(&self) -> &Arc<ResourceId> {
        &self.id
    }

    pub(super) fn find<'s>(&self, store: &'s Store) -> Option<Route<'s>> {
        Route::find(store, &self.id.kind, &self.id.namespace, &self.id.name)
    }

    fn is_grpc(&self) -> bool {
        &*self.id.kind == "GRPCRoute"
    }
}

/// What a route's parents are found among.
pub(super) struct Parents<'g> {
    gateways: HashMap<(&'g str, &'g str), usize>,
    sets: HashMap<(&'g str, &'g str), (usize, usize)>,
}

impl<'g> Parents<'g> {
    pub(super) fn of(all: &'g [Gateway]) -> Self {
        let mut parents = Self {
            gateways: HashMap::new(),
            sets: HashMap::new(),
        };
        for (index, gateway) in all.iter().enumerate() {
            let object = &gateway.object;
            parents
                .gateways
                .insert((object.namespace(), object.name()), index);
            for (of, set) in gateway.sets.iter().enumerate() {
                let name = (set.object.namespace(), set.object.name());
                parents.sets.insert(name, (index, of));
            }
        }
        parents
    }

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

/// The parents of a route that are nuncio's, with what their listeners say to it.
pub(super) fn parents(
    context: &mut Context<'_>,
    route: &Route<'_>,
    gateways: &[Gateway],
    parents: &Parents<'_>,
) -> Vec<Parent> {
    let references = route.parent_refs().iter().enumerate();
    let found: Vec<_> = references
        .filter_map(|(index, reference)| {
            let (gateway, set) = parents.find(route.meta, reference)?;
            Some((index, reference, gateway, set))
        })
        .collect();
    if found.is_empty() {
        return Vec::new();
    }
    let hostnames = hostnames(context, route);
    let found = found.into_iter();
    found
        .map(|(index, reference, gateway, set)| {
            let asks = Asks {
                route,
                reference,
                hostnames: hostnames.as_deref(),
            };
            Parent {
                index,
                reference: reference.clone(),
                gateway,
                answers: asks.all(context.store, gateways, gateway, set),
            }
        })
        .collect()
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

/// What a route wants of a parent.
struct Asks<'a> {
    route: &'a Route<'a>,
    reference: &'a ParentReference,
    hostnames: Option<&'a [Hostname]>,
}

impl Asks<'_> {
    fn all(
        &self,
        store: &Store,
        gateways: &[Gateway],
        gateway: usize,
        set: Option<usize>,
    ) -> Vec<(ListenerKey, Answer)> {
        let parent = &gateways[gateway];
        let refused = match set {
            None => &parent.refused,
            Some(set) => &parent.sets[set].refused,
        };
        if parent.refused.is_some() || refused.is_some() {
            return Vec::new();
        }
        let listeners = match set {
            None => &parent.listeners,
            Some(set) => &parent.sets[set].listeners,
        };
        let listeners = listeners.iter().enumerate();
        let named = listeners.filter(|(_, listener)| self.names(listener));
        named
            .filter(|(_, listener)| listener.is_accepted())
            .map(|(index, listener)| {
                let key = ListenerKey {
                    gateway,
                    set,
                    index,
                };
                (key, self.answer(store, listener))
            })
            .collect()
    }

    fn names(&self, listener: &Listener) -> bool {
        let section = self.reference.section_name.as_deref();
        let section = section.filter(|name| !name.is_empty());
        let port = self.reference.port;
        section.is_none_or(|section| section == listener.spec.name)
            && port.is_none_or(|port| port == listener.spec.port)
    }

    fn answer(&self, store: &Store, listener: &Listener) -> Answer {
        let route = self.route;
        if !listener.allows(store, route.kind(), &route.meta.namespace) {
            return Answer::NotAllowed;
        }
        let own = std::slice::from_ref(&listener.hostname);
        let common: Vec<Hostname> = match self.hostnames {
            None => own.to_vec(),
            Some(hostnames) => {
                let common = hostnames.iter();
                let common = common.filter_map(|each| each.intersection(&listener.hostname));
                common.cloned().collect()
            }
        };
        match common.is_empty() {
            true => Answer::NoHostname,
            false => Answer::Takes(common),
        }
    }
}

impl Parent {
    /// The listeners that take the route, unless another is in its way.
    pub(super) fn candidates(&self) -> impl Iterator<Item = (ListenerKey, &[Hostname])> {
        let answers = self.answers.iter();
        answers.filter_map(|(listener, answer)| match answer {
            Answer::Takes(hostnames) => Some((*listener, &hostnames[..])),
            Answer::NotAllowed | Answer::NoHostname => None,
        })
    }

    /// Why no listener has the route. `has` says whether one does that would take it.
    pub(super) fn refusal(
        &self,
        context: &mut Context<'_>,
        route: &Route<'_>,
        has: impl Fn(ListenerKey) -> bool,
    ) -> Option<Fault> {
        let mut reason = "NoMatchingParent";
        for (listener, answer) in &self.answers {
            reason = match answer {
                Answer::Takes(_) if has(*listener) => return None,
                // "The implementation MUST accept exactly one of these two routes": the older.
                Answer::Takes(_) => "HostnameConflict",
                Answer::NoHostname => "NoMatchingListenerHostname",
                Answer::NotAllowed if reason == "NoMatchingParent" => "NotAllowedByListeners",
                Answer::NotAllowed => reason,
            };
        }
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
        let at = route.at(format!("spec.parentRefs[{}]", self.index));
        Some(context.fault(&at, Reason::NotBound, reason, message, help))
    }
}

/// The routes of one listener.
#[derive(Debug, Default)]
pub(super) struct Attached {
    candidates: BTreeMap<Arc<RouteKey>, Vec<Hostname>>,
    /// Those of them that have hostnames of an older route of the other kind.
    conflicted: BTreeSet<Arc<RouteKey>>,
}

impl Attached {
    /// Two references of a route to one listener are one.
    pub(super) fn add(&mut self, key: &Arc<RouteKey>, hostnames: &[Hostname]) {
        let hostnames = hostnames.to_vec();
        self.candidates.insert(Arc::clone(key), hostnames);
    }

    pub(super) fn remove(&mut self, key: &Arc<RouteKey>) {
        self.candidates.remove(key);
    }

    pub(super) fn has(&self, key: &Arc<RouteKey>) -> bool {
        self.candidates.contains_key(key) && !self.conflicted.contains(key)
    }

    /// The oldest first, with their hostnames.
    pub(super) fn routes(&self) -> impl Iterator<Item = (&Arc<RouteKey>, &[Hostname])> {
        let candidates = self.candidates.iter();
        let candidates = candidates.filter(|(key, _)| !self.conflicted.contains(*key));
        candidates.map(|(key, hostnames)| (key, &hostnames[..]))
    }

    pub(super) fn count(&self) -> usize {
        self.candidates.len() - self.conflicted.len()
    }

    /// Finds anew who is in whose way; returns those of whom something else is true now.
    pub(super) fn settle(&mut self) -> Vec<Arc<RouteKey>> {
        let grpc = self.candidates.keys().filter(|key| key.is_grpc()).count();
        let mut conflicted = BTreeSet::new();
        if grpc > 0 && grpc < self.candidates.len() {
            // The hostnames that those of each kind have.
            let mut claims: [BTreeSet<&Hostname>; 2] = Default::default();
            for (key, hostnames) in &self.candidates {
                let kind = usize::from(key.is_grpc());
                let mut others = claims[1 - kind].iter();
                let is_claimed = |other: &&Hostname| {
                    hostnames
                        .iter()
                        .any(|own| own.intersection(other).is_some())
                };
                match others.any(is_claimed) {
                    true => {
                        conflicted.insert(Arc::clone(key));
                    }
                    false => claims[kind].extend(hostnames),
                }
            }
        }
        let before = std::mem::replace(&mut self.conflicted, conflicted);
        let differ = before.symmetric_difference(&self.conflicted);
        differ.cloned().collect()
    }
}
