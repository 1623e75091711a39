use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::ProtocolVersion;

/// `LogService.spec`: where access logs are sent.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct LogService {
    /// Which nuncio takes it, by `AMBASSADOR_ID`; `default` when absent.
    pub ambassador_id: Option<Vec<String>>,
    /// Where logs are sent, as in a Mapping.
    ///
    /// Envoy: `CommonGrpcAccessLogConfig.grpc_service`.
    pub service: Option<String>,
    /// The version of Envoy's API, which must be `v3`.
    ///
    /// Envoy: `CommonGrpcAccessLogConfig.transport_api_version`.
    pub protocol_version: Option<ProtocolVersion>,
    /// What is logged.
    ///
    /// Envoy: `HttpGrpcAccessLogConfig`, `TcpGrpcAccessLogConfig`.
    pub driver: Option<LogDriver>,
    /// Settings of the driver.
    ///
    /// Envoy: `HttpGrpcAccessLogConfig`.
    pub driver_config: Option<LogDriverConfig>,
    /// Longest time that entries wait, in seconds; 1 when absent.
    ///
    /// Envoy: `CommonGrpcAccessLogConfig.buffer_flush_interval`.
    pub flush_interval_time: Option<i64>,
    /// How many bytes of entries wait; 16384 when absent.
    ///
    /// Envoy: `CommonGrpcAccessLogConfig.buffer_size_bytes`.
    pub flush_interval_byte_size: Option<i64>,
    /// Whether it speaks gRPC, as Envoy does.
    ///
    /// Envoy: `HttpProtocolOptions.explicit_http_config`, whatever it says.
    pub grpc: Option<bool>,
    /// Name of the service in statistics.
    ///
    /// Envoy: `Cluster.alt_stat_name`.
    ///
    /// Emissary: it has no effect there.
    pub stats_name: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum LogDriver {
    Tcp,
    Http,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct LogDriverConfig {
    /// Headers that are logged.
    ///
    /// Envoy: `HttpGrpcAccessLogConfig.additional_request_headers_to_log`, `HttpGrpcAccessLogConfig.additional_response_headers_to_log`, `HttpGrpcAccessLogConfig.additional_response_trailers_to_log`.
    pub additional_log_headers: Option<Vec<LogHeader>>,
}

/// A header to log; `true` for each part of a request where nothing is said.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct LogHeader {
    /// Its name.
    ///
    /// Envoy: an item of each list that it is to be in.
    pub header_name: Option<String>,
    /// Whether that of the request is.
    ///
    /// Envoy: `HttpGrpcAccessLogConfig.additional_request_headers_to_log`.
    pub during_request: Option<bool>,
    /// Whether that of the response is.
    ///
    /// Envoy: `HttpGrpcAccessLogConfig.additional_response_headers_to_log`.
    pub during_response: Option<bool>,
    /// Whether that after the response is.
    ///
    /// Envoy: `HttpGrpcAccessLogConfig.additional_response_trailers_to_log`.
    pub during_trailer: Option<bool>,
}
