//! The webhooks of the API server for getambassador.io, in the place of Emissary's apiext.
//!
//! ```text
//!  API server ──▶ serve ──▶ convert    an object in another version
//!      ▲            │  └──▶ validate   would it be in effect? in check's words
//!      │            └ authority        a certificate for the name that is asked for
//!      └── manage: the Secret with the authority, whom CRDs and validation trust
//! ```

mod authority;
pub mod convert;
mod manage;
mod serve;
pub mod validate;
mod webhook;

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::Context as _;
use kube::Client;
use rustls::ServerConfig;
use rustls::crypto::ring;
use rustls::version::TLS13;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;

use authority::ServerCertificates;
use manage::Manager;

pub use authority::{Authority, CA_LIFE};
pub use manage::{Managed, SECRET};
pub use webhook::CONFIGURATION;

/// Where the server listens.
#[derive(Clone, Copy, Debug)]
pub struct Addresses {
    pub webhooks: SocketAddr,
    pub probes: SocketAddr,
}

/// Serves and manages until `stop`, and then for as long as `leaving` takes: the API server may not
/// know yet that it is to ask another replica.
pub async fn run(
    client: Client,
    managed: Managed,
    addresses: Addresses,
    stop: impl Future<Output = ()>,
    leaving: impl Future<Output = ()>,
) -> anyhow::Result<()> {
    let name = format!("{}.{}.svc", managed.service.name, managed.service.namespace);
    let certificates = Arc::new(ServerCertificates::new(name));
    let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_protocol_versions(&[&TLS13])
        .context("TLS 1.3 is not to be had")?
        .with_no_client_auth()
        .with_cert_resolver(Arc::clone(&certificates) as _);
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    let webhooks = listen(addresses.webhooks).await?;
    let probes = listen(addresses.probes).await?;
    let ready = Arc::new(AtomicBool::new(false));
    let (stopping, stopped) = watch::channel(false);
    let until = |mut stopped: watch::Receiver<bool>| async move {
        let _ = stopped.wait_for(|stopped| *stopped).await;
    };
    let probing = axum::serve(probes, serve::probes(Arc::clone(&ready)))
        .with_graceful_shutdown(until(stopped.clone()));
    let serving = serve::serve(
        webhooks,
        TlsAcceptor::from(Arc::new(config)),
        serve::webhooks(),
        until(stopped.clone()),
    );
    let manager = Manager::new(client, managed, certificates, Arc::clone(&ready));
    let managing = async {
        tokio::select! {
            () = manager.run() => {}
            () = stop => {}
        }
        ready.store(false, Ordering::Relaxed);
        leaving.await;
        stopping.send_replace(true);
    };
    let (served, (), ()) = tokio::join!(probing, serving, managing);
    served.context("cannot go on answering probes")
}

async fn listen(address: SocketAddr) -> anyhow::Result<TcpListener> {
    TcpListener::bind(address)
        .await
        .with_context(|| format!("cannot listen on {address}"))
}
