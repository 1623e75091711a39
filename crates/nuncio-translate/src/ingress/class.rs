//! Which Ingresses are nuncio's.

use nuncio_api::ObjectMeta;
use nuncio_api::ingress::{Ingress, IngressClass};
use nuncio_model::{Reason, Report};

use crate::store::{Object, Store};

/// The annotation that named a class before `spec.ingressClassName` did.
const ANNOTATION: &str = "kubernetes.io/ingress.class";
/// The class in that annotation.
const CLASS: &str = "ambassador";
/// The controller of IngressClasses that are nuncio's.
const CONTROLLER: &str = "getambassador.io/ingress-controller";
/// The annotation of the IngressClass of Ingresses that name none.
const DEFAULT_ANNOTATION: &str = "ingressclass.kubernetes.io/is-default-class";

/// Whether the annotation of an Ingress names nuncio's class; `None` where it names none.
pub(crate) fn annotated(meta: &ObjectMeta) -> Option<bool> {
    let class = meta.annotations.get(ANNOTATION)?;
    (!class.is_empty()).then(|| class.eq_ignore_ascii_case(CLASS))
}

/// The IngressClasses, as far as they decide.
pub(super) struct Classes<'s> {
    store: &'s Store,
    /// Ingresses that name no class are nuncio's. The API server writes the default class into
    /// them when they are created; plain manifests have never been there.
    by_default: bool,
}

impl<'s> Classes<'s> {
    pub(super) fn new(store: &'s Store, report: &mut Report) -> Self {
        let mut by_default = false;
        for class in store.ingress_classes.iter() {
            if !is_ours(store, class) {
                continue;
            }
            let default = class.meta.annotations.get(DEFAULT_ANNOTATION);
            by_default |= default.is_some_and(|value| value == "true");
            if class.spec.parameters.is_some() {
                report
                    .notice(
                        &class.at("spec.parameters"),
                        Reason::NoEffect,
                        "parameters have no effect: nuncio has none for a class",
                    )
                    .help("they can be removed");
            }
        }
        Self { store, by_default }
    }

    /// Whether an Ingress is nuncio's. Of others nothing is said, unless nobody serves them.
    pub(super) fn take(&self, object: &Object<Ingress>, report: &mut Report) -> bool {
        if !self.store.is_meant(&object.meta) {
            return false;
        }
        let annotated = annotated(&object.meta);
        let named = object.spec.ingress_class_name.as_deref();
        match (annotated, named.filter(|name| !name.is_empty())) {
            (Some(true), _) => true,
            (Some(false), None) => false,
            (None, None) => self.by_default,
            (annotated, Some(name)) => match self.store.ingress_classes.get("", name) {
                Some(class) => is_ours(self.store, class),
                None => {
                    if annotated.is_none() {
                        report
                            .notice(
                                &object.at("spec.ingressClassName"),
                                Reason::RefNotFound,
                                format!(
                                    "there is no IngressClass {name}: nuncio does not serve the \
                                     Ingress"
                                ),
                            )
                            .help(format!(
                                "to have it served, write an IngressClass with controller: \
                                 {CONTROLLER}"
                            ));
                    }
                    false
                }
            },
        }
    }
}

fn is_ours(store: &Store, class: &Object<IngressClass>) -> bool {
    class.spec.controller.eq_ignore_ascii_case(CONTROLLER) && store.is_meant(&class.meta)
}
