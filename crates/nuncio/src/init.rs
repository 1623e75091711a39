//! `nuncio init`: the first process of a container.
//!
//! When the first process of a PID namespace ends, the kernel kills all others in it, Envoy too. So
//! that is not nuncio, which may crash, but this: it has next to nothing that could.

use std::ffi::OsString;
use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};

use anyhow::Context;
use rustix::io::Errno;
use rustix::process::{
    Pid, Signal, WaitOptions, WaitStatus, getpid, kill_process, set_child_subreaper, wait,
};
use tokio::signal::unix::{SignalKind, signal};

use crate::cli::InitArgs;
use crate::environment::Environment;
use crate::run::{end_left_behind, state_dir};
use crate::signals::Ends;

const SHORTEST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// A nuncio that was up for this long starts again as if it had never ended.
const STABLE: Duration = Duration::from_secs(60);

pub fn run(args: InitArgs) -> ExitCode {
    let json = Environment::read().is_ok_and(|read| read.json_logging);
    crate::log::init(&args.run.log_level, json);
    let ended = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start")
        .and_then(|runtime| runtime.block_on(keep(&args)));
    match ended {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            tracing::error!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Returns the exit code of nuncio when no Envoy is left.
async fn keep(args: &InitArgs) -> anyhow::Result<u8> {
    let program = std::env::current_exe().context("cannot find this program")?;
    let arguments: Vec<OsString> = std::env::args_os().skip(2).collect();
    let mut ends = Ends::new()?;
    let mut children = signal(SignalKind::child()).context("cannot wait for SIGCHLD")?;
    // Also where it is not the first process, what nuncio leaves behind becomes a child of this one.
    set_child_subreaper(Some(getpid())).context("cannot adopt processes")?;

    let mut pause = SHORTEST_PAUSE;
    let mut ending = false;
    loop {
        let started = Instant::now();
        let child = Command::new(&program)
            .arg("run")
            .args(&arguments)
            .spawn()
            .with_context(|| format!("cannot run {}", program.display()))?;
        let nuncio = i32::try_from(child.id())
            .ok()
            .and_then(Pid::from_raw)
            .context("nuncio has no process id")?;
        let status = loop {
            tokio::select! {
                _ = children.recv() => {
                    if let Some(status) = reap(nuncio) {
                        break status;
                    }
                }
                () = ends.next() => {
                    ending = true;
                    // One that has just ended is seen the next moment.
                    let _ = kill_process(nuncio, Signal::TERM);
                }
            }
        };
        if status.exit_status() == Some(0) || !any_child_left() {
            return Ok(exit_code(status));
        }
        if !ending {
            if started.elapsed() >= STABLE {
                pause = SHORTEST_PAUSE;
            }
            tracing::error!(
                "nuncio ended ({}); Envoy serves on, and nuncio is started again in {pause:?}",
                describe(status)
            );
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = ends.next() => ending = true,
            }
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
        if ending {
            let state_dir = state_dir(&args.run)?;
            end_left_behind(&state_dir, &args.run, &mut ends).await;
            return Ok(0);
        }
    }
}

/// Reaps all that has ended; the status of nuncio when it is among them.
fn reap(nuncio: Pid) -> Option<WaitStatus> {
    let mut found = None;
    while let Ok(Some((pid, status))) = wait(WaitOptions::NOHANG) {
        if pid == nuncio {
            found = Some(status);
        }
    }
    found
}

/// Envoy, under its keeper.
fn any_child_left() -> bool {
    loop {
        match wait(WaitOptions::NOHANG) {
            Ok(Some(_)) => {}
            Ok(None) => return true,
            Err(Errno::INTR) => {}
            Err(_) => return false,
        }
    }
}

fn exit_code(status: WaitStatus) -> u8 {
    let signal = status.terminating_signal().map(|signal| signal + 128);
    let code = status.exit_status().or(signal);
    code.and_then(|code| u8::try_from(code).ok()).unwrap_or(1)
}

fn describe(status: WaitStatus) -> String {
    match (status.exit_status(), status.terminating_signal()) {
        (Some(code), _) => format!("exit code {code}"),
        (None, Some(signal)) => format!("killed by signal {signal}"),
        (None, None) => "for an unknown reason".to_owned(),
    }
}
