//! `/metrics`: Envoy's and nuncio's own.

use std::future;
use std::sync::Arc;
use std::time::SystemTime;

use axum::body::Body;
use axum::extract::{RawQuery, State as Extract};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures::{StreamExt, stream};
use http::{StatusCode, header};
use http_body_util::BodyExt;
use nuncio_envoy_api::resource::ResourceType;
use nuncio_model::Severity;
use nuncio_model::tls::SecretKind;

use super::{Admin, diag, process};
use crate::engine::Served;
use crate::gauges::{Gauges, SecretLabel, SeverityLabel, StateLabels, TypeLabel};

/// Envoy's part is missing when Envoy does not answer. It is passed on as it comes: of 10,000
/// clusters it is tens of megabytes.
///
/// The query is Envoy's: `usedonly`, `filter=`, `histogram_buckets=`. It says nothing of nuncio's own.
pub(super) async fn metrics(Extract(admin): Extract<Admin>, RawQuery(query): RawQuery) -> Response {
    read(&admin);
    let mut own = admin.gauges.text();
    if let Some(limits) = &admin.limits_metrics {
        own.push_str(&limits());
    }
    let path = match query {
        Some(query) => format!("/stats/prometheus?{query}"),
        None => "/stats/prometheus".to_owned(),
    };
    let body = match admin.envoy_admin.stream(&path).await {
        // Such as a filter that is no regular expression.
        Ok(response) if response.status() == StatusCode::BAD_REQUEST => {
            let body = Body::from_stream(response.into_body().into_data_stream());
            return (StatusCode::BAD_REQUEST, body).into_response();
        }
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
    let envoy = admin.envoy.borrow().clone();
    let restarts = u64::from(*admin.envoy_restarts.borrow());
    let counted = &gauges.envoy_restarts;
    counted.inc_by(restarts.saturating_sub(counted.get()));
    gauges.envoy_up.set(diag::is_alive(&envoy).into());
    gauges.other_envoys.set(as_gauge(status.others.streams));
    if let Some(status) = &admin.status {
        gauges.status_leader.set(status.leads().into());
        gauges.status_waiting.set(as_gauge(status.waiting()));
        let written = &gauges.status_writes;
        written.inc_by(status.writes().saturating_sub(written.get()));
    }
    let served = Arc::clone(&admin.served.borrow());
    read_served(gauges, &served);
    process::read(gauges, &admin.identity);
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

fn read_served(gauges: &Gauges, served: &Served) {
    let took = &served.took;
    gauges.reconfiguration_time.set(took.whole.as_secs_f64());
    gauges.fetcher_time.set(took.reading.as_secs_f64());
    gauges.ir_time.set(took.translating.as_secs_f64());
    gauges.econf_time.set(took.encoding.as_secs_f64());
    // Those that are gone are not to be warned of.
    gauges.certificate_expiry.clear();
    for secret in served.gateway.secrets.values() {
        if let SecretKind::Certificate { valid_until, .. } = &secret.kind {
            let secret = secret.name.to_string();
            let since_epoch = valid_until.duration_since(SystemTime::UNIX_EPOCH);
            let seconds = since_epoch.map_or(0, |time| time.as_secs());
            gauges
                .certificate_expiry
                .get_or_create(&SecretLabel { secret })
                .set(i64::try_from(seconds).unwrap_or(i64::MAX));
        }
    }
}

fn as_gauge(value: usize) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}
