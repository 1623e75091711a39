//! A running OpenTelemetry collector, which says what it gets.

use std::fs::{self, File};
use std::process::Stdio;

use tempfile::TempDir;
use tokio::process::{Child, Command};

use crate::support::built_with_go;

pub(crate) struct Collector {
    _process: Child,
    folder: TempDir,
}

impl Collector {
    /// Starts one on a port of the loopback address.
    pub(crate) fn start(port: u16) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let log = File::create(folder.path().join("log")).unwrap();
        let config = format!(
            "yaml:{{receivers: {{otlp: {{protocols: {{grpc: {{endpoint: '127.0.0.1:{port}'}}}}}}}}, \
             exporters: {{debug: {{verbosity: detailed}}}}, \
             service: {{telemetry: {{metrics: {{level: none}}}}, \
             pipelines: {{traces: {{receivers: [otlp], exporters: [debug]}}}}}}}}"
        );
        let module = "go.opentelemetry.io/collector/otelcol";
        let process = Command::new(built_with_go("OTELCOL", "otelcol", module))
            .args(["--config", &config])
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        Self {
            _process: process,
            folder,
        }
    }

    /// All that it said so far.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).unwrap()
    }
}
