//! The pipeline: change sets in, snapshots for Envoy out.
//!
//! One [`Engine`] owns the store. Everything it computes is published as one [`Served`], so that
//! whoever looks sees a gateway, its report and its inventory that belong together.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use nuncio_api::core::SecretName;
use nuncio_api::{ObjectKey, RawObject};
use nuncio_envoy::Encoder;
use nuncio_envoy_api::resource::{ResourceType, Snapshot};
use nuncio_model::cluster::Endpoint;
use nuncio_model::consul::ConsulService;
use nuncio_model::{Entry, Gateway, Origin, Report, ResourceId};
use nuncio_sources::ChangeSet;
use nuncio_sources::consul::News;
use nuncio_translate::getambassador::{Attached, Inventory};
use nuncio_translate::{
    Elements, Settings, Store, Touched, Translation, Translator, gateway_api, ingress,
};
use nuncio_xds::{Refusal, Status};
use tokio::sync::watch;

use crate::files::NamedFiles;
use crate::quarantine::{Found, Inquiry, Ports, Quarantine};

/// What came of the resources as they are now.
#[derive(Clone, Debug, Default)]
pub struct Served {
    /// Counts the change sets taken up; 0 before the first.
    pub change: u64,
    pub gateway: Gateway,
    /// What the sources and the front ends have to say; see [`crate::overview`] for the whole.
    pub report: Arc<Report>,
    /// What is in effect, by resource.
    pub inventory: Arc<Inventory>,
    /// The resources of getambassador.io that could be read.
    pub elements: Elements,
    /// Where it is in effect.
    pub attached: Arc<Attached>,
    /// Services whose endpoints a Consul knows.
    pub consul: Arc<BTreeSet<Arc<ConsulService>>>,
    pub ingress_status: Arc<ingress::Status>,
    /// What the status of objects of the Gateway API is to say.
    pub gateway_status: Arc<gateway_api::Statuses>,
    /// What is to stand in a cluster for Gateways.
    pub infrastructure: Arc<gateway_api::Infrastructure>,
    /// Emissary's keys of the resources that the report is about.
    pub keys: Arc<BTreeMap<Arc<ResourceId>, String>>,
    /// Of those that stand in annotations, the objects that have those.
    pub parents: Arc<BTreeMap<Arc<ResourceId>, ResourceId>>,
    pub snapshot: Arc<Snapshot>,
    /// How much was computed anew.
    pub recomputed: Recomputed,
    pub took: Took,
}

/// How long it took to compute what is served.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Took {
    /// Reading the change set into the store.
    pub reading: Duration,
    /// From the store to the gateway; of the last change that asked for it.
    pub translating: Duration,
    /// From the gateway to Envoy's resources; of the last change that asked for it.
    pub encoding: Duration,
    /// The whole change, up to the snapshot.
    pub whole: Duration,
}

/// How much a change set was worth.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Recomputed {
    #[default]
    Everything,
    /// So many sets of endpoints, and nothing else.
    Endpoints(usize),
}

/// Has a source follow these Secrets and no others. Returns those that it has not told of because
/// they are new, or `None` before it knows anything.
pub type FollowSecrets = Box<dyn Fn(&BTreeSet<SecretName>) -> Option<Vec<RawObject>> + Send>;

/// Turns change sets into snapshots.
pub struct Engine {
    store: Store,
    translator: Translator,
    encoder: Encoder,
    source_problems: Vec<Entry>,
    files: NamedFiles,
    /// What is left out because Envoy refused it.
    quarantine: Quarantine,
    ports: Ports,
    follow_secrets: Option<FollowSecrets>,
    /// Those that are followed; all are before it is known which are wanted.
    secrets: Option<BTreeSet<SecretName>>,
    served: watch::Sender<Arc<Served>>,
}

impl Engine {
    pub fn new(store: Store, settings: Settings) -> Self {
        Self {
            store,
            translator: Translator::new(settings),
            encoder: Encoder::default(),
            source_problems: Vec::new(),
            files: NamedFiles::default(),
            quarantine: Quarantine::default(),
            ports: Ports::default(),
            follow_secrets: None,
            secrets: None,
            served: watch::Sender::new(Arc::default()),
        }
    }

    /// Holds none but the Secrets that are wanted.
    pub fn follow_secrets(&mut self, follow: FollowSecrets) {
        self.follow_secrets = Some(follow);
    }

    pub fn served(&self) -> watch::Receiver<Arc<Served>> {
        self.served.subscribe()
    }

    /// Takes a change set up and publishes what comes of it.
    pub fn apply(&mut self, changes: ChangeSet) -> Arc<Served> {
        let started = Instant::now();
        let back = self.let_back(&changes.upserted, &changes.deleted);
        let touched = self.store.apply(changes.upserted, &changes.deleted);
        let ports = self.ports.changed(&self.store);
        if ports {
            self.store.keep_ports(self.ports.kept());
        }
        let reading = started.elapsed();
        let unread = self.store.set_unread(changes.unread);
        let more =
            back || ports || unread || touched.more || changes.problems != self.source_problems;
        self.source_problems = changes.problems;
        let endpoints = if more {
            None
        } else {
            self.with_endpoints(&touched)
        };
        let mut served = endpoints.unwrap_or_else(|| self.translated());
        served.took.reading = reading;
        self.publish(served, started)
    }

    /// Lets those come back that were left out and whose time has come. Whether there are any.
    fn let_back(&mut self, upserted: &[RawObject], deleted: &[ObjectKey]) -> bool {
        let change = self.served.borrow().change + 1;
        let back = self.quarantine.changed(upserted, deleted, change);
        if back {
            self.store.leave_out(self.quarantine.origins());
        }
        back
    }

    /// What is served, with other endpoints. `None` if they change more than themselves.
    fn with_endpoints(&self, touched: &Touched) -> Option<Served> {
        let mut sets = BTreeMap::new();
        for (namespace, name) in &touched.endpoints_of {
            sets.extend(self.translator.endpoints_of(&self.store, namespace, name)?);
        }
        self.with_sets(sets)
    }

    /// The same with these sets. `None` before there was anything.
    fn with_sets(&self, sets: BTreeMap<Arc<str>, Vec<Endpoint>>) -> Option<Served> {
        let mut served = Served::clone(&self.served.borrow());
        if served.change == 0 {
            return None;
        }
        let mut changed = 0;
        for (name, endpoints) in sets {
            // A set that was read for a resource which is left out is in no gateway.
            if served
                .gateway
                .endpoints
                .get(&name)
                .is_none_or(|set| set.endpoints == endpoints)
            {
                continue;
            }
            let Some(set) = served.gateway.endpoints.get_mut(&name) else {
                continue;
            };
            Arc::make_mut(set).endpoints = endpoints;
            let resource = Arc::new(nuncio_envoy::cluster_load_assignment(set));
            let kind = ResourceType::ClusterLoadAssignment;
            Arc::make_mut(&mut served.snapshot).insert(kind, name, resource);
            changed += 1;
        }
        served.recomputed = Recomputed::Endpoints(changed);
        Some(served)
    }

    /// Services whose endpoints a Consul knows.
    pub fn consul(&self) -> Arc<BTreeSet<Arc<ConsulService>>> {
        Arc::clone(&self.served.borrow().consul)
    }

    /// Takes up what Consul says of them, and publishes what comes of it.
    pub fn consul_said(&mut self, news: News) -> Arc<Served> {
        let started = Instant::now();
        let joined = news.keys().any(|service| self.translator.joins(service));
        let sets = self.store.consul_said(news).filter(|_| !joined);
        let endpoints = sets.and_then(|sets| self.with_sets(sets));
        let served = endpoints.unwrap_or_else(|| self.translated());
        self.publish(served, started)
    }

    /// Whether files that resources name are others now.
    pub fn files_changed(&mut self) -> bool {
        self.files.have_changed()
    }

    /// Reads those files again and publishes what comes of it.
    pub fn read_files_again(&mut self) -> Arc<Served> {
        let started = Instant::now();
        self.store.forget_files();
        let served = self.translated();
        self.publish(served, started)
    }

    /// Takes up what an inquiry found. Whether that changes anything: what was found may be no more
    /// what it was.
    pub fn found(&mut self, found: Found) -> bool {
        self.quarantine.take(found)
    }

    /// Leaves out what was found, and publishes what comes of it.
    pub fn leave_out(&mut self) -> Arc<Served> {
        let started = Instant::now();
        self.store.leave_out(self.quarantine.origins());
        let served = self.translated();
        self.publish(served, started)
    }

    /// Takes up which ports Envoy cannot have. Whether [`Engine::with_other_ports`] is due.
    pub fn look_at_ports(&mut self, status: &Status, now: Instant) -> bool {
        let served = Arc::clone(&self.served.borrow());
        self.ports.look(&served, status, now)
    }

    /// When [`Engine::try_ports`] is due.
    pub fn next_try_of_ports(&self) -> Option<Instant> {
        self.ports.next_try()
    }

    /// Tries ports again that Envoy could not have.
    pub fn try_ports(&mut self, now: Instant) -> Arc<Served> {
        self.ports.try_again(now);
        self.with_other_ports()
    }

    pub fn with_other_ports(&mut self) -> Arc<Served> {
        let started = Instant::now();
        self.store.keep_ports(self.ports.kept());
        let served = self.translated();
        self.publish(served, started)
    }

    /// All that it takes to find out what to blame for what Envoy refuses of the present snapshot.
    /// `None` if it refuses nothing of that.
    pub fn inquiry<'r>(&self, refused: impl Iterator<Item = &'r Refusal>) -> Option<Inquiry> {
        let served = Arc::clone(&self.served.borrow());
        let present = |refusal: &&Refusal| {
            let wanted = served.snapshot.of(refusal.resource_type);
            let wanted = wanted.get(&refusal.name).map(|resource| &resource.version);
            wanted == Some(&refusal.version)
        };
        let refusals: Vec<_> = refused.filter(present).cloned().collect();
        (!refusals.is_empty()).then(|| Inquiry {
            store: self.store.copy(),
            files: self.store.files().clone(),
            settings: self.translator.settings().clone(),
            quarantine: self.quarantine.clone(),
            served,
            refusals,
        })
    }

    fn translated(&mut self) -> Served {
        let started = Instant::now();
        let translation = self.translate();
        self.files.keep(&translation.files);
        self.store.keep_consul(&translation.consul);
        let translating = started.elapsed();
        let snapshot = self.encoder.encode(&translation.gateway);
        let encoding = started.elapsed() - translating;

        let mut report = translation.report;
        report.extend(self.source_problems.iter().cloned());
        report.extend(self.quarantine.report());
        report.extend(self.ports.report());
        report.sort();

        let parents = report
            .entries()
            .iter()
            .filter_map(|entry| {
                let parent = self.store.parent(&entry.resource)?;
                Some((Arc::clone(&entry.resource), parent))
            })
            .collect();
        let keys = report
            .entries()
            .iter()
            .filter_map(|entry| {
                let key = self.store.rkey(&entry.resource)?;
                Some((Arc::clone(&entry.resource), key.to_owned()))
            })
            .collect();
        Served {
            change: 0,
            gateway: translation.gateway,
            report: Arc::new(report),
            inventory: Arc::new(translation.inventory),
            elements: self.store.elements(),
            attached: Arc::new(translation.attached),
            consul: Arc::new(translation.consul),
            ingress_status: Arc::new(translation.ingress_status),
            gateway_status: translation.gateway_status,
            infrastructure: translation.infrastructure,
            keys: Arc::new(keys),
            parents: Arc::new(parents),
            snapshot: Arc::new(snapshot),
            recomputed: Recomputed::Everything,
            took: Took {
                translating,
                encoding,
                ..Took::default()
            },
        }
    }

    /// Translates with the Secrets that are wanted: one may show that others are.
    fn translate(&mut self) -> Translation {
        loop {
            let read = |path: &str| self.files.read(path);
            let translation = self.translator.translate(&mut self.store, read);
            let came = self.follow(&translation.secrets);
            if came.is_empty() {
                return translation;
            }
            self.let_back(&came, &[]);
            self.store.apply(came, &[]);
        }
    }

    /// Has the Secrets followed that are wanted, and returns those that are new. Where there are none,
    /// no others are held from then on.
    fn follow(&mut self, wanted: &BTreeSet<SecretName>) -> Vec<RawObject> {
        let Some(follow) = &self.follow_secrets else {
            return Vec::new();
        };
        let known = self.secrets.as_ref();
        if !known.is_some_and(|known| wanted.is_subset(known)) {
            let all: BTreeSet<_> = known.into_iter().flatten().chain(wanted).cloned().collect();
            let Some(came) = follow(&all) else {
                return Vec::new();
            };
            self.secrets = Some(all);
            if !came.is_empty() {
                return came;
            }
        }
        // What is left out may be so for a Secret, and comes back with it.
        if self.quarantine.is_empty() && self.secrets.as_ref() != Some(wanted) {
            follow(wanted);
            self.secrets = Some(wanted.clone());
        }
        if let Some(secrets) = &self.secrets {
            self.store.keep_secrets(secrets);
            self.quarantine.keep_secrets(secrets);
        }
        Vec::new()
    }

    fn publish(&self, served: Served, started: Instant) -> Arc<Served> {
        let served = Arc::new(Served {
            change: self.served.borrow().change + 1,
            took: Took {
                whole: started.elapsed(),
                ..served.took
            },
            ..served
        });
        self.served.send_replace(Arc::clone(&served));
        tracing::debug!(
            change = served.change,
            resources = served.snapshot.len(),
            recomputed = ?served.recomputed,
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
            ResourceType::Listener => {
                let listener = self.gateway.listeners.get(name).map(|l| &l.origin);
                let datagrams = || Some(&self.gateway.datagram_listeners.get(name)?.origin);
                listener.or_else(datagrams)
            }
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
