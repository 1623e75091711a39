use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::LabelSelector;

/// `Listener.spec`: a port that Envoy listens on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Listener {
    pub ambassador_id: Option<Vec<String>>,
    pub port: u16,
    pub protocol: Option<Protocol>,
    #[serde(rename = "protocolStack")]
    pub protocol_stack: Option<Vec<ProtocolLayer>>,
    #[serde(rename = "securityModel")]
    pub security_model: SecurityModel,
    #[serde(rename = "statsPrefix")]
    pub stats_prefix: Option<String>,
    #[serde(rename = "l7Depth")]
    pub l7_depth: Option<u32>,
    #[serde(rename = "http2MaxConcurrentStreams")]
    pub http2_max_concurrent_streams: Option<u32>,
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
    pub namespace: Option<NamespaceBinding>,
    pub selector: Option<LabelSelector>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct NamespaceBinding {
    pub from: Option<NamespaceFrom>,
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
