//! The fast path of endpoints: what read those of a Service is told of others without a translation.

use std::collections::BTreeMap;
use std::sync::Arc;

use nuncio_model::ResourceId;
use nuncio_model::cluster::Endpoint;

use crate::resolve::{Resolved, Through, resolve_service};
use crate::store::Store;

/// Which endpoints a translation has read, and what it made of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EndpointReads(BTreeMap<Arc<ResourceId>, BTreeMap<Arc<str>, Read>>);

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
            let sets = self.0.entry(Arc::clone(id)).or_default();
            sets.insert(Arc::clone(set_name), read);
        }
    }

    /// The sets of a Service as they are now. `None` if something is to be said of one of them, or no
    /// longer: then more than its endpoints is another.
    pub fn of_service(
        &self,
        store: &Store,
        namespace: &str,
        name: &str,
    ) -> Option<Vec<(Arc<str>, Vec<Endpoint>)>> {
        let id = ResourceId::new("", "Service", namespace, name);
        let (Some(reads), Some(service)) = (self.0.get(&id), store.services.get(namespace, name))
        else {
            return Some(Vec::new());
        };
        let now = |(set, read): (&Arc<str>, &Read)| match resolve_service(
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
