//! Each measurement in a process of its own: its memory is its own, and nothing of one reaches the
//! next.

use std::fs::{self, File};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::Context;

use crate::cli::MeasureArgs;
use crate::figure::Figure;
use crate::{busy, change, cluster, cold, filters, fleet, gateway_api, routing, served, tls};

/// How much of what a failed measurement said is shown.
const SHOWN_LINES: usize = 20;

/// One change of an endpoint stands for so many requests of other measurements.
const REQUESTS_FOR_A_ROUND: usize = 20;

/// What to measure.
pub(crate) struct Job<'a> {
    pub(crate) measure: &'static str,
    pub(crate) size: usize,
    pub(crate) folder: &'a Path,
    pub(crate) envoy: &'a Path,
    pub(crate) requests: usize,
    /// How many seconds something is left alone.
    pub(crate) rest: u64,
}

/// Runs a measurement in a new process.
pub(crate) fn run(job: &Job<'_>) -> anyhow::Result<Vec<Figure>> {
    let files = tempfile::tempdir()?;
    let result = files.path().join("figures.json");
    // Envoy writes its access log there too: a pipe would have to be emptied.
    let log = files.path().join("log");
    let out = File::create(&log)?;
    let status = Command::new(std::env::current_exe()?)
        .args(["measure", job.measure])
        .args(["--size", &job.size.to_string()])
        .args(["--requests", &job.requests.to_string()])
        .args(["--rest", &job.rest.to_string()])
        .arg("--envoy")
        .arg(job.envoy)
        .arg("--folder")
        .arg(job.folder)
        .arg("--result")
        .arg(&result)
        .stdin(Stdio::null())
        .stderr(out.try_clone()?)
        .stdout(out)
        .status()?;
    if !status.success() {
        let log = fs::read_to_string(log).unwrap_or_default();
        let lines: Vec<_> = log.lines().collect();
        let shown = &lines[lines.len().saturating_sub(SHOWN_LINES)..];
        anyhow::bail!(
            "{} of {} failed ({status}):\n{}",
            job.measure,
            job.size,
            shown.join("\n")
        );
    }
    let figures = fs::read(&result).context("the measurement wrote no figures")?;
    Ok(serde_json::from_slice(&figures)?)
}

/// What that process does.
pub(crate) fn measure(args: &MeasureArgs) -> anyhow::Result<()> {
    let (folder, size) = (args.folder.as_path(), args.size);
    let envoy = || args.envoy.as_deref().context("give --envoy PATH");
    let figures = match args.measure.as_str() {
        cold::NAME => cold::measure(cold::NAME, folder, size)?,
        cold::HOSTS => cold::measure(cold::HOSTS, folder, size)?,
        change::NAME => {
            let rounds = args.rounds.unwrap_or_else(|| change::rounds(size));
            change::measure(folder, size, rounds)?
        }
        served::NAME => runtime()?.block_on(served::measure(folder, size, envoy()?))?,
        cluster::NAME => {
            let rest = Duration::from_secs(args.rest);
            runtime()?.block_on(cluster::measure(size, envoy()?, rest))?
        }
        busy::NAME => {
            let rounds = (args.requests / REQUESTS_FOR_A_ROUND).max(1);
            let measured = busy::measure(folder, size, envoy()?, rounds);
            runtime()?.block_on(measured)?
        }
        fleet::NAME => runtime()?.block_on(fleet::measure(folder, size))?,
        tls::NAME => runtime()?.block_on(tls::measure(folder, size, envoy()?))?,
        routing::NAME => {
            let measured = routing::measure(folder, size, envoy()?, args.requests);
            runtime()?.block_on(measured)?
        }
        filters::NAME => {
            let measured = filters::measure(folder, size, envoy()?, args.requests);
            runtime()?.block_on(measured)?
        }
        other => {
            let mut among = gateway_api::AMONG.into_iter();
            let among = among.find(|(name, _)| *name == other);
            let among = among.with_context(|| format!("there is no measurement {other:?}"))?;
            let rounds = args.rounds.unwrap_or_else(|| change::rounds(size));
            gateway_api::measure(among, size, rounds)?
        }
    };
    fs::write(&args.result, serde_json::to_vec(&figures)?)?;
    Ok(())
}

fn runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    Ok(runtime.enable_all().build()?)
}
