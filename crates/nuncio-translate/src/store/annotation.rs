//! Resources in `getambassador.io/config` annotations of Services and Ingresses.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Arc;

use nuncio_api::yaml;
use nuncio_api::{Body, ObjectKey, ObjectMeta, RawObject, SourceRef, getambassador};
use nuncio_model::{Entry, Origin, Reason, ResourceId, Severity, Unread, guard, guards_in};
use serde_json::{Map, Value};

use super::Scope;

const ANNOTATION: &str = "getambassador.io/config";
const FIELD: &str = "metadata.annotations[\"getambassador.io/config\"]";

/// What the annotations of all objects define.
#[derive(Clone, Default)]
pub(super) struct Annotations {
    /// Of each name, the definitions by parent.
    definitions: BTreeMap<ObjectKey, BTreeMap<ObjectKey, (RawObject, String)>>,
    children: BTreeMap<ObjectKey, Vec<ObjectKey>>,
    /// Names that an object of their own has.
    real: HashSet<Arc<ResourceId>>,
}

/// Who defines a name.
pub(super) struct Claim {
    /// An object of its own does; it counts.
    pub(super) real: bool,
    /// Else the definition of the first parent.
    pub(super) first: Option<(RawObject, String)>,
    /// What to say to the parents of the others.
    pub(super) losers: Vec<Entry>,
}

impl Annotations {
    pub(super) fn parent_changed(
        &mut self,
        parent: &ObjectKey,
        children: Vec<(RawObject, String)>,
        contested: &mut BTreeSet<ObjectKey>,
    ) {
        for child in self.children.remove(parent).unwrap_or_default() {
            if let Some(definitions) = self.definitions.get_mut(&child) {
                definitions.remove(parent);
                if definitions.is_empty() {
                    self.definitions.remove(&child);
                }
            }
            contested.insert(child);
        }
        for (child, rkey) in children {
            let key = child.key();
            self.children
                .entry(parent.clone())
                .or_default()
                .push(key.clone());
            self.definitions
                .entry(key.clone())
                .or_default()
                .insert(parent.clone(), (child, rkey));
            contested.insert(key);
        }
    }

    pub(super) fn real_changed(
        &mut self,
        key: &ObjectKey,
        id: &Arc<ResourceId>,
        exists: bool,
        contested: &mut BTreeSet<ObjectKey>,
    ) {
        let changed = if exists {
            self.real.insert(Arc::clone(id))
        } else {
            self.real.remove(id)
        };
        if changed && self.definitions.contains_key(key) {
            contested.insert(key.clone());
        }
    }

    /// Whose definition of a name counts where no object of its own has it.
    pub(super) fn first_parent(&self, key: &ObjectKey) -> Option<&ObjectKey> {
        self.definitions.get(key)?.keys().next()
    }

    pub(super) fn claim(&self, key: &ObjectKey, id: &ResourceId) -> Claim {
        let real = self.real.contains(id);
        let mut definitions = self.definitions.get(key).into_iter().flatten();
        let first = if real { None } else { definitions.next() };
        let winner = match first {
            Some((parent, _)) => format!("the annotation of {parent}"),
            None => "an object of its own".to_owned(),
        };
        let losers = definitions
            .map(|(parent, _)| {
                let mut entry = Entry::new(
                    &origin(parent),
                    Severity::Warning,
                    Reason::Duplicate,
                    format!("{key} is already defined by {winner}, which counts"),
                );
                entry.help("remove it here, or give it another name");
                entry
            })
            .collect();
        Claim {
            real,
            first: first.map(|(_, definition)| definition.clone()),
            losers,
        }
    }
}

pub(super) fn may_carry(object: &RawObject) -> bool {
    let kind = matches!(
        (object.group(), &*object.kind),
        ("", "Service") | ("networking.k8s.io", "Ingress")
    );
    kind && object.meta.annotations.contains_key(ANNOTATION)
}

/// What an annotation has.
#[derive(Default)]
pub(super) struct Content {
    /// With their keys.
    pub(super) children: Vec<(RawObject, String)>,
    pub(super) problems: Vec<Entry>,
    /// What there may be that cannot be read.
    pub(super) unread: Vec<Unread>,
}

/// The content of an object's annotation.
pub(super) fn content(parent: &RawObject, scope: &Scope) -> Content {
    let text = parent
        .meta
        .annotations
        .get(ANNOTATION)
        .map_or("", String::as_str);
    let at = origin(&parent.key());
    let mut children = Vec::new();
    let mut problems = Vec::new();
    let guards = || match scope.may_accept(text) {
        true => guards_in(text),
        false => BTreeSet::new(),
    };
    let unread = |kinds: BTreeSet<&'static str>| -> Vec<Unread> {
        let at = &at;
        let unread = kinds.into_iter().map(|kind| Unread {
            kind,
            origin: at.clone(),
        });
        unread.collect()
    };
    let documents = match yaml::documents(text) {
        Ok(documents) => documents,
        Err(error) => {
            let mut entry = Entry::new(
                &at,
                Severity::Error,
                Reason::ParseError,
                format!("the annotation is not YAML: {error}"),
            );
            entry.help("nothing of it is in effect; lines count from the annotation's first");
            problems.push(entry);
            return Content {
                children,
                problems,
                unread: unread(guards()),
            };
        }
    };
    let source = Arc::new(parent.source.clone());
    let mut lost = BTreeSet::new();
    for (document, body) in documents.into_iter().enumerate() {
        let guard = body["kind"].as_str().and_then(guard);
        match child(parent, &source, document, body) {
            Ok(child) => {
                let (name, namespace) = (&parent.meta.name, &parent.meta.namespace);
                children.push((child, format!("{name}.{namespace}.{}", document + 1)));
            }
            Err(what) => {
                lost.extend(guard.filter(|guard| guards().contains(guard)));
                let mut entry = Entry::new(
                    &at,
                    Severity::Error,
                    Reason::InvalidValue,
                    format!("document {} of the annotation: {what}", document + 1),
                );
                entry.help("write apiVersion, kind and name as in an object of its own");
                problems.push(entry);
            }
        }
    }
    let unread = unread(lost);
    Content {
        children,
        problems,
        unread,
    }
}

fn child(
    parent: &RawObject,
    source: &Arc<SourceRef>,
    document: usize,
    body: Value,
) -> Result<RawObject, &'static str> {
    let Value::Object(mut fields) = body else {
        return Err("it is not an object");
    };
    let mut take = |name: &str| match fields.remove(name) {
        Some(Value::String(text)) => Some(text),
        _ => None,
    };
    let api_version = take("apiVersion").ok_or("apiVersion is missing")?;
    let kind = take("kind").ok_or("kind is missing")?;
    let name = take("name");
    let namespace = take("namespace");
    let api_version = match api_version.strip_prefix("ambassador/") {
        Some(version) => format!("{}/{version}", getambassador::GROUP),
        None => api_version,
    };
    let metadata = fields.remove("metadata").filter(|value| !value.is_null());
    let labels = match fields.remove("metadata_labels") {
        Some(Value::Null) | None => metadata
            .as_ref()
            .and_then(|meta| meta.get("labels"))
            .cloned(),
        labels => labels,
    };
    let mut meta: ObjectMeta = metadata
        .map(serde_json::from_value)
        .transpose()
        .map_err(|_| "its metadata is not that of an object")?
        .unwrap_or_default();
    if let Some(name) = name {
        meta.name = name;
    }
    if meta.name.is_empty() {
        return Err("name is missing");
    }
    if let Some(namespace) = namespace {
        meta.namespace = namespace;
    }
    if meta.namespace.is_empty() {
        meta.namespace.clone_from(&parent.meta.namespace);
    }
    // None at all is something to say: then no Host with a selector takes it.
    meta.labels = match labels {
        Some(labels) => {
            serde_json::from_value(labels).map_err(|_| "metadata_labels is not a map of strings")?
        }
        None => parent.meta.labels.clone(),
    };
    fields.remove("generation");
    fields.remove("status");
    let spec = match fields.remove("spec") {
        Some(Value::Object(mut spec)) => {
            spec.extend(fields);
            Value::Object(spec)
        }
        Some(other) if !other.is_null() => other,
        _ => Value::Object(fields),
    };
    Ok(RawObject {
        api_version: api_version.into(),
        kind: kind.into(),
        meta: Arc::new(meta),
        body: Body::from(&Value::Object(Map::from_iter([("spec".to_owned(), spec)]))),
        source: SourceRef::Annotation {
            parent: Arc::clone(source),
            document,
        },
    })
}

fn origin(parent: &ObjectKey) -> Origin {
    Origin::new(Arc::new(ResourceId::new(
        parent.group.as_str(),
        parent.kind.as_str(),
        parent.namespace.as_str(),
        parent.name.as_str(),
    )))
    .field(FIELD)
}
