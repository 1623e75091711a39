//! The same answers and the same counts as envoyproxy/ratelimit, on random limits and requests.
//!
//! `NUNCIO_RATELIMIT_SEED` draws others.

#![allow(clippy::unwrap_used)]

mod support;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::num::NonZero;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use fastrand::Rng;
use nuncio_envoy_api::envoy::extensions::common::ratelimit::v3::RateLimitDescriptor;
use nuncio_envoy_api::envoy::extensions::common::ratelimit::v3::rate_limit_descriptor::RateLimitOverride;
use nuncio_envoy_api::envoy::service::ratelimit::v3::{RateLimitRequest, RateLimitResponse};
use nuncio_envoy_api::google::protobuf::UInt64Value;
use nuncio_ratelimit::{Headers, Options};
use support::{
    Redis, Reference, Service, ask, client, descriptor, get, options, redis_settings, request,
};

const DOMAINS: usize = 20;
const REQUESTS: usize = 2_000;

const KEYS: [&str; 4] = ["path", "user", "path_x", "us*"];
const VALUES: [&str; 9] = ["", "", "x", "x_y", "x*", "*", "/fo*", "/foo", "/foo/*"];
const ASKED: [&str; 8] = ["", "x", "x_y", "xyz", "/foo", "/foo/a", "/fox", "other"];
const UNITS: [&str; 5] = ["hour", "DAY", "week", "Month", "year"];
const NAMES: [&str; 3] = ["one", "two", "three"];

/// Entries that lead to a limit, as the file has them.
type Path = Vec<(&'static str, &'static str)>;

/// Writes a level of descriptors.
fn limits(random: &mut Rng, above: &Path, depth: usize, text: &mut String, paths: &mut Vec<Path>) {
    let indent = 2 + 4 * above.len();
    let mut seen = Vec::new();
    for _ in 0..random.usize(1..5) {
        let key = *random.choice(&KEYS).unwrap();
        let value = *random.choice(&VALUES).unwrap();
        let composite = match value {
            "" => key.to_owned(),
            value => format!("{key}_{value}"),
        };
        if seen.contains(&composite) {
            continue;
        }
        let pad = " ".repeat(indent);
        writeln!(text, "{pad}- key: \"{key}\"").unwrap();
        if !value.is_empty() {
            writeln!(text, "{pad}  value: \"{value}\"").unwrap();
        }
        for flag in [
            "shadow_mode",
            "quota_mode",
            "detailed_metric",
            "value_to_metric",
        ] {
            if random.u8(..8) == 0 {
                writeln!(text, "{pad}  {flag}: true").unwrap();
            }
        }
        if composite.ends_with('*') && random.bool() {
            writeln!(text, "{pad}  share_threshold: true").unwrap();
        }
        seen.push(composite);
        let path = [above.as_slice(), &[(key, value)]].concat();
        if random.u8(..6) > 0 {
            paths.push(path.clone());
            writeln!(text, "{pad}  rate_limit:").unwrap();
            if random.u8(..8) == 0 {
                writeln!(text, "{pad}    unlimited: true").unwrap();
            } else {
                let unit = random.choice(&UNITS).unwrap();
                writeln!(text, "{pad}    unit: {unit}").unwrap();
                writeln!(text, "{pad}    requests_per_unit: {}", random.u32(..6)).unwrap();
            }
            let name = random.choice(&NAMES).unwrap();
            let replaced = random.choice(&NAMES).unwrap();
            if random.bool() {
                writeln!(text, "{pad}    name: {name}").unwrap();
            }
            if random.u8(..4) == 0 && replaced != name {
                writeln!(text, "{pad}    replaces: [{{name: {replaced}}}]").unwrap();
            }
        }
        if depth > 0 && random.bool() {
            writeln!(text, "{pad}  descriptors:").unwrap();
            limits(random, &path, depth - 1, text, paths);
        }
    }
}

/// Mostly one that leads to a limit.
fn random_descriptor(random: &mut Rng, paths: &[Path]) -> RateLimitDescriptor {
    let path = random.choice(paths).cloned();
    let path = path.filter(|_| random.u8(..4) > 0).unwrap_or_else(|| {
        let entries = 0..random.usize(1..4);
        let entry = |_| (*random.choice(&KEYS).unwrap(), "");
        entries.map(entry).collect()
    });
    let entries: Vec<_> = path
        .iter()
        .map(|(key, value)| {
            let asked = *random.choice(&ASKED).unwrap();
            let value = match value.strip_suffix('*') {
                Some(start) => format!("{start}{asked}"),
                None if value.is_empty() => asked.to_owned(),
                None => (*value).to_owned(),
            };
            (*key, value)
        })
        .collect();
    let entries: Vec<_> = entries
        .iter()
        .map(|(key, value)| (*key, value.as_str()))
        .collect();
    let mut descriptor = descriptor(&entries);
    if random.u8(..6) == 0 {
        descriptor.hits_addend = Some(UInt64Value {
            value: random.u64(..4),
        });
    }
    if random.u8(..10) == 0 {
        descriptor.limit = Some(RateLimitOverride {
            requests_per_unit: random.u32(..8),
            // An hour to a year.
            unit: random.i32(3..=6),
        });
    }
    descriptor
}

fn random_request(random: &mut Rng, domain: usize, paths: &[Path]) -> RateLimitRequest {
    let descriptors = (0..random.usize(1..4)).map(|_| random_descriptor(random, paths));
    let descriptors = descriptors.collect();
    let domain = match random.u8(..40) {
        0 => "unknown".to_owned(),
        _ => format!("domain-{domain}"),
    };
    let mut request = request(&domain, descriptors);
    request.hits_addend = random.u32(..3);
    request
}

/// Without what differs when a second passes between two who are asked.
fn timeless(mut response: RateLimitResponse) -> RateLimitResponse {
    for status in &mut response.statuses {
        if let Some(until_reset) = &mut status.duration_until_reset {
            assert!(until_reset.seconds > 0 && until_reset.nanos == 0);
            until_reset.seconds = 1;
        }
    }
    if let [.., reset] = response.response_headers_to_add.as_mut_slice() {
        assert!(reset.value.parse::<u64>().unwrap() > 0);
        reset.value.clear();
    }
    response
}

fn hour() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    since.as_secs() / 3600
}

/// Counters of rules as envoyproxy/ratelimit shows them: by metric, domain and first two entries,
/// without those that are zero.
fn counts(text: &str) -> BTreeMap<String, u64> {
    let mut counts = BTreeMap::new();
    for line in text.lines() {
        let rest = line.strip_prefix("ratelimit_service_rate_limit_");
        let Some((name, rest)) = rest.and_then(|rest| rest.split_once('{')) else {
            continue;
        };
        let (labels, value) = rest.rsplit_once("} ").unwrap();
        let labels = labels.split(',').filter(|label| {
            let name = label.split('=').next().unwrap();
            ["domain", "key1", "key2"].contains(&name)
        });
        let labels: Vec<_> = labels.collect();
        let name = match name {
            // Its expressions for two levels have no end, and take these for the others too.
            "over_limit_with_local_cache" if labels.len() == 3 => "over_limit",
            "total_hits" | "over_limit" | "near_limit" | "within_limit" | "shadow_mode" => name,
            _ => continue,
        };
        let value = value.parse::<f64>().unwrap() as u64;
        if value > 0 {
            *counts
                .entry(format!("{name} {}", labels.join(" ")))
                .or_default() += value;
        }
    }
    counts
}

#[tokio::test(flavor = "multi_thread")]
async fn random_limits_and_requests_get_the_same_answers() {
    let seed = std::env::var("NUNCIO_RATELIMIT_SEED").map_or(9, |seed| seed.parse().unwrap());
    let mut random = Rng::with_seed(seed);
    let folder = tempfile::tempdir().unwrap();
    let mut paths = vec![Vec::new(); DOMAINS];
    for (domain, paths) in paths.iter_mut().enumerate() {
        let mut text = format!("domain: domain-{domain}\ndescriptors:\n");
        limits(&mut random, &Path::new(), 2, &mut text, paths);
        fs::write(folder.path().join(format!("{domain}.yaml")), text).unwrap();
    }
    let requests: Vec<_> = (0..REQUESTS)
        .map(|_| {
            let domain = random.usize(..DOMAINS);
            random_request(&mut random, domain, &paths[domain])
        })
        .collect();
    // All that are asked must be asked in one window.
    while !agree(folder.path(), &requests).await {}
}

/// Whether it was all in one window; else what differs means nothing.
async fn agree(limits: &std::path::Path, requests: &[RateLimitRequest]) -> bool {
    let began = hour();
    let redis = Redis::start().await;
    let common = [
        ("USE_PROMETHEUS", "true"),
        ("STATS_FLUSH_INTERVAL", "100ms"),
        ("LIMIT_RESPONSE_HEADERS_ENABLED", "true"),
    ];
    let cached = [
        ("CACHE_KEY_PREFIX", "r2:"),
        ("LOCAL_CACHE_SIZE_IN_BYTES", "10000000"),
    ];
    let plain = Reference::start(
        limits,
        &redis,
        &[&common[..], &[("CACHE_KEY_PREFIX", "r1:")]].concat(),
    )
    .await;
    let with_cache = Reference::start(limits, &redis, &[&common[..], &cached].concat()).await;
    let options = |prefix: &str, cache: Option<usize>| {
        let mut settings = redis_settings(redis.url());
        settings.local_cache = cache.map(|size| NonZero::new(size).unwrap());
        Options {
            key_prefix: prefix.to_owned(),
            headers: Some(Headers::default()),
            redis: Some(settings),
            ..options(limits)
        }
    };
    let memory = Options {
        redis: None,
        ..options("", None)
    };
    let services = [
        ("in memory", Service::ready(memory).await, false),
        (
            "in Redis",
            Service::ready(options("n1:", None)).await,
            false,
        ),
        (
            "with a local cache",
            Service::ready(options("n2:", Some(100_000))).await,
            true,
        ),
    ];
    let mut references = [&plain, &with_cache].map(|reference| client(reference.grpc));
    let mut clients: Vec<_> = services
        .iter()
        .map(|(_, service, _)| client(service.grpc.port()))
        .collect();
    let mut over = 0;
    for request in requests {
        let mut expected = Vec::new();
        for reference in &mut references {
            expected.push(timeless(ask(reference, request).await.unwrap()));
        }
        for (client, (name, _, cached)) in clients.iter_mut().zip(&services) {
            let answer = timeless(ask(client, request).await.unwrap());
            if hour() != began {
                return false;
            }
            let expected = &expected[usize::from(*cached)];
            assert_eq!(&answer, expected, "{name}, asked {request:?}");
            over += usize::from(answer.overall_code == 2);
        }
    }
    // Else it would say little.
    assert!(over > requests.len() / 2, "{over}");

    for (name, service, cached) in &services {
        let reference = [&plain, &with_cache][usize::from(*cached)];
        let counted = counts(&service.get("/metrics").await.1);
        // It counts every now and then.
        let end = Instant::now() + Duration::from_secs(60);
        loop {
            let expected = counts(&get(reference.prometheus, "/metrics").await.1);
            if counted == expected {
                break;
            }
            if Instant::now() > end {
                assert_eq!(counted, expected, "{name}");
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
    true
}

#[tokio::test(flavor = "multi_thread")]
async fn both_count_in_one_redis() {
    let folder = tempfile::tempdir().unwrap();
    let limits = "
domain: shop
descriptors:
  - key: user
    descriptors: [{key: path, value: /files/*, share_threshold: true, rate_limit: {unit: year, requests_per_unit: 100}}]
";
    fs::write(folder.path().join("limits.yaml"), limits).unwrap();
    let redis = Redis::start().await;
    let reference = Reference::start(folder.path(), &redis, &[]).await;
    let service = Service::ready(Options {
        redis: Some(redis_settings(redis.url())),
        ..options(folder.path())
    })
    .await;
    let mut clients = [client(reference.grpc), client(service.grpc.port())];
    for turn in 1..=100 {
        let entries = [("user", "a"), ("path", &*format!("/files/{turn}"))];
        let request = request("shop", vec![descriptor(&entries)]);
        let answer = ask(&mut clients[turn % 2], &request).await.unwrap();
        let remaining = usize::try_from(answer.statuses[0].limit_remaining).unwrap();
        assert_eq!(remaining, 100 - turn);
    }
}
