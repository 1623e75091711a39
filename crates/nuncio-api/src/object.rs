//! A resource as its source gave it.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use serde::ser::Error;
use serde::{Deserialize, Serialize, Serializer};
use serde_json::Value;
use serde_json::value::RawValue;

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
    /// When the object was made, as RFC 3339 has it; of kinds for which that decides.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub creation_timestamp: Option<Box<str>>,
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

/// A document, packed as JSON: as a tree it would take ten times the memory, and most are read once.
/// Cheap to clone.
#[derive(Clone, PartialEq, Eq)]
pub struct Body(Arc<str>);

impl Body {
    /// The document as JSON.
    pub fn text(&self) -> &str {
        &self.0
    }

    /// The document as a tree.
    pub fn to_value(&self) -> Value {
        serde_json::from_str(&self.0)
            .expect("invariant: nothing nests deeper than JSON may that is read")
    }
}

impl From<&Value> for Body {
    fn from(value: &Value) -> Self {
        Self(value.to_string().into())
    }
}

impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Serialize for Body {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let raw: &RawValue = serde_json::from_str(&self.0).map_err(S::Error::custom)?;
        raw.serialize(serializer)
    }
}

/// One resource, not yet checked: only that it has an apiVersion, a kind and a name is sure. Cheap to
/// clone, because sources and whoever takes up what they find have the same one.
#[derive(Clone, Debug, PartialEq)]
pub struct RawObject {
    pub api_version: Arc<str>,
    pub kind: Arc<str>,
    pub meta: Arc<ObjectMeta>,
    /// The whole document, `apiVersion`, `kind` and `metadata` included.
    pub body: Body,
    pub source: SourceRef,
}

/// The API group of an `apiVersion`, empty for the core group.
pub fn group_of(api_version: &str) -> &str {
    api_version.rsplit_once('/').map_or("", |(group, _)| group)
}

impl RawObject {
    /// API group, empty for the core group.
    pub fn group(&self) -> &str {
        group_of(&self.api_version)
    }

    /// The version within the group.
    pub fn version(&self) -> &str {
        self.api_version
            .rsplit_once('/')
            .map_or(&*self.api_version, |(_, version)| version)
    }

    pub fn key(&self) -> ObjectKey {
        ObjectKey {
            group: self.group().to_owned(),
            kind: self.kind.to_string(),
            namespace: self.meta.namespace.clone(),
            name: self.meta.name.clone(),
        }
    }
}
