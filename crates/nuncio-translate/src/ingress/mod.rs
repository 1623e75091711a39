//! Ingresses: Hosts and Mappings are made of them, as Emissary does.
//!
//! ```text
//!  Ingress ──▶ class: is it nuncio's? ──▶ lower ──▶ Hosts (tls), Mappings (paths) ──▶ getambassador
//!                                  └──▶ status: where clients reach them
//! ```
//!
//! What is made carries the field that it is made of, so that whatever is said of it later points
//! there. What is wrong costs one path, one host or one certificate; the rest is served.

pub(crate) mod class;
mod lower;
mod pod_labels;
mod status;

use std::sync::Arc;

use nuncio_api::ingress::{GROUP, Ingress};
use nuncio_model::{Origin, Report, ResourceId};

pub use pod_labels::{PodLabels, parse as parse_pod_labels};
pub use status::Status;
pub(crate) use status::{own_addresses, own_service};

use crate::Settings;
use crate::getambassador::Made;
use crate::store::{Object, Store};

/// What comes of the Ingresses.
#[derive(Default)]
pub(crate) struct Ingresses {
    pub(crate) made: Made,
    pub(crate) status: Status,
    pub(crate) report: Report,
}

/// Takes up the Ingresses that are nuncio's.
pub(crate) fn translate(store: &Store, settings: &Settings) -> Ingresses {
    let mut ingresses = Ingresses::default();
    let classes = class::Classes::new(store, &mut ingresses.report);
    let served: Vec<&Arc<Object<Ingress>>> = store
        .ingresses
        .by_rkey()
        .into_iter()
        .filter(|object| classes.take(object, &mut ingresses.report))
        .collect();
    for object in &served {
        lower::lower(store, object, &mut ingresses);
    }
    ingresses.status = status::status(store, settings, &served, &mut ingresses.report);
    ingresses
}

/// Where the report says what concerns all Ingresses.
fn all() -> Origin {
    Origin::new(Arc::new(ResourceId::new(GROUP, "Ingress", "", "*")))
}
