//! What Envoy accepted last, so that it can be sent again when Envoy refuses what came after.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard};

use nuncio_envoy_api::resource::{Resource, ResourceType};

type Bodies = HashMap<(ResourceType, Arc<str>), Arc<Resource>>;

/// Shared by the sessions of one server: a stream that breaks must not forget it. The bodies are
/// those of the snapshots, not copies.
#[derive(Clone, Debug, Default)]
pub(crate) struct Accepted(Arc<Mutex<Bodies>>);

impl Accepted {
    pub(crate) fn insert(
        &self,
        resource_type: ResourceType,
        name: &Arc<str>,
        resource: &Arc<Resource>,
    ) {
        self.lock()
            .insert((resource_type, Arc::clone(name)), Arc::clone(resource));
    }

    pub(crate) fn remove(&self, resource_type: ResourceType, name: &Arc<str>) {
        self.lock().remove(&(resource_type, Arc::clone(name)));
    }

    pub(crate) fn get(
        &self,
        resource_type: ResourceType,
        name: &Arc<str>,
    ) -> Option<Arc<Resource>> {
        self.lock()
            .get(&(resource_type, Arc::clone(name)))
            .map(Arc::clone)
    }

    fn lock(&self) -> MutexGuard<'_, Bodies> {
        self.0
            .lock()
            .expect("invariant: nothing panics while it holds the accepted bodies")
    }
}
