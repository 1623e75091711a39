//! `getambassador.io/v3alpha1`: Emissary's kinds, field by field.
//!
//! Every field that the API has is here, honoured or not: the front end decides and reports. A
//! field absent in YAML is `None`, so that defaults from a Module can apply.

mod host;
mod listener;
mod mapping;
mod module;
mod resolver;
mod tcpmapping;
mod tlscontext;

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use host::{
    AcmeProvider, Host, HostTls, InsecureAction, InsecureRequestPolicy, RequestPolicy, SecretRef,
};
pub use listener::{
    HostBinding, Listener, NamespaceBinding, NamespaceFrom, Protocol, ProtocolLayer, SecurityModel,
};
pub use mapping::{
    AddedHeader, CircuitBreaker, Cors, ErrorResponseBody, ErrorResponseFile, ErrorResponseOverride,
    GrpcHealthCheck, HealthCheck, HealthCheckLayer, HttpHealthCheck, KeepAlive, LoadBalancer,
    LoadBalancerCookie, Mapping, OutlierDetection, OutlierDetectionSettings, RegexRewrite,
    RetryPolicy, StatusRange,
};
pub use module::{
    BufferSettings, BuiltInRoute, ClientCertDetails, GrpcStatsService, GrpcStatsSettings,
    GzipSettings, MappingDefaults, ModuleConfig, ModuleCors, ModuleDefaults, StringOrList,
};
pub use resolver::KubernetesResolver;
pub use tcpmapping::TcpMapping;
pub use tlscontext::TlsContext;

/// The API group.
pub const GROUP: &str = "getambassador.io";

/// A `metav1.LabelSelector`. Emissary's users only write `matchLabels`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct LabelSelector {
    /// Labels that must all be there.
    pub match_labels: BTreeMap<String, String>,
    /// Conditions that must all hold.
    ///
    /// Emissary: ignored there.
    pub match_expressions: Vec<LabelSelectorRequirement>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct LabelSelectorRequirement {
    /// Name of a label.
    pub key: String,
    /// `In`, `NotIn`, `Exists` or `DoesNotExist`.
    pub operator: String,
    /// Values of the label.
    pub values: Vec<String>,
}

/// A reference to an object of a known kind by name.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct LocalRef {
    /// Its name.
    pub name: String,
}

/// A whole number, which some fields also take as text.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum NumberOrString {
    Number(i64),
    String(String),
}
