//! What variables of the environment do to a running gateway.

#![allow(clippy::unwrap_used)]

mod support;

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::process::Command;
use std::time::Duration;

use nuncio_echo::client::{Client, Protocol, Target};
use support::{Gateway, envoy, free_port};
use tokio::net::UdpSocket;
use tokio::time::timeout;

const LONG: Duration = Duration::from_secs(20);

/// Starts a gateway that reports to a socket, and waits for a report that has a line which
/// satisfies a test.
async fn report(variables: &[(&str, &str)], wanted: impl Fn(&str) -> bool) {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let port = socket.local_addr().unwrap().port().to_string();
    let mut all = vec![
        ("STATSD_ENABLED", "true"),
        ("STATSD_HOST", "localhost"),
        ("STATSD_PORT", &port),
    ];
    all.extend(variables);
    let gateway = Gateway::start_with(&[], &all).await;
    let mut seen = Vec::new();
    let mut buffer = vec![0; 65536];
    let found = timeout(LONG, async {
        loop {
            let read = socket.recv(&mut buffer).await.unwrap();
            let text = String::from_utf8_lossy(&buffer[..read]).into_owned();
            if text.lines().any(&wanted) {
                return;
            }
            seen.push(text);
        }
    });
    assert!(found.await.is_ok(), "{seen:#?}");
    gateway.terminate().await;
}

/// A counter that grew.
fn counts(value: &str) -> bool {
    value.parse::<u64>().is_ok_and(|count| count > 0)
}

#[tokio::test]
async fn statsd_gets_counters_with_everything_in_their_names() {
    report(&[], |line| {
        let counter = line.strip_prefix("envoy.cluster.xds_cluster.upstream_cx_total:");
        counter.is_some_and(|rest| rest.strip_suffix("|c").is_some_and(counts))
    })
    .await;
}

#[tokio::test]
async fn dogstatsd_gets_counters_with_tags() {
    let variables = [("DOGSTATSD", "true"), ("DD_ENTITY_ID", "pod-1")];
    report(&variables, |line| {
        let counter = line.strip_prefix("envoy.cluster.upstream_cx_total:");
        let parts = counter.and_then(|rest| rest.split_once("|c|#"));
        parts.is_some_and(|(value, tags)| {
            let tags: Vec<_> = tags.split(',').collect();
            counts(value)
                && tags.contains(&"envoy.cluster_name:xds_cluster")
                && tags.contains(&"dd.internal.entity_id:pod-1")
        })
    })
    .await;
}

#[tokio::test]
async fn a_statistics_host_that_is_not_found_stops_nothing() {
    let variables = [
        ("STATSD_ENABLED", "true"),
        ("STATSD_HOST", "nowhere.invalid"),
    ];
    let gateway = Gateway::start_with(&[], &variables).await;
    assert!(gateway.log().contains("STATSD_HOST is \"nowhere.invalid\""));
    gateway.terminate().await;
}

async fn status(port: u16, path: &str) -> Option<u16> {
    let target = Target::cleartext(SocketAddr::from((Ipv4Addr::LOCALHOST, port)));
    let mut client = Client::connect(&target, Protocol::Http1).await.ok()?;
    let answer = client.get("probe", path).await.ok()?;
    Some(answer.status.as_u16())
}

#[tokio::test]
async fn envoy_itself_says_that_it_serves() {
    let port = free_port();
    let variables = [("AMBASSADOR_READY_PORT", port.to_string())];
    let variables = variables.each_ref().map(|(name, port)| (*name, &**port));
    let mut gateway = Gateway::start_with(&[], &variables).await;
    assert_eq!(status(port, "/ready").await, Some(200));
    assert_eq!(status(port, "/other").await, Some(404));
    // As at the beginning of an orderly end.
    gateway.envoy_post("/healthcheck/fail").await;
    assert_eq!(status(port, "/ready").await, Some(503));
    gateway.envoy_post("/healthcheck/ok").await;
    // Also while there is no nuncio.
    gateway.kill9().await;
    assert_eq!(status(port, "/ready").await, Some(200));
    gateway.restart().await;
    gateway.terminate().await;
    assert_eq!(status(port, "/ready").await, None);
}

#[tokio::test]
async fn a_ready_port_that_is_taken_costs_only_itself() {
    let holder = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = holder.local_addr().unwrap().port();
    let variables = [("AMBASSADOR_READY_PORT", port.to_string())];
    let variables = variables.each_ref().map(|(name, port)| (*name, &**port));
    let gateway = Gateway::start_with(&[], &variables).await;
    let errors = gateway.errors().await;
    assert!(errors.contains("in use"), "{errors}");
    assert!(errors.contains("AMBASSADOR_READY_PORT"), "{errors}");
    drop(holder);
    gateway
        .until(async || status(port, "/ready").await == Some(200))
        .await;
    gateway.terminate().await;
}

#[tokio::test]
async fn what_is_set_for_nothing_is_said_in_the_log() {
    let variables = [("SCOUT_DISABLE", "1"), ("AMBASSADOR_ENVOY_BASE_ID", "4711")];
    let gateway = Gateway::start_with(&[], &variables).await;
    let log = gateway.log();
    assert_eq!(log.matches("has no effect").count(), 1, "{log}");
    assert!(log.contains("SCOUT_DISABLE is set and has no effect: "));
    assert_eq!(gateway.record()["base_id"], 4711);
    gateway.terminate().await;
}

#[test]
fn a_wrong_value_ends_it_at_the_start() {
    let folder = tempfile::tempdir().unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_nuncio"))
        .args(["run", "--manifests"])
        .arg(folder.path())
        .arg("--envoy")
        .arg(envoy())
        .env("STATSD_FLUSH_INTERVAL", "soon")
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(said.lines().count(), 1, "{said}");
    let expected = "STATSD_FLUSH_INTERVAL is \"soon\": write whole seconds from 1 to 299";
    assert!(said.contains(expected), "{said}");
}
