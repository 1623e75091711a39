//! All groups that Mappings are in, and what stays of them from one translation to the next.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use super::Context;
use super::cluster::ClusterSpec;
use super::clusters::{Clusters, User};
use super::group::{Building, Group, Plan};
use super::kept::{self, Effects, MappingKey, apart};
use super::mapping::Parsed;
use super::order::{Created, Place};
use crate::few::Few;

/// All groups that Mappings are in.
#[derive(Default)]
pub(super) struct Groups {
    by_key: HashMap<Arc<str>, KeptGroup>,
    dirty: Vec<Arc<str>>,
    /// In the order in which their routes are tried.
    in_order: BTreeMap<Arc<Place>, Arc<Group>>,
    effects: BTreeMap<Arc<str>, Effects>,
}

#[derive(Default)]
struct KeptGroup {
    /// What was just parsed goes into the group, and is not kept.
    members: Few<Arc<MappingKey>, Option<Box<Parsed>>>,
    first: Option<Arc<MappingKey>>,
    /// By their order in the group.
    uses: Box<[Arc<ClusterSpec>]>,
    place: Option<Arc<Place>>,
}

impl KeptGroup {
    fn users(&self) -> impl Iterator<Item = (User, &Arc<ClusterSpec>)> {
        self.first.iter().flat_map(|first| {
            let uses = self.uses.iter().enumerate();
            uses.map(|(at, spec)| (User::Group(Arc::clone(first), at), spec))
        })
    }
}

impl Groups {
    pub(super) fn add(
        &mut self,
        group: &Arc<str>,
        key: &Arc<MappingKey>,
        parsed: Option<Box<Parsed>>,
    ) {
        let members = &mut self.by_key.entry(Arc::clone(group)).or_default().members;
        members.insert(Arc::clone(key), parsed);
        self.dirty.push(Arc::clone(group));
    }

    pub(super) fn remove(&mut self, group: &Arc<str>, key: &Arc<MappingKey>) {
        if let Some(kept) = self.by_key.get_mut(group) {
            kept.members.remove(key);
            self.dirty.push(Arc::clone(group));
        }
    }

    /// Makes the groups again whose Mappings are others now. `group_of` says which group a Mapping is
    /// in.
    pub(super) fn update(
        &mut self,
        context: &mut Context<'_>,
        clusters: &mut Clusters,
        group_of: impl Fn(&Arc<MappingKey>) -> Option<Arc<str>>,
    ) {
        let mut dirty = std::mem::take(&mut self.dirty);
        dirty.sort();
        dirty.dedup();
        for key in &dirty {
            self.take_out(clusters, key);
        }
        for key in &dirty {
            if let Some(planned) = self.plan(context, clusters, key) {
                self.finish(context, clusters, key, planned);
            }
        }
        // Most clusters have the name that they had as they were put on; the groups of the others are
        // made once more.
        let mut renamed = BTreeSet::new();
        for user in clusters.rename() {
            if let User::Group(first, _) = user {
                renamed.extend(group_of(&first));
            }
        }
        let mut plans = Vec::new();
        for key in renamed {
            self.take_out(clusters, &key);
            let planned = self.plan(context, clusters, &key);
            plans.extend(planned.map(|planned| (key, planned)));
        }
        // Those were taken off their clusters and put on again.
        clusters.rename();
        for (key, planned) in plans {
            self.finish(context, clusters, &key, planned);
        }
    }

    /// Takes a group out of the order, and off the clusters that it used.
    fn take_out(&mut self, clusters: &mut Clusters, key: &Arc<str>) {
        let Some(kept) = self.by_key.get_mut(key) else {
            return;
        };
        for (user, spec) in kept.users() {
            clusters.remove(&user, spec);
        }
        kept.uses = Box::default();
        kept.first = None;
        if let Some(place) = kept.place.take() {
            self.in_order.remove(&place);
        }
        let gone = kept.members.is_empty();
        self.effects.remove(key);
        if gone {
            self.by_key.remove(key);
        }
    }

    /// Puts a group together as far as can be without the names of its clusters, and uses those.
    fn plan(
        &mut self,
        context: &mut Context<'_>,
        clusters: &mut Clusters,
        key: &Arc<str>,
    ) -> Option<(Plan, Effects)> {
        let kept = self.by_key.get_mut(key)?;
        let first = Arc::clone(kept.members.first()?.0);
        let mut members = Vec::new();
        for (key, parsed) in kept.members.iter_mut() {
            members.extend(match parsed.take() {
                Some(parsed) => Some(*parsed),
                None => kept::parsed_again(context, key),
            });
        }
        let (plan, effects, _) = apart(context, |context| {
            let mut members = members.into_iter();
            let mut building = Building::new(members.next()?);
            for parsed in members {
                building.add(context, parsed);
            }
            Some(building.plan(context))
        });
        let plan = plan?;
        kept.first = Some(first);
        kept.uses = plan.uses().map(Arc::clone).collect();
        for (user, spec) in kept.users() {
            clusters.add(&user, spec);
        }
        Some((plan, effects))
    }

    /// Makes what was planned, with the names that its clusters have now.
    fn finish(
        &mut self,
        context: &mut Context<'_>,
        clusters: &Clusters,
        key: &Arc<str>,
        (plan, mut effects): (Plan, Effects),
    ) {
        let Some(kept) = self.by_key.get_mut(key) else {
            return;
        };
        let names: Vec<_> = kept
            .users()
            .map(|(user, spec)| clusters.name(&user, spec))
            .collect();
        let (group, more, _) = apart(context, |context| plan.finish(context, names.into_iter()));
        let more = more.report.entries().iter().cloned();
        effects.report.extend(more);
        effects.keep(&mut self.effects, key);
        if let Some(group) = group
            && let Some(first) = &kept.first
        {
            let created = Created::Mapping(Arc::clone(first));
            let place = Arc::new(Place::new(&group.criteria, created));
            kept.place = Some(Arc::clone(&place));
            self.in_order.insert(place, Arc::new(group));
        }
    }

    pub(super) fn in_order(&self) -> impl Iterator<Item = (&Arc<Place>, &Arc<Group>)> {
        self.in_order.iter()
    }

    pub(super) fn effects(&self) -> impl Iterator<Item = &Effects> {
        self.effects.values()
    }
}
