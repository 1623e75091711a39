use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A part of the Module `tls` other than `client`: a certificate to show.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct TlsModuleCertificate {
    /// Whether it counts; `true` when absent.
    pub enabled: Option<bool>,
    /// Name of a Secret; `ambassador-certs` when neither it nor files are named.
    pub secret: Option<String>,
    /// As in a TLSContext.
    pub cert_chain_file: Option<String>,
    /// As in a TLSContext.
    pub private_key_file: Option<String>,
    /// As in a TLSContext.
    pub alpn_protocols: Option<String>,
    /// As in a TLSContext: it has no effect.
    pub redirect_cleartext_from: Option<i64>,
}

/// `client` of the Module `tls`: what clients' certificates must come from.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct TlsModuleClient {
    /// Whether it counts; `true` when absent.
    pub enabled: Option<bool>,
    /// Name of the Secret of the authority; `ambassador-cacert` when neither it nor a file is
    /// named.
    pub secret: Option<String>,
    /// As in a TLSContext.
    pub cacert_chain_file: Option<String>,
    /// As in a TLSContext.
    pub cert_required: Option<bool>,
}
