//! [`AccessLog`] → `envoy.extensions.access_loggers.file.v3.FileAccessLog`.

use nuncio_envoy_api::envoy::config::accesslog::v3 as accesslog;
use nuncio_envoy_api::envoy::config::core::v3 as core;
use nuncio_envoy_api::envoy::extensions::access_loggers::file::v3 as file_log;
use nuncio_envoy_api::pack;
use nuncio_model::listener::{AccessLog, AccessLogFormat};

use crate::proto::{inline_string, json_object};

pub(crate) fn access_log(log: &AccessLog) -> accesslog::AccessLog {
    use core::substitution_format_string::Format;
    use file_log::file_access_log::AccessLogFormat as FileFormat;
    let format = match &log.format {
        AccessLogFormat::Text(line) => Format::TextFormatSource(inline_string(line.as_str())),
        AccessLogFormat::Json(fields) => Format::JsonFormat(json_object(fields)),
    };
    let file = file_log::FileAccessLog {
        path: log.path.to_string(),
        access_log_format: Some(FileFormat::LogFormat(core::SubstitutionFormatString {
            format: Some(format),
            ..Default::default()
        })),
    };
    accesslog::AccessLog {
        name: "envoy.access_loggers.file".to_owned(),
        config_type: Some(accesslog::access_log::ConfigType::TypedConfig(pack(&file))),
        ..Default::default()
    }
}
