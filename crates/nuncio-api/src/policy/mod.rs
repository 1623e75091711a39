//! `gateway.nuncio.dev`: what nuncio adds to the Gateway API.

pub mod crd;

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::gateway_api::PolicyTarget;
use crate::getambassador::{
    CircuitBreaker, ErrorResponseOverride, HealthCheck, KeepAlive, Labels, LoadBalancer,
    OutlierDetection, RegexRewrite, RetryPolicy,
};

/// The API group.
pub const GROUP: &str = "gateway.nuncio.dev";

/// `RoutePolicy.spec`: what an HTTPRoute or a GRPCRoute cannot say of its requests and backends. All but
/// `targetRefs` are fields of a Mapping, with the same names and meaning.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct RoutePolicy {
    /// What it holds for, in its own namespace: a Gateway, a ListenerSet, an HTTPRoute or a GRPCRoute.
    /// `sectionName` is a listener of the former, a rule of the latter. A field counts that stands nearest
    /// to the rule.
    #[serde(rename = "targetRefs")]
    pub target_refs: Vec<PolicyTarget>,

    // Who is asked about requests.
    /// Whether no AuthService is asked.
    ///
    /// Envoy: `ExtAuthzPerRoute.disabled`.
    pub bypass_auth: Option<bool>,
    /// What an AuthService is told beside the request, by gRPC.
    ///
    /// Envoy: `CheckSettings.context_extensions`.
    pub auth_context_extensions: Option<BTreeMap<String, String>>,
    /// Descriptors for a rate limit service, by domain. Each group of labels is one.
    ///
    /// Envoy: `RouteAction.rate_limits`.
    pub labels: Option<Labels>,

    // What is done on the way.
    /// Longest time for a whole response where the rule has no timeout, in milliseconds; 0 is for ever.
    ///
    /// Envoy: `RouteAction.timeout`.
    pub timeout_ms: Option<i64>,
    /// Longest time without a byte, in milliseconds; 0 is for ever, five minutes when absent.
    ///
    /// Envoy: `RouteAction.idle_timeout`.
    pub idle_timeout_ms: Option<i64>,
    /// When a failed request is tried again, where the rule does not say it.
    ///
    /// Envoy: `RouteAction.retry_policy`.
    pub retry_policy: Option<RetryPolicy>,
    /// What stands in place of what an expression finds in the path, where no filter rewrites it.
    ///
    /// Envoy: `RouteAction.regex_rewrite`.
    pub regex_rewrite: Option<RegexRewrite>,
    /// Protocols that a client may upgrade to; `websocket` when absent.
    ///
    /// Envoy: `RouteAction.upgrade_configs`.
    pub allow_upgrade: Option<Vec<String>>,
    /// Which circuit breakers count: `default` or `high`.
    ///
    /// Envoy: `RouteAction.priority`.
    pub priority: Option<String>,
    /// What is answered in place of errors.
    ///
    /// Envoy: the filter `custom_response`.
    pub error_response_overrides: Option<Vec<ErrorResponseOverride>>,
    /// Whether the Module's `error_response_overrides` do not count.
    ///
    /// Envoy: `FilterConfig.disabled`.
    pub bypass_error_response_overrides: Option<bool>,

    // How backends are reached.
    /// Which endpoint a request goes to.
    ///
    /// Envoy: `Cluster.lb_policy`.
    pub load_balancer: Option<LoadBalancer>,
    /// Limits of what is under way to a backend.
    ///
    /// Envoy: `CircuitBreakers.thresholds`.
    pub circuit_breakers: Option<Vec<CircuitBreaker>>,
    /// Longest time to connect to an endpoint, in milliseconds; 3000 when absent.
    ///
    /// Envoy: `Cluster.connect_timeout`.
    pub connect_timeout_ms: Option<i64>,
    /// How long a connection to a backend is kept without requests, in milliseconds; 0 is for ever.
    ///
    /// Envoy: `HttpProtocolOptions.idle_timeout`.
    pub cluster_idle_timeout_ms: Option<i64>,
    /// How long a connection to a backend is used, in milliseconds; 0 is for ever.
    ///
    /// Envoy: `HttpProtocolOptions.max_connection_duration`.
    pub cluster_max_connection_lifetime_ms: Option<i64>,
    /// Probes of TCP on connections to a backend.
    ///
    /// Envoy: `TcpKeepalive`.
    pub keepalive: Option<KeepAlive>,
    /// Requests of the gateway's own that find out which endpoints answer.
    ///
    /// Envoy: `Cluster.health_checks`.
    pub health_checks: Option<Vec<HealthCheck>>,
    /// When an endpoint that keeps failing is left out for a while.
    ///
    /// Envoy: `OutlierDetection`.
    pub outlier_detection: Option<OutlierDetection>,
}
