use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{
    AddedHeader, CircuitBreaker, ErrorResponseOverride, KeepAlive, LoadBalancer, RetryPolicy,
};

/// `Module.spec.config` of the Module `ambassador`: defaults of Mappings, and what holds for every
/// request. Emissary's API has no type for it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct ModuleConfig {
    pub ambassador_id: Option<StringOrList>,

    // Defaults of Mappings.
    pub add_linkerd_headers: Option<bool>,
    pub circuit_breakers: Option<Vec<CircuitBreaker>>,
    pub cluster_idle_timeout_ms: Option<i64>,
    pub cluster_max_connection_lifetime_ms: Option<i64>,
    pub cluster_request_timeout_ms: Option<i64>,
    pub cors: Option<ModuleCors>,
    pub default_label_domain: Option<String>,
    pub default_labels: Option<Value>,
    pub defaults: Option<ModuleDefaults>,
    pub enable_ipv4: Option<bool>,
    pub enable_ipv6: Option<bool>,
    pub error_response_overrides: Option<Vec<ErrorResponseOverride>>,
    pub keepalive: Option<KeepAlive>,
    pub load_balancer: Option<LoadBalancer>,
    pub resolver: Option<String>,
    pub retry_policy: Option<RetryPolicy>,
    pub use_ambassador_namespace_for_service_resolution: Option<bool>,

    // Built-in routes.
    pub diagnostics: Option<BuiltInRoute>,
    pub liveness_probe: Option<BuiltInRoute>,
    pub readiness_probe: Option<BuiltInRoute>,

    // Connections and requests.
    pub allow_chunked_length: Option<bool>,
    pub buffer_limit_bytes: Option<i64>,
    pub enable_http10: Option<bool>,
    /// What becomes of `x-forwarded-client-cert`.
    pub forward_client_cert_details: Option<String>,
    pub set_current_client_cert_details: Option<ClientCertDetails>,
    pub header_case_overrides: Option<Vec<String>>,
    pub proper_case: Option<bool>,
    pub headers_with_underscores_action: Option<String>,
    pub listener_idle_timeout_ms: Option<i64>,
    pub max_request_headers_kb: Option<i64>,
    pub merge_slashes: Option<bool>,
    pub preserve_external_request_id: Option<bool>,
    pub reject_requests_with_escaped_slashes: Option<bool>,
    pub server_name: Option<String>,
    pub strip_matching_host_port: Option<bool>,
    pub suppress_envoy_headers: Option<bool>,
    pub use_remote_address: Option<bool>,

    // Filters.
    pub buffer: Option<BufferSettings>,
    pub enable_grpc_http11_bridge: Option<bool>,
    pub enable_grpc_web: Option<bool>,
    pub grpc_stats: Option<GrpcStatsSettings>,
    pub gzip: Option<GzipSettings>,
    pub ip_allow: Option<Vec<BTreeMap<String, String>>>,
    pub ip_deny: Option<Vec<BTreeMap<String, String>>>,
    pub lua_scripts: Option<String>,

    // The access log.
    /// `text`, `json` or `typed_json`.
    pub envoy_log_type: Option<String>,
    /// A text, or an object of texts.
    pub envoy_log_format: Option<Value>,
    pub envoy_log_path: Option<String>,

    /// Of Envoy's process.
    pub runtime_flags: Option<BTreeMap<String, Value>>,

    // What has no effect.
    pub admin_port: Option<Value>,
    pub auth_enabled: Option<Value>,
    pub debug_mode: Option<Value>,
    pub envoy_validation_timeout: Option<Value>,
    pub prune_unreachable_routes: Option<Value>,
    pub regex_max_size: Option<Value>,
    pub regex_type: Option<Value>,
    pub service_port: Option<Value>,
    pub statsd: Option<Value>,
    pub tls: Option<Value>,
    pub use_proxy_proto: Option<Value>,
    pub x_forwarded_proto_redirect: Option<Value>,
    pub xff_num_trusted_hops: Option<Value>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum StringOrList {
    String(String),
    List(Vec<String>),
}

impl StringOrList {
    /// The items; a text has them between commas.
    pub fn items(&self) -> Vec<String> {
        match self {
            Self::String(text) => text
                .split(',')
                .map(str::trim)
                .filter(|item| !item.is_empty())
                .map(str::to_owned)
                .collect(),
            Self::List(items) => items.clone(),
        }
    }
}

/// As a Mapping's, but lists may be texts with commas.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct ModuleCors {
    pub origins: Option<StringOrList>,
    pub methods: Option<StringOrList>,
    pub headers: Option<StringOrList>,
    pub exposed_headers: Option<StringOrList>,
    pub credentials: Option<bool>,
    pub max_age: Option<super::NumberOrString>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct ModuleDefaults {
    pub httpmapping: Option<MappingDefaults>,
    pub tls_secret_namespacing: Option<bool>,
    #[serde(flatten)]
    pub all: MappingDefaults,
}

/// What a Mapping has that does not say so itself.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct MappingDefaults {
    pub add_request_headers: Option<BTreeMap<String, AddedHeader>>,
    pub add_response_headers: Option<BTreeMap<String, AddedHeader>>,
    pub remove_request_headers: Option<Vec<String>>,
    pub remove_response_headers: Option<Vec<String>>,
    pub stats_name: Option<String>,
}

/// A route to nuncio itself.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct BuiltInRoute {
    pub enabled: Option<bool>,
    pub prefix: Option<String>,
    pub rewrite: Option<String>,
    pub service: Option<String>,
    pub allow_non_local: Option<bool>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct ClientCertDetails {
    pub subject: bool,
    pub cert: bool,
    pub chain: bool,
    pub dns: bool,
    pub uri: bool,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct BufferSettings {
    pub max_request_bytes: Option<i64>,
    pub max_request_time: Option<i64>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct GrpcStatsSettings {
    pub all_methods: Option<bool>,
    pub services: Option<Vec<GrpcStatsService>>,
    pub upstream_stats: Option<bool>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct GrpcStatsService {
    pub name: String,
    #[serde(default)]
    pub method_names: Vec<String>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct GzipSettings {
    pub memory_level: Option<i64>,
    pub min_content_length: Option<i64>,
    pub compression_level: Option<String>,
    pub compression_strategy: Option<String>,
    pub window_bits: Option<i64>,
    pub content_type: Option<Vec<String>>,
    pub disable_on_etag_header: Option<bool>,
    pub remove_accept_encoding_header: Option<bool>,
}
