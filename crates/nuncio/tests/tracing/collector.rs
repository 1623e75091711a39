//! A running OpenTelemetry collector, which says what it gets.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Stdio;

use tempfile::TempDir;
use tokio::process::{Child, Command};

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
        let process = Command::new(program())
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

/// What `make test` installs.
fn program() -> PathBuf {
    if let Some(program) = std::env::var_os("OTELCOL") {
        return program.into();
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let module = fs::read_to_string(root.join("tests/otelcol/go.mod")).unwrap();
    let version = module
        .lines()
        .find_map(|line| {
            line.trim()
                .strip_prefix("go.opentelemetry.io/collector/otelcol ")
        })
        .expect("go.mod names a version");
    let program = root.join(format!(".tools/otelcol-{version}/otelcol"));
    assert!(
        program.is_file(),
        "the collector is not installed: run scripts/install-otelcol.sh, or set OTELCOL"
    );
    program
}
