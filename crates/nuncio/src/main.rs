//! The nuncio binary.

use std::process::ExitCode;

use clap::Parser;
use mimalloc::MiMalloc;
use nuncio::cli::{Cli, Command};
use nuncio::{
    apiext, bootstrap, check, crds, diff, explain, identity, init, ratelimit, reference, render,
    run,
};

/// Every change frees as much as it allocates, in small pieces; glibc gives little of it back.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

fn main() -> ExitCode {
    match Cli::parse().command {
        Command::Run(args) => run::run(args),
        Command::Init(args) => init::run(args),
        Command::Check(args) => check::run(&args),
        Command::Diff(args) => diff::run(&args),
        Command::Explain(args) => explain::run(&args),
        Command::Bootstrap(args) => bootstrap::run(&args),
        Command::Ratelimit(args) => ratelimit::run(&args),
        Command::Render(args) => render::run(&args),
        Command::Crds(args) => crds::run(&args),
        Command::Apiext(args) => apiext::run(args),
        Command::Completions(args) => reference::completions(&args),
        Command::Man(args) => reference::man(&args),
        Command::Version => {
            println!("nuncio {}", identity::VERSION);
            println!("Envoy API of Envoy {}", nuncio_envoy::ENVOY_VERSION);
            ExitCode::SUCCESS
        }
    }
}
