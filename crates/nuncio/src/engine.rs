//! The pipeline: change sets in, snapshots for Envoy out.
//!
//! One [`Engine`] owns the store. Everything it computes is published as one [`Served`], so that
//! whoever looks sees a gateway, its report and its inventory that belong together.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use nuncio_envoy_api::resource::{ResourceType, Snapshot};
use nuncio_model::{Entry, Gateway, Origin, Report, ResourceId};
use nuncio_sources::ChangeSet;
use nuncio_translate::getambassador::Inventory;
use nuncio_translate::{Element, Settings, Store, ingress};
use tokio::sync::watch;

use crate::files::NamedFiles;

/// What came of the resources as they are now.
#[derive(Clone, Debug, Default)]
pub struct Served {
    /// Counts the change sets taken up; 0 before the first.
    pub change: u64,
    pub gateway: Gateway,
    /// What the sources and the front ends have to say; see [`crate::overview`] for the whole.
    pub report: Report,
    /// What is in effect, by resource.
    pub inventory: Inventory,
    /// The resources of getambassador.io that could be read.
    pub elements: Vec<Arc<dyn Element>>,
    pub ingress_status: ingress::Status,
    /// Emissary's keys of the resources that the report is about.
    pub keys: BTreeMap<Arc<ResourceId>, String>,
    pub snapshot: Arc<Snapshot>,
}

/// Turns change sets into snapshots.
pub struct Engine {
    store: Store,
    settings: Settings,
    source_problems: Vec<Entry>,
    files: NamedFiles,
    served: watch::Sender<Arc<Served>>,
}

impl Engine {
    pub fn new(store: Store, settings: Settings) -> Self {
        Self {
            store,
            settings,
            source_problems: Vec::new(),
            files: NamedFiles::default(),
            served: watch::Sender::new(Arc::default()),
        }
    }

    pub fn served(&self) -> watch::Receiver<Arc<Served>> {
        self.served.subscribe()
    }

    /// Takes a change set up and publishes what comes of it.
    pub fn apply(&mut self, changes: ChangeSet) -> Arc<Served> {
        self.source_problems = changes.problems;
        self.store.apply(changes.upserted, &changes.deleted);
        self.publish()
    }

    /// Whether files that resources name are others now.
    pub fn files_changed(&mut self) -> bool {
        self.files.have_changed()
    }

    /// Reads those files again and publishes what comes of it.
    pub fn read_files_again(&mut self) -> Arc<Served> {
        self.store.forget_files();
        self.publish()
    }

    fn publish(&mut self) -> Arc<Served> {
        let started = Instant::now();
        let read = |path: &str| self.files.read(path);
        let translation = nuncio_translate::translate(&mut self.store, &self.settings, read);
        self.files.keep(&translation.files);
        let snapshot = nuncio_envoy::encode(&translation.gateway);

        let mut report = translation.report;
        report.extend(self.source_problems.iter().cloned());
        report.sort();

        let keys = report
            .entries()
            .iter()
            .filter_map(|entry| {
                let key = self.store.rkey(&entry.resource)?;
                Some((Arc::clone(&entry.resource), key.to_owned()))
            })
            .collect();
        let served = Arc::new(Served {
            change: self.served.borrow().change + 1,
            gateway: translation.gateway,
            report,
            inventory: translation.inventory,
            elements: self.store.elements(),
            ingress_status: translation.ingress_status,
            keys,
            snapshot: Arc::new(snapshot),
        });
        self.served.send_replace(Arc::clone(&served));
        tracing::debug!(
            change = served.change,
            resources = served.snapshot.len(),
            elapsed_ms = started.elapsed().as_secs_f64() * 1e3,
            "took a change up"
        );
        served
    }
}

impl Served {
    /// Where one of Envoy's resources came from.
    pub fn origin(&self, resource_type: ResourceType, name: &str) -> Option<&Origin> {
        match resource_type {
            ResourceType::Cluster => self.gateway.clusters.get(name).map(|c| &c.origin),
            ResourceType::ClusterLoadAssignment => {
                self.gateway.endpoints.get(name).map(|e| &e.origin)
            }
            // Of no single resource.
            ResourceType::Runtime => None,
            ResourceType::Secret => self.gateway.secrets.get(name).map(|c| &c.origin),
            ResourceType::ExtensionConfig => self.gateway.filters.get(name).map(|f| &f.origin),
            ResourceType::Listener => self.gateway.listeners.get(name).map(|l| &l.origin),
            // A table has the routes of many; its listener is what a person looks for first.
            ResourceType::RouteConfiguration => self
                .gateway
                .listeners
                .values()
                .find(|l| {
                    let mut managers = l.filter_chains.iter().filter_map(|c| c.http());
                    managers.any(|http| &*http.route_table == name)
                })
                .map(|l| &l.origin),
        }
    }
}
