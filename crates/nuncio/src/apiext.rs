//! `nuncio apiext`: the webhooks of the API server.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use nuncio_apiext::{Addresses, Managed};
use tokio::signal::unix::{SignalKind, signal};

use crate::cli::{ApiextArgs, ServiceName};
use crate::environment::Environment;
use crate::log;

/// The namespace of Emissary's apiext.
const NAMESPACE: &str = "emissary-system";

/// How long CRDs must have trusted a new authority: every API server knows of it by then.
const SETTLING: Duration = Duration::from_secs(10);

pub fn run(args: ApiextArgs) -> ExitCode {
    let json = Environment::read().is_ok_and(|environment| environment.json_logging);
    log::init(&args.log_level, json);
    let outcome = tokio::runtime::Runtime::new()
        .context("cannot start threads")
        .and_then(|runtime| runtime.block_on(serve(args)));
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("nuncio: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn serve(args: ApiextArgs) -> anyhow::Result<()> {
    let config = match &args.kubeconfig {
        Some(path) => {
            let kubeconfig = Kubeconfig::read_from(path)
                .with_context(|| format!("cannot read {}", path.display()))?;
            Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default())
                .await
                .with_context(|| format!("{} names no cluster", path.display()))?
        }
        None => Config::infer().await.context(
            "there is no API server to work for: run it in a pod, or name one with --kubeconfig",
        )?,
    };
    let own = match &args.namespace {
        Some(namespace) => namespace,
        None if config.default_namespace == "default" => NAMESPACE,
        None => &config.default_namespace,
    };
    let service = match args.service.contains('/') {
        true => args.service.clone(),
        false => format!("{own}/{}", args.service),
    };
    let ServiceName(service) = service.parse().map_err(anyhow::Error::msg)?;
    let client = Client::try_from(config).context("cannot make a client of the API server")?;
    let managed = Managed {
        service,
        authority: !args.no_ca_management,
        crds: !args.no_crd_management,
        validation: !args.no_validation,
        crd_selector: args.crd_label_selector,
        settling: SETTLING,
    };
    let addresses = Addresses {
        webhooks: args.listen,
        probes: args.probes,
    };
    let mut terminate = signal(SignalKind::terminate()).context("cannot wait for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot wait for SIGINT")?;
    let stop = async {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        tracing::info!(
            "going on for {} s, until others are asked",
            args.leave_after
        );
    };
    let leaving = tokio::time::sleep(Duration::from_secs(args.leave_after));
    nuncio_apiext::run(client, managed, addresses, stop, leaving).await
}
