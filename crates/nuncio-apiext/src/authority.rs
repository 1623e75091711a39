//! The authority that the API server trusts, and the certificates that it signs for this server.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::{Duration, SystemTime};

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, PublicKeyData,
};
use rustls::crypto::ring;
use rustls::pki_types::PrivateKeyDer;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use x509_parser::pem::parse_x509_pem;

/// As in Emissary's certificates.
const ORGANIZATION: &str = "Ambassador Labs";

/// How long an authority is good for.
pub const CA_LIFE: Duration = Duration::from_secs(365 * 24 * 3600);

/// How long before its end it is replaced.
pub(crate) const CA_LEEWAY: Duration = Duration::from_secs(14 * 24 * 3600);

const SERVER_LIFE: Duration = Duration::from_secs(14 * 24 * 3600);

/// Clocks differ: a certificate is good from a little before it is made.
const SKEW: Duration = Duration::from_secs(300);

/// Names that certificates are kept for. The API server asks for one; who asks for others gets
/// them, and may not fill the memory.
const MOST_NAMES: usize = 16;

/// Why a certificate and a key are no authority.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CaError {
    #[error("tls.crt has no certificate in PEM: {0}")]
    Certificate(String),
    #[error("tls.key has no private key that can be used: {0}")]
    Key(String),
    #[error("tls.crt is not the certificate of an authority")]
    NoAuthority,
    #[error("tls.key is not the key of tls.crt")]
    OtherKey,
    #[error("tls.crt is not good yet")]
    NotYet,
    #[error("tls.crt has expired")]
    Expired,
}

/// An authority.
pub struct Authority {
    /// As it stands in the Secret.
    pub certificate: String,
    pub key: String,
    not_after: SystemTime,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    pub fn generate(now: SystemTime, life: Duration) -> Result<Self, CaError> {
        let key = KeyPair::generate().map_err(|error| CaError::Key(error.to_string()))?;
        let mut params = CertificateParams::default();
        params.distinguished_name = [(DnType::OrganizationName, ORGANIZATION)].into_iter().fold(
            rcgen::DistinguishedName::new(),
            |mut name, (type_, value)| {
                name.push(type_, value);
                name
            },
        );
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![
            KeyUsagePurpose::DigitalSignature,
            KeyUsagePurpose::KeyCertSign,
        ];
        params.not_before = (now - SKEW).into();
        params.not_after = (now + life).into();
        let certificate = params
            .self_signed(&key)
            .map_err(|error| CaError::Certificate(error.to_string()))?;
        Self::parse(&certificate.pem(), &key.serialize_pem(), now)
    }

    /// Reads what the Secret has, ours or Emissary's.
    pub fn parse(certificate: &str, key: &str, now: SystemTime) -> Result<Self, CaError> {
        let wrong = |error: &dyn std::fmt::Display| CaError::Certificate(error.to_string());
        let (_, pem) = parse_x509_pem(certificate.as_bytes()).map_err(|error| wrong(&error))?;
        let parsed = pem.parse_x509().map_err(|error| wrong(&error))?;
        if !parsed.is_ca() {
            return Err(CaError::NoAuthority);
        }
        let time = |time: x509_parser::time::ASN1Time| {
            let seconds = u64::try_from(time.timestamp()).unwrap_or_default();
            SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
        };
        let not_after = time(parsed.validity().not_after);
        if now < time(parsed.validity().not_before) {
            return Err(CaError::NotYet);
        }
        if not_after <= now {
            return Err(CaError::Expired);
        }
        let signer = KeyPair::from_pem(key).map_err(|error| CaError::Key(error.to_string()))?;
        if signer.der_bytes() != &*parsed.public_key().subject_public_key.data {
            return Err(CaError::OtherKey);
        }
        let issuer =
            Issuer::from_ca_cert_pem(certificate, signer).map_err(|error| wrong(&error))?;
        Ok(Self {
            certificate: certificate.to_owned(),
            key: key.to_owned(),
            not_after,
            issuer,
        })
    }

    /// Whether it is time for another.
    pub fn is_ending(&self, now: SystemTime) -> bool {
        self.not_after <= now + CA_LEEWAY
    }

    fn sign(&self, name: &str, now: SystemTime) -> Result<Signed, Box<dyn std::error::Error>> {
        let key = KeyPair::generate()?;
        let mut params = CertificateParams::new([name.to_owned()])?;
        params.distinguished_name = rcgen::DistinguishedName::new();
        params
            .distinguished_name
            .push(DnType::OrganizationName, ORGANIZATION);
        params
            .distinguished_name
            .push(DnType::CommonName, "Webhook API");
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        let end = self.not_after.min(now + SERVER_LIFE);
        params.not_before = (now - SKEW).into();
        params.not_after = end.into();
        let certificate = params.signed_by(&key, &self.issuer)?;
        let der = PrivateKeyDer::try_from(key.serialize_der())?;
        let signer = ring::sign::any_supported_type(&der)?;
        let life = end.duration_since(now).unwrap_or_default();
        Ok(Signed {
            key: Arc::new(CertifiedKey::new(vec![certificate.der().clone()], signer)),
            fresh_until: now + life * 2 / 3,
        })
    }
}

impl std::fmt::Debug for Authority {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Authority")
            .field("not_after", &self.not_after)
            .finish_non_exhaustive()
    }
}

struct Signed {
    key: Arc<CertifiedKey>,
    fresh_until: SystemTime,
}

/// Shows each client a certificate for the name that it asks for.
#[derive(Default)]
pub(crate) struct ServerCertificates {
    authority: RwLock<Option<Arc<Authority>>>,
    signed: Mutex<HashMap<String, Signed>>,
    /// For clients that ask for no name.
    name: String,
}

impl ServerCertificates {
    pub(crate) fn new(name: String) -> Self {
        Self {
            name,
            ..Self::default()
        }
    }

    /// Signs with another authority from now on.
    pub(crate) fn sign_with(&self, authority: Arc<Authority>) {
        let mut current = self
            .authority
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        let same = current
            .as_ref()
            .is_some_and(|current| current.certificate == authority.certificate);
        if !same {
            *current = Some(authority);
            self.signed
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .clear();
        }
    }

    fn certificate(&self, name: &str) -> Option<Arc<CertifiedKey>> {
        let authority = self
            .authority
            .read()
            .unwrap_or_else(PoisonError::into_inner);
        let authority = authority.as_ref()?;
        let now = SystemTime::now();
        let mut signed = self.signed.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(kept) = signed.get(name).filter(|kept| now < kept.fresh_until) {
            return Some(Arc::clone(&kept.key));
        }
        match authority.sign(name, now) {
            Ok(made) => {
                if signed.len() >= MOST_NAMES {
                    signed.clear();
                }
                let key = Arc::clone(&made.key);
                signed.insert(name.to_owned(), made);
                Some(key)
            }
            Err(error) => {
                tracing::error!("cannot make a certificate for {name}: {error}");
                None
            }
        }
    }
}

impl ResolvesServerCert for ServerCertificates {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.certificate(hello.server_name().unwrap_or(&self.name))
    }
}

impl std::fmt::Debug for ServerCertificates {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ServerCertificates").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: Duration = Duration::from_secs(24 * 3600);

    #[test]
    fn what_is_made_is_read_again() {
        let now = SystemTime::now();
        let made = Authority::generate(now, CA_LIFE).unwrap();
        let read = Authority::parse(&made.certificate, &made.key, now).unwrap();
        assert!(!read.is_ending(now));
        assert!(!read.is_ending(now + CA_LIFE - CA_LEEWAY - DAY));
        assert!(read.is_ending(now + CA_LIFE - CA_LEEWAY));
    }

    #[test]
    fn what_is_no_authority_says_why() {
        let now = SystemTime::now();
        let one = Authority::generate(now, CA_LIFE).unwrap();
        let other = Authority::generate(now, CA_LIFE).unwrap();
        let leaf = nuncio_echo::certs::self_signed(&["a"]);
        let refused = |certificate: &str, key: &str, now| {
            Authority::parse(certificate, key, now).unwrap_err()
        };
        assert_eq!(
            refused(&one.certificate, &other.key, now),
            CaError::OtherKey
        );
        assert_eq!(
            refused(&leaf.cert_pem, &leaf.key_pem, now),
            CaError::NoAuthority
        );
        assert_eq!(
            refused(&one.certificate, &one.key, now + CA_LIFE),
            CaError::Expired
        );
        assert_eq!(
            refused(&one.certificate, &one.key, now - DAY),
            CaError::NotYet
        );
        assert!(matches!(
            refused("x", &one.key, now),
            CaError::Certificate(_)
        ));
        assert!(matches!(
            refused(&one.certificate, "x", now),
            CaError::Key(_)
        ));
    }

    #[test]
    fn a_name_has_one_certificate_until_the_authority_is_another() {
        let certificates = ServerCertificates::new("default".to_owned());
        assert!(certificates.certificate("a").is_none());
        let authority = || Arc::new(Authority::generate(SystemTime::now(), CA_LIFE).unwrap());
        let first = authority();
        certificates.sign_with(Arc::clone(&first));
        let der = |name: &str| certificates.certificate(name).unwrap().cert[0].clone();
        let (a, b) = (der("a"), der("b"));
        assert_ne!(a, b);
        assert_eq!(der("a"), a);
        certificates.sign_with(first);
        assert_eq!(der("a"), a);
        certificates.sign_with(authority());
        assert_ne!(der("a"), a);
    }

    #[test]
    fn names_do_not_fill_the_memory() {
        let certificates = ServerCertificates::new("default".to_owned());
        let authority = Authority::generate(SystemTime::now(), CA_LIFE).unwrap();
        certificates.sign_with(Arc::new(authority));
        for name in 0..3 * MOST_NAMES {
            certificates.certificate(&format!("n{name}")).unwrap();
        }
        assert!(certificates.signed.lock().unwrap().len() <= MOST_NAMES);
    }
}
