//! What stays from one translation to the next, so that the next costs what has changed.
//!
//! ```text
//!  changed reads ──▶ Mappings that read them ──▶ their groups ──▶ groups whose cluster is renamed
//! ```
//!
//! A Mapping is parsed again when it changes, or anything that was read for it; a group is made again
//! when one of its Mappings was. What they say and need beside their routes is kept with them.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use nuncio_api::ObjectMeta;
use nuncio_api::core::SecretName;
use nuncio_api::getambassador::{LabelSelector, Mapping};
use nuncio_model::cluster::Endpoint;
use nuncio_model::tls::Secret;
use nuncio_model::{Named, Report};
use rayon::prelude::*;

use super::Context;
use super::association::given;
use super::clusters::Clusters;
use super::group;
use super::groups::Groups;
use super::made::MadeMapping;
use super::mapping::{self, Criteria, Parsed};
use super::shadow::Shadows;
use crate::EndpointReads;
use crate::few::Few;
use crate::store::{self, Changed, Object, Read, ReadId, Reads, Store};

/// The order in which Mappings are taken up: by Emissary's key those that users write, then those
/// that are made of other resources.
#[derive(Clone, Debug)]
pub(super) struct MappingKey {
    made: Option<usize>,
    rkey: Arc<str>,
    /// Its namespace and name count.
    meta: Arc<ObjectMeta>,
}

#[derive(Default)]
pub(crate) struct Kept {
    module_reads: Reads,
    mappings: BTreeMap<Arc<MappingKey>, KeptMapping>,
    /// Keys of those that users write.
    written: HashSet<ByName>,
    readers: HashMap<ReadId, Few<Arc<MappingKey>>>,
    effects: BTreeMap<Arc<MappingKey>, Effects>,
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
    reads: Reads,
    endpoint_reads: EndpointReads,
    grouped: Option<Grouped>,
}

/// A Mapping in a group. The rest of what was read of it is in the group, in another form; where the
/// group is made again it is read again.
struct Grouped {
    criteria: Arc<Criteria>,
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
    /// Secrets that were read, there or not.
    secrets_read: BTreeSet<SecretName>,
}

impl Kept {
    /// What has read something that changed is to be read again: everything, if the Module has.
    pub(super) fn module_read(&mut self, reads: Reads, changed: &Changed) {
        if changed.has_any(&self.module_reads) {
            *self = Self::default();
        }
        self.module_reads = reads;
    }

    /// Takes up what changed of the Mappings and of what they read.
    pub(super) fn update(
        &mut self,
        context: &mut Context<'_>,
        changed: &Changed,
        made_changed: bool,
    ) {
        self.clusters.without_later();
        let selectors = selectors(context);
        if selectors != self.selectors {
            self.selectors = selectors;
            self.group_again(context);
        }
        let dirty = self.dirty(context, changed, made_changed);
        for key in &dirty {
            self.forget(key);
        }
        for (key, read) in dirty.iter().zip(read_all(context, &dirty)) {
            if let Some(read) = read {
                self.take_up(key, read);
            }
        }
        let mappings = &self.mappings;
        let group_of = |key: &Arc<MappingKey>| {
            let grouped = mappings.get(key)?.grouped.as_ref()?;
            Some(Arc::clone(&grouped.group))
        };
        self.groups.update(context, &mut self.clusters, group_of);
        for effects in self.effects.values().chain(self.groups.effects()) {
            effects.replay(context);
        }
    }

    /// Keys of the Mappings that are others now, or have read what is, or are gone; in their order.
    fn dirty(
        &mut self,
        context: &Context<'_>,
        changed: &Changed,
        made_changed: bool,
    ) -> Vec<Arc<MappingKey>> {
        let first = self.mappings.is_empty();
        let store = context.store;
        let mut dirty: Vec<Arc<MappingKey>> = Vec::new();
        let mut write = |written: &mut HashSet<ByName>, object: &Arc<Object<Mapping>>| {
            let key = Arc::new(MappingKey::written(object));
            dirty.push(Arc::clone(&key));
            written.insert(ByName(key));
        };
        if first {
            for object in store.mappings.iter() {
                write(&mut self.written, object);
            }
        } else {
            let mut gone = Vec::new();
            for (namespace, name) in changed.named("mappings") {
                gone.extend(self.written.take(&ByName::new(namespace, name)));
                if let Some(object) = store.mappings.get(namespace, name) {
                    write(&mut self.written, object);
                }
            }
            dirty.extend(gone.into_iter().map(|ByName(key)| key));
            for read in changed.iter() {
                let readers = self.readers.get(read).into_iter();
                dirty.extend(readers.flat_map(Few::iter).map(|(key, ())| Arc::clone(key)));
            }
        }
        if made_changed || first {
            let is_made = |key: &&Arc<MappingKey>| key.made.is_some();
            dirty.extend(self.mappings.keys().rev().take_while(is_made).cloned());
            let made = context.made.mappings.iter().enumerate();
            dirty.extend(made.map(|(at, made)| Arc::new(MappingKey::made(at, &made.object))));
        }
        dirty.sort();
        dirty.dedup();
        dirty
    }

    fn forget(&mut self, key: &Arc<MappingKey>) {
        let Some(kept) = self.mappings.remove(key) else {
            return;
        };
        for read in kept.reads.iter() {
            if let Some(readers) = self.readers.get_mut(read) {
                readers.remove(key);
                if readers.is_empty() {
                    self.readers.remove(read);
                }
            }
        }
        self.effects.remove(key);
        if let Some(grouped) = kept.grouped {
            self.groups.remove(&grouped.group, key);
        }
    }

    fn take_up(&mut self, key: &Arc<MappingKey>, mapping: ReadMapping<'_>) {
        for read in mapping.reads.iter() {
            let readers = self.readers.entry(*read).or_default();
            readers.insert(Arc::clone(key), ());
        }
        mapping.effects.keep(&mut self.effects, key);
        let label = mapping.made.is_some_and(|made| made.wildcard.is_some());
        let grouped = mapping.parsed.map(|parsed| {
            let criteria = Arc::clone(&parsed.criteria);
            let labels = &parsed.object.meta.labels;
            let group: Arc<str> = group::key(&self.selectors, &criteria, labels, label).into();
            self.groups.add(&group, key, Some(parsed));
            Grouped {
                criteria,
                label,
                group,
            }
        });
        let kept = KeptMapping {
            reads: mapping.reads,
            endpoint_reads: mapping.endpoint_reads.shrink(),
            grouped,
        };
        self.mappings.insert(Arc::clone(key), kept);
    }

    /// Hosts select Mappings otherwise now.
    fn group_again(&mut self, context: &Context<'_>) {
        for (key, kept) in &mut self.mappings {
            let (Some(kept), Some((object, _))) = (&mut kept.grouped, key.mapping(context)) else {
                continue;
            };
            let labels = &object.meta.labels;
            let group = group::key(&self.selectors, &kept.criteria, labels, kept.label);
            if *group != *kept.group {
                self.groups.remove(&kept.group, key);
                kept.group = group.into();
                self.groups.add(&kept.group, key, None);
            }
        }
    }

    /// The endpoints of a Service as Mappings lead to them, by the names of the sets that they are
    /// in. See [`EndpointReads::of_service`].
    pub(crate) fn endpoints_of(
        &self,
        store: &Store,
        namespace: &str,
        name: &str,
    ) -> Option<BTreeMap<Arc<str>, Vec<Endpoint>>> {
        let mut sets = BTreeMap::new();
        // Whoever has found its endpoints has read the Service.
        let readers = self.readers.get(&Read::service(namespace, name).id());
        for (key, ()) in readers.into_iter().flat_map(Few::iter) {
            if let Some(kept) = self.mappings.get(key) {
                sets.extend(kept.endpoint_reads.of_service(store, namespace, name)?);
            }
        }
        Some(sets)
    }
}

/// What came of reading a Mapping.
struct ReadMapping<'c> {
    made: Option<&'c MadeMapping>,
    parsed: Option<Box<Parsed>>,
    effects: Effects,
    endpoint_reads: EndpointReads,
    reads: Reads,
}

/// Fewer are read by one core: another costs as much.
const FEW: usize = 64;

/// Reads the Mappings of these keys, several at a time: none knows of another. `None` is one that is
/// gone.
fn read_all<'c>(context: &Context<'c>, keys: &[Arc<MappingKey>]) -> Vec<Option<ReadMapping<'c>>> {
    let read = |context: &mut Context<'c>, key: &Arc<MappingKey>| {
        let (object, made) = key.mapping(context)?;
        let work = |context: &mut Context<'_>| parse(context, object, made).map(Box::new);
        let ((parsed, effects, endpoint_reads), reads) = store::record(|| apart(context, work));
        Some(ReadMapping {
            made,
            parsed,
            effects,
            endpoint_reads,
            reads,
        })
    };
    let keys = keys.par_iter().with_min_len(FEW);
    keys.map_init(|| context.beside(), read).collect()
}

/// Reads a Mapping, and says what there is to say of it.
fn parse(
    context: &mut Context<'_>,
    object: &Arc<Object<Mapping>>,
    made: Option<&MadeMapping>,
) -> Option<Parsed> {
    let mut parsed = mapping::parse(context, object)?;
    match made {
        Some(made) => made.amend(&mut parsed),
        None => group::hint(context, &parsed),
    }
    Some(parsed)
}

/// A Mapping that has not changed since it was read, nor what was read for it: what there was to say
/// is said.
pub(super) fn parsed_again(context: &mut Context<'_>, key: &MappingKey) -> Option<Parsed> {
    let (object, made) = key.mapping(context)?;
    let (parsed, ..) = apart(context, |context| parse(context, object, made));
    parsed
}

impl MappingKey {
    fn written(object: &Object<Mapping>) -> Self {
        Self {
            made: None,
            rkey: Arc::clone(&object.rkey),
            meta: Arc::clone(&object.meta),
        }
    }

    fn made(at: usize, object: &Object<Mapping>) -> Self {
        Self {
            made: Some(at),
            ..Self::written(object)
        }
    }

    fn parts(&self) -> (Option<usize>, &str, &str, &str) {
        let ObjectMeta {
            namespace, name, ..
        } = &*self.meta;
        (self.made, &self.rkey, namespace, name)
    }

    /// The Mapping that has the key now.
    fn mapping<'c>(
        &self,
        context: &Context<'c>,
    ) -> Option<(&'c Arc<Object<Mapping>>, Option<&'c MadeMapping>)> {
        match self.made {
            None => {
                let mappings = &context.store.mappings;
                let object = mappings.get(&self.meta.namespace, &self.meta.name)?;
                (object.rkey == self.rkey).then_some((object, None))
            }
            Some(at) => {
                let made = context.made.mappings.get(at)?;
                (made.object.name() == self.meta.name).then_some((&made.object, Some(made)))
            }
        }
    }
}

impl Ord for MappingKey {
    fn cmp(&self, other: &Self) -> Ordering {
        self.parts().cmp(&other.parts())
    }
}

impl PartialOrd for MappingKey {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for MappingKey {
    fn eq(&self, other: &Self) -> bool {
        self.parts() == other.parts()
    }
}

impl Eq for MappingKey {}

/// A key, to be found by namespace and name alone.
struct ByName(Arc<MappingKey>);

impl ByName {
    fn new(namespace: &str, name: &str) -> Self {
        Self(Arc::new(MappingKey {
            made: None,
            rkey: "".into(),
            meta: Arc::new(ObjectMeta {
                namespace: namespace.to_owned(),
                name: name.to_owned(),
                ..ObjectMeta::default()
            }),
        }))
    }

    fn name(&self) -> (&str, &str) {
        (&self.0.meta.namespace, &self.0.meta.name)
    }
}

impl PartialEq for ByName {
    fn eq(&self, other: &Self) -> bool {
        self.name() == other.name()
    }
}

impl Eq for ByName {}

impl Hash for ByName {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.name().hash(state);
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
        store::secrets_read_again(&self.secrets_read);
    }

    /// Most have none.
    pub(super) fn keep<K: Ord + Clone>(self, all: &mut BTreeMap<K, Self>, key: &K) {
        let none = self.secrets.is_empty() && self.files.is_empty() && self.secrets_read.is_empty();
        if self.report.is_empty() && none {
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
    let (result, secrets_read) = store::secrets_read(|| work(context));
    let effects = Effects {
        report: std::mem::replace(&mut context.report, report),
        secrets: std::mem::replace(&mut context.gateway.secrets, secrets),
        files: std::mem::replace(&mut context.files, files),
        secrets_read,
    };
    let reads = std::mem::replace(&mut context.endpoint_reads, endpoint_reads);
    (result, effects, reads)
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
