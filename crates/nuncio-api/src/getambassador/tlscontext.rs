use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// `TLSContext.spec`: TLS settings for Hosts to terminate and for Mappings to originate with.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct TlsContext {
    pub ambassador_id: Option<Vec<String>>,
    pub hosts: Option<Vec<String>>,
    pub secret: Option<String>,
    pub cert_chain_file: Option<String>,
    pub private_key_file: Option<String>,
    pub ca_secret: Option<String>,
    pub cacert_chain_file: Option<String>,
    pub crl_secret: Option<String>,
    pub cert_required: Option<bool>,
    pub alpn_protocols: Option<String>,
    pub min_tls_version: Option<String>,
    pub max_tls_version: Option<String>,
    pub cipher_suites: Option<Vec<String>>,
    pub ecdh_curves: Option<Vec<String>>,
    pub redirect_cleartext_from: Option<i64>,
    pub secret_namespacing: Option<bool>,
    pub sni: Option<String>,
}
