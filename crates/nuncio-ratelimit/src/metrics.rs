//! What is counted, and `/metrics`.
//!
//! The names are those of envoyproxy/ratelimit, so that its users' dashboards go on. They are
//! written here and not with prometheus-client, which would add `_total` to every counter.

use std::collections::{BTreeMap, HashMap};
use std::fmt::Write as _;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

/// How many series may come of what requests carry: what clients send must not fill the memory.
const MAX_DYNAMIC: usize = 10_000;

/// Seconds; a decision is some microseconds in memory and a round trip with Redis.
const BUCKETS: [f64; 10] = [
    0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.1, 1.0,
];

/// Everything that is counted.
#[derive(Debug, Default)]
pub(crate) struct Metrics {
    rules: RwLock<HashMap<Path, Arc<RuleStats>>>,
    dynamic: RwLock<HashMap<Path, Arc<RuleStats>>>,
    unknown_domains: RwLock<BTreeMap<String, u64>>,
    pub(crate) requests: AtomicU64,
    pub(crate) service_errors: AtomicU64,
    pub(crate) redis_errors: AtomicU64,
    pub(crate) shadowed: AtomicU64,
    pub(crate) loads: AtomicU64,
    pub(crate) failed_loads: AtomicU64,
    pub(crate) redis_up: AtomicBool,
    buckets: [AtomicU64; BUCKETS.len()],
    nanoseconds: AtomicU64,
}

/// A domain and the entries of a descriptor, as `key` or `key_value`.
type Path = (String, Vec<String>);

/// The hits of one rule.
#[derive(Debug, Default)]
pub(crate) struct RuleStats {
    pub(crate) total_hits: AtomicU64,
    pub(crate) over_limit: AtomicU64,
    pub(crate) near_limit: AtomicU64,
    pub(crate) over_limit_with_local_cache: AtomicU64,
    pub(crate) within_limit: AtomicU64,
    pub(crate) shadow_mode: AtomicU64,
}

pub(crate) fn add(counter: &AtomicU64, hits: u64) {
    counter.fetch_add(hits, Ordering::Relaxed);
}

impl Metrics {
    /// The counters of a rule. They go on when the rules are read again.
    pub(crate) fn rule(&self, domain: &str, path: &[String]) -> Arc<RuleStats> {
        let path = (domain.to_owned(), path.to_vec());
        let mut rules = self.rules.write().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(rules.entry(path).or_default())
    }

    /// The counters of what requests carry, or `otherwise` when there are too many of them.
    pub(crate) fn dynamic(
        &self,
        domain: &str,
        path: Vec<String>,
        otherwise: &Arc<RuleStats>,
    ) -> Arc<RuleStats> {
        let path = (domain.to_owned(), path);
        for known in [&self.rules, &self.dynamic] {
            let known = known.read().unwrap_or_else(PoisonError::into_inner);
            if let Some(stats) = known.get(&path) {
                return Arc::clone(stats);
            }
        }
        let mut dynamic = self.dynamic.write().unwrap_or_else(PoisonError::into_inner);
        if dynamic.len() >= MAX_DYNAMIC && !dynamic.contains_key(&path) {
            return Arc::clone(otherwise);
        }
        Arc::clone(dynamic.entry(path).or_default())
    }

    pub(crate) fn unknown_domain(&self, domain: &str) {
        let mut domains = self
            .unknown_domains
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(hits) = domains.get_mut(domain) {
            *hits += 1;
        } else if domains.len() < MAX_DYNAMIC {
            domains.insert(domain.to_owned(), 1);
        }
    }

    pub(crate) fn answered_after(&self, time: Duration) {
        let seconds = time.as_secs_f64();
        if let Some(bucket) = BUCKETS.iter().position(|bound| seconds <= *bound) {
            add(&self.buckets[bucket], 1);
        }
        let nanoseconds = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        add(&self.nanoseconds, nanoseconds);
        add(&self.requests, 1);
    }

    /// Everything in the text format of Prometheus.
    pub(crate) fn text(&self, redis: bool) -> String {
        let mut text = Text::default();
        self.rules_text(&mut text);
        let name = "ratelimit_service_rate_limit_domain_not_found";
        text.family(name, "counter", "Descriptors of a domain that no file has.");
        let domains = self
            .unknown_domains
            .read()
            .unwrap_or_else(PoisonError::into_inner);
        for (domain, hits) in &*domains {
            text.sample(name, &[("domain", domain)], hits);
        }
        let name = "ratelimit_service_should_rate_limit_error";
        let help = "Requests that were answered with an error, by what was wrong.";
        text.family(name, "counter", help);
        for (kind, counter) in [
            ("redis_error", &self.redis_errors),
            ("service_error", &self.service_errors),
        ] {
            text.sample(name, &[("err_type", kind)], counter.load(Ordering::Relaxed));
        }
        for (name, help, counter) in [
            (
                "ratelimit_service_global_shadow_mode",
                "Requests over a limit that passed because of --shadow-mode.",
                &self.shadowed,
            ),
            (
                "ratelimit_service_config_load_success",
                "How often the files of limits were read and all of them taken.",
                &self.loads,
            ),
            (
                "ratelimit_service_config_load_error",
                "How often one of them was wrong.",
                &self.failed_loads,
            ),
        ] {
            text.family(name, "counter", help);
            text.sample(name, &[], counter.load(Ordering::Relaxed));
        }
        if redis {
            let name = "ratelimit_redis_up";
            text.family(name, "gauge", "Whether there is a connection to Redis.");
            text.sample(name, &[], u8::from(self.redis_up.load(Ordering::Relaxed)));
        }
        self.times_text(&mut text);
        text.0
    }

    fn rules_text(&self, text: &mut Text) {
        let rules = self.rules.read().unwrap_or_else(PoisonError::into_inner);
        let dynamic = self.dynamic.read().unwrap_or_else(PoisonError::into_inner);
        let sorted: BTreeMap<_, _> = rules.iter().chain(&*dynamic).collect();
        type Counter = fn(&RuleStats) -> &AtomicU64;
        let families: [(&str, &str, Counter); 6] = [
            ("total_hits", "Hits of a rule.", |stats| &stats.total_hits),
            ("over_limit", "Hits over its limit.", |stats| {
                &stats.over_limit
            }),
            ("near_limit", "Hits near or at its limit.", |stats| {
                &stats.near_limit
            }),
            (
                "over_limit_with_local_cache",
                "Hits over its limit that Redis was not asked about.",
                |stats| &stats.over_limit_with_local_cache,
            ),
            ("within_limit", "Hits within its limit.", |stats| {
                &stats.within_limit
            }),
            (
                "shadow_mode",
                "Hits over its limit that passed because of its shadow_mode.",
                |stats| &stats.shadow_mode,
            ),
        ];
        for (family, help, counter) in families {
            let name = format!("ratelimit_service_rate_limit_{family}");
            text.family(&name, "counter", help);
            for ((domain, path), stats) in &sorted {
                let keys: Vec<_> = (1..=path.len())
                    .map(|level| format!("key{level}"))
                    .collect();
                let mut labels = vec![("domain", domain.as_str())];
                labels.extend(
                    keys.iter()
                        .zip(path)
                        .map(|(key, entry)| (key.as_str(), entry.as_str())),
                );
                text.sample(&name, &labels, counter(stats).load(Ordering::Relaxed));
            }
        }
    }

    fn times_text(&self, text: &mut Text) {
        const METHOD: (&str, &str) = ("grpc_method", "ShouldRateLimit");
        let requests = self.requests.load(Ordering::Relaxed);
        let name = "ratelimit_service_total_requests";
        text.family(name, "counter", "Requests, by method.");
        text.sample(name, &[METHOD], requests);
        let name = "ratelimit_service_response_time_seconds";
        text.family(name, "histogram", "Time to the answer, by method.");
        let bucket = format!("{name}_bucket");
        let mut below = 0;
        for (bound, count) in BUCKETS.iter().zip(&self.buckets) {
            below += count.load(Ordering::Relaxed);
            text.sample(&bucket, &[METHOD, ("le", &bound.to_string())], below);
        }
        // What was counted since `requests` was read must not make the buckets shrink.
        let requests = requests.max(below);
        text.sample(&bucket, &[METHOD, ("le", "+Inf")], requests);
        let seconds = Duration::from_nanos(self.nanoseconds.load(Ordering::Relaxed));
        text.sample(&format!("{name}_sum"), &[METHOD], seconds.as_secs_f64());
        text.sample(&format!("{name}_count"), &[METHOD], requests);
    }
}

/// Prometheus's text format, version 0.0.4.
#[derive(Default)]
struct Text(String);

impl Text {
    fn family(&mut self, name: &str, kind: &str, help: &str) {
        self.line(format_args!("# HELP {name} {help}"));
        self.line(format_args!("# TYPE {name} {kind}"));
    }

    fn sample(&mut self, name: &str, labels: &[(&str, &str)], value: impl std::fmt::Display) {
        self.0.push_str(name);
        for (index, (label, text)) in labels.iter().enumerate() {
            self.0.push(if index == 0 { '{' } else { ',' });
            self.0.push_str(label);
            self.0.push_str("=\"");
            for character in text.chars() {
                match character {
                    '\\' => self.0.push_str("\\\\"),
                    '"' => self.0.push_str("\\\""),
                    '\n' => self.0.push_str("\\n"),
                    other => self.0.push(other),
                }
            }
            self.0.push('"');
        }
        if !labels.is_empty() {
            self.0.push('}');
        }
        self.line(format_args!(" {value}"));
    }

    fn line(&mut self, line: std::fmt::Arguments<'_>) {
        writeln!(self.0, "{line}").expect("invariant: a string takes whatever is written");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_clients_send_makes_no_more_than_so_many_series() {
        let metrics = Metrics::default();
        let rule = metrics.rule("shop", &["user".to_owned()]);
        for user in 0..=MAX_DYNAMIC {
            let path = vec![format!("user_{user}")];
            add(&metrics.dynamic("shop", path, &rule).total_hits, 1);
            metrics.unknown_domain(&user.to_string());
        }
        assert_eq!(rule.total_hits.load(Ordering::Relaxed), 1);
        let text = metrics.text(false);
        let of = |name: &str| text.lines().filter(|line| line.starts_with(name)).count();
        assert_eq!(
            of("ratelimit_service_rate_limit_total_hits{"),
            MAX_DYNAMIC + 1
        );
        assert_eq!(
            of("ratelimit_service_rate_limit_domain_not_found{"),
            MAX_DYNAMIC
        );
    }

    #[test]
    fn values_are_escaped() {
        let metrics = Metrics::default();
        metrics.rule("a\"b", &["c\\d\ne".to_owned()]);
        let sample = r#"ratelimit_service_rate_limit_total_hits{domain="a\"b",key1="c\\d\ne"} 0"#;
        let text = metrics.text(true);
        assert!(text.lines().any(|line| line == sample), "{text}");
    }
}
