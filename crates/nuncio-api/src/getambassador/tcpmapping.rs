use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{CircuitBreaker, NumberOrString};

/// `TCPMapping.spec`: which connections go to which service.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct TcpMapping {
    pub ambassador_id: Option<Vec<String>>,
    pub port: Option<u16>,
    /// The address that the Listener binds, when absent.
    pub address: Option<String>,
    /// A server name (SNI): such a connection is TLS, which is terminated.
    pub host: Option<String>,
    pub service: Option<String>,
    pub tls: Option<String>,
    pub weight: Option<i64>,
    pub resolver: Option<String>,
    pub enable_ipv4: Option<bool>,
    pub enable_ipv6: Option<bool>,
    pub circuit_breakers: Option<Vec<CircuitBreaker>>,
    pub cluster_tag: Option<String>,
    pub idle_timeout_ms: Option<NumberOrString>,
    pub stats_name: Option<String>,
    #[serde(rename = "v2ExplicitTLS")]
    pub v2_explicit_tls: Option<Value>,
}
