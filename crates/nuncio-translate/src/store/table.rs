use std::sync::Arc;

use imbl::OrdMap;
use nuncio_api::{ObjectMeta, SourceRef};
use nuncio_model::{Origin, ResourceId};

use super::tracker::{Read, Tracker};

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

/// The objects of one kind, by namespace and name. Cheap to have twice.
#[derive(Clone, Debug)]
pub struct Table<T> {
    name: &'static str,
    objects: OrdMap<String, OrdMap<String, Arc<Object<T>>>>,
    tracker: Tracker,
}

impl<T> Default for Table<T> {
    fn default() -> Self {
        Self {
            name: "",
            objects: OrdMap::new(),
            tracker: Tracker::default(),
        }
    }
}

impl<T> Table<T> {
    pub(super) fn track(&mut self, name: &'static str, tracker: &Tracker) {
        self.name = name;
        self.tracker = tracker.clone();
    }

    pub fn get(&self, namespace: &str, name: &str) -> Option<&Arc<Object<T>>> {
        self.tracker.read(|| self.object(namespace, name));
        self.objects.get(namespace)?.get(name)
    }

    pub fn iter(&self) -> impl Iterator<Item = &Arc<Object<T>>> {
        self.tracker.read(|| Read::Table(self.name));
        self.objects.values().flat_map(OrdMap::values)
    }

    /// The objects of one namespace.
    pub fn in_namespace(&self, namespace: &str) -> impl Iterator<Item = &Arc<Object<T>>> {
        self.tracker.read(|| Read::Table(self.name));
        let objects = self.objects.get(namespace);
        objects.into_iter().flat_map(OrdMap::values)
    }

    /// In the order in which Emissary takes them up.
    pub fn by_rkey(&self) -> Vec<&Arc<Object<T>>> {
        let mut objects: Vec<_> = self.iter().collect();
        objects.sort_by(|a, b| a.rkey.cmp(&b.rkey));
        objects
    }

    pub fn len(&self) -> usize {
        self.tracker.read(|| Read::Table(self.name));
        self.objects.values().map(OrdMap::len).sum()
    }

    pub fn is_empty(&self) -> bool {
        self.tracker.read(|| Read::Table(self.name));
        self.objects.is_empty()
    }

    pub(super) fn insert(&mut self, object: Object<T>) {
        let (namespace, name) = (&object.meta.namespace, &object.meta.name);
        self.tracker.change(self.object(namespace, name));
        let (namespace, name) = (namespace.clone(), name.clone());
        let objects = self.objects.entry(namespace).or_default();
        objects.insert(name, Arc::new(object));
    }

    pub(super) fn remove(&mut self, namespace: &str, name: &str) {
        if let Some(objects) = self.objects.get_mut(namespace)
            && objects.remove(name).is_some()
        {
            if objects.is_empty() {
                self.objects.remove(namespace);
            }
            self.tracker.change(self.object(namespace, name));
        }
    }

    fn object(&self, namespace: &str, name: &str) -> Read {
        Read::Object {
            table: self.name,
            namespace: namespace.to_owned(),
            name: name.to_owned(),
        }
    }
}
