use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// `Mapping.spec`: which requests go to which service, and how.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Mapping {
    pub ambassador_id: Option<Vec<String>>,

    // What it matches.
    pub prefix: Option<String>,
    pub prefix_regex: Option<bool>,
    pub prefix_exact: Option<bool>,
    pub case_sensitive: Option<bool>,
    pub hostname: Option<String>,
    /// Deprecated: use `hostname`.
    pub host: Option<String>,
    /// Deprecated: use `hostname`.
    pub host_regex: Option<bool>,
    pub headers: BTreeMap<String, String>,
    pub regex_headers: BTreeMap<String, String>,
    pub method: Option<String>,
    pub method_regex: Option<bool>,
    pub query_parameters: BTreeMap<String, String>,
    pub regex_query_parameters: BTreeMap<String, String>,
    pub precedence: Option<i64>,

    // Where it goes.
    pub service: Option<String>,
    pub tls: Option<String>,
    pub resolver: Option<String>,
    pub load_balancer: Option<LoadBalancer>,
    pub circuit_breakers: Option<Vec<CircuitBreaker>>,
    pub connect_timeout_ms: Option<i64>,
    pub cluster_idle_timeout_ms: Option<i64>,
    pub cluster_max_connection_lifetime_ms: Option<i64>,
    pub keepalive: Option<KeepAlive>,
    pub dns_type: Option<String>,
    pub respect_dns_ttl: Option<bool>,
    pub enable_ipv4: Option<bool>,
    pub enable_ipv6: Option<bool>,
    pub grpc: Option<bool>,
    pub health_checks: Option<Vec<HealthCheck>>,
    pub cluster_tag: Option<String>,
    pub stats_name: Option<String>,
    pub outlier_detection: Option<OutlierDetection>,

    // What is done on the way.
    pub timeout_ms: Option<i64>,
    pub idle_timeout_ms: Option<i64>,
    /// `/` when absent; the empty string leaves the path alone.
    pub rewrite: Option<String>,
    pub regex_rewrite: Option<RegexRewrite>,
    pub host_rewrite: Option<String>,
    pub auto_host_rewrite: Option<bool>,
    pub host_redirect: Option<bool>,
    pub path_redirect: Option<String>,
    pub prefix_redirect: Option<String>,
    pub regex_redirect: Option<RegexRewrite>,
    pub redirect_response_code: Option<i64>,
    pub shadow: Option<bool>,
    pub weight: Option<i64>,
    pub priority: Option<String>,
    pub add_request_headers: Option<BTreeMap<String, AddedHeader>>,
    pub add_response_headers: Option<BTreeMap<String, AddedHeader>>,
    pub remove_request_headers: Option<Vec<String>>,
    pub remove_response_headers: Option<Vec<String>>,
    pub add_linkerd_headers: Option<bool>,
    pub allow_upgrade: Option<Vec<String>>,
    /// Deprecated: use `allow_upgrade: [websocket]`.
    pub use_websocket: Option<bool>,
    pub cors: Option<Cors>,
    pub retry_policy: Option<RetryPolicy>,
    pub labels: Option<Value>,
    pub bypass_auth: Option<bool>,
    pub auth_context_extensions: Option<BTreeMap<String, String>>,
    pub error_response_overrides: Option<Vec<ErrorResponseOverride>>,
    pub bypass_error_response_overrides: Option<bool>,

    // What has no part in routing.
    pub docs: Option<Value>,
    pub envoy_override: Option<Value>,
    pub modules: Option<Vec<Value>>,
    #[serde(rename = "v2ExplicitTLS")]
    pub v2_explicit_tls: Option<Value>,
    #[serde(rename = "v2BoolHeaders")]
    pub v2_bool_headers: Option<Vec<String>>,
    #[serde(rename = "v2BoolQueryParameters")]
    pub v2_bool_query_parameters: Option<Vec<String>>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct RegexRewrite {
    pub pattern: String,
    pub substitution: String,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct AddedHeader {
    pub value: String,
    /// `true` when absent: the client's header stays beside it.
    pub append: Option<bool>,
    #[serde(rename = "v2Representation")]
    pub v2_representation: Option<String>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct CircuitBreaker {
    pub priority: Option<String>,
    pub max_connections: Option<i64>,
    pub max_pending_requests: Option<i64>,
    pub max_requests: Option<i64>,
    pub max_retries: Option<i64>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct KeepAlive {
    pub idle_time: Option<i64>,
    /// Another name of `idle_time`, which Modules have.
    pub time: Option<i64>,
    pub interval: Option<i64>,
    pub probes: Option<i64>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct LoadBalancer {
    pub policy: String,
    pub cookie: Option<LoadBalancerCookie>,
    pub header: Option<String>,
    pub source_ip: Option<bool>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct LoadBalancerCookie {
    pub name: String,
    pub path: Option<String>,
    pub ttl: Option<String>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Cors {
    pub origins: Vec<String>,
    pub methods: Vec<String>,
    pub headers: Vec<String>,
    pub exposed_headers: Vec<String>,
    pub credentials: Option<bool>,
    pub max_age: Option<String>,
    #[serde(rename = "v2CommaSeparatedOrigins")]
    pub v2_comma_separated_origins: Option<bool>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct RetryPolicy {
    pub retry_on: Option<String>,
    pub num_retries: Option<i64>,
    pub per_try_timeout: Option<String>,
}

/// Envoy's own requests to each endpoint.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct HealthCheck {
    pub timeout: Option<String>,
    pub interval: Option<String>,
    pub healthy_threshold: Option<i64>,
    pub unhealthy_threshold: Option<i64>,
    pub health_check: HealthCheckLayer,
}

/// Exactly one of them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct HealthCheckLayer {
    pub http: Option<HttpHealthCheck>,
    pub grpc: Option<GrpcHealthCheck>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct HttpHealthCheck {
    pub path: Option<String>,
    pub hostname: Option<String>,
    pub add_request_headers: BTreeMap<String, AddedHeader>,
    pub remove_request_headers: Vec<String>,
    pub expected_statuses: Vec<StatusRange>,
}

/// From and to, both included.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct StatusRange {
    pub min: i64,
    pub max: i64,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct GrpcHealthCheck {
    pub upstream_name: Option<String>,
    pub authority: Option<String>,
}

/// When a failing endpoint is left out, in Envoy's words; the API has a text, which is then YAML.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum OutlierDetection {
    Settings(OutlierDetectionSettings),
    Text(String),
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct OutlierDetectionSettings {
    pub consecutive_5xx: Option<i64>,
    pub consecutive_gateway_failure: Option<i64>,
    pub consecutive_local_origin_failure: Option<i64>,
    pub interval: Option<String>,
    pub base_ejection_time: Option<String>,
    pub max_ejection_time: Option<String>,
    pub max_ejection_percent: Option<i64>,
    pub split_external_local_origin_errors: Option<bool>,
}

/// What is answered in place of an error.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct ErrorResponseOverride {
    pub on_status_code: Option<i64>,
    pub body: Option<ErrorResponseBody>,
}

/// Exactly one of `text_format`, `json_format` and `text_format_source`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct ErrorResponseBody {
    pub text_format: Option<String>,
    pub json_format: Option<BTreeMap<String, Value>>,
    pub text_format_source: Option<ErrorResponseFile>,
    pub content_type: Option<String>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct ErrorResponseFile {
    pub filename: Option<String>,
}
