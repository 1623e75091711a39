//! A resource as its source gave it.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// The part of `metadata` that nuncio uses.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ObjectMeta {
    pub name: String,
    pub namespace: String,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub generation: Option<i64>,
}

/// Names an object in a store: its version does not count.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObjectKey {
    /// API group, empty for the core group.
    pub group: String,
    pub kind: String,
    pub namespace: String,
    pub name: String,
}

impl fmt::Display for ObjectKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}/{}", self.kind, self.namespace, self.name)
    }
}

/// Where an object was read from, exact enough to find the line of one of its fields again.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SourceRef {
    /// The `item`-th entry of a `kind: List` (if it is one) in the `document`-th document of a
    /// file, both from 0.
    File {
        path: Arc<str>,
        document: usize,
        item: Option<usize>,
    },
    /// The `document`-th document, from 0, of the `getambassador.io/config` annotation of another
    /// object.
    Annotation {
        parent: Arc<SourceRef>,
        document: usize,
    },
    /// The API server, which has it by its kind and name.
    Cluster,
}

/// One resource, not yet checked: only that it has an apiVersion, a kind and a name is sure.
#[derive(Clone, Debug, PartialEq)]
pub struct RawObject {
    pub api_version: String,
    pub kind: String,
    pub meta: ObjectMeta,
    /// The whole document, `apiVersion`, `kind` and `metadata` included.
    pub body: Value,
    pub source: SourceRef,
}

impl RawObject {
    /// API group, empty for the core group.
    pub fn group(&self) -> &str {
        self.api_version
            .rsplit_once('/')
            .map_or("", |(group, _)| group)
    }

    /// The version within the group.
    pub fn version(&self) -> &str {
        self.api_version
            .rsplit_once('/')
            .map_or(self.api_version.as_str(), |(_, version)| version)
    }

    pub fn key(&self) -> ObjectKey {
        ObjectKey {
            group: self.group().to_owned(),
            kind: self.kind.clone(),
            namespace: self.meta.namespace.clone(),
            name: self.meta.name.clone(),
        }
    }
}
