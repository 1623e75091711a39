//! Keeping Envoy running until it is asked to end.

use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::State;
use super::drain::{self, Drained, Hurry, Mode};
use super::launch::{Envoy, Launcher, PARENT_GRACE, StartError, Started};
use super::process::{ExitStatus, Process};

const SHORTEST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(10);
/// An Envoy that was up for this long starts again as if it had never ended.
const STABLE: Duration = Duration::from_secs(60);

/// Watches one Envoy.
#[derive(Debug)]
pub(super) struct Watch {
    launcher: Launcher,
    envoy: Envoy,
    running_since: Instant,
    restarts: watch::Sender<u32>,
    backoff: Backoff,
    retiring: Retiring,
    state: watch::Sender<State>,
    wanted: watch::Receiver<Mode>,
}

impl Watch {
    pub(super) fn new(launcher: Launcher, started: Started, wanted: watch::Receiver<Mode>) -> Self {
        let longest = launcher.config.drain_time + PARENT_GRACE * 2;
        Self {
            state: watch::Sender::new(running(&started.envoy, started.taken_over)),
            envoy: started.envoy,
            running_since: Instant::now(),
            restarts: watch::Sender::new(0),
            backoff: Backoff::default(),
            retiring: Retiring::new(started.retiring, longest),
            launcher,
            wanted,
        }
    }

    pub(super) fn state(&self) -> watch::Receiver<State> {
        self.state.subscribe()
    }

    pub(super) fn restarts(&self) -> watch::Receiver<u32> {
        self.restarts.subscribe()
    }

    /// Returns when Envoy was ended in order, or when nobody holds the handle any more.
    pub(super) async fn run(mut self) {
        let Some(drained) = self.until_ended().await else {
            return;
        };
        // The lock is gone before anyone hears of the end and lets the process end.
        drop(self.launcher);
        self.state.send_replace(State::Stopped(drained));
    }

    /// `None` when Envoy is to live on.
    async fn until_ended(&mut self) -> Option<Drained> {
        loop {
            let status = tokio::select! {
                status = self.envoy.process.exited() => status,
                asked = asked_to_end(&mut self.wanted) => {
                    return match asked {
                        true => Some(self.end().await),
                        false => None,
                    };
                }
            };
            if !self.restart(status).await {
                let still_wanted = self.wanted.has_changed().is_ok();
                return match still_wanted {
                    true => Some(self.finish(Instant::now(), 0).await),
                    false => None,
                };
            }
        }
    }

    /// Starts Envoy again, as often as it takes; false when it is to end, or nobody holds the handle.
    async fn restart(&mut self, mut status: ExitStatus) -> bool {
        let mut up = self.running_since.elapsed();
        let mut again = true;
        loop {
            self.restarts.send_modify(|restarts| *restarts += 1);
            let pause = self.backoff.pause(up);
            tracing::error!("Envoy ended: {status}; it is started again in {pause:?}");
            let next_try = Instant::now() + pause;
            self.state.send_replace(State::Exited { status, next_try });
            tokio::select! {
                () = tokio::time::sleep_until(next_try.into()) => {}
                _ = asked_to_end(&mut self.wanted) => return false,
            }
            self.state.send_replace(State::Starting);
            // Somebody else may have its base id by now.
            let started = match again {
                true => self.launcher.again(&self.envoy).await,
                false => self.launcher.fresh().await,
            };
            again = !again;
            match started {
                Ok(envoy) => {
                    self.state.send_replace(running(&envoy, false));
                    self.envoy = envoy;
                    self.running_since = Instant::now();
                    return true;
                }
                Err(StartError::Ended(how)) => status = how,
                Err(error) => status = ExitStatus::NotStarted(error.to_string()),
            }
            up = Duration::ZERO;
        }
    }

    /// The orderly end.
    async fn end(&mut self) -> Drained {
        let asked = Instant::now();
        let mut cut_off = 0;
        if *self.wanted.borrow() == Mode::Drain {
            let process = &self.envoy.process;
            self.state
                .send_replace(State::Draining { pid: process.pid() });
            let retiring = self.retiring.alive();
            let hurry = Hurry::from(self.wanted.clone());
            cut_off = drain::drain(self.launcher.terms(), process, &retiring, hurry).await;
        }
        drain::stop([&self.envoy.process]).await;
        self.finish(asked, cut_off).await
    }

    async fn finish(&mut self, asked: Instant, cut_off: u64) -> Drained {
        drain::stop(&self.retiring.alive()).await;
        self.launcher.config.state_dir.remove_all();
        Drained {
            took: asked.elapsed(),
            cut_off,
        }
    }
}

/// True when Envoy is to be ended, false when the handle is gone.
async fn asked_to_end(wanted: &mut watch::Receiver<Mode>) -> bool {
    wanted.wait_for(|mode| *mode != Mode::Run).await.is_ok()
}

fn running(envoy: &Envoy, taken_over: bool) -> State {
    State::Running {
        pid: envoy.process.pid(),
        epoch: envoy.epoch,
        taken_over,
    }
}

/// Envoys that were replaced and are finishing their requests. Each is told to end by its successor,
/// or by us when that is no more; all of them are reaped.
#[derive(Debug)]
struct Retiring {
    processes: Vec<Arc<Process>>,
    watchers: JoinSet<()>,
}

impl Retiring {
    fn new(processes: Vec<Arc<Process>>, longest: Duration) -> Self {
        let mut watchers = JoinSet::new();
        for process in &processes {
            let process = Arc::clone(process);
            watchers.spawn(async move {
                if tokio::time::timeout(longest, process.exited())
                    .await
                    .is_err()
                {
                    process.signal(Signal::TERM);
                    process.exited().await;
                }
            });
        }
        Self {
            processes,
            watchers,
        }
    }

    fn alive(&mut self) -> Vec<Arc<Process>> {
        while self.watchers.try_join_next().is_some() {}
        if self.watchers.is_empty() {
            self.processes.clear();
        }
        self.processes.clone()
    }
}

/// Pauses between starts: doubling while Envoy keeps ending.
#[derive(Debug)]
struct Backoff {
    next: Duration,
}

impl Default for Backoff {
    fn default() -> Self {
        Self {
            next: SHORTEST_PAUSE,
        }
    }
}

impl Backoff {
    fn pause(&mut self, up: Duration) -> Duration {
        if up >= STABLE {
            self.next = SHORTEST_PAUSE;
        }
        let pause = self.next;
        self.next = (pause * 2).min(LONGEST_PAUSE);
        pause
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_a_limit_and_start_over_after_a_stable_minute() {
        let mut backoff = Backoff::default();
        let pauses: Vec<_> = (0..9)
            .map(|_| backoff.pause(Duration::ZERO).as_millis())
            .collect();
        assert_eq!(
            pauses,
            [100, 200, 400, 800, 1600, 3200, 6400, 10_000, 10_000]
        );
        assert_eq!(backoff.pause(STABLE), SHORTEST_PAUSE);
    }
}
