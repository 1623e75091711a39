//! [`Tracing`] → `HttpConnectionManager.Tracing`.
//!
//! The provider is part of the connection manager and not of the bootstrap, where another would ask
//! for another process.

use nuncio_envoy_api::envoy::config::trace::v3 as trace;
use nuncio_envoy_api::envoy::extensions::filters::network::http_connection_manager::v3::http_connection_manager as hcm;
use nuncio_envoy_api::envoy::r#type::tracing::v3 as tag;
use nuncio_envoy_api::pack;
use nuncio_model::tracing::{CustomTag, Provider, TagValue, Tracing, Zipkin, ZipkinFormat};
use nuncio_model::value::HostLiteral;

use crate::proto::{bool_value, grpc_service};

pub(crate) fn tracing(tracing: &Tracing) -> hcm::Tracing {
    let cluster = &*tracing.cluster;
    let (name, config) = match &tracing.provider {
        Provider::Zipkin(settings) => ("envoy.tracers.zipkin", pack(&zipkin(settings, cluster))),
        Provider::Datadog {
            service_name,
            collector_hostname,
        } => (
            "envoy.tracers.datadog",
            pack(&trace::DatadogConfig {
                collector_cluster: cluster.to_owned(),
                service_name: service_name.to_string(),
                collector_hostname: hostname(collector_hostname),
                ..Default::default()
            }),
        ),
        Provider::OpenTelemetry { service_name } => (
            "envoy.tracers.opentelemetry",
            pack(&trace::OpenTelemetryConfig {
                grpc_service: Some(grpc_service(cluster)),
                service_name: service_name.to_string(),
                ..Default::default()
            }),
        ),
    };
    hcm::Tracing {
        custom_tags: tracing.custom_tags.iter().map(custom_tag).collect(),
        provider: Some(trace::tracing::Http {
            name: name.to_owned(),
            config_type: Some(trace::tracing::http::ConfigType::TypedConfig(config)),
        }),
        ..Default::default()
    }
}

fn zipkin(settings: &Zipkin, cluster: &str) -> trace::ZipkinConfig {
    use trace::zipkin_config::{CollectorEndpointVersion, TraceContextOption};
    trace::ZipkinConfig {
        collector_cluster: cluster.to_owned(),
        collector_endpoint: settings.path.to_string(),
        collector_endpoint_version: match settings.format {
            ZipkinFormat::Json => CollectorEndpointVersion::HttpJson,
            ZipkinFormat::Protobuf => CollectorEndpointVersion::HttpProto,
        }
        .into(),
        collector_hostname: hostname(&settings.collector_hostname),
        trace_id_128bit: settings.trace_id_128bit,
        shared_span_context: settings.shared_span_context.and_then(bool_value),
        trace_context_option: match settings.w3c {
            false => TraceContextOption::UseB3,
            true => TraceContextOption::UseB3WithW3cPropagation,
        }
        .into(),
        ..Default::default()
    }
}

fn custom_tag(custom: &CustomTag) -> tag::CustomTag {
    use tag::custom_tag::{Environment, Header, Literal, Type};
    let value = match &custom.value {
        TagValue::Literal(value) => Type::Literal(Literal {
            value: value.to_string(),
        }),
        TagValue::Environment { name, default } => Type::Environment(Environment {
            name: name.to_string(),
            default_value: text(default.as_deref()),
        }),
        TagValue::RequestHeader { name, default } => Type::RequestHeader(Header {
            name: name.to_string(),
            default_value: text(default.as_deref()),
        }),
    };
    tag::CustomTag {
        tag: custom.name.to_string(),
        r#type: Some(value),
    }
}

fn hostname(given: &Option<HostLiteral>) -> String {
    text(given.as_ref().map(HostLiteral::as_str))
}

fn text(value: Option<&str>) -> String {
    value.unwrap_or_default().to_owned()
}
