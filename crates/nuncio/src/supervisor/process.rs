//! A process that may or may not be a child of ours, watched and signalled through its pidfd.
//!
//! A pid alone may name another process a moment later; a pidfd never does.
//!
//! Envoy asks the kernel for a SIGTERM when its parent ends (`PR_SET_PDEATHSIG`, wherever hot restart
//! is possible), but must outlive nuncio. So its parent is a keeper: a shell that waits for Envoy,
//! outlives nuncio as well, and ends with Envoy's exit status.

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::io::{self, BufRead, BufReader, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use rustix::process::{
    Pid, PidfdFlags, Signal, WaitId, WaitIdOptions, pidfd_open, pidfd_send_signal, waitid,
};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// How a process ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ExitStatus {
    Code(i32),
    Signal(i32),
    /// The process was started by an earlier nuncio: only its parent learns how it ended.
    Unknown,
    /// It did not start, or did not answer; the message says why.
    NotStarted(String),
}

impl fmt::Display for ExitStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ExitStatus::Code(code) => write!(f, "exit code {code}"),
            ExitStatus::Signal(signal) => match signal_name(*signal) {
                Some(name) => write!(f, "killed by {name} (signal {signal})"),
                None => write!(f, "killed by signal {signal}"),
            },
            ExitStatus::Unknown => {
                f.write_str("no exit code is known, because an earlier nuncio had started it")
            }
            ExitStatus::NotStarted(why) => f.write_str(why),
        }
    }
}

/// The signals by which an Envoy ends in practice: its own crash, the OOM killer, a person.
fn signal_name(signal: i32) -> Option<&'static str> {
    let known = [
        (Signal::ABORT, "SIGABRT"),
        (Signal::BUS, "SIGBUS"),
        (Signal::FPE, "SIGFPE"),
        (Signal::HUP, "SIGHUP"),
        (Signal::ILL, "SIGILL"),
        (Signal::INT, "SIGINT"),
        (Signal::KILL, "SIGKILL"),
        (Signal::SEGV, "SIGSEGV"),
        (Signal::TERM, "SIGTERM"),
    ];
    known
        .iter()
        .find(|(known, _)| known.as_raw() == signal)
        .map(|(_, name)| *name)
}

/// Tells Envoy's pid on its standard input, a socket, and starts Envoy only when told to go on: by
/// then nuncio holds the pid, and one that ends at once is not missed. Without an answer, because
/// nuncio is gone, nothing is started. (Some shells write "Killed" while they wait; nuncio says it
/// better.)
const KEEPER: &str = r#"
trap '' HUP INT
exec 3<&0 </dev/null
(read -r _ <&3 && exec "$@" </dev/null 3<&-) &
echo $! >&3
exec 3<&-
wait $! 2>/dev/null
"#;

/// How soon the keeper follows Envoy.
const KEEPER_FOLLOWS: Duration = Duration::from_secs(1);

/// A process held by its pidfd.
#[derive(Debug)]
pub(super) struct Process {
    pid: u32,
    start_time: u64,
    pidfd: AsyncFd<OwnedFd>,
    keeper: Option<AsyncFd<OwnedFd>>,
}

impl Process {
    /// Starts a program under a keeper, in a process group of its own, so that Ctrl-C in the
    /// terminal reaches only nuncio. It inherits stdout and stderr: a pipe that nobody empties
    /// blocks Envoy's main thread.
    pub(super) fn spawn(program: &Path, args: &[OsString]) -> io::Result<Self> {
        let (mut ours, theirs) = UnixStream::pair()?;
        let mut keeper = Command::new("/bin/sh")
            .args(["-c", KEEPER, "nuncio-keeper"])
            .arg(program)
            .args(args)
            .stdin(Stdio::from(OwnedFd::from(theirs)))
            .process_group(0)
            .spawn()?;
        let started = (|| {
            let mut pid = String::new();
            BufReader::new(&ours).read_line(&mut pid)?;
            let pid = pid.trim().parse().map_err(|_| {
                io::Error::other("/bin/sh did not say the process id of what it started")
            })?;
            let process = Self::hold(pid, Some(keeper.id()))?;
            ours.write_all(b"\n")?;
            Ok(process)
        })();
        started.inspect_err(|_| {
            // What cannot be watched must not run; it has not been told to go on.
            let _ = keeper.kill();
            let _ = keeper.wait();
        })
    }

    fn hold(pid: u32, keeper: Option<u32>) -> io::Result<Self> {
        let pidfd = open(pid)?;
        let stat = Stat::of(pid)
            .ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, "no such process"))?;
        Ok(Self {
            pid,
            start_time: stat.start_time,
            pidfd,
            keeper: keeper.map(open).transpose()?,
        })
    }

    /// Every live process started with `arg`, oldest first, with its command line. Envoy gets a
    /// path that no other process has, so its command line says whose it is, even when nuncio was
    /// killed before it could write that down.
    pub(super) fn with_argument(arg: &OsStr) -> io::Result<Vec<(Self, Vec<OsString>)>> {
        let mut found = Vec::new();
        for entry in std::fs::read_dir("/proc")? {
            let name = entry?.file_name();
            let Some(pid) = name.to_str().and_then(|name| name.parse().ok()) else {
                continue;
            };
            if !is_envoy(&command_line(pid), arg) {
                continue;
            }
            let keeper = Stat::of(pid)
                .map(|stat| stat.parent)
                .filter(|parent| command_line(*parent).iter().any(|each| each == arg));
            // Between reading and holding, the pid may have gone to another process.
            let Ok(process) = Self::hold(pid, keeper) else {
                continue;
            };
            let command = command_line(pid);
            if is_envoy(&command, arg) {
                found.push((process, command));
            }
        }
        found.sort_by_key(|(process, _)| (process.start_time, process.pid));
        Ok(found)
    }

    pub(super) fn pid(&self) -> u32 {
        self.pid
    }

    /// When it started, in clock ticks since boot: with the pid it names the process.
    pub(super) fn start_time(&self) -> u64 {
        self.start_time
    }

    /// Sends a signal; a process that has ended already needs none.
    pub(super) fn signal(&self, signal: Signal) {
        if let Err(error) = pidfd_send_signal(self.pidfd.get_ref(), signal)
            && error != rustix::io::Errno::SRCH
        {
            tracing::warn!("cannot signal Envoy (pid {}): {error}", self.pid);
        }
    }

    /// Waits until the process has ended, and reaps its keeper if that is a child of ours.
    pub(super) async fn exited(&self) -> ExitStatus {
        ended(&self.pidfd).await;
        let Some(keeper) = &self.keeper else {
            return ExitStatus::Unknown;
        };
        if tokio::time::timeout(KEEPER_FOLLOWS, ended(keeper))
            .await
            .is_err()
        {
            return ExitStatus::Unknown;
        }
        let id = WaitId::PidFd(keeper.get_ref().as_fd());
        match waitid(id, WaitIdOptions::EXITED | WaitIdOptions::NOHANG) {
            Ok(Some(status)) => match (status.exit_status(), status.terminating_signal()) {
                // A shell's way to say that a signal ended what it ran.
                (Some(code), _) if code > 128 => ExitStatus::Signal(code - 128),
                (Some(code), _) => ExitStatus::Code(code),
                (None, Some(signal)) => ExitStatus::Signal(signal),
                (None, None) => ExitStatus::Unknown,
            },
            // ECHILD: an earlier nuncio's.
            Ok(None) | Err(_) => ExitStatus::Unknown,
        }
    }
}

fn open(pid: u32) -> io::Result<AsyncFd<OwnedFd>> {
    let pid = i32::try_from(pid)
        .ok()
        .and_then(Pid::from_raw)
        .ok_or_else(|| io::Error::from(io::ErrorKind::InvalidInput))?;
    let pidfd = pidfd_open(pid, PidfdFlags::empty())?;
    // tokio's successor of this function is `unsafe`, because a type might lie about the file
    // descriptor that it owns. An `OwnedFd` cannot.
    #[expect(
        deprecated,
        reason = "sound for an OwnedFd, and this crate forbids unsafe code"
    )]
    AsyncFd::with_interest(pidfd, Interest::READABLE)
}

/// A pidfd becomes readable when its process ends and stays so; nothing is read from it.
async fn ended(pidfd: &AsyncFd<OwnedFd>) {
    if let Err(error) = pidfd.readable().await {
        tracing::warn!("cannot watch Envoy's process: {error}");
    }
}

/// Whether this is the command line of an Envoy with that bootstrap, not of its keeper.
fn is_envoy(command: &[OsString], bootstrap: &OsStr) -> bool {
    command
        .get(1..3)
        .is_some_and(|args| args[0] == "-c" && args[1] == bootstrap)
}

/// The arguments of a process; empty when it has ended or is a zombie.
fn command_line(pid: u32) -> Vec<OsString> {
    let bytes = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    bytes
        .split(|byte| *byte == 0)
        .map(|arg| OsStr::from_bytes(arg).to_owned())
        .collect()
}

/// Of `/proc/PID/stat` (see proc_pid_stat(5)).
struct Stat {
    parent: u32,
    start_time: u64,
}

impl Stat {
    fn of(pid: u32) -> Option<Self> {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        // The second field, the name, may hold spaces and parentheses: count after the last one.
        let (_, rest) = stat.rsplit_once(')')?;
        let field = |number: usize| rest.split_ascii_whitespace().nth(number - 3);
        Some(Self {
            parent: field(4)?.parse().ok()?,
            start_time: field(22)?.parse().ok()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Process {
        Process::spawn(Path::new("/bin/sh"), &["-c".into(), script.into()]).unwrap()
    }

    #[tokio::test]
    async fn how_a_process_ended_is_told() {
        assert_eq!(shell("exit 3").exited().await, ExitStatus::Code(3));
        let killed = shell("kill -9 $$").exited().await;
        assert_eq!(killed.to_string(), "killed by SIGKILL (signal 9)");
    }

    #[tokio::test]
    async fn a_process_is_found_by_its_argument_without_its_keeper() {
        // Without a fork, which would have its command line for a moment.
        let marker = format!("kill -STOP $$ # {}", std::process::id());
        let started = shell(&marker);
        let mut found = Vec::new();
        while found.is_empty() {
            found = Process::with_argument(OsStr::new(&marker)).unwrap();
            tokio::task::yield_now().await;
        }
        let pids: Vec<_> = found.iter().map(|(found, _)| found.pid()).collect();
        assert_eq!(pids, [started.pid()]);
        assert_eq!(found[0].0.start_time(), started.start_time());
        started.signal(Signal::KILL);
        assert_eq!(started.exited().await, ExitStatus::Signal(9));
        assert!(
            Process::with_argument(OsStr::new(&marker))
                .unwrap()
                .is_empty()
        );
    }
}
