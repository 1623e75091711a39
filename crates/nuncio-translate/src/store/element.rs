//! The resources of getambassador.io that count, whatever their kind, as diagnostics show them.

use std::fmt::Debug;
use std::sync::{Arc, OnceLock};

use imbl::OrdMap;
use nuncio_api::{ObjectKey, ObjectMeta, SourceRef, getambassador};
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
    /// Counts what was written of it; `None` where nobody counts.
    fn generation(&self) -> Option<i64>;
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

    fn generation(&self) -> Option<i64> {
        self.meta.generation
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

/// All of them as they are at one moment. Cheap to have: they are put together for who looks.
#[derive(Clone, Default)]
pub struct Elements(Arc<Inner>);

#[derive(Default)]
struct Inner {
    kinds: Vec<(&'static str, Box<dyn Kind>)>,
    unread: Unread,
    all: OnceLock<Vec<Arc<dyn Element>>>,
}

trait Kind: Send + Sync {
    fn elements(&self) -> Vec<Arc<dyn Element>>;
    fn find(&self, namespace: &str, name: &str) -> Option<Arc<dyn Element>>;
}

/// The objects that could not be read, with their generations.
pub(super) type Unread = OrdMap<ObjectKey, (SourceRef, Option<i64>)>;

impl<T> Kind for Table<T>
where
    T: Serialize + Debug + Send + Sync + 'static,
{
    fn elements(&self) -> Vec<Arc<dyn Element>> {
        let elements = self.by_rkey().into_iter();
        elements
            .map(|object| Arc::<Object<T>>::clone(object) as Arc<dyn Element>)
            .collect()
    }

    fn find(&self, namespace: &str, name: &str) -> Option<Arc<dyn Element>> {
        let object = self.find(namespace, name)?;
        Some(Arc::<Object<T>>::clone(object) as Arc<dyn Element>)
    }
}

impl Elements {
    /// The generation of an object that counts, could it be read or not. `None` is one that is not there,
    /// is not for this nuncio, or stands in an annotation.
    pub fn generation(&self, id: &ResourceId) -> Option<Option<i64>> {
        let mut kinds = self.0.kinds.iter();
        let (_, kind) = kinds.find(|(kind, _)| *kind == &*id.kind)?;
        let (source, generation) = match kind.find(&id.namespace, &id.name) {
            Some(element) => (element.source().clone(), element.generation()),
            None => self.0.unread.get(&super::key_of(id))?.clone(),
        };
        (!matches!(source, SourceRef::Annotation { .. })).then_some(generation)
    }

    /// In the order of their kinds and keys.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<dyn Element>> {
        let kinds = &self.0.kinds;
        let all = || kinds.iter().flat_map(|(_, kind)| kind.elements()).collect();
        self.0.all.get_or_init(all).iter()
    }
}

impl Debug for Elements {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

impl Store {
    /// Secrets are not among them.
    pub fn elements(&self) -> Elements {
        let kinds = vec![
            ("Module", kind(&self.modules)),
            ("Listener", kind(&self.listeners)),
            ("Host", kind(&self.hosts)),
            ("Mapping", kind(&self.mappings)),
            ("TCPMapping", kind(&self.tcp_mappings)),
            ("TLSContext", kind(&self.tls_contexts)),
            ("KubernetesServiceResolver", kind(&self.service_resolvers)),
            ("KubernetesEndpointResolver", kind(&self.endpoint_resolvers)),
            ("ConsulResolver", kind(&self.consul_resolvers)),
            ("AuthService", kind(&self.auth_services)),
            ("RateLimitService", kind(&self.rate_limit_services)),
            ("TracingService", kind(&self.tracing_services)),
            ("LogService", kind(&self.log_services)),
            ("DevPortal", kind(&self.dev_portals)),
        ];
        Elements(Arc::new(Inner {
            kinds,
            unread: self.unread.clone(),
            all: OnceLock::new(),
        }))
    }
}

fn kind<T>(table: &Table<T>) -> Box<dyn Kind>
where
    T: Serialize + Debug + Send + Sync + 'static,
{
    Box::new(table.clone())
}
