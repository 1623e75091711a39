use std::collections::BTreeMap;

use nuncio_api::getambassador::conversion::ID_PREFIX;

use super::selector::LabelSelectorExpr;

/// The id of what is meant for every one.
const AUTOMATIC: &str = "_automatic_";

/// Which resources count, by Emissary's variables.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scope {
    pub ambassador_id: String,
    /// nuncio's own namespace.
    pub namespace: String,
    /// Only resources of its own namespace.
    pub single_namespace: bool,
    /// Only resources with these labels, of every kind.
    pub label_selector: Option<LabelSelectorExpr>,
}

impl Default for Scope {
    fn default() -> Self {
        Self {
            ambassador_id: "default".to_owned(),
            namespace: "default".to_owned(),
            single_namespace: false,
            label_selector: None,
        }
    }
}

impl Scope {
    /// Reads `AMBASSADOR_ID`, `AMBASSADOR_NAMESPACE`, `AMBASSADOR_SINGLE_NAMESPACE` (anything but
    /// empty) and `AMBASSADOR_LABEL_SELECTOR`.
    pub fn from_vars(get: impl Fn(&str) -> Option<String>) -> Result<Self, String> {
        let get = |name| get(name).filter(|value| !value.is_empty());
        let default = Self::default();
        Ok(Self {
            ambassador_id: get("AMBASSADOR_ID").unwrap_or(default.ambassador_id),
            namespace: get("AMBASSADOR_NAMESPACE").unwrap_or(default.namespace),
            single_namespace: get("AMBASSADOR_SINGLE_NAMESPACE").is_some(),
            label_selector: get("AMBASSADOR_LABEL_SELECTOR")
                .map(|text| LabelSelectorExpr::parse(&text))
                .transpose()
                .map_err(|what| format!("AMBASSADOR_LABEL_SELECTOR: {what}"))?,
        })
    }

    /// Whether an object is seen at all. What has no namespace is in every one.
    pub(super) fn sees(&self, namespace: &str, labels: &BTreeMap<String, String>) -> bool {
        let near = !self.single_namespace || namespace.is_empty() || namespace == self.namespace;
        near && self
            .label_selector
            .as_ref()
            .is_none_or(|selector| selector.matches(labels))
    }

    /// Whether resources in a text that cannot be parsed may be meant for this nuncio.
    pub(super) fn may_accept(&self, text: &str) -> bool {
        match text.contains("ambassador_id") {
            true => text.contains(&self.ambassador_id) || text.contains(AUTOMATIC),
            false => self.accepts_id(None),
        }
    }

    /// Whether a resource is meant for this nuncio. The conversion of old versions leaves a prefix
    /// in stored objects.
    pub(super) fn accepts_id(&self, ambassador_id: Option<&[String]>) -> bool {
        let Some(ids) = ambassador_id.filter(|ids| !ids.is_empty()) else {
            return self.ambassador_id == "default";
        };
        ids.iter().any(|id| {
            let id = id.strip_prefix(ID_PREFIX).unwrap_or(id);
            id == AUTOMATIC || id == self.ambassador_id
        })
    }
}
