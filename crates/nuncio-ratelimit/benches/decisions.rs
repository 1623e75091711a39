//! `make bench-ratelimit`: processor time of a decision, beside envoyproxy/ratelimit over the same
//! Redis and on the same requests, in turns; medians.

#![allow(clippy::unwrap_used)]

#[path = "../tests/support/mod.rs"]
mod support;

use std::fs;
use std::path::Path;
use std::process::{Child, Command};

use mimalloc::MiMalloc;
use nuncio_envoy_api::envoy::service::ratelimit::v3::RateLimitRequest;
use nuncio_ratelimit::{Options, Server};
use support::{
    Client, Redis, Reference, ask, client, descriptor, options, redis_settings, request, until,
};

/// nuncio's own: with another one it would be another program's time.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

/// As a gateway asks: for each client, and for all together.
const LIMITS: &str = "
domain: ambassador
descriptors:
  - {key: remote_address, rate_limit: {unit: hour, requests_per_unit: 1000}}
  - {key: generic_key, value: shop, rate_limit: {unit: hour, requests_per_unit: 4000000000}}
";

/// Envoy has one connection for each worker.
const CONNECTIONS: usize = 4;

const CLIENTS: usize = 1_000;
const ROUNDS: usize = 5;

fn main() {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .unwrap();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["serve", limits, grpc, http, redis] => runtime.block_on(serve(limits, grpc, http, redis)),
        // As `cargo bench` says it.
        _ => runtime.block_on(compare()),
    }
}

async fn serve(limits: &str, grpc: &str, http: &str, redis: &str) {
    let options = Options {
        listen: format!("127.0.0.1:{grpc}").parse().unwrap(),
        http: format!("127.0.0.1:{http}").parse().unwrap(),
        key_prefix: "n:".to_owned(),
        redis: (redis != "memory").then(|| redis_settings(redis.to_owned())),
        ..options(Path::new(limits))
    };
    let server = Server::bind(options).await.unwrap();
    server.run(std::future::pending()).await.unwrap();
}

/// This service in a process of its own.
struct Own {
    process: Child,
    grpc: u16,
}

impl Own {
    async fn start(limits: &Path, redis: &str) -> Self {
        let (grpc, http) = (nuncio_echo::free_port(), nuncio_echo::free_port());
        let process = Command::new(std::env::current_exe().unwrap())
            .arg("serve")
            .arg(limits)
            .args([&grpc.to_string(), &http.to_string(), redis])
            .spawn()
            .unwrap();
        let request = requests().remove(0);
        let client = client(grpc);
        let decided = async || ask(&mut client.clone(), &request).await.ok();
        until("it decides", decided).await;
        Self { process, grpc }
    }
}

impl Drop for Own {
    fn drop(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }
}

fn requests() -> Vec<RateLimitRequest> {
    let requests = (0..CLIENTS).map(|number| {
        let address = format!("10.0.{}.{}", number / 250, number % 250);
        let each = descriptor(&[("remote_address", &address)]);
        request(
            "ambassador",
            vec![each, descriptor(&[("generic_key", "shop")])],
        )
    });
    requests.collect()
}

async fn compare() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("limits.yaml"), LIMITS).unwrap();
    let redis = Redis::start().await;
    // Without statistics, which cost it something and are counted here.
    let settings = [("CACHE_KEY_PREFIX", "r:"), ("DISABLE_STATS", "true")];
    let reference = Reference::start(folder.path(), &redis, &settings).await;
    let in_redis = Own::start(folder.path(), &redis.url()).await;
    let in_memory = Own::start(folder.path(), "memory").await;
    let asked = [
        (
            "envoyproxy/ratelimit, Redis",
            reference.grpc,
            reference.id(),
        ),
        ("nuncio, Redis", in_redis.grpc, in_redis.process.id()),
        ("nuncio, memory", in_memory.grpc, in_memory.process.id()),
    ];
    println!(
        "| processor time of a decision | at once | µs | decisions of a core each second | times as many |"
    );
    println!("| --- | ---: | ---: | ---: | ---: |");
    for (at_once, decisions) in [(4, 4_000), (64, 40_000), (256, 40_000)] {
        let mut times = vec![Vec::new(); asked.len()];
        for _ in 0..ROUNDS {
            for ((_, port, process), times) in asked.iter().zip(&mut times) {
                let clients: Vec<_> = (0..CONNECTIONS).map(|_| client(*port)).collect();
                // Connections are made before.
                ask_all(&clients, at_once, at_once * 10).await;
                let before = ticks(*process);
                ask_all(&clients, at_once, decisions).await;
                let microseconds = (ticks(*process) - before) * 10_000.0;
                times.push(microseconds / decisions as f64);
            }
        }
        let medians: Vec<_> = times.into_iter().map(median).collect();
        for ((name, ..), median) in asked.iter().zip(&medians) {
            println!(
                "| {name} | {at_once} | {median:.1} | {:.0} | {:.1} |",
                1e6 / median,
                medians[0] / median
            );
        }
    }
}

async fn ask_all(clients: &[Client], at_once: usize, decisions: usize) {
    let tasks = (0..at_once).map(|task| {
        let mut client = clients[task % clients.len()].clone();
        tokio::spawn(async move {
            let requests = requests();
            for turn in 0..decisions / at_once {
                let request = &requests[(task * 7 + turn) % requests.len()];
                ask(&mut client, request).await.unwrap();
            }
        })
    });
    for task in tasks.collect::<Vec<_>>() {
        task.await.unwrap();
    }
}

/// Processor time of a process and its threads, in hundredths of a second: what Linux counts
/// everywhere.
fn ticks(process: u32) -> f64 {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).unwrap();
    let fields = stat.rsplit_once(") ").unwrap().1.split(' ');
    // utime and stime.
    fields
        .skip(11)
        .take(2)
        .map(|field| field.parse::<f64>().unwrap())
        .sum()
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
