//! Which groups each Host takes, without a look at every group for every Host.
//!
//! What most Hosts take is the same, so it is kept once: Hosts share their lists. Where lists would
//! multiply all the same (many Hosts, each with all that is for every Host and something of its own),
//! the Hosts that can are given one list for all of them, see [`Index::lists`].

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::ops::Bound;
use std::sync::Arc;

use super::association::{globs_intersect, selects, selects_loosely};
use super::group::Group;
use super::host::Host;
use super::mapping::Association;
use super::security;
use crate::Settings;

/// Lists may hold so many groups for each that there is, and some more
/// ([`Settings::most_routes_in_own_lists`]), before Hosts share one.
const MOST_COPIES: usize = 4;

/// The groups, by what decides which Hosts take them.
pub(super) struct Index<'g> {
    groups: &'g [Arc<Group>],
    strict: bool,
    few: usize,
    /// Those that every Host without a selector takes.
    everyone: Vec<usize>,
    built_in: Vec<usize>,
    /// Those that a Host without effect takes too.
    challenges: Vec<usize>,
    names: Names,
    labels: HashMap<(&'g str, &'g str), Vec<usize>>,
    lists: HashMap<Taken, Arc<[usize]>>,
    distinct: BTreeSet<Arc<[usize]>>,
}

/// What a Host takes, by index, before it is written out.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(super) struct Taken {
    /// All that every Host without a selector takes.
    pub(super) everyone: bool,
    /// Beside them, ascending.
    pub(super) others: Vec<usize>,
}

impl Taken {
    /// Both together.
    pub(super) fn add(&mut self, other: Self) {
        self.everyone |= other.everyone;
        self.others.extend(other.others);
        self.others.sort_unstable();
        self.others.dedup();
    }
}

impl<'g> Index<'g> {
    /// `groups` are in order.
    pub(super) fn new(groups: &'g [Arc<Group>], settings: &Settings) -> Self {
        let mut index = Self {
            groups,
            strict: settings.strict_label_selectors,
            few: settings.most_routes_in_own_lists,
            everyone: Vec::new(),
            built_in: Vec::new(),
            challenges: Vec::new(),
            names: Names::default(),
            labels: HashMap::new(),
            lists: HashMap::new(),
            distinct: BTreeSet::new(),
        };
        for (at, group) in groups.iter().enumerate() {
            if group.built_in {
                index.built_in.push(at);
            } else if is_challenge(group) {
                index.challenges.push(at);
            }
            match &group.association {
                _ if is_for_everyone(group) => index.everyone.push(at),
                Association::Hostname(hostname) => index.names.add(hostname, at),
                Association::Every | Association::Labels => {}
            }
            for (key, value) in &group.labels {
                index.labels.entry((key, value)).or_default().push(at);
            }
        }
        index
    }

    pub(super) fn taken(&self, host: &Host) -> Taken {
        if host.closed {
            let groups = |at: &usize| takes(host, &self.groups[*at], self.strict);
            return Taken {
                everyone: false,
                others: self.challenges.iter().copied().filter(groups).collect(),
            };
        }
        let everyone = host.selector.is_none() || !self.strict;
        let mut others = self.names.meeting(host.hostname.as_str());
        if let Some(selector) = &host.selector {
            if selector.match_labels.is_empty() {
                others = (0..self.groups.len()).collect();
            }
            let labels = selector.match_labels.iter();
            let labelled = labels.filter_map(|(k, v)| self.labels.get(&(k.as_str(), v.as_str())));
            others.extend(labelled.flatten());
            others.extend(&self.built_in);
        }
        others.sort_unstable();
        others.dedup();
        others.retain(|at| {
            let group = &self.groups[*at];
            !(everyone && is_for_everyone(group)) && takes(host, group, self.strict)
        });
        Taken { everyone, others }
    }

    /// The list of each Host of a Listener, in order; equal ones are one.
    ///
    /// Where they would multiply, Hosts that users wrote, without a selector, have one list: what any
    /// of them takes. A request is answered as it was, because a Mapping for some names asks for
    /// them itself, in its routes' condition on `:authority`.
    pub(super) fn lists(&mut self, hosts: &[(&Host, Taken)]) -> Vec<Arc<[usize]>> {
        let distinct: HashSet<&Taken> = hosts.iter().map(|(_, taken)| taken).collect();
        let length = |taken: &&Taken| {
            let everyone = if taken.everyone { &*self.everyone } else { &[] };
            everyone.len() + taken.others.len()
        };
        let total: usize = distinct.iter().map(length).sum();
        let multiply = total > MOST_COPIES * self.groups.len() + self.few;
        let may_share = |host: &Host, taken: &Taken| multiply && self.may_share(host, taken);
        let sharing: Vec<bool> = hosts.iter().map(|(h, taken)| may_share(h, taken)).collect();
        let mut others = BTreeSet::new();
        for ((_, taken), _) in hosts.iter().zip(&sharing).filter(|(_, sharing)| **sharing) {
            others.extend(&taken.others);
        }
        let shared = Taken {
            everyone: true,
            others: others.into_iter().copied().collect(),
        };
        let each = hosts.iter().zip(sharing);
        each.map(|((_, taken), sharing)| self.list(if sharing { &shared } else { taken }))
            .collect()
    }

    /// The groups that every Host without a selector takes.
    pub(super) fn everyone(&self) -> &[usize] {
        &self.everyone
    }

    /// All lists that were given so far.
    pub(super) fn distinct(&self) -> impl Iterator<Item = &[usize]> {
        self.distinct.iter().map(|list| &**list)
    }

    fn list(&mut self, taken: &Taken) -> Arc<[usize]> {
        if let Some(list) = self.lists.get(taken) {
            return Arc::clone(list);
        }
        let mut list = taken.others.clone();
        if taken.everyone {
            list.extend(&self.everyone);
            list.sort_unstable();
            list.dedup();
        }
        // What is put together in another way may be the same.
        let list = match self.distinct.get(&*list) {
            Some(same) => Arc::clone(same),
            None => Arc::from(list),
        };
        self.distinct.insert(Arc::clone(&list));
        self.lists.insert(taken.clone(), Arc::clone(&list));
        list
    }

    /// Whether no route of a group that a Host does not take matches a name that is the Host's.
    ///
    /// Globs are compared as Emissary does it. So a Host `a.com` does not take `*a.com`, whose routes
    /// ask for names that end with `a.com`, and a name that begins with a dot is met by few.
    fn may_share(&self, host: &Host, taken: &Taken) -> bool {
        let odd = |at: &usize| match &self.groups[*at].association {
            Association::Hostname(hostname) => is_odd(hostname),
            Association::Every | Association::Labels => false,
        };
        let hostname = host.hostname.as_str();
        !host.made
            && !host.closed
            && host.selector.is_none()
            && !is_odd(hostname)
            && !self.names.is_rest_of_a_glob(hostname)
            && !taken.others.iter().any(odd)
    }
}

fn is_odd(hostname: &str) -> bool {
    let stars = hostname.matches('*').count();
    let at_one_end = hostname.starts_with('*') || hostname.ends_with('*');
    hostname.starts_with('.') || stars > 1 || (stars == 1 && !at_one_end)
}

fn is_challenge(group: &Group) -> bool {
    let mut routes = group.routes.iter();
    routes.all(|route| security::is_challenge(&route.matches.path))
}

fn is_for_everyone(group: &Group) -> bool {
    group.built_in
        || match &group.association {
            Association::Every => true,
            Association::Hostname(hostname) => hostname == "*",
            Association::Labels => false,
        }
}

fn takes(host: &Host, group: &Group, strict: bool) -> bool {
    if group.built_in {
        return true;
    }
    if host.made
        && group.made
        && let Association::Hostname(hostname) = &group.association
        && hostname != "*"
        && globs_intersect(host.hostname.as_str(), hostname)
    {
        // A certificate serves every rule for its name, whichever resource has the rule.
        return true;
    }

    let hostname = match &group.association {
        Association::Hostname(hostname) => Some(globs_intersect(host.hostname.as_str(), hostname)),
        Association::Every => Some(true),
        Association::Labels => None,
    };
    match (&host.selector, hostname) {
        (None, hostname) => hostname.unwrap_or(false),
        (Some(selector), Some(hostname)) if strict => hostname && selects(selector, &group.labels),
        (Some(selector), Some(hostname)) => hostname || selects_loosely(selector, &group.labels),
        (Some(selector), None) if strict => selects(selector, &group.labels),
        (Some(selector), None) => selects_loosely(selector, &group.labels),
    }
}

/// Hostnames of groups, by how they begin and how they end.
#[derive(Default)]
struct Names {
    exact: Texts,
    exact_backwards: Texts,
    /// Of `a.*`: `a.`.
    beginnings: Texts,
    /// Of `*.a`: `a.`.
    endings_backwards: Texts,
}

impl Names {
    fn add(&mut self, hostname: &str, group: usize) {
        if let Some(end) = hostname.strip_prefix('*') {
            self.endings_backwards.add(backwards(end), group);
        } else if let Some(beginning) = hostname.strip_suffix('*') {
            self.beginnings.add(beginning.to_owned(), group);
        } else {
            self.exact.add(hostname.to_owned(), group);
            self.exact_backwards.add(backwards(hostname), group);
        }
    }

    /// At least those that intersect a glob.
    fn meeting(&self, glob: &str) -> Vec<usize> {
        let mut found = Vec::new();
        if let Some(end) = glob.strip_prefix('*') {
            let end = backwards(end);
            found.extend(self.exact_backwards.that_begin_with(&end));
            found.extend(self.endings_backwards.that_begin_with(&end));
            found.extend(self.endings_backwards.beginnings_of(&end));
            found.extend(self.beginnings.that_begin_with(""));
        } else if let Some(beginning) = glob.strip_suffix('*') {
            found.extend(self.exact.that_begin_with(beginning));
            found.extend(self.beginnings.that_begin_with(beginning));
            found.extend(self.beginnings.beginnings_of(beginning));
            found.extend(self.endings_backwards.that_begin_with(""));
        } else {
            found.extend(self.exact.0.get(glob).into_iter().flatten());
            found.extend(self.endings_backwards.beginnings_of(&backwards(glob)));
            found.extend(self.beginnings.beginnings_of(glob));
        }
        found
    }

    fn is_rest_of_a_glob(&self, name: &str) -> bool {
        self.beginnings.0.contains_key(name)
            || self.endings_backwards.0.contains_key(&backwards(name))
    }
}

#[derive(Default)]
struct Texts(BTreeMap<String, Vec<usize>>);

impl Texts {
    fn add(&mut self, text: String, group: usize) {
        self.0.entry(text).or_default().push(group);
    }

    fn that_begin_with(&self, beginning: &str) -> impl Iterator<Item = usize> {
        self.0
            .range::<str, _>((Bound::Included(beginning), Bound::Unbounded))
            .take_while(move |(text, _)| text.starts_with(beginning))
            .flat_map(|(_, groups)| groups)
            .copied()
    }

    /// Those that a text begins with, itself left out.
    fn beginnings_of(&self, text: &str) -> impl Iterator<Item = usize> {
        text.char_indices()
            .filter_map(|(end, _)| self.0.get(&text[..end]))
            .flatten()
            .copied()
    }
}

fn backwards(text: &str) -> String {
    text.chars().rev().collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{Names, globs_intersect};

    proptest! {
        #[test]
        fn every_hostname_that_intersects_is_found(
            names in prop::collection::vec(r"[*]?[ab.]{1,4}[*]?", 1..30),
            glob in r"[*][ab.]{0,3}|[ab.]{1,3}[*]?",
        ) {
            let mut index = Names::default();
            for (at, name) in names.iter().enumerate() {
                index.add(name, at);
            }
            let found = index.meeting(&glob);
            for (at, name) in names.iter().enumerate() {
                prop_assert!(!globs_intersect(&glob, name) || found.contains(&at), "{} {}", glob, name);
            }
        }
    }
}
