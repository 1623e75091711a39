use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{ProtocolVersion, V2ExplicitTls};

/// `RateLimitService.spec`: who counts requests by their labels.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct RateLimitService {
    pub ambassador_id: Option<Vec<String>>,
    pub service: Option<String>,
    pub timeout_ms: Option<i64>,
    /// Which of a Mapping's labels count.
    pub domain: Option<String>,
    pub tls: Option<String>,
    pub protocol_version: Option<ProtocolVersion>,
    pub stats_name: Option<String>,
    pub failure_mode_deny: Option<bool>,
    pub grpc: Option<RateLimitGrpc>,
    #[serde(rename = "v2ExplicitTLS")]
    pub v2_explicit_tls: Option<V2ExplicitTls>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct RateLimitGrpc {
    /// Answers RESOURCE_EXHAUSTED instead of UNAVAILABLE.
    pub use_resource_exhausted_code: Option<bool>,
}
