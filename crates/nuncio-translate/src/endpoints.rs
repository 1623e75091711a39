//! The fast path of endpoints: what read those of a Service is told of others without a translation.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::sync::Arc;

use nuncio_model::ResourceId;
use nuncio_model::cluster::Endpoint;

use crate::resolve::{Resolved, Through, resolve_service};
use crate::store::Store;

/// Which endpoints a translation has read, and what it made of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct EndpointReads(BTreeMap<Arc<ResourceId>, BTreeMap<Arc<str>, Reads>>);

#[derive(Clone, Debug, PartialEq, Eq)]
struct Reads {
    read: Read,
    /// How often.
    count: usize,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Read {
    through: Through,
    port: u16,
    /// Is part of the report.
    note: Option<String>,
}

impl EndpointReads {
    pub(crate) fn record(&mut self, through: Through, port: u16, resolved: &Resolved) {
        if let Resolved::Service {
            id, set_name, note, ..
        } = resolved
        {
            let read = Read {
                through,
                port,
                note: note.clone(),
            };
            self.add_to(id, set_name, &Reads { read, count: 1 });
        }
    }

    /// Adds what was read elsewhere.
    pub(crate) fn add(&mut self, others: &Self) {
        for (id, sets) in &others.0 {
            for (name, reads) in sets {
                self.add_to(id, name, reads);
            }
        }
    }

    fn add_to(&mut self, id: &Arc<ResourceId>, name: &Arc<str>, reads: &Reads) {
        let sets = self.0.entry(Arc::clone(id)).or_default();
        match sets.entry(Arc::clone(name)) {
            Entry::Vacant(vacant) => {
                vacant.insert(reads.clone());
            }
            // Whoever reads it now finds the same.
            Entry::Occupied(mut occupied) => {
                let count = occupied.get().count + reads.count;
                occupied.insert(Reads {
                    read: reads.read.clone(),
                    count,
                });
            }
        }
    }

    /// Takes away what was added.
    pub(crate) fn remove(&mut self, others: &Self) {
        for (id, others) in &others.0 {
            let Some(sets) = self.0.get_mut(id) else {
                continue;
            };
            for (name, reads) in others {
                if let Entry::Occupied(mut occupied) = sets.entry(Arc::clone(name)) {
                    occupied.get_mut().count -= reads.count;
                    if occupied.get().count == 0 {
                        occupied.remove();
                    }
                }
            }
            if sets.is_empty() {
                self.0.remove(id);
            }
        }
    }

    /// The sets of a Service as they are now. `None` if something is to be said of one of them, or no
    /// longer: then more than its endpoints is another.
    pub(crate) fn of_service(
        &self,
        store: &Store,
        namespace: &str,
        name: &str,
    ) -> Option<BTreeMap<Arc<str>, Vec<Endpoint>>> {
        let id = ResourceId::new("", "Service", namespace, name);
        let (Some(reads), Some(service)) = (self.0.get(&id), store.services.get(namespace, name))
        else {
            return Some(BTreeMap::new());
        };
        let now = |(set, Reads { read, .. }): (&Arc<str>, &Reads)| match resolve_service(
            store,
            service,
            read.through,
            read.port,
        ) {
            Resolved::Service {
                set_name,
                endpoints,
                note,
                ..
            } if set_name == *set && note == read.note => Some((set_name, endpoints)),
            _ => None,
        };
        reads.iter().map(now).collect()
    }
}
