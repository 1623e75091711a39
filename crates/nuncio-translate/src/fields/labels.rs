//! Labels: what rate limits count by. Each group of them is one descriptor.

use std::collections::BTreeMap;
use std::sync::Arc;

use nuncio_api::getambassador::{LabelGroup, LabelSpecifier, Labels as Spec};
use nuncio_model::external::{Label, Labels};
use nuncio_model::value::{Invalid, MatchHeaderName};

use super::mistake::Mistake;
use super::values::field_of;

/// The descriptors of each domain, with the domain's defaults before them. A group with a label that is
/// wrong is left out alone.
pub(crate) fn descriptors(
    field: &str,
    own: &Spec,
    defaults: &BTreeMap<Arc<str>, Vec<Label>>,
) -> (Labels, Vec<Mistake>) {
    let mut labels = Labels::new();
    let mut mistakes = Vec::new();
    for (domain, groups) in own {
        let default = defaults.get(domain.as_str());
        let at = field_of(field, domain);
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
pub(crate) fn descriptor(
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
