//! What Envoy says of itself at the moment. When it does not answer, there is nothing to show.

use std::collections::{BTreeMap, HashMap};

use http::StatusCode;

use crate::supervisor::AdminClient;

/// Of clusters, by their name in statistics.
pub(super) type Stats = HashMap<String, Counts>;

/// Loggers by their level.
pub(super) type LogLevels = BTreeMap<String, Vec<String>>;

/// Of one cluster; what Envoy has not counted yet is absent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Counts {
    pub(super) healthy: Option<u64>,
    pub(super) total: Option<u64>,
    pub(super) update_attempts: Option<u64>,
    pub(super) update_successes: Option<u64>,
    pub(super) completed: Option<u64>,
    pub(super) client_errors: Option<u64>,
    pub(super) server_errors: Option<u64>,
}

impl Counts {
    fn field(&mut self, name: &str) -> Option<&mut Option<u64>> {
        Some(match name {
            "membership_healthy" => &mut self.healthy,
            "membership_total" => &mut self.total,
            "update_attempt" => &mut self.update_attempts,
            "update_success" => &mut self.update_successes,
            "upstream_rq_completed" => &mut self.completed,
            "upstream_rq_4xx" => &mut self.client_errors,
            "upstream_rq_5xx" => &mut self.server_errors,
            _ => return None,
        })
    }
}

/// The statistics above of all clusters, and no others: of 10,000 clusters Envoy has millions.
const STATS: &str = "/stats?filter=%5Ecluster%5C..%2A%5C.\
    %28membership_healthy%7Cmembership_total%7Cupdate_attempt%7Cupdate_success%7C\
    upstream_rq_completed%7Cupstream_rq_%5B45%5Dxx%29%24";

pub(super) async fn stats(envoy: &AdminClient) -> Option<Stats> {
    match envoy.get(STATS).await {
        Ok((StatusCode::OK, body)) => Some(read_stats(&String::from_utf8_lossy(&body))),
        _ => None,
    }
}

/// `cluster.<name>.<counter>: <value>`, a line each.
fn read_stats(text: &str) -> Stats {
    let mut stats = Stats::new();
    for line in text.lines() {
        let Some((path, value)) = line.split_once(": ") else {
            continue;
        };
        let Some((cluster, counter)) = path
            .strip_prefix("cluster.")
            .and_then(|path| path.rsplit_once('.'))
        else {
            continue;
        };
        let Ok(value) = value.parse() else { continue };
        let counts = match stats.get_mut(cluster) {
            Some(counts) => counts,
            None => stats.entry(cluster.to_owned()).or_default(),
        };
        if let Some(field) = counts.field(counter) {
            *field = Some(value);
        }
    }
    stats
}

/// Of clusters, by name.
pub(super) type Endpoints = HashMap<String, Vec<Endpoint>>;

/// An endpoint as Envoy has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Endpoint {
    pub(super) address: String,
    /// Why it gets no requests.
    pub(super) problems: Vec<&'static str>,
}

pub(super) async fn endpoints(envoy: &AdminClient) -> Option<Endpoints> {
    match envoy.get("/clusters").await {
        Ok((StatusCode::OK, body)) => Some(read_endpoints(&String::from_utf8_lossy(&body))),
        _ => None,
    }
}

/// `<cluster>::<address>::health_flags::/failed_active_hc/…`, a line each, among others.
fn read_endpoints(text: &str) -> Endpoints {
    const FLAGS: [(&str, &str); 3] = [
        ("failed_active_hc", "health check failed"),
        ("failed_outlier_check", "left out: it failed too often"),
        ("failed_eds_health", "not ready"),
    ];
    let mut endpoints = Endpoints::new();
    for line in text.lines() {
        let Some((place, flags)) = line.split_once("::health_flags::") else {
            continue;
        };
        // An IPv6 address may have two colons in a row; the name of a cluster of nuncio has none.
        let Some((cluster, address)) = place.split_once("::") else {
            continue;
        };
        let flags = FLAGS.iter().filter(|(flag, _)| flags.contains(flag));
        let endpoint = Endpoint {
            address: address.to_owned(),
            problems: flags.map(|(_, words)| *words).collect(),
        };
        endpoints
            .entry(cluster.to_owned())
            .or_default()
            .push(endpoint);
    }
    endpoints
}

pub(super) async fn log_levels(envoy: &AdminClient) -> LogLevels {
    match envoy.post("/logging").await {
        Ok((StatusCode::OK, body)) => read_log_levels(&String::from_utf8_lossy(&body)),
        _ => LogLevels::new(),
    }
}

/// `  <logger>: <level>`, a line each.
fn read_log_levels(text: &str) -> LogLevels {
    let mut levels = LogLevels::new();
    for line in text.lines() {
        if let Some((logger, level)) = line.trim().split_once(": ") {
            let loggers = levels.entry(level.to_owned()).or_default();
            loggers.push(logger.to_owned());
        }
    }
    levels
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statistics_are_read_by_cluster() {
        let stats = read_stats(
            "cluster.quote.default.membership_total: 2\n\
             cluster.quote.default.upstream_rq_5xx: 1\n\
             cluster.other.upstream_rq_completed: 7\n\
             cluster.other.something_else: 7\n\
             nonsense\n",
        );
        let quote = Counts {
            total: Some(2),
            server_errors: Some(1),
            ..Counts::default()
        };
        assert_eq!(stats["quote.default"], quote);
        assert_eq!(stats["other"].completed, Some(7));
    }

    #[test]
    fn endpoints_are_read_with_what_keeps_requests_from_them() {
        let endpoints = read_endpoints(
            "a::observability_name::a\n\
             a::10.0.0.1:80::cx_active::0\n\
             a::10.0.0.1:80::health_flags::healthy\n\
             a::[2001:db8::1]:80::health_flags::/failed_active_hc/failed_eds_health\n",
        );
        let of = |address: &str, problems: &[&'static str]| Endpoint {
            address: address.to_owned(),
            problems: problems.to_vec(),
        };
        assert_eq!(
            endpoints["a"],
            [
                of("10.0.0.1:80", &[]),
                of("[2001:db8::1]:80", &["health check failed", "not ready"]),
            ]
        );
    }

    #[test]
    fn loggers_are_read_by_level() {
        let levels = read_log_levels("active loggers:\n  admin: warning\n  upstream: debug\n");
        assert_eq!(levels["warning"], ["admin"]);
        assert_eq!(levels["debug"], ["upstream"]);
    }
}
