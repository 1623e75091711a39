//! Certificates in Secrets.
//!
//! Keys are read by rustls with ring, which derives the public half of every kind of key that it
//! signs with; certificates by x509-parser. rustls could compare both by itself, but refuses
//! certificates that Envoy serves: of X.509 version 1 (what `openssl x509 -req` makes without an
//! extension file) and with critical extensions that it does not know.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use nuncio_api::core::Secret;
use rustls::crypto::ring::sign::any_supported_type;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer, PrivateKeyDer};
use x509_parser::prelude::{CertificateRevocationList, FromDer, X509Certificate};
use x509_parser::x509::SubjectPublicKeyInfo;

use nuncio_model::value::Invalid;

/// A certificate chain and the key that belongs to it, both PEM.
#[derive(Clone, PartialEq, Eq)]
pub struct Pair {
    pub chain_pem: Arc<str>,
    pub key_pem: Arc<str>,
    /// When the first certificate of the chain that expires does. Envoy serves it nevertheless, so
    /// it is no reason to refuse it; whoever has a clock can warn.
    pub valid_until: SystemTime,
}

/// Where a chain and its key stand in a Secret: as Kubernetes has them, or as Istio does.
const KEYS: [(&str, &str); 2] = [("tls.crt", "tls.key"), ("cert-chain.pem", "key.pem")];

/// Types of Secret that may hold a certificate.
const TYPES: [&str; 3] = ["Opaque", "kubernetes.io/tls", "istio.io/key-and-cert"];

/// Reads the certificate of a Secret. One that Envoy would refuse is refused here: a Secret whose
/// key belongs to another certificate would freeze every listener that uses it.
pub fn certificate(secret: &Secret) -> Result<Pair, Invalid> {
    let type_ = secret.type_.as_deref().unwrap_or("Opaque");
    if !TYPES.contains(&type_) {
        return Err(Invalid::new(
            format!("a Secret of type {type_} is not taken for a certificate"),
            format!("use one of type {}", TYPES.join(", ")),
        ));
    }
    let (chain_name, key_name) = KEYS
        .into_iter()
        .find(|(chain, _)| has(secret, chain))
        .unwrap_or(KEYS[0]);
    pair(
        (chain_name, &text(secret, chain_name)?),
        (key_name, &text(secret, key_name)?),
    )
}

/// A certificate chain and its key, each with the name of where it stands.
pub fn pair(
    (chain_name, chain_pem): (&str, &str),
    (key_name, key_pem): (&str, &str),
) -> Result<Pair, Invalid> {
    let chain = CertificateDer::pem_slice_iter(chain_pem.as_bytes())
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| unreadable(chain_name, "a certificate chain", &error))?;
    let chain = chain
        .iter()
        .enumerate()
        .map(|(index, der)| parse(chain_name, index, der))
        .collect::<Result<Vec<_>, _>>()?;
    let Some(leaf) = chain.first() else {
        return Err(Invalid::new(
            format!("{chain_name} holds no certificate"),
            "put the server's certificate there in PEM, then those that signed it",
        ));
    };
    let public_key = public_key(key_name, key_pem)?;
    if leaf.public_key().subject_public_key.data != public_key {
        return Err(Invalid::new(
            format!("the key in {key_name} does not belong to the certificate in {chain_name}"),
            "put a certificate and its own key there; the server's certificate comes first",
        ));
    }
    let valid_until = chain
        .iter()
        .map(|certificate| certificate.validity().not_after.timestamp())
        .min()
        .unwrap_or_default();
    Ok(Pair {
        chain_pem: chain_pem.into(),
        key_pem: key_pem.into(),
        // What ended before 1970 ended long ago all the same.
        valid_until: SystemTime::UNIX_EPOCH
            + Duration::from_secs(u64::try_from(valid_until).unwrap_or_default()),
    })
}

/// Where certificates of authorities stand in a Secret.
const AUTHORITY_KEYS: [&str; 4] = ["tls.crt", "root-cert.pem", "cert-chain.pem", "ca.crt"];

/// Where a list of revoked certificates stands.
const REVOCATION_KEY: &str = "crl.pem";

/// The certificates of authorities in a Secret, in PEM.
pub fn authority(secret: &Secret) -> Result<Arc<str>, Invalid> {
    let name = AUTHORITY_KEYS
        .into_iter()
        .find(|name| has(secret, name))
        .unwrap_or(AUTHORITY_KEYS[0]);
    authorities(name, &text(secret, name)?)
}

/// The certificates of authorities in a text, with the name of where it stands.
pub fn authorities(name: &str, pem: &str) -> Result<Arc<str>, Invalid> {
    let certificates = CertificateDer::pem_slice_iter(pem.as_bytes())
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| unreadable(name, "a certificate of an authority", &error))?;
    for (index, der) in certificates.iter().enumerate() {
        parse(name, index, der)?;
    }
    if certificates.is_empty() {
        return Err(Invalid::new(
            format!("{name} holds no certificate"),
            "put the certificates of the authorities there in PEM",
        ));
    }
    Ok(pem.into())
}

/// The list of revoked certificates in a Secret, in PEM.
pub fn revocations(secret: &Secret) -> Result<Arc<str>, Invalid> {
    let pem = text(secret, REVOCATION_KEY)?;
    let lists = CertificateRevocationListDer::pem_slice_iter(pem.as_bytes())
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| unreadable(REVOCATION_KEY, "a revocation list", &error))?;
    let readable = |list: &CertificateRevocationListDer<'_>| {
        CertificateRevocationList::from_der(list).is_ok_and(|(rest, _)| rest.is_empty())
    };
    if lists.is_empty() || !lists.iter().all(readable) {
        return Err(Invalid::new(
            format!("{REVOCATION_KEY} is not a certificate revocation list"),
            "put there what `openssl ca -gencrl` writes",
        ));
    }
    Ok(pem.into())
}

/// Whether the Secret of an authority itself asks that clients show a certificate, as Emissary
/// lets it.
pub fn requires_certificates(secret: &Secret) -> bool {
    text(secret, "cert_required").is_ok_and(|value| value.trim() == "true")
}

/// Envoy refuses a chain for any certificate in it.
fn parse<'a>(
    name: &str,
    index: usize,
    der: &'a CertificateDer<'_>,
) -> Result<X509Certificate<'a>, Invalid> {
    X509Certificate::from_der(der)
        .ok()
        .filter(|(rest, _)| rest.is_empty())
        .map(|(_, certificate)| certificate)
        .ok_or_else(|| {
            Invalid::new(
                format!(
                    "certificate {} in {name} cannot be read as an X.509 certificate",
                    index + 1
                ),
                "put there what the certificate authority gave, unchanged",
            )
        })
}

/// The public half of a private key, as a certificate holds it.
fn public_key(name: &str, pem: &str) -> Result<Vec<u8>, Invalid> {
    if pem.contains("ENCRYPTED") {
        return Err(Invalid::new(
            format!("the key in {name} is encrypted"),
            "put it there without a passphrase, as `openssl pkey` writes it",
        ));
    }
    let key = PrivateKeyDer::from_pem_slice(pem.as_bytes())
        .map_err(|error| unreadable(name, "a private key", &error))?;
    let unusable = || {
        Invalid::new(
            format!("the key in {name} cannot be used"),
            "use an RSA key of 2048 bits or more, ECDSA (P-256, P-384) or Ed25519",
        )
    };
    // ring's own words name none of its reasons.
    let key = any_supported_type(&key).map_err(|_| unusable())?;
    let info = key.public_key().ok_or_else(unusable)?;
    let (_, info) = SubjectPublicKeyInfo::from_der(&info).map_err(|_| unusable())?;
    Ok(info.subject_public_key.data.into_owned())
}

fn has(secret: &Secret, name: &str) -> bool {
    secret.string_data.contains_key(name) || secret.data.contains_key(name)
}

fn text(secret: &Secret, name: &str) -> Result<String, Invalid> {
    if let Some(text) = secret.string_data.get(name) {
        return Ok(text.clone());
    }
    let Some(encoded) = secret.data.get(name) else {
        return Err(Invalid::new(
            format!("it has no {name}"),
            format!("put it under data.{name} in base64, or under stringData.{name} as it is"),
        ));
    };
    let encoded: String = encoded.split_whitespace().collect();
    match STANDARD.decode(encoded) {
        // PEM is ASCII; only the words around it may be in another encoding.
        Ok(bytes) => Ok(String::from_utf8_lossy(&bytes).into_owned()),
        Err(_) => Err(Invalid::new(
            format!("data.{name} is not base64"),
            format!("encode it, or put it under stringData.{name} as it is"),
        )),
    }
}

fn unreadable(name: &str, what: &str, error: &impl std::fmt::Display) -> Invalid {
    Invalid::new(
        format!("{name} is not {what} in PEM: {error}"),
        "it begins with -----BEGIN and ends with -----END",
    )
}

#[cfg(test)]
mod tests {
    use rcgen::{CertifiedKey, KeyPair, PKCS_ECDSA_P384_SHA384, PKCS_ED25519, date_time_ymd};

    use super::*;

    fn secret(chain: &str, key: &str) -> Secret {
        let mut secret = Secret::default();
        secret
            .data
            .insert("tls.crt".to_owned(), STANDARD.encode(chain));
        secret
            .string_data
            .insert("tls.key".to_owned(), key.to_owned());
        secret
    }

    fn pair() -> (String, String) {
        let CertifiedKey { cert, signing_key } =
            rcgen::generate_simple_self_signed(["a.example".to_owned()]).unwrap();
        (cert.pem(), signing_key.serialize_pem())
    }

    fn message(secret: &Secret) -> String {
        certificate(secret).err().unwrap().message
    }

    #[test]
    fn every_key_that_is_read_is_held() {
        let read = KEYS.iter().flat_map(|(chain, key)| [chain, key]);
        let read = read.chain(&AUTHORITY_KEYS).chain([&REVOCATION_KEY]);
        for key in read {
            assert!(Secret::KEYS.contains(key), "{key}");
        }
    }

    #[test]
    fn a_certificate_and_its_key_are_taken() {
        let (chain, key) = pair();
        let pair = certificate(&secret(&chain, &key)).map_err(|e| e.to_string());
        assert_eq!(&*pair.unwrap().chain_pem, chain);
        for algorithm in [&PKCS_ECDSA_P384_SHA384, &PKCS_ED25519] {
            let key = KeyPair::generate_for(algorithm).unwrap();
            let chain = rcgen::CertificateParams::default()
                .self_signed(&key)
                .unwrap();
            assert!(certificate(&secret(&chain.pem(), &key.serialize_pem())).is_ok());
        }
    }

    /// Each written by openssl; those of version 1 by `openssl x509 -req`.
    #[test]
    fn every_form_that_openssl_writes_is_taken() {
        for (name, chain, key) in [
            (
                "RSA, PKCS#1",
                include_str!("certificate/testdata/rsa-v1.crt"),
                include_str!("certificate/testdata/rsa-pkcs1.key"),
            ),
            (
                "RSA, PKCS#8",
                include_str!("certificate/testdata/rsa-v1.crt"),
                include_str!("certificate/testdata/rsa-pkcs8.key"),
            ),
            (
                "P-256, SEC1 after its parameters",
                include_str!("certificate/testdata/p256-v1.crt"),
                include_str!("certificate/testdata/p256-sec1.key"),
            ),
            (
                "a critical extension of one's own, with text before it",
                include_str!("certificate/testdata/p256-critical.crt"),
                include_str!("certificate/testdata/p256-sec1.key"),
            ),
        ] {
            let taken = certificate(&secret(chain, key)).map_err(|e| e.to_string());
            assert!(taken.is_ok(), "{name}: {:?}", taken.err());
        }
    }

    #[test]
    fn an_expired_certificate_is_taken_and_says_so() {
        let key = KeyPair::generate().unwrap();
        let mut params = rcgen::CertificateParams::default();
        params.not_after = date_time_ymd(2001, 9, 9);
        let chain = params.self_signed(&key).unwrap().pem();
        let pair = certificate(&secret(&chain, &key.serialize_pem())).map_err(|e| e.to_string());
        assert_eq!(
            pair.unwrap().valid_until,
            SystemTime::UNIX_EPOCH + Duration::from_secs(999_993_600)
        );
    }

    #[test]
    fn istio_s_names_are_taken_and_string_data_wins() {
        let (chain, key) = pair();
        let mut istio = Secret {
            type_: Some("istio.io/key-and-cert".to_owned()),
            ..Secret::default()
        };
        let data = &mut istio.data;
        data.insert("cert-chain.pem".to_owned(), STANDARD.encode(&chain));
        data.insert("key.pem".to_owned(), STANDARD.encode("of yesterday"));
        assert!(certificate(&istio).is_err());
        istio.string_data.insert("key.pem".to_owned(), key);
        assert!(certificate(&istio).is_ok());
    }

    #[test]
    fn what_envoy_would_refuse_is_refused() {
        let (chain, key) = pair();
        let (_, other) = pair();
        assert_eq!(
            message(&secret(&chain, &other)),
            "the key in tls.key does not belong to the certificate in tls.crt"
        );
        assert!(message(&secret("garbage", &key)).contains("holds no certificate"));
        assert!(message(&secret(&chain, "garbage")).contains("tls.key is not a private key"));
        assert!(message(&secret(&chain, "")).contains("tls.key is not a private key"));
        assert!(message(&Secret::default()).contains("no tls.crt"));
        let der = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        assert!(message(&secret(der, &key)).starts_with("certificate 1 in tls.crt cannot be read"));
        let chain_of_two = format!("{chain}{der}");
        assert!(
            message(&secret(&chain_of_two, &key))
                .starts_with("certificate 2 in tls.crt cannot be read")
        );
        let mut plain = secret(&chain, &key);
        plain.data.insert("tls.crt".to_owned(), chain.clone());
        assert_eq!(message(&plain), "data.tls.crt is not base64");
        let typed = Secret {
            type_: Some("kubernetes.io/dockerconfigjson".to_owned()),
            ..secret(&chain, &key)
        };
        assert!(message(&typed).contains("not taken for a certificate"));
    }

    #[test]
    fn a_key_that_cannot_be_used_says_why() {
        let chain = include_str!("certificate/testdata/rsa-v1.crt");
        let encrypted = include_str!("certificate/testdata/rsa-encrypted.key");
        assert_eq!(
            message(&secret(chain, encrypted)),
            "the key in tls.key is encrypted"
        );
        let small = include_str!("certificate/testdata/rsa-1024.key");
        let refused = certificate(&secret(chain, small)).err().unwrap();
        assert!(refused.help.contains("2048 bits"), "{refused}");
    }
}
