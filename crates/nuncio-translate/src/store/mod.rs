//! The store: every resource that counts, typed, in a table for each kind.
//!
//! Reading an object costs only that object when it fails: it is left out, and an entry says why.
//! Its last version is not kept, as Emissary does not: what is in effect is what is written.
//!
//! `$NAME` is not replaced by environment variables: Emissary does so anywhere in any resource, and
//! breaks regular expressions and headers that way.

mod annotation;
mod auth_module;
mod consul;
mod element;
mod kinds;
mod left_out;
mod plain;
mod read;
mod schema;
mod scope;
mod selector;
mod table;
mod tls_module;
mod touched;
mod tracker;

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Arc;

use nuncio_api::core::{ConfigMap, EndpointSlice, Endpoints, Secret, ServiceSpec};
use nuncio_api::getambassador::conversion::FieldOrigins;
use nuncio_api::getambassador::{
    self, AuthService, ConsulResolver, DevPortal, Host, KubernetesResolver, Listener, LogService,
    Mapping, ModuleConfig, RateLimitService, TcpMapping, TlsContext, TracingService,
};
use nuncio_api::ingress::{self, Ingress, IngressClass};
use nuncio_api::{ObjectKey, ObjectMeta, RawObject, SourceRef, gateway_api};
use nuncio_model::consul::{ConsulAnswer, ConsulService};
use nuncio_model::value::Invalid;
use nuncio_model::{Entry, Origin, Report, ResourceId, Unread};
use serde_json::Value;

use crate::few::Few;
pub(crate) use auth_module::{NAME as AUTH_MODULE, auth_service as module_auth_service};
pub use element::{Element, Elements};
use plain::Plain;
pub use scope::Scope;
pub use selector::LabelSelectorExpr;
pub use table::{Object, Table};
pub use tls_module::NAME as TLS_MODULE;
pub use touched::Touched;
use tracker::Tracker;
pub(crate) use tracker::{Changed, Read, ReadId, Reads, record};

/// How many objects are read before they are put into their tables.
const AT_ONCE: usize = 4096;

/// The group of EndpointSlice.
pub(crate) const DISCOVERY_GROUP: &str = "discovery.k8s.io";
/// The label that names the Service of an EndpointSlice.
pub(crate) const SERVICE_NAME_LABEL: &str = "kubernetes.io/service-name";
/// The annotation that says which nuncio an object is for.
const AMBASSADOR_ID_ANNOTATION: &str = "getambassador.io/ambassador-id";

/// Does something with the table of a group and kind, if there is one.
macro_rules! on_table {
    ($borrow:ident $store:ident, $kind:expr, $table:ident => $do:expr) => {
        on_table!(@ $borrow $store, $kind, $table => $do,
            (getambassador::GROUP, "Listener") listeners,
            (getambassador::GROUP, "Host") hosts,
            (getambassador::GROUP, "Mapping") mappings,
            (getambassador::GROUP, "TCPMapping") tcp_mappings,
            (getambassador::GROUP, "TLSContext") tls_contexts,
            (getambassador::GROUP, "Module") modules,
            (getambassador::GROUP, "KubernetesServiceResolver") service_resolvers,
            (getambassador::GROUP, "KubernetesEndpointResolver") endpoint_resolvers,
            (getambassador::GROUP, "ConsulResolver") consul_resolvers,
            (getambassador::GROUP, "AuthService") auth_services,
            (getambassador::GROUP, "RateLimitService") rate_limit_services,
            (getambassador::GROUP, "TracingService") tracing_services,
            (getambassador::GROUP, "LogService") log_services,
            (getambassador::GROUP, "DevPortal") dev_portals,
            ("", "Service") services,
            ("", "Endpoints") endpoints,
            ("", "Secret") secrets,
            ("", "ConfigMap") config_maps,
            ("", "Namespace") namespaces,
            (DISCOVERY_GROUP, "EndpointSlice") endpoint_slices,
            (ingress::GROUP, "Ingress") ingresses,
            (ingress::GROUP, "IngressClass") ingress_classes,
            (gateway_api::GROUP, "GatewayClass") gateway_classes,
            (gateway_api::GROUP, "Gateway") gateways,
            (gateway_api::GROUP, "ListenerSet") listener_sets,
            (gateway_api::GROUP, "HTTPRoute") http_routes,
            (gateway_api::GROUP, "GRPCRoute") grpc_routes,
            (gateway_api::GROUP, "TLSRoute") tls_routes,
            (gateway_api::GROUP, "TCPRoute") tcp_routes,
            (gateway_api::GROUP, "UDPRoute") udp_routes,
            (gateway_api::GROUP, "ReferenceGrant") reference_grants,
            (gateway_api::GROUP, "BackendTLSPolicy") backend_tls_policies,
        )
    };
    (@ $borrow:ident $store:ident, $key:expr, $table:ident => $do:expr,
        $(($group:pat, $kind:literal) $field:ident,)*) => {
        match $key {
            $(($group, $kind) => {
                let $table = on_table!(@$borrow $store.$field);
                Some($do)
            })*
            _ => None,
        }
    };
    (@shared $field:expr) => { &$field };
    (@exclusive $field:expr) => { &mut $field };
}

#[derive(Clone, Default)]
pub struct Store {
    scope: Scope,
    zone: Option<String>,
    pub listeners: Table<Listener>,
    pub hosts: Table<Host>,
    pub mappings: Table<Mapping>,
    pub tcp_mappings: Table<TcpMapping>,
    pub tls_contexts: Table<TlsContext>,
    /// `spec.config` is untyped in the API.
    pub modules: Table<Value>,
    /// What each Module `tls` defines.
    module_tls_contexts: BTreeMap<ObjectKey, Vec<Arc<Object<TlsContext>>>>,
    pub service_resolvers: Table<KubernetesResolver>,
    pub endpoint_resolvers: Table<KubernetesResolver>,
    pub consul_resolvers: Table<ConsulResolver>,
    pub auth_services: Table<AuthService>,
    pub rate_limit_services: Table<RateLimitService>,
    pub tracing_services: Table<TracingService>,
    pub log_services: Table<LogService>,
    pub dev_portals: Table<DevPortal>,
    pub services: Table<ServiceSpec>,
    pub endpoint_slices: Table<EndpointSlice>,
    pub endpoints: Table<Endpoints>,
    pub ingresses: Table<Ingress>,
    pub ingress_classes: Table<IngressClass>,
    pub gateway_classes: Table<gateway_api::GatewayClass>,
    pub gateways: Table<gateway_api::Gateway>,
    pub listener_sets: Table<gateway_api::ListenerSet>,
    pub http_routes: Table<gateway_api::HttpRoute>,
    pub grpc_routes: Table<gateway_api::GrpcRoute>,
    pub tls_routes: Table<gateway_api::StreamRoute>,
    pub tcp_routes: Table<gateway_api::StreamRoute>,
    pub udp_routes: Table<gateway_api::StreamRoute>,
    pub reference_grants: Table<gateway_api::ReferenceGrant>,
    pub backend_tls_policies: Table<gateway_api::BackendTlsPolicy>,
    pub secrets: Table<Secret>,
    pub config_maps: Table<ConfigMap>,
    pub namespaces: Table<()>,
    /// Files that resources name, with what kept them from being read.
    files: BTreeMap<Arc<str>, Result<Arc<str>, String>>,
    /// What Consul said of services that Mappings name.
    consul: BTreeMap<Arc<ConsulService>, ConsulAnswer>,
    /// Names of the EndpointSlices of each Service, by namespace and Service.
    slices_of: BTreeMap<(String, String), Few<String>>,
    /// What reading each object had to say.
    problems: BTreeMap<ObjectKey, Vec<Entry>>,
    /// By what is defined more than once, what the definitions that do not count have to hear.
    duplicates: BTreeMap<ObjectKey, Vec<Entry>>,
    /// Of objects of older versions, where their fields were written.
    origins: BTreeMap<ObjectKey, FieldOrigins>,
    /// Where objects are that are in no table.
    unread: element::Unread,
    /// Of Hosts among them, what says which name is theirs.
    unread_hosts: BTreeMap<ObjectKey, Arc<Object<Host>>>,
    /// Where there may be objects of which the sources could read nothing.
    unseen: Vec<Unread>,
    /// The same in annotations, by whose they are.
    unseen_annotated: BTreeMap<ObjectKey, Vec<Unread>>,
    annotations: annotation::Annotations,
    names: Names,
    tracker: Tracker,
    /// What has no effect, though nothing is known to be wrong with it.
    left_out: BTreeSet<Origin>,
    kept_ports: BTreeMap<Arc<ResourceId>, KeptPort>,
}

/// A Listener's port that Envoy cannot have, and the one that it has instead.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeptPort {
    pub wanted: u16,
    pub kept: u16,
}

impl Store {
    pub fn new(scope: Scope) -> Self {
        let mut store = Self {
            scope,
            ..Self::default()
        };
        store.track();
        store
    }

    /// For a gateway on a node in a zone, which prefers the endpoints that are meant for it.
    #[must_use]
    pub fn in_zone(self, zone: Option<String>) -> Self {
        Self { zone, ..self }
    }

    pub(crate) fn zone(&self) -> Option<&str> {
        self.zone.as_deref()
    }

    /// The same store, of which it is noted apart who reads it and what changes.
    pub fn copy(&self) -> Self {
        let mut copy = self.clone();
        copy.track();
        copy
    }

    fn track(&mut self) {
        let tracker = Tracker::default();
        macro_rules! track {
            ($($table:ident)*) => { $(self.$table.track(stringify!($table), &tracker);)* };
        }
        track!(
            listeners hosts mappings tcp_mappings tls_contexts modules service_resolvers
            endpoint_resolvers consul_resolvers auth_services rate_limit_services
            tracing_services log_services dev_portals services endpoint_slices endpoints ingresses
            ingress_classes gateway_classes gateways listener_sets http_routes grpc_routes tls_routes
            tcp_routes udp_routes reference_grants backend_tls_policies secrets config_maps
            namespaces
        );
        self.tracker = tracker;
    }

    /// What changed since the last call.
    pub(crate) fn take_changed(&self) -> Changed {
        self.tracker.take_changed()
    }

    /// A file that a resource names; `None` before it has been read.
    pub(crate) fn file(&self, path: &str) -> Option<&Result<Arc<str>, String>> {
        tracker::read(Read::File(path));
        self.files.get(path)
    }

    /// The content of such a file.
    pub(crate) fn content(&self, path: &str) -> Result<Arc<str>, Invalid> {
        let problem = match self.file(path) {
            Some(Ok(text)) => return Ok(Arc::clone(text)),
            Some(Err(error)) => format!("cannot be read: {error}"),
            None => "has not been read".to_owned(),
        };
        let message = format!("{path} {problem}");
        Err(Invalid::new(message, "put the file there"))
    }

    /// Takes changes up, and says what they touch. An object in `upserted` replaces the one of the
    /// same name.
    pub fn apply(&mut self, upserted: Vec<RawObject>, deleted: &[ObjectKey]) -> Touched {
        let mut touched = Touched::default();
        let mut contested = BTreeSet::new();
        for key in deleted {
            touched.note(self, key);
            self.forget(key);
            self.annotations
                .parent_changed(key, Vec::new(), &mut contested);
            let id = self.names.id(key);
            self.annotations
                .real_changed(key, &id, false, &mut contested);
        }
        let mut upserted = upserted.into_iter();
        loop {
            let some: Vec<_> = upserted.by_ref().take(AT_ONCE).collect();
            if some.is_empty() {
                break;
            }
            let plain = plain::read_all(&some);
            for (object, plain) in some.into_iter().zip(plain) {
                self.upsert(object, plain, &mut touched, &mut contested);
            }
        }
        for key in contested {
            self.settle(&key);
        }
        touched
    }

    fn upsert(
        &mut self,
        object: RawObject,
        plain: Option<Plain>,
        touched: &mut Touched,
        contested: &mut BTreeSet<ObjectKey>,
    ) {
        let key = object.key();
        let id = self.names.id(&key);
        touched.note(self, &key);
        self.forget(&key);
        if !self.scope.sees(&object.meta.namespace, &object.meta.labels) {
            self.annotations.parent_changed(&key, Vec::new(), contested);
            self.annotations.real_changed(&key, &id, false, contested);
            return;
        }
        let annotated = match annotation::may_carry(&object) {
            true => annotation::content(&object, &self.scope),
            false => annotation::Content::default(),
        };
        self.annotations
            .parent_changed(&key, annotated.children, contested);
        self.note(&key, annotated.problems);
        if !annotated.unread.is_empty() {
            self.unseen_annotated.insert(key.clone(), annotated.unread);
        }
        if object.group() == getambassador::GROUP {
            self.annotations.real_changed(&key, &id, true, contested);
        }
        let rkey = format!("{}.{}.1", object.meta.name, object.meta.namespace);
        self.read(object, plain, id, rkey);
        touched.note(self, &key);
    }

    /// Takes up where there may be objects of which nothing could be read. Whether that is news.
    pub fn set_unread(&mut self, unread: Vec<Unread>) -> bool {
        let news = self.unseen != unread;
        self.unseen = unread;
        news
    }

    /// Where there may be objects of a kind of which nothing could be read.
    pub(crate) fn unseen(&self, kind: &str) -> impl Iterator<Item = &Origin> {
        let annotated = self.unseen_annotated.values().flatten();
        let unseen = self.unseen.iter().chain(annotated);
        let unseen = unseen.filter(move |unread| unread.kind == kind);
        unseen.map(|unread| &unread.origin)
    }

    /// Reads those of the files that have not been read yet, and forgets all others. Whether there
    /// were any.
    pub fn read_files(
        &mut self,
        wanted: &BTreeSet<Arc<str>>,
        read: impl Fn(&str) -> Result<String, String>,
    ) -> bool {
        self.files.retain(|path, _| wanted.contains(path));
        let missing: Vec<_> = wanted
            .iter()
            .filter(|path| !self.files.contains_key(*path))
            .collect();
        for path in &missing {
            let content = read(path).map(Into::into);
            self.tracker.change(Read::File(path));
            self.files.insert(Arc::clone(path), content);
        }
        !missing.is_empty()
    }

    /// All files that resources name, as they were read.
    pub fn files(&self) -> &BTreeMap<Arc<str>, Result<Arc<str>, String>> {
        &self.files
    }

    /// Has all files read again the next time.
    pub fn forget_files(&mut self) {
        self.files.clear();
    }

    /// Has Listeners keep the ports that they have, for as long as they want those that they cannot
    /// have.
    pub fn keep_ports(&mut self, ports: BTreeMap<Arc<ResourceId>, KeptPort>) {
        self.kept_ports = ports;
    }

    /// The port that a Listener keeps in place of its own.
    pub(crate) fn kept_port(&self, listener: &Object<Listener>) -> Option<u16> {
        let kept = self.kept_ports.get(&listener.id)?;
        (kept.wanted == listener.spec.port).then_some(kept.kept)
    }

    /// Everything that reading the objects had to say.
    pub fn report(&self) -> impl Iterator<Item = Entry> + '_ {
        let problems = self.problems.values().chain(self.duplicates.values());
        problems.flatten().cloned()
    }

    /// The config of a Module, each key read for itself, and what is wrong with the others. `None`
    /// is one that is not there.
    pub(crate) fn module_config(
        &self,
        object: &Object<Value>,
    ) -> (Option<ModuleConfig>, Vec<Entry>) {
        read::by_key(&self.without_left_out(object), schema::module())
    }

    /// Has entries name the fields of the version that a resource is written in, where those of
    /// v3alpha1 have other names.
    pub fn as_written(&self, report: &mut Report) {
        if self.origins.is_empty() {
            return;
        }
        for entry in report.entries_mut() {
            if let Some(origins) = self.origins.get(&key_of(&entry.resource)) {
                entry.field = origins.written(&entry.field).into();
            }
        }
    }

    /// Where a resource stands.
    pub fn source(&self, id: &ResourceId) -> Option<&SourceRef> {
        let key = key_of(id);
        let unread = self.unread.get(&key).map(|(source, _)| source);
        unread.or_else(|| self.source_of(&key))
    }

    /// Whether an object is meant for this nuncio that says so in an annotation, as those do that
    /// are not of getambassador.io.
    pub fn is_meant(&self, meta: &ObjectMeta) -> bool {
        let id = meta.annotations.get(AMBASSADOR_ID_ANNOTATION);
        self.scope.accepts_id(id.map(std::slice::from_ref))
    }

    /// Whether any Host is written, in effect or not, or may be.
    pub fn has_hosts(&self) -> bool {
        let is_host = |key: &ObjectKey| key.group == getambassador::GROUP && key.kind == "Host";
        let left_out = self.hosts.left_out().next().is_some();
        let unseen = self.unseen("Host").next().is_some();
        !self.hosts.is_empty() || left_out || unseen || self.unread.keys().any(is_host)
    }

    /// Resources of a kind that cannot be read.
    pub(crate) fn unread(&self, kind: &str) -> impl Iterator<Item = Origin> {
        let keys = self.unread.keys();
        let keys = keys.filter(move |key| key.group == getambassador::GROUP && key.kind == kind);
        keys.map(|key| Origin::new(Arc::new(id_of(key))))
    }

    /// Hosts that cannot be read, with their hostnames.
    pub(crate) fn unread_hosts(&self) -> impl Iterator<Item = &Arc<Object<Host>>> {
        self.unread_hosts.values()
    }

    /// Emissary's key of a resource, where it is in effect.
    pub fn rkey(&self, id: &ResourceId) -> Option<&str> {
        if &*id.group != getambassador::GROUP {
            return None;
        }
        on_table!(shared self, (&*id.group, &*id.kind), table => {
            table.find(&id.namespace, &id.name).map(|object| &*object.rkey)
        })
        .flatten()
    }

    /// The routes of the Gateway API, of every kind.
    pub fn routes(&self) -> impl Iterator<Item = &Arc<ResourceId>> {
        let http = self.http_routes.iter().map(|object| &object.id);
        let grpc = self.grpc_routes.iter().map(|object| &object.id);
        let streams = [&self.tls_routes, &self.tcp_routes, &self.udp_routes];
        let streams = streams.into_iter().flat_map(Table::iter);
        http.chain(grpc).chain(streams.map(|object| &object.id))
    }

    /// The Module `tls` that counts.
    pub fn tls_module(&self) -> Option<&Arc<Object<Value>>> {
        let modules = self.module_tls_contexts.keys();
        modules
            .filter_map(|key| self.modules.get(&key.namespace, &key.name))
            .min_by(|a, b| a.rkey.cmp(&b.rkey))
    }

    /// The TLSContexts that it defines.
    pub fn module_tls_contexts(&self) -> impl Iterator<Item = &Arc<Object<TlsContext>>> {
        let module = self.tls_module().map(|module| key_of(&module.id));
        module
            .and_then(|key| self.module_tls_contexts.get(&key))
            .into_iter()
            .flatten()
    }

    /// The EndpointSlices of a Service.
    pub fn slices_of(
        &self,
        namespace: &str,
        service: &str,
    ) -> impl Iterator<Item = &Arc<Object<EndpointSlice>>> {
        tracker::read(Read::SlicesOf { namespace, service });
        self.slices_of
            .get(&(namespace.to_owned(), service.to_owned()))
            .into_iter()
            .flat_map(Few::iter)
            .filter_map(move |(name, ())| self.endpoint_slices.get(namespace, name))
    }

    /// The object whose annotation a resource stands in.
    pub fn parent(&self, id: &ResourceId) -> Option<ResourceId> {
        let source = self.source(id)?;
        matches!(source, SourceRef::Annotation { .. }).then_some(())?;
        let parent = self.annotations.first_parent(&key_of(id))?;
        Some(ResourceId::new(
            parent.group.as_str(),
            parent.kind.as_str(),
            parent.namespace.as_str(),
            parent.name.as_str(),
        ))
    }

    fn source_of(&self, key: &ObjectKey) -> Option<&SourceRef> {
        on_table!(shared self, (key.group.as_str(), key.kind.as_str()), table => {
            table.find(&key.namespace, &key.name).map(|object| &object.source)
        })
        .flatten()
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
        self.origins.remove(key);
        self.unread.remove(key);
        self.unread_hosts.remove(key);
        self.unseen_annotated.remove(key);
        self.module_tls_contexts.remove(key);
        let (namespace, name) = (key.namespace.as_str(), key.name.as_str());
        if let Some(slice) = self.endpoint_slices.get(namespace, name)
            && key.group == DISCOVERY_GROUP
            && let Some(service) = slice.meta.labels.get(SERVICE_NAME_LABEL)
        {
            let of = (namespace.to_owned(), service.clone());
            self.tracker.change(Read::SlicesOf { namespace, service });
            if let Some(names) = self.slices_of.get_mut(&of) {
                names.remove(&slice.meta.name);
                if names.is_empty() {
                    self.slices_of.remove(&of);
                }
            }
        }
        on_table!(exclusive self, (key.group.as_str(), key.kind.as_str()), table => {
            table.remove(namespace, name)
        });
    }

    /// Whether an object counts that is there.
    fn count(&mut self, key: &ObjectKey, counts: bool) {
        let (namespace, name) = (key.namespace.as_str(), key.name.as_str());
        on_table!(exclusive self, (key.group.as_str(), key.kind.as_str()), table => {
            match counts {
                true => table.take_back(namespace, name),
                false => table.leave_out(namespace, name),
            }
        });
    }

    /// Decides which object a name means that annotations define, and says which it is not.
    fn settle(&mut self, key: &ObjectKey) {
        let id = self.names.id(key);
        let claim = self.annotations.claim(key, &id);
        if !claim.real {
            self.forget(key);
            if let Some((object, rkey)) = claim.first {
                self.read(object, None, id, rkey);
            }
        }
        if claim.losers.is_empty() {
            self.duplicates.remove(key);
        } else {
            self.duplicates.insert(key.clone(), claim.losers);
        }
    }
}

/// Texts that many resources have in common, each once.
#[derive(Clone, Default)]
struct Names(HashSet<Arc<str>>);

impl Names {
    /// How the report names an object.
    fn id(&mut self, key: &ObjectKey) -> Arc<ResourceId> {
        let group = self.shared(&key.group);
        let kind = self.shared(&key.kind);
        let namespace = self.shared(&key.namespace);
        let id = ResourceId::new(group, kind, namespace, key.name.as_str());
        Arc::new(id)
    }

    fn shared(&mut self, text: &str) -> Arc<str> {
        if let Some(known) = self.0.get(text) {
            return Arc::clone(known);
        }
        let text = Arc::<str>::from(text);
        self.0.insert(Arc::clone(&text));
        text
    }
}

fn id_of(key: &ObjectKey) -> ResourceId {
    ResourceId::new(
        key.group.as_str(),
        key.kind.as_str(),
        key.namespace.as_str(),
        key.name.as_str(),
    )
}

fn key_of(id: &ResourceId) -> ObjectKey {
    ObjectKey {
        group: id.group.to_string(),
        kind: id.kind.to_string(),
        namespace: id.namespace.to_string(),
        name: id.name.to_string(),
    }
}

#[cfg(test)]
pub(crate) mod tests;
