//! What Consul said of services.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use nuncio_model::cluster::Endpoint;
use nuncio_model::consul::{ConsulAnswer, ConsulService};

use super::{Read, Store, tracker};
use crate::consul::{note, set_name};

impl Store {
    /// What it said last; `None` before it was asked.
    pub(crate) fn consul(&self, service: &Arc<ConsulService>) -> Option<&ConsulAnswer> {
        tracker::read(Read::Consul(service));
        self.consul.get(service)
    }

    /// Takes up what it says now. The endpoints, by the names of the sets that they are in; `None`
    /// if something is to be said of one of them, or no longer: then more than its endpoints is
    /// another.
    pub fn consul_said(
        &mut self,
        news: BTreeMap<Arc<ConsulService>, ConsulAnswer>,
    ) -> Option<BTreeMap<Arc<str>, Vec<Endpoint>>> {
        let mut sets = Some(BTreeMap::new());
        for (service, answer) in news {
            let before = self.consul.get(&service);
            match &mut sets {
                Some(sets) if note(&service, before) == note(&service, Some(&answer)) => {
                    sets.insert(set_name(&service), answer.endpoints.clone());
                }
                _ => sets = None,
            }
            self.tracker.change(Read::Consul(&service));
            self.consul.insert(service, answer);
        }
        sets
    }

    /// Forgets all services but these: whoever names one again asks again.
    pub fn keep_consul(&mut self, services: &BTreeSet<Arc<ConsulService>>) {
        self.consul.retain(|service, _| services.contains(service));
    }
}
