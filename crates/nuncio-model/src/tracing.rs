//! Spans of requests: what is recorded, and who gets it.
//!
//! How many requests are traced is part of the [`crate::runtime`]: another share then touches no
//! listener.

use std::sync::Arc;

use serde::Serialize;

use crate::value::{HeaderName, HostLiteral, PathLiteral};

/// `HttpConnectionManager.Tracing`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Tracing {
    /// Name of a [`crate::Gateway::clusters`] entry.
    pub cluster: Arc<str>,
    pub provider: Provider,
    pub custom_tags: Vec<CustomTag>,
}

/// Whose format spans and their headers have.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub enum Provider {
    /// `config.trace.v3.ZipkinConfig`.
    Zipkin(Zipkin),
    /// `config.trace.v3.DatadogConfig`.
    Datadog {
        /// Not empty.
        service_name: Arc<str>,
        collector_hostname: Option<HostLiteral>,
    },
    /// `config.trace.v3.OpenTelemetryConfig`.
    OpenTelemetry { service_name: Arc<str> },
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Zipkin {
    pub path: PathLiteral,
    pub format: ZipkinFormat,
    pub collector_hostname: Option<HostLiteral>,
    pub trace_id_128bit: bool,
    /// Whether client and server share a span; `None` is Envoy's yes.
    pub shared_span_context: Option<bool>,
    /// Whether requests have `traceparent` beside the headers of B3.
    pub w3c: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
pub enum ZipkinFormat {
    Json,
    Protobuf,
}

/// A tag of every span (`type.tracing.v3.CustomTag`).
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct CustomTag {
    /// Not empty.
    pub name: Arc<str>,
    pub value: TagValue,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub enum TagValue {
    /// Not empty.
    Literal(Arc<str>),
    /// A variable of Envoy's environment.
    Environment {
        /// Not empty.
        name: Arc<str>,
        default: Option<Arc<str>>,
    },
    RequestHeader {
        name: HeaderName,
        default: Option<Arc<str>>,
    },
}
