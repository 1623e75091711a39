use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{CircuitBreaker, ProtocolVersion, V2ExplicitTls};

/// `AuthService.spec`: who decides whether a request may pass. Several are one, whose endpoints are those
/// of each; one that is wrong asks nobody, and where none is in effect nothing passes.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct AuthService {
    /// Which nuncio takes it, by `AMBASSADOR_ID`; `default` when absent.
    pub ambassador_id: Option<Vec<String>>,
    /// Who is asked, as `service` of a Mapping.
    ///
    /// Envoy: `HttpService.server_uri`, `GrpcService.envoy_grpc`.
    ///
    /// Emissary: without it everything passes there.
    pub auth_service: Option<String>,
    /// Stands before the path of each question.
    ///
    /// Envoy: `HttpService.path_prefix`.
    pub path_prefix: Option<String>,
    /// Name of a TLSContext to originate TLS with.
    ///
    /// Envoy: `UpstreamTlsContext`.
    ///
    /// Emissary: with a name that no TLSContext has it is asked in cleartext there.
    pub tls: Option<String>,
    /// How it is asked; `http` when absent.
    ///
    /// Envoy: `ExtAuthz.services`.
    pub proto: Option<AuthProtocol>,
    /// Longest time for an answer, in milliseconds; 5000 when absent.
    ///
    /// Envoy: `HttpUri.timeout`, `GrpcService.timeout`.
    pub timeout_ms: Option<i64>,
    /// Headers of the client that are sent along, beside some that always are.
    ///
    /// Envoy: `ExtAuthz.allowed_headers`.
    pub allowed_request_headers: Option<Vec<String>>,
    /// Headers of the answer that the service or the client gets, beside some that always are.
    ///
    /// Envoy: `AuthorizationResponse.allowed_upstream_headers` and `allowed_client_headers`.
    pub allowed_authorization_headers: Option<Vec<String>>,
    /// Headers of each question.
    ///
    /// Envoy: `AuthorizationRequest.headers_to_add`.
    pub add_auth_headers: Option<BTreeMap<String, String>>,
    /// Deprecated for `include_body`, and then of 4096 bytes, in part where there are more.
    ///
    /// Envoy: `ExtAuthz.with_request_body`.
    ///
    /// Emissary: beside `include_body` it has every request answered with 500 there.
    pub allow_request_body: Option<bool>,
    /// Whether the AuthService is named in the header `l5d-dst-override`.
    ///
    /// Envoy: `AuthorizationRequest.headers_to_add`.
    ///
    /// Emissary: the header names `path_prefix` there.
    pub add_linkerd_headers: Option<bool>,
    /// Whether requests pass that it does not answer.
    ///
    /// Envoy: `ExtAuthz.failure_mode_allow`.
    pub failure_mode_allow: Option<bool>,
    /// How much of the body is sent along; none when absent.
    ///
    /// Envoy: `ExtAuthz.with_request_body`.
    pub include_body: Option<IncludeBody>,
    /// Answer to a request that it does not answer; 403 when absent.
    ///
    /// Envoy: `ExtAuthz.status_on_error`.
    pub status_on_error: Option<StatusOnError>,
    /// The version of Envoy's API; `v3` for `grpc`.
    ///
    /// Envoy: `ExtAuthz.transport_api_version`.
    pub protocol_version: Option<ProtocolVersion>,
    /// Name of the AuthService in statistics.
    ///
    /// Envoy: `Cluster.alt_stat_name`.
    pub stats_name: Option<String>,
    /// As in a Mapping.
    ///
    /// Envoy: `CircuitBreakers.thresholds`.
    pub circuit_breakers: Option<Vec<CircuitBreaker>>,
    /// How `tls` and `auth_service` were written as v2.
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
    /// Longest part that is sent.
    ///
    /// Envoy: `BufferSettings.max_request_bytes`.
    pub max_bytes: i64,
    /// Whether a longer body is sent in part; else the answer is 413.
    ///
    /// Envoy: `BufferSettings.allow_partial_message`.
    pub allow_partial: bool,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct StatusOnError {
    /// The status.
    ///
    /// Envoy: `HttpStatus.code`.
    pub code: Option<i64>,
}
