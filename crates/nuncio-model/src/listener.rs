//! Listeners and their filter chains.

use std::net::IpAddr;
use std::sync::Arc;

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
    pub address: IpAddr,
    pub port: u16,
    /// In the order in which Envoy runs them.
    pub listener_filters: Vec<ListenerFilter>,
    /// Prefix of the statistics of its connection managers.
    pub stat_prefix: Arc<str>,
    pub filter_chains: Vec<FilterChain>,
}

/// A port on which Envoy answers `GET /ready` by itself: 200 while it serves, 503 while it drains.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
pub struct Ready {
    pub address: IpAddr,
    pub port: u16,
    pub access_log: bool,
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
    /// TLS is terminated here; without, the connection is cleartext.
    pub tls: Option<DownstreamTls>,
    pub http: HttpConnectionManager,
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
    /// The `server` response header.
    pub server_name: Arc<str>,
}
