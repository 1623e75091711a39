//! From the text of a file to objects.

use std::collections::BTreeSet;
use std::sync::Arc;

use nuncio_api::yaml::{self, SyntaxError};
use nuncio_api::{Body, ObjectMeta, RawObject, SourceRef, group_of};
use nuncio_model::{Entry, Origin, Reason, ResourceId, Severity, guard, guards_in};
use serde_json::{Map, Value};

use crate::locate::Tree;

pub(crate) mod json;

/// The objects of one file, and what is wrong with those that are left out.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Manifest {
    pub objects: Vec<RawObject>,
    pub problems: Vec<Entry>,
    /// Kinds among those that are left out which must not go unseen.
    pub(crate) unread: BTreeSet<&'static str>,
}

/// How a file's text is written, by its extension.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Syntax {
    Yaml,
    Json,
}

impl Syntax {
    /// YAML unless the path ends in `.json`.
    pub fn of(path: &str) -> Self {
        if path.ends_with(".json") {
            Syntax::Json
        } else {
            Syntax::Yaml
        }
    }
}

/// The resource that stands in the report for a file rather than for an object in it.
pub fn file_resource(path: &str) -> Arc<ResourceId> {
    Arc::new(ResourceId::new("", "File", "", path))
}

/// Reads the objects of a file: one or more documents, lists flattened, empty documents skipped.
///
/// # Errors
///
/// A syntax error anywhere refuses the whole text: what stands after it may belong to anything.
pub fn parse(path: &Arc<str>, text: &str) -> Result<Manifest, SyntaxError> {
    let documents = match Syntax::of(path) {
        Syntax::Yaml => yaml::documents(text)?,
        Syntax::Json => json::documents(text)?,
    };
    let mut reader = Reader {
        path,
        text,
        tree: None,
        manifest: Manifest::default(),
    };
    for (document, body) in documents.into_iter().enumerate() {
        reader.document(document, body);
    }
    Ok(reader.manifest)
}

/// Kinds of Kubernetes and of Gateway API that live outside of namespaces.
const CLUSTER_SCOPED: &[&str] = &[
    "APIService",
    "CSIDriver",
    "CSINode",
    "CertificateSigningRequest",
    "ClusterIssuer",
    "ClusterRole",
    "ClusterRoleBinding",
    "ClusterTrustBundle",
    "CustomResourceDefinition",
    "DeviceClass",
    "FlowSchema",
    "GatewayClass",
    "IngressClass",
    "IPAddress",
    "MutatingAdmissionPolicy",
    "MutatingAdmissionPolicyBinding",
    "MutatingWebhookConfiguration",
    "Namespace",
    "Node",
    "PersistentVolume",
    "PriorityClass",
    "PriorityLevelConfiguration",
    "RuntimeClass",
    "ServiceCIDR",
    "StorageClass",
    "ValidatingAdmissionPolicy",
    "ValidatingAdmissionPolicyBinding",
    "ValidatingWebhookConfiguration",
    "VolumeAttachment",
    "VolumeAttributesClass",
];

/// What a document lacks to be an object.
pub(crate) struct Refusal {
    field: &'static str,
    reason: Reason,
    message: String,
    help: &'static str,
}

struct Reader<'a> {
    path: &'a Arc<str>,
    text: &'a str,
    /// Of the text, once a refusal had to say where it is.
    tree: Option<Tree>,
    manifest: Manifest,
}

impl Reader<'_> {
    fn document(&mut self, document: usize, mut body: Value) {
        let Some((kind, items)) = list(&mut body) else {
            return self.object(document, None, body);
        };
        let api_version = body.get("apiVersion").cloned();
        for (item, mut value) in items.into_iter().enumerate() {
            // The API server leaves both out of the items of a typed list.
            if let (Value::Object(object), false) = (&mut value, kind.is_empty()) {
                object
                    .entry("kind")
                    .or_insert_with(|| Value::String(kind.clone()));
                if let Some(api_version) = &api_version {
                    object
                        .entry("apiVersion")
                        .or_insert_with(|| api_version.clone());
                }
            }
            self.object(document, Some(item), value);
        }
    }

    fn object(&mut self, document: usize, item: Option<usize>, body: Value) {
        let source = SourceRef::File {
            path: Arc::clone(self.path),
            document,
            item,
        };
        let guards = match body["kind"].as_str().and_then(guard) {
            // Not every one is among them.
            Some("Module" | "TLSContext") => guards_in(&body.to_string()),
            guard => guard.into_iter().collect(),
        };
        match object(source, body) {
            Ok((object, warnings)) => {
                self.manifest.objects.push(object);
                self.manifest.problems.extend(warnings);
            }
            Err(refusal) => {
                self.manifest.unread.extend(guards);
                self.refuse(document, item, &refusal);
            }
        }
    }

    fn refuse(&mut self, document: usize, item: Option<usize>, refusal: &Refusal) {
        let tree = self
            .tree
            .get_or_insert_with(|| Tree::parse(self.text, Syntax::of(self.path)));
        let at = tree.locate(document, item, refusal.field);
        let line = at.map_or(String::new(), |(line, _)| format!("line {line}: "));
        let origin = Origin::new(file_resource(self.path));
        let mut entry = Entry::new(
            &origin,
            Severity::Error,
            refusal.reason,
            format!("{line}{}", refusal.message),
        );
        entry.help(refusal.help);
        self.manifest.problems.push(entry);
    }
}

/// Takes the items out of a list, with the kind that they have unless they say so themselves.
fn list(body: &mut Value) -> Option<(String, Vec<Value>)> {
    let kind = body.get("kind")?.as_str()?.strip_suffix("List")?.to_owned();
    match body.get_mut("items")? {
        Value::Array(items) => Some((kind, std::mem::take(items))),
        // The API server writes an empty list so.
        Value::Null => Some((kind, Vec::new())),
        _ => None,
    }
}

/// An object, with what is wrong with it and costs it nothing.
pub(crate) fn object(source: SourceRef, value: Value) -> Result<(RawObject, Vec<Entry>), Refusal> {
    read(source, &value, || Body::from(&value))
}

/// An object whose body is packed already.
pub(crate) fn packed(source: SourceRef, body: &Body) -> Result<(RawObject, Vec<Entry>), Refusal> {
    read(source, &body.to_value(), || body.clone())
}

fn read(
    source: SourceRef,
    value: &Value,
    body: impl FnOnce() -> Body,
) -> Result<(RawObject, Vec<Entry>), Refusal> {
    let Value::Object(fields) = value else {
        return Err(Refusal {
            field: "",
            reason: Reason::InvalidValue,
            message: "this document is not an object".to_owned(),
            help: "write apiVersion, kind and metadata.name",
        });
    };
    let api_version = text(
        fields,
        "apiVersion",
        "apiVersion",
        "write, for example, `apiVersion: getambassador.io/v3alpha1`",
    )?;
    let kind = text(
        fields,
        "kind",
        "kind",
        "write, for example, `kind: Mapping`",
    )?;
    let empty = Map::new();
    let metadata = match fields.get("metadata") {
        Some(Value::Object(metadata)) => metadata,
        _ => &empty,
    };
    let help = "write a name that is unique for its kind and namespace, as a string";
    let name = text(metadata, "name", "metadata.name", help)?;
    let namespace = match metadata.get("namespace") {
        _ if CLUSTER_SCOPED.contains(&kind.as_str()) => String::new(),
        None | Some(Value::Null) => "default".to_owned(),
        Some(Value::String(namespace)) if namespace.is_empty() => "default".to_owned(),
        Some(_) => text(
            metadata,
            "namespace",
            "metadata.namespace",
            "write the namespace as a string",
        )?,
    };
    let generation = metadata.get("generation").and_then(Value::as_i64);
    let creation = metadata.get("creationTimestamp").and_then(Value::as_str);
    let mut meta = ObjectMeta {
        name,
        namespace,
        generation,
        creation_timestamp: creation.map(Into::into),
        ..ObjectMeta::default()
    };
    let mut warnings = Vec::new();
    let resource = || {
        let group = group_of(&api_version);
        Arc::new(ResourceId::new(
            group,
            &*kind,
            &*meta.namespace,
            &*meta.name,
        ))
    };
    let labels = strings(metadata, "labels", resource, &mut warnings);
    let annotations = strings(metadata, "annotations", resource, &mut warnings);
    meta.labels = labels;
    meta.annotations = annotations;
    let object = RawObject {
        api_version: api_version.into(),
        kind: kind.into(),
        meta: Arc::new(meta),
        body: body(),
        source,
    };
    Ok((object, warnings))
}

/// A field that must be a string with something in it.
fn text(
    fields: &Map<String, Value>,
    name: &str,
    field: &'static str,
    help: &'static str,
) -> Result<String, Refusal> {
    let message = match fields.get(name) {
        Some(Value::String(text)) if !text.is_empty() => return Ok(text.clone()),
        None | Some(Value::Null | Value::String(_)) => {
            format!("this document has no {field}; it is left out")
        }
        Some(value) => {
            return Err(Refusal {
                field,
                reason: Reason::InvalidValue,
                message: format!(
                    "{field} must be a string, not {value}; this document is left out"
                ),
                help: "quote it: in Kubernetes' YAML plain numbers, and words such as y, no and on, are no strings",
            });
        }
    };
    Err(Refusal {
        field,
        reason: Reason::MissingField,
        message,
        help,
    })
}

/// Labels or annotations. Kubernetes refuses the object if one is no string; here a number or a
/// boolean counts as what was meant, with a warning.
fn strings(
    metadata: &Map<String, Value>,
    name: &str,
    resource: impl Fn() -> Arc<ResourceId>,
    warnings: &mut Vec<Entry>,
) -> std::collections::BTreeMap<String, String> {
    let Some(Value::Object(values)) = metadata.get(name) else {
        return Default::default();
    };
    let mut strings = std::collections::BTreeMap::new();
    for (key, value) in values {
        let (text, message) = match value {
            Value::String(text) => {
                strings.insert(key.clone(), text.clone());
                continue;
            }
            Value::Bool(_) | Value::Number(_) => (
                Some(value.to_string()),
                format!("must be a string; taken as \"{value}\""),
            ),
            Value::Null => (
                Some(String::new()),
                "must be a string; taken as \"\"".to_owned(),
            ),
            _ => (None, "must be a string; ignored".to_owned()),
        };
        let origin = Origin::new(resource()).field(format!("metadata.{name}[\"{key}\"]"));
        let mut entry = Entry::new(&origin, Severity::Warning, Reason::InvalidValue, message);
        entry.help("quote the value: Kubernetes refuses it otherwise");
        warnings.push(entry);
        if let Some(text) = text {
            strings.insert(key.clone(), text);
        }
    }
    strings
}

#[cfg(test)]
mod tests;
