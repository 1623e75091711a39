//! Which Gateways are nuncio's.

use std::sync::Arc;

use nuncio_api::gateway_api::{CONTROLLER, Gateway, GatewayClass};

use crate::store::{Object, Store};

/// The GatewayClass that is nuncio's where none of this name is written.
pub const CLASS: &str = "emissary";

/// The GatewayClasses that are nuncio's.
pub(super) fn classes(store: &Store) -> Vec<&Arc<Object<GatewayClass>>> {
    let classes = store.gateway_classes.iter();
    classes.filter(|class| is_ours(store, class)).collect()
}

/// The Gateways of these classes, the oldest first.
pub(super) fn gateways(store: &Store) -> Vec<&Arc<Object<Gateway>>> {
    let served = |gateway: &&Arc<Object<Gateway>>| {
        let name = gateway.spec.gateway_class_name.as_str();
        match store.gateway_classes.get("", name) {
            Some(class) => is_ours(store, class),
            None => name == CLASS,
        }
    };
    let mut gateways: Vec<_> = store.gateways.iter().filter(served).collect();
    gateways.sort_by_cached_key(|gateway| age(gateway));
    gateways
}

fn is_ours(store: &Store, class: &Object<GatewayClass>) -> bool {
    class.spec.controller_name == CONTROLLER && store.is_meant(&class.meta)
}

/// Conflicts are for the older object to win, then for the first by name.
pub(super) type Age = (Option<Box<str>>, String, String);

pub(super) fn age<T>(object: &Object<T>) -> Age {
    let meta = &object.meta;
    (
        meta.creation_timestamp.clone(),
        meta.namespace.clone(),
        meta.name.clone(),
    )
}
