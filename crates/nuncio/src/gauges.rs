//! nuncio's own metrics.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::AtomicU64;
use std::sync::{Mutex, MutexGuard};
use std::time::{Duration, Instant};

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

use crate::identity::{Identity, VERSION};

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

#[derive(Clone, PartialEq, Eq, Hash, Debug, EncodeLabelSet)]
struct InfoLabels {
    version: &'static str,
    ambassador_id: String,
    cluster_id: String,
    single_namespace: String,
}

#[derive(Clone, PartialEq, Eq, Hash, Debug, EncodeLabelSet)]
pub struct SecretLabel {
    /// `namespace/name`, or the files that it was read from.
    pub secret: String,
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
    pub envoy_restarts: Counter,
    pub envoy_up: Gauge,
    pub other_envoys: Gauge,
    pub certificate_expiry: Family<SecretLabel, Gauge>,
    pub status_leader: Gauge,
    pub status_waiting: Gauge,
    pub status_writes: Counter,
    /// Emissary's names, which its users' dashboards ask for.
    pub diagnostics_errors: Gauge,
    pub diagnostics_notices: Gauge,
    /// 1 once the diagnostics were asked for the level `debug`, until another.
    pub log_level: Family<LevelLabel, Gauge>,
    pub reconfiguration_time: Seconds,
    pub fetcher_time: Seconds,
    pub ir_time: Seconds,
    pub econf_time: Seconds,
    pub process_cpu: Counter<f64, AtomicU64>,
    pub process_start_time: Seconds,
    pub process_open_fds: Gauge,
    pub process_max_fds: Gauge,
    pub process_resident_memory: Gauge,
    pub process_virtual_memory: Gauge,
}

type Seconds = Gauge<f64, AtomicU64>;

/// Seconds: a change is milliseconds when little is there and seconds when much is.
const BUCKETS: [f64; 13] = [
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0,
];

impl Gauges {
    pub fn new(identity: &Identity) -> Self {
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
            envoy_restarts: Counter::default(),
            envoy_up: Gauge::default(),
            other_envoys: Gauge::default(),
            status_leader: Gauge::default(),
            status_waiting: Gauge::default(),
            status_writes: Counter::default(),
            certificate_expiry: Family::default(),
            diagnostics_errors: Gauge::default(),
            diagnostics_notices: Gauge::default(),
            log_level: Family::default(),
            reconfiguration_time: Seconds::default(),
            fetcher_time: Seconds::default(),
            ir_time: Seconds::default(),
            econf_time: Seconds::default(),
            process_cpu: Counter::default(),
            process_start_time: Seconds::default(),
            process_open_fds: Gauge::default(),
            process_max_fds: Gauge::default(),
            process_resident_memory: Gauge::default(),
            process_virtual_memory: Gauge::default(),
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
            "How often Envoy ended by itself, or could not be started again",
            this.envoy_restarts.clone(),
        );
        registry.register(
            "nuncio_envoy_up",
            "Whether Envoy runs and is supervised",
            this.envoy_up.clone(),
        );
        registry.register(
            "nuncio_other_envoys",
            "Envoys elsewhere that are connected",
            this.other_envoys.clone(),
        );
        registry.register(
            "nuncio_certificate_expiry_timestamp_seconds",
            "When the first certificate of a chain in effect expires",
            this.certificate_expiry.clone(),
        );
        registry.register(
            "nuncio_status_leader",
            "Whether this replica writes the status of resources",
            this.status_leader.clone(),
        );
        registry.register(
            "nuncio_status_waiting",
            "Resources whose status is to be looked at or written",
            this.status_waiting.clone(),
        );
        registry.register(
            "nuncio_status_writes",
            "Statuses that were written",
            this.status_writes.clone(),
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
        this.register_emissarys(&mut registry, identity);
        Self {
            registry: Mutex::new(registry),
            ..this
        }
    }

    /// What of Emissary's has no other name here.
    fn register_emissarys(&self, registry: &mut Registry, identity: &Identity) {
        let scope = &identity.scope;
        let info = Family::<InfoLabels, Gauge>::default();
        let labels = InfoLabels {
            version: VERSION,
            ambassador_id: scope.ambassador_id.clone(),
            cluster_id: identity.cluster_id.clone(),
            single_namespace: scope.single_namespace.to_string(),
        };
        info.get_or_create(&labels).set(1);
        registry.register("ambassador_diagnostics_info", "Who this is", info);
        for (name, help, gauge) in [
            (
                "ambassador_reconfiguration_time_seconds",
                "Of the last change: from taking it up to the snapshot for Envoy",
                &self.reconfiguration_time,
            ),
            (
                "ambassador_fetcher_time_seconds",
                "Of the last change: reading resources into the store",
                &self.fetcher_time,
            ),
            (
                "ambassador_ir_time_seconds",
                "Of the last translation: from resources to what the gateway does",
                &self.ir_time,
            ),
            (
                "ambassador_econf_time_seconds",
                "Of the last translation: from what the gateway does to Envoy's resources",
                &self.econf_time,
            ),
            (
                "ambassador_process_start_time_seconds",
                "When nuncio started",
                &self.process_start_time,
            ),
        ] {
            registry.register(name, help, gauge.clone());
        }
        registry.register(
            "ambassador_process_cpu_seconds",
            "Time on processors",
            self.process_cpu.clone(),
        );
        for (name, help, gauge) in [
            (
                "ambassador_process_open_fds",
                "Open file descriptors",
                &self.process_open_fds,
            ),
            (
                "ambassador_process_max_fds",
                "File descriptors that may be open",
                &self.process_max_fds,
            ),
            (
                "ambassador_process_resident_memory_bytes",
                "Memory in use",
                &self.process_resident_memory,
            ),
            (
                "ambassador_process_virtual_memory_bytes",
                "Address space in use",
                &self.process_virtual_memory,
            ),
        ] {
            registry.register(name, help, gauge.clone());
        }
    }

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
        with_counters_named(&text)
    }
}

/// In Envoy's form, which is Prometheus' own, a counter is described by its whole name; OpenMetrics,
/// which the library writes, leaves `_total` out there, and Prometheus would not know what it is.
fn with_counters_named(text: &str) -> String {
    let counters: BTreeSet<&str> = text
        .lines()
        .filter_map(|line| line.strip_prefix("# TYPE ")?.strip_suffix(" counter"))
        .collect();
    let mut named = String::with_capacity(text.len());
    for line in text.lines() {
        let described = ["# HELP ", "# TYPE "].into_iter().find_map(|start| {
            let (name, rest) = line.strip_prefix(start)?.split_once(' ')?;
            counters.contains(name).then_some((start, name, rest))
        });
        match described {
            Some((start, name, rest)) => {
                named.extend([start, name, "_total ", rest]);
            }
            None => named.push_str(line),
        }
        named.push('\n');
    }
    named
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex
        .lock()
        .expect("invariant: nothing panics while it holds the lock")
}
