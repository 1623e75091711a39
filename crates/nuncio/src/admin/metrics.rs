//! `/metrics`: Envoy's and nuncio's own.

use std::future;

use axum::body::Body;
use axum::extract::State as Extract;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures::{StreamExt, stream};
use http::header;
use http_body_util::BodyExt;
use nuncio_envoy_api::resource::ResourceType;
use nuncio_model::Severity;

use super::Admin;
use crate::gauges::{SeverityLabel, StateLabels, TypeLabel};
use crate::supervisor;

/// Envoy's part is missing when Envoy does not answer. It is passed on as it comes: of 10,000
/// clusters it is tens of megabytes.
pub(super) async fn metrics(Extract(admin): Extract<Admin>) -> Response {
    read(&admin);
    let own = admin.gauges.text();
    let body = match admin.envoy_admin.stream("/stats/prometheus").await {
        Ok(response) if response.status().is_success() => {
            let own = stream::once(future::ready(Ok(Bytes::from(own))));
            Body::from_stream(own.chain(response.into_body().into_data_stream()))
        }
        _ => Body::from(own),
    };
    let text = "text/plain; version=0.0.4; charset=utf-8";
    ([(header::CONTENT_TYPE, text)], body).into_response()
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
    if let supervisor::State::Exited { restarts, .. } = *admin.envoy.borrow() {
        gauges.envoy_restarts.set(restarts.into());
    }
    gauges.other_envoys.set(as_gauge(status.others.streams));
    let report = admin.report();
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
