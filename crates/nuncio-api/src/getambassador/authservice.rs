use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{CircuitBreaker, ProtocolVersion, V2ExplicitTls};

/// `AuthService.spec`: who decides whether a request may pass.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct AuthService {
    pub ambassador_id: Option<Vec<String>>,
    pub auth_service: Option<String>,
    pub path_prefix: Option<String>,
    pub tls: Option<String>,
    /// `http` when absent.
    pub proto: Option<AuthProtocol>,
    pub timeout_ms: Option<i64>,
    pub allowed_request_headers: Option<Vec<String>>,
    pub allowed_authorization_headers: Option<Vec<String>>,
    pub add_auth_headers: Option<BTreeMap<String, String>>,
    /// Deprecated: use `include_body`.
    pub allow_request_body: Option<bool>,
    pub add_linkerd_headers: Option<bool>,
    pub failure_mode_allow: Option<bool>,
    pub include_body: Option<IncludeBody>,
    pub status_on_error: Option<StatusOnError>,
    pub protocol_version: Option<ProtocolVersion>,
    pub stats_name: Option<String>,
    pub circuit_breakers: Option<Vec<CircuitBreaker>>,
    #[serde(rename = "v2ExplicitTLS")]
    pub v2_explicit_tls: Option<V2ExplicitTls>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum AuthProtocol {
    Http,
    Grpc,
}

/// How much of a request's body is sent along.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct IncludeBody {
    pub max_bytes: i64,
    pub allow_partial: bool,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct StatusOnError {
    pub code: Option<i64>,
}
