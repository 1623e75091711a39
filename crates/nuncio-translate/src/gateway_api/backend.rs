//! Backends: from a reference to a Service to a cluster.

use std::sync::Arc;
use std::time::Duration;

use nuncio_api::core::{ServicePort, ServiceSpec};
use nuncio_api::gateway_api::BackendObjectReference;
use nuncio_model::cluster::{Cluster, Discovery, EndpointSet, UpstreamProtocol};
use nuncio_model::listener::HeaderCase;
use nuncio_model::tls::Origination;
use nuncio_model::{Origin, Reason};

use super::attach::{Route, Spec};
use super::grant::{self, From, To};
use super::policy::Policies;
use super::policy::settings::BackendSettings;
use super::rule::Facts;
use super::{Context, Fault};
use crate::resolve::{self, Resolved, Through, resolve_port};
use crate::store::{Object, Store};

/// Longest wait for a connection to an endpoint.
pub(super) const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);

/// What a backend speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Protocol {
    Http1,
    Http2,
    /// Bytes, whatever they mean.
    Any,
    Datagrams,
}

/// What a route's backends speak where their Service does not say.
fn default_protocol(route: &Route<'_>) -> Protocol {
    match route.spec {
        Spec::Http(_) => Protocol::Http1,
        Spec::Grpc(_) => Protocol::Http2,
        Spec::Stream(_) if route.kind() == "UDPRoute" => Protocol::Datagrams,
        Spec::Stream(_) => Protocol::Any,
    }
}

/// A Service is its endpoints, where anybody says which they are.
pub(super) fn through(store: &Store, service: &Object<ServiceSpec>) -> Through {
    let (namespace, name) = (service.namespace(), service.name());
    let mut slices = store.slices_of(namespace, name);
    match slices.next().is_some() || store.endpoints.get(namespace, name).is_some() {
        true => Through::Endpoints,
        false => Through::Service,
    }
}

/// Resolves references of one route, and keeps what cannot be resolved.
pub(super) struct Backends<'r> {
    pub(super) route: &'r Route<'r>,
    pub(super) facts: &'r Facts,
    pub(super) policies: &'r Policies,
    /// The first of them.
    pub(super) unresolved: Option<Fault>,
}

impl<'r> Backends<'r> {
    pub(super) fn new(route: &'r Route<'r>, facts: &'r Facts, policies: &'r Policies) -> Self {
        Self {
            route,
            facts,
            policies,
            unresolved: None,
        }
    }

    /// The cluster of a backend; `None` is one whose requests are answered with 500.
    pub(super) fn resolve(
        &mut self,
        context: &mut Context<'_>,
        reference: &BackendObjectReference,
        field: &str,
        settings: &BackendSettings,
    ) -> Option<Arc<str>> {
        let protocol = default_protocol(self.route);
        self.resolve_as(context, reference, field, protocol, settings)
    }

    /// The same of one that speaks another protocol than the route's backends, where its Service does not say.
    pub(super) fn resolve_as(
        &mut self,
        context: &mut Context<'_>,
        reference: &BackendObjectReference,
        field: &str,
        protocol: Protocol,
        settings: &BackendSettings,
    ) -> Option<Arc<str>> {
        let at = self.route.at(field);
        match self.cluster(context, reference, &at, protocol, settings) {
            Ok(cluster) => cluster,
            Err(fault) => {
                self.unresolved.get_or_insert(fault);
                None
            }
        }
    }

    fn cluster(
        &mut self,
        context: &mut Context<'_>,
        reference: &BackendObjectReference,
        at: &Origin,
        protocol: Protocol,
        settings: &BackendSettings,
    ) -> Result<Option<Arc<str>>, Fault> {
        let (route, facts) = (self.route, self.facts);
        let store = context.store;
        let group = reference.group.as_deref().unwrap_or_default();
        let kind = reference.kind.as_deref().unwrap_or("Service");
        if (group, kind) != ("", "Service") {
            return Err(context.fault(
                at,
                Reason::RefInvalid,
                "InvalidKind",
                format!("requests are not sent to a {}", kind.escape_debug()),
                "name a Service",
            ));
        }
        let namespace = reference
            .namespace
            .as_deref()
            .unwrap_or(&route.meta.namespace);
        let name = reference.name.as_str();
        let from = From {
            kind: route.kind(),
            namespace: &route.meta.namespace,
        };
        let to = To {
            group,
            kind,
            namespace,
            name,
        };
        if !grant::permits(store, from, to) {
            return Err(context.not_permitted(at, from, to));
        }
        let Some(service) = store.services.get(namespace, name) else {
            return Err(context.fault(
                at,
                Reason::RefNotFound,
                "BackendNotFound",
                format!("there is no Service {name} in namespace {namespace}"),
                "create it, or name one that exists",
            ));
        };
        if service.spec.type_.as_deref() == Some("ExternalName") {
            // Whoever may write routes could reach anything that the gateway can.
            return Err(context.fault(
                at,
                Reason::RefInvalid,
                "InvalidKind",
                format!("Service {namespace}/{name} is an ExternalName"),
                "write a Service with a selector, or with EndpointSlices",
            ));
        }
        let named = reference.port;
        let listed = named.and_then(|port| listed(&service.spec, port, protocol));
        let (Some(port), Some(listed)) = (reference.port, listed) else {
            let ports = service.spec.ports.iter().map(|port| port.port.to_string());
            let ports: Vec<_> = ports.collect();
            return Err(context.fault(
                at,
                Reason::RefNotFound,
                "BackendNotFound",
                match reference.port {
                    Some(port) => format!("Service {namespace}/{name} has no port {port}"),
                    None => "a Service needs a port".to_owned(),
                },
                format!("write one of {}", ports.join(", ")),
            ));
        };
        let protocol = spoken(listed, protocol);
        let tls = match self.policies.backend_tls.of_service(service, listed, facts) {
            None => None,
            Some(Ok(origination)) => Some(origination),
            // Nothing is sent in cleartext that was to be encrypted.
            Some(Err(())) => return Ok(None),
        };
        if listed.app_protocol.as_deref() == Some("kubernetes.io/wss") && tls.is_none() {
            return Err(context.fault(
                at,
                Reason::RefInvalid,
                "UnsupportedProtocol",
                format!("Service {namespace}/{name} wants TLS, and no BackendTLSPolicy says how"),
                "write a BackendTLSPolicy for it",
            ));
        }
        Ok(Some(make(
            context, service, port, protocol, tls, settings, at,
        )))
    }
}

fn listed(service: &ServiceSpec, port: u16, protocol: Protocol) -> Option<&ServicePort> {
    let wanted = match protocol {
        Protocol::Datagrams => "UDP",
        Protocol::Http1 | Protocol::Http2 | Protocol::Any => "TCP",
    };
    let is_its = |listed: &&ServicePort| listed.protocol.as_deref().unwrap_or("TCP") == wanted;
    let mut ports = service.ports.iter().filter(is_its);
    ports.find(|listed| listed.port == port)
}

/// What a port's `appProtocol` says.
fn spoken(port: &ServicePort, default: Protocol) -> Protocol {
    match port.app_protocol.as_deref() {
        _ if matches!(default, Protocol::Any | Protocol::Datagrams) => default,
        Some("kubernetes.io/h2c") => Protocol::Http2,
        Some("kubernetes.io/ws" | "kubernetes.io/wss") => Protocol::Http1,
        _ => default,
    }
}

/// The cluster of a Service's port. Everything that tells two apart is in the name.
fn make(
    context: &mut Context<'_>,
    service: &Object<ServiceSpec>,
    port: u16,
    protocol: Protocol,
    tls: Option<Origination>,
    settings: &BackendSettings,
    at: &Origin,
) -> Arc<str> {
    let (namespace, service_name) = (service.namespace(), service.name());
    let mut name = format!("service/{namespace}/{service_name}/{port}");
    match protocol {
        Protocol::Http1 | Protocol::Any => {}
        Protocol::Http2 => name.push_str("/http2"),
        Protocol::Datagrams => name.push_str("/udp"),
    }
    if let Some(tls) = &tls {
        let parts = [&tls.sni, &tls.validation, &tls.certificate];
        for part in parts.into_iter().flatten() {
            name.push_str(&format!("/{part}"));
        }
    }
    for policy in &settings.from {
        name.push_str(&format!("/policy/{policy}"));
    }
    let name: Arc<str> = name.into();
    if context.gateway.clusters.contains_key(&name) {
        return name;
    }
    let through = through(context.store, service);
    let of = match protocol {
        Protocol::Datagrams => resolve::Protocol::Udp,
        Protocol::Http1 | Protocol::Http2 | Protocol::Any => resolve::Protocol::First,
    };
    let resolved = resolve_port(context.store, service, through, port, of);
    let reads = &mut context.endpoint_reads;
    reads.record_port(through, port, of, &resolved);
    let discovery = match resolved {
        Resolved::Service {
            id,
            set_name,
            endpoints,
            note,
        } => {
            if let Some(note) = note {
                context
                    .report
                    .warning(
                        at,
                        Reason::RefInvalid,
                        format!("Service {namespace}/{service_name}: {note}"),
                    )
                    .help("until it has endpoints, requests are answered with 503");
            }
            let set = EndpointSet {
                name: Arc::clone(&set_name),
                origin: Origin::new(id),
                endpoints,
            };
            let endpoints = &mut context.gateway.endpoints;
            endpoints.insert(Arc::clone(&set_name), Arc::new(set));
            Discovery::Eds(set_name)
        }
        Resolved::Address(_) | Resolved::ExternalName(_) | Resolved::Unknown => {
            Discovery::Static(Vec::new())
        }
    };
    let cluster = Cluster {
        name: Arc::clone(&name),
        alt_stat_name: Some(
            format!("{service_name}_{namespace}_{port}")
                .replace('.', "_")
                .into(),
        ),
        origin: service.origin(),
        discovery,
        connect_timeout: settings.connect_timeout.unwrap_or(CONNECT_TIMEOUT),
        circuit_breakers: settings.circuit_breakers.clone().unwrap_or_default(),
        protocol: match protocol {
            Protocol::Http1 | Protocol::Any | Protocol::Datagrams => UpstreamProtocol::Http1,
            Protocol::Http2 => UpstreamProtocol::Http2,
        },
        tls,
        idle_timeout: settings.idle_timeout,
        max_connection_duration: settings
            .max_connection_duration
            .filter(|duration| !duration.is_zero()),
        lb_policy: settings
            .load_balancing
            .as_ref()
            .map(|balancing| balancing.policy)
            .unwrap_or_default(),
        keepalive: settings.keepalive,
        health_checks: settings.health_checks.clone().unwrap_or_default(),
        outlier_detection: settings.outlier_detection,
        header_case: HeaderCase::Lower,
    };
    context
        .gateway
        .clusters
        .insert(Arc::clone(&name), Arc::new(cluster));
    name
}
