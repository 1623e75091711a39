use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A part of the Module `tls` other than `client`: a certificate to show.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct TlsModuleCertificate {
    /// `true` when absent.
    pub enabled: Option<bool>,
    pub secret: Option<String>,
    pub cert_chain_file: Option<String>,
    pub private_key_file: Option<String>,
    pub alpn_protocols: Option<String>,
    pub redirect_cleartext_from: Option<i64>,
}

/// `client` of the Module `tls`: what clients' certificates must come from.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct TlsModuleClient {
    /// `true` when absent.
    pub enabled: Option<bool>,
    pub secret: Option<String>,
    pub cacert_chain_file: Option<String>,
    pub cert_required: Option<bool>,
}
