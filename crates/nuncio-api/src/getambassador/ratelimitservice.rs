use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{ProtocolVersion, V2ExplicitTls};

/// `RateLimitService.spec`: who counts requests by their labels.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct RateLimitService {
    /// Which nuncio takes it, by `AMBASSADOR_ID`; `default` when absent.
    pub ambassador_id: Option<Vec<String>>,
    /// Who counts, as in a Mapping; the first RateLimitService counts.
    ///
    /// Envoy: `RateLimitServiceConfig.grpc_service`.
    pub service: Option<String>,
    /// Longest time for an answer, in milliseconds; 20 when absent.
    ///
    /// Envoy: `RateLimit.timeout`.
    pub timeout_ms: Option<i64>,
    /// Which of a Mapping's labels count; `default_label_domain` of the Module when absent.
    ///
    /// Envoy: `RateLimit.domain`.
    pub domain: Option<String>,
    /// Name of a TLSContext to originate TLS with.
    ///
    /// Envoy: `UpstreamTlsContext`.
    ///
    /// Emissary: with a name that no TLSContext has it is asked in cleartext there.
    pub tls: Option<String>,
    /// The version of Envoy's API, which must be `v3`.
    ///
    /// Envoy: `RateLimitServiceConfig.transport_api_version`.
    pub protocol_version: Option<ProtocolVersion>,
    /// Name of the RateLimitService in statistics.
    ///
    /// Envoy: `Cluster.alt_stat_name`.
    pub stats_name: Option<String>,
    /// Whether requests that it does not answer are answered with 500.
    ///
    /// Envoy: `RateLimit.failure_mode_deny`.
    pub failure_mode_deny: Option<bool>,
    /// How gRPC requests are refused.
    ///
    /// Envoy: `RateLimit.rate_limited_as_resource_exhausted`.
    pub grpc: Option<RateLimitGrpc>,
    /// How `tls` and `service` were written as v2.
    #[serde(rename = "v2ExplicitTLS")]
    pub v2_explicit_tls: Option<V2ExplicitTls>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct RateLimitGrpc {
    /// Answers RESOURCE_EXHAUSTED instead of UNAVAILABLE.
    ///
    /// Envoy: `RateLimit.rate_limited_as_resource_exhausted`.
    ///
    /// Emissary: it has no effect there.
    pub use_resource_exhausted_code: Option<bool>,
}
