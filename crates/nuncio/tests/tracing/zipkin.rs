//! A running Zipkin.

use std::fs::File;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use nuncio_echo::client::{Client, Protocol, Target};
use serde_json::Value;
use tempfile::TempDir;
use tokio::process::{Child, Command};

use crate::support::LOOK;

/// Java on a busy machine takes its time.
const START: Duration = Duration::from_secs(90);

pub(crate) struct Zipkin {
    _process: Child,
    address: SocketAddr,
    _folder: TempDir,
}

impl Zipkin {
    /// Starts one on a port of the loopback address, and waits until it answers.
    pub(crate) async fn start(port: u16) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let log = File::create(folder.path().join("log")).unwrap();
        let process = Command::new("java")
            .args(["-Xmx256m", "-XX:TieredStopAtLevel=1", "-jar"])
            .arg(jar())
            .arg("--armeria.ports[0].ip=127.0.0.1")
            .arg(format!("--armeria.ports[0].port={port}"))
            .arg("--armeria.ports[0].protocols[0]=http")
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .kill_on_drop(true)
            .spawn()
            .expect("Java is installed");
        let zipkin = Self {
            _process: process,
            address: SocketAddr::from((Ipv4Addr::LOCALHOST, port)),
            _folder: folder,
        };
        let deadline = Instant::now() + START;
        while zipkin.get("/health").await.is_none() {
            assert!(Instant::now() < deadline, "Zipkin does not start");
            tokio::time::sleep(LOOK).await;
        }
        zipkin
    }

    /// The spans of a trace, if it has them.
    pub(crate) async fn trace(&self, id: &str) -> Vec<Value> {
        let spans = self.get(&format!("/api/v2/trace/{id}")).await;
        serde_json::from_value(spans.unwrap_or_default()).unwrap_or_default()
    }

    async fn get(&self, path: &str) -> Option<Value> {
        let target = Target::cleartext(self.address);
        let mut client = Client::connect(&target, Protocol::Http1).await.ok()?;
        let answer = client.get("localhost", path).await.ok()?;
        (answer.status == 200).then(|| answer.json())
    }
}

/// What `make test` installs.
fn jar() -> PathBuf {
    if let Some(jar) = std::env::var_os("ZIPKIN") {
        return jar.into();
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let versions = std::fs::read_to_string(root.join("versions.env")).unwrap();
    let version = versions
        .lines()
        .find_map(|line| line.strip_prefix("ZIPKIN_VERSION="))
        .expect("versions.env names a version");
    let jar = root.join(format!(".tools/zipkin-{version}/zipkin.jar"));
    assert!(
        jar.is_file(),
        "Zipkin is not installed: run scripts/install-zipkin.sh, or set ZIPKIN"
    );
    jar
}
