//! `getambassador.io/v3alpha1`: Emissary's kinds, field by field.
//!
//! Every field that the API has is here, honoured or not: the front end decides and reports. A
//! field absent in YAML is `None`, so that defaults from a Module can apply. Older versions are
//! read through [`conversion`].

mod authservice;
pub mod conversion;
pub mod crd;
mod devportal;
mod host;
mod labels;
mod listener;
mod logservice;
mod mapping;
mod module;
mod ratelimitservice;
mod resolver;
mod tcpmapping;
mod tlscontext;
mod tlsmodule;
mod tracingservice;

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use authservice::{AuthProtocol, AuthService, IncludeBody, StatusOnError};
pub use devportal::{
    DevPortal, DevPortalContent, DevPortalDocs, DevPortalSearch, DevPortalSelector, NamingScheme,
    SearchType,
};
pub use host::{
    AcmeProvider, Host, HostTls, InsecureAction, InsecureRequestPolicy, RequestPolicy, SecretRef,
};
pub use labels::{GenericKeyLabel, LabelGroup, LabelSpecifier, Labels, RequestHeadersLabel};
pub use listener::{
    HostBinding, Listener, NamespaceBinding, NamespaceFrom, Protocol, ProtocolLayer, SecurityModel,
};
pub use logservice::{LogDriver, LogDriverConfig, LogHeader, LogService};
pub use mapping::{
    AddedHeader, CircuitBreaker, Cors, ErrorResponseBody, ErrorResponseFile, ErrorResponseOverride,
    GrpcHealthCheck, HealthCheck, HealthCheckLayer, HttpHealthCheck, KeepAlive, LoadBalancer,
    LoadBalancerCookie, Mapping, OutlierDetection, OutlierDetectionSettings, RegexRewrite,
    RetryPolicy, StatusRange,
};
pub use module::{
    BrotliSettings, BufferSettings, BuiltInRoute, ClientCertDetails, GrpcStatsService,
    GrpcStatsSettings, GzipSettings, MappingDefaults, ModuleConfig, ModuleCors, ModuleDefaults,
    StringOrList,
};
pub use ratelimitservice::{RateLimitGrpc, RateLimitService};
pub use resolver::{ConsulResolver, KubernetesResolver};
pub use tcpmapping::TcpMapping;
pub use tlscontext::TlsContext;
pub use tlsmodule::{TlsModuleCertificate, TlsModuleClient};
pub use tracingservice::{
    CollectorEndpointVersion, CustomTag, PropagationMode, TagLiteral, TagSource, TraceConfig,
    TraceSampling, TracingDriver, TracingService,
};

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

/// The version of Envoy's API in which a service is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ProtocolVersion {
    V2,
    V3,
}

/// How `tls` and the scheme of the service were written in v2, where v3alpha1 has one spelling.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct V2ExplicitTls {
    /// `null`, `string`, `bool:true` or `bool:false`; absent if `tls` was.
    pub tls: Option<String>,
    /// The scheme that the service had.
    #[serde(rename = "serviceScheme")]
    pub service_scheme: Option<String>,
}
