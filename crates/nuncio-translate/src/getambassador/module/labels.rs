//! `default_label_domain` and `default_labels`: what Mappings are counted by that do not say so.

use std::collections::BTreeMap;
use std::sync::Arc;

use nuncio_api::getambassador::LabelSpecifier;
use nuncio_model::external::Label;
use nuncio_model::value::Invalid;
use serde_json::Value;

use super::{Keys, path};
use crate::fields::labels::descriptor;
use crate::fields::mistake::Mistake;
use crate::fields::values::field_of;

const HELP: &str = "write a list of labels below <domain>.defaults, such as - remote_address: {key: remote_address}";

const NOT_A_LABEL: &str = "a label is exactly one of source_cluster, destination_cluster, remote_address, \
     request_headers, generic_key, with all its fields";

impl Keys<'_, '_, '_> {
    pub(super) fn label_domain(&self, default: &Arc<str>) -> Arc<str> {
        match self.config.default_label_domain.as_deref() {
            None | Some("") => Arc::clone(default),
            Some(domain) => domain.into(),
        }
    }

    /// By domain. What is wrong costs its domain.
    pub(super) fn default_labels(&mut self) -> BTreeMap<Arc<str>, Vec<Label>> {
        let Some(spec) = &self.config.default_labels else {
            return BTreeMap::new();
        };
        let field = path("default_labels");
        let Value::Object(domains) = spec else {
            self.take::<()>(Err(Mistake::new(field, "it is not an object", HELP)));
            return BTreeMap::new();
        };
        let mut labels = BTreeMap::new();
        for (domain, of_domain) in domains {
            let read = of(&field_of(&field, domain), of_domain);
            if let Some(read) = self.take(read) {
                labels.insert(domain.as_str().into(), read);
            }
        }
        labels
    }
}

/// The labels of a domain that stands at `field`.
fn of(field: &str, of_domain: &Value) -> Result<Vec<Label>, Mistake> {
    let wrong = |field: String, message: String| Mistake::at(field)(Invalid::new(message, HELP));
    let Some(defaults) = of_domain.get("defaults") else {
        return Err(wrong(field.to_owned(), "it has no defaults".to_owned()));
    };
    let field = format!("{field}.defaults");
    let Some(specifiers) = defaults.as_array() else {
        return Err(wrong(field, "it is not a list".to_owned()));
    };
    let mut read = Vec::new();
    for (index, specifier) in specifiers.iter().enumerate() {
        let specifier = serde_json::from_value::<LabelSpecifier>(specifier.clone());
        let not_one = |_| wrong(format!("{field}[{index}]"), NOT_A_LABEL.to_owned());
        read.push(specifier.map_err(not_one)?);
    }
    descriptor(&field, &read)
}
