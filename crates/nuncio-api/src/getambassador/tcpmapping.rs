use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{CircuitBreaker, NumberOrString, V2ExplicitTls};

/// `TCPMapping.spec`: which connections go to which service.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct TcpMapping {
    /// Which nuncio takes it, by `AMBASSADOR_ID`; `default` when absent.
    pub ambassador_id: Option<Vec<String>>,
    /// The port that connections come to.
    ///
    /// Envoy: `Listener.address`.
    pub port: Option<u16>,
    /// The address that they come to; that of the Listeners when absent.
    ///
    /// Envoy: `Listener.address`.
    pub address: Option<String>,
    /// The server name of the connections, which are TLS and are terminated.
    ///
    /// Envoy: `FilterChainMatch.server_names`.
    pub host: Option<String>,
    /// Where they go, as in a Mapping.
    ///
    /// Envoy: `TcpProxy.weighted_clusters`.
    pub service: Option<String>,
    /// Name of a TLSContext to originate TLS with.
    ///
    /// Envoy: `UpstreamTlsContext`.
    ///
    /// Emissary: without the one that is named bytes go out in cleartext there; here connections are
    /// closed.
    pub tls: Option<String>,
    /// Share in percent among TCPMappings with the same port, address and host.
    ///
    /// Envoy: `TcpProxy.weighted_clusters`.
    ///
    /// Emissary: shares are wrong there: they are added up.
    pub weight: Option<i64>,
    /// As in a Mapping.
    ///
    /// Envoy: `Cluster.type`.
    pub resolver: Option<String>,
    /// As in a Mapping.
    ///
    /// Envoy: `Cluster.dns_lookup_family`.
    pub enable_ipv4: Option<bool>,
    /// As in a Mapping.
    ///
    /// Envoy: `Cluster.dns_lookup_family`.
    pub enable_ipv6: Option<bool>,
    /// As in a Mapping.
    ///
    /// Envoy: `CircuitBreakers.thresholds`.
    pub circuit_breakers: Option<Vec<CircuitBreaker>>,
    /// Part of the cluster's name in statistics.
    ///
    /// Envoy: `Cluster.name`.
    pub cluster_tag: Option<String>,
    /// Longest time without a byte, in milliseconds; one hour when absent.
    ///
    /// Envoy: `TcpProxy.idle_timeout`.
    ///
    /// Emissary: it has no effect there.
    pub idle_timeout_ms: Option<NumberOrString>,
    /// Name of the service in statistics.
    ///
    /// Envoy: `Cluster.alt_stat_name`.
    ///
    /// Emissary: it has no effect there.
    pub stats_name: Option<String>,
    /// How `tls` and `service` were written as v2.
    #[serde(rename = "v2ExplicitTLS")]
    pub v2_explicit_tls: Option<V2ExplicitTls>,
}
