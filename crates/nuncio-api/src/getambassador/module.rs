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
    /// Nothing, as in Emissary: it stands beside `config`.
    pub ambassador_id: Option<Value>,

    // Defaults of Mappings.
    /// Default of Mappings.
    ///
    /// Envoy: `Route.request_headers_to_add`.
    pub add_linkerd_headers: Option<bool>,
    /// Default of Mappings and TCPMappings.
    ///
    /// Envoy: `CircuitBreakers.thresholds`.
    ///
    /// Emissary: wrong ones drop every Mapping there.
    pub circuit_breakers: Option<Vec<CircuitBreaker>>,
    /// Default of Mappings.
    ///
    /// Envoy: `HttpProtocolOptions.idle_timeout`.
    ///
    /// Emissary: 0 counts as absent there.
    pub cluster_idle_timeout_ms: Option<i64>,
    /// Default of Mappings.
    ///
    /// Envoy: `HttpProtocolOptions.max_connection_duration`.
    pub cluster_max_connection_lifetime_ms: Option<i64>,
    /// Default of `timeout_ms`.
    ///
    /// Envoy: `RouteAction.timeout`.
    pub cluster_request_timeout_ms: Option<i64>,
    /// Default of Mappings; lists may be texts with commas.
    ///
    /// Envoy: the filter `cors`.
    ///
    /// Emissary: a text with commas is taken apart letter by letter there.
    pub cors: Option<ModuleCors>,
    /// Domain of the labels of Mappings that have none, and of a RateLimitService that names none;
    /// `ambassador` when absent.
    ///
    /// Envoy: `RateLimit.domain`.
    pub default_label_domain: Option<String>,
    /// `{<domain>: {defaults: [label, …]}}`: labels of Mappings that have none, and the first of every
    /// group of the domain.
    ///
    /// Envoy: `RouteAction.rate_limits`.
    pub default_labels: Option<Value>,
    /// More defaults of Mappings; those below `httpmapping` count first.
    pub defaults: Option<ModuleDefaults>,
    /// Default of Mappings.
    ///
    /// Envoy: `Cluster.dns_lookup_family`.
    pub enable_ipv4: Option<bool>,
    /// Default of Mappings.
    ///
    /// Envoy: `Cluster.dns_lookup_family`.
    pub enable_ipv6: Option<bool>,
    /// What is answered in place of errors, also where no Mapping matches.
    ///
    /// Envoy: the filter `custom_response`.
    ///
    /// Emissary: Emissary 4 refuses it.
    pub error_response_overrides: Option<Vec<ErrorResponseOverride>>,
    /// Default of Mappings.
    ///
    /// Envoy: `TcpKeepalive`.
    pub keepalive: Option<KeepAlive>,
    /// Default of Mappings.
    ///
    /// Envoy: `Cluster.lb_policy`.
    pub load_balancer: Option<LoadBalancer>,
    /// Default of Mappings.
    ///
    /// Envoy: `Cluster.type`.
    ///
    /// Emissary: an unknown one drops every Mapping there.
    pub resolver: Option<String>,
    /// Default of Mappings.
    ///
    /// Envoy: `RouteAction.retry_policy`.
    ///
    /// Emissary: a wrong one switches `ip_allow` and what else comes after it off there.
    pub retry_policy: Option<RetryPolicy>,
    /// Whether a bare name of a service is one of nuncio's namespace, and not of the Mapping's.
    pub use_ambassador_namespace_for_service_resolution: Option<bool>,

    // Built-in routes.
    /// The built-in route `/ambassador/v0/`.
    ///
    /// Envoy: a route.
    pub diagnostics: Option<BuiltInRoute>,
    /// The built-in route `/ambassador/v0/check_alive`.
    ///
    /// Envoy: a route.
    ///
    /// Emissary: an object without `enabled` switches it off there.
    pub liveness_probe: Option<BuiltInRoute>,
    /// The built-in route `/ambassador/v0/check_ready`.
    ///
    /// Envoy: a route.
    ///
    /// Emissary: an object without `enabled` switches it off there.
    pub readiness_probe: Option<BuiltInRoute>,

    // Connections and requests.
    /// Whether a request may have both `content-length` and `transfer-encoding`.
    ///
    /// Envoy: `Http1ProtocolOptions.allow_chunked_length`.
    pub allow_chunked_length: Option<bool>,
    /// What is held of a connection before reading stops; a mebibyte when absent.
    ///
    /// Envoy: `Listener.per_connection_buffer_limit_bytes`.
    pub buffer_limit_bytes: Option<i64>,
    /// Whether HTTP/1.0 is spoken.
    ///
    /// Envoy: `Http1ProtocolOptions.accept_http_10`.
    pub enable_http10: Option<bool>,
    /// What becomes of `x-forwarded-client-cert`: `SANITIZE`, `FORWARD_ONLY`, `APPEND_FORWARD`,
    /// `SANITIZE_SET` or `ALWAYS_FORWARD_ONLY`.
    ///
    /// Envoy: `HttpConnectionManager.forward_client_cert_details`.
    pub forward_client_cert_details: Option<String>,
    /// What of a client's certificate is in it.
    ///
    /// Envoy: `HttpConnectionManager.set_current_client_cert_details`.
    pub set_current_client_cert_details: Option<ClientCertDetails>,
    /// Names of headers in a case of one's own: each is passed on as the other side wrote it.
    ///
    /// Envoy: `Http1ProtocolOptions.header_key_format`.
    ///
    /// Emissary: its own Envoy wrote them as they are listed; since version 4 it stops every
    /// change.
    pub header_case_overrides: Option<Vec<String>>,
    /// Whether names of headers are written `X-Request-Id`.
    ///
    /// Envoy: `Http1ProtocolOptions.header_key_format`.
    pub proper_case: Option<bool>,
    /// What becomes of headers with an underscore: `ALLOW`, `REJECT_REQUEST` or `DROP_HEADER`.
    ///
    /// Envoy: `HttpProtocolOptions.headers_with_underscores_action`.
    pub headers_with_underscores_action: Option<String>,
    /// How long a client's connection is kept without requests, in milliseconds; one hour when
    /// absent.
    ///
    /// Envoy: `HttpProtocolOptions.idle_timeout`.
    pub listener_idle_timeout_ms: Option<i64>,
    /// Kilobytes that a request's headers may have, 60 when absent.
    ///
    /// Envoy: `HttpConnectionManager.max_request_headers_kb`.
    pub max_request_headers_kb: Option<i64>,
    /// Whether `//` in a path is `/`.
    ///
    /// Envoy: `HttpConnectionManager.merge_slashes`.
    pub merge_slashes: Option<bool>,
    /// Whether a client's `x-request-id` is kept.
    ///
    /// Envoy: `HttpConnectionManager.preserve_external_request_id`.
    pub preserve_external_request_id: Option<bool>,
    /// Whether `%2F` and the like in a path are answered 400.
    ///
    /// Envoy: `HttpConnectionManager.path_with_escaped_slashes_action`.
    pub reject_requests_with_escaped_slashes: Option<bool>,
    /// The `server` header, `envoy` when absent.
    ///
    /// Envoy: `HttpConnectionManager.server_name`.
    pub server_name: Option<String>,
    /// Whether a host with the Listener's port is the host without it.
    ///
    /// Envoy: `HttpConnectionManager.strip_matching_host_port`.
    pub strip_matching_host_port: Option<bool>,
    /// Whether headers such as `x-envoy-upstream-service-time` are left out.
    ///
    /// Envoy: `Router.suppress_envoy_headers`.
    pub suppress_envoy_headers: Option<bool>,
    /// Whether the client is who connects, and not who `x-forwarded-for` says; true when absent.
    ///
    /// Envoy: `HttpConnectionManager.use_remote_address`.
    pub use_remote_address: Option<bool>,

    // Filters.
    /// Waits for whole requests.
    ///
    /// Envoy: the filter `buffer`.
    ///
    /// Emissary: a wrong one switches `ip_allow` and what else comes after it off there.
    pub buffer: Option<BufferSettings>,
    /// gRPC for clients of HTTP/1.1.
    ///
    /// Envoy: the filter `grpc_http1_bridge`.
    ///
    /// Emissary: false switches it on there.
    pub enable_grpc_http11_bridge: Option<bool>,
    /// gRPC for browsers.
    ///
    /// Envoy: the filter `grpc_web`.
    ///
    /// Emissary: false switches it on there.
    pub enable_grpc_web: Option<bool>,
    /// Statistics of gRPC.
    ///
    /// Envoy: the filter `grpc_stats`.
    pub grpc_stats: Option<GrpcStatsSettings>,
    /// Compression of responses.
    ///
    /// Envoy: the filter `compressor`.
    pub gzip: Option<GzipSettings>,
    /// Compresses responses for clients that take `br`, before gzip.
    ///
    /// Envoy: `envoy.filters.http.compressor`.
    ///
    /// Emissary: it has no such key.
    pub brotli: Option<BrotliSettings>,
    /// Addresses that may send requests; all others are answered 403. A wrong entry allows nobody.
    ///
    /// Envoy: the filter `rbac`.
    ///
    /// Emissary: with wrong entries alone everybody may there.
    pub ip_allow: Option<Vec<BTreeMap<String, String>>>,
    /// Addresses whose requests are answered 403.
    ///
    /// Envoy: the filter `rbac`.
    pub ip_deny: Option<Vec<BTreeMap<String, String>>>,
    /// A script that sees requests and responses.
    ///
    /// Envoy: the filter `lua`.
    ///
    /// Emissary: one with a mistake stops every change there.
    pub lua_scripts: Option<String>,

    // The access log.
    /// `text`, `json` or `typed_json`, which are the same.
    ///
    /// Envoy: `FileAccessLog.log_format`.
    pub envoy_log_type: Option<String>,
    /// A line, or an object, in whose texts are Envoy's operators, at any depth.
    ///
    /// Envoy: `FileAccessLog.log_format`.
    pub envoy_log_format: Option<Value>,
    /// File of the access log, `/dev/fd/1` when absent: standard output, whatever that is.
    ///
    /// Envoy: `FileAccessLog.path`, `StdoutAccessLog`.
    pub envoy_log_path: Option<String>,

    /// `http.max_requests_per_io_cycle`, `overload.premature_reset_min_stream_lifetime_seconds`,
    /// `overload.premature_reset_total_stream_count`,
    /// `envoy.restart_features.send_goaway_for_premature_rst_streams`.
    ///
    /// Envoy: a layer of the runtime.
    ///
    /// Emissary: the last of them has no effect there.
    pub runtime_flags: Option<BTreeMap<String, Value>>,

    // What has no effect.
    /// Nothing: Envoy's admin interface is on no port; a Mapping to `127.0.0.1:8001` reaches it.
    pub admin_port: Option<Value>,
    /// Nothing, as in Emissary.
    pub auth_enabled: Option<Value>,
    /// Nothing: diagnostics show everything.
    pub debug_mode: Option<Value>,
    /// Nothing: each resource is checked for itself.
    pub envoy_validation_timeout: Option<Value>,
    /// Nothing, as in Emissary.
    pub prune_unreachable_routes: Option<Value>,
    /// Nothing: expressions may have 20,000 instructions.
    ///
    /// Envoy: `re2.max_program_size.error_level`.
    ///
    /// Emissary: 200 when absent there.
    pub regex_max_size: Option<Value>,
    /// Nothing, as in Emissary.
    pub regex_type: Option<Value>,
    /// Nothing, as in Emissary: Listeners have ports.
    pub service_port: Option<Value>,
    /// Nothing, as in Emissary: see `STATSD_ENABLED`.
    pub statsd: Option<Value>,
    /// Nothing, as in Emissary: Hosts have `tlsSecret`.
    pub tls: Option<Value>,
    /// Nothing, as in Emissary: Listeners have `HTTPPROXY`.
    pub use_proxy_proto: Option<Value>,
    /// Nothing, as in Emissary: Hosts have `requestPolicy`.
    pub x_forwarded_proto_redirect: Option<Value>,
    /// Nothing, as in Emissary, though its documentation says otherwise: Listeners have `l7Depth`.
    /// That clients are trusted must be somebody's decision.
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
    /// Origins that may ask; `*` is every one.
    ///
    /// Envoy: `CorsPolicy.allow_origin_string_match`.
    pub origins: Option<StringOrList>,
    /// Methods that they may use.
    ///
    /// Envoy: `CorsPolicy.allow_methods`.
    pub methods: Option<StringOrList>,
    /// Headers that they may send.
    ///
    /// Envoy: `CorsPolicy.allow_headers`.
    pub headers: Option<StringOrList>,
    /// Headers that they may read.
    ///
    /// Envoy: `CorsPolicy.expose_headers`.
    pub exposed_headers: Option<StringOrList>,
    /// Whether they may send cookies.
    ///
    /// Envoy: `CorsPolicy.allow_credentials`.
    pub credentials: Option<bool>,
    /// Seconds that a browser remembers it.
    ///
    /// Envoy: `CorsPolicy.max_age`.
    pub max_age: Option<super::NumberOrString>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct ModuleDefaults {
    /// Defaults that count before those beside it.
    pub httpmapping: Option<MappingDefaults>,
    /// Default of `secret_namespacing` in TLSContexts.
    ///
    /// Emissary: a Module without it switches namespaces of Secrets off there.
    pub tls_secret_namespacing: Option<bool>,
    #[serde(flatten)]
    pub all: MappingDefaults,
}

/// What a Mapping has that does not say so itself.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct MappingDefaults {
    /// Headers that services get.
    ///
    /// Envoy: `Route.request_headers_to_add`.
    pub add_request_headers: Option<BTreeMap<String, AddedHeader>>,
    /// Headers that clients get.
    ///
    /// Envoy: `Route.response_headers_to_add`.
    pub add_response_headers: Option<BTreeMap<String, AddedHeader>>,
    /// Headers that services do not get.
    ///
    /// Envoy: `Route.request_headers_to_remove`.
    pub remove_request_headers: Option<Vec<String>>,
    /// Headers that clients do not get.
    ///
    /// Envoy: `Route.response_headers_to_remove`.
    pub remove_response_headers: Option<Vec<String>>,
    /// Name of services in statistics.
    ///
    /// Envoy: `Cluster.alt_stat_name`.
    pub stats_name: Option<String>,
}

/// A route to nuncio itself.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct BuiltInRoute {
    /// Whether it is there; true when absent.
    ///
    /// Envoy: a route.
    pub enabled: Option<bool>,
    /// Its path.
    ///
    /// Envoy: `RouteMatch.prefix`.
    pub prefix: Option<String>,
    /// What stands in place of its path.
    ///
    /// Envoy: `RouteAction.prefix_rewrite`.
    pub rewrite: Option<String>,
    /// Who answers, nuncio when absent.
    ///
    /// Envoy: `RouteAction.cluster`.
    pub service: Option<String>,
    /// Of diagnostics that are not enabled: whether other machines can have them on `--admin`; only
    /// this one when absent. Of probes nothing.
    pub allow_non_local: Option<bool>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct ClientCertDetails {
    /// Its subject.
    ///
    /// Envoy: `SetCurrentClientCertDetails.subject`.
    pub subject: bool,
    /// All of it.
    ///
    /// Envoy: `SetCurrentClientCertDetails.cert`.
    pub cert: bool,
    /// All of its chain.
    ///
    /// Envoy: `SetCurrentClientCertDetails.chain`.
    pub chain: bool,
    /// Its names.
    ///
    /// Envoy: `SetCurrentClientCertDetails.dns`.
    pub dns: bool,
    /// Its URI.
    ///
    /// Envoy: `SetCurrentClientCertDetails.uri`.
    pub uri: bool,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct BufferSettings {
    /// The most that a request may have; a larger one is answered 413.
    ///
    /// Envoy: `Buffer.max_request_bytes`.
    pub max_request_bytes: Option<i64>,
    /// Nothing: Envoy has no such limit any more.
    pub max_request_time: Option<i64>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct GrpcStatsSettings {
    /// Whether each method counts for itself.
    ///
    /// Envoy: `FilterConfig.stats_for_all_methods`.
    pub all_methods: Option<bool>,
    /// Methods that count for themselves.
    ///
    /// Envoy: `FilterConfig.individual_method_stats_allowlist`.
    pub services: Option<Vec<GrpcStatsService>>,
    /// Whether times of upstreams are measured.
    ///
    /// Envoy: `FilterConfig.enable_upstream_stats`.
    pub upstream_stats: Option<bool>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct GrpcStatsService {
    /// A service with its package.
    ///
    /// Envoy: `GrpcMethodList.Service.name`.
    pub name: String,
    /// Its methods.
    ///
    /// Envoy: `GrpcMethodList.Service.method_names`.
    #[serde(default)]
    pub method_names: Vec<String>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct BrotliSettings {
    /// 0 to 11, 3 when absent: more is smaller and slower.
    ///
    /// Envoy: `Brotli.quality`.
    pub quality: Option<i64>,
    /// 10 to 24, 18 when absent: more is smaller, and takes more memory.
    ///
    /// Envoy: `Brotli.window_bits`.
    pub window_bits: Option<i64>,
    /// Responses with fewer bytes stay as they are, 30 when absent.
    ///
    /// Envoy: `CommonDirectionConfig.min_content_length`.
    pub min_content_length: Option<i64>,
    /// Types that are compressed; texts when absent.
    ///
    /// Envoy: `CommonDirectionConfig.content_type`.
    pub content_type: Option<Vec<String>>,
    /// Whether responses with `etag` stay as they are.
    ///
    /// Envoy: `ResponseDirectionConfig.disable_on_etag_header`.
    pub disable_on_etag_header: Option<bool>,
    /// Whether services do not get `accept-encoding`.
    ///
    /// Envoy: `ResponseDirectionConfig.remove_accept_encoding_header`.
    pub remove_accept_encoding_header: Option<bool>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct GzipSettings {
    /// 1 to 9.
    ///
    /// Envoy: `Gzip.memory_level`.
    pub memory_level: Option<i64>,
    /// Responses with fewer bytes stay as they are, 30 when absent.
    ///
    /// Envoy: `CommonDirectionConfig.min_content_length`.
    pub min_content_length: Option<i64>,
    /// `BEST_SPEED`, `BEST_COMPRESSION`, `DEFAULT_COMPRESSION` or `COMPRESSION_LEVEL_1` to `9`.
    ///
    /// Envoy: `Gzip.compression_level`.
    pub compression_level: Option<String>,
    /// `DEFAULT_STRATEGY`, `FILTERED`, `HUFFMAN_ONLY`, `RLE` or `FIXED`.
    ///
    /// Envoy: `Gzip.compression_strategy`.
    pub compression_strategy: Option<String>,
    /// 9 to 15.
    ///
    /// Envoy: `Gzip.window_bits`.
    pub window_bits: Option<i64>,
    /// Types that are compressed; texts when absent.
    ///
    /// Envoy: `CommonDirectionConfig.content_type`.
    pub content_type: Option<Vec<String>>,
    /// Whether responses with `etag` stay as they are.
    ///
    /// Envoy: `ResponseDirectionConfig.disable_on_etag_header`.
    pub disable_on_etag_header: Option<bool>,
    /// Whether services do not get `accept-encoding`.
    ///
    /// Envoy: `ResponseDirectionConfig.remove_accept_encoding_header`.
    pub remove_accept_encoding_header: Option<bool>,
}
