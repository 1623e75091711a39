//! Listeners and their filter chains.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;

use crate::log::LogService;
use crate::report::Origin;
use crate::tls::Termination;
use crate::tracing::Tracing;
use crate::value::{Domain, LogFormat, ServerName};

/// A port that Envoy listens on (`config.listener.v3.Listener`).
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Listener {
    /// Stable for as long as the resource that asked for it lives.
    pub name: Arc<str>,
    pub origin: Origin,
    pub transport: Transport,
    pub address: IpAddr,
    pub port: u16,
    /// In the order in which Envoy runs them.
    pub listener_filters: Vec<ListenerFilter>,
    /// Prefix of the statistics of its connection managers and TCP proxies.
    pub stat_prefix: Arc<str>,
    /// What Envoy holds of a connection before it stops reading; `None` is Envoy's mebibyte.
    pub per_connection_buffer_limit: Option<u32>,
    pub filter_chains: Vec<FilterChain>,
}

/// A port of UDP whose datagrams are passed on (`filters.udp.udp_proxy.v3.UdpProxyConfig`): all of one
/// client's port to one endpoint, until there are none for a while.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct DatagramListener {
    /// Stable for as long as the resource that asked for it lives.
    pub name: Arc<str>,
    pub origin: Origin,
    pub address: IpAddr,
    pub port: u16,
    pub stat_prefix: Arc<str>,
    /// At least one.
    pub clusters: Vec<WeightedCluster>,
}

/// TCP and QUIC ports are apart: two listeners may have one number.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize)]
pub enum Transport {
    Tcp,
    /// Over UDP. Every connection is TLS and HTTP/3.
    Quic,
}

/// A port on which Envoy answers `GET /ready` by itself: 200 while it serves, 503 while it drains.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Ready {
    pub address: IpAddr,
    pub port: u16,
    pub access_log: Option<AccessLog>,
}

impl Ready {
    /// Its listener's name.
    pub fn name(&self) -> String {
        format!("ambassador-listener-ready-{}-{}", self.address, self.port)
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
pub enum ListenerFilter {
    TlsInspector,
    ProxyProtocol,
}

/// What becomes of a connection, by what its first bytes say.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct FilterChain {
    pub name: Arc<str>,
    pub origin: Origin,
    /// TLS is terminated here.
    pub tls: Option<DownstreamTls>,
    /// TLS that is not terminated here. Without both, HTTP takes cleartext connections, and a TCP proxy
    /// all that no other chain takes.
    pub passthrough: Option<Passthrough>,
    pub proxy: Proxy,
}

impl FilterChain {
    /// Which connections with TLS it takes; `None` is none but as a chain for all bytes.
    pub fn server_name(&self) -> Option<Option<&ServerName>> {
        let terminated = self.tls.as_ref().map(|tls| tls.server_name.as_ref());
        let passed = self
            .passthrough
            .as_ref()
            .map(|tls| tls.server_name.as_ref());
        terminated.or(passed)
    }

    pub fn http(&self) -> Option<&HttpConnectionManager> {
        match &self.proxy {
            Proxy::Http(http) => Some(http),
            Proxy::Tcp(_) => None,
        }
    }
}

/// What is made of a connection's bytes.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub enum Proxy {
    Http(HttpConnectionManager),
    Tcp(TcpProxy),
}

/// Passes bytes on (`filters.network.tcp_proxy.v3.TcpProxy`).
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct TcpProxy {
    /// At least one.
    pub clusters: Vec<WeightedCluster>,
    /// Of a connection without bytes; zero is without end, `None` Envoy's hour.
    pub idle_timeout: Option<Duration>,
    pub log_services: Arc<[LogService]>,
}

/// A cluster's part of the connections, relative to that of the others.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct WeightedCluster {
    /// Name of a [`crate::Gateway::clusters`] entry.
    pub cluster: Arc<str>,
    /// Above zero.
    pub weight: u32,
}

/// TLS for one server name.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize)]
pub struct DownstreamTls {
    /// Connections that name this server; `None` is every other TLS connection.
    pub server_name: Option<ServerName>,
    pub termination: Termination,
}

/// TLS that the upstream terminates.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize)]
pub struct Passthrough {
    /// As [`DownstreamTls::server_name`].
    pub server_name: Option<ServerName>,
}

/// The HTTP connection manager of a chain.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct HttpConnectionManager {
    /// Name of a [`crate::Gateway::route_tables`] entry.
    pub route_table: Arc<str>,
    /// Hosts that a request on this chain may ask for; `None` is every host of the route table. A
    /// connection made for one name must not reach the routes of another.
    pub authorities: Option<Vec<Domain>>,
    /// Proxies in front of Envoy whose `x-forwarded-for` entries are trusted.
    pub xff_num_trusted_hops: u32,
    pub max_concurrent_streams: Option<u32>,
    /// HTTP/3 is served on the same port, over QUIC.
    pub http3: bool,
    /// Names of [`crate::Gateway::filters`] entries, in the order in which requests meet them.
    pub filters: Vec<Arc<str>>,
    /// The same, after CORS: those that ask others.
    pub late_filters: Vec<Arc<str>>,
    /// Whether its routes may have a [`crate::route::Session`], and others who are asked about them.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub route_filters: bool,
    /// What all connection managers have in common.
    pub options: Arc<HttpOptions>,
}

/// Settings of connection managers that do not depend on the listener
/// (`HttpConnectionManager`). What is absent is Envoy's choice, or the gateway's own limit.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct HttpOptions {
    /// The `server` response header.
    pub server_name: Arc<str>,
    /// Whether the client is who connects, and not who `x-forwarded-for` says.
    pub use_remote_address: bool,
    pub preserve_external_request_id: bool,
    pub merge_slashes: bool,
    /// Whether `%2F` and the like in a path are refused.
    pub reject_escaped_slashes: bool,
    pub strip_matching_host_port: bool,
    pub accept_http_10: bool,
    pub allow_chunked_length: bool,
    pub header_case: HeaderCase,
    pub headers_with_underscores: UnderscoreHeaders,
    pub max_request_headers_kb: Option<u32>,
    /// Of a connection without requests; zero is without end.
    pub idle_timeout: Option<Duration>,
    pub client_certificate: Option<ForwardedCertificate>,
    pub client_certificate_details: CertificateDetails,
    /// Whether the `x-envoy-…` headers of the router are left out.
    pub suppress_envoy_headers: bool,
    pub access_log: AccessLog,
    /// They are told of a request before it is in the file.
    pub log_services: Arc<[LogService]>,
    pub tracing: Option<Tracing>,
}

/// How header names are written in HTTP/1.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize)]
pub enum HeaderCase {
    #[default]
    Lower,
    /// `X-Request-Id`.
    ProperWords,
    /// As the other side wrote them.
    Preserved,
}

/// What becomes of headers with an underscore in their name.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize)]
pub enum UnderscoreHeaders {
    #[default]
    Allow,
    RejectRequest,
    DropHeader,
}

/// What becomes of `x-forwarded-client-cert` (`ForwardClientCertDetails`).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
pub enum ForwardedCertificate {
    Sanitize,
    ForwardOnly,
    AppendForward,
    SanitizeSet,
    AlwaysForwardOnly,
}

/// What of a client's certificate is forwarded (`SetCurrentClientCertDetails`).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize)]
pub struct CertificateDetails {
    pub subject: bool,
    pub cert: bool,
    pub chain: bool,
    pub dns: bool,
    pub uri: bool,
}

/// A line for each request, in a file or on standard output.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct AccessLog {
    pub path: Arc<str>,
    pub format: AccessLogFormat,
}

#[derive(Clone, PartialEq, Debug, Serialize)]
pub enum AccessLogFormat {
    Text(LogFormat),
    /// An object in which numbers are numbers and what is absent is null.
    Json(LogFields),
}

/// An object of an access log.
pub type LogFields = Vec<(Arc<str>, LogValue)>;

#[derive(Clone, PartialEq, Debug, Serialize)]
pub enum LogValue {
    Text(LogFormat),
    Number(f64),
    Bool(bool),
    Null,
    List(Vec<LogValue>),
    Object(LogFields),
}
