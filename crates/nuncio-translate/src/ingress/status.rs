//! Where clients reach the Ingresses: the addresses of nuncio's own Service.

use std::sync::Arc;

use nuncio_api::core::{LoadBalancerIngress, ServiceSpec};
use nuncio_api::ingress::Ingress;
use nuncio_model::{Reason, Report, ResourceId};
use serde::Serialize;

use super::all;
use crate::Settings;
use crate::store::{OWN_SERVICE_LABEL, Object, Store};

/// What the status of each Ingress that nuncio serves is to say.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Status {
    /// Those that are nuncio's.
    pub ingresses: Vec<Arc<ResourceId>>,
    /// Where clients reach them, in the words of a Service's `status.loadBalancer`; `None` where it is
    /// not known which Service that is.
    pub addresses: Option<Vec<LoadBalancerIngress>>,
}

pub(super) fn status(
    store: &Store,
    settings: &Settings,
    served: &[&Arc<Object<Ingress>>],
    report: &mut Report,
) -> Status {
    if served.is_empty() {
        return Status::default();
    }
    let mut status = Status {
        ingresses: served.iter().map(|object| Arc::clone(&object.id)).collect(),
        addresses: None,
    };
    if settings.pod_labels.is_none() {
        report
            .notice(
                &all(),
                Reason::RefNotFound,
                "Pod labels are not mounted in the Ambassador container; Kubernetes Ingress \
                 support is likely to be limited",
            )
            .help(
                "only the addresses in their status are missing: give the labels as --pod-labels",
            );
        return status;
    }
    match own_service(store, settings) {
        Some(service) => {
            status.addresses = Some(service.spec.load_balancer.ingress.clone());
        }
        None => report
            .notice(
                &all(),
                Reason::RefNotFound,
                format!(
                    "no Service in namespace {} with label {}: {} selects nuncio's pod: the \
                     status of Ingresses has no addresses",
                    settings.namespace, OWN_SERVICE_LABEL.0, OWN_SERVICE_LABEL.1
                ),
            )
            .help("give the Service of the gateway that label"),
    }
    status
}

/// Where clients reach nuncio; `None` where it is not known which Service that is.
pub(crate) fn own_addresses(
    store: &Store,
    settings: &Settings,
) -> Option<Vec<LoadBalancerIngress>> {
    let service = own_service(store, settings)?;
    Some(service.spec.load_balancer.ingress.clone())
}

/// The Service that leads to nuncio's pods; `None` where it is not known which that is.
pub(crate) fn own_service<'s>(
    store: &'s Store,
    settings: &Settings,
) -> Option<&'s Arc<Object<ServiceSpec>>> {
    let labels = settings.pod_labels.as_ref()?;
    store.own_services(&settings.namespace).find(|service| {
        let selector = &service.spec.selector;
        !selector.is_empty()
            && selector
                .iter()
                .all(|(key, value)| labels.get(key) == Some(value))
    })
}
