use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{LabelSelector, LocalRef};

/// `Host.spec`: a hostname, its certificate, and what becomes of cleartext requests for it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Host {
    /// Which nuncio takes it, by `AMBASSADOR_ID`; `default` when absent.
    #[serde(alias = "ambassadorId")]
    pub ambassador_id: Option<Vec<String>>,
    /// The name that it is for: one name, `*`, or `*.name`; without TLS `*` may stand at either
    /// end. `*` when absent.
    ///
    /// Envoy: `VirtualHost.domains`, `FilterChainMatch.server_names`.
    ///
    /// Emissary: a TLS Host with another wildcard, or two that differ in case, stop every change
    /// there.
    pub hostname: Option<String>,
    /// Labels of the Mappings that it takes; without it, those whose `hostname` has names in common
    /// with its own.
    ///
    /// Envoy: the routes of a `VirtualHost`.
    ///
    /// Emissary: `matchExpressions` select everything there.
    #[serde(rename = "mappingSelector")]
    pub mapping_selector: Option<LabelSelector>,
    /// Deprecated spelling of `mappingSelector`.
    ///
    /// Envoy: the routes of a `VirtualHost`.
    pub selector: Option<LabelSelector>,
    /// Who signs its certificate.
    #[serde(rename = "acmeProvider")]
    pub acme_provider: Option<AcmeProvider>,
    /// Secret with its certificate and key.
    ///
    /// Envoy: `CommonTlsContext.tls_certificate_sds_secret_configs`.
    ///
    /// Emissary: a missing one is only logged there; the Host is not in effect here either, and
    /// says so, and nobody else answers for its name.
    #[serde(rename = "tlsSecret")]
    pub tls_secret: Option<SecretRef>,
    /// A TLSContext with more settings.
    ///
    /// Envoy: `DownstreamTlsContext`.
    #[serde(rename = "tlsContext")]
    pub tls_context: Option<LocalRef>,
    /// More settings, in place.
    ///
    /// Envoy: `DownstreamTlsContext`.
    pub tls: Option<HostTls>,
    /// What becomes of requests.
    #[serde(rename = "requestPolicy")]
    pub request_policy: Option<RequestPolicy>,
    /// Nothing; Emissary ignores it too.
    #[serde(rename = "previewUrl")]
    pub preview_url: Option<Value>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct SecretRef {
    /// Its name; dots in it separate nothing.
    pub name: String,
    /// Its namespace; that of the Host when absent.
    pub namespace: Option<String>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct AcmeProvider {
    /// URL of the authority; `none` for no ACME.
    pub authority: Option<String>,
    /// Who is told of certificates that end.
    pub email: Option<String>,
    /// Secret with the account's key.
    pub private_key_secret: Option<LocalRef>,
    /// The account.
    pub registration: Option<String>,
}

/// Inline TLS settings: the fields of a TLSContext, in snake_case or camelCase.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct HostTls {
    /// Nothing: `tlsSecret` has the certificate.
    #[serde(alias = "certChainFile")]
    pub cert_chain_file: Option<String>,
    /// Nothing: `tlsSecret` has the key.
    #[serde(alias = "privateKeyFile")]
    pub private_key_file: Option<String>,
    /// Secret with the authorities that certificates of the other side must come from.
    ///
    /// Envoy: `CertificateValidationContext.trusted_ca`.
    #[serde(alias = "caSecret")]
    pub ca_secret: Option<String>,
    /// File with them.
    ///
    /// Envoy: `CertificateValidationContext.trusted_ca`.
    #[serde(alias = "caCertChainFile", alias = "cacertChainFile")]
    pub cacert_chain_file: Option<String>,
    /// Secret with a list of certificates that are not taken any more, in `crl.pem`.
    ///
    /// Envoy: `CertificateValidationContext.crl`.
    #[serde(alias = "crlSecret")]
    pub crl_secret: Option<String>,
    /// Whether clients must show a certificate.
    ///
    /// Envoy: `DownstreamTlsContext.require_client_certificate`.
    ///
    /// Emissary: on a context for originating it stops every change there.
    #[serde(alias = "certRequired")]
    pub cert_required: Option<bool>,
    /// Protocols offered in ALPN with commas between them, such as `h2,http/1.1`; none when absent,
    /// so that clients use HTTP/1.1.
    ///
    /// Envoy: `CommonTlsContext.alpn_protocols`.
    #[serde(alias = "alpnProtocols")]
    pub alpn_protocols: Option<String>,
    /// `v1.0` to `v1.3`.
    ///
    /// Envoy: `TlsParameters.tls_minimum_protocol_version`.
    ///
    /// Emissary: unknown ones are ignored there.
    #[serde(alias = "minTLSVersion", alias = "minTlsVersion")]
    pub min_tls_version: Option<String>,
    /// `v1.0` to `v1.3`.
    ///
    /// Envoy: `TlsParameters.tls_maximum_protocol_version`.
    ///
    /// Emissary: unknown ones are ignored there.
    #[serde(alias = "maxTLSVersion", alias = "maxTlsVersion")]
    pub max_tls_version: Option<String>,
    /// Of TLS 1.2 and below, in BoringSSL's names.
    ///
    /// Envoy: `TlsParameters.cipher_suites`.
    #[serde(alias = "cipherSuites")]
    pub cipher_suites: Option<Vec<String>>,
    /// In BoringSSL's names.
    ///
    /// Envoy: `TlsParameters.ecdh_curves`.
    #[serde(alias = "ecdhCurves")]
    pub ecdh_curves: Option<Vec<String>>,
    /// Nothing: a Host's `requestPolicy` redirects.
    #[serde(alias = "redirectCleartextFrom")]
    pub redirect_cleartext_from: Option<i64>,
    /// Nothing: it is for originating TLS.
    ///
    /// Emissary: it stops every change there.
    pub sni: Option<String>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct RequestPolicy {
    /// Of cleartext requests.
    pub insecure: Option<InsecureRequestPolicy>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct InsecureRequestPolicy {
    /// `Redirect` to https, which it is when absent, `Reject` with 404, or `Route`.
    ///
    /// Envoy: `RedirectAction.https_redirect`.
    pub action: Option<InsecureAction>,
    /// Nothing: write a Listener for that port.
    pub additional_port: Option<i64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum InsecureAction {
    Redirect,
    Reject,
    Route,
}
