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
    /// Host and port of a Consul agent.
    pub address: Option<String>,
    /// The datacenter whose services are found.
    pub datacenter: Option<String>,
}
