//! `system`, `envoy_status` and `loginfo`.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use serde_json::{Value, json};

use super::report;
use super::scene::Scene;
use crate::identity::VERSION;
use crate::supervisor;

pub(super) fn system(scene: &Scene) -> Value {
    let identity = &scene.identity;
    let status = env_status(scene);
    let failures: Vec<&Value> = status
        .values()
        .filter(|area| area["status"] == false)
        .map(|area| &area["specifics"][0][1])
        .collect();
    json!({
        "version": VERSION,
        "hostname": identity.hostname,
        "ambassador_id": identity.scope.ambassador_id,
        "ambassador_namespace": identity.scope.namespace,
        "single_namespace": identity.scope.single_namespace,
        "knative_enabled": false,
        "statsd_enabled": identity.statsd,
        "endpoints_enabled": true,
        "cluster_id": identity.cluster_id,
        "boot_time": httpdate(identity.started_at),
        "hr_uptime": human(identity.started.elapsed()),
        "latest_snapshot": scene.served.change.to_string(),
        "env_good": failures.is_empty(),
        "env_failures": failures,
        "env_status": status,
        "debug_mode": false,
    })
}

/// What Emissary calls the state of its environment, by area.
fn env_status(scene: &Scene) -> BTreeMap<&'static str, Value> {
    let area =
        |status: bool, text: String| json!({ "status": status, "specifics": [[status, text]] });
    let count = |n: usize, what: &str| match n {
        0 => area(false, format!("No {what} are active")),
        n => area(true, format!("{n} {what} are active")),
    };
    let errors = report::errors(scene).len();
    BTreeMap::from([
        (
            "Error check",
            match errors {
                0 => area(true, "No errors logged".to_owned()),
                n => area(false, format!("{n} total errors logged")),
            },
        ),
        (
            "TLS",
            count(scene.served.gateway.secrets.len(), "TLSContexts"),
        ),
        (
            "Mappings",
            count(scene.served.inventory.groups.len(), "Mappings"),
        ),
    ])
}

pub(in crate::admin) fn is_alive(envoy: &supervisor::State) -> bool {
    matches!(
        envoy,
        supervisor::State::Elsewhere
            | supervisor::State::Running { .. }
            | supervisor::State::Draining { .. }
    )
}

pub(super) fn envoy_status(scene: &Scene) -> Value {
    let alive = is_alive(&scene.envoy);
    json!({
        "alive": alive,
        "ready": alive && scene.xds.first_config_answered,
        "uptime": human(scene.identity.started.elapsed()),
        "since_update": since_update(scene),
    })
}

pub(super) fn since_update(scene: &Scene) -> String {
    match scene.since_update {
        None => "Never updated".to_owned(),
        Some(since) if since.as_secs() == 0 => "within the last second".to_owned(),
        Some(since) => format!("{} ago", human(since)),
    }
}

/// `{"all": level}` where all loggers have one, else loggers by level; empty when Envoy is not up.
pub(super) fn loginfo(scene: &Scene) -> Value {
    let levels = &scene.log_levels;
    match (levels.len(), levels.keys().next()) {
        (1, Some(level)) => json!({ "all": level }),
        _ => json!(levels),
    }
}

/// `1 hour, 2 minutes`: the two largest units.
pub(super) fn human(duration: Duration) -> String {
    let seconds = duration.as_secs();
    let units = [
        (seconds / 86_400, "day"),
        (seconds / 3600 % 24, "hour"),
        (seconds / 60 % 60, "minute"),
        (seconds % 60, "second"),
    ];
    let parts: Vec<String> = units
        .iter()
        .skip_while(|(n, _)| *n == 0)
        .take(2)
        .filter(|(n, _)| *n > 0)
        .map(|(n, unit)| format!("{n} {unit}{}", if *n == 1 { "" } else { "s" }))
        .collect();
    if parts.is_empty() {
        "0 seconds".to_owned()
    } else {
        parts.join(", ")
    }
}

/// RFC 1123.
fn httpdate(time: SystemTime) -> String {
    httpdate::fmt_http_date(time)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_said_in_their_two_largest_units() {
        let of = |seconds| human(Duration::from_secs(seconds));
        assert_eq!(of(0), "0 seconds");
        assert_eq!(of(61), "1 minute, 1 second");
        assert_eq!(of(3600), "1 hour");
        assert_eq!(of(90_061), "1 day, 1 hour");
    }
}
