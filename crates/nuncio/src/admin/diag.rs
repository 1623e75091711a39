//! `/ambassador/v0/diag/?json=true`, in Emissary's shape: of its keys `system`, `envoy_status`,
//! `errors`, `notices` and `route_info`; and `ingress_status`, what the status of Ingresses says.

use std::time::{Duration, SystemTime};

use axum::Json;
use axum::extract::{Query, State as Extract};
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use nuncio_model::{Report, Severity};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Admin, text};
use crate::engine::Served;
use crate::identity::{Identity, VERSION};
use crate::overview;
use crate::supervisor;

#[derive(Deserialize)]
pub(super) struct Params {
    /// Anything but empty asks for JSON.
    json: Option<String>,
    /// Only this key of the answer.
    filter: Option<String>,
}

pub(super) async fn overview(
    Extract(admin): Extract<Admin>,
    Query(params): Query<Params>,
) -> Response {
    if params.json.is_none_or(|json| json.is_empty()) {
        return text(
            StatusCode::OK,
            "Diagnostics are JSON: ask for /ambassador/v0/diag/?json=true\n",
        );
    }
    let mut overview = answer(&admin);
    let answer = match params.filter {
        None => overview,
        Some(key) => overview.get_mut(&key).map_or(Value::Null, Value::take),
    };
    Json(answer).into_response()
}

fn answer(admin: &Admin) -> Value {
    let served = admin.served.borrow().clone();
    let xds = admin.xds.borrow().clone();
    let envoy = admin.envoy.borrow().clone();
    let report = overview::report(&served, &xds, &envoy);
    let errors = errors(&served, &report);
    let status = env_status(
        errors.len(),
        served.gateway.secrets.len(),
        served.routes.len(),
    );
    json!({
        "system": system(&admin.identity, &status),
        "envoy_status": envoy_status(admin, &envoy, &xds),
        "errors": errors,
        "notices": report
            .entries()
            .iter()
            .filter(|entry| entry.severity != Severity::Error)
            .map(|entry| json!({
                "level": if entry.severity == Severity::Warning { "WARNING" } else { "NOTICE" },
                "message": entry.to_string(),
            }))
            .collect::<Vec<_>>(),
        "route_info": served.routes,
        "ingress_status": served.ingress_status,
    })
}

/// `[key, text]`, the key being Emissary's of the resource: `<name>.<namespace>.<n>`.
fn errors(served: &Served, report: &Report) -> Vec<Value> {
    report
        .entries()
        .iter()
        .filter(|entry| entry.severity == Severity::Error)
        .map(|entry| {
            let id = &entry.resource;
            // A resource that could not be read has no key yet, and a file never has one.
            let key = match served.keys.get(id) {
                Some(key) => key.clone(),
                None if id.namespace.is_empty() => id.name.to_string(),
                None => format!("{}.{}.1", id.name, id.namespace),
            };
            json!([key, entry.to_string()])
        })
        .collect()
}

fn env_status(errors: usize, certificates: usize, mappings: usize) -> Value {
    let area =
        |status: bool, text: String| json!({ "status": status, "specifics": [[status, text]] });
    let count = |n: usize, what: &str| match n {
        0 => area(false, format!("No {what} are active")),
        n => area(true, format!("{n} {what} are active")),
    };
    json!({
        "Error check": match errors {
            0 => area(true, "No errors logged".to_owned()),
            n => area(false, format!("{n} total errors logged")),
        },
        "TLS": count(certificates, "TLSContexts"),
        "Mappings": count(mappings, "Mappings"),
    })
}

fn system(identity: &Identity, env_status: &Value) -> Value {
    let failures: Vec<&Value> = env_status
        .as_object()
        .into_iter()
        .flatten()
        .filter(|(_, area)| area["status"] == false)
        .map(|(_, area)| &area["specifics"][0][1])
        .collect();
    json!({
        "version": VERSION,
        "hostname": identity.hostname,
        "ambassador_id": identity.scope.ambassador_id,
        "ambassador_namespace": identity.scope.namespace,
        "single_namespace": identity.scope.single_namespace,
        "knative_enabled": false,
        "statsd_enabled": false,
        "endpoints_enabled": true,
        "cluster_id": identity.cluster_id,
        "boot_time": httpdate(identity.started_at),
        "hr_uptime": human(identity.started.elapsed()),
        "env_good": failures.is_empty(),
        "env_failures": failures,
        "env_status": env_status,
        "debug_mode": false,
    })
}

fn envoy_status(admin: &Admin, envoy: &supervisor::State, xds: &nuncio_xds::Status) -> Value {
    let alive = matches!(
        envoy,
        supervisor::State::Running { .. } | supervisor::State::Draining { .. }
    );
    json!({
        "alive": alive,
        "ready": alive && xds.first_config_answered,
        "uptime": human(admin.identity.started.elapsed()),
        "since_update": match admin.gauges.since_acknowledged() {
            None => "Never updated".to_owned(),
            Some(since) if since.as_secs() == 0 => "within the last second".to_owned(),
            Some(since) => format!("{} ago", human(since)),
        },
    })
}

/// `1 hour, 2 minutes`: the two largest units.
fn human(duration: Duration) -> String {
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
