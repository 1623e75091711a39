//! The fast path of endpoints: what read those of a Service is told of others without a translation.

use std::collections::BTreeMap;
use std::sync::Arc;

use nuncio_model::ResourceId;
use nuncio_model::cluster::Endpoint;

use crate::resolve::{Protocol, Resolved, Through, resolve_port};
use crate::store::Store;

/// Which endpoints some work has read, and what it made of them. Mostly it is one Service's.
#[derive(Clone, Debug, Default)]
pub(crate) struct EndpointReads(Vec<EndpointRead>);

/// What nothing says of a set.
const JOINED: &str = "it is part of another";

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct EndpointRead {
    service: Arc<ResourceId>,
    set: Arc<str>,
    through: Through,
    port: u16,
    protocol: Protocol,
    /// Is part of the report.
    note: Option<Box<str>>,
}

impl EndpointReads {
    pub(crate) fn record(&mut self, through: Through, port: u16, resolved: &Resolved) {
        self.record_port(through, port, Protocol::First, resolved);
    }

    /// The same of one for a protocol.
    pub(crate) fn record_port(
        &mut self,
        through: Through,
        port: u16,
        protocol: Protocol,
        resolved: &Resolved,
    ) {
        if let Resolved::Service {
            id, set_name, note, ..
        } = resolved
        {
            let read = EndpointRead {
                service: Arc::clone(id),
                set: Arc::clone(set_name),
                through,
                port,
                protocol,
                note: note.as_deref().map(Into::into),
            };
            if !self.0.contains(&read) {
                self.0.push(read);
            }
        }
    }

    /// Sets that were read are parts of others: more than them changes with them.
    pub(crate) fn are_joined(&mut self) {
        for read in &mut self.0 {
            read.note = Some(JOINED.into());
        }
    }

    pub(crate) fn shrink(mut self) -> Self {
        self.0.shrink_to_fit();
        self
    }

    /// Whether a Service was always read for this.
    pub(crate) fn all_through(&self, service: &ResourceId, through: Through) -> bool {
        let mut reads = self.0.iter().filter(|read| *read.service == *service);
        reads.all(|read| read.through == through)
    }

    /// The sets of a Service as they are now. `None` if something is to be said of one of them, or no
    /// longer: then more than its endpoints is another.
    pub(crate) fn of_service(
        &self,
        store: &Store,
        namespace: &str,
        name: &str,
    ) -> Option<BTreeMap<Arc<str>, Vec<Endpoint>>> {
        let Some(service) = store.services.get(namespace, name) else {
            return Some(BTreeMap::new());
        };
        let reads = self.0.iter().filter(|read| read.service == service.id);
        let now = |read: &EndpointRead| match resolve_port(
            store,
            service,
            read.through,
            read.port,
            read.protocol,
        ) {
            Resolved::Service {
                set_name,
                endpoints,
                note,
                ..
            } if set_name == read.set && note.as_deref() == read.note.as_deref() => {
                Some((set_name, endpoints))
            }
            _ => None,
        };
        reads.map(now).collect()
    }
}
