//! A rollout and the end of a pod: no request fails.

#![allow(clippy::unwrap_used)]

mod balancer;
mod pod;
#[path = "../support/mod.rs"]
mod support;

use std::net::{Ipv4Addr, SocketAddr};

use balancer::{Backend, Balancer};
use nuncio_echo::client::{Client, Load, Protocol, RequestSpec, Target, WebSocket};
use nuncio_echo::{Echo, Running, free_port};
use support::Gateway;

const HOST: &str = "a.example";

/// Long enough for the balancer to see on a busy machine that a replica is not ready any more.
const SHUTDOWN_DELAY: &str = "3";

fn manifests(port: u16, upstream: &Running) -> String {
    format!(
        "apiVersion: getambassador.io/v3alpha1\nkind: Listener\nmetadata: {{name: http}}\n\
         spec: {{port: {port}, protocol: HTTP, securityModel: XFP, \
         hostBinding: {{namespace: {{from: ALL}}}}}}\n---\n\
         apiVersion: getambassador.io/v3alpha1\nkind: Host\nmetadata: {{name: any}}\n\
         spec: {{hostname: \"*\", requestPolicy: {{insecure: {{action: Route}}}}}}\n---\n{}{}",
        mapping("steady", upstream, ""),
        mapping("ws", upstream, ", allow_upgrade: [websocket]"),
    )
}

fn mapping(name: &str, upstream: &Running, more: &str) -> String {
    format!(
        "apiVersion: getambassador.io/v3alpha1\nkind: Mapping\nmetadata: {{name: {name}}}\n\
         spec: {{hostname: \"*\", prefix: /{name}/, service: \"{}\"{more}}}\n---\n",
        upstream.address()
    )
}

async fn upstream() -> Running {
    let any_port: SocketAddr = (Ipv4Addr::LOCALHOST, 0).into();
    Echo::new("quote").start(any_port).await.unwrap()
}

fn local(port: u16) -> SocketAddr {
    (Ipv4Addr::LOCALHOST, port).into()
}

/// Requests over HTTP/1.1 and HTTP/2.
fn load(target: &Target) -> [Load; 2] {
    [Protocol::Http1, Protocol::Http2].map(|protocol| {
        let requests = vec![RequestSpec::get(HOST, "/steady/")];
        Load::over(protocol, target, requests, 4, 100)
    })
}

async fn nothing_failed(loads: [Load; 2]) {
    for load in loads {
        let report = load.stop().await;
        assert!(report.sent > 50, "only {} requests were sent", report.sent);
        assert!(
            report.failed.is_empty() && report.not_ok() == 0,
            "{} of {} requests failed: {:?} {:?}",
            report.not_ok(),
            report.sent,
            report.by_status,
            report.failed.iter().take(10).collect::<Vec<_>>()
        );
    }
}

/// Two replicas, one after the other replaced by a new one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rollout_drops_no_request() {
    let quote = upstream().await;
    let mut replicas = Vec::new();
    let mut backends = Vec::new();
    for _ in 0..2 {
        let port = free_port();
        let files = [("base.yaml", manifests(port, &quote))];
        let variables = [("NUNCIO_SHUTDOWN_DELAY", SHUTDOWN_DELAY)];
        let replica = Gateway::start_with(&files, &variables).await;
        backends.push(Backend {
            address: local(port),
            admin: replica.admin(),
        });
        replicas.push(replica);
    }
    let balancer = Balancer::start(backends).await;
    let both_ready = async || balancer.is_ready(0) && balancer.is_ready(1);
    replicas[0].until(both_ready).await;

    let mut sockets = Vec::new();
    for _ in 0..2 {
        let socket = WebSocket::connect(&balancer.target(), HOST, "/ws/").await;
        sockets.push(Some(socket.unwrap()));
    }
    let mut owners = balancer.taken();
    let loads = load(&balancer.target());

    for (index, replica) in replicas.iter_mut().enumerate() {
        replica.ask_to_end();
        let drains = async || replica.log().contains("finishing requests");
        replica.until(drains).await;
        assert!(!balancer.is_ready(index));
        // A WebSocket is work under way: the replica waits for it, and ends once it is closed.
        let mine = owners.iter().position(|owner| *owner == index);
        let mut socket = sockets[mine.unwrap()].take().unwrap();
        assert_eq!(socket.echo("still here").await.unwrap(), "still here");
        drop(socket);
        owners[mine.unwrap()] = usize::MAX;
        replica.ended().await;
        let log = replica.log();
        assert!(log.contains("cut_off: 0"), "{log}");

        let before = balancer.taken().len();
        replica.restart().await;
        let is_used = async || balancer.taken()[before..].contains(&index);
        // Who comes anew finds the new one.
        let comes = async || {
            let mut client = Client::connect(&balancer.target(), Protocol::Http1)
                .await
                .unwrap();
            assert_eq!(client.get(HOST, "/steady/").await.unwrap().status, 200);
            is_used().await
        };
        replica.until(comes).await;
    }
    nothing_failed(loads).await;
    for replica in replicas {
        replica.ask_to_end();
        replica.terminate().await;
    }
}

/// Until the delay is over nothing changes for clients.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_is_to_end_is_not_ready_and_serves_on() {
    let (quote, port) = (upstream().await, free_port());
    let files = [("base.yaml", manifests(port, &quote))];
    let gateway = Gateway::start_with(&files, &[("NUNCIO_SHUTDOWN_DELAY", "600")]).await;
    gateway.ask_to_end();
    let not_ready = async || {
        let answer = gateway.check_ready().await;
        answer.is_some_and(|(status, _)| status == 503)
    };
    gateway.until(not_ready).await;

    let target = Target::cleartext(local(port));
    let mut client = Client::connect(&target, Protocol::Http1).await.unwrap();
    let answer = client.get(HOST, "/steady/").await.unwrap();
    assert_eq!(answer.status, 200);
    assert!(!answer.headers.contains_key("connection"));
    // Changes are taken up too, such as endpoints that come and go.
    gateway.write("new.yaml", &mapping("new", &quote, ""));
    gateway.settled().await;
    assert_eq!(client.get(HOST, "/new/").await.unwrap().status, 200);
    // A second signal ends it at once.
    gateway.terminate().await;
}
