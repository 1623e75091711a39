//! Listeners and their filter chains.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;

use crate::report::Origin;
use crate::tls::Termination;
use crate::value::{Domain, ServerName};

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
    pub filter_chains: Vec<FilterChain>,
}

/// TCP and QUIC ports are apart: two listeners may have one number.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize)]
pub enum Transport {
    Tcp,
    /// Over UDP. Every connection is TLS and HTTP/3.
    Quic,
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
    /// TLS is terminated here. Without, HTTP takes cleartext connections, and a TCP proxy all that
    /// no other chain takes.
    pub tls: Option<DownstreamTls>,
    pub proxy: Proxy,
}

impl FilterChain {
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
    /// The `server` response header.
    pub server_name: Arc<str>,
}
