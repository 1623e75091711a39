//! Envoy's process: started, taken over, restarted, drained.
//!
//! Envoy outlives nuncio. It runs in a process group of its own, under a keeper that outlives nuncio
//! too, and the [state folder](StateDir) says which process it is. A nuncio that finds it running
//! as it would start it now takes it over; one that would start it differently replaces it by a hot
//! restart, which drops no request. Only an orderly end ([`Handle::drain_and_stop`]) ends Envoy, and
//! then nothing of it stays behind.
//!
//! Who starts Envoy must have bound [`StateDir::xds_socket`] before, or Envoy waits for it.
//!
//! ```no_run
//! # use std::{path::Path, time::Duration};
//! # use nuncio::supervisor::{Config, StateDir, Supervisor};
//! # async fn run(bootstrap: serde_json::Value) -> Result<(), Box<dyn std::error::Error>> {
//! let state_dir = StateDir::open(Path::new(".state"))?;
//! let envoy = Supervisor::start(Config {
//!     envoy: ".tools/envoy".into(),
//!     state_dir,
//!     bootstrap,
//!     drain_time: Duration::from_secs(600),
//!     concurrency: None,
//!     base_id: None,
//!     stats_flush_interval: Duration::from_secs(5),
//!     log_level: "warning".to_owned(),
//!     extra_args: Vec::new(),
//! })
//! .await?;
//! let (_, ready) = envoy.admin().get("/ready").await?;
//! println!("{}", String::from_utf8_lossy(&ready));
//! envoy.drain_and_stop().await;
//! # Ok(())
//! # }
//! ```

mod admin_client;
mod drain;
mod launch;
mod process;
mod record;
mod state_dir;
mod watch;

use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::watch as channel;

pub use admin_client::{AdminClient, AdminError};
pub use drain::Drained;
pub use launch::StartError;
pub use process::ExitStatus;
pub(crate) use state_dir::write_whole;
pub use state_dir::{StateDir, StateDirError};

use drain::{Hurry, Mode, Terms};
use launch::Launcher;
use process::Process;
use watch::Watch;

/// What to start, and how.
#[derive(Debug)]
pub struct Config {
    /// The Envoy program.
    pub envoy: PathBuf,
    pub state_dir: StateDir,
    /// Envoy's bootstrap; its admin address must be [`StateDir::admin_socket`].
    pub bootstrap: serde_json::Value,
    /// Longest time that requests under way are waited for; Envoy's drain time too.
    pub drain_time: Duration,
    /// Worker threads; one for each core when not given.
    pub concurrency: Option<u32>,
    /// Envoy's base id; a free one when not given.
    pub base_id: Option<u32>,
    /// How often the bootstrap has Envoy flush its statistics.
    pub stats_flush_interval: Duration,
    /// `trace`, `debug`, `info`, `warning`, `error`, `critical` or `off`.
    pub log_level: String,
    pub extra_args: Vec<OsString>,
}

/// What Envoy's process is doing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// There is none: nuncio serves Envoys elsewhere only.
    Elsewhere,
    /// It is being started again after it ended.
    Starting,
    /// It runs, and its admin interface has answered.
    Running {
        pid: u32,
        /// How many hot restarts led to it.
        epoch: u32,
        /// It was running before this nuncio.
        taken_over: bool,
    },
    /// It ended by itself, or could not be started again.
    Exited {
        status: ExitStatus,
        next_try: Instant,
    },
    /// Requests under way are being finished.
    Draining { pid: u32 },
    /// It was ended in order.
    Stopped(Drained),
}

/// Starts Envoy and keeps it running.
#[derive(Debug)]
pub struct Supervisor;

impl Supervisor {
    /// Takes the running Envoy over, replaces it, or starts one; returns when its admin interface
    /// answers. When this fails, an Envoy that was running goes on.
    pub async fn start(config: Config) -> Result<Handle, StartError> {
        let launcher = Launcher::new(config);
        let started = match launcher.take_over_or_start().await {
            Ok(started) => started,
            Err(error) => {
                launcher.clean_up_unless_running();
                return Err(error);
            }
        };
        let admin = launcher.admin.clone();
        let (mode, wanted) = channel::channel(Mode::Run);
        let watch = Watch::new(launcher, started, wanted);
        let (state, restarts) = (watch.state(), watch.restarts());
        tokio::spawn(watch.run());
        Ok(Handle {
            mode,
            state,
            restarts,
            admin,
        })
    }
}

/// Ends the Envoy that an earlier nuncio left behind, as [`Handle::drain_and_stop`] does; `None`
/// when there is none. For who has been asked to end before it had an Envoy of its own.
pub async fn drain_left_behind(
    state_dir: &StateDir,
    drain_time: Duration,
    stats_flush_interval: Duration,
) -> Option<Drained> {
    let asked = Instant::now();
    let bootstrap = state_dir.bootstrap();
    let running = Process::with_argument(bootstrap.as_os_str()).unwrap_or_default();
    let running: Vec<_> = running
        .into_iter()
        .map(|(process, _)| Arc::new(process))
        .collect();
    let (newest, retiring) = running.split_last()?;
    let admin = AdminClient::new(state_dir.admin_socket());
    let terms = Terms {
        admin: &admin,
        state_dir,
        drain_time,
        stats_flush_interval,
    };
    let cut_off = drain::drain(terms, newest, retiring, Hurry::never()).await;
    drain::stop(&running).await;
    state_dir.remove_all();
    Some(Drained {
        took: asked.elapsed(),
        cut_off,
    })
}

/// A supervised Envoy. Dropping it ends the supervision and leaves Envoy running.
#[derive(Debug)]
pub struct Handle {
    mode: channel::Sender<Mode>,
    state: channel::Receiver<State>,
    restarts: channel::Receiver<u32>,
    admin: AdminClient,
}

impl Handle {
    /// What Envoy's process is doing, and each change of it.
    pub fn state(&self) -> channel::Receiver<State> {
        self.state.clone()
    }

    /// How often Envoy has ended by itself, or could not be started, since this nuncio started.
    pub fn restarts(&self) -> channel::Receiver<u32> {
        self.restarts.clone()
    }

    /// Envoy's admin interface.
    pub fn admin(&self) -> AdminClient {
        self.admin.clone()
    }

    /// Moves clients on, waits until no request is active, at the latest for the drain time, ends
    /// Envoy and removes what belonged to it. Listeners accept to the end, so that nobody is
    /// refused while clients find their way to others.
    ///
    /// When the future is dropped, the drain goes on.
    pub async fn drain_and_stop(&self) -> Drained {
        self.ask(Mode::Drain).await
    }

    /// Ends Envoy without waiting for requests, also while it drains.
    pub async fn stop_now(&self) -> Drained {
        self.ask(Mode::StopNow).await
    }

    async fn ask(&self, mode: Mode) -> Drained {
        self.mode.send_if_modified(|wanted| {
            let more = *wanted < mode;
            if more {
                *wanted = mode;
            }
            more
        });
        let mut state = self.state.clone();
        let stopped = state
            .wait_for(|state| matches!(state, State::Stopped(_)))
            .await;
        match stopped.as_deref() {
            Ok(State::Stopped(drained)) => *drained,
            _ => Drained::default(),
        }
    }
}
