//! `nuncio ratelimit` as a program; what it decides is tested in its crate.

#![allow(clippy::unwrap_used)]

mod support;

use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use clap::Parser;
use nuncio::cli::{Cli, Command as Parsed};
use nuncio_echo::client::{Client, Protocol, Target};
use nuncio_echo::{Echo, free_port};
use rustix::process::{Pid, Signal, kill_process};
use support::Gateway;

const LIMITS: &str = "
domain: ambassador
descriptors: [{key: generic_key, rate_limit: {unit: minute, requests_per_unit: 10}}]
";

fn start(limits: &Path, listen: u16, http: u16) -> Child {
    Command::new(env!("CARGO_BIN_EXE_nuncio"))
        .arg("ratelimit")
        .arg("--limits")
        .arg(limits)
        .args(["--listen", &format!("127.0.0.1:{listen}")])
        .args(["--http", &format!("127.0.0.1:{http}")])
        .stdin(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

#[tokio::test]
async fn it_serves_and_ends_in_order() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("limits.yaml"), LIMITS).unwrap();
    let http = free_port();
    let child = start(folder.path(), free_port(), http);
    let end = Instant::now() + Duration::from_secs(60);
    while !healthy(http).await {
        assert!(Instant::now() < end, "it never got ready");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let id = Pid::from_raw(i32::try_from(child.id()).unwrap()).unwrap();
    kill_process(id, Signal::TERM).unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{output:?}");
}

async fn healthy(port: u16) -> bool {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let Ok(mut stream) = tokio::net::TcpStream::connect(("127.0.0.1", port)).await else {
        return false;
    };
    let request = b"GET /healthcheck HTTP/1.0\r\nhost: localhost\r\n\r\n";
    stream.write_all(request).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer.starts_with("HTTP/1.0 200")
}

/// `nuncio run` with limits counts itself, for as long as no RateLimitService says who does. When it has
/// died, requests pass until the next one is there.
#[tokio::test]
async fn within_the_gateway_it_counts_where_nobody_else_does() {
    let web = Echo::new("web");
    let web = web.start(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).await;
    let web = web.unwrap();
    let limits = tempfile::tempdir().unwrap();
    let file = limits.path().join("limits.yaml");
    let limit = |n: u32| {
        format!(
            "domain: ambassador\n\
             descriptors: [{{key: generic_key, rate_limit: {{unit: year, requests_per_unit: {n}}}}}]\n"
        )
    };
    fs::write(&file, limit(0)).unwrap();
    let port = free_port();
    let manifests = format!(
        "apiVersion: getambassador.io/v3alpha1\nkind: Listener\nmetadata: {{name: http}}\n\
         spec: {{port: {port}, protocol: HTTP, securityModel: XFP, \
         hostBinding: {{namespace: {{from: ALL}}}}}}\n---\n\
         apiVersion: getambassador.io/v3alpha1\nkind: Host\nmetadata: {{name: any}}\n\
         spec: {{hostname: \"*\", requestPolicy: {{insecure: {{action: Route}}}}}}\n---\n\
         apiVersion: getambassador.io/v3alpha1\nkind: Mapping\nmetadata: {{name: web}}\n\
         spec: {{hostname: \"*\", prefix: /, service: \"{}\", \
         labels: {{ambassador: [{{a: [{{generic_key: {{value: a}}}}]}}]}}}}\n",
        web.address()
    );
    let folder = limits.path().to_str().unwrap();
    let variables = [("NUNCIO_LIMITS", folder)];
    let mut gateway = Gateway::start_with(&[("base.yaml", manifests)], &variables).await;
    let target = Target::cleartext(SocketAddr::from((Ipv4Addr::LOCALHOST, port)));
    let status = async || {
        let mut client = Client::connect(&target, Protocol::Http1).await.unwrap();
        let answer = client.get("a", "/").await.unwrap();
        answer.status.as_u16()
    };
    gateway.until(async || status().await == 429).await;
    let (_, metrics) = gateway.admin_get("/metrics").await.unwrap();
    let over =
        "ratelimit_service_rate_limit_over_limit{domain=\"ambassador\",key1=\"generic_key\"}";
    assert!(metrics.contains(over), "{metrics}");

    // Whoever is named counts, though nobody answers there.
    let named = "apiVersion: getambassador.io/v3alpha1\nkind: RateLimitService\n\
         metadata: {name: limits}\nspec: {service: \"127.0.0.1:1\", protocol_version: v3}\n";
    gateway.write("limits.yaml", named);
    gateway.until(async || status().await == 200).await;
    gateway.remove("limits.yaml");
    gateway.until(async || status().await == 429).await;

    gateway.kill9().await;
    gateway.until(async || status().await == 200).await;
    gateway.restart().await;
    gateway.until(async || status().await == 429).await;

    fs::write(&file, limit(1_000_000)).unwrap();
    gateway.until(async || status().await == 200).await;
}

#[test]
fn a_port_that_is_taken_is_said() {
    let folder = tempfile::tempdir().unwrap();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let output = start(folder.path(), port, free_port());
    let output = output.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let log = String::from_utf8(output.stderr).unwrap();
    assert!(
        log.contains(&format!("cannot listen on 127.0.0.1:{port}")),
        "{log}"
    );
}

#[test]
fn the_command_of_the_documentation_is_one() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/ratelimit.md");
    let text = fs::read_to_string(path).unwrap().replace("\\\n", " ");
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix("    nuncio ratelimit "))
        .unwrap();
    let words = ["nuncio", "ratelimit"]
        .into_iter()
        .chain(line.split_whitespace());
    let Parsed::Ratelimit(args) = Cli::try_parse_from(words).unwrap().command else {
        panic!("another command");
    };
    assert_eq!(args.limits, Path::new("./limits"));
    assert_eq!(
        args.counting.redis.as_deref(),
        Some("redis://redis.example:6379")
    );
}
