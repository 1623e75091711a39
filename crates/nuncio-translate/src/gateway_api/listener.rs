//! The listeners of Gateways and ListenerSets: what each takes, and which of them conflict.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::sync::Arc;

use nuncio_api::gateway_api::{self as api, AllowedRoutes, FromNamespaces, GROUP, RouteGroupKind};
use nuncio_model::tls::Termination;
use nuncio_model::{Origin, Reason};

use super::address::Addresses;
use super::hostname::Hostname;
use super::infrastructure::{self, OfClasses, Service};
use super::{Context, Fault, class, tls};
use crate::getambassador::selects;
use crate::store::{Object, Store};

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Protocol {
    Http,
    Https,
    Tls,
    Tcp,
    Udp,
}

impl Protocol {
    fn parse(text: &str) -> Option<Self> {
        Some(match text {
            "HTTP" => Self::Http,
            "HTTPS" => Self::Https,
            "TLS" => Self::Tls,
            "TCP" => Self::Tcp,
            "UDP" => Self::Udp,
            _ => return None,
        })
    }

    /// The kinds of routes that it takes.
    fn kinds(self) -> &'static [&'static str] {
        match self {
            Self::Http | Self::Https => &["HTTPRoute", "GRPCRoute"],
            Self::Tls => &["TLSRoute"],
            Self::Tcp => &["TCPRoute"],
            Self::Udp => &["UDPRoute"],
        }
    }

    /// Those of one port are told apart by their hostnames; others cannot share a port.
    fn family(self) -> Family {
        match self {
            Self::Http => Family::Cleartext,
            Self::Https | Self::Tls => Family::Tls,
            Self::Tcp | Self::Udp => Family::Bytes,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Family {
    Cleartext,
    Tls,
    Bytes,
}

/// What becomes of TLS.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Tls {
    None,
    Terminate(Termination),
    Passthrough,
}

/// A listener of a Gateway or of a ListenerSet.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Listener {
    pub(super) spec: api::Listener,
    /// Whose it is, with its field.
    pub(super) origin: Origin,
    pub(super) hostname: Hostname,
    /// `None` is one that nuncio does not serve.
    pub(super) protocol: Option<Protocol>,
    /// The kinds of routes that it takes.
    pub(super) kinds: Vec<&'static str>,
    pub(super) tls: Tls,
    /// Why it is not accepted.
    pub(super) refused: Option<Fault>,
    /// Its reference that cannot be resolved.
    pub(super) unresolved: Option<Fault>,
    /// Another listener wants the same.
    pub(super) conflicted: Option<Fault>,
    /// Whether its certificate or what verifies clients is missing.
    pub(super) broken: bool,
}

impl Listener {
    pub(super) fn namespace(&self) -> &str {
        &self.origin.resource.namespace
    }

    /// Whether routes can attach to it.
    pub(super) fn is_accepted(&self) -> bool {
        self.protocol.is_some() && self.refused.is_none() && self.conflicted.is_none()
    }

    pub(super) fn is_udp(&self) -> bool {
        self.protocol == Some(Protocol::Udp)
    }

    /// Whether clients can connect.
    pub(super) fn is_served(&self) -> bool {
        self.is_accepted() && !self.broken
    }

    /// Whether clients may take one of both for the other: certificate and connection of one do for names
    /// of the other.
    pub(super) fn overlaps(&self, other: &Self) -> bool {
        let encrypts = |listener: &Self| {
            let family = listener.protocol.map(Protocol::family);
            family == Some(Family::Tls) && listener.is_accepted()
        };
        encrypts(self)
            && encrypts(other)
            && self.spec.port == other.spec.port
            && self.hostname.intersection(&other.hostname).is_some()
    }

    /// Whether routes of a kind from a namespace may attach to it.
    pub(super) fn allows(&self, store: &Store, kind: &str, namespace: &str) -> bool {
        let allowed = self.spec.allowed_routes.as_ref();
        let namespaces = allowed.and_then(|allowed| allowed.namespaces.as_ref());
        self.kinds.contains(&kind)
            && is_from(store, namespaces, "Same", self.namespace(), namespace)
    }
}

/// Whether a namespace is one of those that something may come from.
fn is_from(
    store: &Store,
    namespaces: Option<&FromNamespaces>,
    default: &str,
    own: &str,
    namespace: &str,
) -> bool {
    let from = namespaces.and_then(|namespaces| namespaces.from.as_deref());
    match from.unwrap_or(default) {
        "All" => true,
        "Same" => own == namespace,
        "Selector" => {
            let selector = namespaces.and_then(|namespaces| namespaces.selector.as_ref());
            let found = store.namespaces.get("", namespace);
            selector.is_some_and(|selector| {
                found.is_some_and(|found| selects(selector, &found.meta.labels))
            })
        }
        _ => false,
    }
}

/// A ListenerSet of a Gateway.
#[derive(Debug, PartialEq)]
pub(super) struct Set {
    pub(super) object: Arc<Object<api::ListenerSet>>,
    pub(super) refused: Option<Fault>,
    pub(super) listeners: Vec<Listener>,
}

/// A Gateway with all its listeners.
#[derive(Debug, PartialEq)]
pub(super) struct Gateway {
    pub(super) object: Arc<Object<api::Gateway>>,
    pub(super) addresses: Addresses,
    /// What leads to it in a cluster.
    pub(super) service: Option<Service>,
    pub(super) refused: Option<Fault>,
    /// What it shows its backends.
    pub(super) client_certificate: Option<Arc<str>>,
    pub(super) unresolved: Option<Fault>,
    /// It takes connections of clients whose certificate is not valid.
    pub(super) insecure_validation: bool,
    pub(super) listeners: Vec<Listener>,
    pub(super) sets: Vec<Set>,
}

impl Gateway {
    /// Its own and those of its ListenerSets.
    pub(super) fn all(&self) -> impl Iterator<Item = &Listener> {
        let sets = self.sets.iter().filter(|set| set.refused.is_none());
        self.listeners
            .iter()
            .chain(sets.flat_map(|set| &set.listeners))
    }
}

/// Where something listens. Gateways that have one address share its ports.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Place {
    pub(crate) address: IpAddr,
    pub(crate) udp: bool,
    pub(crate) port: u16,
}

/// What the older listeners of a place take.
#[derive(Debug, Default)]
struct Taken {
    family: Option<Family>,
    hostnames: BTreeMap<Hostname, String>,
}

/// Reads the Gateways, the oldest first.
pub(super) fn gateways(context: &mut Context<'_>, classes: &OfClasses) -> Vec<Gateway> {
    let objects = class::gateways(context.store);
    let mut unfit = Vec::new();
    let mut services = Vec::new();
    for object in &objects {
        let service = infrastructure::service(context, object, classes);
        unfit.push(service.as_ref().err().cloned());
        services.push(service.unwrap_or_default());
    }
    let mut addresses = super::address::assign(context, &objects, &services);
    let mut sets_of: HashMap<(&str, &str), Vec<&Arc<Object<api::ListenerSet>>>> = HashMap::new();
    let mut sets: Vec<_> = context.store.listener_sets.iter().collect();
    sets.sort_by_cached_key(|set| class::age(set));
    for set in sets {
        let parent = &set.spec.parent_ref;
        if is_gateway(parent.group.as_deref(), parent.kind.as_deref()) {
            let namespace = parent.namespace.as_deref().unwrap_or(set.namespace());
            let of = sets_of.entry((namespace, &parent.name)).or_default();
            of.push(set);
        }
    }
    if context.settings.gateway_services.is_some() && context.settings.gateway_addresses.is_empty()
    {
        let with_services = objects.iter().map(|object| &***object);
        let with_services = with_services.zip(services.iter().map(Option::as_ref));
        infrastructure::give_ports(context, with_services, &mut addresses, |gateway| {
            let sets = sets_of.get(&(gateway.namespace(), gateway.name()));
            let sets = sets.into_iter().flatten();
            let listeners = sets.flat_map(|set| &set.spec.listeners);
            let listeners = gateway.spec.listeners.iter().chain(listeners);
            listeners
                .map(|listener| (listener.port, listener.protocol == "UDP"))
                .collect()
        });
    }
    let mut taken: HashMap<Place, Taken> = HashMap::new();
    let mut gateways = Vec::new();
    let objects = objects.into_iter().zip(addresses);
    let objects = objects.zip(services.into_iter().zip(unfit));
    for ((object, mut addresses), (service, unfit)) in objects {
        let refused = addresses.unsupported.take().or(unfit);
        let (client_certificate, unresolved) = tls::client_certificate(context, object);
        let frontend = tls::Frontend::read(context, object);
        let mut own = read(context, &Owner::of_gateway(object), &frontend);
        settle(context, &mut own, &addresses, &mut taken);
        let mut gateway = Gateway {
            addresses,
            service,
            refused,
            client_certificate,
            unresolved,
            insecure_validation: frontend.is_insecure(),
            listeners: own,
            sets: Vec::new(),
            object: Arc::clone(object),
        };
        let sets = sets_of.remove(&(object.namespace(), object.name()));
        for set in sets.into_iter().flatten() {
            let refused = not_allowed(context, &gateway, set);
            let mut listeners = read(context, &Owner::of_set(set), &frontend);
            if refused.is_none() {
                settle(context, &mut listeners, &gateway.addresses, &mut taken);
            }
            gateway.sets.push(Set {
                object: Arc::clone(set),
                refused,
                listeners,
            });
        }
        gateways.push(gateway);
    }
    gateways
}

/// Whether a reference to a parent is one to a Gateway.
pub(super) fn is_gateway(group: Option<&str>, kind: Option<&str>) -> bool {
    group.unwrap_or(GROUP) == GROUP && kind.unwrap_or("Gateway") == "Gateway"
}

fn not_allowed(
    context: &mut Context<'_>,
    gateway: &Gateway,
    set: &Object<api::ListenerSet>,
) -> Option<Fault> {
    let object = &gateway.object;
    let allowed = object.spec.allowed_listeners.as_ref();
    let namespaces = allowed.and_then(|allowed| allowed.namespaces.as_ref());
    let at = set.at("spec.parentRef");
    if !is_from(
        context.store,
        namespaces,
        "None",
        object.namespace(),
        set.namespace(),
    ) {
        return Some(context.fault(
            &at,
            Reason::NotBound,
            "NotAllowed",
            format!(
                "Gateway {}/{} takes no ListenerSets from namespace {}",
                object.namespace(),
                object.name(),
                set.namespace()
            ),
            "write allowedListeners.namespaces into the Gateway",
        ));
    }
    gateway.refused.is_some().then(|| {
        context.fault(
            &at,
            Reason::NotBound,
            "ParentNotAccepted",
            format!(
                "Gateway {}/{} is not in effect",
                object.namespace(),
                object.name()
            ),
            "mend the Gateway",
        )
    })
}

/// Whose listeners are read.
pub(super) struct Owner<'s> {
    origin: Origin,
    kind: &'static str,
    listeners: &'s [api::Listener],
}

impl<'s> Owner<'s> {
    fn of_gateway(object: &'s Object<api::Gateway>) -> Self {
        Self {
            origin: object.origin(),
            kind: "Gateway",
            listeners: &object.spec.listeners,
        }
    }

    fn of_set(object: &'s Object<api::ListenerSet>) -> Self {
        Self {
            origin: object.origin(),
            kind: "ListenerSet",
            listeners: &object.spec.listeners,
        }
    }
}

fn read(context: &mut Context<'_>, owner: &Owner<'_>, frontend: &tls::Frontend) -> Vec<Listener> {
    let listeners = owner.listeners.iter().enumerate();
    listeners
        .map(|(index, spec)| {
            let origin = owner.origin.field(format!("spec.listeners[{index}]"));
            let mut listener = Listener {
                spec: spec.clone(),
                hostname: Hostname::any(),
                protocol: Protocol::parse(&spec.protocol),
                kinds: Vec::new(),
                tls: Tls::None,
                refused: None,
                unresolved: None,
                conflicted: None,
                broken: false,
                origin,
            };
            listener.read_protocol(context);
            listener.read_hostname(context);
            listener.read_kinds(context);
            listener.read_tls(context, owner.kind, frontend);
            listener
        })
        .collect()
}

impl Listener {
    fn field(&self, field: &str) -> Origin {
        self.origin.field(format!("{}.{field}", self.origin.field))
    }

    fn read_protocol(&mut self, context: &mut Context<'_>) {
        if self.protocol.is_none() {
            self.refused = Some(context.fault(
                &self.field("protocol"),
                Reason::NotSupported,
                "UnsupportedProtocol",
                format!("nuncio serves no {}", self.spec.protocol.escape_debug()),
                "write HTTP, HTTPS, TLS, TCP or UDP",
            ));
        }
        if self.spec.port == 0 {
            self.refused = Some(context.fault(
                &self.field("port"),
                Reason::InvalidValue,
                "PortUnavailable",
                "0 is not a port to listen on",
                "write a port from 1 to 65535",
            ));
        }
    }

    fn read_hostname(&mut self, context: &mut Context<'_>) {
        let hostname = self.spec.hostname.as_deref();
        let Some(hostname) = hostname.filter(|hostname| !hostname.is_empty()) else {
            return;
        };
        match Hostname::parse(hostname) {
            Ok(hostname) => self.hostname = hostname,
            Err(what) => {
                let at = self.field("hostname");
                let fault = context.invalid(&at, "UnsupportedValue", what);
                self.refused = Some(fault);
            }
        }
    }

    fn read_kinds(&mut self, context: &mut Context<'_>) {
        let Some(protocol) = self.protocol else {
            return;
        };
        let known = protocol.kinds();
        let allowed: &[RouteGroupKind] = match &self.spec.allowed_routes {
            Some(AllowedRoutes { kinds, .. }) => kinds,
            None => &[],
        };
        if allowed.is_empty() {
            self.kinds = known.to_vec();
            return;
        }
        for (index, allowed) in allowed.iter().enumerate() {
            let is_its = |kind: &&&str| {
                **kind == allowed.kind && allowed.group.as_deref().unwrap_or(GROUP) == GROUP
            };
            match known.iter().find(is_its) {
                Some(kind) => self.kinds.push(kind),
                None => {
                    let fault = context.fault(
                        &self.field(&format!("allowedRoutes.kinds[{index}]")),
                        Reason::InvalidValue,
                        "InvalidRouteKinds",
                        format!(
                            "a listener of {} takes no {}",
                            self.spec.protocol,
                            allowed.kind.escape_debug()
                        ),
                        format!("write one of {}", known.join(", ")),
                    );
                    self.unresolved.get_or_insert(fault);
                }
            }
        }
    }

    fn read_tls(&mut self, context: &mut Context<'_>, owner: &str, frontend: &tls::Frontend) {
        let passes =
            self.spec.tls.as_ref().and_then(|tls| tls.mode.as_deref()) == Some("Passthrough");
        match self.protocol {
            Some(Protocol::Tls) if passes => self.tls = Tls::Passthrough,
            Some(protocol @ (Protocol::Https | Protocol::Tls)) => {
                let (certificates, missing) = tls::certificates(context, owner, self);
                self.unresolved = missing.or(self.unresolved.take());
                let clients = match protocol {
                    Protocol::Https => frontend.of_port(self.spec.port),
                    _ => Ok(Default::default()),
                };
                let alpn: &[&str] = match protocol {
                    Protocol::Https => &["h2", "http/1.1"],
                    _ => &[],
                };
                let mut certificates = certificates.into_iter();
                match (certificates.next(), clients) {
                    (Some(certificate), Ok(clients)) => {
                        self.tls = Tls::Terminate(Termination {
                            certificate,
                            other_certificates: certificates.collect(),
                            clients,
                            alpn: alpn.iter().map(|protocol| (*protocol).into()).collect(),
                            ..Termination::default()
                        });
                    }
                    (_, clients) => {
                        self.broken = true;
                        if let Err(fault) = clients {
                            self.unresolved.get_or_insert(fault.clone());
                            // Nobody could connect.
                            self.refused = Some(Fault {
                                reason: "NoValidCACertificate",
                                ..fault
                            });
                        }
                    }
                }
            }
            _ => {}
        }
    }
}

/// Finds those that want what others have: first what older objects have, which is theirs; of what is
/// left none wins among listeners of one object.
fn settle(
    context: &mut Context<'_>,
    listeners: &mut [Listener],
    addresses: &Addresses,
    taken: &mut HashMap<Place, Taken>,
) {
    for listener in listeners.iter_mut() {
        let Some(want) = Want::of(listener, addresses) else {
            continue;
        };
        let mut places = want.places.iter();
        let owner = places.find_map(|place| context.surroundings.taken.get(place));
        if let Some(owner) = owner {
            let message = format!("{owner} listens on port {}", listener.spec.port);
            listener.refused = Some(context.fault(
                &listener.field("port"),
                Reason::Conflict,
                "PortUnavailable",
                message,
                "write another port here or there",
            ));
        } else if let Some((reason, message)) = want.of_older(taken) {
            listener.conflicted = Some(conflict(context, listener, reason, message));
        }
    }
    let wants: Vec<Option<Want>> = listeners
        .iter()
        .map(|listener| Want::of(listener, addresses))
        .collect();
    for (index, listener) in listeners.iter_mut().enumerate() {
        let Some(want) = &wants[index] else {
            continue;
        };
        let others = wants.iter().enumerate();
        let others = others.filter(|(other, _)| *other != index);
        let mut others = others.filter_map(|(_, other)| want.of_sibling(other.as_ref()?));
        if let Some((reason, message)) = others.next() {
            listener.conflicted = Some(conflict(context, listener, reason, message.to_owned()));
        }
    }
    for listener in listeners.iter() {
        let Some(want) = Want::of(listener, addresses) else {
            continue;
        };
        for place in want.places {
            let taken = taken.entry(place).or_default();
            taken.family = Some(want.family);
            let owner = listener.origin.resource.to_string();
            let hostnames = &mut taken.hostnames;
            hostnames.entry(want.hostname.clone()).or_insert(owner);
        }
    }
}

fn conflict(
    context: &mut Context<'_>,
    listener: &Listener,
    reason: &'static str,
    message: String,
) -> Fault {
    context.fault(
        &listener.origin,
        Reason::Conflict,
        reason,
        message,
        "write another port, or another hostname",
    )
}

/// What a listener wants for itself.
struct Want {
    /// As it is written.
    port: u16,
    places: Vec<Place>,
    family: Family,
    hostname: Hostname,
}

impl Want {
    /// `None` of one that can have nothing.
    fn of(listener: &Listener, addresses: &Addresses) -> Option<Self> {
        let protocol = listener.protocol.filter(|_| listener.is_accepted())?;
        let places = addresses.places(listener.spec.port, listener.is_udp());
        Some(Self {
            port: listener.spec.port,
            places: places.collect(),
            family: protocol.family(),
            hostname: listener.hostname.clone(),
        })
    }

    /// Why it cannot have that, because of older listeners.
    fn of_older(&self, taken: &HashMap<Place, Taken>) -> Option<(&'static str, String)> {
        let mut places = self.places.iter();
        places.find_map(|place| {
            let port = self.port;
            let taken = taken.get(place)?;
            if taken.family.is_some_and(|family| family != self.family) {
                let message = format!("port {port} is taken for another protocol");
                return Some(("ProtocolConflict", message));
            }
            let owner = taken.hostnames.get(&self.hostname)?;
            let message = format!("{owner} has the same port and hostname");
            Some(("HostnameConflict", message))
        })
    }

    /// The same because of another listener of its object.
    fn of_sibling(&self, other: &Self) -> Option<(&'static str, &'static str)> {
        if self.places != other.places {
            return None;
        }
        if self.family != other.family {
            let message = "another listener of it has the port for another protocol";
            return Some(("ProtocolConflict", message));
        }
        (self.hostname == other.hostname).then_some((
            "HostnameConflict",
            "another listener of it has the same port and hostname",
        ))
    }
}
