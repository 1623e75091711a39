//! From resources to the model: the store, and one front end for each API.
//!
//! ```text
//!  RawObject ──▶ store ──▶ ingress ──▶ getambassador ──▶ gateway_api ──▶ Gateway
//!                  │          │              │                │            + inventory, for the
//!                  └────── report ◀──────────┴────────────────┘              diagnostics
//! ```
//!
//! Everything here is pure: no I/O, no clock, no async. Nothing here fails: what is wrong with a
//! resource is an entry of the report.

pub mod certificate;
mod consul;
mod endpoints;
mod few;
mod fields;
pub mod gateway_api;
pub mod getambassador;
pub mod ingress;
pub mod resolve;
mod settings;
pub mod store;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use endpoints::EndpointReads;
use getambassador::{Attached, Inventory, Kept};
use ingress::Ingresses;
use nuncio_api::core::SecretName;
use nuncio_model::cluster::Endpoint;
use nuncio_model::consul::ConsulService;
use nuncio_model::{Gateway, Report};
use store::Reads;

pub use settings::{ReadyPort, ServiceType, Settings};
pub use store::{Element, Elements, KeptPort, Object, Scope, Store, Table, Touched};

/// What came of the resources.
#[derive(Clone, Debug, Default)]
pub struct Translation {
    pub gateway: Gateway,
    /// In an order that depends only on what it says.
    pub report: Report,
    /// What is in effect, as the diagnostics show it.
    pub inventory: Inventory,
    /// Where it is in effect.
    pub attached: Attached,
    /// Files that resources name, read or not.
    pub files: BTreeSet<Arc<str>>,
    /// Secrets that were read, there or not: no others count.
    pub secrets: BTreeSet<SecretName>,
    /// Services that are looked for in a Consul.
    pub consul: BTreeSet<Arc<ConsulService>>,
    /// Those of them whose endpoints stand among those of another.
    joined_consul: BTreeSet<Arc<ConsulService>>,
    pub ingress_status: ingress::Status,
    /// What the status of objects of the Gateway API is to say.
    pub gateway_status: Arc<gateway_api::Statuses>,
    /// What is to stand in a cluster for Gateways.
    pub infrastructure: Arc<gateway_api::Infrastructure>,
    endpoint_reads: EndpointReads,
}

/// Turns everything in a store into one gateway, with the files that resources name as `read` gives
/// them. The store keeps those until [`Store::forget_files`].
pub fn translate(
    store: &mut Store,
    settings: &Settings,
    read: impl Fn(&str) -> Result<String, String>,
) -> Translation {
    Translator::new(settings.clone()).translate(store, read)
}

/// Translates one store again and again, each time as much of it as has changed.
pub struct Translator {
    settings: Settings,
    ingresses: Option<(Ingresses, Reads)>,
    gateways: gateway_api::Kept,
    kept: Kept,
    /// Of the last translation, beside those that are kept.
    endpoint_reads: EndpointReads,
    joined_consul: BTreeSet<Arc<ConsulService>>,
}

impl Translator {
    pub fn new(settings: Settings) -> Self {
        Self {
            settings,
            ingresses: None,
            gateways: gateway_api::Kept::default(),
            kept: Kept::default(),
            endpoint_reads: EndpointReads::default(),
            joined_consul: BTreeSet::new(),
        }
    }

    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// As [`translate`] does. The result is the same as if nothing had been kept.
    pub fn translate(
        &mut self,
        store: &mut Store,
        read: impl Fn(&str) -> Result<String, String>,
    ) -> Translation {
        loop {
            let (mut translation, secrets) = store::secrets_read(|| self.translate_once(store));
            translation.secrets = secrets;
            if !store.read_files(&translation.files, &read) {
                self.endpoint_reads = std::mem::take(&mut translation.endpoint_reads);
                let joined = std::mem::take(&mut translation.joined_consul);
                translation.consul.extend(joined.iter().cloned());
                self.joined_consul = joined;
                return translation;
            }
        }
    }

    fn translate_once(&mut self, store: &Store) -> Translation {
        let changed = store.take_changed();
        let ingresses = self.ingresses.take();
        let ingresses = ingresses.filter(|(_, reads)| !changed.has_any(reads));
        if let Some((_, reads)) = &ingresses {
            store::read_again(reads);
        }
        let made_changed = ingresses.is_none();
        let anew = || store::record(|| ingress::translate(store, &self.settings));
        let (ingresses, reads) = ingresses.unwrap_or_else(anew);
        let input = getambassador::Input {
            store,
            settings: &self.settings,
            made: &ingresses.made,
            changed: &changed,
            made_changed,
        };
        let (mut translation, surroundings) = getambassador::translate(&input, &mut self.kept);
        let settings = &self.settings;
        let fragment = self
            .gateways
            .update(store, settings, surroundings, &changed);
        fragment.add_to(&mut translation.gateway);
        translation.files.extend(fragment.files.iter().cloned());
        translation.gateway_status = Arc::clone(&fragment.status);
        translation.infrastructure = Arc::clone(&fragment.infrastructure);
        translation.ingress_status = ingresses.status.clone();
        store.as_written(&mut translation.report);
        translation
            .report
            .extend(ingresses.report.entries().iter().cloned());
        translation
            .report
            .extend(fragment.report.entries().iter().cloned());
        translation.report.extend(store.report());
        translation.report.sort();
        self.ingresses = Some((ingresses, reads));
        translation
    }

    /// The endpoints of a Service as they are now, by the names of the sets that they are in.
    /// `None` if something is to be said of one of them, or no longer: then more than its endpoints
    /// is another.
    pub fn endpoints_of(
        &self,
        store: &Store,
        namespace: &str,
        name: &str,
    ) -> Option<BTreeMap<Arc<str>, Vec<Endpoint>>> {
        let mut sets = self.kept.endpoints_of(store, namespace, name)?;
        sets.extend(self.endpoint_reads.of_service(store, namespace, name)?);
        sets.extend(self.gateways.endpoints_of(store, namespace, name)?);
        Some(sets)
    }

    /// Whether the endpoints of a service in Consul are more than a set of their own.
    pub fn joins(&self, service: &ConsulService) -> bool {
        self.joined_consul.contains(service)
    }
}
