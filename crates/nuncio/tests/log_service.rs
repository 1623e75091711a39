//! Access logs that are sent to a service: a server of Envoy's protocol gets entries of requests, and
//! one that is slow or away means nothing for the requests. What each field does is in
//! `tests/traffic/log-service`. Beside them the one on standard output.

#![allow(clippy::unwrap_used)]

mod support;

use std::ffi::OsString;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::thread;

use nuncio_echo::client::{Client, Protocol, Target};
use nuncio_echo::{Echo, Running};
use nuncio_envoy_api::envoy::data::accesslog::v3::HttpAccessLogEntry;
use nuncio_envoy_api::envoy::service::accesslog::v3::access_log_service_server::{
    AccessLogService, AccessLogServiceServer,
};
use nuncio_envoy_api::envoy::service::accesslog::v3::stream_access_logs_message::LogEntries;
use nuncio_envoy_api::envoy::service::accesslog::v3::{
    StreamAccessLogsMessage, StreamAccessLogsResponse,
};
use support::{DEADLINE, Gateway, LOOK, free_port};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tokio::time::timeout;
use tonic::transport::Server;
use tonic::{Request, Response, Status, Streaming};

/// What a log service was sent.
#[derive(Clone, Default)]
struct Entries(Arc<Mutex<Vec<HttpAccessLogEntry>>>);

impl Entries {
    fn of_path(&self, path: &str) -> Option<HttpAccessLogEntry> {
        let entries = self.0.lock().unwrap();
        let is_meant =
            |entry: &&HttpAccessLogEntry| entry.request.as_ref().is_some_and(|r| r.path == path);
        entries.iter().find(is_meant).cloned()
    }
}

#[tonic::async_trait]
impl AccessLogService for Entries {
    async fn stream_access_logs(
        &self,
        request: Request<Streaming<StreamAccessLogsMessage>>,
    ) -> Result<Response<StreamAccessLogsResponse>, Status> {
        let mut messages = request.into_inner();
        while let Some(message) = messages.message().await? {
            if let Some(LogEntries::HttpLogs(logs)) = message.log_entries {
                self.0.lock().unwrap().extend(logs.log_entry);
            }
        }
        Ok(Response::new(StreamAccessLogsResponse {}))
    }
}

/// A log service on a port of the loopback address.
struct LogServer {
    entries: Entries,
    runtime: Runtime,
}

impl LogServer {
    fn start(port: u16) -> Self {
        let entries = Entries::default();
        let service = AccessLogServiceServer::new(entries.clone());
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        // One of its own: its connections end with it.
        let runtime = Runtime::new().unwrap();
        let server = Server::builder().add_service(service).serve(address);
        runtime.spawn(async move { server.await.unwrap() });
        Self { entries, runtime }
    }

    /// Ends it, with its connections.
    fn stop(self) {
        // Where async code runs nobody may wait for that.
        let ending = thread::spawn(move || self.runtime.shutdown_timeout(DEADLINE));
        ending.join().unwrap();
    }
}

struct Scene {
    gateway: Gateway,
    client: Client,
    _web: Running,
}

impl Scene {
    async fn start(log_service: SocketAddr) -> Self {
        Self::start_under(&[], log_service).await
    }

    async fn start_under(launcher: &[&str], log_service: SocketAddr) -> Self {
        let any_port = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let web = Echo::new("web").start(any_port).await.unwrap();
        let port = free_port();
        let manifests = format!(
            "apiVersion: getambassador.io/v3alpha1
kind: Listener
metadata: {{name: http}}
spec: {{port: {port}, protocol: HTTP, securityModel: XFP, hostBinding: {{namespace: {{from: ALL}}}}}}
---
apiVersion: getambassador.io/v3alpha1
kind: Host
metadata: {{name: any}}
spec: {{hostname: \"*\", requestPolicy: {{insecure: {{action: Route}}}}}}
---
apiVersion: getambassador.io/v3alpha1
kind: Mapping
metadata: {{name: web}}
spec: {{hostname: \"*\", prefix: /, rewrite: \"\", service: \"{}\"}}
---
apiVersion: getambassador.io/v3alpha1
kind: LogService
metadata: {{name: logs}}
spec: {{service: \"{log_service}\", driver: http, protocol_version: v3}}
",
            web.address()
        );
        let launcher = launcher.iter().map(OsString::from).collect();
        let gateway = Gateway::start_under(launcher, &[("all.yaml", manifests)], &[]).await;
        let target = Target::cleartext(SocketAddr::from((Ipv4Addr::LOCALHOST, port)));
        let client = Client::connect(&target, Protocol::Http1).await.unwrap();
        Self {
            gateway,
            client,
            _web: web,
        }
    }

    /// Asks for a path until there is an entry of it: Envoy opens a stream when it has something to
    /// say, and what it cannot say is lost.
    async fn entry(&mut self, entries: &Entries, path: &str) -> HttpAccessLogEntry {
        loop {
            self.ask(path).await;
            if let Some(entry) = entries.of_path(path) {
                return entry;
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    async fn ask(&mut self, path: &str) {
        let answer = self.client.get("a.example", path).await.unwrap();
        assert_eq!(answer.status, 200);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn entries_say_what_the_requests_were() {
    let port = free_port();
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    // Requests are answered while nobody takes the entries.
    let mut scene = Scene::start(address).await;
    for _ in 0..20 {
        scene.ask("/away").await;
    }
    // It comes, goes, and comes back.
    for nth in 0..2 {
        let server = LogServer::start(port);
        let path = format!("/there-{nth}?x=y");
        let entry = timeout(DEADLINE, scene.entry(&server.entries, &path)).await;
        let entry = entry.expect("an entry comes");
        let request = entry.request.unwrap();
        assert_eq!(request.authority, "a.example");
        let response = entry.response.unwrap();
        assert_eq!(response.response_code.unwrap().value, 200);
        let common = entry.common_properties.unwrap();
        assert!(common.upstream_cluster.starts_with("cluster_127_0_0_1_"));
        server.stop();
        for _ in 0..20 {
            scene.ask("/away").await;
        }
    }
    scene.gateway.terminate().await;
}

/// One that takes connections and never answers.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_service_that_says_nothing_costs_no_request() {
    let any_port = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let silent = Echo::new("logs").silent().start(any_port).await.unwrap();
    let mut scene = Scene::start(silent.address()).await;
    for _ in 0..200 {
        scene.ask("/").await;
    }
    scene.gateway.terminate().await;
}

/// Standard output that is a socket cannot be opened once more, as a file or a pipe can.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn standard_output_may_be_a_socket() {
    let any_port = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let output = TcpListener::bind(any_port).await.unwrap();
    let port = output.local_addr().unwrap().port();
    let to_socket = format!("exec \"$@\" >/dev/tcp/127.0.0.1/{port}");
    let launcher = ["bash", "-c", to_socket.as_str(), "bash"];
    let nobody = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()));
    let mut scene = Scene::start_under(&launcher, nobody).await;
    scene.ask("/asked").await;
    let (stream, _) = output.accept().await.unwrap();
    let mut lines = BufReader::new(stream).lines();
    let line = async {
        loop {
            let line = lines.next_line().await.unwrap().expect("nuncio runs");
            if line.starts_with("ACCESS [") && line.contains(" /asked ") {
                return;
            }
        }
    };
    timeout(DEADLINE, line).await.expect("a line comes");
    scene.gateway.terminate().await;
}
