use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// `TLSContext.spec`: TLS settings for Hosts to terminate and for Mappings to originate with.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct TlsContext {
    /// Which nuncio takes it, by `AMBASSADOR_ID`; `default` when absent.
    pub ambassador_id: Option<Vec<String>>,
    /// Hostnames of the Hosts and TCPMappings that it is for.
    pub hosts: Option<Vec<String>>,
    /// Secret with a certificate and its key: of a Host without `tlsSecret`, or to show an
    /// upstream. `name.namespace` is one of another namespace.
    ///
    /// Envoy: `CommonTlsContext.tls_certificate_sds_secret_configs`.
    ///
    /// Emissary: a Host must have `tlsSecret` there.
    pub secret: Option<String>,
    /// File with a certificate; it is read by nuncio, and read again when it changes.
    ///
    /// Envoy: `TlsCertificate.certificate_chain`.
    pub cert_chain_file: Option<String>,
    /// File with its key.
    ///
    /// Envoy: `TlsCertificate.private_key`.
    pub private_key_file: Option<String>,
    /// Secret with the authorities that certificates of the other side must come from.
    ///
    /// Envoy: `CertificateValidationContext.trusted_ca`.
    pub ca_secret: Option<String>,
    /// File with them.
    ///
    /// Envoy: `CertificateValidationContext.trusted_ca`.
    pub cacert_chain_file: Option<String>,
    /// Secret with a list of certificates that are not taken any more, in `crl.pem`.
    ///
    /// Envoy: `CertificateValidationContext.crl`.
    pub crl_secret: Option<String>,
    /// Whether clients must show a certificate.
    ///
    /// Envoy: `DownstreamTlsContext.require_client_certificate`.
    ///
    /// Emissary: on a context for originating it stops every change there.
    pub cert_required: Option<bool>,
    /// Protocols offered in ALPN with commas between them, such as `h2,http/1.1`; none when absent,
    /// so that clients use HTTP/1.1.
    ///
    /// Envoy: `CommonTlsContext.alpn_protocols`.
    pub alpn_protocols: Option<String>,
    /// `v1.0` to `v1.3`.
    ///
    /// Envoy: `TlsParameters.tls_minimum_protocol_version`.
    ///
    /// Emissary: unknown ones are ignored there.
    pub min_tls_version: Option<String>,
    /// `v1.0` to `v1.3`.
    ///
    /// Envoy: `TlsParameters.tls_maximum_protocol_version`.
    ///
    /// Emissary: unknown ones are ignored there.
    pub max_tls_version: Option<String>,
    /// Of TLS 1.2 and below, in BoringSSL's names.
    ///
    /// Envoy: `TlsParameters.cipher_suites`.
    pub cipher_suites: Option<Vec<String>>,
    /// In BoringSSL's names.
    ///
    /// Envoy: `TlsParameters.ecdh_curves`.
    pub ecdh_curves: Option<Vec<String>>,
    /// Nothing: a Host's `requestPolicy` redirects.
    pub redirect_cleartext_from: Option<i64>,
    /// Whether dots in names of Secrets separate a namespace; true when absent.
    ///
    /// Emissary: a Module without `tls_secret_namespacing` switches it off there.
    pub secret_namespacing: Option<bool>,
    /// The server name that an upstream is asked for.
    ///
    /// Envoy: `UpstreamTlsContext.sni`.
    pub sni: Option<String>,
}
