//! The command line.

mod apiext;
mod ratelimit;

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::str::FromStr;

use clap::{Args, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;
use nuncio_translate::ServiceType;

pub use apiext::{ApiextArgs, CrdsArgs, ServiceName};
pub use ratelimit::{CountingArgs, RatelimitArgs};

/// An API gateway for Kubernetes, with Envoy as its data plane.
///
/// nuncio reads Emissary's resources (Listener, Host, Mapping), Ingresses and those of the Gateway
/// API from a folder of YAML or from a cluster and serves them through Envoy. A change is served at once and drops nothing.
#[derive(Parser, Debug)]
#[command(name = "nuncio", version, disable_version_flag = true)]
#[command(after_help = "\
Examples:
  nuncio run --manifests ./gateway      serve what the folder says, and follow its changes
  nuncio run --kubeconfig ~/.kube/config serve what a cluster says; in a pod, just nuncio run
  nuncio check ./gateway                say what is wrong in the folder, without serving it
  nuncio diff ./old ./new               say what a change would mean for traffic
  nuncio explain ./gateway URL          say what becomes of a request, and why
  nuncio render ./gateway -o envoy.yaml write what Envoy needs to serve it alone")]
pub struct Cli {
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Subcommand, Debug)]
pub enum Command {
    Run(RunArgs),
    Init(InitArgs),
    Check(CheckArgs),
    Diff(DiffArgs),
    Explain(ExplainArgs),
    Render(RenderArgs),
    Bootstrap(BootstrapArgs),
    Ratelimit(RatelimitArgs),
    Crds(CrdsArgs),
    Apiext(ApiextArgs),
    Completions(CompletionsArgs),
    Man(ManArgs),
    /// Print the versions of nuncio and of the Envoy API it speaks.
    ///
    /// Exit codes: 0, and 2 when the command line is wrong.
    Version,
}

/// Serve the resources of one or more folders, or of a cluster, through Envoy.
///
/// In a pod, without --manifests and --kubeconfig, the cluster is the pod's own.
///
/// Listeners listen on --bind. Liveness, readiness, diagnostics and metrics are on --admin:
///   /ambassador/v0/check_alive, /ambassador/v0/check_ready,
///   /ambassador/v0/diag/ (a page; JSON with ?json=true), /metrics
///
/// SIGTERM and SIGINT end it in order: check_ready answers 503 at once; after --shutdown-delay
/// clients are told to go elsewhere, what is under way is finished, then Envoy ends. After a SIGKILL
/// Envoy goes on serving, and the next `nuncio run` with the same --state-dir takes it over.
///
/// Exit codes: 0 after an orderly end, 1 when it could not start or go on, 2 for a wrong command
/// line.
#[derive(Args, Debug, Clone)]
#[command(verbatim_doc_comment)]
pub struct RunArgs {
    /// Folder (or file) of YAML or JSON manifests; nested folders too. May be given several times.
    #[arg(long, value_name = "DIR", conflicts_with = "kubeconfig")]
    pub manifests: Vec<PathBuf>,

    /// The cluster of a kubeconfig instead: its resources, as nuncio may read them there.
    #[arg(long, value_name = "FILE")]
    pub kubeconfig: Option<PathBuf>,

    /// Another context of the kubeconfig than its current one.
    #[arg(long, value_name = "NAME", requires = "kubeconfig")]
    pub context: Option<String>,

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

    /// Addresses of this machine that Gateways are given, one each: addresses and ranges such as
    /// 192.0.2.10-192.0.2.29, with commas between them. Without, all Gateways listen on --bind, and
    /// share its ports.
    #[arg(long, value_name = "ADDRESSES", env = "NUNCIO_GATEWAY_ADDRESSES")]
    pub gateway_addresses: Option<GatewayAddresses>,

    /// Make a Service for each Gateway of a cluster, of type ClusterIP, NodePort or LoadBalancer, with
    /// the ports of its listeners: they are its own, also where Gateways share --bind. Who writes status
    /// writes it.
    #[arg(
        long,
        value_name = "TYPE",
        env = "NUNCIO_GATEWAY_SERVICES",
        conflicts_with = "manifests"
    )]
    pub gateway_services: Option<ServiceType>,

    /// The Envoy program; without, `envoy` is looked for in PATH.
    #[arg(long, value_name = "PATH", env = "NUNCIO_ENVOY")]
    pub envoy: Option<PathBuf>,

    /// Address on which Envoys elsewhere get the same configuration, by delta ADS over mutual TLS;
    /// `nuncio bootstrap` prints what they start with. Without, there is no such port.
    #[arg(
        long,
        value_name = "ADDR",
        env = "NUNCIO_XDS_LISTEN",
        requires_all = ["xds_cert", "xds_key", "xds_client_ca"]
    )]
    pub xds_listen: Option<SocketAddr>,

    /// Certificate of --xds-listen, in PEM, followed by those between it and its authority. This
    /// and the two files below are read again when they change.
    #[arg(
        long,
        value_name = "FILE",
        env = "NUNCIO_XDS_CERT",
        requires = "xds_listen"
    )]
    pub xds_cert: Option<PathBuf>,

    /// Its private key, in PEM.
    #[arg(
        long,
        value_name = "FILE",
        env = "NUNCIO_XDS_KEY",
        requires = "xds_listen"
    )]
    pub xds_key: Option<PathBuf>,

    /// The authorities, in PEM, that vouch for Envoys elsewhere. Who has a certificate of theirs
    /// gets everything, private keys included.
    #[arg(
        long,
        value_name = "FILE",
        env = "NUNCIO_XDS_CLIENT_CA",
        requires = "xds_listen"
    )]
    pub xds_client_ca: Option<PathBuf>,

    /// Start no Envoy, and serve those of --xds-listen only.
    #[arg(long, env = "NUNCIO_NO_ENVOY", requires = "xds_listen")]
    pub no_envoy: bool,

    /// Time in seconds from a signal to the drain: not ready any more, nuncio takes on what comes,
    /// until load balancers have seen it.
    #[arg(
        long,
        value_name = "SECONDS",
        default_value_t = 0,
        env = "NUNCIO_SHUTDOWN_DELAY"
    )]
    pub shutdown_delay: u64,

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

    /// Write nothing into the cluster: no status of resources, no Events, no Lease. Without, the
    /// one of several replicas that has the Lease writes them.
    #[arg(long, env = "NUNCIO_NO_STATUS")]
    pub no_status: bool,

    /// How many statuses are written in a second at most, five times as many at once.
    #[arg(
        long,
        value_name = "N",
        default_value_t = 20,
        env = "NUNCIO_STATUS_WRITES",
        value_parser = clap::value_parser!(u32).range(1..)
    )]
    pub status_writes: u32,

    /// Name of nuncio's own pod, by which replicas tell each other apart; without, one made of the
    /// hostname.
    #[arg(long, value_name = "NAME", env = "NUNCIO_POD_NAME")]
    pub pod_name: Option<String>,

    /// File with the labels of nuncio's own pod, as the downward API writes it (key="value"). They
    /// say which Service is nuncio's own, whose addresses are those of Ingresses, and with
    /// topology.kubernetes.io/zone which endpoints are near. It is read at the start; labels that
    /// change need a restart.
    #[arg(long, value_name = "FILE", env = "NUNCIO_POD_LABELS_FILE")]
    pub pod_labels: Option<PathBuf>,

    /// Folder with files of limits (.yaml, .yml), or one file: nuncio counts requests itself where no
    /// RateLimitService says who does, as `nuncio ratelimit` does. Without, nobody counts then.
    #[arg(long, value_name = "DIR", env = "NUNCIO_LIMITS")]
    pub limits: Option<PathBuf>,

    #[command(flatten)]
    pub counting: CountingArgs,

    /// How much to log: error, warn, info, debug, trace.
    #[arg(
        long,
        value_name = "LEVEL",
        default_value = "info",
        env = "AES_LOG_LEVEL"
    )]
    pub log_level: String,
}

/// Addresses, each once.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GatewayAddresses(pub Vec<IpAddr>);

impl FromStr for GatewayAddresses {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        /// More than that nobody means.
        const MOST: u128 = 65_536;
        let address = |text: &str| {
            let parsed = text.trim().parse::<IpAddr>();
            parsed.map_err(|_| format!("\"{}\" is not an address", text.escape_debug()))
        };
        let bits = |address: IpAddr| match address {
            IpAddr::V4(address) => u128::from(address.to_bits()),
            IpAddr::V6(address) => address.to_bits(),
        };
        let mut all = BTreeSet::new();
        for part in text.split(',') {
            let (first, last) = part.split_once('-').unwrap_or((part, part));
            let (first, last) = (address(first)?, address(last)?);
            let (from, to) = (bits(first), bits(last));
            if first.is_ipv4() != last.is_ipv4() || from > to || to - from >= MOST {
                return Err(format!("{part} is not a range of at most {MOST} addresses"));
            }
            all.extend((from..=to).map(|bits| match first {
                IpAddr::V4(_) => Ipv4Addr::from_bits(bits as u32).into(),
                IpAddr::V6(_) => IpAddr::from(Ipv6Addr::from_bits(bits)),
            }));
        }
        Ok(Self(all.into_iter().collect()))
    }
}

/// Be the first process of a container: keep `nuncio run` running, so that Envoy outlives it.
///
/// With the first process of a container all others end. `nuncio init` does nothing but start
/// `nuncio run`, with the same arguments, and start it again when it ends while its Envoy serves on;
/// the new one takes that over. It passes SIGTERM and SIGINT on, and drains Envoy itself when there
/// is no nuncio to do it. Orphaned processes become its own.
///
/// Exit codes: 0 after an orderly end, 1 when it could not start, 2 for a wrong command line; that of
/// `nuncio run`, or 128 + N when signal N ended it, when no Envoy is left.
#[derive(Args, Debug, Clone)]
#[command(verbatim_doc_comment)]
pub struct InitArgs {
    #[command(flatten)]
    pub run: RunArgs,
}

/// Which resources count, for the commands that read folders and serve nothing.
#[derive(Args, Debug, Clone)]
pub struct ScopeArgs {
    /// File with the labels of nuncio's own pod, as `nuncio run` takes it.
    #[arg(long, value_name = "FILE", env = "NUNCIO_POD_LABELS_FILE")]
    pub pod_labels: Option<PathBuf>,
}

/// Say what is wrong with resources, without serving them.
///
/// Each problem is printed as FILE:LINE:COLUMN, the resource, the field, what is wrong and what to
/// write instead; with --output also as JSON, as SARIF for what shows code, or as commands for
/// GitHub's workflows. Beside what `nuncio run` says, it names prefixes that match more than they
/// seem to.
///
/// Exit codes: 0 when everything would be in effect (there may be warnings and notices), 1 when
/// something would not, with --deny warnings also when there are warnings, 2 when the paths could
/// not be read or the command line is wrong.
#[derive(Args, Debug, Clone)]
#[command(verbatim_doc_comment)]
pub struct CheckArgs {
    /// Folders or files of YAML or JSON manifests.
    #[arg(value_name = "PATH", required = true)]
    pub paths: Vec<PathBuf>,

    #[command(flatten)]
    pub scope: ScopeArgs,

    /// In which form problems are printed.
    #[arg(long, value_enum, default_value_t = CheckOutput::Text)]
    pub output: CheckOutput,

    /// What is taken for as bad as an error.
    #[arg(long, value_enum, value_name = "WHAT")]
    pub deny: Option<Denied>,
}

#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub enum CheckOutput {
    /// Lines for people.
    Text,
    /// One object with all problems.
    Json,
    /// SARIF 2.1.0, as code scanning takes it.
    Sarif,
    /// Workflow commands of GitHub's actions, which show problems at the lines of a change.
    Github,
}

#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub enum Denied {
    Warnings,
}

/// Write resources as one configuration that Envoy runs without nuncio.
///
/// `envoy -c FILE` then serves what `nuncio run` would serve at this moment: routes, filters,
/// endpoints and certificates stand in the file. Nothing follows changes, and routes that lead to
/// nuncio itself (health, diagnostics) answer 503. The file has private keys; -o makes one that
/// only its owner can read.
///
/// Exit codes: 0 when everything is in the file, 1 when something would not be in effect and is
/// left out, which is said on standard error, 2 when nothing was written.
#[derive(Args, Debug, Clone)]
#[command(verbatim_doc_comment)]
pub struct RenderArgs {
    /// Folders or files of YAML or JSON manifests.
    #[arg(value_name = "PATH", required = true)]
    pub paths: Vec<PathBuf>,

    #[command(flatten)]
    pub scope: ScopeArgs,

    /// The file; without, standard output.
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,

    /// Its format; without, JSON for a FILE that ends in .json, else YAML.
    #[arg(long, value_enum)]
    pub format: Option<FileFormat>,

    /// Address that Listeners bind.
    #[arg(
        long,
        value_name = "ADDR",
        default_value = "0.0.0.0",
        env = "AMBASSADOR_ENVOY_BIND_ADDRESS"
    )]
    pub bind: IpAddr,

    /// Port of Envoy's admin interface on 127.0.0.1; without, it has none.
    #[arg(long, value_name = "PORT", value_parser = clap::value_parser!(u16).range(1..))]
    pub admin_port: Option<u16>,
}

#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileFormat {
    Yaml,
    Json,
}

/// Print what an Envoy elsewhere starts with, to be served by --xds-listen of `nuncio run`.
///
/// `envoy -c FILE` then gets its configuration over mutual TLS. Envoy reads the files when it
/// starts.
///
/// Exit codes: 0 when it is printed, 2 when the command line is wrong.
#[derive(Args, Debug, Clone)]
#[command(verbatim_doc_comment)]
pub struct BootstrapArgs {
    /// Where nuncio is: a hostname or an address that is in its certificate, and a port, such as
    /// nuncio.example:18000.
    #[arg(long, value_name = "HOST:PORT")]
    pub xds: HostPort,

    /// Name of this Envoy, which no other has.
    #[arg(long, value_name = "NAME")]
    pub node_id: String,

    /// Path, for Envoy, of its certificate in PEM.
    #[arg(long, value_name = "FILE")]
    pub cert: PathBuf,

    /// Path of its private key.
    #[arg(long, value_name = "FILE")]
    pub key: PathBuf,

    /// Path of the authorities that vouch for nuncio.
    #[arg(long, value_name = "FILE")]
    pub ca: PathBuf,

    /// Path of a Unix socket for Envoy's admin interface; without, there is none.
    #[arg(long, value_name = "PATH")]
    pub admin_socket: Option<PathBuf>,

    /// Heap of Envoy in bytes, at which it stops taking requests; without, there is no limit.
    #[arg(long, value_name = "BYTES")]
    pub max_heap_bytes: Option<u64>,
}

/// A host and a port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostPort {
    pub host: String,
    pub port: u16,
}

impl FromStr for HostPort {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("\"{text}\" is no host and port: write one such as a.example:18000");
        let (host, port) = text.rsplit_once(':').ok_or_else(wrong)?;
        let port = port.parse().ok().filter(|port| *port > 0);
        let bare = host
            .strip_prefix('[')
            .and_then(|host| host.strip_suffix(']'));
        let host = match bare {
            Some(address) => address.parse::<Ipv6Addr>().ok().map(|ip| ip.to_string()),
            None if host.is_empty() || host.contains([':', '/', ' ']) => None,
            None => Some(host.to_owned()),
        };
        Ok(Self {
            host: host.ok_or_else(wrong)?,
            port: port.ok_or_else(wrong)?,
        })
    }
}

/// Say what would change for traffic between two states of the resources.
///
/// Compared are not the files but what they mean: routes by virtual host and what they match, with
/// the services that they lead to; listeners, clusters, endpoints, certificates, filters; and
/// which connections of clients Envoy would drain, and why. What is not in effect is not compared,
/// and is said on standard error.
///
/// Exit codes: 0 when nothing would change, 1 when something would, 2 when the paths could not be
/// read or the command line is wrong.
#[derive(Args, Debug, Clone)]
#[command(verbatim_doc_comment)]
pub struct DiffArgs {
    /// Folder or file of manifests, as they are.
    #[arg(value_name = "OLD")]
    pub old: PathBuf,

    /// As they would be.
    #[arg(value_name = "NEW")]
    pub new: PathBuf,

    #[command(flatten)]
    pub scope: ScopeArgs,

    /// In which form changes are printed.
    #[arg(long, value_enum, default_value_t = DiffOutput::Text)]
    pub output: DiffOutput,
}

#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub enum DiffOutput {
    /// Lines for people.
    Text,
    /// One object with all changes.
    Json,
}

/// Say what becomes of a request, and why.
///
/// Listener, filter chain, virtual host, route, cluster and endpoints, each with the place that it
/// comes from; the path, host and headers that the upstream gets. When nothing takes the request:
/// why, and which route is closest. What would be served is looked at, as Envoy would; nothing is
/// sent.
///
///   nuncio explain ./gateway https://shop.example/cart
///   nuncio explain --admin 127.0.0.1:8877 -X POST -H 'x-version: 2' http://shop.example/cart
///
/// Exit codes: 0 when it is explained, whatever the answer would be, 2 when the paths could not be
/// read, the gateway did not answer, or the command line is wrong.
#[derive(Args, Debug, Clone)]
#[command(verbatim_doc_comment)]
pub struct ExplainArgs {
    /// Folders or files of YAML or JSON manifests, none with --admin; and last the URL that is asked
    /// for, such as http://shop.example:8080/cart.
    #[arg(value_name = "PATHS AND URL", required = true)]
    pub paths_and_url: Vec<String>,

    /// Ask the running nuncio with this admin address instead.
    #[arg(long, value_name = "ADDR")]
    pub admin: Option<SocketAddr>,

    #[command(flatten)]
    pub scope: ScopeArgs,

    /// The method.
    #[arg(short = 'X', long, value_name = "METHOD", default_value = "GET")]
    pub method: String,

    /// A header, such as 'x-version: 2'; may be given several times.
    #[arg(short = 'H', long, value_name = "HEADER")]
    pub header: Vec<String>,

    /// The Listener's port, when it is not the URL's, as behind a load balancer.
    #[arg(long, value_name = "PORT")]
    pub port: Option<u16>,

    /// The address of the client.
    #[arg(long, value_name = "ADDRESS")]
    pub from: Option<IpAddr>,

    /// In which form it is printed.
    #[arg(long, value_enum, default_value_t = ExplainOutput::Text)]
    pub output: ExplainOutput,
}

#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExplainOutput {
    /// Lines for people.
    Text,
    /// One object.
    Json,
}

/// Print completions for a shell.
///
/// bash: nuncio completions bash > /etc/bash_completion.d/nuncio
/// zsh:  nuncio completions zsh > "${fpath[1]}/_nuncio"
/// fish: nuncio completions fish > ~/.config/fish/completions/nuncio.fish
///
/// Exit codes: 0, and 2 when the command line is wrong.
#[derive(Args, Debug, Clone)]
#[command(verbatim_doc_comment)]
pub struct CompletionsArgs {
    /// The shell.
    #[arg(value_name = "SHELL")]
    pub shell: Shell,
}

/// Write manual pages, one for each command.
///
/// `man -l DIR/nuncio.1` reads the first.
///
/// Exit codes: 0 when they are written, 1 when they could not be, 2 when the command line is wrong.
#[derive(Args, Debug, Clone)]
#[command(verbatim_doc_comment)]
pub struct ManArgs {
    /// The folder; it is made if need be.
    #[arg(value_name = "DIR")]
    pub folder: PathBuf,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_and_a_port_are_told_apart() {
        let parsed = |text: &str| {
            let HostPort { host, port } = text.parse().ok()?;
            Some((host, port))
        };
        assert_eq!(parsed("a.example:1"), Some(("a.example".to_owned(), 1)));
        assert_eq!(
            parsed("10.0.0.1:65535"),
            Some(("10.0.0.1".to_owned(), 65535))
        );
        assert_eq!(parsed("[::1]:80"), Some(("::1".to_owned(), 80)));
        for wrong in [
            "a.example",
            "a:0",
            "a:65536",
            ":80",
            "::1:80",
            "http://a:80",
            "[a]:80",
        ] {
            assert_eq!(parsed(wrong), None, "{wrong}");
        }
    }
}
