//! What terminating and originating TLS have in common, and both.

use std::sync::Arc;

use nuncio_envoy_api::envoy::config::core::v3 as core;
use nuncio_envoy_api::envoy::extensions::transport_sockets::tls::v3 as tls;
use nuncio_envoy_api::google::protobuf::Any;
use nuncio_envoy_api::pack;
use nuncio_model::tls::{Origination, Parameters, Termination, Version};

use crate::proto::{ads, bool_value};

pub(crate) fn downstream(termination: &Termination) -> core::TransportSocket {
    socket(pack(&downstream_context(termination)))
}

pub(crate) fn downstream_context(termination: &Termination) -> tls::DownstreamTlsContext {
    tls::DownstreamTlsContext {
        common_tls_context: Some(common(
            termination.certificates(),
            termination.clients.validation.as_ref(),
            &termination.alpn,
            &termination.parameters,
        )),
        require_client_certificate: termination
            .clients
            .required
            .then(|| bool_value(true))
            .flatten(),
        ..Default::default()
    }
}

pub(crate) fn upstream(origination: &Origination) -> core::TransportSocket {
    socket(pack(&tls::UpstreamTlsContext {
        common_tls_context: Some(common(
            origination.certificate.iter(),
            origination.validation.as_ref(),
            &origination.alpn,
            &origination.parameters,
        )),
        sni: origination.sni.as_deref().unwrap_or_default().to_owned(),
        ..Default::default()
    }))
}

fn common<'c>(
    certificates: impl Iterator<Item = &'c Arc<str>>,
    validation: Option<&Arc<str>>,
    alpn: &[Arc<str>],
    parameters: &Parameters,
) -> tls::CommonTlsContext {
    use tls::common_tls_context::ValidationContextType;
    tls::CommonTlsContext {
        alpn_protocols: alpn.iter().map(ToString::to_string).collect(),
        tls_certificate_sds_secret_configs: certificates.map(secret).collect(),
        validation_context_type: validation
            .map(secret)
            .map(ValidationContextType::ValidationContextSdsSecretConfig),
        tls_params: (*parameters != Parameters::default()).then(|| params(parameters)),
        ..Default::default()
    }
}

fn secret(name: &Arc<str>) -> tls::SdsSecretConfig {
    tls::SdsSecretConfig {
        name: name.to_string(),
        sds_config: Some(ads()),
    }
}

fn params(parameters: &Parameters) -> tls::TlsParameters {
    use tls::tls_parameters::TlsProtocol;
    let version = |version: Option<Version>| {
        match version {
            None => TlsProtocol::TlsAuto,
            Some(Version::V1_0) => TlsProtocol::TlSv10,
            Some(Version::V1_1) => TlsProtocol::TlSv11,
            Some(Version::V1_2) => TlsProtocol::TlSv12,
            Some(Version::V1_3) => TlsProtocol::TlSv13,
        }
        .into()
    };
    tls::TlsParameters {
        tls_minimum_protocol_version: version(parameters.min_version),
        tls_maximum_protocol_version: version(parameters.max_version),
        cipher_suites: parameters
            .cipher_suites
            .iter()
            .map(ToString::to_string)
            .collect(),
        ecdh_curves: parameters.curves.iter().map(ToString::to_string).collect(),
        ..Default::default()
    }
}

fn socket(context: Any) -> core::TransportSocket {
    core::TransportSocket {
        name: "envoy.transport_sockets.tls".to_owned(),
        config_type: Some(core::transport_socket::ConfigType::TypedConfig(context)),
    }
}
