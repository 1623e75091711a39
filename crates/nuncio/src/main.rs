//! The nuncio binary.

use std::process::ExitCode;

use clap::Parser;
use nuncio::cli::{Cli, Command};
use nuncio::{check, identity, run};

fn main() -> ExitCode {
    match Cli::parse().command {
        Command::Run(args) => run::run(args),
        Command::Check(args) => check::run(&args),
        Command::Version => {
            println!("nuncio {}", identity::VERSION);
            println!("Envoy API of Envoy {}", nuncio_envoy::ENVOY_VERSION);
            ExitCode::SUCCESS
        }
    }
}
