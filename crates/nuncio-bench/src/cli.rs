//! The command line.

use std::num::NonZero;
use std::path::PathBuf;
use std::str::FromStr;

use clap::{Args, Parser, Subcommand};

/// Measures what nuncio costs.
#[derive(Debug, Parser)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Measure everything, print tables and write the figures to a file.
    Run(RunArgs),
    /// Count the instructions of a cold translation and of a change, with valgrind.
    Instructions(InstructionsArgs),
    /// Measure one thing in this process: what the others start.
    #[command(hide = true)]
    Measure(MeasureArgs),
}

#[derive(Debug, Args)]
pub(crate) struct RunArgs {
    /// The Envoy program.
    #[arg(long, env = "NUNCIO_ENVOY")]
    pub(crate) envoy: PathBuf,
    /// Where the figures are written.
    #[arg(long, default_value = "target/bench/bench.json")]
    pub(crate) output: PathBuf,
    /// Figures of an earlier run, to compare with.
    #[arg(long)]
    pub(crate) baseline: Option<PathBuf>,
    /// Numbers of Mappings that are translated, and changed in the process.
    #[arg(long, default_value = "1000,10000,100000")]
    pub(crate) sizes: Sizes,
    /// Numbers of HTTPRoutes of which one is changed.
    #[arg(long, default_value = "1000,10000")]
    pub(crate) gateways: Sizes,
    /// Numbers of Hosts that share Mappings, beside one of each Host.
    #[arg(long, default_value = "1,1000")]
    pub(crate) hosts: Sizes,
    /// How many Mappings, for every name, they share.
    #[arg(long, default_value_t = 10_000)]
    pub(crate) shared_mappings: usize,
    /// Numbers of Mappings among which a change is followed to Envoy.
    #[arg(long, default_value = "1000,10000")]
    pub(crate) served: Sizes,
    /// Numbers of Mappings in a cluster that is served. It takes the programs of a Kubernetes API:
    /// KUBERNETES_BIN names their folder.
    #[arg(long, default_value = "10,1000,10000")]
    pub(crate) clusters: Sizes,
    /// Numbers of Mappings among which an endpoint changes while they do.
    #[arg(long, default_value = "10000")]
    pub(crate) busy: Sizes,
    /// Numbers of Envoys elsewhere.
    #[arg(long, default_value = "1000")]
    pub(crate) fleet: Sizes,
    /// Numbers of Hosts with a certificate each.
    #[arg(long, default_value = "1000,5000")]
    pub(crate) certificates: Sizes,
    /// Numbers of routes.
    #[arg(long, default_value = "10,1000,10000,100000")]
    pub(crate) routes: Sizes,
    /// Numbers of routes behind an AuthService, a RateLimitService and both.
    #[arg(long, default_value = "10")]
    pub(crate) filters: Sizes,
    /// How many requests each route is asked.
    #[arg(long, default_value_t = 4000)]
    pub(crate) requests: usize,
    /// For how many seconds the requests to an API server are counted while nothing changes.
    #[arg(long, default_value_t = 60)]
    pub(crate) rest: u64,
}

#[derive(Debug, Args)]
pub(crate) struct InstructionsArgs {
    /// The number of Mappings, and of HTTPRoutes.
    #[arg(long, default_value_t = 1000)]
    pub(crate) size: usize,
}

#[derive(Clone, Debug, Args)]
pub(crate) struct MeasureArgs {
    pub(crate) measure: String,
    #[arg(long)]
    pub(crate) size: usize,
    /// The manifests.
    #[arg(long)]
    pub(crate) folder: PathBuf,
    /// Where the figures go: standard output is Envoy's.
    #[arg(long)]
    pub(crate) result: PathBuf,
    #[arg(long)]
    pub(crate) envoy: Option<PathBuf>,
    #[arg(long, default_value_t = 0)]
    pub(crate) requests: usize,
    /// For how many seconds something is left alone.
    #[arg(long, default_value_t = 0)]
    pub(crate) rest: u64,
    /// How often something is changed.
    #[arg(long)]
    pub(crate) rounds: Option<usize>,
}

/// Numbers with commas between them; nothing is none of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Sizes(pub(crate) Vec<usize>);

impl FromStr for Sizes {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let size = |size: &str| {
            let size = size.trim();
            let number = size.parse::<NonZero<usize>>().map(NonZero::get);
            number.map_err(|_| format!("{size:?} is no size: write numbers such as 1000,10000"))
        };
        let sizes = text.split(',').filter(|_| !text.trim().is_empty());
        sizes.map(size).collect::<Result<_, _>>().map(Self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_numbers_or_none() {
        assert_eq!("10, 20".parse(), Ok(Sizes(vec![10, 20])));
        assert_eq!("".parse(), Ok(Sizes(Vec::new())));
        for wrong in ["10,", "0", "many"] {
            assert!(wrong.parse::<Sizes>().is_err(), "{wrong}");
        }
    }
}
