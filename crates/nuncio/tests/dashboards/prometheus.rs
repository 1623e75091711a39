//! A running Prometheus.

use std::collections::BTreeMap;
use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use nuncio_echo::client::{Client, Protocol, Target};
use serde_json::Value;
use tempfile::TempDir;
use tokio::process::{Child, Command};
use url::form_urlencoded;

use crate::support::{DEADLINE, free_port};

/// Between two questions whether it has scraped something; it offers nothing that could be awaited.
const ASK: Duration = Duration::from_millis(50);

/// A program that `make test` installs.
pub(crate) fn program(variable: &str, name: &str) -> PathBuf {
    let installed = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../.tools/prometheus");
    let program = std::env::var_os(variable).map_or(installed.join(name), PathBuf::from);
    assert!(
        program.is_file(),
        "{name} is not installed: run scripts/install-prometheus.sh, or set {variable}"
    );
    program
}

pub(crate) struct Prometheus {
    _process: Child,
    address: SocketAddr,
    _folder: TempDir,
}

/// A series and its value.
pub(crate) type Row = (BTreeMap<String, String>, f64);

impl Prometheus {
    /// Starts one that scrapes this gateway, and waits until it has done so.
    pub(crate) async fn start(gateway: SocketAddr) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let config = folder.path().join("prometheus.yml");
        let text = format!(
            "global: {{scrape_interval: 500ms, scrape_timeout: 500ms}}\n\
             scrape_configs: [{{job_name: nuncio, static_configs: [{{targets: [\"{gateway}\"]}}]}}]\n"
        );
        fs::write(&config, text).unwrap();
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()));
        let log = fs::File::create(folder.path().join("log")).unwrap();
        let process = Command::new(program("PROMETHEUS", "prometheus"))
            .arg(format!("--config.file={}", config.display()))
            .arg(format!(
                "--storage.tsdb.path={}",
                folder.path().join("data").display()
            ))
            .arg(format!("--web.listen-address={address}"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let prometheus = Self {
            _process: process,
            address,
            _folder: folder,
        };
        prometheus.until("up == 1", |rows| rows.len() == 1).await;
        prometheus
    }

    /// Waits until a query has such an answer.
    pub(crate) async fn until(&self, query: &str, holds: impl Fn(&[Row]) -> bool) {
        let deadline = Instant::now() + DEADLINE;
        loop {
            let rows = self.ask(query).await;
            if rows.as_deref().is_some_and(&holds) {
                return;
            }
            assert!(Instant::now() < deadline, "{query} never holds: {rows:?}");
            tokio::time::sleep(ASK).await;
        }
    }

    /// What is so now.
    pub(crate) async fn query(&self, query: &str) -> Vec<Row> {
        let rows = self.ask(query).await;
        rows.unwrap_or_else(|| panic!("Prometheus does not answer {query}"))
    }

    async fn ask(&self, query: &str) -> Option<Vec<Row>> {
        let data = self.get("/api/v1/query", &[("query", query)]).await?;
        let row = |row: &Value| {
            let labels = serde_json::from_value(row["metric"].clone()).unwrap();
            (labels, row["value"][1].as_str().unwrap().parse().unwrap())
        };
        assert_eq!(data["resultType"], "vector", "{query}");
        Some(data["result"].as_array()?.iter().map(row).collect())
    }

    pub(crate) async fn label_values(&self, selector: &str, label: &str) -> Vec<String> {
        let path = format!("/api/v1/label/{label}/values");
        let data = self.get(&path, &[("match[]", selector)]).await;
        serde_json::from_value(data.unwrap()).unwrap()
    }

    /// `None` while it is not up; a query that it refuses is a mistake.
    async fn get(&self, path: &str, query: &[(&str, &str)]) -> Option<Value> {
        let target = Target::cleartext(self.address);
        let mut client = Client::connect(&target, Protocol::Http1).await.ok()?;
        let query = form_urlencoded::Serializer::new(String::new())
            .extend_pairs(query)
            .finish();
        let answer = client
            .get("localhost", &format!("{path}?{query}"))
            .await
            .ok()?;
        if answer.status == 503 {
            return None;
        }
        let answer = answer.json();
        assert_eq!(answer["status"], "success", "{path}?{query}: {answer}");
        Some(answer["data"].clone())
    }
}
