//! Access logs: [`AccessLog`] → `envoy.extensions.access_loggers.file.v3.FileAccessLog`, or
//! `stream.v3.StdoutAccessLog`; [`LogService`] → `envoy.extensions.access_loggers.grpc.v3`.

use nuncio_envoy_api::envoy::config::accesslog::v3 as accesslog;
use nuncio_envoy_api::envoy::config::core::v3 as core;
use nuncio_envoy_api::envoy::extensions::access_loggers::file::v3 as file_log;
use nuncio_envoy_api::envoy::extensions::access_loggers::grpc::v3 as grpc_log;
use nuncio_envoy_api::envoy::extensions::access_loggers::stream::v3 as stream_log;
use nuncio_envoy_api::google::protobuf::value::Kind;
use nuncio_envoy_api::google::protobuf::{Any, ListValue, NullValue, Struct, Value};
use nuncio_envoy_api::pack;
use nuncio_model::listener::{AccessLog, AccessLogFormat, LogFields, LogValue};
use nuncio_model::log::{LogEntries, LogService};
use nuncio_model::value::HeaderName;

use crate::proto::{duration, grpc_service, inline_string, uint32};

/// Standard output, as a path. It cannot always be opened as a file: it may be a socket, as under
/// systemd, or another user's. Envoy has it open already, and writes the same there.
const STANDARD_OUTPUT: &[&str] = &["/dev/fd/1", "/dev/stdout", "/proc/self/fd/1"];

pub(crate) fn access_log(log: &AccessLog) -> accesslog::AccessLog {
    use core::substitution_format_string::Format;
    use file_log::file_access_log::AccessLogFormat as FileFormat;
    use stream_log::stdout_access_log::AccessLogFormat as StreamFormat;
    let format = match &log.format {
        AccessLogFormat::Text(line) => Format::TextFormatSource(inline_string(line.as_str())),
        AccessLogFormat::Json(fields) => Format::JsonFormat(object(fields)),
    };
    let format = core::SubstitutionFormatString {
        format: Some(format),
        ..Default::default()
    };
    if STANDARD_OUTPUT.contains(&&*log.path) {
        let stream = stream_log::StdoutAccessLog {
            access_log_format: Some(StreamFormat::LogFormat(format)),
        };
        return logger("envoy.access_loggers.stdout", pack(&stream));
    }
    let file = file_log::FileAccessLog {
        path: log.path.to_string(),
        access_log_format: Some(FileFormat::LogFormat(format)),
    };
    logger("envoy.access_loggers.file", pack(&file))
}

fn object(fields: &LogFields) -> Struct {
    let fields = fields.iter();
    Struct {
        fields: fields
            .map(|(name, item)| (name.to_string(), value(item)))
            .collect(),
    }
}

fn value(item: &LogValue) -> Value {
    Value {
        kind: Some(match item {
            LogValue::Text(text) => Kind::StringValue(text.to_string()),
            LogValue::Number(number) => Kind::NumberValue(*number),
            LogValue::Bool(given) => Kind::BoolValue(*given),
            LogValue::Null => Kind::NullValue(NullValue::NullValue.into()),
            LogValue::List(items) => Kind::ListValue(ListValue {
                values: items.iter().map(value).collect(),
            }),
            LogValue::Object(fields) => Kind::StructValue(object(fields)),
        }),
    }
}

pub(crate) fn log_services(services: &[LogService]) -> impl Iterator<Item = accesslog::AccessLog> {
    services.iter().map(log_service)
}

fn log_service(service: &LogService) -> accesslog::AccessLog {
    let names = |names: &[HeaderName]| names.iter().map(ToString::to_string).collect();
    let common_config = Some(grpc_log::CommonGrpcAccessLogConfig {
        log_name: service.log_name.to_string(),
        grpc_service: Some(grpc_service(&service.cluster)),
        transport_api_version: core::ApiVersion::V3.into(),
        buffer_flush_interval: duration(service.flush_interval),
        buffer_size_bytes: uint32(service.buffer_bytes),
        ..Default::default()
    });
    match &service.entries {
        LogEntries::Http {
            request_headers,
            response_headers,
            response_trailers,
        } => logger(
            "envoy.access_loggers.http_grpc",
            pack(&grpc_log::HttpGrpcAccessLogConfig {
                common_config,
                additional_request_headers_to_log: names(request_headers),
                additional_response_headers_to_log: names(response_headers),
                additional_response_trailers_to_log: names(response_trailers),
            }),
        ),
        LogEntries::Tcp => logger(
            "envoy.access_loggers.tcp_grpc",
            pack(&grpc_log::TcpGrpcAccessLogConfig { common_config }),
        ),
    }
}

fn logger(name: &str, config: Any) -> accesslog::AccessLog {
    accesslog::AccessLog {
        name: name.to_owned(),
        config_type: Some(accesslog::access_log::ConfigType::TypedConfig(config)),
        ..Default::default()
    }
}
