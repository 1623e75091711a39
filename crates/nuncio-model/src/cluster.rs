//! Clusters and their endpoints.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::listener::HeaderCase;
use crate::report::Origin;
use crate::route::{HeaderAddition, Priority};
use crate::tls::Origination;
use crate::value::{HeaderName, HostLiteral, PathLiteral};

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
    pub lb_policy: LbPolicy,
    pub keepalive: Option<Keepalive>,
    pub health_checks: Vec<HealthCheck>,
    pub outlier_detection: Option<OutlierDetection>,
    /// Of the names of headers that an upstream of HTTP/1 gets.
    pub header_case: HeaderCase,
}

/// Which endpoint the next request goes to.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize)]
pub enum LbPolicy {
    #[default]
    RoundRobin,
    LeastRequest,
    /// By what a route's hash policy says, as the next one does.
    RingHash,
    Maglev,
}

/// `config.core.v3.TcpKeepalive`, in seconds; what is absent is the system's choice.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
pub struct Keepalive {
    pub idle_time: Option<u32>,
    pub interval: Option<u32>,
    pub probes: Option<u32>,
}

/// Requests of Envoy's own that find out which endpoints answer (`config.core.v3.HealthCheck`).
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct HealthCheck {
    pub timeout: Duration,
    pub interval: Duration,
    pub healthy_threshold: u32,
    pub unhealthy_threshold: u32,
    pub probe: HealthProbe,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub enum HealthProbe {
    Http {
        path: PathLiteral,
        host: Option<HostLiteral>,
        add_headers: Vec<HeaderAddition>,
        remove_headers: Vec<HeaderName>,
        /// From and to, the end not included; none is 200 alone.
        expected_statuses: Vec<(u16, u16)>,
    },
    Grpc {
        service: Arc<str>,
        authority: Option<HostLiteral>,
    },
}

/// When an endpoint that fails is left out for a while (`config.cluster.v3.OutlierDetection`).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize)]
pub struct OutlierDetection {
    pub consecutive_5xx: Option<u32>,
    pub consecutive_gateway_failure: Option<u32>,
    pub consecutive_local_origin_failure: Option<u32>,
    pub interval: Option<Duration>,
    pub base_ejection_time: Option<Duration>,
    pub max_ejection_time: Option<Duration>,
    pub max_ejection_percent: Option<u32>,
    pub split_external_local_origin_errors: bool,
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
        /// Names and addresses beside it.
        others: Vec<(Arc<str>, u16)>,
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

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
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
