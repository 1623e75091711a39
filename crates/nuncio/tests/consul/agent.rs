//! A running Consul: one agent, which is a server.

use std::fs::{self, File};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Instant;

use bytes::Bytes;
use http::{Method, Request};
use http_body_util::Full;
use nuncio_echo::client::{Answer, Client, Protocol, Target};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::process::{Child, Command};

use crate::support::{DEADLINE, LOOK, built_with_go, free_port};

pub(crate) struct Agent {
    process: Child,
    http: u16,
    datacenter: String,
    asks: Asks,
    folder: TempDir,
}

/// What it asks of whom it answers.
#[derive(Clone, Default)]
pub(crate) struct Asks {
    /// A token, which may do everything; without one nobody may do anything.
    pub(crate) token: Option<String>,
    /// Where it answers over TLS those who show a certificate, and files: the authority's
    /// certificate, its own and the key of that.
    pub(crate) tls: Option<(u16, [PathBuf; 3])>,
}

impl Agent {
    /// Starts one, with nothing in it, and waits until it answers.
    pub(crate) async fn start(datacenter: &str) -> Self {
        Self::start_asking(datacenter, Asks::default()).await
    }

    pub(crate) async fn start_asking(datacenter: &str, asks: Asks) -> Self {
        Self::start_at(datacenter, free_port(), asks).await
    }

    async fn start_at(datacenter: &str, http: u16, asks: Asks) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let log = File::create(folder.path().join("log")).unwrap();
        let mut config = json!({
            "ports": {
                "http": http,
                "server": free_port(),
                "serf_lan": free_port(),
                "serf_wan": -1,
                "dns": -1,
                "grpc": -1,
                "grpc_tls": -1,
            },
            "disable_update_check": true,
        });
        if let Some(token) = &asks.token {
            config["acl"] = json!({
                "enabled": true,
                "default_policy": "deny",
                "tokens": {"initial_management": token},
            });
        }
        if let Some((port, [authority, certificate, key])) = &asks.tls {
            config["ports"]["https"] = json!(port);
            config["tls"] = json!({"https": {
                "ca_file": authority,
                "cert_file": certificate,
                "key_file": key,
                "verify_incoming": true,
            }});
        }
        let file = folder.path().join("agent.json");
        fs::write(&file, config.to_string()).unwrap();
        let program = built_with_go("CONSUL", "consul", "github.com/hashicorp/consul");
        let process = Command::new(program)
            .args([
                "agent",
                "-dev",
                "-bind",
                "127.0.0.1",
                "-client",
                "127.0.0.1",
            ])
            .args(["-datacenter", datacenter, "-config-file"])
            .arg(file)
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let mut agent = Self {
            process,
            http,
            datacenter: datacenter.to_owned(),
            asks,
            folder,
        };
        let deadline = Instant::now() + DEADLINE;
        // It answers before it has anything to say.
        while !agent.has_leader().await {
            let ended = agent.process.try_wait().unwrap();
            assert!(
                ended.is_none() && Instant::now() < deadline,
                "Consul does not start\n{}",
                agent.log()
            );
            tokio::time::sleep(LOOK).await;
        }
        agent
    }

    /// Ends it; what it knew is gone.
    pub(crate) async fn stop(&mut self) {
        self.process.kill().await.unwrap();
    }

    /// Starts it again where it was, with nothing in it.
    pub(crate) async fn start_again(&mut self) {
        *self = Self::start_at(&self.datacenter, self.http, self.asks.clone()).await;
    }

    pub(crate) fn address(&self) -> String {
        format!("127.0.0.1:{}", self.http)
    }

    /// Registers an instance, which passes its check or does not.
    pub(crate) async fn register(&self, name: &str, id: &str, at: SocketAddr, passes: bool) {
        let status = if passes { "passing" } else { "critical" };
        let instance = json!({
            "Name": name,
            "ID": id,
            "Address": at.ip(),
            "Port": at.port(),
            "Check": { "TTL": "1h", "Status": status },
        });
        self.put("/v1/agent/service/register", &instance).await;
    }

    /// Lets the check of an instance pass, or fail.
    pub(crate) async fn check(&self, id: &str, passes: bool) {
        let what = if passes { "pass" } else { "fail" };
        let path = format!("/v1/agent/check/{what}/service:{id}");
        self.put(&path, &Value::Null).await;
    }

    pub(crate) async fn deregister(&self, id: &str) {
        let path = format!("/v1/agent/service/deregister/{id}");
        self.put(&path, &Value::Null).await;
    }

    async fn put(&self, path: &str, body: &Value) {
        let answer = self.ask(Method::PUT, path, body.to_string()).await;
        let answer = answer.expect("it answers");
        assert_eq!(answer.status, 200, "{path}: {:?}", answer.body);
    }

    async fn has_leader(&self) -> bool {
        let answer = self.ask(Method::GET, "/v1/catalog/services", String::new());
        answer.await.is_some_and(|answer| answer.status == 200)
    }

    async fn ask(&self, method: Method, path: &str, body: String) -> Option<Answer> {
        let mut client = self.client().await?;
        let mut request = Request::new(Full::new(Bytes::from(body)));
        *request.method_mut() = method;
        *request.uri_mut() = path.parse().unwrap();
        if let Some(token) = &self.asks.token {
            let token = token.parse().unwrap();
            request.headers_mut().insert("x-consul-token", token);
        }
        client.send("localhost", request).await.ok()
    }

    async fn client(&self) -> Option<Client> {
        let target = Target::cleartext(SocketAddr::from((Ipv4Addr::LOCALHOST, self.http)));
        Client::connect(&target, Protocol::Http1).await.ok()
    }

    fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).unwrap()
    }
}
