use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{LabelSelector, LocalRef};

/// `Host.spec`: a hostname, its certificate, and what becomes of cleartext requests for it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Host {
    #[serde(alias = "ambassadorId")]
    pub ambassador_id: Option<Vec<String>>,
    /// `*` when absent.
    pub hostname: Option<String>,
    #[serde(rename = "mappingSelector")]
    pub mapping_selector: Option<LabelSelector>,
    /// Deprecated spelling of `mappingSelector`.
    pub selector: Option<LabelSelector>,
    #[serde(rename = "acmeProvider")]
    pub acme_provider: Option<AcmeProvider>,
    #[serde(rename = "tlsSecret")]
    pub tls_secret: Option<SecretRef>,
    #[serde(rename = "tlsContext")]
    pub tls_context: Option<LocalRef>,
    pub tls: Option<HostTls>,
    #[serde(rename = "requestPolicy")]
    pub request_policy: Option<RequestPolicy>,
    #[serde(rename = "previewUrl")]
    pub preview_url: Option<Value>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct SecretRef {
    pub name: String,
    pub namespace: Option<String>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct AcmeProvider {
    pub authority: Option<String>,
    pub email: Option<String>,
    pub private_key_secret: Option<LocalRef>,
    pub registration: Option<String>,
}

/// Inline TLS settings: the fields of a TLSContext, in snake_case or camelCase.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct HostTls {
    #[serde(alias = "certChainFile")]
    pub cert_chain_file: Option<String>,
    #[serde(alias = "privateKeyFile")]
    pub private_key_file: Option<String>,
    #[serde(alias = "caSecret")]
    pub ca_secret: Option<String>,
    #[serde(alias = "caCertChainFile", alias = "cacertChainFile")]
    pub cacert_chain_file: Option<String>,
    #[serde(alias = "crlSecret")]
    pub crl_secret: Option<String>,
    #[serde(alias = "certRequired")]
    pub cert_required: Option<bool>,
    #[serde(alias = "alpnProtocols")]
    pub alpn_protocols: Option<String>,
    #[serde(alias = "minTLSVersion", alias = "minTlsVersion")]
    pub min_tls_version: Option<String>,
    #[serde(alias = "maxTLSVersion", alias = "maxTlsVersion")]
    pub max_tls_version: Option<String>,
    #[serde(alias = "cipherSuites")]
    pub cipher_suites: Option<Vec<String>>,
    #[serde(alias = "ecdhCurves")]
    pub ecdh_curves: Option<Vec<String>>,
    #[serde(alias = "redirectCleartextFrom")]
    pub redirect_cleartext_from: Option<i64>,
    pub sni: Option<String>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct RequestPolicy {
    pub insecure: Option<InsecureRequestPolicy>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct InsecureRequestPolicy {
    /// `Redirect` when absent.
    pub action: Option<InsecureAction>,
    pub additional_port: Option<i64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum InsecureAction {
    Redirect,
    Reject,
    Route,
}
