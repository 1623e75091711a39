//! CDS: [`Cluster`] → `envoy.config.cluster.v3.Cluster`.

use std::collections::BTreeMap;
use std::sync::Arc;

use nuncio_envoy_api::envoy::config::cluster::v3 as cds;
use nuncio_envoy_api::envoy::config::core::v3 as core;
use nuncio_envoy_api::envoy::extensions::upstreams::http::v3 as http;
use nuncio_envoy_api::pack;
use nuncio_envoy_api::resource::{Resource, ResourceType};
use nuncio_model::cluster::{
    CircuitBreaker, Cluster, Discovery, DnsFamily, DnsLookup, LbPolicy, UpstreamProtocol,
};
use nuncio_model::route::Priority;

use crate::endpoints::{address, assignment};
use crate::proto::{ads, duration, header_key_format, named_address, pipe, uint32};
use crate::{health, resource, tls};

const HTTP_PROTOCOL_OPTIONS: &str = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions";

/// Encodes a cluster. The resource says which assignment and which secrets it waits for.
pub fn cluster(cluster: &Cluster) -> Resource {
    let mut message = cds::Cluster {
        name: cluster.name.to_string(),
        alt_stat_name: cluster
            .alt_stat_name
            .as_deref()
            .unwrap_or_default()
            .to_owned(),
        connect_timeout: duration(cluster.connect_timeout),
        circuit_breakers: circuit_breakers(&cluster.circuit_breakers),
        transport_socket: cluster.tls.as_ref().map(tls::upstream),
        lb_policy: match cluster.lb_policy {
            LbPolicy::RoundRobin => cds::cluster::LbPolicy::RoundRobin,
            LbPolicy::LeastRequest => cds::cluster::LbPolicy::LeastRequest,
            LbPolicy::RingHash => cds::cluster::LbPolicy::RingHash,
            LbPolicy::Maglev => cds::cluster::LbPolicy::Maglev,
        }
        .into(),
        upstream_connection_options: cluster.keepalive.map(|keepalive| {
            cds::UpstreamConnectionOptions {
                tcp_keepalive: Some(core::TcpKeepalive {
                    keepalive_probes: keepalive.probes.and_then(uint32),
                    keepalive_time: keepalive.idle_time.and_then(uint32),
                    keepalive_interval: keepalive.interval.and_then(uint32),
                }),
                ..Default::default()
            }
        }),
        health_checks: cluster
            .health_checks
            .iter()
            .map(health::health_check)
            .collect(),
        outlier_detection: cluster
            .outlier_detection
            .as_ref()
            .map(health::outlier_detection),
        typed_extension_protocol_options: BTreeMap::from([(
            HTTP_PROTOCOL_OPTIONS.to_owned(),
            pack(&protocol_options(cluster)),
        )]),
        ..Default::default()
    };
    let assignment = discovery(&mut message, &cluster.discovery);
    let assignment = assignment.map(|name| (ResourceType::ClusterLoadAssignment, name));
    let secrets = cluster
        .tls
        .iter()
        .flat_map(|tls| tls.certificate.iter().chain(&tls.validation))
        .map(|name| (ResourceType::Secret, Arc::clone(name)));
    Resource {
        requires: assignment.into_iter().chain(secrets).collect(),
        ..resource(&message)
    }
}

fn discovery(message: &mut cds::Cluster, discovery: &Discovery) -> Option<Arc<str>> {
    use cds::cluster::{ClusterDiscoveryType, DiscoveryType, DnsLookupFamily, EdsClusterConfig};
    let (kind, name) = match discovery {
        Discovery::Eds(name) => {
            message.eds_cluster_config = Some(EdsClusterConfig {
                eds_config: Some(ads()),
                service_name: name.to_string(),
            });
            (DiscoveryType::Eds, Some(Arc::clone(name)))
        }
        Discovery::Static(endpoints) => {
            message.load_assignment =
                Some(assignment(&message.name, endpoints.iter().map(address)));
            (DiscoveryType::Static, None)
        }
        Discovery::Pipe(path) => {
            message.load_assignment = Some(assignment(&message.name, std::iter::once(pipe(path))));
            (DiscoveryType::Static, None)
        }
        Discovery::Dns {
            host,
            port,
            lookup,
            family,
            respect_ttl,
            others,
        } => {
            let others = others.iter().map(|(host, port)| (host, port));
            let all = std::iter::once((host, port)).chain(others);
            message.load_assignment = Some(assignment(
                &message.name,
                all.map(|(host, port)| named_address(host, *port)),
            ));
            message.dns_lookup_family = match family {
                DnsFamily::V4Only => DnsLookupFamily::V4Only,
                DnsFamily::V6Only => DnsLookupFamily::V6Only,
                DnsFamily::Auto => DnsLookupFamily::Auto,
            }
            .into();
            // Deprecated for an extension of DNS clusters that says nothing more.
            #[allow(deprecated)]
            {
                message.respect_dns_ttl = *respect_ttl;
            }
            let kind = match lookup {
                DnsLookup::Strict => DiscoveryType::StrictDns,
                DnsLookup::Logical => DiscoveryType::LogicalDns,
            };
            (kind, None)
        }
    };
    message.cluster_discovery_type = Some(ClusterDiscoveryType::Type(kind.into()));
    name
}

fn protocol_options(cluster: &Cluster) -> http::HttpProtocolOptions {
    use http::http_protocol_options::{
        ExplicitHttpConfig, UpstreamProtocolOptions, explicit_http_config::ProtocolConfig,
    };
    let protocol = match cluster.protocol {
        UpstreamProtocol::Http1 => {
            ProtocolConfig::HttpProtocolOptions(core::Http1ProtocolOptions {
                header_key_format: header_key_format(cluster.header_case),
                ..Default::default()
            })
        }
        UpstreamProtocol::Http2 => {
            ProtocolConfig::Http2ProtocolOptions(core::Http2ProtocolOptions::default())
        }
    };
    let common = core::HttpProtocolOptions {
        idle_timeout: cluster.idle_timeout.and_then(duration),
        max_connection_duration: cluster.max_connection_duration.and_then(duration),
        ..Default::default()
    };
    http::HttpProtocolOptions {
        common_http_protocol_options: (common != core::HttpProtocolOptions::default())
            .then_some(common),
        upstream_protocol_options: Some(UpstreamProtocolOptions::ExplicitHttpConfig(
            ExplicitHttpConfig {
                protocol_config: Some(protocol),
            },
        )),
        ..Default::default()
    }
}

fn circuit_breakers(breakers: &[CircuitBreaker]) -> Option<cds::CircuitBreakers> {
    let threshold = |breaker: &CircuitBreaker| cds::circuit_breakers::Thresholds {
        priority: routing_priority(breaker.priority).into(),
        max_connections: breaker.max_connections.and_then(uint32),
        max_pending_requests: breaker.max_pending_requests.and_then(uint32),
        max_requests: breaker.max_requests.and_then(uint32),
        max_retries: breaker.max_retries.and_then(uint32),
        ..Default::default()
    };
    (!breakers.is_empty()).then(|| cds::CircuitBreakers {
        thresholds: breakers.iter().map(threshold).collect(),
        ..Default::default()
    })
}

pub(crate) fn routing_priority(priority: Priority) -> core::RoutingPriority {
    match priority {
        Priority::Default => core::RoutingPriority::Default,
        Priority::High => core::RoutingPriority::High,
    }
}
