use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Labels, V2ExplicitTls};

/// `Mapping.spec`: which requests go to which service, and how.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Mapping {
    /// Which nuncio takes it, by `AMBASSADOR_ID`; `default` when absent.
    pub ambassador_id: Option<Vec<String>>,

    // What it matches.
    /// The path that a request begins with. `prefix_exact` and `prefix_regex` make it the whole
    /// path, or a regular expression for it.
    ///
    /// Envoy: `RouteMatch.prefix`, `path`, `safe_regex`.
    pub prefix: Option<String>,
    /// Whether `prefix` is a regular expression that the whole path, without its query, must match.
    ///
    /// Envoy: `RouteMatch.safe_regex`.
    ///
    /// Emissary: expressions of more than 200 instructions are refused there.
    pub prefix_regex: Option<bool>,
    /// Whether `prefix` is the whole path.
    ///
    /// Envoy: `RouteMatch.path`.
    pub prefix_exact: Option<bool>,
    /// Whether `prefix` matches in its case only; true when absent.
    ///
    /// Envoy: `RouteMatch.case_sensitive`.
    pub case_sensitive: Option<bool>,
    /// The host that a request asks for: a name, `*`, or a name with `*` at one end. Hosts whose
    /// `hostname` has names in common take the Mapping.
    ///
    /// Envoy: a matcher of `:authority`.
    pub hostname: Option<String>,
    /// Deprecated for `hostname`: an exact host, or an expression with `host_regex`.
    ///
    /// Envoy: a matcher of `:authority`.
    pub host: Option<String>,
    /// Whether `host` is a regular expression; every Host takes the Mapping then.
    ///
    /// Envoy: a matcher of `:authority`.
    pub host_regex: Option<bool>,
    /// Headers that a request must have, with exactly these values.
    ///
    /// Envoy: `RouteMatch.headers`.
    pub headers: BTreeMap<String, String>,
    /// Headers that a request must have, with values that match these expressions.
    ///
    /// Envoy: `RouteMatch.headers`.
    pub regex_headers: BTreeMap<String, String>,
    /// The method of a request, or an expression for it with `method_regex`.
    ///
    /// Envoy: a matcher of `:method`.
    pub method: Option<String>,
    /// Whether `method` is a regular expression.
    ///
    /// Envoy: a matcher of `:method`.
    pub method_regex: Option<bool>,
    /// Query parameters that a request must have, with exactly these values.
    ///
    /// Envoy: `RouteMatch.query_parameters`.
    ///
    /// Emissary: a Mapping with `host_redirect` ignores them there.
    pub query_parameters: BTreeMap<String, String>,
    /// Query parameters with values that match these expressions.
    ///
    /// Envoy: `RouteMatch.query_parameters`.
    ///
    /// Emissary: a Mapping with `host_redirect` ignores them there.
    pub regex_query_parameters: BTreeMap<String, String>,
    /// Mappings with a higher number are tried first, whatever they match; 0 when absent.
    ///
    /// Envoy: the order of routes.
    pub precedence: Option<i64>,

    // Where it goes.
    /// Where requests go: `[scheme://]name[.namespace][:port]`. `https://` originates TLS. With
    /// `host_redirect`, the host to redirect to.
    ///
    /// Envoy: `RouteAction.cluster`.
    ///
    /// Emissary: a scheme in a redirect ends in its `location` there.
    pub service: Option<String>,
    /// Name of a TLSContext to originate TLS with.
    ///
    /// Envoy: `UpstreamTlsContext`.
    ///
    /// Emissary: contexts are known by name alone there; here one of the Mapping's namespace counts
    /// first. Without the one that is named requests go out in cleartext there, or encrypted to
    /// whoever answers; here they are answered with 503.
    pub tls: Option<String>,
    /// How the service's name becomes addresses: `kubernetes-service`, `kubernetes-endpoint`, or a
    /// resolver of one's own.
    ///
    /// Envoy: `Cluster.type`.
    pub resolver: Option<String>,
    /// Which endpoint a request goes to; of use with a resolver that finds endpoints.
    ///
    /// Envoy: `Cluster.lb_policy`.
    ///
    /// Emissary: with `kubernetes-service` the Mapping is dropped there.
    pub load_balancer: Option<Box<LoadBalancer>>,
    /// Limits of what is under way to the service.
    ///
    /// Envoy: `CircuitBreakers.thresholds`.
    pub circuit_breakers: Option<Vec<CircuitBreaker>>,
    /// Longest time to connect to an endpoint, in milliseconds; 3000 when absent.
    ///
    /// Envoy: `Cluster.connect_timeout`.
    ///
    /// Emissary: 0 stops every change there.
    pub connect_timeout_ms: Option<i64>,
    /// How long a connection to the service is kept without requests, in milliseconds; 0 is for
    /// ever.
    ///
    /// Envoy: `HttpProtocolOptions.idle_timeout`.
    ///
    /// Emissary: 0 counts as absent there.
    pub cluster_idle_timeout_ms: Option<i64>,
    /// How long a connection to the service is used, in milliseconds; 0 is for ever.
    ///
    /// Envoy: `HttpProtocolOptions.max_connection_duration`.
    pub cluster_max_connection_lifetime_ms: Option<i64>,
    /// Probes of TCP on connections to the service.
    ///
    /// Envoy: `TcpKeepalive`.
    pub keepalive: Option<Box<KeepAlive>>,
    /// How a name from outside is looked up: `strict_dns` uses every address, `logical_dns` the
    /// first.
    ///
    /// Envoy: `Cluster.type`.
    pub dns_type: Option<String>,
    /// Whether a name is looked up again when its record says so.
    ///
    /// Envoy: `Cluster.respect_dns_ttl`.
    pub respect_dns_ttl: Option<bool>,
    /// Whether names resolve to IPv4 addresses; true when absent.
    ///
    /// Envoy: `Cluster.dns_lookup_family`.
    pub enable_ipv4: Option<bool>,
    /// Whether names resolve to IPv6 addresses; false when absent.
    ///
    /// Envoy: `Cluster.dns_lookup_family`.
    pub enable_ipv6: Option<bool>,
    /// Whether the service speaks HTTP/2 without being asked, as gRPC does.
    ///
    /// Envoy: `HttpProtocolOptions.http2_protocol_options`.
    pub grpc: Option<bool>,
    /// Requests of the gateway's own that find out which endpoints answer; of use with a resolver
    /// that finds endpoints.
    ///
    /// Envoy: `Cluster.health_checks`.
    pub health_checks: Option<Vec<HealthCheck>>,
    /// Part of the cluster's name in statistics.
    ///
    /// Envoy: `Cluster.name`.
    pub cluster_tag: Option<String>,
    /// Name of the service in statistics.
    ///
    /// Envoy: `Cluster.alt_stat_name`.
    pub stats_name: Option<String>,
    /// When an endpoint that keeps failing is left out for a while.
    ///
    /// Envoy: `OutlierDetection`.
    ///
    /// Emissary: it has no such thing, and drops the Mapping.
    pub outlier_detection: Option<Box<OutlierDetection>>,

    // What is done on the way.
    /// Longest time for a whole response, in milliseconds; 0 is for ever, 3000 when absent.
    ///
    /// Envoy: `RouteAction.timeout`.
    pub timeout_ms: Option<i64>,
    /// Longest time without a byte, in milliseconds; 0 is for ever, five minutes when absent.
    ///
    /// Envoy: `RouteAction.idle_timeout`.
    pub idle_timeout_ms: Option<i64>,
    /// What stands in place of `prefix` in the path that the service gets; `/` when absent, the
    /// empty text leaves the path alone.
    ///
    /// Envoy: `RouteAction.prefix_rewrite`.
    pub rewrite: Option<String>,
    /// What stands in place of what an expression finds in the path; counts before `rewrite`.
    ///
    /// Envoy: `RouteAction.regex_rewrite`.
    ///
    /// Emissary: that of the last Mapping with the same criteria counts for all of them there.
    pub regex_rewrite: Option<Box<RegexRewrite>>,
    /// The host that the service gets.
    ///
    /// Envoy: `RouteAction.host_rewrite_literal`.
    pub host_rewrite: Option<String>,
    /// Whether the service gets its own name as host.
    ///
    /// Envoy: `RouteAction.auto_host_rewrite`.
    ///
    /// Emissary: together with `host_rewrite` it stops every change there.
    pub auto_host_rewrite: Option<bool>,
    /// Whether requests are answered with a redirect to `service`.
    ///
    /// Envoy: `RedirectAction.host_redirect`.
    pub host_redirect: Option<bool>,
    /// The whole path of a redirect.
    ///
    /// Envoy: `RedirectAction.path_redirect`.
    pub path_redirect: Option<String>,
    /// What stands in place of `prefix` in a redirect.
    ///
    /// Envoy: `RedirectAction.prefix_rewrite`.
    pub prefix_redirect: Option<String>,
    /// What stands in place of what an expression finds in the path of a redirect.
    ///
    /// Envoy: `RedirectAction.regex_rewrite`.
    pub regex_redirect: Option<Box<RegexRewrite>>,
    /// Status of a redirect: 301, 302, 303, 307 or 308; 301 when absent.
    ///
    /// Envoy: `RedirectAction.response_code`.
    pub redirect_response_code: Option<i64>,
    /// Whether the service only gets copies of what another Mapping with the same criteria takes.
    ///
    /// Envoy: `RouteAction.request_mirror_policies`.
    pub shadow: Option<bool>,
    /// Share of the requests in percent that it takes of those that several Mappings with the same
    /// criteria match.
    ///
    /// Envoy: `RouteMatch.runtime_fraction`.
    ///
    /// Emissary: weights that do not fit take every share from the others there.
    pub weight: Option<i64>,
    /// Which circuit breakers count: `default` or `high`.
    ///
    /// Envoy: `RouteAction.priority`.
    pub priority: Option<String>,
    /// Headers that the service gets.
    ///
    /// Envoy: `Route.request_headers_to_add`.
    ///
    /// Emissary: those of all Mappings with the same criteria are merged there.
    pub add_request_headers: Option<BTreeMap<String, AddedHeader>>,
    /// Headers that the client gets.
    ///
    /// Envoy: `Route.response_headers_to_add`.
    ///
    /// Emissary: those of all Mappings with the same criteria are merged there.
    pub add_response_headers: Option<BTreeMap<String, AddedHeader>>,
    /// Headers that the service does not get.
    ///
    /// Envoy: `Route.request_headers_to_remove`.
    ///
    /// Emissary: that of the last Mapping with the same criteria counts there.
    pub remove_request_headers: Option<Vec<String>>,
    /// Headers that the client does not get.
    ///
    /// Envoy: `Route.response_headers_to_remove`.
    ///
    /// Emissary: that of the last Mapping with the same criteria counts there.
    pub remove_response_headers: Option<Vec<String>>,
    /// Whether the service is named in the header `l5d-dst-override`.
    ///
    /// Envoy: `Route.request_headers_to_add`.
    pub add_linkerd_headers: Option<bool>,
    /// Protocols that a client may upgrade to, such as `websocket`. `CONNECT` has the service get
    /// CONNECT requests, and what is sent after them; they have no path, so only a Mapping with the
    /// prefix `/` takes them.
    ///
    /// Envoy: `RouteAction.upgrade_configs`, `RouteMatch.connect_matcher`.
    ///
    /// Emissary: CONNECT is answered with 404 there.
    pub allow_upgrade: Option<Vec<String>>,
    /// Deprecated for `allow_upgrade: [websocket]`.
    ///
    /// Envoy: `RouteAction.upgrade_configs`.
    ///
    /// Emissary: false switches it on there.
    pub use_websocket: Option<bool>,
    /// Which pages of other origins may ask.
    ///
    /// Envoy: the filter `cors`.
    pub cors: Option<Box<Cors>>,
    /// When a failed request is tried again.
    ///
    /// Envoy: `RouteAction.retry_policy`.
    ///
    /// Emissary: `retry_on` is one word there.
    pub retry_policy: Option<Box<RetryPolicy>>,
    /// Descriptors for a rate limit service, by domain. Each group of labels is one.
    ///
    /// Envoy: `RouteAction.rate_limits`.
    pub labels: Option<Labels>,
    /// Whether no AuthService is asked.
    ///
    /// Envoy: `ExtAuthzPerRoute.disabled`.
    ///
    /// Emissary: while the AuthService is wrong its requests are refused too there.
    pub bypass_auth: Option<bool>,
    /// What an AuthService is told beside the request, by gRPC.
    ///
    /// Envoy: `CheckSettings.context_extensions`.
    pub auth_context_extensions: Option<BTreeMap<String, String>>,
    /// What is answered in place of errors.
    ///
    /// Envoy: the filter `custom_response`.
    ///
    /// Emissary: Emissary 4 drops the Mapping.
    pub error_response_overrides: Option<Vec<ErrorResponseOverride>>,
    /// Whether the Module's `error_response_overrides` do not count.
    ///
    /// Envoy: `FilterConfig.disabled`.
    ///
    /// Emissary: Emissary 4 ignores it.
    pub bypass_error_response_overrides: Option<bool>,

    // What has no part in routing.
    /// For a developer portal.
    pub docs: Option<Box<Value>>,
    /// Nothing; Emissary ignores it too.
    pub envoy_override: Option<Box<Value>>,
    /// Nothing; Emissary ignores it too.
    pub modules: Option<Vec<Value>>,
    /// How `tls` and `service` were written as v2.
    #[serde(rename = "v2ExplicitTLS")]
    pub v2_explicit_tls: Option<V2ExplicitTls>,
    /// Headers that were `true` in v2.
    #[serde(rename = "v2BoolHeaders")]
    pub v2_bool_headers: Option<Vec<String>>,
    /// Query parameters that were `true` in v2.
    #[serde(rename = "v2BoolQueryParameters")]
    pub v2_bool_query_parameters: Option<Vec<String>>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct RegexRewrite {
    /// What is looked for.
    ///
    /// Envoy: `RegexMatchAndSubstitute.pattern`.
    pub pattern: String,
    /// What stands in its place; `\1` is the first group.
    ///
    /// Envoy: `RegexMatchAndSubstitute.substitution`.
    pub substitution: String,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct AddedHeader {
    /// Its value, which may hold Envoy's operators such as `%REQ(x-a)%`.
    ///
    /// Envoy: `HeaderValueOption.header`.
    pub value: String,
    /// Whether it stands beside what is there of the name; true when absent.
    ///
    /// Envoy: `HeaderValueOption.append_action`.
    pub append: Option<bool>,
    /// How it was written as v2.
    #[serde(rename = "v2Representation")]
    pub v2_representation: Option<String>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct CircuitBreaker {
    /// Of which requests: `default` or `high`.
    ///
    /// Envoy: `Thresholds.priority`.
    pub priority: Option<String>,
    /// Connections, 1024 when absent.
    ///
    /// Envoy: `Thresholds.max_connections`.
    pub max_connections: Option<i64>,
    /// Requests that wait for a connection, 1024 when absent.
    ///
    /// Envoy: `Thresholds.max_pending_requests`.
    pub max_pending_requests: Option<i64>,
    /// Requests, 1024 when absent.
    ///
    /// Envoy: `Thresholds.max_requests`.
    pub max_requests: Option<i64>,
    /// Retries, 3 when absent.
    ///
    /// Envoy: `Thresholds.max_retries`.
    pub max_retries: Option<i64>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct KeepAlive {
    /// Seconds without a byte before the first probe.
    ///
    /// Envoy: `TcpKeepalive.keepalive_time`.
    ///
    /// Emissary: it has no effect there.
    pub idle_time: Option<i64>,
    /// Another name of `idle_time`, which Modules have.
    ///
    /// Envoy: `TcpKeepalive.keepalive_time`.
    pub time: Option<i64>,
    /// Seconds between probes.
    ///
    /// Envoy: `TcpKeepalive.keepalive_interval`.
    pub interval: Option<i64>,
    /// Probes without an answer that end a connection.
    ///
    /// Envoy: `TcpKeepalive.keepalive_probes`.
    pub probes: Option<i64>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct LoadBalancer {
    /// `round_robin`, `least_request`, `ring_hash` or `maglev`.
    ///
    /// Envoy: `Cluster.lb_policy`.
    pub policy: String,
    /// A cookie that the endpoint goes by.
    ///
    /// Envoy: `HashPolicy.cookie`.
    pub cookie: Option<LoadBalancerCookie>,
    /// A header that the endpoint goes by.
    ///
    /// Envoy: `HashPolicy.header`.
    pub header: Option<String>,
    /// Whether the endpoint goes by the client's address.
    ///
    /// Envoy: `HashPolicy.connection_properties`.
    pub source_ip: Option<bool>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct LoadBalancerCookie {
    /// Its name.
    ///
    /// Envoy: `HashPolicy.Cookie.name`.
    pub name: String,
    /// Of a cookie that the gateway makes.
    ///
    /// Envoy: `HashPolicy.Cookie.path`.
    pub path: Option<String>,
    /// How long a cookie lives that the gateway makes, such as `60s`; `0s` is a session, and
    /// without it none is made.
    ///
    /// Envoy: `HashPolicy.Cookie.ttl`.
    pub ttl: Option<String>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Cors {
    /// Origins that may ask; `*` is every one.
    ///
    /// Envoy: `CorsPolicy.allow_origin_string_match`.
    pub origins: Vec<String>,
    /// Methods that they may use.
    ///
    /// Envoy: `CorsPolicy.allow_methods`.
    pub methods: Vec<String>,
    /// Headers that they may send.
    ///
    /// Envoy: `CorsPolicy.allow_headers`.
    pub headers: Vec<String>,
    /// Headers that they may read.
    ///
    /// Envoy: `CorsPolicy.expose_headers`.
    pub exposed_headers: Vec<String>,
    /// Whether they may send cookies.
    ///
    /// Envoy: `CorsPolicy.allow_credentials`.
    pub credentials: Option<bool>,
    /// Seconds that a browser remembers it.
    ///
    /// Envoy: `CorsPolicy.max_age`.
    pub max_age: Option<String>,
    /// Whether `origins` was one text in v2.
    #[serde(rename = "v2CommaSeparatedOrigins")]
    pub v2_comma_separated_origins: Option<bool>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct RetryPolicy {
    /// Conditions with commas between them: `5xx`, `gateway-error`, `connect-failure`, `reset` and
    /// what else Envoy has.
    ///
    /// Envoy: `RetryPolicy.retry_on`.
    ///
    /// Emissary: one of six words there.
    pub retry_on: Option<String>,
    /// How often, 1 when absent.
    ///
    /// Envoy: `RetryPolicy.num_retries`.
    pub num_retries: Option<i64>,
    /// Longest time for each try, such as `3s`.
    ///
    /// Envoy: `RetryPolicy.per_try_timeout`.
    pub per_try_timeout: Option<String>,
}

/// Envoy's own requests to each endpoint.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct HealthCheck {
    /// Longest time for an answer, such as `3s`, which it is when absent.
    ///
    /// Envoy: `HealthCheck.timeout`.
    pub timeout: Option<String>,
    /// Time between checks, `5s` when absent.
    ///
    /// Envoy: `HealthCheck.interval`, `no_traffic_interval`.
    ///
    /// Emissary: a minute until the first request.
    pub interval: Option<String>,
    /// Checks that must succeed, 1 when absent.
    ///
    /// Envoy: `HealthCheck.healthy_threshold`.
    pub healthy_threshold: Option<i64>,
    /// Checks that must fail, 2 when absent.
    ///
    /// Envoy: `HealthCheck.unhealthy_threshold`.
    pub unhealthy_threshold: Option<i64>,
    /// What is asked.
    ///
    /// Envoy: `HealthCheck.health_checker`.
    pub health_check: HealthCheckLayer,
}

/// Exactly one of them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct HealthCheckLayer {
    /// An HTTP request.
    ///
    /// Envoy: `HttpHealthCheck`.
    pub http: Option<HttpHealthCheck>,
    /// A request of gRPC's health checking protocol.
    ///
    /// Envoy: `GrpcHealthCheck`.
    pub grpc: Option<GrpcHealthCheck>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct HttpHealthCheck {
    /// Its path.
    ///
    /// Envoy: `HttpHealthCheck.path`.
    pub path: Option<String>,
    /// Its host; the cluster's name when absent.
    ///
    /// Envoy: `HttpHealthCheck.host`.
    pub hostname: Option<String>,
    /// Headers that it has.
    ///
    /// Envoy: `HttpHealthCheck.request_headers_to_add`.
    pub add_request_headers: BTreeMap<String, AddedHeader>,
    /// Headers that it has not.
    ///
    /// Envoy: `HttpHealthCheck.request_headers_to_remove`.
    pub remove_request_headers: Vec<String>,
    /// Statuses that are a success, 200 when absent.
    ///
    /// Envoy: `HttpHealthCheck.expected_statuses`.
    pub expected_statuses: Vec<StatusRange>,
}

/// From and to, both included.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct StatusRange {
    /// The first.
    ///
    /// Envoy: `Int64Range.start`.
    pub min: i64,
    /// The last.
    ///
    /// Envoy: `Int64Range.end`.
    pub max: i64,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct GrpcHealthCheck {
    /// The service that is asked for.
    ///
    /// Envoy: `GrpcHealthCheck.service_name`.
    pub upstream_name: Option<String>,
    /// Its host; the cluster's name when absent.
    ///
    /// Envoy: `GrpcHealthCheck.authority`.
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
    /// Answers of 5xx in a row.
    ///
    /// Envoy: `OutlierDetection.consecutive_5xx`.
    pub consecutive_5xx: Option<i64>,
    /// Answers of 502, 503 or 504 in a row.
    ///
    /// Envoy: `OutlierDetection.consecutive_gateway_failure`.
    pub consecutive_gateway_failure: Option<i64>,
    /// Failed connections in a row, with `split_external_local_origin_errors`.
    ///
    /// Envoy: `OutlierDetection.consecutive_local_origin_failure`.
    pub consecutive_local_origin_failure: Option<i64>,
    /// Time between looks, such as `10s`.
    ///
    /// Envoy: `OutlierDetection.interval`.
    pub interval: Option<String>,
    /// Time that it is left out, times how often it was.
    ///
    /// Envoy: `OutlierDetection.base_ejection_time`.
    pub base_ejection_time: Option<String>,
    /// The longest such time.
    ///
    /// Envoy: `OutlierDetection.max_ejection_time`.
    pub max_ejection_time: Option<String>,
    /// The most endpoints that are left out, in percent.
    ///
    /// Envoy: `OutlierDetection.max_ejection_percent`.
    pub max_ejection_percent: Option<i64>,
    /// Whether failed connections count for themselves.
    ///
    /// Envoy: `OutlierDetection.split_external_local_origin_errors`.
    pub split_external_local_origin_errors: Option<bool>,
}

/// What is answered in place of an error.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct ErrorResponseOverride {
    /// The status that it is for, 400 to 599.
    ///
    /// Envoy: `HttpResponseStatusCodeMatchInput`.
    pub on_status_code: Option<i64>,
    /// What is answered.
    ///
    /// Envoy: `LocalResponsePolicy.body_format`.
    pub body: Option<ErrorResponseBody>,
}

/// Exactly one of `text_format`, `json_format` and `text_format_source`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct ErrorResponseBody {
    /// A text with Envoy's operators.
    ///
    /// Envoy: `SubstitutionFormatString.text_format_source`.
    pub text_format: Option<String>,
    /// An object of texts with Envoy's operators.
    ///
    /// Envoy: `SubstitutionFormatString.json_format`.
    pub json_format: Option<BTreeMap<String, Value>>,
    /// A file that holds such a text.
    ///
    /// Envoy: `SubstitutionFormatString.text_format_source`.
    pub text_format_source: Option<ErrorResponseFile>,
    /// Its type; `text/plain` or `application/json` when absent.
    ///
    /// Envoy: `LocalResponsePolicy.response_headers_to_add`.
    pub content_type: Option<String>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct ErrorResponseFile {
    /// Path of the file; it is read by nuncio, and read again when it changes.
    pub filename: Option<String>,
}
