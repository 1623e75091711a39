//! What Mappings are counted by.

use std::sync::Arc;

use nuncio_api::getambassador::Mapping;
use nuncio_model::external::Labels;

use super::Context;
use crate::fields::labels::descriptors;
use crate::store::Object;

/// The labels of a Mapping by domain, with the Module's before them. Whose domain counts is known to the
/// RateLimitService.
pub(super) fn labels(context: &mut Context<'_>, object: &Object<Mapping>) -> Labels {
    let own = object
        .spec
        .labels
        .as_ref()
        .filter(|labels| !labels.is_empty());
    let Some(own) = own else {
        let defaults = &context.module.defaults;
        let domain = &defaults.label_domain;
        let labels = defaults
            .labels
            .get(domain)
            .filter(|labels| !labels.is_empty());
        let labels = labels.map(|labels| (Arc::clone(domain), vec![labels.clone()]));
        return labels.into_iter().collect();
    };
    let (labels, mistakes) = descriptors("spec.labels", own, &context.module.defaults.labels);
    for mistake in mistakes {
        mistake.report(&mut context.report, object);
    }
    labels
}
