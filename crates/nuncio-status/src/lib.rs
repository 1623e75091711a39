//! What is written back into a cluster, and by which replica.
//!
//! ```text
//!  Scene ──▶ scene: what is another ──▶ queue ──▶ desired ≠ standing? ──▶ write
//!    │                                    ▲           (cluster::Standings)
//!    ├──▶ event                         lease: whether it is this replica
//!    └──▶ infrastructure: what stands in the cluster for Gateways
//! ```
//!
//! [`desired`] and [`queue`] are pure. Beside the path of a change: a scene is what was served, and
//! whoever writes looks at the last one. Nothing is written that is there already, so that a restart
//! writes nothing.

mod desired;
mod event;
mod infrastructure;
mod lease;
mod merge;
mod queue;
mod scene;
mod trouble;
mod write;
mod writer;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::Instant;

use kube::Client;
use nuncio_model::{Entry, ResourceId};
use nuncio_sources::cluster::Standings;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;

pub use lease::Candidate;
pub use scene::Scene;

/// How status is written.
pub struct Config {
    pub client: Client,
    /// Of the API server, for messages.
    pub url: String,
    pub standings: Standings,
    pub candidate: Candidate,
    /// So many statuses at most; five times as many at once.
    pub writes_per_second: u32,
    /// Also those of Mappings.
    pub mappings: bool,
}

/// What became known of objects: they were written anew in a change, counted as in [`Scene`].
#[derive(Debug)]
struct Written {
    change: u64,
    objects: Vec<ResourceId>,
}

/// Figures for metrics.
#[derive(Debug, Default)]
pub struct Figures {
    leads: AtomicBool,
    writes: AtomicU64,
    waiting: AtomicUsize,
}

impl Figures {
    /// Whether this replica writes.
    pub fn leads(&self) -> bool {
        self.leads.load(Ordering::Relaxed)
    }

    /// How many statuses were written.
    pub fn writes(&self) -> u64 {
        self.writes.load(Ordering::Relaxed)
    }

    /// How many are to be.
    pub fn waiting(&self) -> usize {
        self.waiting.load(Ordering::Relaxed)
    }
}

/// Writes status for as long as it lives.
#[derive(Debug)]
pub struct StatusWriter {
    scenes: watch::Sender<Arc<Scene>>,
    written: mpsc::UnboundedSender<Written>,
    ends: watch::Sender<bool>,
    /// Until when this replica leads.
    until: watch::Receiver<Option<Instant>>,
    troubles: watch::Receiver<Vec<Entry>>,
    figures: Arc<Figures>,
    election: JoinHandle<()>,
    writer: JoinHandle<()>,
    infrastructure: JoinHandle<()>,
}

impl StatusWriter {
    pub fn start(config: Config) -> Self {
        let scenes = watch::Sender::new(Arc::default());
        let (written, objects) = mpsc::unbounded_channel();
        let ends = watch::Sender::new(false);
        let (said, troubles) = watch::channel(Vec::new());
        let leads = watch::Sender::new(None);
        let figures = Arc::new(Figures::default());
        let troubles_of = trouble::Troubles::new(&config.url, said);
        let election = lease::Election::new(config.client.clone(), config.candidate.clone());
        let until = leads.subscribe();
        let of_lease = troubles_of.clone();
        let part = lease::take_part(election, leads, ends.subscribe(), move |error| {
            of_error(
                &of_lease,
                error,
                ("coordination.k8s.io", "leases", "get, create, update"),
            );
        });
        let election = tokio::spawn(part);
        let keeper = infrastructure::Keeper {
            client: config.client.clone(),
            standings: config.standings.clone(),
            troubles: troubles_of.clone(),
            written: HashMap::new(),
        };
        let infrastructure = tokio::spawn(keeper.run(scenes.subscribe(), until.clone()));
        let figures_of = Arc::clone(&figures);
        let writer = writer::Writer::new(config, troubles_of, figures_of);
        let writer = tokio::spawn(writer.run(scenes.subscribe(), objects, until.clone()));
        Self {
            scenes,
            written,
            ends,
            until,
            troubles,
            figures,
            election,
            writer,
            infrastructure,
        }
    }

    /// Where to put what is served now.
    pub fn scenes(&self) -> watch::Sender<Arc<Scene>> {
        self.scenes.clone()
    }

    /// Notes which objects were written anew in the change that a scene counts so.
    pub fn written(&self, change: u64, objects: Vec<ResourceId>) {
        // Only who leads looks at what was written.
        if self.figures.leads() && !objects.is_empty() {
            let _ = self.written.send(Written { change, objects });
        }
    }

    /// What keeps it from writing.
    pub fn troubles(&self) -> watch::Receiver<Vec<Entry>> {
        self.troubles.clone()
    }

    pub fn figures(&self) -> Arc<Figures> {
        Arc::clone(&self.figures)
    }

    /// Leaves it to another replica from now on.
    pub fn give_up(&self) {
        self.ends.send_replace(true);
    }

    /// Waits until the Lease is given up.
    pub async fn finish(&self) {
        self.give_up();
        let mut until = self.until.clone();
        // Who takes part says something until the end of that.
        while until.changed().await.is_ok() {}
    }
}

impl Drop for StatusWriter {
    fn drop(&mut self) {
        self.election.abort();
        self.writer.abort();
        self.infrastructure.abort();
    }
}

/// Says that something may not be written, or may again.
fn of_error(
    troubles: &trouble::Troubles,
    error: Option<&kube::Error>,
    (group, resources, verbs): (&str, &str, &str),
) {
    match error {
        Some(kube::Error::Api(status)) if status.code == 403 => {
            troubles.forbidden(group, resources, verbs, &status.message);
        }
        Some(kube::Error::Api(status)) if status.code == 404 => {
            troubles.nowhere(group, resources, &status.message);
        }
        // Whoever reads the cluster says that it does not answer.
        Some(error) => tracing::debug!(%error, resources, "cannot be written"),
        None => troubles.over(group, resources),
    }
}
