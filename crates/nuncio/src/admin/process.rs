//! What nuncio's own process takes.

use std::fs;
use std::time::UNIX_EPOCH;

use rustix::process::{Resource, getrlimit};
use rustix::time::{ClockId, clock_gettime};

use crate::gauges::Gauges;
use crate::identity::Identity;

/// Sets the metrics of the process. What `/proc` does not say stays as it was.
pub(super) fn read(gauges: &Gauges, identity: &Identity) {
    if let Ok(started) = identity.started_at.duration_since(UNIX_EPOCH) {
        gauges.process_start_time.set(started.as_secs_f64());
    }
    let spent = clock_gettime(ClockId::ProcessCPUTime);
    let spent = spent.tv_sec as f64 + spent.tv_nsec as f64 / 1e9;
    let counted = &gauges.process_cpu;
    counted.inc_by((spent - counted.get()).max(0.0));
    if let Ok(open) = fs::read_dir("/proc/self/fd") {
        // The folder itself is open while it is read.
        set(&gauges.process_open_fds, open.count() as u64 - 1);
    }
    let most = getrlimit(Resource::Nofile).current;
    set(&gauges.process_max_fds, most.unwrap_or(u64::MAX));
    let memory = fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let mut pages = memory.split(' ').map_while(|pages| pages.parse().ok());
    if let (Some::<u64>(virtual_), Some(resident)) = (pages.next(), pages.next()) {
        let page = rustix::param::page_size() as u64;
        set(&gauges.process_virtual_memory, virtual_ * page);
        set(&gauges.process_resident_memory, resident * page);
    }
}

fn set(gauge: &prometheus_client::metrics::gauge::Gauge, value: u64) {
    gauge.set(i64::try_from(value).unwrap_or(i64::MAX));
}
