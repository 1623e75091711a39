//! Ending Envoy in order: move clients on, wait for what is under way, then stop the process.
//!
//! What Envoy 1.40 was seen to do: after `/healthcheck/fail` every HTTP/1 response carries
//! `connection: close` and every HTTP/2 connection gets a GOAWAY with its next response, whatever
//! the drain strategy, while listeners go on accepting. (`/drain_listeners?skip_exit` does so only
//! with growing probability over the drain time, unless `--drain-strategy immediate` is set, which
//! would also make every change of a listener drop all its connections at once.)
//! `/drain_listeners` closes the listeners; requests under way go on. SIGTERM ends it all at once.

use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use tokio::sync::watch;

use super::admin_client::AdminClient;
use super::process::Process;
use super::state_dir::StateDir;

/// How long Envoy may take to end after SIGTERM.
const TERMINATION: Duration = Duration::from_secs(5);

/// A hot restarted Envoy counts its predecessor's requests too, but learns of them only at each
/// flush of the statistics; and some time later.
const FLUSH: Duration = Duration::from_secs(1);

/// How long idle HTTP connections are waited for: a client that uses its connection meanwhile is
/// told with the answer to take another, so that the end of Envoy does not cross its next request.
const LINGER: Duration = Duration::from_secs(1);

const FIRST_POLL: Duration = Duration::from_millis(10);
const SLOWEST_POLL: Duration = Duration::from_millis(250);

/// What came of a drain.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Drained {
    /// From the order to the end of Envoy.
    pub took: Duration,
    /// Requests and TCP connections that the end of Envoy cut off.
    pub cut_off: u64,
}

/// What the supervisor is asked to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd)]
pub(super) enum Mode {
    Run,
    Drain,
    StopNow,
}

/// Tells that nobody wants to wait any longer.
pub(super) struct Hurry(Option<watch::Receiver<Mode>>);

impl Hurry {
    pub(super) fn never() -> Self {
        Self(None)
    }

    pub(super) fn from(mode: watch::Receiver<Mode>) -> Self {
        Self(Some(mode))
    }

    async fn come(&mut self) {
        if let Some(mode) = &mut self.0
            && mode.wait_for(|mode| *mode == Mode::StopNow).await.is_ok()
        {
            return;
        }
        std::future::pending().await
    }
}

/// What a drain has to know of the Envoy that it drains.
#[derive(Debug)]
pub(super) struct Terms<'a> {
    pub(super) admin: &'a AdminClient,
    pub(super) state_dir: &'a StateDir,
    pub(super) drain_time: Duration,
    pub(super) stats_flush_interval: Duration,
}

/// Waits until nothing is active, at the latest for the drain time, and returns how much still is.
/// Listeners stay open meanwhile, so that nobody is refused before others take over.
pub(super) async fn drain(
    terms: Terms<'_>,
    process: &Process,
    retiring: &[Arc<Process>],
    mut hurry: Hurry,
) -> u64 {
    let admin = terms.admin;
    let quiet = if retiring.is_empty() {
        Duration::ZERO
    } else {
        terms.stats_flush_interval + FLUSH
    };
    let mut last_known = 0;
    let finished = async {
        if let Err(error) = admin.post("/healthcheck/fail").await {
            tracing::warn!("clients are not told to go elsewhere: {error}");
        }
        idle(admin, quiet, &mut last_known).await;
        // From here on this Envoy cannot be taken over as it is.
        let _ = std::fs::remove_file(terms.state_dir.record());
        // A request may have come in since the last look.
        let _ = admin.post("/drain_listeners").await;
        idle(admin, Duration::ZERO, &mut last_known).await;
    };
    tokio::select! {
        () = finished => {}
        _ = process.exited() => return 0,
        () = hurry.come() => {}
        () = tokio::time::sleep(terms.drain_time) => {}
    }
    last_known
}

/// Waits until nothing has been active for that long. Envoy has to be asked: it tells nobody.
async fn idle(admin: &AdminClient, quiet: Duration, last_known: &mut u64) {
    let mut poll = FIRST_POLL;
    let mut idle_since = None;
    loop {
        let asked = Instant::now();
        match active(admin).await {
            Some(Active { work: 0, idle }) => {
                *last_known = 0;
                let quiet = if idle == 0 { quiet } else { quiet.max(LINGER) };
                if idle_since.get_or_insert(asked).elapsed() >= quiet {
                    return;
                }
            }
            Some(Active { work, .. }) => {
                *last_known = work;
                idle_since = None;
            }
            None => idle_since = None,
        }
        // With very many statistics an answer takes Envoy's main thread some time.
        tokio::time::sleep(poll.max(asked.elapsed() * 4)).await;
        poll = (poll * 3 / 2).min(SLOWEST_POLL);
    }
}

/// What an Envoy has open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Active {
    /// Requests and TCP connections.
    work: u64,
    /// HTTP connections beyond one for each request; there may be more idle ones.
    idle: u64,
}

async fn active(admin: &AdminClient) -> Option<Active> {
    let (status, body) = admin
        .get("/stats?type=Gauges&filter=%5E(http|listener)%5C..*downstream_(rq|cx)_active$")
        .await
        .ok()?;
    status
        .is_success()
        .then(|| count(&String::from_utf8_lossy(&body)))
}

/// An upgraded request (WebSocket) is an active request until it ends. A connection that is not an
/// HTTP one is TCP, and active as long as it is open; an idle HTTP connection is not active.
fn count(stats: &str) -> Active {
    let (mut requests, mut http, mut all) = (0, 0, 0);
    for line in stats.lines() {
        let Some((name, value)) = line.rsplit_once(": ") else {
            continue;
        };
        let Ok(value) = value.trim().parse::<u64>() else {
            continue;
        };
        let admin = name.starts_with("http.admin.") || name.starts_with("listener.admin.");
        if admin || is_per_worker(name) {
            continue;
        }
        if name.ends_with("downstream_rq_active") {
            requests += value;
        } else if name.starts_with("http.") {
            http += value;
        } else {
            all += value;
        }
    }
    Active {
        work: requests + all.saturating_sub(http),
        idle: http.saturating_sub(requests),
    }
}

/// `listener.ADDRESS.worker_0.downstream_cx_active` is part of a sum that is listed too.
fn is_per_worker(name: &str) -> bool {
    name.rsplit('.')
        .nth(1)
        .is_some_and(|part| part.starts_with("worker_"))
}

/// Ends processes: SIGTERM, and SIGKILL for one that does not heed it.
pub(super) async fn stop(processes: impl IntoIterator<Item = &Arc<Process>>) {
    let processes: Vec<_> = processes.into_iter().collect();
    for process in &processes {
        process.signal(Signal::TERM);
    }
    let deadline = tokio::time::Instant::now() + TERMINATION;
    for process in processes {
        let ended = tokio::time::timeout_at(deadline, process.exited()).await;
        if ended.is_err() {
            tracing::warn!("Envoy (pid {}) does not end; killing it", process.pid());
            kill(process).await;
        }
    }
}

/// Ends a process at once.
pub(super) async fn kill(process: &Process) {
    process.signal(Signal::KILL);
    process.exited().await;
}

#[cfg(test)]
mod tests {
    use super::{Active, count};

    #[test]
    fn requests_and_tcp_connections_are_active_but_not_idle_http_ones() {
        let stats = "\
http.admin.downstream_cx_active: 1
http.admin.downstream_rq_active: 1
http.web.downstream_cx_active: 4
http.web.downstream_rq_active: 2
listener.0.0.0.0_8080.downstream_cx_active: 4
listener.0.0.0.0_8080.worker_0.downstream_cx_active: 4
listener.[__]_5432.downstream_cx_active: 3
listener.admin.downstream_cx_active: 1
listener.admin.main_thread.downstream_cx_active: 1
";
        assert_eq!(
            count(stats),
            Active {
                work: 2 + 3,
                idle: 2
            }
        );
    }

    #[test]
    fn nothing_is_active_without_statistics() {
        assert_eq!(count(""), Active { work: 0, idle: 0 });
    }
}
