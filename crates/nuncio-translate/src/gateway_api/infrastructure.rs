//! What stands in a cluster for a Gateway: a Service, by which it has addresses of its own, and the
//! EndpointSlices behind it.
//!
//! The Service has no selector, because nuncio's pods are in another namespace. What is to stand there is
//! computed here and compared with what does; who writes status writes what differs. All Gateways are
//! served by the same pods, so each port of each is another port there: which one it is stands in the
//! Service and is read from there.

mod object;
mod parameters;

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::ops::RangeInclusive;
use std::sync::Arc;

use nuncio_api::core::{IntOrString, ServiceSpec};
use nuncio_api::gateway_api::{self as api, GatewayAddress, GatewayClass};
use nuncio_model::{Reason, ResourceId};
use serde_json::Value;

use super::address::{self, Addresses};
use super::class;
use super::listener::Gateway;
use super::{Context, Fault};
use crate::ServiceType;
use crate::ingress::own_service;
use crate::store::{Object, Store};
pub use object::is_generated;
pub(super) use parameters::{OfClasses, of_classes};

/// The ports of nuncio's pods that those of Gateways lead to: above those that Linux gives to whoever
/// connects, so that nobody has them already.
const PORTS: RangeInclusive<u16> = 61_000..=65_499;

/// Longest name of a Service, and longest value of a label.
const LONGEST: usize = 63;

/// What is to stand in the cluster.
#[derive(Debug, Default, PartialEq)]
pub struct Infrastructure {
    pub objects: Vec<Generated>,
    /// Made by nuncio, and of no use any more.
    pub obsolete: BTreeSet<Arc<ResourceId>>,
}

/// One object of it.
#[derive(Debug, PartialEq)]
pub struct Generated {
    pub id: Arc<ResourceId>,
    /// The Gateway that it is for.
    pub owner: Arc<ResourceId>,
    /// As it is to be written, but for its owner.
    pub body: Value,
    /// Whether it stands there like that.
    pub stands: bool,
}

/// The Service that a Gateway is to have.
#[derive(Debug, PartialEq)]
pub(super) struct Service {
    name: String,
    type_: ServiceType,
    load_balancer_class: Option<String>,
    /// Somebody else's has its name.
    pub(super) blocked: Option<Fault>,
}

/// The Service of a Gateway, where Gateways are to have some.
pub(super) fn service(
    context: &mut Context<'_>,
    gateway: &Object<api::Gateway>,
    classes: &OfClasses,
) -> Result<Option<Service>, Fault> {
    let parameters = parameters::of_gateway(context, gateway, classes)?;
    let Some(default) = context.settings.gateway_services else {
        return Ok(None);
    };
    let class = gateway.spec.gateway_class_name.as_str();
    let name = service_name(gateway.name(), class);
    let standing = context.store.services.get(gateway.namespace(), &name);
    let blocked = match standing {
        Some(standing) if !object::is_of(standing, gateway.name()) => Some(context.fault(
            &gateway.origin(),
            Reason::Conflict,
            "AddressNotAssigned",
            format!(
                "Service {}/{name} is not one that nuncio has made for it",
                gateway.namespace()
            ),
            "remove that Service, or give it another name",
        )),
        _ => None,
    };
    Ok(Some(Service {
        name,
        type_: parameters.type_.unwrap_or(default),
        load_balancer_class: parameters.load_balancer_class,
        blocked,
    }))
}

impl Service {
    fn standing<'s>(
        &self,
        store: &'s Store,
        gateway: &Object<api::Gateway>,
    ) -> Option<&'s Arc<Object<ServiceSpec>>> {
        let standing = store.services.get(gateway.namespace(), &self.name)?;
        object::is_of(standing, gateway.name()).then_some(standing)
    }

    /// Where clients reach it.
    pub(super) fn addresses(
        &self,
        store: &Store,
        gateway: &Object<api::Gateway>,
    ) -> Vec<GatewayAddress> {
        let Some(standing) = self.standing(store, gateway) else {
            return Vec::new();
        };
        let spec = &standing.spec;
        match self.type_ {
            ServiceType::LoadBalancer => {
                let ingress = spec.load_balancer.ingress.iter();
                ingress.filter_map(address::of_load_balancer).collect()
            }
            ServiceType::ClusterIp | ServiceType::NodePort => {
                let addresses = spec.cluster_ips.iter().filter_map(|text| text.parse().ok());
                addresses.map(address::ip).collect()
            }
        }
    }
}

/// `NAME-CLASS`, as GEP-1762 recommends; where that is no name of a Service, one that is much like it.
fn service_name(gateway: &str, class: &str) -> String {
    let whole = format!("{gateway}-{class}");
    let mut name = whole.replace('.', "-");
    if name.starts_with(|c: char| c.is_ascii_digit()) {
        name.insert_str(0, "gateway-");
    }
    match name == whole {
        true => short(&name),
        false => cut(&name, &whole),
    }
}

/// A text that may stand in a label.
fn short(text: &str) -> String {
    match text.len() <= LONGEST {
        true => text.to_owned(),
        false => cut(text, text),
    }
}

/// The beginning of a text, told from others by a hash of the whole.
fn cut(text: &str, whole: &str) -> String {
    let end = text.floor_char_boundary(LONGEST - 17);
    let begin = text[..end].trim_end_matches(['-', '.']);
    format!("{begin}-{:016x}", hash(whole))
}

fn hash(value: impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}

/// Gives each port of each Gateway one of the pods' own: first those that stand in Services.
pub(super) fn give_ports<'g>(
    context: &mut Context<'_>,
    gateways: impl Iterator<Item = (&'g Object<api::Gateway>, Option<&'g Service>)>,
    all: &mut [Addresses],
    listeners_of: impl Fn(&Object<api::Gateway>) -> Vec<(u16, bool)>,
) {
    let mut used: BTreeSet<u16> = context
        .surroundings
        .taken
        .keys()
        .map(|place| place.port)
        .collect();
    let mut waiting = Vec::new();
    for (index, (gateway, service)) in gateways.enumerate() {
        let mut ports = BTreeMap::new();
        if let Some(service) = service {
            let wanted: BTreeSet<(u16, bool)> = listeners_of(gateway).into_iter().collect();
            let standing = service.standing(context.store, gateway);
            for port in standing.iter().flat_map(|standing| &standing.spec.ports) {
                let wants = (port.port, port.protocol.as_deref() == Some("UDP"));
                let Some(IntOrString::Int(target)) = port.target_port else {
                    continue;
                };
                if wanted.contains(&wants) && PORTS.contains(&target) && used.insert(target) {
                    ports.insert(wants, target);
                }
            }
            let others = wanted
                .into_iter()
                .filter(|wants| !ports.contains_key(wants));
            waiting.extend(others.map(|wants| (index, gateway, wants)));
        }
        all[index].ports = Some(ports);
    }
    for (index, gateway, wants) in waiting {
        // Where it would be whoever else is there: so that replicas agree before it stands anywhere.
        let many = u64::from(PORTS.end() - PORTS.start()) + 1;
        let start = hash((gateway.namespace(), gateway.name(), wants)) % many;
        let start = PORTS.start() + u16::try_from(start).expect("invariant: it is less than 4,500");
        let mut ports = (start..=*PORTS.end()).chain(*PORTS.start()..start);
        let addresses = &mut all[index];
        match ports.find(|port| used.insert(*port)) {
            Some(port) => {
                let ports = addresses.ports.get_or_insert_default();
                ports.insert(wants, port);
            }
            None => {
                let fault = context.fault(
                    &gateway.at("spec.listeners"),
                    Reason::NotBound,
                    "AddressNotAssigned",
                    format!("nuncio has no port left for its port {}", wants.0),
                    "remove a Gateway, or a port of one",
                );
                addresses.unusable.get_or_insert(fault);
            }
        }
    }
}

/// Namespaces and names of Services.
pub(super) type Services = BTreeSet<(String, String)>;

/// What is to stand there for the Gateways, and the Services on whose EndpointSlices that depends.
pub(super) fn generate(
    context: &mut Context<'_>,
    gateways: &[Gateway],
) -> (Infrastructure, Services) {
    let mut made = Infrastructure::default();
    let mut follows = Services::new();
    if context.settings.gateway_services.is_none() {
        return (made, follows);
    }
    let own = own_service(context.store, context.settings);
    if let Some(own) = own
        && context.settings.gateway_addresses.is_empty()
    {
        follows.insert((own.namespace().to_owned(), own.name().to_owned()));
    }
    for gateway in gateways {
        let Some(service) = &gateway.service else {
            continue;
        };
        let namespace = gateway.object.namespace().to_owned();
        follows.insert((namespace, service.name.clone()));
        // What stands for one that is wrong for now stays: another would have another address.
        if gateway.refused.is_some() || service.blocked.is_some() {
            continue;
        }
        let ports = object::ports(gateway);
        if ports.is_empty() {
            continue;
        }
        let endpoints = object::endpoints(context, gateway, own);
        if endpoints.is_empty() && context.settings.gateway_addresses.is_empty() {
            context
                .report
                .warning(
                    &gateway.object.origin(),
                    Reason::RefNotFound,
                    "its Service leads nowhere: no Service of nuncio's namespace selects nuncio's pod",
                )
                .help("say with --pod-labels which labels that has");
        }
        made.add(context.store, gateway, service, &ports, &endpoints);
    }
    made.find_obsolete(context.store, &mut follows);
    (made, follows)
}

impl Infrastructure {
    fn add(
        &mut self,
        store: &Store,
        gateway: &Gateway,
        service: &Service,
        ports: &[object::Port],
        endpoints: &object::Endpoints,
    ) {
        let generated = object::service(store, gateway, service, ports);
        self.objects.push(generated);
        let mut names = BTreeSet::new();
        for (family, endpoints) in endpoints {
            let slice = object::slice(store, gateway, service, ports, family, endpoints);
            names.insert(Arc::clone(&slice.id));
            self.objects.push(slice);
        }
        let standing = store.slices_of(gateway.object.namespace(), &service.name);
        let own = standing.filter(|slice| object::is_of(slice, gateway.object.name()));
        let gone = own.filter(|slice| !names.contains(&slice.id));
        self.obsolete
            .extend(gone.map(|slice| Arc::clone(&slice.id)));
    }

    /// What stands for a Gateway by the name of a class of nuncio's that is not its class.
    fn find_obsolete(&mut self, store: &Store, follows: &mut Services) {
        let classes = class::classes(store);
        let classes = classes
            .iter()
            .map(|class: &&Arc<Object<GatewayClass>>| class.name());
        let classes: BTreeSet<&str> = classes.chain([class::CLASS]).collect();
        for gateway in store.gateways.iter() {
            let namespace = gateway.namespace();
            for class in &classes {
                if gateway.spec.gateway_class_name == *class {
                    continue;
                }
                let name = service_name(gateway.name(), class);
                let service = store.services.get(namespace, &name);
                let service = service.filter(|service| object::is_of(service, gateway.name()));
                self.obsolete
                    .extend(service.map(|service| Arc::clone(&service.id)));
                for family in object::FAMILIES {
                    let slice = object::slice_name(&name, family);
                    let slice = store.endpoint_slices.get(namespace, &slice);
                    let slice = slice.filter(|slice| object::is_of(slice, gateway.name()));
                    if slice.is_some() {
                        follows.insert((namespace.to_owned(), name.clone()));
                    }
                    self.obsolete
                        .extend(slice.map(|slice| Arc::clone(&slice.id)));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_service_is_named_as_its_gateway_and_class_where_it_can_be() {
        assert_eq!(service_name("web", "emissary"), "web-emissary");
        let hashed = |gateway: &str, begin: &str| {
            let name = service_name(gateway, "emissary");
            let (found, hash) = name.rsplit_once('-').unwrap();
            assert_eq!((found, hash.len()), (begin, 16));
            assert!(name.len() <= LONGEST);
        };
        hashed("a.b", "a-b-emissary");
        hashed("1", "gateway-1-emissary");
        hashed(&"a".repeat(60), &"a".repeat(46));
        // Each has its own.
        assert_ne!(service_name("a.b", "c"), service_name("a-b", "c"));
    }
}
