//! Route tables: which request goes where.
//!
//! Nothing here says how a table is encoded: a virtual host is an ordered list of entries, the
//! first that matches counts.

use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;

use crate::external::{Asks, Checks, RouteAuthorization};
use crate::filter::ErrorResponse;
use crate::report::Origin;
use crate::value::{
    CookieName, Domain, FormatString, Fraction, HeaderName, HostLiteral, MatchHeaderName,
    PathLiteral, PathSegments, Regex,
};

/// The routes of one or more filter chains (`config.route.v3.RouteConfiguration`).
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct RouteTable {
    /// Named after its listener, never after its contents: a renamed table drains connections.
    pub name: Arc<str>,
    pub virtual_hosts: Vec<VirtualHost>,
    /// Whether `a.example:8080` in a request is the domain `a.example`.
    pub ignore_port: bool,
    pub asks: Asks,
}

/// Hosts with the same routes.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct VirtualHost {
    pub name: Arc<str>,
    /// No domain stands in two virtual hosts of one table.
    pub domains: Vec<Domain>,
    /// What asked for each domain, in their order.
    pub origins: Vec<Origin>,
    /// In the order in which they are tried. Shared between virtual hosts and tables.
    pub routes: Vec<Arc<Route>>,
    /// Of whatever route answers.
    pub response_headers: HeaderEdits,
}

/// One entry: what it matches, and what is done then.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Route {
    pub origin: Origin,
    pub matches: RouteMatch,
    pub action: Action,
    pub request_headers: HeaderEdits,
    pub response_headers: HeaderEdits,
    pub cors: Option<Cors>,
    /// Who is asked about its requests alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub authorization: Option<Arc<RouteAuthorization>>,
}

/// All of it must hold.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize)]
pub struct RouteMatch {
    pub path: PathMatch,
    /// Of the path; a regex says so itself.
    pub case_sensitive: bool,
    pub headers: Vec<HeaderMatch>,
    pub query_parameters: Vec<QueryParameterMatch>,
    /// Only this part of the requests.
    pub fraction: Option<RuntimeFraction>,
}

#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize)]
pub enum PathMatch {
    /// Any path that begins with these characters.
    Prefix(PathLiteral),
    /// This path and those below it, whatever the query string.
    Segments(PathSegments),
    /// This path alone, whatever the query string.
    Exact(PathLiteral),
    /// The whole path without its query string.
    Regex(Regex),
    /// A CONNECT request, which has no path and which no other one matches
    /// (`RouteMatch.connect_matcher`).
    Connect,
}

#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize)]
pub struct HeaderMatch {
    pub name: MatchHeaderName,
    pub value: StringMatch,
}

#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize)]
pub struct QueryParameterMatch {
    pub name: Arc<str>,
    pub value: StringMatch,
}

#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize)]
pub enum StringMatch {
    Exact(Arc<str>),
    Prefix(Arc<str>),
    Suffix(Arc<str>),
    /// Of the whole value.
    Regex(Regex),
}

/// A share of requests. Entries with one key and consecutive cumulative shares split traffic, because
/// Envoy draws one random number a request.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize)]
pub struct RuntimeFraction {
    pub share: Fraction,
    pub runtime_key: Option<Arc<str>>,
}

#[derive(Clone, PartialEq, Debug, Serialize)]
pub enum Action {
    Forward(Box<Forward>),
    Redirect(Redirect),
    /// Answered by Envoy itself.
    DirectResponse {
        status: u16,
        body: Arc<str>,
    },
}

/// `config.route.v3.RouteAction`.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Forward {
    /// Name of a [`crate::Gateway::clusters`] entry.
    pub cluster: Arc<str>,
    /// Until the last byte of the response; zero is without end.
    pub timeout: Duration,
    /// Between bytes; zero is without end, `None` the connection manager's.
    pub idle_timeout: Option<Duration>,
    pub path_rewrite: PathRewrite,
    pub host_rewrite: HostRewrite,
    pub retry: Option<RetryPolicy>,
    pub mirrors: Vec<Mirror>,
    /// Protocols a client may upgrade to, such as `websocket`, in lower case.
    pub upgrades: Vec<Arc<str>>,
    pub priority: Priority,
    /// What a hashing load balancer goes by.
    pub hash_policy: Option<HashPolicy>,
    /// How clients come back to the endpoint that answered them before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub session: Option<Session>,
    pub error_responses: ErrorResponses,
    /// `None` where services are asked as of every route.
    pub checks: Option<Box<Checks>>,
}

/// `RouteAction.HashPolicy`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub enum HashPolicy {
    Cookie {
        name: HeaderName,
        path: Arc<str>,
        /// How long a cookie lives that Envoy makes; zero is a session, `None` makes none.
        ttl: Option<Duration>,
    },
    Header(HeaderName),
    SourceIp,
}

/// What a client is given, and brings back (`filters.http.stateful_session`). Where the endpoint is gone
/// another answers.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub enum Session {
    Cookie {
        name: CookieName,
        path: Arc<str>,
        /// How long it lives; `None` is the browser's session.
        ttl: Option<Duration>,
        /// Whether it is sent over TLS alone.
        secure: bool,
    },
    Header(HeaderName),
}

/// Whose words an error is answered in.
#[derive(Clone, PartialEq, Debug, Default, Serialize)]
pub enum ErrorResponses {
    /// Those of the filter, where there is one.
    #[default]
    Inherited,
    /// Those of who answers.
    Off,
    Own(Vec<ErrorResponse>),
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub enum PathRewrite {
    None,
    /// In place of what the match took: the prefix, or for other matches the whole path.
    Prefix(PathLiteral),
    Regex {
        pattern: Regex,
        substitution: Arc<str>,
    },
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub enum HostRewrite {
    None,
    Literal(HostLiteral),
    /// The upstream's own name.
    Auto,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct RetryPolicy {
    /// Envoy's conditions (`x-envoy-retry-on`), each a known word.
    pub retry_on: Vec<Arc<str>>,
    /// Answers with these are tried again, where `retry_on` says so (`retriable-status-codes`).
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub statuses: Vec<u16>,
    pub num_retries: Option<u32>,
    pub per_try_timeout: Option<Duration>,
    /// Before the first try again; `None` is Envoy's 25 ms.
    pub back_off: Option<Duration>,
}

/// `config.route.v3.CorsPolicy` / `filters.http.cors.v3.CorsPolicy`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Cors {
    pub allow_origins: Vec<StringMatch>,
    pub allow_methods: Vec<Arc<str>>,
    pub allow_headers: Vec<Arc<str>>,
    pub expose_headers: Vec<Arc<str>>,
    pub allow_credentials: bool,
    /// Seconds, as the header has it.
    pub max_age: Option<Arc<str>>,
    /// Whether Envoy answers a browser that asks for another origin too, without a word of CORS; else
    /// the upstream does.
    pub answers_others: bool,
}

/// A copy of requests to another cluster, whose answers are thrown away.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Mirror {
    pub cluster: Arc<str>,
    pub share: Fraction,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default, Serialize)]
pub enum Priority {
    #[default]
    Default,
    High,
}

/// `config.route.v3.RedirectAction`.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Redirect {
    /// Of the `location`; `None` keeps the request's.
    pub scheme: Option<RedirectScheme>,
    pub host: Option<HostLiteral>,
    pub port: Option<u16>,
    pub path: RedirectPath,
    pub status: RedirectStatus,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
pub enum RedirectScheme {
    Http,
    Https,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub enum RedirectPath {
    Keep,
    /// The whole path.
    Full(PathLiteral),
    /// In place of the matched prefix.
    Prefix(PathLiteral),
    Regex {
        pattern: Regex,
        substitution: Arc<str>,
    },
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
pub enum RedirectStatus {
    MovedPermanently,
    Found,
    SeeOther,
    TemporaryRedirect,
    PermanentRedirect,
}

/// Changes to headers on their way through.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize)]
pub struct HeaderEdits {
    pub add: Vec<HeaderAddition>,
    pub remove: Vec<HeaderName>,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct HeaderAddition {
    pub name: HeaderName,
    pub value: FormatString,
    /// Beside what the message has of the name, or in place of it.
    pub append: bool,
}
