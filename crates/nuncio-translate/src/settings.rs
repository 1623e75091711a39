use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::str::FromStr;
use std::sync::Arc;

use crate::ingress::PodLabels;
use crate::store::Scope;

/// What translation depends on beside the resources.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// nuncio's own namespace.
    pub namespace: String,
    /// Address that Listeners bind.
    pub bind_address: IpAddr,
    /// Addresses that Gateways are given, one each; without any they all listen on `bind_address`.
    pub gateway_addresses: Arc<[IpAddr]>,
    /// Whether each Gateway of a cluster gets a Service, and of which type.
    pub gateway_services: Option<ServiceType>,
    /// Socket of Envoy's admin interface.
    pub envoy_admin: Arc<str>,
    /// Where Envoy itself says that it serves.
    pub ready: Option<ReadyPort>,
    /// Where the built-in routes for health and diagnostics go.
    pub admin: SocketAddr,
    /// Who counts requests where no RateLimitService says so.
    pub rate_limit: Option<SocketAddr>,
    /// A Host's `mappingSelector` takes a Mapping that has all its labels and its hostname;
    /// otherwise one that has any label or the hostname (`DISABLE_STRICT_LABEL_SELECTORS`).
    pub strict_label_selectors: bool,
    /// The labels of nuncio's own pod, where they are known: they say which Service is its own.
    pub pod_labels: Option<PodLabels>,
    /// Whether the report also has what is surprising and yet everywhere, for who asks what could
    /// be better.
    pub hints: bool,
    /// How many routes the Hosts of a Listener may have in lists of their own. What is beyond would
    /// be more memory than it is worth: then Hosts share one list, whose routes ask for their names,
    /// and those of one path are tried one after the other.
    pub most_routes_in_own_lists: usize,
}

/// The type of a Service that has an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ServiceType {
    ClusterIp,
    NodePort,
    LoadBalancer,
}

impl ServiceType {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ClusterIp => "ClusterIP",
            Self::NodePort => "NodePort",
            Self::LoadBalancer => "LoadBalancer",
        }
    }
}

impl FromStr for ServiceType {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let all = [Self::ClusterIp, Self::NodePort, Self::LoadBalancer];
        let found = all.into_iter().find(|each| each.as_str() == text);
        found.ok_or_else(|| {
            let text = text.escape_debug();
            format!(
                "\"{text}\" is not a type of Service; write ClusterIP, NodePort or LoadBalancer"
            )
        })
    }
}

/// A port on which Envoy answers by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReadyPort {
    pub address: IpAddr,
    pub port: u16,
    /// Whether its requests are in the access log.
    pub access_log: bool,
}

impl Settings {
    /// Whether no Gateway shares ports with another.
    pub fn gateways_are_apart(&self) -> bool {
        !self.gateway_addresses.is_empty() || self.gateway_services.is_some()
    }

    /// Emissary's defaults, in the namespace of a scope.
    pub fn new(scope: &Scope) -> Self {
        Self {
            namespace: scope.namespace.clone(),
            bind_address: Ipv4Addr::UNSPECIFIED.into(),
            gateway_addresses: Arc::default(),
            gateway_services: None,
            envoy_admin: "admin.sock".into(),
            ready: None,
            admin: SocketAddr::from((Ipv4Addr::LOCALHOST, 8877)),
            rate_limit: None,
            strict_label_selectors: true,
            pod_labels: None,
            hints: false,
            most_routes_in_own_lists: 100_000,
        }
    }
}
