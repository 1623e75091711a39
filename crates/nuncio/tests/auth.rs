//! AuthServices that come, change and go while requests are under way, on one connection: none of that
//! closes it, and never does a request pass that must not.

#![allow(clippy::unwrap_used)]

mod support;

use std::net::{Ipv4Addr, SocketAddr};

use nuncio_echo::client::{Client, Protocol, Target};
use nuncio_echo::{Echo, Running};
use serde_json::Value;
use support::{DEADLINE, Gateway, free_port};
use tokio::time::timeout;

fn at(port: u16) -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, port))
}

fn auth_service(spec: &str) -> String {
    format!(
        "apiVersion: getambassador.io/v3alpha1\nkind: AuthService\nmetadata: {{name: auth}}\n\
         spec: {{{spec}}}\n"
    )
}

struct Scene {
    gateway: Gateway,
    _web: Running,
    port: u16,
}

impl Scene {
    /// A gateway with one Mapping, and one that leads to Envoy's statistics and is not asked about.
    async fn start(more: &str) -> Self {
        let web = Echo::new("web").start(at(0)).await.unwrap();
        let port = free_port();
        let base = format!(
            "apiVersion: getambassador.io/v3alpha1\nkind: Listener\nmetadata: {{name: http}}\n\
             spec: {{port: {port}, protocol: HTTP, securityModel: XFP, \
             hostBinding: {{namespace: {{from: ALL}}}}}}\n---\n\
             apiVersion: getambassador.io/v3alpha1\nkind: Host\nmetadata: {{name: any}}\n\
             spec: {{hostname: \"*\", requestPolicy: {{insecure: {{action: Route}}}}}}\n---\n\
             apiVersion: getambassador.io/v3alpha1\nkind: Mapping\nmetadata: {{name: web}}\n\
             spec: {{hostname: \"*\", prefix: /web/, service: \"{}\"}}\n---\n\
             apiVersion: getambassador.io/v3alpha1\nkind: Mapping\nmetadata: {{name: admin}}\n\
             spec: {{hostname: \"*\", prefix: /admin/, service: \"127.0.0.1:8001\", \
             bypass_auth: true}}\n",
            web.address()
        );
        let gateway = Gateway::start(&[("base.yaml", base), ("more.yaml", more.to_owned())]).await;
        Self {
            gateway,
            _web: web,
            port,
        }
    }

    async fn client(&self, protocol: Protocol) -> Client {
        Client::connect(&Target::cleartext(at(self.port)), protocol)
            .await
            .unwrap()
    }

    /// How often a listener was another one.
    async fn changed_listeners(&self) -> u64 {
        let path = "/admin/stats?format=json&filter=listener_manager.listener_(modified|in_place)";
        let answer = self.client(Protocol::Http1).await.get("a", path).await;
        let said: Value = serde_json::from_slice(&answer.unwrap().body).unwrap();
        let stats = said["stats"].as_array().unwrap();
        assert_eq!(stats.len(), 2, "{said}");
        stats.iter().filter_map(|stat| stat["value"].as_u64()).sum()
    }

    async fn until_status(&self, status: u16) {
        let is = async || {
            let mut client = self.client(Protocol::Http1).await;
            let answer = client.get("a", "/web/").await.unwrap();
            answer.status.as_u16() == status
        };
        self.gateway.until(is).await;
    }
}

/// Asks on one connection until the answer is of this upstream and has this status.
async fn until(client: &mut Client, status: u16, has: &str) {
    let asked = async {
        loop {
            let answer = client.get("a", "/web/").await.expect("it stays open");
            assert!(answer.headers.get("connection").is_none(), "it is drained");
            let body = String::from_utf8_lossy(&answer.body);
            if answer.status.as_u16() == status && body.contains(has) {
                return;
            }
        }
    };
    let asked = timeout(DEADLINE, asked).await;
    asked.unwrap_or_else(|_| panic!("never {status} with {has:?}"));
}

#[tokio::test]
async fn switched_on_changed_and_removed_it_drains_no_connection() {
    let scene = Scene::start("").await;
    let auth = Echo::new("auth").statuses(vec![http::StatusCode::UNAUTHORIZED]);
    let auth = auth.start(at(0)).await.unwrap();
    let other = Echo::new("other").statuses(vec![http::StatusCode::FORBIDDEN]);
    let other = other.start(at(0)).await.unwrap();
    let mut clients = [
        scene.client(Protocol::Http1).await,
        scene.client(Protocol::Http2).await,
    ];
    let before = scene.changed_listeners().await;
    let (auth, other) = (auth.address(), other.address());
    let on = format!("auth_service: \"{auth}\"");
    let prefixed = format!("{on}, path_prefix: /asked");
    let moved = format!("auth_service: \"{other}\"");
    let by_grpc = format!("{moved}, proto: grpc, protocol_version: v3");
    for (spec, status, has) in [
        (None, 200, "web"),
        (Some(&*on), 401, "\"path\":\"/web/\""),
        (Some(&*prefixed), 401, "/asked/web/"),
        (Some(&*moved), 403, "other"),
        (Some(&*by_grpc), 403, "other"),
        (Some("auth_service: \"a:b\""), 500, "misconfigured"),
        (Some("auth_service: [a]"), 500, "misconfigured"),
        (Some(&*on), 401, "auth"),
        (None, 200, "web"),
    ] {
        match spec {
            Some(spec) => scene.gateway.write("auth.yaml", &auth_service(spec)),
            None => scene.gateway.write("auth.yaml", ""),
        }
        for client in &mut clients {
            until(client, status, has).await;
        }
    }
    assert_eq!(scene.changed_listeners().await, before);
    for client in &mut clients {
        until(client, 200, "web").await;
    }
}

#[tokio::test]
async fn an_auth_service_that_comes_back_is_asked_again() {
    let port = free_port();
    let spec = format!("auth_service: \"127.0.0.1:{port}\", timeout_ms: 2000");
    let scene = Scene::start(&auth_service(&spec)).await;
    let mut client = scene.client(Protocol::Http1).await;
    until(&mut client, 403, "").await;
    let auth = Echo::new("auth").start(at(port)).await.unwrap();
    until(&mut client, 200, "web").await;
    assert!(!auth.seen().is_empty());
    drop(auth);
    until(&mut client, 403, "").await;
}

/// What Envoy alone refuses of an AuthService opens nothing, nor does it keep others from changing.
#[tokio::test]
async fn an_auth_service_that_envoy_refuses_opens_nothing() {
    let auth = Echo::new("auth").start(at(0)).await.unwrap();
    let context = format!(
        "apiVersion: getambassador.io/v3alpha1\nkind: TLSContext\nmetadata: {{name: long}}\n\
         spec: {{alpn_protocols: {}}}\n---\n",
        "x".repeat(300)
    );
    let spec = format!(
        "auth_service: \"{}\", tls: long, failure_mode_allow: true",
        auth.address()
    );
    let scene = Scene::start(&(context + &auth_service(&spec))).await;
    scene.until_status(500).await;
    let said = async || {
        let errors = scene.gateway.errors().await;
        errors.contains("the AuthService is left out, because Envoy refused the Cluster")
            && errors.contains("no AuthService is in effect")
    };
    scene.gateway.until(said).await;
    scene.gateway.write(
        "more.yaml",
        &auth_service(&format!("auth_service: \"{}\"", auth.address())),
    );
    scene.until_status(200).await;
    assert!(!auth.seen().is_empty());
}

/// Nothing is known of what such a file says, but that it is about an AuthService.
#[tokio::test]
async fn an_auth_service_in_a_file_that_cannot_be_parsed_opens_nothing() {
    let auth = Echo::new("auth").statuses(vec![http::StatusCode::UNAUTHORIZED]);
    let auth = auth.start(at(0)).await.unwrap();
    let good = auth_service(&format!("auth_service: \"{}\"", auth.address()));
    let broken = good.replace("spec: {", "spec: {[");
    let nameless = good.replace("{name: auth}", "{}");
    let scene = Scene::start(&broken).await;
    scene.until_status(500).await;
    let errors = scene.gateway.errors().await;
    assert!(
        errors.contains("an AuthService may be there that cannot be read"),
        "{errors}"
    );
    scene.gateway.write("more.yaml", "");
    scene.until_status(200).await;
    scene.gateway.write("more.yaml", &nameless);
    scene.until_status(500).await;
    scene.gateway.write("more.yaml", &good);
    scene.until_status(401).await;
    // The last good content stays in effect.
    scene.gateway.write("more.yaml", &broken);
    let said = async || {
        let errors = scene.gateway.errors().await;
        errors.contains("its last good content stays in effect")
    };
    scene.gateway.until(said).await;
    scene.until_status(401).await;
    let errors = scene.gateway.errors().await;
    assert!(!errors.contains("may be there"), "{errors}");
}
