//! A program that ends with the process that started it.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Context;
use tokio::process::{Child, ChildStdin, Command};

/// Runs a program until the pipe on its own standard input ends, which it does with whoever holds
/// the other end, however that ends.
const GUARD: &str = r#"exec 3<&0
"$@" </dev/null 3<&- &
program=$!
echo $program >"$PID_FILE"
{ cat <&3 >/dev/null; kill -9 $program; } 2>/dev/null &
exec 3<&-
wait $program"#;

/// How many lines of a log are shown.
const SHOWN: usize = 30;

/// How long an end is waited for, so that nothing writes into a folder that is removed.
const END: Duration = Duration::from_secs(5);

#[derive(Debug)]
pub struct Process {
    guard: Child,
    pipe: Option<ChildStdin>,
    log: PathBuf,
    pid_file: PathBuf,
}

impl Process {
    /// Starts a program, whose output goes to a file in a folder.
    pub(crate) fn start(program: &Path, args: &[String], folder: &Path) -> anyhow::Result<Self> {
        let name = program.file_name().context("a program has a name")?;
        let beside = |extension| folder.join(name).with_extension(extension);
        let (log, pid_file) = (beside("log"), beside("pid"));
        let output = File::options().create(true).append(true).open(&log)?;
        let mut guard = Command::new("sh")
            .args(["-c", GUARD, "guard"])
            .arg(program)
            .args(args)
            .env("PID_FILE", &pid_file)
            .stdin(Stdio::piped())
            .stdout(output.try_clone()?)
            .stderr(output)
            .spawn()
            .with_context(|| format!("cannot start {}", program.display()))?;
        let pipe = guard.stdin.take();
        Ok(Self {
            guard,
            pipe,
            log,
            pid_file,
        })
    }

    /// Its process id, as soon as it runs.
    pub fn pid(&self) -> Option<u32> {
        fs::read_to_string(&self.pid_file).ok()?.trim().parse().ok()
    }

    pub(crate) fn ended(&mut self) -> anyhow::Result<Option<ExitStatus>> {
        Ok(self.guard.try_wait()?)
    }

    /// Ends it at once.
    pub(crate) async fn kill(mut self) -> anyhow::Result<()> {
        drop(self.pipe.take());
        self.guard.wait().await?;
        Ok(())
    }

    /// The last that it said.
    pub fn log(&self) -> String {
        let log = fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<_> = log.lines().collect();
        lines[lines.len().saturating_sub(SHOWN)..].join("\n")
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        drop(self.pipe.take());
        let end = Instant::now() + END;
        while matches!(self.guard.try_wait(), Ok(None)) && Instant::now() < end {
            thread::sleep(Duration::from_millis(5));
        }
    }
}
