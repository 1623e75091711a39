//! SDS: [`Secret`] → `envoy.extensions.transport_sockets.tls.v3.Secret`.

use std::sync::Arc;

use bytes::Bytes;
use nuncio_envoy_api::envoy::config::core::v3::{DataSource, data_source::Specifier};
use nuncio_envoy_api::envoy::extensions::transport_sockets::tls::v3 as tls;
use nuncio_envoy_api::resource::Resource;
use nuncio_model::route::StringMatch;
use nuncio_model::tls::{Secret, SecretKind, SubjectName};
use tls::certificate_validation_context::TrustChainVerification;
use tls::subject_alt_name_matcher::SanType;

use crate::proto::string_matcher;
use crate::resource;

/// Encodes a certificate, or what verifies those of others.
pub fn secret(secret: &Secret) -> Resource {
    let kind = match &secret.kind {
        SecretKind::Certificate { chain, key, .. } => {
            tls::secret::Type::TlsCertificate(tls::TlsCertificate {
                certificate_chain: Some(source(chain)),
                private_key: Some(source(key)),
                ..Default::default()
            })
        }
        SecretKind::Validation(validation) => {
            tls::secret::Type::ValidationContext(tls::CertificateValidationContext {
                trusted_ca: Some(source(&validation.trusted_ca)),
                crl: validation.crl.as_ref().map(source),
                trust_chain_verification: match validation.accept_untrusted {
                    true => TrustChainVerification::AcceptUntrusted,
                    false => TrustChainVerification::VerifyTrustChain,
                }
                .into(),
                match_typed_subject_alt_names: validation.names.iter().map(name).collect(),
                ..Default::default()
            })
        }
    };
    resource(&tls::Secret {
        name: secret.name.to_string(),
        r#type: Some(kind),
    })
}

fn name(name: &SubjectName) -> tls::SubjectAltNameMatcher {
    let (san_type, text) = match name {
        SubjectName::Dns(text) => (SanType::Dns, text),
        SubjectName::Uri(text) => (SanType::Uri, text),
    };
    tls::SubjectAltNameMatcher {
        san_type: san_type.into(),
        matcher: Some(string_matcher(&StringMatch::Exact(Arc::clone(text)))),
        ..Default::default()
    }
}

fn source(pem: &Arc<str>) -> DataSource {
    DataSource {
        specifier: Some(Specifier::InlineBytes(Bytes::copy_from_slice(
            pem.as_bytes(),
        ))),
        ..Default::default()
    }
}
