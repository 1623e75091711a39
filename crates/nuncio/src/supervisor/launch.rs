//! Starting Envoy: taking over the one that runs, hot restarting it, or starting one afresh.

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use xxhash_rust::xxh3::Xxh3;

use super::Config;
use super::admin_client::{AdminClient, AdminError};
use super::drain::{self, Hurry, Terms};
use super::process::{ExitStatus, Process};
use super::record::{Binary, Record};
use super::state_dir::StateDirError;

/// How long a starting Envoy may take until its admin interface answers.
const STARTUP: Duration = Duration::from_secs(60);

/// How long a running Envoy's main thread may be busy before it counts as stuck.
const STUCK: Duration = Duration::from_secs(10);

/// How often a starting Envoy is asked; it offers nothing that could be awaited.
const ASK: Duration = Duration::from_millis(20);

/// Why Envoy could not be started.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error("there is no Envoy at {}: run `make envoy`, or pass --envoy PATH", .0.display())]
    Missing(PathBuf),
    #[error(
        "{} is not an executable file: `chmod +x` it, or pass the path of Envoy with --envoy PATH",
        .0.display()
    )]
    NotExecutable(PathBuf),
    #[error("cannot run Envoy {} with /bin/sh: {source}", path.display())]
    Spawn { path: PathBuf, source: io::Error },
    #[error("Envoy ended as it started ({0}); what it said about it is in its output above")]
    Ended(ExitStatus),
    #[error("Envoy (pid {pid}) did not answer on its admin socket within {STARTUP:?} of its start")]
    Silent { pid: u32 },
    #[error("cannot look for a running Envoy in /proc: {0}")]
    Proc(io::Error),
    #[error(transparent)]
    State(#[from] StateDirError),
}

/// The Envoy that serves.
#[derive(Debug)]
pub(super) struct Envoy {
    pub(super) process: Arc<Process>,
    pub(super) base_id: u32,
    pub(super) epoch: u32,
}

/// What was there, or what became of it.
#[derive(Debug)]
pub(super) struct Started {
    pub(super) envoy: Envoy,
    pub(super) taken_over: bool,
    /// Envoys that an earlier hot restart has replaced, finishing their requests.
    pub(super) retiring: Vec<Arc<Process>>,
}

/// Starts Envoy in the ways there are.
#[derive(Debug)]
pub(super) struct Launcher {
    pub(super) config: Config,
    pub(super) admin: AdminClient,
    bootstrap: Vec<u8>,
    /// Hash of all that an Envoy cannot be told while it runs.
    fingerprint: String,
}

impl Launcher {
    pub(super) fn new(config: Config) -> Self {
        let bootstrap = serde_json::to_vec_pretty(&config.bootstrap)
            .expect("invariant: a JSON value can be written");
        let mut launcher = Self {
            admin: AdminClient::new(config.state_dir.admin_socket()),
            config,
            bootstrap,
            fingerprint: String::new(),
        };
        let mut hash = Xxh3::new();
        hash.update(&launcher.bootstrap);
        for arg in launcher.arguments() {
            hash.update(&[0]);
            hash.update(arg.as_bytes());
        }
        launcher.fingerprint = format!("{:032x}", hash.digest128());
        launcher
    }

    /// Takes the running Envoy over where it is what would be started now; replaces it by a hot
    /// restart where it is not; starts one where none runs.
    pub(super) async fn take_over_or_start(&self) -> Result<Started, StartError> {
        let binary = self.binary()?;
        let bootstrap = self.config.state_dir.bootstrap();
        let mut running =
            Process::with_argument(bootstrap.as_os_str()).map_err(StartError::Proc)?;
        let Some((process, command)) = running.pop() else {
            return Ok(Started::alone(self.fresh().await?));
        };
        let mut retiring: Vec<_> = running
            .into_iter()
            .map(|(process, _)| Arc::new(process))
            .collect();

        let record =
            Record::read(&self.config.state_dir).filter(|record| record.describes(&process));
        let Some((base_id, epoch)) = self.identify(&command, record.as_ref()) else {
            tracing::warn!(
                "Envoy (pid {}) was left by a nuncio that had just started it; it is replaced",
                process.pid()
            );
            return self.replace(&process, retiring).await;
        };
        let old = Envoy {
            process: Arc::new(process),
            base_id,
            epoch,
        };
        let same = record
            .as_ref()
            .is_some_and(|record| record.config == self.fingerprint && record.binary == binary);
        let answer = self.admin.with_timeout(STUCK).epoch().await;
        match answer {
            Ok(epoch) if same && epoch == old.epoch => {
                // The nuncio before may have been killed while it drained.
                let _ = self.admin.post("/healthcheck/ok").await;
                return Ok(Started {
                    envoy: old,
                    taken_over: true,
                    retiring,
                });
            }
            Err(AdminError::Timeout(_)) => {
                tracing::warn!(
                    "Envoy (pid {}) runs but does not answer; it is replaced",
                    old.process.pid()
                );
                return self.replace(&old.process, retiring).await;
            }
            _ => {}
        }

        if record.is_some_and(|record| record.binary != binary) && !self.can_hot_restart().await {
            tracing::warn!(
                "this Envoy cannot take connections over from the one that runs (pid {}), which \
                 is drained first",
                old.process.pid()
            );
            let hurry = Hurry::never();
            drain::drain(self.terms(), &old.process, &retiring, hurry).await;
            drain::stop(std::iter::once(&old.process).chain(&retiring)).await;
            return Ok(Started::alone(self.fresh().await?));
        }
        let envoy = self.hot_restart(&old).await?;
        retiring.push(old.process);
        Ok(Started {
            envoy,
            taken_over: false,
            retiring,
        })
    }

    pub(super) fn terms(&self) -> Terms<'_> {
        Terms {
            admin: &self.admin,
            state_dir: &self.config.state_dir,
            drain_time: self.config.drain_time,
            stats_flush_interval: self.config.stats_flush_interval,
        }
    }

    /// After a start that failed: what belongs to no Envoy goes.
    pub(super) fn clean_up_unless_running(&self) {
        let state = &self.config.state_dir;
        let running = Process::with_argument(state.bootstrap().as_os_str());
        if running.is_ok_and(|running| running.is_empty()) {
            state.remove_all();
        }
    }

    /// Ends what is of no use any more, and starts afresh.
    async fn replace(
        &self,
        process: &Process,
        retiring: Vec<Arc<Process>>,
    ) -> Result<Started, StartError> {
        drain::kill(process).await;
        Ok(Started {
            envoy: self.fresh().await?,
            taken_over: false,
            retiring,
        })
    }

    /// Base id and epoch of a running Envoy, from the record or, when nuncio was killed before it
    /// could write one, from the command line.
    fn identify(&self, command: &[OsString], record: Option<&Record>) -> Option<(u32, u32)> {
        if let Some(record) = record {
            return Some((record.base_id, record.restart_epoch));
        }
        let base_id = value_of(command, "--base-id").or_else(|| self.written_base_id())?;
        Some((base_id, value_of(command, "--restart-epoch").unwrap_or(0)))
    }

    /// Starts an Envoy that knows nothing of one before it.
    pub(super) async fn fresh(&self) -> Result<Envoy, StartError> {
        let state = &self.config.state_dir;
        state.remove_leftovers();
        let started = self.start(self.config.base_id).await;
        if started.is_err() {
            state.remove_leftovers();
        }
        started
    }

    /// The same in place of one that ended. What it needs is written already: the disk may be full.
    pub(super) async fn again(&self, ended: &Envoy) -> Result<Envoy, StartError> {
        self.config.state_dir.remove_leftovers_but_base_id();
        self.start(Some(ended.base_id)).await
    }

    /// Envoy chooses a base id where none is given.
    async fn start(&self, base_id: Option<u32>) -> Result<Envoy, StartError> {
        let state = &self.config.state_dir;
        let binary = self.binary()?;
        state.write_if_other(&state.bootstrap(), &self.bootstrap)?;
        let mut args = self.arguments();
        match base_id {
            Some(base_id) => {
                // As Envoy does with one of its own choice.
                state.write_if_other(&state.base_id(), base_id.to_string().as_bytes())?;
                args.extend(["--base-id".into(), base_id.to_string().into()]);
            }
            None => args.extend([
                "--use-dynamic-base-id".into(),
                "--base-id-path".into(),
                state.base_id().into_os_string(),
            ]),
        }
        let process = self.launch(&args, 0).await?;
        let Some(base_id) = base_id.or_else(|| self.written_base_id()) else {
            drain::kill(&process).await;
            return Err(StartError::Ended(ExitStatus::NotStarted(
                "it wrote no base id".to_owned(),
            )));
        };
        let envoy = Envoy {
            process: Arc::new(process),
            base_id,
            epoch: 0,
        };
        if let Err(error) = self.record(&envoy, binary) {
            tracing::warn!("the next nuncio will replace this Envoy, not take it over: {error}");
        }
        Ok(envoy)
    }

    /// Starts an Envoy that takes listeners and statistics over from the one that runs. If it
    /// fails, the one that runs goes on.
    async fn hot_restart(&self, old: &Envoy) -> Result<Envoy, StartError> {
        let state = &self.config.state_dir;
        let binary = self.binary()?;
        state.write(&state.bootstrap(), &self.bootstrap)?;
        let epoch = old.epoch + 1;
        let mut args = self.arguments();
        args.extend([
            "--base-id".into(),
            old.base_id.to_string().into(),
            "--restart-epoch".into(),
            epoch.to_string().into(),
            // The old one may die at any moment; then this is a start like any other.
            "--skip-hot-restart-on-no-parent".into(),
        ]);
        let process = self.launch(&args, epoch).await?;
        let envoy = Envoy {
            process: Arc::new(process),
            base_id: old.base_id,
            epoch,
        };
        self.record(&envoy, binary)?;
        Ok(envoy)
    }

    /// Starts the process and waits until its admin interface answers.
    async fn launch(&self, args: &[OsString], epoch: u32) -> Result<Process, StartError> {
        let path = &self.config.envoy;
        let process = Process::spawn(path, args).map_err(|source| StartError::Spawn {
            path: path.clone(),
            source,
        })?;
        let up = async {
            loop {
                // Until it is replaced, the old one of a hot restart answers with its own epoch.
                if matches!(self.admin.epoch().await, Ok(answered) if answered == epoch) {
                    return;
                }
                tokio::time::sleep(ASK).await;
            }
        };
        tokio::select! {
            biased;
            status = process.exited() => Err(StartError::Ended(status)),
            () = up => Ok(process),
            () = tokio::time::sleep(STARTUP) => {
                drain::kill(&process).await;
                Err(StartError::Silent { pid: process.pid() })
            }
        }
    }

    /// The arguments that every start has.
    fn arguments(&self) -> Vec<OsString> {
        let config = &self.config;
        let drain = config.drain_time.as_millis().div_ceil(1000);
        let mut args: Vec<OsString> = vec![
            "-c".into(),
            config.state_dir.bootstrap().into(),
            // Envoy's default, an abstract socket, would let every user of the machine take the
            // listeners away.
            "--socket-path".into(),
            config.state_dir.hot_restart_socket().into(),
            "--socket-mode".into(),
            "600".into(),
            "-l".into(),
            config.log_level.clone().into(),
            "--drain-time-s".into(),
            drain.to_string().into(),
            "--parent-shutdown-time-s".into(),
            (drain + PARENT_GRACE.as_secs() as u128).to_string().into(),
            // Lines of the access log are there when somebody looks for them.
            "--file-flush-interval-msec".into(),
            "1000".into(),
        ];
        if let Some(concurrency) = config.concurrency {
            args.extend(["--concurrency".into(), concurrency.to_string().into()]);
        }
        args.extend(config.extra_args.iter().cloned());
        args
    }

    fn binary(&self) -> Result<Binary, StartError> {
        let path = &self.config.envoy;
        let metadata = std::fs::metadata(path).map_err(|source| start_error(path, source))?;
        if !metadata.is_file() || metadata.permissions().mode() & 0o111 == 0 {
            return Err(StartError::NotExecutable(path.clone()));
        }
        Binary::of(path).map_err(|source| start_error(path, source))
    }

    fn record(&self, envoy: &Envoy, binary: Binary) -> Result<(), StateDirError> {
        let record = Record {
            pid: envoy.process.pid(),
            start_time: envoy.process.start_time(),
            restart_epoch: envoy.epoch,
            base_id: envoy.base_id,
            config: self.fingerprint.clone(),
            binary,
        };
        record.write(&self.config.state_dir)
    }

    fn written_base_id(&self) -> Option<u32> {
        let text = std::fs::read_to_string(self.config.state_dir.base_id()).ok()?;
        text.trim().parse().ok()
    }

    /// Whether the running Envoy and the one to start speak the same hot restart protocol. When
    /// the running one cannot be asked, trying is the better guess.
    async fn can_hot_restart(&self) -> bool {
        let Ok((_, running)) = self.admin.get("/hot_restart_version").await else {
            return true;
        };
        let asked = tokio::process::Command::new(&self.config.envoy)
            .arg("--hot-restart-version")
            .output()
            .await;
        match asked {
            Ok(output) => output.stdout.trim_ascii() == running.trim_ascii(),
            Err(_) => true,
        }
    }
}

/// What a replaced Envoy gets beyond the drain time.
pub(super) const PARENT_GRACE: Duration = Duration::from_secs(5);

impl Started {
    fn alone(envoy: Envoy) -> Self {
        Self {
            envoy,
            taken_over: false,
            retiring: Vec::new(),
        }
    }
}

impl AdminClient {
    /// The restart epoch of the Envoy that answers.
    async fn epoch(&self) -> Result<u32, AdminError> {
        let (_, body) = self.get("/server_info").await?;
        let info: serde_json::Value = serde_json::from_slice(&body).unwrap_or_default();
        let epoch = &info["command_line_options"]["restart_epoch"];
        Ok(epoch
            .as_u64()
            .and_then(|epoch| u32::try_from(epoch).ok())
            .unwrap_or(0))
    }
}

fn start_error(path: &Path, source: io::Error) -> StartError {
    match source.kind() {
        io::ErrorKind::NotFound => StartError::Missing(path.to_owned()),
        io::ErrorKind::PermissionDenied => StartError::NotExecutable(path.to_owned()),
        _ => StartError::Spawn {
            path: path.to_owned(),
            source,
        },
    }
}

fn value_of(command: &[OsString], option: &str) -> Option<u32> {
    let at = command.iter().position(|arg| arg == OsStr::new(option))?;
    command.get(at + 1)?.to_str()?.parse().ok()
}
