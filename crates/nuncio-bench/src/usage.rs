//! What processes have used, from the kernel.

use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::Context;
use rustix::time::{ClockId, clock_gettime};

/// Processor time that all threads of this process have had. On a machine that others use too it
/// says what work costs; time on the clock says what they do.
pub(crate) fn cpu() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(
        u64::try_from(time.tv_sec).unwrap_or(0),
        u32::try_from(time.tv_nsec).unwrap_or(0),
    )
}

/// Does something, and says what processor time it took, in milliseconds.
pub(crate) fn timed<T>(work: impl FnOnce() -> T) -> (f64, T) {
    let before = cpu();
    let done = work();
    (milliseconds(cpu() - before), done)
}

pub(crate) fn milliseconds(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}

/// The most memory that this process ever had, in bytes.
pub(crate) fn peak_memory() -> anyhow::Result<u64> {
    of_status("VmHWM:")
}

/// The memory that it has now, in bytes.
pub(crate) fn memory() -> anyhow::Result<u64> {
    of_status("VmRSS:")
}

/// The memory that another process has now, in bytes.
pub(crate) fn memory_of(process: u32) -> anyhow::Result<u64> {
    of_status_of(&process.to_string(), "VmRSS:")
}

fn of_status(name: &str) -> anyhow::Result<u64> {
    of_status_of("self", name)
}

fn of_status_of(process: &str, name: &str) -> anyhow::Result<u64> {
    let status = fs::read_to_string(format!("/proc/{process}/status"))?;
    let found = status.lines().find_map(|line| {
        let kibibytes = line.strip_prefix(name)?.trim().strip_suffix("kB")?;
        kibibytes.trim().parse::<u64>().ok()
    });
    let kibibytes = found.with_context(|| format!("/proc/{process}/status has no {name}"))?;
    Ok(kibibytes * 1024)
}

/// Processor time that Envoy's worker threads have had: what serves requests, without the main
/// thread, which takes configuration up.
pub(crate) fn workers(envoy: u32) -> anyhow::Result<Duration> {
    let mut nanoseconds = 0;
    let mut found = false;
    for task in fs::read_dir(format!("/proc/{envoy}/task"))? {
        let task = task?.path();
        if !fs::read_to_string(task.join("comm"))?.starts_with("wrk:") {
            continue;
        }
        nanoseconds += on_cpu(&task)?;
        found = true;
    }
    anyhow::ensure!(found, "Envoy (pid {envoy}) has no worker threads");
    Ok(Duration::from_nanos(nanoseconds))
}

/// Processor time that Envoy's main thread has had: what takes configuration up.
pub(crate) fn main_thread(envoy: u32) -> anyhow::Result<Duration> {
    let task = format!("/proc/{envoy}/task/{envoy}");
    Ok(Duration::from_nanos(on_cpu(Path::new(&task))?))
}

fn on_cpu(task: &Path) -> anyhow::Result<u64> {
    let schedstat = fs::read_to_string(task.join("schedstat"))?;
    let on_cpu = schedstat.split(' ').next().unwrap_or_default();
    on_cpu
        .parse()
        .with_context(|| format!("schedstat begins with {on_cpu:?}"))
}
