//! SDS: [`Secret`] → `envoy.extensions.transport_sockets.tls.v3.Secret`.

use std::sync::Arc;

use bytes::Bytes;
use nuncio_envoy_api::envoy::config::core::v3::{DataSource, data_source::Specifier};
use nuncio_envoy_api::envoy::extensions::transport_sockets::tls::v3 as tls;
use nuncio_envoy_api::resource::Resource;
use nuncio_model::tls::{Secret, SecretKind};

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
                ..Default::default()
            })
        }
    };
    resource(&tls::Secret {
        name: secret.name.to_string(),
        r#type: Some(kind),
    })
}

fn source(pem: &Arc<str>) -> DataSource {
    DataSource {
        specifier: Some(Specifier::InlineBytes(Bytes::copy_from_slice(
            pem.as_bytes(),
        ))),
        ..Default::default()
    }
}
