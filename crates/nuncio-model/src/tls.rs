//! TLS: certificates, what verifies the other side's, and the parameters of a handshake.

use std::fmt;
use std::sync::Arc;
use std::time::SystemTime;

use serde::Serialize;

use crate::report::Origin;
use crate::value::{CipherSuites, Curve};

/// What becomes a Secret of Envoy.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Secret {
    pub name: Arc<str>,
    pub origin: Origin,
    pub kind: SecretKind,
}

/// All in PEM.
#[derive(Clone, PartialEq, Eq, Serialize)]
pub enum SecretKind {
    /// A certificate chain and the key that belongs to it.
    Certificate {
        #[serde(skip)]
        chain: Arc<str>,
        #[serde(skip)]
        key: Arc<str>,
        /// When the first certificate of the chain that expires does.
        #[serde(skip)]
        valid_until: SystemTime,
    },
    /// What the other side's certificate must come from.
    Validation(Validation),
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Validation {
    pub trusted_ca: Arc<str>,
    /// Certificates that are not taken any more. Envoy then wants a list of every authority.
    pub crl: Option<Arc<str>>,
    /// Whether one that does not come from there is taken all the same.
    pub accept_untrusted: bool,
    /// Of these names a certificate must have one; where there are none, any name is right.
    pub names: Vec<SubjectName>,
}

/// A name in a certificate (`SubjectAltNameMatcher`).
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize)]
pub enum SubjectName {
    /// Wildcards in the certificate count.
    Dns(Arc<str>),
    Uri(Arc<str>),
}

impl fmt::Debug for SecretKind {
    /// Never shows a key.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Certificate { .. } => "Certificate",
            Self::Validation(_) => "Validation",
        })
    }
}

/// Termination of TLS (`DownstreamTlsContext`), without the name that it is for.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Default, Serialize)]
pub struct Termination {
    /// Name of a [`crate::Gateway::secrets`] entry.
    pub certificate: Arc<str>,
    /// The same: one for a name that a client asks for is shown in its place.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub other_certificates: Vec<Arc<str>>,
    pub clients: ClientCertificates,
    /// Protocols offered in ALPN, in order of preference.
    pub alpn: Vec<Arc<str>>,
    pub parameters: Parameters,
}

impl Termination {
    /// All of them.
    pub fn certificates(&self) -> impl Iterator<Item = &Arc<str>> {
        std::iter::once(&self.certificate).chain(&self.other_certificates)
    }
}

/// What a client must show of itself.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Default, Serialize)]
pub struct ClientCertificates {
    /// Name of a [`crate::Gateway::secrets`] entry that a certificate must come from.
    pub validation: Option<Arc<str>>,
    /// Without a certificate there is no connection.
    pub required: bool,
}

/// Origination of TLS (`UpstreamTlsContext`). Without `validation` nothing is verified.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize)]
pub struct Origination {
    pub sni: Option<Arc<str>>,
    /// Names of [`crate::Gateway::secrets`] entries.
    pub certificate: Option<Arc<str>>,
    pub validation: Option<Arc<str>>,
    pub alpn: Vec<Arc<str>>,
    pub parameters: Parameters,
}

/// `TlsParameters`; what is absent is Envoy's choice.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Default, Serialize)]
pub struct Parameters {
    pub min_version: Option<Version>,
    pub max_version: Option<Version>,
    /// Of TLS 1.2 and below.
    pub cipher_suites: Vec<CipherSuites>,
    pub curves: Vec<Curve>,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize)]
pub enum Version {
    V1_0,
    V1_1,
    V1_2,
    V1_3,
}
