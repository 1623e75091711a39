//! The store: every resource that counts, typed, in a table for each kind.
//!
//! Reading an object costs only that object when it fails: it is left out, and an entry says why.
//! Its last version is not kept, as Emissary does not: what is in effect is what is written.
//!
//! `$NAME` is not replaced by environment variables: Emissary does so anywhere in any resource, and
//! breaks regular expressions and headers that way.

mod annotation;
mod kinds;
mod read;
mod schema;
mod scope;
mod selector;
mod table;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use nuncio_api::core::{ConfigMap, EndpointSlice, Endpoints, Secret, ServiceSpec};
use nuncio_api::getambassador::{self, Host, Listener, Mapping, TlsContext};
use nuncio_api::{ObjectKey, RawObject, SourceRef};
use nuncio_model::{Entry, ResourceId};
use serde_json::Value;

use schema::Schemas;
pub use scope::Scope;
pub use selector::LabelSelectorExpr;
pub use table::{Object, Table};

/// The group of EndpointSlice.
const DISCOVERY_GROUP: &str = "discovery.k8s.io";
/// The label that names the Service of an EndpointSlice.
const SERVICE_NAME_LABEL: &str = "kubernetes.io/service-name";

#[derive(Default)]
pub struct Store {
    scope: Scope,
    schemas: Schemas,
    pub listeners: Table<Listener>,
    pub hosts: Table<Host>,
    pub mappings: Table<Mapping>,
    pub tls_contexts: Table<TlsContext>,
    /// `spec.config` is untyped in the API.
    pub modules: Table<Value>,
    pub services: Table<ServiceSpec>,
    pub endpoint_slices: Table<EndpointSlice>,
    pub endpoints: Table<Endpoints>,
    pub secrets: Table<Secret>,
    pub config_maps: Table<ConfigMap>,
    pub namespaces: Table<()>,
    /// Names of the EndpointSlices of each Service, by namespace and Service.
    slices_of: BTreeMap<(String, String), BTreeSet<String>>,
    /// What reading each object had to say.
    problems: BTreeMap<ObjectKey, Vec<Entry>>,
    /// Where objects are that are in no table.
    unread: BTreeMap<ObjectKey, SourceRef>,
    annotations: annotation::Annotations,
}

impl Store {
    pub fn new(scope: Scope) -> Self {
        Self {
            scope,
            ..Self::default()
        }
    }

    /// Takes changes up. An object in `upserted` replaces the one of the same name.
    pub fn apply(&mut self, upserted: Vec<RawObject>, deleted: &[ObjectKey]) {
        let mut contested = BTreeSet::new();
        for key in deleted {
            self.forget(key);
            self.annotations
                .parent_changed(key, Vec::new(), &mut contested);
            self.annotations.real_changed(key, false, &mut contested);
        }
        for object in upserted {
            let key = object.key();
            self.forget(&key);
            if !self.scope.sees(&object.meta.namespace, &object.meta.labels) {
                self.annotations
                    .parent_changed(&key, Vec::new(), &mut contested);
                self.annotations.real_changed(&key, false, &mut contested);
                continue;
            }
            if annotation::may_carry(&object) {
                let (children, problems) = annotation::children(&object);
                self.annotations
                    .parent_changed(&key, children, &mut contested);
                self.note(&key, problems);
            }
            if object.group() == getambassador::GROUP {
                self.annotations.real_changed(&key, true, &mut contested);
            }
            let rkey = format!("{}.{}.1", object.meta.name, object.meta.namespace);
            self.read(object, rkey);
        }
        for key in contested {
            self.settle(&key);
        }
    }

    /// Everything that reading the objects had to say.
    pub fn report(&self) -> impl Iterator<Item = Entry> + '_ {
        self.problems.values().flatten().cloned()
    }

    /// Where a resource stands.
    pub fn source(&self, id: &ResourceId) -> Option<&SourceRef> {
        let key = ObjectKey {
            group: id.group.to_string(),
            kind: id.kind.to_string(),
            namespace: id.namespace.to_string(),
            name: id.name.to_string(),
        };
        self.unread.get(&key).or_else(|| self.source_of(&key))
    }

    /// Whether any Host is written, in effect or not.
    pub fn has_hosts(&self) -> bool {
        let is_host = |key: &ObjectKey| key.group == getambassador::GROUP && key.kind == "Host";
        !self.hosts.is_empty() || self.unread.keys().any(is_host)
    }

    /// Emissary's key of a resource, where it is in effect.
    pub fn rkey(&self, id: &ResourceId) -> Option<&str> {
        let (namespace, name) = (&*id.namespace, &*id.name);
        match &*id.kind {
            "Listener" => self.listeners.get(namespace, name).map(|o| &*o.rkey),
            "Host" => self.hosts.get(namespace, name).map(|o| &*o.rkey),
            "Mapping" => self.mappings.get(namespace, name).map(|o| &*o.rkey),
            "TLSContext" => self.tls_contexts.get(namespace, name).map(|o| &*o.rkey),
            _ => None,
        }
    }

    /// The EndpointSlices of a Service.
    pub fn slices_of(
        &self,
        namespace: &str,
        service: &str,
    ) -> impl Iterator<Item = &Arc<Object<EndpointSlice>>> {
        self.slices_of
            .get(&(namespace.to_owned(), service.to_owned()))
            .into_iter()
            .flatten()
            .filter_map(move |name| self.endpoint_slices.get(namespace, name))
    }

    fn source_of(&self, key: &ObjectKey) -> Option<&SourceRef> {
        let (namespace, name) = (key.namespace.as_str(), key.name.as_str());
        match (key.group.as_str(), key.kind.as_str()) {
            (getambassador::GROUP, "Listener") => source(&self.listeners, namespace, name),
            (getambassador::GROUP, "Host") => source(&self.hosts, namespace, name),
            (getambassador::GROUP, "Mapping") => source(&self.mappings, namespace, name),
            (getambassador::GROUP, "TLSContext") => source(&self.tls_contexts, namespace, name),
            (getambassador::GROUP, "Module") => source(&self.modules, namespace, name),
            ("", "Service") => source(&self.services, namespace, name),
            ("", "Endpoints") => source(&self.endpoints, namespace, name),
            ("", "Secret") => source(&self.secrets, namespace, name),
            ("", "ConfigMap") => source(&self.config_maps, namespace, name),
            (DISCOVERY_GROUP, "EndpointSlice") => source(&self.endpoint_slices, namespace, name),
            _ => None,
        }
    }

    fn note(&mut self, key: &ObjectKey, problems: Vec<Entry>) {
        if !problems.is_empty() {
            self.problems
                .entry(key.clone())
                .or_default()
                .extend(problems);
        }
    }

    fn forget(&mut self, key: &ObjectKey) {
        self.problems.remove(key);
        self.unread.remove(key);
        let (namespace, name) = (key.namespace.as_str(), key.name.as_str());
        match (key.group.as_str(), key.kind.as_str()) {
            (getambassador::GROUP, "Listener") => self.listeners.remove(namespace, name),
            (getambassador::GROUP, "Host") => self.hosts.remove(namespace, name),
            (getambassador::GROUP, "Mapping") => self.mappings.remove(namespace, name),
            (getambassador::GROUP, "TLSContext") => self.tls_contexts.remove(namespace, name),
            (getambassador::GROUP, "Module") => self.modules.remove(namespace, name),
            ("", "Service") => self.services.remove(namespace, name),
            ("", "Endpoints") => self.endpoints.remove(namespace, name),
            ("", "Secret") => self.secrets.remove(namespace, name),
            ("", "ConfigMap") => self.config_maps.remove(namespace, name),
            ("", "Namespace") => self.namespaces.remove(namespace, name),
            (DISCOVERY_GROUP, "EndpointSlice") => {
                if let Some(slice) = self.endpoint_slices.get(namespace, name)
                    && let Some(service) = slice.meta.labels.get(SERVICE_NAME_LABEL)
                {
                    let of = (namespace.to_owned(), service.clone());
                    if let Some(names) = self.slices_of.get_mut(&of) {
                        names.remove(name);
                        if names.is_empty() {
                            self.slices_of.remove(&of);
                        }
                    }
                }
                self.endpoint_slices.remove(namespace, name);
            }
            _ => {}
        }
    }

    /// Decides which object a name means that annotations define, and says which it is not.
    fn settle(&mut self, key: &ObjectKey) {
        let claim = self.annotations.claim(key);
        if !claim.real {
            self.forget(key);
            if let Some((object, rkey)) = claim.first {
                self.read(object, rkey);
            }
        }
        for (parent, mut entries) in claim.losers {
            let standing = self.problems.entry(parent).or_default();
            entries.retain(|entry| !standing.contains(entry));
            standing.extend(entries);
        }
    }
}

fn source<'a, T>(table: &'a Table<T>, namespace: &str, name: &str) -> Option<&'a SourceRef> {
    table.get(namespace, name).map(|object| &object.source)
}

#[cfg(test)]
pub(crate) mod tests;
