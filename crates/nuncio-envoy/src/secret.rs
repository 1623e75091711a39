//! SDS: [`Certificate`] → `Secret`.

use bytes::Bytes;
use nuncio_envoy_api::envoy::config::core::v3::{DataSource, data_source::Specifier};
use nuncio_envoy_api::envoy::extensions::transport_sockets::tls::v3 as tls;
use nuncio_envoy_api::resource::Resource;
use nuncio_model::cluster::Certificate;

use crate::resource;

/// Encodes a certificate chain and its key.
pub fn secret(certificate: &Certificate) -> Resource {
    resource(&tls::Secret {
        name: certificate.name.to_string(),
        r#type: Some(tls::secret::Type::TlsCertificate(tls::TlsCertificate {
            certificate_chain: inline(&certificate.chain_pem),
            private_key: inline(&certificate.key_pem),
            ..Default::default()
        })),
    })
}

fn inline(text: &str) -> Option<DataSource> {
    Some(DataSource {
        specifier: Some(Specifier::InlineBytes(Bytes::copy_from_slice(
            text.as_bytes(),
        ))),
        ..Default::default()
    })
}
