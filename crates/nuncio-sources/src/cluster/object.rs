//! An object as the API server sends it, cut down to what may matter before it is held.

use std::fmt;

use kube::Resource;
use kube::api::ApiResource;
use kube::core::{DynamicResourceScope, ObjectMeta};
use nuncio_api::core::Secret;
use nuncio_api::{Body, gateway_api};
use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::{Map, Value};
use uuid::Uuid;

use super::standing::Standing;

/// What `kubectl apply` notes for itself: the whole object once more.
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// Fields of `metadata` that are kept: none that changes without the object meaning something else.
const KEPT_METADATA: &[&str] = &[
    "name",
    "namespace",
    "generation",
    "labels",
    "annotations",
    CREATION,
];

/// Who is older wins among kinds of the Gateway API; of others it is not kept.
const CREATION: &str = "creationTimestamp";

/// The keys of ConfigMaps that mean something: certificates of authorities, and what is said of the
/// Service of a Gateway.
const READ_DATA: &[&str] = &["ca.crt", "service"];

/// What is read of a status: the addresses of a Service and of a Gateway.
const KEPT_STATUS: &[(&str, &str)] = &[("Service", "loadBalancer"), ("Gateway", "addresses")];

/// An object of any kind.
#[derive(Clone, Debug)]
pub(super) struct Object {
    /// Name, namespace and version, for the watcher.
    meta: ObjectMeta,
    body: Map<String, Value>,
    standing: Standing,
}

impl Object {
    /// What its status says, as far as nuncio writes it.
    pub(super) fn standing(&self) -> Standing {
        self.standing.clone()
    }

    /// Namespace, empty where there is none, and name.
    pub(super) fn name(&self) -> (Box<str>, Box<str>) {
        let text = |text: &Option<String>| text.as_deref().unwrap_or_default().into();
        (text(&self.meta.namespace), text(&self.meta.name))
    }

    /// The object as a manifest would have it, the same for the same content.
    pub(super) fn body(mut self, of: &ApiResource) -> Body {
        // The API server leaves both out of the items of a list.
        let mut set = |field: &str, text: &str| {
            let text = || Value::String(text.to_owned());
            self.body.entry(field).or_insert_with(text);
        };
        set("apiVersion", &of.api_version);
        set("kind", &of.kind);
        self.forget_status(&of.kind);
        if !gateway_api::is_group(&of.group)
            && let Some(Value::Object(metadata)) = self.body.get_mut("metadata")
        {
            metadata.remove(CREATION);
        }
        match (of.group.as_str(), of.kind.as_str()) {
            ("", "Secret") => self.forget_secrets(),
            ("", "ConfigMap") => self.forget_data(),
            _ => {}
        }
        Body::from(&Value::Object(self.body))
    }

    /// What is written is not read, but for addresses.
    fn forget_status(&mut self, kind: &str) {
        let Some(Value::Object(status)) = self.body.get_mut("status") else {
            return;
        };
        status.retain(|name, _| KEPT_STATUS.contains(&(kind, name.as_str())));
        if status.is_empty() {
            self.body.remove("status");
        }
    }

    fn forget_data(&mut self) {
        self.body.remove("binaryData");
        if let Some(Value::Object(data)) = self.body.get_mut("data") {
            data.retain(|key, _| READ_DATA.contains(&key.as_str()));
        }
    }

    /// Of a Secret that is not for nuncio there remains which keys it has.
    fn forget_secrets(&mut self) {
        let data = self.body.get_mut("data").and_then(Value::as_object_mut);
        for (key, value) in data.into_iter().flatten() {
            if !Secret::KEYS.contains(&key.as_str()) {
                *value = Value::String(String::new());
            }
        }
    }
}

impl Resource for Object {
    type DynamicType = ApiResource;
    type Scope = DynamicResourceScope;

    fn kind(of: &ApiResource) -> std::borrow::Cow<'_, str> {
        of.kind.as_str().into()
    }

    fn group(of: &ApiResource) -> std::borrow::Cow<'_, str> {
        of.group.as_str().into()
    }

    fn version(of: &ApiResource) -> std::borrow::Cow<'_, str> {
        of.version.as_str().into()
    }

    fn api_version(of: &ApiResource) -> std::borrow::Cow<'_, str> {
        of.api_version.as_str().into()
    }

    fn plural(of: &ApiResource) -> std::borrow::Cow<'_, str> {
        of.plural.as_str().into()
    }

    fn meta(&self) -> &ObjectMeta {
        &self.meta
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        &mut self.meta
    }
}

impl<'de> Deserialize<'de> for Object {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut outer = Outer::default();
        let mut body = deserializer.deserialize_map(Fields(&mut outer))?;
        let Outer { metadata, status } = outer;
        let text = |field| metadata.kept.get(field)?.as_str().map(str::to_owned);
        let meta = ObjectMeta {
            name: text("name"),
            namespace: text("namespace"),
            resource_version: metadata.resource_version,
            ..ObjectMeta::default()
        };
        body.insert("metadata".to_owned(), Value::Object(metadata.kept));
        let standing = Standing::new(metadata.uid, &status);
        Ok(Self {
            meta,
            body,
            standing,
        })
    }
}

#[derive(Default)]
struct Metadata {
    kept: Map<String, Value>,
    resource_version: Option<String>,
    uid: Uuid,
}

/// What is kept apart.
#[derive(Default)]
struct Outer {
    metadata: Metadata,
    status: nuncio_api::status::Status,
}

/// Reads the fields of an object, its metadata and its status apart.
struct Fields<'m>(&'m mut Outer);

impl<'de> Visitor<'de> for Fields<'_> {
    type Value = Map<String, Value>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object of Kubernetes")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<Self::Value, A::Error> {
        let mut body = Map::new();
        while let Some(field) = fields.next_key::<String>()? {
            match field.as_str() {
                "metadata" => self.0.metadata = fields.next_value()?,
                "status" => {
                    let status: Value = fields.next_value()?;
                    let kept = KEPT_STATUS.iter().filter_map(|(_, name)| {
                        Some(((*name).to_owned(), status.get(name)?.clone()))
                    });
                    let kept: Map<String, Value> = kept.collect();
                    if !kept.is_empty() {
                        body.insert(field, Value::Object(kept));
                    }
                    // What others wrote in other types is not what nuncio would write.
                    self.0.status = serde_json::from_value(status).unwrap_or_default();
                }
                _ => {
                    body.insert(field, fields.next_value()?);
                }
            }
        }
        Ok(body)
    }
}

impl<'de> Deserialize<'de> for Metadata {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(MetadataFields)
    }
}

struct MetadataFields;

impl<'de> Visitor<'de> for MetadataFields {
    type Value = Metadata;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the metadata of an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<Metadata, A::Error> {
        let mut metadata = Metadata::default();
        while let Some(field) = fields.next_key::<String>()? {
            if field == "resourceVersion" {
                metadata.resource_version = fields.next_value()?;
            } else if field == "uid" {
                let uid: String = fields.next_value()?;
                metadata.uid = uid.parse().unwrap_or_default();
            } else if KEPT_METADATA.contains(&field.as_str()) {
                let mut value: Value = fields.next_value()?;
                if let ("annotations", Some(annotations)) = (field.as_str(), value.as_object_mut())
                {
                    annotations.remove(LAST_APPLIED);
                }
                metadata.kept.insert(field, value);
            } else {
                fields.next_value::<IgnoredAny>()?;
            }
        }
        Ok(metadata)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_may_matter_is_held() {
        let sent = r#"{
            "apiVersion": "getambassador.io/v3alpha1", "kind": "Mapping",
            "metadata": {
                "name": "a", "namespace": "b", "resourceVersion": "7", "generation": 2,
                "uid": "c", "managedFields": [{"manager": "kubectl"}],
                "labels": {"x": "y"},
                "annotations": {
                    "kubectl.kubernetes.io/last-applied-configuration": "{}", "k": "v"
                }
            },
            "spec": {"prefix": "/"},
            "status": {"state": "Running"}
        }"#;
        let object: Object = serde_json::from_str(sent).unwrap();
        assert_eq!(object.name(), ("b".into(), "a".into()));
        assert_eq!(object.meta().resource_version.as_deref(), Some("7"));
        let of = resource("getambassador.io", "v3alpha1", "Mapping", "mappings");
        assert_eq!(
            format!("{:?}", object.body(&of)),
            r#"{"apiVersion":"getambassador.io/v3alpha1","kind":"Mapping","metadata":{"annotations":{"k":"v"},"generation":2,"labels":{"x":"y"},"name":"a","namespace":"b"},"spec":{"prefix":"/"}}"#
        );
    }

    #[test]
    fn an_item_of_a_list_is_told_what_it_is_and_keeps_its_addresses() {
        let sent = r#"{
            "metadata": {"name": "a", "namespace": "b"},
            "status": {"conditions": [], "loadBalancer": {"ingress": [{"ip": "192.0.2.1"}]}}
        }"#;
        let object: Object = serde_json::from_str(sent).unwrap();
        assert_eq!(
            format!(
                "{:?}",
                object.body(&resource("", "v1", "Service", "services"))
            ),
            r#"{"apiVersion":"v1","kind":"Service","metadata":{"name":"a","namespace":"b"},"status":{"loadBalancer":{"ingress":[{"ip":"192.0.2.1"}]}}}"#
        );
    }

    #[test]
    fn secrets_that_are_not_for_nuncio_are_not_held() {
        let sent = r#"{
            "metadata": {"name": "a", "namespace": "b"},
            "type": "Opaque",
            "data": {"password": "c2VjcmV0", "tls.crt": "cGVt"}
        }"#;
        let object: Object = serde_json::from_str(sent).unwrap();
        assert_eq!(
            format!(
                "{:?}",
                object.body(&resource("", "v1", "Secret", "secrets"))
            ),
            r#"{"apiVersion":"v1","data":{"password":"","tls.crt":"cGVt"},"kind":"Secret","metadata":{"name":"a","namespace":"b"},"type":"Opaque"}"#
        );
    }

    fn resource(group: &str, version: &str, kind: &str, plural: &str) -> ApiResource {
        let gvk = kube::api::GroupVersionKind::gvk(group, version, kind);
        ApiResource::from_gvk_with_plural(&gvk, plural)
    }
}
