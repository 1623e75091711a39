//! nuncio and a real Envoy, put together as `nuncio run` does, in this process: so that an answer
//! of Envoy is awaited where it arrives and nothing has to be asked for again and again.

use std::convert::Infallible;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context;
use nuncio::engine::{Engine, Served};
use nuncio::supervisor::{self, Handle, State, StateDir, Supervisor};
use nuncio_envoy::{BootstrapConfig, XdsServer, bootstrap};
use nuncio_envoy_api::resource::Snapshot;
use nuncio_sources::{ChangeSet, Watcher};
use nuncio_translate::{Scope, Settings, Store};
use nuncio_xds::{AdsServer, Options};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;

/// Between two attempts to connect to a listener that Envoy is about to open.
const LOOK: Duration = Duration::from_millis(10);

/// The longest that Envoy may be waited for.
const LONGEST: Duration = Duration::from_secs(300);

/// Does something with Envoy that must come to an end: an Envoy that hangs must not outlive the
/// bench.
pub(crate) async fn in_time<T>(work: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    tokio::time::timeout(LONGEST, work)
        .await
        .unwrap_or_else(|_| Err(anyhow::anyhow!("not done within {LONGEST:?}")))
}

/// Starts an Envoy with one worker.
pub(crate) async fn start_envoy(
    envoy: &Path,
    state_dir: StateDir,
    bootstrap: serde_json::Value,
) -> anyhow::Result<Handle> {
    let handle = Supervisor::start(supervisor::Config {
        envoy: envoy.to_owned(),
        state_dir,
        bootstrap,
        drain_time: Duration::from_secs(1),
        concurrency: Some(1),
        base_id: None,
        stats_flush_interval: bootstrap::STATS_FLUSH_INTERVAL,
        log_level: "warning".to_owned(),
        extra_args: Vec::new(),
    });
    Ok(handle.await?)
}

/// The process of an Envoy that runs.
pub(crate) fn pid(envoy: &Handle) -> anyhow::Result<u32> {
    match *envoy.state().borrow() {
        State::Running { pid, .. } => Ok(pid),
        ref state => anyhow::bail!("Envoy does not run: {state:?}"),
    }
}

/// Waits until a listener takes connections.
pub(crate) async fn listens(address: SocketAddr) {
    while TcpStream::connect(address).await.is_err() {
        tokio::time::sleep(LOOK).await;
    }
}

pub(crate) struct Gateway {
    watcher: Watcher,
    engine: Engine,
    ads: AdsServer,
    xds_server: JoinHandle<()>,
    envoy: Handle,
    served: Arc<Served>,
    /// From the start of Envoy to its answer to the last resource.
    pub(crate) start: Duration,
}

impl Gateway {
    /// Returns when Envoy has answered everything.
    pub(crate) async fn start(folder: &Path, state: &Path, envoy: &Path) -> anyhow::Result<Self> {
        let mut watcher = Watcher::new(vec![folder.to_owned()])?;
        let first = watcher.next().await;
        Self::start_on(first, watcher, state, envoy).await
    }

    /// Starts on what a watcher, or something else, has said first.
    pub(crate) async fn start_on(
        first: ChangeSet,
        watcher: Watcher,
        state: &Path,
        envoy: &Path,
    ) -> anyhow::Result<Self> {
        let state_dir = StateDir::open(state)?;
        let admin_socket = state_dir.admin_socket();
        let xds_socket = state_dir.xds_socket();
        let settings = Settings {
            bind_address: Ipv4Addr::LOCALHOST.into(),
            envoy_admin: admin_socket.to_string_lossy().into(),
            ..Settings::new(&Scope::default())
        };
        let mut engine = Engine::new(Store::new(Scope::default()), settings);
        let served = engine.apply(first);
        let ads = AdsServer::new(Options::default());
        ads.set_snapshot(Arc::clone(&served.snapshot));
        let bound = ads.bind(&xds_socket).context("cannot listen for Envoy")?;
        let xds_server = tokio::spawn(async move {
            // Its end shows in what is awaited from Envoy.
            let _ = bound.serve(std::future::pending()).await;
        });
        let bootstrap = bootstrap::bootstrap(&BootstrapConfig {
            node_id: "bench".to_owned(),
            node_cluster: "bench".to_owned(),
            xds: XdsServer::Socket(xds_socket),
            admin_socket: Some(admin_socket),
            max_heap_bytes: None,
            max_downstream_connections: 50_000,
            stats_sink: None,
        });
        let started = Instant::now();
        let envoy = start_envoy(envoy, state_dir, bootstrap).await?;
        let mut gateway = Self {
            watcher,
            engine,
            ads,
            xds_server,
            envoy,
            served,
            start: Duration::ZERO,
        };
        let acknowledged = in_time(gateway.acknowledged(1)).await;
        gateway.start = started.elapsed();
        match acknowledged {
            Ok(()) => Ok(gateway),
            Err(error) => {
                gateway.stop().await;
                Err(error)
            }
        }
    }

    pub(crate) fn served(&self) -> &Arc<Served> {
        &self.served
    }

    pub(crate) fn envoy(&self) -> &Handle {
        &self.envoy
    }

    /// Takes up what was written, up to a change of the named object, and waits until Envoy has
    /// answered it.
    pub(crate) async fn take_up(&mut self, name: &str) -> anyhow::Result<()> {
        let is_it = |changes: &ChangeSet| {
            let mut objects = changes.upserted.iter();
            objects.any(|object| object.meta.name.starts_with(name))
        };
        let number = loop {
            let changes = self.watcher.next().await;
            let last = is_it(&changes);
            let served = tokio::task::block_in_place(|| self.engine.apply(changes));
            let number = self.ads.set_snapshot(Arc::clone(&served.snapshot));
            self.served = served;
            if last {
                break number;
            }
        };
        self.acknowledged(number).await
    }

    /// Sends a snapshot, and waits until Envoy has answered it.
    pub(crate) async fn send(&self, snapshot: &Arc<Snapshot>) -> anyhow::Result<()> {
        let number = self.ads.set_snapshot(Arc::clone(snapshot));
        self.acknowledged(number).await
    }

    /// Takes up whatever is written, for ever.
    pub(crate) async fn follow(&mut self) -> Infallible {
        loop {
            let changes = self.watcher.next().await;
            let served = tokio::task::block_in_place(|| self.engine.apply(changes));
            self.ads.set_snapshot(Arc::clone(&served.snapshot));
            self.served = served;
        }
    }

    pub(crate) fn ads(&self) -> &AdsServer {
        &self.ads
    }

    /// How many resources were sent to Envoy so far.
    pub(crate) fn pushed(&self) -> u64 {
        self.ads.counters().resources.iter().sum()
    }

    async fn acknowledged(&self, number: u64) -> anyhow::Result<()> {
        let mut status = self.ads.status();
        let status = status
            .wait_for(|status| status.acknowledged >= number)
            .await?;
        anyhow::ensure!(
            status.refused.is_empty(),
            "Envoy refused {:?}",
            status.refused
        );
        Ok(())
    }

    pub(crate) async fn stop(self) {
        self.envoy.stop_now().await;
        self.xds_server.abort();
    }
}
