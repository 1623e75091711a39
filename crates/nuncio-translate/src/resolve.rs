//! From the name of a service to its endpoints.
//!
//! A Service that the store has resolves to its ClusterIP, a headless one to its endpoints; one
//! without an address (as in plain manifests) to what a cluster's service proxy would choose. Only
//! names from outside are left to DNS.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;

use nuncio_api::core::{
    EndpointAddress, EndpointPort, ForZone, IntOrString, ServicePort, ServiceSpec,
};
use nuncio_model::ResourceId;
use nuncio_model::cluster::Endpoint;

use crate::store::{Object, Store};

/// What a name means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Resolved {
    Address(IpAddr),
    Service {
        id: Arc<ResourceId>,
        /// Names the set of endpoints: `<namespace>/<name>/<port>`.
        set_name: Arc<str>,
        /// Sorted, each once.
        endpoints: Vec<Endpoint>,
        /// What is odd about it, in words.
        note: Option<String>,
    },
    /// A Service that stands for a name outside.
    ExternalName(Arc<str>),
    /// No Service that is known.
    Unknown,
}

/// What a Service stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Through {
    /// Its address, where it has one.
    Service,
    /// Its endpoints.
    Endpoints,
}

/// Resolves `host`, a bare name being in `namespace`.
pub fn resolve(
    store: &Store,
    namespace: &str,
    through: Through,
    host: &str,
    port: u16,
) -> Resolved {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    if let Ok(address) = bare.parse() {
        return Resolved::Address(address);
    }
    match find(store, namespace, host) {
        Some(service) => resolve_service(store, service, through, port),
        None => Resolved::Unknown,
    }
}

/// Resolves a port of a Service.
pub(crate) fn resolve_service(
    store: &Store,
    service: &Object<ServiceSpec>,
    through: Through,
    port: u16,
) -> Resolved {
    resolve_port(store, service, through, port, Protocol::First)
}

/// Of which of a Service's ports with one number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Protocol {
    /// The first, whichever protocol it is of.
    First,
    Udp,
}

/// Resolves a port of a Service for a protocol.
pub(crate) fn resolve_port(
    store: &Store,
    service: &Object<ServiceSpec>,
    through: Through,
    port: u16,
    protocol: Protocol,
) -> Resolved {
    let suffix = match protocol {
        Protocol::First => "",
        Protocol::Udp => "/udp",
    };
    if service.spec.type_.as_deref() == Some("ExternalName") {
        return match service.spec.external_name.as_deref() {
            Some(name) if !name.is_empty() => {
                Resolved::ExternalName(name.trim_end_matches('.').into())
            }
            _ => known(
                service,
                format!("{}/{}/{port}", service.namespace(), service.name()),
                BTreeSet::new(),
                Some("it is an ExternalName without spec.externalName".to_owned()),
            ),
        };
    }
    let is_its = |listed: &&ServicePort| match protocol {
        Protocol::First => true,
        Protocol::Udp => listed.protocol.as_deref() == Some("UDP"),
    };
    let mut ports = service.spec.ports.iter().filter(is_its);
    let listed = ports.find(|p| p.port == port);
    let no_such_port = || {
        let ports: Vec<_> = service
            .spec
            .ports
            .iter()
            .map(|p| p.port.to_string())
            .collect();
        format!(
            "it has no port {port}, only {}",
            if ports.is_empty() {
                "none".to_owned()
            } else {
                ports.join(", ")
            }
        )
    };
    if through == Through::Endpoints {
        let (namespace, name) = (service.namespace(), service.name());
        let set = format!("k8s/{namespace}/{name}/{port}{suffix}");
        return match listed {
            Some(listed) => by_endpoints(store, service, listed, set),
            None => known(service, set, BTreeSet::new(), Some(no_such_port())),
        };
    }
    let set = format!("{}/{}/{port}{suffix}", service.namespace(), service.name());
    match cluster_ip(&service.spec) {
        ClusterIp::Address(address) => known(
            service,
            set,
            BTreeSet::from([Endpoint { address, port }]),
            listed.is_none().then(no_such_port),
        ),
        ClusterIp::Headless => {
            // As its DNS name: all endpoints, at the port that is written.
            let endpoints: BTreeSet<_> = backends(store, service)
                .into_iter()
                .map(|Backend { address, .. }| Endpoint { address, port })
                .collect();
            let note = endpoints
                .is_empty()
                .then(|| "it is headless and has no ready endpoints".to_owned());
            known(service, set, endpoints, note)
        }
        ClusterIp::None => {
            let Some(listed) = listed else {
                return known(service, set, BTreeSet::new(), Some(no_such_port()));
            };
            by_endpoints(store, service, listed, set)
        }
    }
}

/// Where a service proxy would send what comes to a port.
fn by_endpoints(
    store: &Store,
    service: &Object<ServiceSpec>,
    listed: &ServicePort,
    set: String,
) -> Resolved {
    let single = service.spec.ports.len() == 1;
    let endpoints: BTreeSet<_> = near(backends(store, service), store.zone())
        .into_iter()
        .filter_map(|Backend { address, ports, .. }| {
            let port = target(listed, ports, single)?;
            Some(Endpoint { address, port })
        })
        .collect();
    let note = endpoints
        .is_empty()
        .then(|| match cluster_ip(&service.spec) {
            ClusterIp::None => {
                "it has neither a clusterIP nor a ready endpoint for that port".to_owned()
            }
            _ => "it has no ready endpoint for that port".to_owned(),
        });
    known(service, set, endpoints, note)
}

fn known(
    service: &Object<ServiceSpec>,
    set: String,
    endpoints: BTreeSet<Endpoint>,
    note: Option<String>,
) -> Resolved {
    Resolved::Service {
        id: Arc::clone(&service.id),
        set_name: set.into(),
        endpoints: endpoints.into_iter().collect(),
        note,
    }
}

/// `name`, `name.namespace`, `name.namespace.svc` and `name.namespace.svc.cluster.local`.
fn find<'a>(store: &'a Store, namespace: &str, host: &str) -> Option<&'a Object<ServiceSpec>> {
    let host = host.trim_end_matches('.');
    let (name, rest) = match host.split_once('.') {
        None => return store.services.get(namespace, host).map(AsRef::as_ref),
        Some(split) => split,
    };
    let (of, suffix) = rest.split_once('.').unwrap_or((rest, ""));
    matches!(suffix, "" | "svc" | "svc.cluster.local")
        .then(|| store.services.get(of, name))
        .flatten()
        .map(AsRef::as_ref)
}

enum ClusterIp {
    Address(IpAddr),
    Headless,
    /// Nobody has assigned one.
    None,
}

fn cluster_ip(service: &ServiceSpec) -> ClusterIp {
    let first = service
        .cluster_ip
        .as_deref()
        .or_else(|| service.cluster_ips.first().map(String::as_str));
    match first {
        Some("None") => ClusterIp::Headless,
        Some(text) => text.parse().map_or(ClusterIp::None, ClusterIp::Address),
        None => ClusterIp::None,
    }
}

/// An address behind a Service that may take requests.
struct Backend<'a> {
    address: IpAddr,
    ports: &'a [EndpointPort],
    /// The zones that should use it; empty where nobody says so.
    zones: &'a [ForZone],
}

fn backends<'a>(store: &'a Store, service: &Object<ServiceSpec>) -> Vec<Backend<'a>> {
    let (namespace, name) = (service.namespace(), service.name());
    let mut ready = Vec::new();
    let mut terminating = Vec::new();
    let mut sliced = false;
    for slice in store.slices_of(namespace, name) {
        sliced = true;
        for endpoint in &slice.spec.endpoints {
            // Unknown counts as ready (EndpointSlice API).
            let list = if endpoint.conditions.ready.unwrap_or(true) {
                &mut ready
            } else if endpoint.conditions.serving == Some(true)
                && endpoint.conditions.terminating == Some(true)
            {
                &mut terminating
            } else {
                continue;
            };
            // Only the first address of an endpoint is defined (EndpointSlice API).
            if let Some(Ok(address)) = endpoint.addresses.first().map(|a| a.parse()) {
                let hints = endpoint.hints.as_deref();
                list.push(Backend {
                    address,
                    ports: &slice.spec.ports,
                    zones: hints.map_or(&[], |hints| &hints.for_zones),
                });
            }
        }
    }
    if sliced {
        // While nothing is ready, what is ending still serves (KEP-1669); hints are for what is ready.
        for backend in &mut terminating {
            backend.zones = &[];
        }
        return if ready.is_empty() { terminating } else { ready };
    }
    let Some(endpoints) = store.endpoints.get(namespace, name) else {
        return Vec::new();
    };
    endpoints
        .spec
        .subsets
        .iter()
        .flat_map(|subset| {
            let address = |address: &EndpointAddress| {
                Some(Backend {
                    address: address.ip.parse().ok()?,
                    ports: &subset.ports,
                    zones: &[],
                })
            };
            subset.addresses.iter().filter_map(address)
        })
        .collect()
}

/// Those for a zone, as kube-proxy chooses them: all, unless each has a hint and one is for it.
fn near<'a>(mut backends: Vec<Backend<'a>>, zone: Option<&str>) -> Vec<Backend<'a>> {
    let Some(zone) = zone else {
        return backends;
    };
    let near = |backend: &Backend<'_>| backend.zones.iter().any(|hint| hint.name == zone);
    let hinted = |backend: &Backend<'_>| !backend.zones.is_empty();
    if backends.iter().all(hinted) && backends.iter().any(near) {
        backends.retain(near);
    }
    backends
}

/// The port of an endpoint that a Service's port leads to. Endpoints name their ports as the
/// Service does; hand-written ones often only have the number.
fn target(port: &ServicePort, ports: &[EndpointPort], single: bool) -> Option<u16> {
    let protocol = |p: Option<&str>| p.unwrap_or("TCP").to_owned();
    let mut candidates = ports
        .iter()
        .filter(|p| protocol(p.protocol.as_deref()) == protocol(port.protocol.as_deref()));
    let name = port.name.as_deref().unwrap_or("");
    let by_name = candidates
        .clone()
        .find(|p| p.name.as_deref().unwrap_or("") == name);
    let number = match &port.target_port {
        Some(IntOrString::Int(number)) => Some(*number),
        Some(IntOrString::String(_)) => None,
        None => Some(port.port),
    };
    let found = by_name
        .or_else(|| {
            candidates
                .clone()
                .find(|p| p.port.is_some() && p.port == number)
        })
        .or_else(|| candidates.next().filter(|_| single));
    match found {
        // A port without a number is every port.
        Some(found) => found.port.or(number),
        None => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Scope;
    use crate::store::tests::objects;

    const SERVICES: &str = "
apiVersion: v1
kind: Service
metadata: {name: web, namespace: a}
spec: {clusterIP: 10.0.0.1, ports: [{port: 80}]}
---
apiVersion: v1
kind: Service
metadata: {name: headless, namespace: a}
spec: {clusterIP: None, ports: [{port: 80, targetPort: 8080}]}
---
apiVersion: v1
kind: Service
metadata: {name: plain, namespace: a}
spec: {ports: [{name: http, port: 80, targetPort: web}, {name: admin, port: 81, targetPort: 9}]}
---
apiVersion: v1
kind: Service
metadata: {name: outside, namespace: a}
spec: {type: ExternalName, externalName: example.com.}
---
apiVersion: v1
kind: Service
metadata: {name: old, namespace: a}
spec: {ports: [{port: 80, targetPort: 8080}]}
---
apiVersion: v1
kind: Endpoints
metadata: {name: old, namespace: a}
subsets: [{addresses: [{ip: 10.3.0.1}], notReadyAddresses: [{ip: 10.3.0.2}], ports: [{port: 8080}]}]
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: headless-1, namespace: a, labels: {kubernetes.io/service-name: headless}}
addressType: IPv4
ports: [{name: '', port: 8080}]
endpoints:
- {addresses: [10.1.0.2], conditions: {ready: true}}
- {addresses: [10.1.0.1]}
- {addresses: [10.1.0.3], conditions: {ready: false}}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: plain-1, namespace: a, labels: {kubernetes.io/service-name: plain}}
addressType: IPv4
ports: [{name: http, port: 8000}, {name: admin, port: 9}]
endpoints: [{addresses: [10.2.0.1], conditions: {ready: false, serving: true, terminating: true}}]
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: plain-2, namespace: a, labels: {kubernetes.io/service-name: plain}}
addressType: IPv6
ports: [{name: http, port: 8001}]
endpoints: [{addresses: ['fd00::1'], conditions: {ready: false, serving: true, terminating: true}}]
";

    fn endpoints(through: Through, host: &str, port: u16) -> String {
        endpoints_in(None, SERVICES, through, host, port)
    }

    fn endpoints_in(
        zone: Option<&str>,
        manifests: &str,
        through: Through,
        host: &str,
        port: u16,
    ) -> String {
        let mut store = Store::new(Scope::default()).in_zone(zone.map(str::to_owned));
        store.apply(objects(manifests), &[]);
        match resolve(&store, "a", through, host, port) {
            Resolved::Address(address) => format!("address {address}"),
            Resolved::ExternalName(name) => format!("dns {name}"),
            Resolved::Unknown => "unknown".to_owned(),
            Resolved::Service {
                endpoints, note, ..
            } => {
                let list: Vec<_> = endpoints
                    .iter()
                    .map(|e| format!("{}:{}", e.address, e.port))
                    .collect();
                format!(
                    "{}{}",
                    list.join(" "),
                    note.map_or(String::new(), |n| format!(" ({n})"))
                )
            }
        }
    }

    #[test]
    fn each_kind_of_service_resolves_in_its_own_way() {
        for (host, port, expected) in [
            ("web", 80, "10.0.0.1:80"),
            ("web.a", 80, "10.0.0.1:80"),
            ("web.a.svc", 80, "10.0.0.1:80"),
            ("web.a.svc.cluster.local", 80, "10.0.0.1:80"),
            ("web", 81, "10.0.0.1:81 (it has no port 81, only 80)"),
            ("web.a.example.com", 80, "unknown"),
            ("web.b", 80, "unknown"),
            ("headless", 80, "10.1.0.1:80 10.1.0.2:80"),
            ("plain", 80, "10.2.0.1:8000 fd00::1:8001"),
            ("plain", 81, "10.2.0.1:9"),
            ("plain", 82, " (it has no port 82, only 80, 81)"),
            ("outside", 443, "dns example.com"),
            ("old", 80, "10.3.0.1:8080"),
            ("[fd00::2]", 80, "address fd00::2"),
            ("127.0.0.1", 80, "address 127.0.0.1"),
        ] {
            assert_eq!(
                endpoints(Through::Service, host, port),
                expected,
                "{host}:{port}"
            );
        }
    }
    #[test]
    fn endpoints_are_found_behind_an_address() {
        for (host, port, expected) in [
            ("web", 80, " (it has no ready endpoint for that port)"),
            ("web", 81, " (it has no port 81, only 80)"),
            ("headless", 80, "10.1.0.1:8080 10.1.0.2:8080"),
            ("plain", 80, "10.2.0.1:8000 fd00::1:8001"),
            ("old.a.svc", 80, "10.3.0.1:8080"),
            ("a.b.c.d", 80, "unknown"),
        ] {
            assert_eq!(
                endpoints(Through::Endpoints, host, port),
                expected,
                "{host}:{port}"
            );
        }
    }

    #[test]
    fn endpoints_for_the_own_zone_are_preferred_where_all_have_hints() {
        let manifests = |third: &str| {
            format!(
                "
apiVersion: v1
kind: Service
metadata: {{name: web, namespace: a}}
spec: {{ports: [{{port: 80}}]}}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {{name: web-1, namespace: a, labels: {{kubernetes.io/service-name: web}}}}
addressType: IPv4
ports: [{{port: 80}}]
endpoints:
- {{addresses: [10.1.0.1], hints: {{forZones: [{{name: east}}]}}}}
- {{addresses: [10.1.0.2], hints: {{forZones: [{{name: west}}, {{name: east}}]}}}}
- {{addresses: [10.1.0.3], {third}}}
- {{addresses: [10.1.0.4], conditions: {{ready: false}}}}
"
            )
        };
        let west = "hints: {forZones: [{name: west}]}";
        let all = "10.1.0.1:80 10.1.0.2:80 10.1.0.3:80";
        for (third, zone, expected) in [
            (west, Some("east"), "10.1.0.1:80 10.1.0.2:80"),
            (west, Some("west"), "10.1.0.2:80 10.1.0.3:80"),
            (west, Some("north"), all),
            (west, None, all),
            ("hints: null", Some("east"), all),
        ] {
            let found = endpoints_in(zone, &manifests(third), Through::Endpoints, "web", 80);
            assert_eq!(found, expected, "{zone:?} {third}");
        }
    }
}
