use std::sync::Arc;

use imbl::OrdMap;
use nuncio_api::{ObjectMeta, SourceRef};
use nuncio_model::{Origin, ResourceId};

use super::tracker::{Read, Tracker, read};

/// One typed object.
#[derive(Clone, Debug, PartialEq)]
pub struct Object<T> {
    pub id: Arc<ResourceId>,
    pub meta: Arc<ObjectMeta>,
    pub source: SourceRef,
    /// Emissary's key of a resource, `<name>.<namespace>.<n>`: n is 1 for an object, and counts
    /// the documents of an annotation, whose name and namespace are the parent's. Everything that
    /// is first or last is so by this key.
    pub rkey: Arc<str>,
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

    /// The same resource, with what it says in the words of another kind.
    pub(crate) fn as_if<U>(&self, spec: U) -> Object<U> {
        Object {
            id: Arc::clone(&self.id),
            meta: Arc::clone(&self.meta),
            source: self.source.clone(),
            rkey: Arc::clone(&self.rkey),
            part: self.part.clone(),
            spec,
        }
    }

    pub fn namespace(&self) -> &str {
        &self.meta.namespace
    }

    pub fn name(&self) -> &str {
        &self.meta.name
    }
}

type ByName<T> = OrdMap<String, OrdMap<String, Arc<Object<T>>>>;

/// The objects of one kind, by namespace and name. Those that are left out are in no answer but
/// that of [`Table::left_out`].
#[derive(Debug)]
pub struct Table<T> {
    name: &'static str,
    counting: ByName<T>,
    left_out: ByName<T>,
    tracker: Tracker,
}

impl<T> Default for Table<T> {
    fn default() -> Self {
        Self {
            name: "",
            counting: OrdMap::new(),
            left_out: OrdMap::new(),
            tracker: Tracker::default(),
        }
    }
}

impl<T> Clone for Table<T> {
    fn clone(&self) -> Self {
        Self {
            name: self.name,
            counting: self.counting.clone(),
            left_out: self.left_out.clone(),
            tracker: self.tracker.clone(),
        }
    }
}

impl<T> Table<T> {
    pub(super) fn track(&mut self, name: &'static str, tracker: &Tracker) {
        self.name = name;
        self.tracker = tracker.clone();
    }

    pub fn get(&self, namespace: &str, name: &str) -> Option<&Arc<Object<T>>> {
        read(self.object(namespace, name));
        self.counting.get(namespace)?.get(name)
    }

    pub fn iter(&self) -> impl Iterator<Item = &Arc<Object<T>>> {
        read(Read::Table(self.name));
        self.counting.values().flat_map(OrdMap::values)
    }

    /// The objects of one namespace.
    pub fn in_namespace(&self, namespace: &str) -> impl Iterator<Item = &Arc<Object<T>>> {
        read(Read::Table(self.name));
        let objects = self.counting.get(namespace);
        objects.into_iter().flat_map(OrdMap::values)
    }

    /// In the order in which Emissary takes them up.
    pub fn by_rkey(&self) -> Vec<&Arc<Object<T>>> {
        let mut objects: Vec<_> = self.iter().collect();
        objects.sort_by(|a, b| a.rkey.cmp(&b.rkey));
        objects
    }

    pub fn len(&self) -> usize {
        read(Read::Table(self.name));
        self.counting.values().map(OrdMap::len).sum()
    }

    pub fn is_empty(&self) -> bool {
        read(Read::Table(self.name));
        self.counting.is_empty()
    }

    /// Those that are there and do not count.
    pub fn left_out(&self) -> impl Iterator<Item = &Arc<Object<T>>> {
        read(Read::Table(self.name));
        self.left_out.values().flat_map(OrdMap::values)
    }

    /// One that is there, whether it counts or not.
    pub(super) fn find(&self, namespace: &str, name: &str) -> Option<&Arc<Object<T>>> {
        let left_out = || self.left_out.get(namespace)?.get(name);
        self.get(namespace, name).or_else(left_out)
    }

    pub(super) fn insert(&mut self, object: Object<T>) {
        let (namespace, name) = (&object.meta.namespace, &object.meta.name);
        self.tracker.change(self.object(namespace, name));
        put(&mut self.counting, Arc::new(object));
    }

    pub(super) fn remove(&mut self, namespace: &str, name: &str) {
        let counting = take(&mut self.counting, namespace, name);
        let left_out = take(&mut self.left_out, namespace, name);
        if counting.or(left_out).is_some() {
            self.tracker.change(self.object(namespace, name));
        }
    }

    pub(super) fn leave_out(&mut self, namespace: &str, name: &str) {
        if let Some(object) = take(&mut self.counting, namespace, name) {
            self.tracker.change(self.object(namespace, name));
            put(&mut self.left_out, object);
        }
    }

    pub(super) fn take_back(&mut self, namespace: &str, name: &str) {
        if let Some(object) = take(&mut self.left_out, namespace, name) {
            self.tracker.change(self.object(namespace, name));
            put(&mut self.counting, object);
        }
    }

    fn object<'a>(&self, namespace: &'a str, name: &'a str) -> Read<'a> {
        Read::Object {
            table: self.name,
            namespace,
            name,
        }
    }
}

fn put<T>(objects: &mut ByName<T>, object: Arc<Object<T>>) {
    let names = objects.entry(object.meta.namespace.clone()).or_default();
    names.insert(object.meta.name.clone(), object);
}

fn take<T>(objects: &mut ByName<T>, namespace: &str, name: &str) -> Option<Arc<Object<T>>> {
    let names = objects.get_mut(namespace)?;
    let object = names.remove(name);
    if names.is_empty() {
        objects.remove(namespace);
    }
    object
}
