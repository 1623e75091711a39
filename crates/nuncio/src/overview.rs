//! The whole report: what sources and front ends say, what Envoy refused, and how Envoy itself is.
//!
//! Log, diagnostics, metrics and status print from here.

use std::collections::BTreeSet;
use std::sync::Arc;

use nuncio_model::{Entry, Origin, Reason, Report, ResourceId, Severity};

use crate::engine::Served;
use crate::supervisor;

/// Every entry that stands now.
pub fn report(
    served: &Served,
    xds: &nuncio_xds::Status,
    envoy: &supervisor::State,
    not_kept: Option<&Entry>,
    not_written: &[Entry],
) -> Report {
    let mut report = Report::clone(&served.report);
    report.extend(not_kept.into_iter().chain(not_written).cloned());
    for refusal in &xds.refused {
        let origin = served
            .origin(refusal.resource_type, &refusal.name)
            .cloned()
            .unwrap_or_else(|| envoy_origin(&refusal.name));
        // A Listener that keeps another port says so, also while its own is tried again.
        let told =
            |entry: &Entry| entry.reason == Reason::Refused && entry.resource == origin.resource;
        if refusal.may_pass && served.report.entries().iter().any(told) {
            continue;
        }
        report
            .error(
                &origin,
                Reason::Refused,
                format!(
                    "Envoy refused the {} \"{}\": {}",
                    refusal.resource_type,
                    refusal.name,
                    refusal.detail.trim()
                ),
            )
            .help(match &served.gateway.ready {
                Some(ready) if ready.name() == *refusal.name => {
                    "give another port with AMBASSADOR_READY_PORT, or 0 for none"
                }
                _ if refusal.may_pass => {
                    "another program has the port: end it, or give the Listener another port; it \
                     is tried again at least once a minute"
                }
                _ => "the last version that Envoy accepted stays in effect, if there is one",
            });
    }
    if let supervisor::State::Exited { status, .. } = envoy {
        report
            .error(
                &envoy_origin("envoy"),
                Reason::EnvoyExited,
                format!("Envoy ended: {status}"),
            )
            .help("it is started again; what it said last is in its output");
    }
    report.sort();
    report
}

fn envoy_origin(name: &str) -> Origin {
    Origin::new(Arc::new(ResourceId::new("", "Envoy", "", name)))
}

/// Says what is new in the report, and what is no longer true.
#[derive(Default)]
pub struct ReportLog {
    standing: BTreeSet<Entry>,
}

impl ReportLog {
    pub fn update(&mut self, report: &Report) {
        let now: BTreeSet<Entry> = report.entries().iter().cloned().collect();
        for entry in now.difference(&self.standing) {
            match entry.severity {
                Severity::Error => tracing::error!("{entry}"),
                Severity::Warning => tracing::warn!("{entry}"),
                Severity::Notice => tracing::info!("{entry}"),
            }
        }
        for entry in self.standing.difference(&now) {
            tracing::info!("no longer: {entry}");
        }
        self.standing = now;
    }
}
