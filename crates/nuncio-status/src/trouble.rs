//! What keeps status from being written, as entries of the report.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use kube::api::ApiResource;
use nuncio_model::{Entry, Origin, Reason, ResourceId, Severity};
use tokio::sync::watch;

/// What stands in the way, each said once. Clones are the same.
#[derive(Clone, Debug)]
pub(crate) struct Troubles {
    url: Arc<str>,
    standing: Arc<Mutex<BTreeMap<String, Entry>>>,
    said: watch::Sender<Vec<Entry>>,
}

impl Troubles {
    pub(crate) fn new(url: &str, said: watch::Sender<Vec<Entry>>) -> Self {
        Self {
            url: url.into(),
            standing: Arc::default(),
            said,
        }
    }

    /// The API server does not let nuncio write what it is to.
    pub(crate) fn forbidden(&self, group: &str, resources: &str, verbs: &str, message: &str) {
        let what = match group {
            "" => resources.to_owned(),
            group => format!("{resources}.{group}"),
        };
        let mut entry = self.entry(
            Severity::Warning,
            Reason::Forbidden,
            format!("nuncio may not write {what}: {message}; everything else is in effect"),
        );
        entry.help(format!(
            "add to nuncio's ClusterRole: {{apiGroups: [\"{group}\"], resources: [{resources}], \
             verbs: [{verbs}]}}; or start it with --no-status"
        ));
        self.set(what, Some(entry));
    }

    /// There is no namespace to write it into.
    pub(crate) fn nowhere(&self, group: &str, resources: &str, message: &str) {
        let mut entry = self.entry(
            Severity::Warning,
            Reason::RefNotFound,
            format!("nuncio cannot write {resources}.{group}: {message}; no status is written"),
        );
        entry.help("let AMBASSADOR_NAMESPACE name the namespace that nuncio is in");
        self.set(format!("{resources}.{group}"), Some(entry));
    }

    /// A kind is defined without what is to be written.
    pub(crate) fn undefined(&self, resource: &ApiResource, what: &str) {
        let name = format!("{}.{}", resource.plural, resource.group);
        let mut entry = self.entry(
            Severity::Notice,
            Reason::NotSupported,
            format!("the definition of {name} has no place for {what}: that is not written"),
        );
        entry.help("install nuncio's definitions: nuncio crds, or the chart nuncio-crds");
        self.set(definition(resource), Some(entry));
    }

    /// What was written found its place.
    pub(crate) fn written(&self, resource: &ApiResource) {
        self.set(
            format!("{}/status.{}", resource.plural, resource.group),
            None,
        );
    }

    pub(crate) fn over(&self, group: &str, resources: &str) {
        self.set(format!("{resources}.{group}"), None);
    }

    pub(crate) fn defined(&self, resource: &ApiResource) {
        self.set(definition(resource), None);
    }

    fn entry(&self, severity: Severity, reason: Reason, message: String) -> Entry {
        let server = ResourceId::new("", "APIServer", "", &*self.url);
        Entry::new(&Origin::new(Arc::new(server)), severity, reason, message)
    }

    fn set(&self, key: String, entry: Option<Entry>) {
        let mut standing = self.standing.lock().unwrap_or_else(PoisonError::into_inner);
        let before = match entry.clone() {
            Some(entry) => standing.insert(key, entry),
            None => standing.remove(&key),
        };
        if before != entry {
            self.said.send_replace(standing.values().cloned().collect());
        }
    }
}

fn definition(resource: &ApiResource) -> String {
    format!("{} {}", resource.plural, resource.group)
}
