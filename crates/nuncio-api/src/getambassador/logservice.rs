use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::ProtocolVersion;

/// `LogService.spec`: where access logs are sent.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct LogService {
    pub ambassador_id: Option<Vec<String>>,
    pub service: Option<String>,
    pub protocol_version: Option<ProtocolVersion>,
    pub driver: Option<LogDriver>,
    pub driver_config: Option<LogDriverConfig>,
    /// In seconds.
    pub flush_interval_time: Option<i64>,
    pub flush_interval_byte_size: Option<i64>,
    pub grpc: Option<bool>,
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
    pub additional_log_headers: Option<Vec<LogHeader>>,
}

/// A header to log; `true` for each part of a request where nothing is said.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct LogHeader {
    pub header_name: Option<String>,
    pub during_request: Option<bool>,
    pub during_response: Option<bool>,
    pub during_trailer: Option<bool>,
}
