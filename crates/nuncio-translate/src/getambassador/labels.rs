//! Labels: what rate limits count by. Each group of them is one descriptor.

use std::collections::BTreeMap;
use std::sync::Arc;

use nuncio_api::getambassador::{LabelGroup, LabelSpecifier, Labels as Spec, Mapping};
use nuncio_model::external::{Label, Labels};
use nuncio_model::value::{Invalid, MatchHeaderName};

use super::Context;
use super::mistake::Mistake;
use super::values::field_of;
use crate::store::Object;

/// The labels of a Mapping by domain, with the Module's before them. A group with one that is wrong is
/// left out alone. Whose domain counts is known to the RateLimitService.
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
    let (labels, mistakes) = with_defaults(own, &context.module.defaults.labels);
    for mistake in mistakes {
        mistake.report(&mut context.report, object);
    }
    labels
}

fn with_defaults(own: &Spec, defaults: &BTreeMap<Arc<str>, Vec<Label>>) -> (Labels, Vec<Mistake>) {
    let mut labels = Labels::new();
    let mut mistakes = Vec::new();
    for (domain, groups) in own {
        let default = defaults.get(domain.as_str());
        let at = field_of("spec.labels", domain);
        for (index, LabelGroup { name, specifiers }) in groups.iter().enumerate() {
            let at = field_of(&format!("{at}[{index}]"), name);
            match descriptor(&at, specifiers) {
                Ok(own) => {
                    let all: Vec<Label> =
                        default.into_iter().flatten().cloned().chain(own).collect();
                    if !all.is_empty() {
                        labels.entry(domain.as_str().into()).or_default().push(all);
                    }
                }
                Err(mistake) => mistakes.push(mistake),
            }
        }
    }
    (labels, mistakes)
}

/// The labels of a list that stands at `field`.
pub(super) fn descriptor(
    field: &str,
    specifiers: &[LabelSpecifier],
) -> Result<Vec<Label>, Mistake> {
    let read = |(index, specifier)| {
        let at = |name: &str| format!("{field}[{index}].{name}");
        label(specifier, at)
    };
    specifiers.iter().enumerate().map(read).collect()
}

fn label(specifier: &LabelSpecifier, at: impl Fn(&str) -> String) -> Result<Label, Mistake> {
    let text = |name: &str, text: &str| -> Result<Arc<str>, Mistake> {
        if text.is_empty() {
            let what = Invalid::new(
                "a label is never empty",
                "write a text, or remove the label",
            );
            return Err(Mistake::at(at(name))(what));
        }
        Ok(text.into())
    };
    Ok(match specifier {
        LabelSpecifier::SourceCluster => Label::SourceCluster,
        LabelSpecifier::DestinationCluster => Label::DestinationCluster,
        LabelSpecifier::RemoteAddress => Label::RemoteAddress,
        LabelSpecifier::RequestHeaders(label) => Label::RequestHeader {
            key: text("request_headers.key", &label.key)?,
            header: MatchHeaderName::new(&label.header_name)
                .map_err(Mistake::at(at("request_headers.header_name")))?,
        },
        LabelSpecifier::GenericKey(label) => Label::GenericKey {
            key: match label.key.as_deref() {
                None | Some("") => "generic_key".into(),
                Some(key) => key.into(),
            },
            value: text("generic_key.value", &label.value)?,
        },
    })
}
