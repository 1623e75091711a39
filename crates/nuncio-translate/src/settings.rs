use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use crate::ingress::PodLabels;
use crate::store::Scope;

/// What translation depends on beside the resources.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// nuncio's own namespace.
    pub namespace: String,
    /// Address that Listeners bind.
    pub bind_address: IpAddr,
    /// Where the built-in routes for health and diagnostics go.
    pub admin: SocketAddr,
    /// A Host's `mappingSelector` takes a Mapping that has all its labels and its hostname;
    /// otherwise one that has any label or the hostname (`DISABLE_STRICT_LABEL_SELECTORS`).
    pub strict_label_selectors: bool,
    /// The labels of nuncio's own pod, where they are known: they say which Service is its own.
    pub pod_labels: Option<PodLabels>,
}

impl Settings {
    /// Emissary's defaults, in the namespace of a scope.
    pub fn new(scope: &Scope) -> Self {
        Self {
            namespace: scope.namespace.clone(),
            bind_address: Ipv4Addr::UNSPECIFIED.into(),
            admin: SocketAddr::from((Ipv4Addr::LOCALHOST, 8877)),
            strict_label_selectors: true,
            pod_labels: None,
        }
    }
}
