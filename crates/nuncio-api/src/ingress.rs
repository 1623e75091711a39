//! `networking.k8s.io/v1`: Ingress and IngressClass, field by field.
//!
//! Words such as a path's type are plain text: a wrong one costs its path, not the whole Ingress.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// The API group.
pub const GROUP: &str = "networking.k8s.io";

/// `Ingress.spec`: which Services requests go to, by host and path.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Ingress {
    /// The controller that serves it, by the name of an IngressClass.
    pub ingress_class_name: Option<String>,
    /// Where requests go that no rule takes.
    pub default_backend: Option<IngressBackend>,
    pub tls: Vec<IngressTls>,
    pub rules: Vec<IngressRule>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct IngressTls {
    /// Every host when empty.
    pub hosts: Vec<String>,
    pub secret_name: Option<String>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct IngressRule {
    /// A name, or `*.` and a name for one label more; every host when absent.
    pub host: Option<String>,
    pub http: Option<HttpIngressRule>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct HttpIngressRule {
    pub paths: Vec<HttpIngressPath>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct HttpIngressPath {
    pub path: Option<String>,
    /// `Exact`, `Prefix`, `ImplementationSpecific`.
    pub path_type: Option<String>,
    pub backend: IngressBackend,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct IngressBackend {
    pub service: Option<IngressServiceBackend>,
    /// An object that is no Service.
    pub resource: Option<Value>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct IngressServiceBackend {
    pub name: String,
    pub port: ServiceBackendPort,
}

/// One of both.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct ServiceBackendPort {
    pub name: Option<String>,
    pub number: Option<u16>,
}

/// `IngressClass.spec`: which controller serves the Ingresses of a class.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct IngressClass {
    pub controller: String,
    pub parameters: Option<Value>,
}
