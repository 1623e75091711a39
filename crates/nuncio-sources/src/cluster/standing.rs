//! What the status of each object says at the moment, as far as nuncio writes it: so that it is written
//! only where it says something else. Of a status only hashes are held.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use k8s_openapi::jiff::Timestamp;
use kube::api::ApiResource;
use nuncio_api::status::Status;
use nuncio_api::{gateway_api, getambassador, ingress, policy};
use nuncio_model::ResourceId;
use tokio::sync::Notify;
use uuid::Uuid;

use super::follow::Name;
use super::kinds::{Kind, KindId};

/// What one object's status says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Standing {
    /// Tells it from earlier objects of its name.
    pub uid: Uuid,
    /// [`Status::digest`].
    pub digest: u64,
    /// The condition's.
    pub condition: Option<StandingCondition>,
}

/// What its condition says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StandingCondition {
    pub accepted: bool,
    /// [`nuncio_api::status::Condition::digest`].
    pub digest: u64,
    /// Since when it is accepted, or is not.
    pub since: Option<Timestamp>,
}

impl Standing {
    pub fn new(uid: Uuid, status: &Status) -> Self {
        let condition = status.accepted().map(|condition| StandingCondition {
            accepted: condition.status == "True",
            digest: condition.digest(),
            since: condition
                .last_transition_time
                .as_ref()
                .and_then(|time| time.parse().ok()),
        });
        Self {
            uid,
            digest: status.digest(),
            condition,
        }
    }
}

/// The standings of all objects of kinds whose status is written, and of Services, as followers see
/// them. Clones are the same.
#[derive(Clone, Debug, Default)]
pub struct Standings(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    known: Mutex<Known>,
    news: Notify,
}

#[derive(Debug, Default)]
struct Known {
    kinds: BTreeMap<KindId, OfKind>,
    changed: BTreeMap<KindId, BTreeSet<Name>>,
}

#[derive(Debug)]
struct OfKind {
    resource: ApiResource,
    objects: BTreeMap<Name, Standing>,
}

impl Standings {
    /// What an object's status says; `None` for one that is not there, or is not known yet.
    pub fn get(&self, id: &ResourceId) -> Option<Standing> {
        let known = self.known();
        known
            .kinds
            .get(&kind_of(id))?
            .objects
            .get(&name_of(id))
            .cloned()
    }

    /// How a kind is asked for.
    pub fn resource(&self, id: &ResourceId) -> Option<ApiResource> {
        let known = self.known();
        Some(known.kinds.get(&kind_of(id))?.resource.clone())
    }

    /// Notes what was written, until the API server says so.
    pub fn written(&self, id: &ResourceId, standing: Standing) {
        let mut known = self.known();
        let of_kind = known.kinds.get_mut(&kind_of(id));
        if let Some(object) = of_kind.and_then(|of| of.objects.get_mut(&name_of(id))) {
            *object = standing;
        }
    }

    /// Waits until there is something for [`Standings::take_changed`].
    pub async fn changed(&self) {
        loop {
            let news = self.0.news.notified();
            if !self.known().changed.is_empty() {
                return;
            }
            news.await;
        }
    }

    /// The objects that came, or whose status is another, since the last call.
    pub fn take_changed(&self) -> Vec<ResourceId> {
        let changed = std::mem::take(&mut self.known().changed);
        let kinds = changed.iter();
        kinds
            .flat_map(|(kind, names)| ids(kind, names.iter()))
            .collect()
    }

    /// All objects that are there.
    pub fn all(&self) -> Vec<ResourceId> {
        let known = self.known();
        let kinds = known.kinds.iter();
        kinds
            .flat_map(|(kind, of)| ids(kind, of.objects.keys()))
            .collect()
    }

    /// Where the standings of one kind are noted; `None` where none is of use.
    pub(super) fn of(&self, kind: &Kind) -> Option<KindStandings> {
        let id = kind.id();
        let of_use = matches!(
            (&*id.0, &*id.1),
            (getambassador::GROUP | gateway_api::GROUP | policy::GROUP, _)
                | (ingress::GROUP, "Ingress")
                | ("", "Service")
        );
        of_use.then(|| KindStandings {
            all: self.clone(),
            kind: id,
            resource: kind.resource.clone(),
            listing: BTreeMap::new(),
        })
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.0.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a follower of one kind notes.
#[derive(Debug)]
pub(super) struct KindStandings {
    all: Standings,
    kind: KindId,
    resource: ApiResource,
    listing: BTreeMap<Name, Standing>,
}

impl KindStandings {
    pub(super) fn begin(&mut self) {
        self.listing.clear();
    }

    pub(super) fn listed(&mut self, name: Name, standing: Standing) {
        self.listing.insert(name, standing);
    }

    pub(super) fn complete(&mut self) {
        let listed = std::mem::take(&mut self.listing);
        let mut known = self.all.known();
        let before = known.kinds.get(&self.kind).map(|of| &of.objects);
        let same = |name, standing| before.and_then(|before| before.get(name)) == Some(standing);
        let new = listed
            .iter()
            .filter(|(name, standing)| !same(*name, *standing));
        let new: BTreeSet<Name> = new.map(|(name, _)| name.clone()).collect();
        let of_kind = OfKind {
            resource: self.resource.clone(),
            objects: listed,
        };
        known.kinds.insert(self.kind.clone(), of_kind);
        known.note(&self.kind, new);
        drop(known);
        self.all.0.news.notify_one();
    }

    pub(super) fn changed(&mut self, name: Name, standing: Standing) {
        let mut known = self.all.known();
        let Some(of_kind) = known.kinds.get_mut(&self.kind) else {
            return;
        };
        if of_kind.objects.get(&name) == Some(&standing) {
            return;
        }
        of_kind.objects.insert(name.clone(), standing);
        known.note(&self.kind, BTreeSet::from([name]));
        drop(known);
        self.all.0.news.notify_one();
    }

    pub(super) fn deleted(&mut self, name: &Name) {
        let mut known = self.all.known();
        if let Some(of_kind) = known.kinds.get_mut(&self.kind) {
            of_kind.objects.remove(name);
        }
    }
}

impl Known {
    fn note(&mut self, kind: &KindId, names: BTreeSet<Name>) {
        if !names.is_empty() {
            self.changed.entry(kind.clone()).or_default().extend(names);
        }
    }
}

fn kind_of(id: &ResourceId) -> KindId {
    ((*id.group).into(), (*id.kind).into())
}

fn name_of(id: &ResourceId) -> Name {
    ((*id.namespace).into(), (*id.name).into())
}

fn ids<'n>(
    (group, kind): &KindId,
    names: impl Iterator<Item = &'n Name>,
) -> impl Iterator<Item = ResourceId> {
    let (group, kind): (Arc<str>, Arc<str>) = ((**group).into(), (**kind).into());
    names.map(move |(namespace, name)| {
        let (group, kind) = (Arc::clone(&group), Arc::clone(&kind));
        ResourceId::new(group, kind, &**namespace, &**name)
    })
}

#[cfg(test)]
mod tests {
    use kube::api::GroupVersionKind;
    use serde_json::json;

    use super::*;

    fn mappings(all: &Standings) -> KindStandings {
        let gvk = GroupVersionKind::gvk(getambassador::GROUP, "v3alpha1", "Mapping");
        let kind = Kind {
            resource: ApiResource::from_gvk_with_plural(&gvk, "mappings"),
            namespaced: true,
            fields: None,
        };
        all.of(&kind).unwrap()
    }

    fn standing(state: &str) -> Standing {
        let status = serde_json::from_value(json!({"state": state})).unwrap();
        Standing::new(Uuid::nil(), &status)
    }

    fn name(name: &str) -> Name {
        ("default".into(), name.into())
    }

    fn changed(all: &Standings) -> Vec<String> {
        all.take_changed().iter().map(ToString::to_string).collect()
    }

    #[test]
    fn only_what_says_something_else_has_changed() {
        let all = Standings::default();
        let mut kind = mappings(&all);
        kind.listed(name("a"), standing("Running"));
        kind.listed(name("b"), standing(""));
        assert!(changed(&all).is_empty());
        kind.complete();
        assert_eq!(changed(&all), ["Mapping default/a", "Mapping default/b"]);
        kind.changed(name("a"), standing("Running"));
        assert!(changed(&all).is_empty());
        kind.changed(name("a"), standing("Inactive"));
        assert_eq!(changed(&all), ["Mapping default/a"]);

        // A list that broke off says nothing; a whole one says who is gone.
        kind.listed(name("b"), standing("Running"));
        kind.begin();
        kind.listed(name("b"), standing(""));
        kind.complete();
        assert!(changed(&all).is_empty());
        let all = all.all();
        assert_eq!(all.iter().map(|id| &*id.name).collect::<Vec<_>>(), ["b"]);
    }

    #[test]
    fn what_was_written_is_no_news_when_it_comes_back() {
        let all = Standings::default();
        let mut kind = mappings(&all);
        kind.listed(name("a"), standing(""));
        kind.complete();
        let id = all.take_changed().remove(0);
        all.written(&id, standing("Running"));
        kind.changed(name("a"), standing("Running"));
        assert!(changed(&all).is_empty());
        assert_eq!(all.get(&id), Some(standing("Running")));
        assert_eq!(all.resource(&id).unwrap().plural, "mappings");
    }
}
