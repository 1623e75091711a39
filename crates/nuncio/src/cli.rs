//! The command line.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

/// An API gateway for Kubernetes, with Envoy as its data plane.
///
/// nuncio reads Emissary's resources (Listener, Host, Mapping) and Ingresses from a folder of YAML
/// and serves them through Envoy. A change to the folder is served at once and drops nothing.
#[derive(Parser, Debug)]
#[command(name = "nuncio", version, disable_version_flag = true)]
#[command(after_help = "\
Examples:
  nuncio run --manifests ./gateway      serve what the folder says, and follow its changes
  nuncio check ./gateway                say what is wrong in the folder, without serving it")]
pub struct Cli {
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Subcommand, Debug)]
pub enum Command {
    Run(RunArgs),
    Check(CheckArgs),
    /// Print the versions of nuncio and of the Envoy API it speaks.
    Version,
}

/// Serve the resources of one or more folders through Envoy.
///
/// Listeners listen on --bind. Liveness, readiness, diagnostics and metrics are on --admin:
///   /ambassador/v0/check_alive, /ambassador/v0/check_ready,
///   /ambassador/v0/diag/?json=true, /metrics
///
/// SIGTERM and SIGINT end it in order: no new work is taken from clients, what is under way is
/// finished, then Envoy ends. After a SIGKILL Envoy goes on serving, and the next `nuncio run`
/// with the same --state-dir takes it over.
///
/// Exit codes: 0 after an orderly end, 1 when it could not start or go on, 2 for a wrong command
/// line.
#[derive(Args, Debug, Clone)]
#[command(verbatim_doc_comment)]
pub struct RunArgs {
    /// Folder (or file) of YAML or JSON manifests; nested folders too. May be given several times.
    #[arg(long, value_name = "DIR", required = true)]
    pub manifests: Vec<PathBuf>,

    /// Folder for sockets and for what a restart needs; one for each running nuncio.
    #[arg(long, value_name = "DIR", env = "NUNCIO_STATE_DIR")]
    pub state_dir: Option<PathBuf>,

    /// Address of health, diagnostics and metrics; without, 127.0.0.1:8877, or what the variables
    /// AMBASSADOR_HEALTHCHECK_BIND_ADDRESS and AMBASSADOR_HEALTHCHECK_BIND_PORT say.
    #[arg(long, value_name = "ADDR")]
    pub admin: Option<SocketAddr>,

    /// Address that Listeners bind.
    #[arg(
        long,
        value_name = "ADDR",
        default_value = "0.0.0.0",
        env = "AMBASSADOR_ENVOY_BIND_ADDRESS"
    )]
    pub bind: IpAddr,

    /// The Envoy program; without, `envoy` is looked for in PATH.
    #[arg(long, value_name = "PATH", env = "NUNCIO_ENVOY")]
    pub envoy: Option<PathBuf>,

    /// Longest time in seconds that requests under way are waited for at the end.
    #[arg(
        long,
        value_name = "SECONDS",
        default_value_t = 600,
        env = "AMBASSADOR_DRAIN_TIME"
    )]
    pub drain_time: u64,

    /// Worker threads of Envoy; without, one for each core.
    #[arg(long, value_name = "N", env = "ENVOY_CONCURRENCY")]
    pub concurrency: Option<u32>,

    /// File with the labels of nuncio's own pod, as the downward API writes it (key="value"). They
    /// say which Service is nuncio's own, whose addresses are those of Ingresses. It is read at the
    /// start; labels that change need a restart.
    #[arg(long, value_name = "FILE", env = "NUNCIO_POD_LABELS_FILE")]
    pub pod_labels: Option<PathBuf>,

    /// How much to log: error, warn, info, debug, trace.
    #[arg(
        long,
        value_name = "LEVEL",
        default_value = "info",
        env = "AES_LOG_LEVEL"
    )]
    pub log_level: String,
}

/// Say what is wrong with resources, without serving them.
///
/// Each problem is printed as FILE:LINE:COLUMN, the resource, the field, what is wrong and what to
/// write instead.
///
/// Exit codes: 0 when everything would be in effect (there may be warnings and notices), 1 when
/// something would not, 2 when the paths could not be read or the command line is wrong.
#[derive(Args, Debug, Clone)]
#[command(verbatim_doc_comment)]
pub struct CheckArgs {
    /// Folders or files of YAML or JSON manifests.
    #[arg(value_name = "PATH", required = true)]
    pub paths: Vec<PathBuf>,

    /// File with the labels of nuncio's own pod, as `nuncio run` takes it.
    #[arg(long, value_name = "FILE", env = "NUNCIO_POD_LABELS_FILE")]
    pub pod_labels: Option<PathBuf>,
}
