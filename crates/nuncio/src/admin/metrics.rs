//! `/metrics`: Envoy's and nuncio's own.

use axum::extract::State as Extract;
use axum::response::{IntoResponse, Response};
use http::header;
use nuncio_envoy_api::resource::ResourceType;
use nuncio_model::Severity;

use super::Admin;
use crate::gauges::{SeverityLabel, StateLabels, TypeLabel};
use crate::overview;
use crate::supervisor;

/// Envoy's part is empty when Envoy does not answer.
pub(super) async fn metrics(Extract(admin): Extract<Admin>) -> Response {
    let envoy = match admin.envoy_admin.get("/stats/prometheus").await {
        Ok((status, body)) if status.is_success() => body,
        _ => bytes::Bytes::new(),
    };
    read(&admin);
    let mut text = String::from_utf8_lossy(&envoy).into_owned();
    text.push_str(&admin.gauges.text());
    (
        [(
            header::CONTENT_TYPE,
            "text/plain; version=0.0.4; charset=utf-8",
        )],
        text,
    )
        .into_response()
}

/// Sets the metrics that are readings of this moment.
fn read(admin: &Admin) {
    let gauges = &admin.gauges;
    let status = admin.xds.borrow().clone();
    let counters = admin.counters.counters();
    for resource_type in ResourceType::ALL {
        let at = resource_type as usize;
        let name = resource_type.short_name();
        let counts = status.types[at];
        let set = |state, value| {
            let labels = StateLabels {
                r#type: name,
                state,
            };
            gauges.resources.get_or_create(&labels).set(as_gauge(value));
        };
        set("wanted", counts.wanted);
        set("accepted", counts.held);
        set("refused", counts.refused);
        let label = TypeLabel { r#type: name };
        let pushed = gauges.resources_pushed.get_or_create(&label);
        pushed.inc_by(counters.resources[at].saturating_sub(pushed.get()));
        let nacks = gauges.nacks.get_or_create(&label);
        nacks.inc_by(counters.nacks[at].saturating_sub(nacks.get()));
    }
    let envoy = admin.envoy.borrow().clone();
    if let supervisor::State::Exited { restarts, .. } = envoy {
        gauges.envoy_restarts.set(restarts.into());
    }
    let report = overview::report(&admin.served.borrow(), &status, &envoy);
    let mut by_severity = [0usize; 3];
    for entry in report.entries() {
        by_severity[entry.severity as usize] += 1;
    }
    for (severity, name) in [
        (Severity::Notice, "notice"),
        (Severity::Warning, "warning"),
        (Severity::Error, "error"),
    ] {
        gauges
            .report_entries
            .get_or_create(&SeverityLabel { severity: name })
            .set(as_gauge(by_severity[severity as usize]));
    }
    let [notices, warnings, errors] = by_severity;
    gauges.diagnostics_errors.set(as_gauge(errors));
    gauges.diagnostics_notices.set(as_gauge(notices + warnings));
}

fn as_gauge(value: usize) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}
