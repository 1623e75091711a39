//! `nuncio ratelimit` as a program; what it decides is tested in its crate.

#![allow(clippy::unwrap_used)]

use std::fs;
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use clap::Parser;
use nuncio::cli::{Cli, Command as Parsed};
use nuncio_echo::free_port;
use rustix::process::{Pid, Signal, kill_process};

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
    assert_eq!(args.redis.as_deref(), Some("redis://redis.example:6379"));
}
