use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// `TracingService.spec`: where spans are sent.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct TracingService {
    /// Which nuncio takes it, by `AMBASSADOR_ID`; `default` when absent.
    pub ambassador_id: Option<Vec<String>>,
    /// Whose format the spans have.
    ///
    /// Envoy: `Tracing.Http.name`.
    pub driver: Option<TracingDriver>,
    /// Where they are sent, as in a Mapping.
    ///
    /// Envoy: `ZipkinConfig.collector_cluster`, `DatadogConfig.collector_cluster`, `OpenTelemetryConfig.grpc_service`.
    pub service: Option<String>,
    /// How many requests are traced; all when absent.
    ///
    /// Envoy: `Runtime.layer`.
    pub sampling: Option<TraceSampling>,
    /// Deprecated for `custom_tags`.
    ///
    /// Envoy: `HttpConnectionManager.Tracing.custom_tags`.
    ///
    /// Emissary: it has no effect there in v3alpha1.
    pub tag_headers: Option<Vec<String>>,
    /// Tags of every span.
    ///
    /// Envoy: `HttpConnectionManager.Tracing.custom_tags`.
    pub custom_tags: Option<Vec<CustomTag>>,
    /// Settings of the driver.
    ///
    /// Envoy: `Tracing.Http.typed_config`.
    pub config: Option<TraceConfig>,
    /// Name of the service in statistics.
    ///
    /// Envoy: `Cluster.alt_stat_name`.
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
    /// Of those that a client asks to trace.
    ///
    /// Envoy: `Runtime.layer`, `tracing.client_enabled`.
    pub client: Option<i64>,
    /// Of all others.
    ///
    /// Envoy: `Runtime.layer`, `tracing.random_sampling`.
    pub random: Option<i64>,
    /// Of those that the others leave.
    ///
    /// Envoy: `Runtime.layer`, `tracing.global_enabled`.
    pub overall: Option<i64>,
}

/// A tag of every span. Exactly one of its sources is to be given.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CustomTag {
    /// Its name.
    ///
    /// Envoy: `CustomTag.tag`.
    pub tag: String,
    /// Always the same.
    ///
    /// Envoy: `CustomTag.literal`.
    pub literal: Option<TagLiteral>,
    /// An environment variable of Envoy.
    ///
    /// Envoy: `CustomTag.environment`.
    pub environment: Option<TagSource>,
    /// A header of the request.
    ///
    /// Envoy: `CustomTag.request_header`.
    pub request_header: Option<TagSource>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TagLiteral {
    /// The value.
    ///
    /// Envoy: `CustomTag.Literal.value`.
    pub value: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TagSource {
    /// Name of the variable or header.
    ///
    /// Envoy: `CustomTag.Environment.name`, `CustomTag.Header.name`.
    pub name: String,
    /// What stands for one that is missing; no tag when absent.
    ///
    /// Envoy: `CustomTag.Environment.default_value`, `CustomTag.Header.default_value`.
    pub default_value: Option<String>,
}

/// What each driver takes of this is its own.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct TraceConfig {
    /// Of Lightstep, which Envoy has no longer.
    pub access_token_file: Option<String>,
    /// Envoy's name of the service, which nuncio knows.
    pub collector_cluster: Option<String>,
    /// Path of the collector; `/api/v2/spans` when absent.
    ///
    /// Envoy: `ZipkinConfig.collector_endpoint`.
    pub collector_endpoint: Option<String>,
    /// How spans are written; `HTTP_JSON` when absent.
    ///
    /// Envoy: `ZipkinConfig.collector_endpoint_version`.
    pub collector_endpoint_version: Option<CollectorEndpointVersion>,
    /// The host that the collector gets.
    ///
    /// Envoy: `ZipkinConfig.collector_hostname`, `DatadogConfig.collector_hostname`.
    pub collector_hostname: Option<String>,
    /// In which headers a trace is carried on.
    ///
    /// Envoy: `ZipkinConfig.trace_context_option`.
    pub propagation_modes: Option<Vec<PropagationMode>>,
    /// Whether ids are long; `true` when absent.
    ///
    /// Envoy: `ZipkinConfig.trace_id_128bit`.
    pub trace_id_128bit: Option<bool>,
    /// Whether client and server share a span.
    ///
    /// Envoy: `ZipkinConfig.shared_span_context`.
    pub shared_span_context: Option<bool>,
    /// Name of the gateway in traces; `ambassador` when absent.
    ///
    /// Envoy: `DatadogConfig.service_name`, `OpenTelemetryConfig.service_name`.
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
