//! Certificates in Secrets.

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use nuncio_api::core::Secret;
use rustls::crypto::ring::sign::any_supported_type;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;

use nuncio_model::value::Invalid;

/// A certificate chain and the key that belongs to it, both PEM.
#[derive(Clone, PartialEq, Eq)]
pub struct Pair {
    pub chain_pem: Arc<str>,
    pub key_pem: Arc<str>,
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
    let (chain_key, key_key) = KEYS
        .into_iter()
        .find(|(chain, _)| has(secret, chain))
        .unwrap_or(KEYS[0]);
    let chain_pem = text(secret, chain_key)?;
    let key_pem = text(secret, key_key)?;

    let chain = CertificateDer::pem_slice_iter(chain_pem.as_bytes())
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| unreadable(chain_key, "a certificate chain", &error))?;
    if chain.is_empty() {
        return Err(Invalid::new(
            format!("{chain_key} holds no certificate"),
            "put the server's certificate there in PEM, then those that signed it",
        ));
    }
    let key = PrivateKeyDer::from_pem_slice(key_pem.as_bytes())
        .map_err(|error| unreadable(key_key, "a private key", &error))?;
    let key = any_supported_type(&key).map_err(|error| {
        Invalid::new(
            format!("the key in {key_key} cannot be used: {error}"),
            "use an RSA, ECDSA (P-256, P-384) or Ed25519 key",
        )
    })?;
    CertifiedKey::new(chain, key)
        .keys_match()
        .map_err(|error| {
            let message = match error {
                rustls::Error::InconsistentKeys(_) => {
                    format!(
                        "the key in {key_key} does not belong to the certificate in {chain_key}"
                    )
                }
                other => format!("{chain_key} cannot be read as an X.509 certificate: {other}"),
            };
            Invalid::new(message, "put a certificate and its own key there")
        })?;
    Ok(Pair {
        chain_pem: chain_pem.into(),
        key_pem: key_pem.into(),
    })
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
    STANDARD
        .decode(encoded)
        .ok()
        .and_then(|bytes| String::from_utf8(bytes).ok())
        .ok_or_else(|| {
            Invalid::new(
                format!("data.{name} is not base64 of PEM"),
                format!("encode it, or put it under stringData.{name} as it is"),
            )
        })
}

fn unreadable(name: &str, what: &str, error: &impl std::fmt::Display) -> Invalid {
    Invalid::new(
        format!("{name} is not {what} in PEM: {error}"),
        "it begins with -----BEGIN and ends with -----END",
    )
}

#[cfg(test)]
mod tests {
    use rcgen::{CertifiedKey, KeyPair, PKCS_ECDSA_P384_SHA384, PKCS_ED25519};

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

    #[test]
    fn what_envoy_would_refuse_is_refused() {
        let (chain, key) = pair();
        let (_, other) = pair();
        let message = |secret: &Secret| certificate(secret).err().unwrap().message;
        assert_eq!(
            message(&secret(&chain, &other)),
            "the key in tls.key does not belong to the certificate in tls.crt"
        );
        assert!(message(&secret("garbage", &key)).contains("holds no certificate"));
        assert!(message(&secret(&chain, "garbage")).contains("tls.key is not a private key"));
        assert!(message(&Secret::default()).contains("no tls.crt"));
        let der = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        assert!(message(&secret(der, &key)).contains("cannot be read as an X.509 certificate"));
        let typed = Secret {
            type_: Some("kubernetes.io/dockerconfigjson".to_owned()),
            ..secret(&chain, &key)
        };
        assert!(message(&typed).contains("not taken for a certificate"));
    }
}
