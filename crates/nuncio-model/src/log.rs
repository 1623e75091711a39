//! Access logs that are sent to a service.

use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;

use crate::value::HeaderName;

/// A service that is sent an entry for each request or connection
/// (`access_loggers.grpc.v3.CommonGrpcAccessLogConfig`).
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct LogService {
    /// Name of a [`crate::Gateway::clusters`] entry.
    pub cluster: Arc<str>,
    /// How entries name the log; not empty.
    pub log_name: Arc<str>,
    pub entries: LogEntries,
    /// Longest time that entries wait; above zero.
    pub flush_interval: Duration,
    /// How many bytes of entries wait; with zero none does.
    pub buffer_bytes: u32,
}

/// What an entry says.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub enum LogEntries {
    /// A request and its response (`HttpGrpcAccessLogConfig`), with these headers.
    Http {
        request_headers: Vec<HeaderName>,
        response_headers: Vec<HeaderName>,
        response_trailers: Vec<HeaderName>,
    },
    /// A connection, or a request as if it were one (`TcpGrpcAccessLogConfig`).
    Tcp,
}
