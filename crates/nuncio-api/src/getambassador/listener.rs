use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::LabelSelector;

/// `Listener.spec`: a port that Envoy listens on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Listener {
    /// Which nuncio takes it, by `AMBASSADOR_ID`; `default` when absent.
    pub ambassador_id: Option<Vec<String>>,
    /// The port.
    ///
    /// Envoy: `Listener.address`.
    pub port: u16,
    /// `HTTP`, `HTTPS`, `HTTPPROXY`, `HTTPSPROXY`, `TCP` or `TLS`: short for a `protocolStack`.
    /// `HTTPS` takes cleartext requests too.
    ///
    /// Envoy: `Listener.listener_filters`, `filter_chains`.
    pub protocol: Option<Protocol>,
    /// Layers from the inside out: `TLS`, `PROXY`, `HTTP` over `TCP` or `UDP`; `[TLS, HTTP, UDP]`
    /// is HTTP/3.
    ///
    /// Envoy: `Listener.listener_filters`, `filter_chains`.
    #[serde(rename = "protocolStack")]
    pub protocol_stack: Option<Vec<ProtocolLayer>>,
    /// When a request is secure: `XFP` by `x-forwarded-proto`, `SECURE` always, `INSECURE` never.
    ///
    /// Envoy: matchers of `x-forwarded-proto`.
    #[serde(rename = "securityModel")]
    pub security_model: SecurityModel,
    /// Name in statistics.
    ///
    /// Envoy: `HttpConnectionManager.stat_prefix`.
    #[serde(rename = "statsPrefix")]
    pub stats_prefix: Option<String>,
    /// Proxies in front that are trusted to say who the client is.
    ///
    /// Envoy: `HttpConnectionManager.xff_num_trusted_hops`.
    #[serde(rename = "l7Depth")]
    pub l7_depth: Option<u32>,
    /// Requests at once on a connection of HTTP/2, 1024 when absent.
    ///
    /// Envoy: `Http2ProtocolOptions.max_concurrent_streams`.
    #[serde(rename = "http2MaxConcurrentStreams")]
    pub http2_max_concurrent_streams: Option<u32>,
    /// Which Hosts it serves: those that both parts take.
    ///
    /// Envoy: the filter chains and virtual hosts.
    #[serde(rename = "hostBinding")]
    pub host_binding: Option<HostBinding>,
}

/// Shorthand for a stack of protocol layers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "UPPERCASE")]
pub enum Protocol {
    Http,
    Https,
    HttpProxy,
    HttpsProxy,
    Tcp,
    Tls,
    Udp,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "UPPERCASE")]
pub enum ProtocolLayer {
    Http,
    Proxy,
    Tls,
    Tcp,
    Udp,
}

/// How a request is told to be secure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "UPPERCASE")]
pub enum SecurityModel {
    /// By `x-forwarded-proto`.
    Xfp,
    /// Every request is.
    Secure,
    /// No request is.
    Insecure,
}

/// Which Hosts a Listener serves. Both parts must match when both are given.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct HostBinding {
    /// By their namespace.
    pub namespace: Option<NamespaceBinding>,
    /// By their labels.
    ///
    /// Emissary: `matchExpressions` are refused there.
    pub selector: Option<LabelSelector>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct NamespaceBinding {
    /// `SELF` or `ALL`.
    pub from: Option<NamespaceFrom>,
    /// Nothing, as in Emissary.
    pub selector: Option<LabelSelector>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "UPPERCASE")]
pub enum NamespaceFrom {
    #[serde(rename = "SELF")]
    Own,
    All,
    Selector,
}
