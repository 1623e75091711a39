use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// `TracingService.spec`: where spans are sent.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct TracingService {
    pub ambassador_id: Option<Vec<String>>,
    pub driver: Option<TracingDriver>,
    pub service: Option<String>,
    pub sampling: Option<TraceSampling>,
    /// Deprecated: use `custom_tags`.
    pub tag_headers: Option<Vec<String>>,
    pub custom_tags: Option<Vec<CustomTag>>,
    pub config: Option<TraceConfig>,
    pub stats_name: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum TracingDriver {
    Lightstep,
    Zipkin,
    Datadog,
    Opentelemetry,
}

/// Per cent of requests.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct TraceSampling {
    pub client: Option<i64>,
    pub random: Option<i64>,
    pub overall: Option<i64>,
}

/// A tag of every span. Exactly one of its sources is to be given.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CustomTag {
    pub tag: String,
    pub literal: Option<TagLiteral>,
    pub environment: Option<TagSource>,
    pub request_header: Option<TagSource>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TagLiteral {
    pub value: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TagSource {
    pub name: String,
    pub default_value: Option<String>,
}

/// What each driver takes of this is its own.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct TraceConfig {
    pub access_token_file: Option<String>,
    pub collector_cluster: Option<String>,
    pub collector_endpoint: Option<String>,
    pub collector_endpoint_version: Option<CollectorEndpointVersion>,
    pub collector_hostname: Option<String>,
    pub propagation_modes: Option<Vec<PropagationMode>>,
    pub trace_id_128bit: Option<bool>,
    pub shared_span_context: Option<bool>,
    pub service_name: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum CollectorEndpointVersion {
    HttpJsonV1,
    HttpJson,
    HttpProto,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum PropagationMode {
    Envoy,
    Lightstep,
    B3,
    TraceContext,
}
