//! Where resources are in effect: which Listeners serve a Host or a TCPMapping, which Hosts take a
//! Mapping. Put together for who looks, because nothing that is served depends on it.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;
use std::sync::{Arc, OnceLock};

use nuncio_model::ResourceId;

use super::binding::Bound;
use super::group::Group;
use super::taken::Taken;
use super::tcpmapping::TcpGroup;

/// So many places are named.
const MOST_NAMED: usize = 4;

/// The first places in the order of their names, and whether there are others. How many is not said: it
/// would be another number for every Mapping whenever a Host comes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Places {
    pub named: Vec<Arc<ResourceId>>,
    pub more: bool,
}

/// Where everything is in effect.
#[derive(Clone, Default)]
pub struct Attached {
    groups: Vec<Arc<Group>>,
    sites: Arc<Sites>,
    seen: Arc<OnceLock<Seen>>,
}

/// What each Listener serves.
#[derive(Default)]
pub(super) struct Sites {
    /// Groups that every Host without a selector takes.
    pub(super) everyone: Vec<usize>,
    hosts: Vec<Site>,
    tcp: Vec<(Arc<ResourceId>, Arc<ResourceId>)>,
}

struct Site {
    listener: Arc<ResourceId>,
    host: Arc<ResourceId>,
    taken: Taken,
}

#[derive(Default)]
struct Seen {
    /// Of each group.
    hosts: Vec<Arc<Places>>,
    /// Of each Host and each TCPMapping.
    listeners: BTreeMap<Arc<ResourceId>, Places>,
}

type Placed<'a> = (&'a Arc<Group>, &'a Arc<Places>);

impl Sites {
    pub(super) fn hosts(&mut self, listener: &Arc<ResourceId>, bound: Vec<Bound<'_>>) {
        let served = bound.into_iter().filter(|bound| !bound.host.closed);
        self.hosts.extend(served.map(|bound| Site {
            listener: Arc::clone(listener),
            host: Arc::clone(&bound.host.origin.resource),
            taken: bound.taken,
        }));
    }

    pub(super) fn tcp(&mut self, listener: &Arc<ResourceId>, group: &TcpGroup) {
        let members = group.members.iter();
        let site = members.map(|member| (Arc::clone(&member.resource), Arc::clone(listener)));
        self.tcp.extend(site);
    }
}

impl Attached {
    pub(super) fn new(groups: Vec<Arc<Group>>, sites: Sites) -> Self {
        Self {
            groups,
            sites: Arc::new(sites),
            seen: Arc::default(),
        }
    }

    /// The Listeners that serve a Host or a TCPMapping.
    pub fn listeners(&self, id: &ResourceId) -> Option<&Places> {
        self.seen().listeners.get(id)
    }

    /// The Hosts and TCPMappings that are served.
    pub fn served(&self) -> &BTreeMap<Arc<ResourceId>, Places> {
        &self.seen().listeners
    }

    /// Calls `with` for the Mappings that are other ones than before, or are taken by other Hosts: first
    /// for those that were there, without places, then for those that are there now.
    pub fn mappings_changed(
        &self,
        before: &Self,
        mut with: impl FnMut(&Arc<ResourceId>, Option<&Arc<Places>>),
    ) {
        let (old, new) = (before.placed(), self.placed());
        let mut same = Same::default();
        let mut are = |one: &Placed<'_>, other: &Placed<'_>| {
            Arc::ptr_eq(one.0, other.0) && same.are(one.1, other.1)
        };
        let pairs = old.clone().zip(new.clone());
        let start = pairs.take_while(|(one, other)| are(one, other)).count();
        let (old, new) = (old.skip(start), new.skip(start));
        let pairs = old.clone().rev().zip(new.clone().rev());
        let end = pairs.take_while(|(one, other)| are(one, other)).count();
        let (old, new) = (old.rev().skip(end).rev(), new.rev().skip(end).rev());
        // Between them groups may have come, gone and moved.
        let mut gone: HashMap<*const Group, Placed<'_>> =
            old.map(|group| (Arc::as_ptr(group.0), group)).collect();
        let mut come: Vec<Placed<'_>> = Vec::new();
        for group in new {
            let at = Arc::as_ptr(group.0);
            if gone.get(&at).is_some_and(|before| are(before, &group)) {
                gone.remove(&at);
            } else {
                come.push(group);
            }
        }
        // Nobody wrote those that are built in; they are made each time.
        let gone = gone.into_values();
        for (group, _) in gone.filter(|(group, _)| !group.built_in) {
            for member in &group.members {
                with(&member.object.id, None);
            }
        }
        for (group, places) in come.into_iter().filter(|(group, _)| !group.built_in) {
            for member in &group.members {
                with(&member.object.id, Some(places));
            }
        }
    }

    /// The groups, each with the Hosts that take it.
    fn placed(&self) -> impl DoubleEndedIterator<Item = Placed<'_>> + ExactSizeIterator + Clone {
        self.groups.iter().zip(&self.seen().hosts)
    }

    fn seen(&self) -> &Seen {
        self.seen
            .get_or_init(|| Seen::of(&self.groups, &self.sites))
    }
}

impl fmt::Debug for Attached {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.served()).finish()
    }
}

/// Compares places, the same ones only once: most groups have the same.
#[derive(Default)]
struct Same(Option<(Arc<Places>, Arc<Places>)>);

impl Same {
    fn are(&mut self, one: &Arc<Places>, other: &Arc<Places>) -> bool {
        if Arc::ptr_eq(one, other) {
            return true;
        }
        if let Some((a, b)) = &self.0
            && Arc::ptr_eq(a, one)
            && Arc::ptr_eq(b, other)
        {
            return true;
        }
        let same = one == other;
        if same {
            self.0 = Some((Arc::clone(one), Arc::clone(other)));
        }
        same
    }
}

impl Seen {
    fn of(groups: &[Arc<Group>], sites: &Sites) -> Self {
        let mut of_everyone = BTreeSet::new();
        let mut of_some: BTreeMap<usize, BTreeSet<&Arc<ResourceId>>> = BTreeMap::new();
        let mut listeners: BTreeMap<&Arc<ResourceId>, BTreeSet<&Arc<ResourceId>>> = BTreeMap::new();
        for Site {
            listener,
            host,
            taken,
        } in &sites.hosts
        {
            listeners.entry(host).or_default().insert(listener);
            if taken.everyone {
                of_everyone.insert(host);
            }
            for at in &taken.others {
                of_some.entry(*at).or_default().insert(host);
            }
        }
        for (mapping, listener) in &sites.tcp {
            listeners.entry(mapping).or_default().insert(listener);
        }
        let everyone: BTreeSet<usize> = sites.everyone.iter().copied().collect();
        let to_everyone = Arc::new(Places::of(&of_everyone));
        let to_nobody = Arc::new(Places::default());
        let hosts = (0..groups.len()).map(|at| match (everyone.contains(&at), of_some.get(&at)) {
            (true, None) => Arc::clone(&to_everyone),
            (false, None) => Arc::clone(&to_nobody),
            (true, Some(some)) => Arc::new(Places::of(&(some | &of_everyone))),
            (false, Some(some)) => Arc::new(Places::of(some)),
        });
        Self {
            hosts: hosts.collect(),
            listeners: listeners
                .into_iter()
                .map(|(id, places)| (Arc::clone(id), Places::of(&places)))
                .collect(),
        }
    }
}

impl Places {
    fn of(all: &BTreeSet<&Arc<ResourceId>>) -> Self {
        let named = all.iter().take(MOST_NAMED);
        Self {
            named: named.map(|id| Arc::clone(id)).collect(),
            more: all.len() > MOST_NAMED,
        }
    }
}
