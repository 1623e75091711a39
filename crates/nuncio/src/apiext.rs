//! `nuncio apiext`: the webhooks of the API server.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use nuncio_apiext::{Addresses, Managed};
use nuncio_sources::cluster::Connection;
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
    let connection = match &args.kubeconfig {
        Some(file) => Connection::by_kubeconfig(file, None).await?,
        None => Connection::of_pod().context(
            "there is no API server to work for: run it in a pod, or name one with --kubeconfig",
        )?,
    };
    let own = match (&args.namespace, connection.namespace()) {
        (Some(namespace), _) => namespace,
        (None, "default") => NAMESPACE,
        (None, namespace) => namespace,
    };
    let service = match args.service.contains('/') {
        true => args.service.clone(),
        false => format!("{own}/{}", args.service),
    };
    let ServiceName(service) = service.parse().map_err(anyhow::Error::msg)?;
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
    nuncio_apiext::run(connection.client(), managed, addresses, stop, leaving).await
}
