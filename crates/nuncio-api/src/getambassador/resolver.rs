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
    pub ambassador_id: Option<Vec<String>>,
    pub address: Option<String>,
    pub datacenter: Option<String>,
}
