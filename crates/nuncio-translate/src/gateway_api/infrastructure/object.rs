//! The objects themselves, and whether they stand as they are to.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use nuncio_api::core::{
    EndpointConditions, EndpointPort, EndpointSlice, IntOrString, ServicePort, ServiceSpec,
    SliceEndpoint,
};
use nuncio_api::gateway_api as api;
use nuncio_model::ResourceId;
use serde_json::{Value, json};

use super::{Generated, Service, hash, short};
use crate::ServiceType;
use crate::gateway_api::Context;
use crate::gateway_api::listener::Gateway;
use crate::store::{DISCOVERY_GROUP, Object, SERVICE_NAME_LABEL, Store};

/// Labels of everything that is made for a Gateway (GEP-1762).
const GATEWAY: &str = "gateway.networking.k8s.io/gateway-name";
const CLASS: &str = "gateway.networking.k8s.io/gateway-class-name";
/// Says that nuncio has made it.
const MANAGED_BY: (&str, &str) = ("app.kubernetes.io/managed-by", "nuncio");
/// The same, for whoever looks after EndpointSlices.
const SLICE_MANAGED_BY: (&str, &str) = ("endpointslice.kubernetes.io/managed-by", "nuncio");
/// A hash of all that was written: what is there no more is seen by it.
const WRITTEN: &str = "getambassador.io/generated";

/// Whether nuncio has made an object with these labels for a Gateway.
pub fn is_generated(labels: &BTreeMap<String, String>) -> bool {
    labels.get(MANAGED_BY.0).map(String::as_str) == Some(MANAGED_BY.1)
        && labels.contains_key(GATEWAY)
}

/// Whether nuncio has made an object for the Gateway of this name.
pub(super) fn is_of<T>(object: &Object<T>, gateway: &str) -> bool {
    let labels = &object.meta.labels;
    is_generated(labels) && labels.get(GATEWAY) == Some(&short(gateway))
}

/// A port of a Gateway, and the one that it is where it is served.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Port {
    port: u16,
    udp: bool,
    target: u16,
}

impl Port {
    fn protocol(self) -> &'static str {
        if self.udp { "UDP" } else { "TCP" }
    }

    fn name(self) -> String {
        format!("{}-{}", self.protocol().to_lowercase(), self.port)
    }
}

/// The ports of the listeners that are in effect.
pub(super) fn ports(gateway: &Gateway) -> Vec<Port> {
    let accepted = gateway.all().filter(|listener| listener.is_accepted());
    let ports = accepted.filter_map(|listener| {
        let udp = listener.is_udp();
        let mut places = gateway.addresses.places(listener.spec.port, udp);
        Some(Port {
            port: listener.spec.port,
            udp,
            target: places.next()?.port,
        })
    });
    let ports: BTreeSet<Port> = ports.collect();
    ports.into_iter().collect()
}

pub(super) const FAMILIES: [&str; 2] = ["IPv4", "IPv6"];

/// The EndpointSlice of a Service for addresses of a family.
pub(super) fn slice_name(service: &str, family: &str) -> String {
    format!("{service}-{}", family.to_lowercase())
}

/// By address family.
pub(super) type Endpoints = BTreeMap<&'static str, Vec<SliceEndpoint>>;

/// Where a Gateway is served: at its own addresses, or else by nuncio's pods.
pub(super) fn endpoints(
    context: &Context<'_>,
    gateway: &Gateway,
    own: Option<&Arc<Object<ServiceSpec>>>,
) -> Endpoints {
    let mut all: BTreeMap<IpAddr, EndpointConditions> = BTreeMap::new();
    match own.filter(|_| context.settings.gateway_addresses.is_empty()) {
        Some(own) => {
            for slice in context.store.slices_of(own.namespace(), own.name()) {
                for endpoint in &slice.spec.endpoints {
                    let addresses = endpoint.addresses.iter();
                    for address in addresses.filter_map(|text| text.parse().ok()) {
                        all.insert(address, endpoint.conditions.clone());
                    }
                }
            }
        }
        None => {
            let ready = EndpointConditions {
                ready: Some(true),
                ..EndpointConditions::default()
            };
            let bound = gateway.addresses.bound.iter();
            // The API server takes no other.
            let bound = bound.filter(|address| !address.is_loopback() && !address.is_unspecified());
            all.extend(bound.map(|address| (*address, ready.clone())));
        }
    }
    let mut endpoints = Endpoints::new();
    for (address, conditions) in all {
        let family = FAMILIES[usize::from(address.is_ipv6())];
        endpoints.entry(family).or_default().push(SliceEndpoint {
            addresses: vec![address.to_string()],
            conditions,
            hints: None,
        });
    }
    endpoints
}

pub(super) fn service_id(gateway: &Object<api::Gateway>, service: &Service) -> Arc<ResourceId> {
    let namespace = gateway.namespace();
    Arc::new(ResourceId::new("", "Service", namespace, &*service.name))
}

pub(super) fn service(
    store: &Store,
    gateway: &Gateway,
    service: &Service,
    ports: &[Port],
) -> Generated {
    let id = service_id(&gateway.object, service);
    let of_ports = ports.iter().map(|port| {
        json!({
            "name": port.name(), "port": port.port, "protocol": port.protocol(),
            "targetPort": port.target,
        })
    });
    let mut spec = json!({
        "type": service.type_.as_str(),
        "ports": of_ports.collect::<Vec<_>>(),
    });
    if let (ServiceType::LoadBalancer, Some(class)) = (service.type_, &service.load_balancer_class)
    {
        spec["loadBalancerClass"] = class.as_str().into();
    }
    let body = json!({"apiVersion": "v1", "kind": "Service", "spec": spec});
    let body = with_metadata(&gateway.object, &id, &[], body);
    let expected: Vec<ServicePort> = ports
        .iter()
        .map(|port| ServicePort {
            name: Some(port.name()),
            port: port.port,
            target_port: Some(IntOrString::Int(port.target)),
            protocol: Some(port.protocol().to_owned()),
            app_protocol: None,
        })
        .collect();
    let standing = store.services.get(&id.namespace, &id.name);
    let stands = standing.is_some_and(|standing| {
        let mut ports = standing.spec.ports.clone();
        ports.sort_by_key(|port| (port.port, port.protocol.as_deref() == Some("UDP")));
        stands(standing, &body)
            && standing.spec.type_.as_deref() == Some(service.type_.as_str())
            && ports == expected
    });
    generated(gateway, id, body, stands)
}

pub(super) fn slice(
    store: &Store,
    gateway: &Gateway,
    service: &Service,
    ports: &[Port],
    family: &str,
    endpoints: &[SliceEndpoint],
) -> Generated {
    let name = slice_name(&service.name, family);
    let namespace = gateway.object.namespace();
    let id = Arc::new(ResourceId::new(
        DISCOVERY_GROUP,
        "EndpointSlice",
        namespace,
        &*name,
    ));
    let expected = EndpointSlice {
        address_type: family.to_owned(),
        endpoints: endpoints.to_vec(),
        ports: ports
            .iter()
            .map(|port| EndpointPort {
                name: Some(port.name()),
                port: Some(port.target),
                protocol: Some(port.protocol().to_owned()),
            })
            .collect(),
    };
    let labels = [
        (SERVICE_NAME_LABEL, service.name.as_str()),
        SLICE_MANAGED_BY,
    ];
    let body = json!({
        "apiVersion": format!("{DISCOVERY_GROUP}/v1"),
        "kind": "EndpointSlice",
        "addressType": expected.address_type,
        "endpoints": endpoints.iter().map(endpoint).collect::<Vec<_>>(),
        "ports": expected.ports,
    });
    let body = with_metadata(&gateway.object, &id, &labels, body);
    let standing = store.endpoint_slices.get(namespace, &name);
    let stands =
        standing.is_some_and(|standing| stands(standing, &body) && standing.spec == expected);
    generated(gateway, id, body, stands)
}

/// Without what is not known: it is not nuncio's to say.
fn endpoint(endpoint: &SliceEndpoint) -> Value {
    let conditions = &endpoint.conditions;
    let conditions = [
        ("ready", conditions.ready),
        ("serving", conditions.serving),
        ("terminating", conditions.terminating),
    ];
    let known = conditions
        .into_iter()
        .filter_map(|(name, says)| Some((name, says?)));
    let known: BTreeMap<&str, bool> = known.collect();
    json!({"addresses": endpoint.addresses, "conditions": known})
}

fn generated(gateway: &Gateway, id: Arc<ResourceId>, body: Value, stands: bool) -> Generated {
    Generated {
        id,
        owner: Arc::clone(&gateway.object.id),
        body,
        stands,
    }
}

/// With the labels and annotations that the Gateway gives, and those that say what it is.
fn with_metadata(
    gateway: &Object<api::Gateway>,
    id: &ResourceId,
    more: &[(&str, &str)],
    mut body: Value,
) -> Value {
    let infrastructure = gateway.spec.infrastructure.clone().unwrap_or_default();
    let mut labels = infrastructure.labels;
    let class = short(&gateway.spec.gateway_class_name);
    let name = short(gateway.name());
    let own = [
        (GATEWAY, name.as_str()),
        (CLASS, class.as_str()),
        MANAGED_BY,
    ];
    let own = own.iter().chain(more);
    labels.extend(own.map(|(key, value)| ((*key).to_owned(), (*value).to_owned())));
    body["metadata"] = json!({
        "name": &*id.name, "namespace": &*id.namespace,
        "labels": labels, "annotations": infrastructure.annotations,
    });
    let written = format!("{:016x}", hash(body.to_string()));
    body["metadata"]["annotations"][WRITTEN] = written.into();
    body
}

/// Whether an object has what it is to have of labels and annotations, and was written like that.
fn stands<T>(object: &Object<T>, body: &Value) -> bool {
    let has = |own: &BTreeMap<String, String>, field: &str| {
        let mut wanted = body["metadata"][field].as_object().into_iter().flatten();
        wanted.all(|(key, value)| own.get(key).map(String::as_str) == value.as_str())
    };
    has(&object.meta.labels, "labels") && has(&object.meta.annotations, "annotations")
}
