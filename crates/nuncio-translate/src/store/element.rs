//! The resources of getambassador.io that count, whatever their kind, as diagnostics show them.

use std::fmt::Debug;
use std::sync::Arc;

use nuncio_api::{ObjectMeta, SourceRef, getambassador};
use nuncio_model::ResourceId;
use serde::Serialize;
use serde_json::{Map, Value, json};

use super::{Object, Store, Table};

/// One resource.
pub trait Element: Debug + Send + Sync {
    fn id(&self) -> &Arc<ResourceId>;
    /// Emissary's key.
    fn rkey(&self) -> &str;
    fn source(&self) -> &SourceRef;
    /// The resource as it is understood: in v3alpha1, without what is absent.
    fn manifest(&self) -> Value;
}

impl<T: Serialize + Debug + Send + Sync> Element for Object<T> {
    fn id(&self) -> &Arc<ResourceId> {
        &self.id
    }

    fn rkey(&self) -> &str {
        &self.rkey
    }

    fn source(&self) -> &SourceRef {
        &self.source
    }

    fn manifest(&self) -> Value {
        let mut spec = serde_json::to_value(&self.spec)
            .expect("invariant: the types of the API have string keys");
        prune(&mut spec);
        json!({
            "apiVersion": format!("{}/v3alpha1", getambassador::GROUP),
            "kind": self.id.kind,
            "metadata": metadata(&self.meta),
            "spec": spec,
        })
    }
}

/// Annotations are left out: they may hold resources, and the last version of this one.
fn metadata(meta: &ObjectMeta) -> Map<String, Value> {
    let mut map = Map::new();
    map.insert("name".to_owned(), json!(meta.name));
    map.insert("namespace".to_owned(), json!(meta.namespace));
    if !meta.labels.is_empty() {
        map.insert("labels".to_owned(), json!(meta.labels));
    }
    map
}

/// Removes what is null or empty: in the API, what is not written.
fn prune(value: &mut Value) {
    if let Value::Object(fields) = value {
        fields.retain(|_, field| {
            prune(field);
            !field.is_null() && !field.as_object().is_some_and(Map::is_empty)
        });
    }
}

impl Store {
    /// In the order of their kinds and keys. Secrets are not among them.
    pub fn elements(&self) -> Vec<Arc<dyn Element>> {
        let mut all: Vec<Arc<dyn Element>> = Vec::new();
        add(&mut all, &self.modules);
        add(&mut all, &self.listeners);
        add(&mut all, &self.hosts);
        add(&mut all, &self.mappings);
        add(&mut all, &self.tcp_mappings);
        add(&mut all, &self.tls_contexts);
        add(&mut all, &self.service_resolvers);
        add(&mut all, &self.endpoint_resolvers);
        add(&mut all, &self.consul_resolvers);
        add(&mut all, &self.auth_services);
        add(&mut all, &self.rate_limit_services);
        add(&mut all, &self.tracing_services);
        add(&mut all, &self.log_services);
        add(&mut all, &self.dev_portals);
        all
    }
}

fn add<T>(all: &mut Vec<Arc<dyn Element>>, table: &Table<T>)
where
    T: Serialize + Debug + Send + Sync + 'static,
{
    for object in table.by_rkey() {
        let object: Arc<dyn Element> = Arc::<Object<T>>::clone(object);
        all.push(object);
    }
}
