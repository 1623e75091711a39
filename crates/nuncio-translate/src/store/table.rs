use std::collections::BTreeMap;
use std::sync::Arc;

use nuncio_api::{ObjectMeta, SourceRef};
use nuncio_model::{Origin, ResourceId};

/// One typed object.
#[derive(Clone, Debug)]
pub struct Object<T> {
    pub id: Arc<ResourceId>,
    pub meta: ObjectMeta,
    pub source: SourceRef,
    /// Emissary's key of a resource, `<name>.<namespace>.<n>`: n is 1 for an object, and counts
    /// the documents of an annotation, whose name and namespace are the parent's. Everything that
    /// is first or last is so by this key.
    pub rkey: String,
    /// The field of the resource that this was made of, where nobody wrote it as an object of its
    /// own.
    pub part: Option<Arc<str>>,
    pub spec: T,
}

impl<T> Object<T> {
    pub fn origin(&self) -> Origin {
        self.at("")
    }

    /// The place of a field, which is what the user has to look at.
    pub fn at(&self, field: impl Into<Arc<str>>) -> Origin {
        let field = self.part.clone().unwrap_or_else(|| field.into());
        Origin::new(Arc::clone(&self.id)).field(field)
    }

    pub fn namespace(&self) -> &str {
        &self.meta.namespace
    }

    pub fn name(&self) -> &str {
        &self.meta.name
    }
}

/// The objects of one kind, by namespace and name.
#[derive(Clone, Debug)]
pub struct Table<T>(BTreeMap<String, BTreeMap<String, Arc<Object<T>>>>);

impl<T> Default for Table<T> {
    fn default() -> Self {
        Self(BTreeMap::new())
    }
}

impl<T> Table<T> {
    pub fn get(&self, namespace: &str, name: &str) -> Option<&Arc<Object<T>>> {
        self.0.get(namespace)?.get(name)
    }

    pub fn iter(&self) -> impl Iterator<Item = &Arc<Object<T>>> {
        self.0.values().flat_map(BTreeMap::values)
    }

    /// The objects of one namespace.
    pub fn in_namespace(&self, namespace: &str) -> impl Iterator<Item = &Arc<Object<T>>> {
        self.0.get(namespace).into_iter().flat_map(BTreeMap::values)
    }

    /// In the order in which Emissary takes them up.
    pub fn by_rkey(&self) -> Vec<&Arc<Object<T>>> {
        let mut objects: Vec<_> = self.iter().collect();
        objects.sort_by(|a, b| a.rkey.cmp(&b.rkey));
        objects
    }

    pub fn len(&self) -> usize {
        self.0.values().map(BTreeMap::len).sum()
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn insert(&mut self, object: Object<T>) {
        self.0
            .entry(object.meta.namespace.clone())
            .or_default()
            .insert(object.meta.name.clone(), Arc::new(object));
    }

    pub(super) fn remove(&mut self, namespace: &str, name: &str) {
        if let Some(names) = self.0.get_mut(namespace) {
            names.remove(name);
            if names.is_empty() {
                self.0.remove(namespace);
            }
        }
    }
}
