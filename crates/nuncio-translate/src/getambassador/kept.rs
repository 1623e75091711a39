//! What stays from one translation to the next, so that the next costs what has changed.
//!
//! ```text
//!  changed reads ──▶ Mappings that read them ──▶ their groups ──▶ groups whose cluster is renamed
//! ```
//!
//! A Mapping is parsed again when it changes, or anything that was read for it; a group is made again
//! when one of its Mappings was. What they say and need beside their routes is kept with them.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use nuncio_api::getambassador::{LabelSelector, Mapping};
use nuncio_model::tls::Secret;
use nuncio_model::{Named, Report};

use super::Context;
use super::association::given;
use super::clusters::Clusters;
use super::group::{self, Groups};
use super::made::MadeMapping;
use super::mapping::{self, Parsed};
use super::shadow::Shadows;
use crate::EndpointReads;
use crate::store::{Object, Read};

/// The order in which Mappings are taken up: by Emissary's key those that users write, then those
/// that are made of other resources.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct MappingKey {
    made: Option<usize>,
    rkey: String,
    namespace: String,
    name: String,
}

#[derive(Default)]
pub(crate) struct Kept {
    module_reads: BTreeSet<Read>,
    mappings: BTreeMap<Arc<MappingKey>, KeptMapping>,
    /// Keys of those that users write, by namespace and name.
    written: HashMap<(String, String), Arc<MappingKey>>,
    readers: HashMap<Read, BTreeSet<Arc<MappingKey>>>,
    effects: BTreeMap<Arc<MappingKey>, Effects>,
    pub(crate) endpoint_reads: EndpointReads,
    selectors: Vec<Selector>,
    pub(super) groups: Groups,
    pub(super) clusters: Clusters,
    pub(super) shadows: Shadows,
}

/// How a Host selects Mappings, and which Host it is.
#[derive(Clone, PartialEq)]
pub(super) struct Selector {
    pub(super) host: String,
    pub(super) labels: LabelSelector,
}

struct KeptMapping {
    reads: BTreeSet<Read>,
    endpoint_reads: EndpointReads,
    parsed: Option<KeptParsed>,
}

struct KeptParsed {
    parsed: Arc<Parsed>,
    /// See [`MadeMapping::wildcard`].
    label: bool,
    group: Arc<str>,
}

/// What is said and needed beside what is made.
#[derive(Default)]
pub(super) struct Effects {
    pub(super) report: Report,
    secrets: Named<Secret>,
    files: BTreeSet<Arc<str>>,
}

impl Kept {
    /// What has read something that changed is to be read again: everything, if the Module has.
    pub(super) fn module_read(&mut self, reads: BTreeSet<Read>, changed: &BTreeSet<Read>) {
        if !self.module_reads.is_disjoint(changed) {
            *self = Self::default();
        }
        self.module_reads = reads;
    }

    /// Takes up what changed of the Mappings and of what they read.
    pub(super) fn update(
        &mut self,
        context: &mut Context<'_>,
        changed: &BTreeSet<Read>,
        made_changed: bool,
    ) {
        self.clusters.without_later();
        let selectors = selectors(context);
        if selectors != self.selectors {
            self.selectors = selectors;
            self.group_again();
        }
        let first = self.mappings.is_empty();
        let mut dirty: BTreeSet<Arc<MappingKey>> = BTreeSet::new();
        for read in changed {
            dirty.extend(self.readers.get(read).into_iter().flatten().cloned());
        }
        let store = context.store;
        for (namespace, name) in names(store, changed, first) {
            let name = (namespace, name);
            dirty.extend(self.written.remove(&name));
            if let Some(object) = store.mappings.get(&name.0, &name.1) {
                let key = Arc::new(MappingKey::written(object));
                dirty.insert(Arc::clone(&key));
                self.written.insert(name, key);
            }
        }
        let made = &context.made.mappings;
        if made_changed || first {
            let is_made = |key: &&Arc<MappingKey>| key.made.is_some();
            dirty.extend(self.mappings.keys().rev().take_while(is_made).cloned());
            let made = made.iter().enumerate();
            dirty.extend(made.map(|(at, made)| Arc::new(MappingKey::made(at, &made.object))));
        }
        for key in dirty {
            self.forget(&key);
            match key.made {
                None => {
                    let object = store.mappings.get(&key.namespace, &key.name);
                    if let Some(object) = object.filter(|object| object.rkey == key.rkey) {
                        self.parse(context, &key, object, None);
                    }
                }
                Some(at) => {
                    let made = made.get(at).filter(|made| made.object.name() == key.name);
                    if let Some(made) = made {
                        self.parse(context, &key, &made.object, Some(made));
                    }
                }
            }
        }
        self.groups.update(context, &mut self.clusters);
        for effects in self.effects.values().chain(self.groups.effects()) {
            effects.replay(context);
        }
    }

    fn forget(&mut self, key: &Arc<MappingKey>) {
        let Some(kept) = self.mappings.remove(key) else {
            return;
        };
        for read in &kept.reads {
            if let Some(readers) = self.readers.get_mut(read) {
                readers.remove(key);
                if readers.is_empty() {
                    self.readers.remove(read);
                }
            }
        }
        self.effects.remove(key);
        self.endpoint_reads.remove(&kept.endpoint_reads);
        if let Some(parsed) = kept.parsed {
            self.groups.remove(&parsed.group, key);
        }
    }

    fn parse(
        &mut self,
        context: &mut Context<'_>,
        key: &Arc<MappingKey>,
        object: &Arc<Object<Mapping>>,
        made: Option<&MadeMapping>,
    ) {
        let store = context.store;
        let ((parsed, effects, endpoint_reads), reads) = store.record(|| {
            apart(context, |context| {
                let mut parsed = mapping::parse(context, object)?;
                match made {
                    Some(made) => made.amend(&mut parsed),
                    None => group::hint(context, &parsed),
                }
                Some(Arc::new(parsed))
            })
        });
        for read in &reads {
            let readers = self.readers.entry(read.clone()).or_default();
            readers.insert(Arc::clone(key));
        }
        self.endpoint_reads.add(&endpoint_reads);
        effects.keep(&mut self.effects, key);
        let label = made.is_some_and(|made| made.wildcard.is_some());
        let parsed = parsed.map(|parsed| {
            let group: Arc<str> = group::key(&self.selectors, &parsed, label).into();
            self.groups.add(&group, key, &parsed);
            KeptParsed {
                parsed,
                label,
                group,
            }
        });
        let kept = KeptMapping {
            reads,
            endpoint_reads,
            parsed,
        };
        self.mappings.insert(Arc::clone(key), kept);
    }

    /// Hosts select Mappings otherwise now.
    fn group_again(&mut self) {
        for (key, kept) in &mut self.mappings {
            let Some(kept) = &mut kept.parsed else {
                continue;
            };
            let group = group::key(&self.selectors, &kept.parsed, kept.label);
            if *group != *kept.group {
                self.groups.remove(&kept.group, key);
                kept.group = group.into();
                self.groups.add(&kept.group, key, &kept.parsed);
            }
        }
    }
}

impl MappingKey {
    fn written(object: &Object<Mapping>) -> Self {
        Self {
            made: None,
            rkey: object.rkey.clone(),
            namespace: object.namespace().to_owned(),
            name: object.name().to_owned(),
        }
    }

    fn made(at: usize, object: &Object<Mapping>) -> Self {
        Self {
            made: Some(at),
            ..Self::written(object)
        }
    }
}

impl Effects {
    fn replay(&self, context: &mut Context<'_>) {
        context.report.extend(self.report.entries().iter().cloned());
        for (name, secret) in &self.secrets {
            let secrets = &mut context.gateway.secrets;
            secrets
                .entry(Arc::clone(name))
                .or_insert_with(|| Arc::clone(secret));
        }
        context.files.extend(self.files.iter().cloned());
    }

    /// Most have none.
    pub(super) fn keep<K: Ord + Clone>(self, all: &mut BTreeMap<K, Self>, key: &K) {
        if self.report.is_empty() && self.secrets.is_empty() && self.files.is_empty() {
            all.remove(key);
        } else {
            all.insert(key.clone(), self);
        }
    }
}

/// Does some work, and keeps its effects apart from those of others.
pub(super) fn apart<T>(
    context: &mut Context<'_>,
    work: impl FnOnce(&mut Context<'_>) -> T,
) -> (T, Effects, EndpointReads) {
    let report = std::mem::take(&mut context.report);
    let secrets = std::mem::take(&mut context.gateway.secrets);
    let files = std::mem::take(&mut context.files);
    let endpoint_reads = std::mem::take(&mut context.endpoint_reads);
    let result = work(context);
    let effects = Effects {
        report: std::mem::replace(&mut context.report, report),
        secrets: std::mem::replace(&mut context.gateway.secrets, secrets),
        files: std::mem::replace(&mut context.files, files),
    };
    let reads = std::mem::replace(&mut context.endpoint_reads, endpoint_reads);
    (result, effects, reads)
}

/// The Mappings that changed; at first, all.
fn names(
    store: &crate::Store,
    changed: &BTreeSet<Read>,
    first: bool,
) -> BTreeSet<(String, String)> {
    if first {
        let all = store.mappings.iter();
        return all
            .map(|object| (object.namespace().to_owned(), object.name().to_owned()))
            .collect();
    }
    changed
        .iter()
        .filter_map(|read| match read {
            Read::Object {
                table: "mappings",
                namespace,
                name,
            } => Some((namespace.clone(), name.clone())),
            _ => None,
        })
        .collect()
}

fn selectors(context: &Context<'_>) -> Vec<Selector> {
    let written = context.store.hosts.iter().map(AsRef::as_ref);
    written
        .chain(&context.made.hosts)
        .filter_map(|host| {
            let spec = &host.spec;
            let selector = given(spec.mapping_selector.as_ref());
            let labels = selector.or_else(|| given(spec.selector.as_ref()))?;
            Some(Selector {
                host: format!("{}/{}", host.namespace(), host.name()),
                labels: labels.clone(),
            })
        })
        .collect()
}
