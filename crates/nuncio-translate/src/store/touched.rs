//! What a change set touched.

use std::collections::BTreeSet;

use nuncio_api::ObjectKey;

use super::{DISCOVERY_GROUP, SERVICE_NAME_LABEL, Store};

/// Endpoints change far more often than all else, and only a few things read them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Touched {
    /// Services that have other endpoints now, by namespace and name.
    pub endpoints_of: BTreeSet<(String, String)>,
    /// Whether there was anything else.
    pub more: bool,
}

impl Touched {
    /// Notes an object as the store has it: before a change and after.
    pub(super) fn note(&mut self, store: &Store, key: &ObjectKey) {
        let of = match (key.group.as_str(), key.kind.as_str()) {
            ("", "Endpoints") => Some(key.name.clone()),
            (DISCOVERY_GROUP, "EndpointSlice") => {
                let slice = store.endpoint_slices.get(&key.namespace, &key.name);
                // Without the label it is nobody's.
                slice.and_then(|slice| slice.meta.labels.get(SERVICE_NAME_LABEL).cloned())
            }
            _ => {
                self.more = true;
                return;
            }
        };
        self.more |= store.problems.contains_key(key);
        self.endpoints_of
            .extend(of.map(|service| (key.namespace.clone(), service)));
    }
}
