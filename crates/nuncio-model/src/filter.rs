//! HTTP filters that a user configures. Each becomes a resource of its own, so that a change of its
//! settings touches no listener and closes no connection.

use std::net::IpAddr;
use std::sync::Arc;

use serde::Serialize;

use crate::external::{AUTHORIZATION, Authorization, RATE_LIMIT, RateLimit};
use crate::report::Origin;
use crate::value::{FormatString, LogFormat, LuaScript};

/// A filter of the connection managers that name it.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct HttpFilter {
    pub origin: Origin,
    pub config: FilterConfig,
}

#[derive(Clone, PartialEq, Debug, Serialize)]
pub enum FilterConfig {
    /// gRPC for clients of HTTP/1.1 (`filters.http.grpc_http1_bridge`).
    GrpcHttp1Bridge,
    /// gRPC for browsers (`filters.http.grpc_web`).
    GrpcWeb,
    GrpcStats(GrpcStats),
    Lua(LuaScript),
    Gzip(Gzip),
    Brotli(Brotli),
    /// Waits for whole requests of up to so many bytes (`filters.http.buffer`).
    Buffer {
        max_request_bytes: u32,
    },
    ErrorResponses(Vec<ErrorResponse>),
    /// For the routes that have error responses of their own.
    RouteErrorResponses,
    AddressAccess(AddressAccess),
    Authorization(Authorization),
    /// Answers 500 where nobody is known to be asked.
    Refusal(Refusal),
    RateLimit(RateLimit),
    /// Does nothing, in the place of the filter with this name.
    Off(&'static str),
}

impl FilterConfig {
    /// Name of the filter in connection managers and routes, and of its resource.
    pub fn name(&self) -> &'static str {
        match self {
            Self::GrpcHttp1Bridge => "envoy.filters.http.grpc_http1_bridge",
            Self::GrpcWeb => "envoy.filters.http.grpc_web",
            Self::GrpcStats(_) => "envoy.filters.http.grpc_stats",
            Self::Lua(_) => LUA,
            Self::Gzip(_) => "envoy.filters.http.gzip",
            Self::Brotli(_) => "envoy.filters.http.brotli",
            Self::Buffer { .. } => "envoy.filters.http.buffer",
            Self::ErrorResponses(_) => ERROR_RESPONSES,
            Self::RouteErrorResponses => ROUTE_ERROR_RESPONSES,
            Self::AddressAccess(_) => ADDRESS_ACCESS,
            Self::Authorization(_) | Self::Refusal(_) => AUTHORIZATION,
            Self::RateLimit(_) => RATE_LIMIT,
            Self::Off(name) => name,
        }
    }
}

/// The filter that runs a script.
pub const LUA: &str = "envoy.filters.http.lua";

/// The filter of [`FilterConfig::ErrorResponses`], which routes may switch off.
pub const ERROR_RESPONSES: &str = "envoy.filters.http.custom_response";

/// The filter that does nothing but for routes with error responses of their own. One filter cannot
/// do both: what a route does not answer itself, it answers from its general settings.
pub const ROUTE_ERROR_RESPONSES: &str = "envoy.filters.http.custom_response.route";

/// The filter that goes by addresses.
pub const ADDRESS_ACCESS: &str = "envoy.filters.http.rbac.address";

/// What stands in the place of an authorization that is wrong.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Refusal {
    /// Says which it is.
    pub key: Arc<str>,
}

/// Telemetry of gRPC methods (`filters.http.grpc_stats`).
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct GrpcStats {
    pub methods: GrpcMethods,
    pub upstream_stats: bool,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub enum GrpcMethods {
    /// Each method has statistics of its own.
    All,
    /// These, by service.
    Of(Vec<GrpcService>),
    /// None: all methods of a cluster count together.
    None,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct GrpcService {
    pub name: Arc<str>,
    pub methods: Vec<Arc<str>>,
}

/// Compression of responses (`filters.http.compressor`); what is absent is Envoy's choice.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize)]
pub struct Gzip {
    pub memory_level: Option<u32>,
    pub window_bits: Option<u32>,
    pub level: GzipLevel,
    pub strategy: GzipStrategy,
    pub responses: CompressedResponses,
}

/// The same with another method, which comes before gzip where a client takes both alike.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize)]
pub struct Brotli {
    pub quality: Option<u32>,
    pub window_bits: Option<u32>,
    pub responses: CompressedResponses,
}

/// Which responses are compressed.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize)]
pub struct CompressedResponses {
    /// Shorter responses stay as they are.
    pub min_content_length: Option<u32>,
    pub content_types: Vec<Arc<str>>,
    pub disable_on_etag_header: bool,
    pub remove_accept_encoding_header: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize)]
pub enum GzipLevel {
    #[default]
    Default,
    /// 1 is fastest, 9 smallest.
    Level(u8),
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize)]
pub enum GzipStrategy {
    #[default]
    Default,
    Filtered,
    HuffmanOnly,
    Rle,
    Fixed,
}

/// What is answered in place of an error (`filters.http.custom_response`).
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct ErrorResponse {
    pub status: u16,
    pub body: BodyFormat,
    pub content_type: Option<FormatString>,
}

#[derive(Clone, PartialEq, Debug, Serialize)]
pub enum BodyFormat {
    Text(LogFormat),
    /// A JSON object with these values.
    Json(Vec<(Arc<str>, LogFormat)>),
}

/// Who may send requests, by address (`filters.http.rbac`).
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct AddressAccess {
    pub action: AccessAction,
    /// Allowing nobody allows nobody.
    pub principals: Vec<AddressPrincipal>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
pub enum AccessAction {
    /// Only these.
    Allow,
    /// All but these.
    Deny,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
pub struct AddressPrincipal {
    pub whose: AddressOf,
    pub range: CidrRange,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
pub enum AddressOf {
    /// The other end of the connection.
    Peer,
    /// The client, as trusted proxies name it.
    Client,
}

/// `config.core.v3.CidrRange`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
pub struct CidrRange {
    pub address: IpAddr,
    pub prefix_len: u8,
}
