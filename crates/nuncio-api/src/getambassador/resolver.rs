use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// `spec` of a KubernetesServiceResolver and of a KubernetesEndpointResolver: the kind says it all.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct KubernetesResolver {
    /// Which nuncio takes it, by `AMBASSADOR_ID`; `default` when absent.
    pub ambassador_id: Option<Vec<String>>,
}

/// `ConsulResolver.spec`: a Consul in which services are found.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct ConsulResolver {
    /// Which nuncio takes it, by `AMBASSADOR_ID`; `default` when absent.
    pub ambassador_id: Option<Vec<String>>,
    /// A Consul agent: host and port, 8500 when absent, with `https://` over TLS. `${NAME}` is a
    /// variable of the environment.
    ///
    /// Envoy: `ClusterLoadAssignment.endpoints`.
    pub address: Option<String>,
    /// The datacenter whose services are found.
    ///
    /// Envoy: `ClusterLoadAssignment.endpoints`.
    ///
    /// Emissary: services of one name in two datacenters are one there.
    pub datacenter: Option<String>,
}
