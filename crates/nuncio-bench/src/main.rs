//! `make bench`: what nuncio costs, in figures that a later run can be compared with.
//!
//! ```text
//!  run ──▶ child ──▶ cold      files to snapshot, stage by stage
//!            │  ├──▶ change    one change to the next snapshot
//!            │  └──▶ gateway_api    the same of HTTPRoutes
//!            ├─────▶ served    one change to the answer of a real Envoy
//!            ├─────▶ cluster   objects of an API server to the first request
//!            ├─────▶ busy      a changed endpoint while routes change
//!            ├─────▶ fleet     one change to the answers of many Envoys elsewhere
//!            ├─────▶ tls       many Hosts with certificates
//!            ├─────▶ routing   Envoy's time for a request, beside routes written by hand
//!            └─────▶ filters   the same of requests that others are asked about
//! ```
//!
//! A file for each thing that is measured; [`manifests`] makes what they measure it on, and
//! [`figure`] holds what comes of it.

mod busy;
mod change;
mod child;
mod cli;
mod cluster;
mod cold;
mod figure;
mod filters;
mod fleet;
mod gateway;
mod gateway_api;
mod instructions;
mod manifests;
mod plain;
mod rest;
mod routing;
mod served;
mod tls;
mod usage;

use std::fs;
use std::num::NonZero;
use std::path::Path;
use std::process::ExitCode;

use anyhow::Context;
use clap::Parser;
use mimalloc::MiMalloc;

use child::Job;
use cli::{Cli, Command, RunArgs};
use figure::{Figure, Results, medians};

/// nuncio's own: with another one memory and time would be another program's.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

/// Where the Listener of the manifests listens when no Envoy is started.
const NO_PORT: u16 = 8080;

fn main() -> ExitCode {
    let done = match Cli::parse().command {
        Command::Run(args) => run(&args),
        Command::Instructions(args) => instructions::count(args.size).map(|figures| {
            print!("{}", results(figures).tables(None));
        }),
        Command::Measure(args) => child::measure(&args),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("nuncio-bench: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(args: &RunArgs) -> anyhow::Result<()> {
    // Before anything is measured: a wrong path should not cost minutes.
    let baseline = args.baseline.as_deref().map(read).transpose()?;
    let mut measured = Measured::default();
    for &size in &args.sizes.0 {
        let folder = tempfile::tempdir()?;
        manifests::services(folder.path(), size, NO_PORT)?;
        measured.add(measure(args, cold::NAME, size, folder.path(), colds(size)));
        measured.add(measure(args, change::NAME, size, folder.path(), 1));
    }
    for &size in &args.gateways.0 {
        let folder = tempfile::tempdir()?;
        for (name, _) in gateway_api::AMONG {
            measured.add(measure(args, name, size, folder.path(), 1));
        }
    }
    for &hosts in &args.hosts.0 {
        let folder = tempfile::tempdir()?;
        manifests::hosts(folder.path(), hosts, args.shared_mappings, NO_PORT)?;
        let runs = colds(args.shared_mappings);
        measured.add(measure(args, cold::HOSTS, hosts, folder.path(), runs));
    }
    for &size in &args.served.0 {
        let folder = tempfile::tempdir()?;
        manifests::services(folder.path(), size, nuncio_echo::free_port())?;
        measured.add(measure(args, served::NAME, size, folder.path(), 1));
    }
    for &size in &args.clusters.0 {
        let folder = tempfile::tempdir()?;
        measured.add(measure(args, cluster::NAME, size, folder.path(), 1));
    }
    for &size in &args.busy.0 {
        let folder = tempfile::tempdir()?;
        measured.add(measure(args, busy::NAME, size, folder.path(), 1));
    }
    for &size in &args.fleet.0 {
        let folder = tempfile::tempdir()?;
        manifests::services(folder.path(), fleet::MAPPINGS, NO_PORT)?;
        measured.add(measure(args, fleet::NAME, size, folder.path(), 1));
    }
    for &size in &args.certificates.0 {
        let folder = tempfile::tempdir()?;
        measured.add(measure(args, tls::NAME, size, folder.path(), 1));
    }
    for &size in &args.routes.0 {
        let folder = tempfile::tempdir()?;
        measured.add(measure(args, routing::NAME, size, folder.path(), 1));
    }
    for &size in &args.filters.0 {
        let folder = tempfile::tempdir()?;
        measured.add(measure(args, filters::NAME, size, folder.path(), 1));
    }

    let results = results(measured.figures);
    write(&args.output, &results)?;
    print!("{}", results.tables(baseline.as_ref()));
    if let Some(baseline) = baseline.filter(|baseline| baseline.build != results.build) {
        println!(
            "The baseline is of a {} build, this one is a {} build: they do not compare.",
            baseline.build, results.build
        );
    }
    println!("Written to {}.", args.output.display());
    let failed = measured.failed;
    anyhow::ensure!(failed == 0, "{failed} measurements failed, see above");
    Ok(())
}

/// What came of measurements: one that fails costs no other.
#[derive(Default)]
struct Measured {
    figures: Vec<Figure>,
    failed: usize,
}

impl Measured {
    fn add(&mut self, figures: anyhow::Result<Vec<Figure>>) {
        match figures {
            Ok(figures) => self.figures.extend(figures),
            Err(error) => {
                eprintln!("{error:#}");
                self.failed += 1;
            }
        }
    }
}

fn measure(
    args: &RunArgs,
    measure: &'static str,
    size: usize,
    folder: &Path,
    runs: usize,
) -> anyhow::Result<Vec<Figure>> {
    let job = Job {
        measure,
        size,
        folder,
        envoy: &args.envoy,
        requests: args.requests,
        rest: args.rest,
    };
    let mut figures = Vec::new();
    for run in 1..=runs {
        eprintln!("{measure} {size}, {run} of {runs}");
        figures.push(child::run(&job)?);
    }
    Ok(medians(&figures))
}

/// How often a cold translation is measured: less where it takes long and noise is small beside it.
fn colds(size: usize) -> usize {
    (30_000 / size.max(1)).clamp(1, 5)
}

fn results(figures: Vec<Figure>) -> Results {
    Results {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        build: if cfg!(debug_assertions) {
            "debug"
        } else {
            "release"
        }
        .to_owned(),
        cores: std::thread::available_parallelism().map_or(1, NonZero::get),
        figures,
    }
}

fn read(path: &Path) -> anyhow::Result<Results> {
    let what = || {
        format!(
            "cannot take {} as a baseline: give the file that an earlier `make bench` wrote",
            path.display()
        )
    };
    let text = fs::read(path).with_context(what)?;
    serde_json::from_slice(&text).with_context(what)
}

fn write(path: &Path, results: &Results) -> anyhow::Result<()> {
    let text = serde_json::to_string_pretty(results)?;
    let folder = path.parent().map_or(Ok(()), fs::create_dir_all);
    folder
        .and_then(|()| fs::write(path, text + "\n"))
        .with_context(|| format!("cannot write {}", path.display()))
}
