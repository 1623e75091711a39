//! Clusters and their endpoints.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;

use crate::report::Origin;
use crate::route::Priority;
use crate::tls::Origination;

/// Upstreams that requests go to (`config.cluster.v3.Cluster`).
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Cluster {
    pub name: Arc<str>,
    /// Name in statistics, where it differs.
    pub alt_stat_name: Option<Arc<str>>,
    /// The first resource that asked for it.
    pub origin: Origin,
    pub discovery: Discovery,
    pub connect_timeout: Duration,
    pub circuit_breakers: Vec<CircuitBreaker>,
    pub protocol: UpstreamProtocol,
    pub tls: Option<Origination>,
    /// Of an upstream connection without requests; `None` is Envoy's hour.
    pub idle_timeout: Option<Duration>,
    pub max_connection_duration: Option<Duration>,
}

/// Where a cluster's endpoints come from.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub enum Discovery {
    /// Name of a [`crate::Gateway::endpoints`] entry.
    Eds(Arc<str>),
    /// Addresses that never change.
    Static(Vec<Endpoint>),
    /// A Unix socket on Envoy's machine.
    Pipe(Arc<str>),
    Dns {
        host: Arc<str>,
        port: u16,
        lookup: DnsLookup,
        family: DnsFamily,
        respect_ttl: bool,
    },
}

/// `STRICT_DNS` uses every address of an answer, `LOGICAL_DNS` the first.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
pub enum DnsLookup {
    Strict,
    Logical,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
pub enum DnsFamily {
    V4Only,
    V6Only,
    /// IPv6 where there is one, else IPv4.
    Auto,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize)]
pub struct Endpoint {
    pub address: IpAddr,
    pub port: u16,
}

/// The endpoints of EDS clusters (`ClusterLoadAssignment`). Sorted, each once; none is a 503.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct EndpointSet {
    pub name: Arc<str>,
    pub origin: Origin,
    pub endpoints: Vec<Endpoint>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
pub enum UpstreamProtocol {
    Http1,
    /// With TLS by ALPN, without by prior knowledge.
    Http2,
}

/// `config.cluster.v3.CircuitBreakers.Thresholds`; `None` is Envoy's default.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct CircuitBreaker {
    pub priority: Priority,
    pub max_connections: Option<u32>,
    pub max_pending_requests: Option<u32>,
    pub max_requests: Option<u32>,
    pub max_retries: Option<u32>,
}
