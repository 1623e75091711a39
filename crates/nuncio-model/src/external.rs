//! Services that are asked about requests: whether one may pass, and whether there are too many.
//!
//! Their filters are in every connection manager, asked or not, so that switching one on closes no
//! connection: what a route table says ([`Asks`]) decides whether they run.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;

use crate::value::{FormatString, HeaderName, HttpStatus, MatchHeaderName, PathLiteral};

/// The filter of an authorization service.
pub const AUTHORIZATION: &str = "envoy.filters.http.ext_authz";

/// The filter of those who are asked about a route alone.
pub const ROUTE_AUTHORIZATION: &str = "envoy.filters.http.ext_authz.route";

/// The filter of a rate limit service.
pub const RATE_LIMIT: &str = "envoy.filters.http.ratelimit";

/// What is asked about the requests of a route table.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize)]
pub struct Asks {
    pub authorization: AuthFilter,
    /// The domain whose labels count; `None` where nobody counts.
    pub rate_limit: Option<Arc<str>>,
}

/// What [`AUTHORIZATION`] does.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize)]
pub enum AuthFilter {
    #[default]
    Off,
    Asks,
    /// Who was to be asked is not known: nothing passes.
    Refuses,
}

/// What a route has of its own for those filters.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize)]
pub struct Checks {
    pub auth: RouteAuth,
    pub labels: Labels,
}

#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize)]
pub enum RouteAuth {
    /// As every request.
    #[default]
    Asked,
    /// Its requests pass unasked.
    Bypassed,
    /// What the service is told beside the request.
    Extended(BTreeMap<Arc<str>, Arc<str>>),
}

/// What a rate limit service counts by, by domain. Each descriptor is counted for itself.
pub type Labels = BTreeMap<Arc<str>, Vec<Vec<Label>>>;

/// One entry of a descriptor (`config.route.v3.RateLimit.Action`).
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub enum Label {
    SourceCluster,
    DestinationCluster,
    RemoteAddress,
    /// Without the header the descriptor is not sent.
    RequestHeader {
        key: Arc<str>,
        header: MatchHeaderName,
    },
    GenericKey {
        key: Arc<str>,
        value: Arc<str>,
    },
}

/// Who is asked whether a request may pass (`filters.http.ext_authz`).
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Authorization {
    /// Name of a [`crate::Gateway::clusters`] entry.
    pub cluster: Arc<str>,
    pub protocol: AuthProtocol,
    /// Longest wait for an answer.
    pub timeout: Duration,
    /// How much of the body goes along.
    pub body: Option<SentBody>,
    /// Whether what is not answered passes.
    pub failure_mode_allow: bool,
    /// The answer to what is not answered; `None` is 403.
    pub status_on_error: Option<HttpStatus>,
}

/// Who is asked whether a request of a route may pass, after whoever is asked about all. What is not answered
/// is refused.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct RouteAuthorization {
    /// Name of a [`crate::Gateway::clusters`] entry.
    pub cluster: Arc<str>,
    pub protocol: RouteAuthProtocol,
    /// Longest wait for an answer.
    pub timeout: Duration,
    /// Headers of the client that go along, in lower case and sorted, beside those that always do. `None` is all
    /// of them over gRPC, and no other over HTTP.
    pub request_headers: Option<Vec<Arc<str>>>,
    /// How much of the body goes along.
    pub body: Option<SentBody>,
}

#[derive(Clone, PartialEq, Debug, Serialize)]
pub enum RouteAuthProtocol {
    Http {
        /// Stands before the path.
        path_prefix: Option<PathLiteral>,
        /// Headers of the answer that the upstream gets, in lower case and sorted; `None` is all that are not
        /// about the answer itself.
        response_headers: Option<Vec<Arc<str>>>,
    },
    Grpc {
        /// The host that it is asked as.
        authority: Arc<str>,
    },
}

#[derive(Clone, PartialEq, Debug, Serialize)]
pub enum AuthProtocol {
    Http(HttpAuthorization),
    Grpc,
}

/// What goes to and fro where a request itself is the question.
#[derive(Clone, PartialEq, Debug, Default, Serialize)]
pub struct HttpAuthorization {
    /// Stands before the path.
    pub path_prefix: Option<PathLiteral>,
    /// Headers of the client that go along, in lower case and sorted.
    pub request_headers: Vec<Arc<str>>,
    /// Headers of the answer that the upstream gets when it allows, the client when it denies.
    pub response_headers: Vec<Arc<str>>,
    pub add_headers: Vec<(HeaderName, FormatString)>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
pub struct SentBody {
    /// Above zero.
    pub max_bytes: u32,
    /// Whether a longer body is sent in part; else it is answered with 413.
    pub allow_partial: bool,
}

/// Who counts requests (`filters.http.ratelimit`).
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct RateLimit {
    /// Name of a [`crate::Gateway::clusters`] entry.
    pub cluster: Arc<str>,
    pub domain: Arc<str>,
    /// Longest wait for an answer.
    pub timeout: Duration,
    /// Whether what is not answered is refused.
    pub failure_mode_deny: bool,
    /// Whether gRPC is refused with RESOURCE_EXHAUSTED, not UNAVAILABLE.
    pub resource_exhausted: bool,
}
