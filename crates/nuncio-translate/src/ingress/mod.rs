//! Ingresses: Hosts and Mappings are made of them, as Emissary does.
//!
//! ```text
//!  Ingress ──▶ class: is it nuncio's? ──▶ lower ──▶ Hosts (tls), Mappings (paths) ──▶ getambassador
//! ```
//!
//! What is made carries the field that it is made of, so that whatever is said of it later points
//! there. What is wrong costs one path, one host or one certificate; the rest is served.

pub(crate) mod class;
mod lower;

use nuncio_model::Report;

use crate::getambassador::Made;
use crate::store::Store;

/// What comes of the Ingresses.
#[derive(Default)]
pub(crate) struct Ingresses {
    pub(crate) made: Made,
    pub(crate) report: Report,
}

/// Takes up the Ingresses that are nuncio's.
pub(crate) fn translate(store: &Store) -> Ingresses {
    let mut ingresses = Ingresses::default();
    let classes = class::Classes::new(store, &mut ingresses.report);
    for object in store.ingresses.by_rkey() {
        if classes.take(object, &mut ingresses.report) {
            lower::lower(store, object, &mut ingresses);
        }
    }
    ingresses
}
