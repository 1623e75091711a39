//! nuncio's own metrics.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard};
use std::time::{Duration, Instant};

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

#[derive(Clone, PartialEq, Eq, Hash, Debug, EncodeLabelSet)]
pub struct TypeLabel {
    pub r#type: &'static str,
}

#[derive(Clone, PartialEq, Eq, Hash, Debug, EncodeLabelSet)]
pub struct StateLabels {
    pub r#type: &'static str,
    pub state: &'static str,
}

#[derive(Clone, PartialEq, Eq, Hash, Debug, EncodeLabelSet)]
pub struct LevelLabel {
    pub level: &'static str,
}

#[derive(Clone, PartialEq, Eq, Hash, Debug, EncodeLabelSet)]
pub struct SeverityLabel {
    pub severity: &'static str,
}

/// Registered metrics. The ones that are readings of a moment are set when they are asked for.
pub struct Gauges {
    registry: Mutex<Registry>,
    /// When each snapshot's change came, until Envoy has answered it.
    arrivals: Mutex<BTreeMap<u64, Instant>>,
    last_acknowledged: Mutex<Option<Instant>>,
    pub changes: Counter,
    pub change_to_acknowledged: Histogram,
    pub translation: Histogram,
    pub resources_pushed: Family<TypeLabel, Counter>,
    pub nacks: Family<TypeLabel, Counter>,
    pub resources: Family<StateLabels, Gauge>,
    pub report_entries: Family<SeverityLabel, Gauge>,
    pub envoy_restarts: Gauge,
    pub other_envoys: Gauge,
    /// Emissary's names for the report, which its users' dashboards ask for.
    pub diagnostics_errors: Gauge,
    pub diagnostics_notices: Gauge,
    /// 1 once the diagnostics were asked for the level `debug`, until another.
    pub log_level: Family<LevelLabel, Gauge>,
}

/// Seconds: a change is milliseconds when little is there and seconds when much is.
const BUCKETS: [f64; 13] = [
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0,
];

impl Default for Gauges {
    fn default() -> Self {
        let mut registry = Registry::default();
        let this = Self {
            registry: Mutex::default(),
            arrivals: Mutex::default(),
            last_acknowledged: Mutex::default(),
            changes: Counter::default(),
            change_to_acknowledged: Histogram::new(BUCKETS),
            translation: Histogram::new(BUCKETS),
            resources_pushed: Family::default(),
            nacks: Family::default(),
            resources: Family::default(),
            report_entries: Family::default(),
            envoy_restarts: Gauge::default(),
            other_envoys: Gauge::default(),
            diagnostics_errors: Gauge::default(),
            diagnostics_notices: Gauge::default(),
            log_level: Family::default(),
        };
        registry.register(
            "nuncio_changes",
            "Change sets taken up from the sources",
            this.changes.clone(),
        );
        registry.register(
            "nuncio_change_to_acknowledged_seconds",
            "From a change in a source until Envoy has answered all that came of it",
            this.change_to_acknowledged.clone(),
        );
        registry.register(
            "nuncio_translation_seconds",
            "From a change set to encoded resources",
            this.translation.clone(),
        );
        registry.register(
            "nuncio_resources_pushed",
            "Resources sent to Envoy",
            this.resources_pushed.clone(),
        );
        registry.register(
            "nuncio_nacks",
            "Responses that Envoy refused",
            this.nacks.clone(),
        );
        registry.register(
            "nuncio_resources",
            "Envoy's resources by state",
            this.resources.clone(),
        );
        registry.register(
            "nuncio_report_entries",
            "Entries of the report by severity",
            this.report_entries.clone(),
        );
        registry.register(
            "nuncio_envoy_restarts",
            "How often Envoy ended and was started again",
            this.envoy_restarts.clone(),
        );
        registry.register(
            "nuncio_other_envoys",
            "Envoys elsewhere that are connected",
            this.other_envoys.clone(),
        );
        registry.register(
            "ambassador_diagnostics_errors",
            "Errors in the report",
            this.diagnostics_errors.clone(),
        );
        registry.register(
            "ambassador_diagnostics_notices",
            "Warnings and notices in the report",
            this.diagnostics_notices.clone(),
        );
        registry.register(
            "ambassador_log_level",
            "Whether Envoy logs at a level that the diagnostics set",
            this.log_level.clone(),
        );
        drop(this.log_level.get_or_create(&LevelLabel { level: "debug" }));
        Self {
            registry: Mutex::new(registry),
            ..this
        }
    }
}

impl Gauges {
    /// Remembers when the change came that a snapshot is of.
    pub fn expect(&self, snapshot: u64, arrived: Instant) {
        lock(&self.arrivals).insert(snapshot, arrived);
    }

    /// Envoy has answered this snapshot, and with it all before.
    pub fn acknowledged(&self, snapshot: u64) {
        let mut arrivals = lock(&self.arrivals);
        let later = arrivals.split_off(&(snapshot + 1));
        for (_, arrived) in std::mem::replace(&mut *arrivals, later) {
            self.change_to_acknowledged
                .observe(arrived.elapsed().as_secs_f64());
            *lock(&self.last_acknowledged) = Some(Instant::now());
        }
    }

    /// How long ago Envoy answered the last change; `None` before the first.
    pub fn since_acknowledged(&self) -> Option<Duration> {
        lock(&self.last_acknowledged).map(|at| at.elapsed())
    }

    /// Envoy's log has another level now.
    pub fn set_log_level(&self, level: &str) {
        let debug = self.log_level.get_or_create(&LevelLabel { level: "debug" });
        debug.set(i64::from(level == "debug"));
    }

    /// Prometheus' text form.
    pub fn text(&self) -> String {
        let mut text = String::new();
        encode(&mut text, &lock(&self.registry))
            .expect("invariant: writing to a string does not fail");
        // Envoy's metrics follow.
        text.truncate(text.trim_end_matches("# EOF\n").len());
        text
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex
        .lock()
        .expect("invariant: nothing panics while it holds the lock")
}
