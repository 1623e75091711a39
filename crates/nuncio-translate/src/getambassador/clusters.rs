//! The clusters of all Mappings: which share one, and what each is called.
//!
//! Emissary gives every Mapping the cluster of the first with the same name; here one with other
//! settings has a cluster of its own, whose name ends in a hash of them.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use nuncio_model::cluster::{Cluster, EndpointSet};
use nuncio_model::{Named, Origin, ResourceId};

use super::cluster::{ClusterSpec, digest};
use super::diagnostics::Upstream;
use super::kept::MappingKey;

/// Who uses a cluster: the first of them is who it is made for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum User {
    /// A group, by its first Mapping, and the place in the group.
    Group(Arc<MappingKey>, usize),
    /// What nobody wrote as a Mapping, in its order. It comes after all Mappings.
    Later(usize),
}

#[derive(Default)]
pub(super) struct Clusters {
    /// By the name that Emissary would give; of one name, each with settings of its own.
    by_name: HashMap<Arc<str>, Vec<Shared>>,
    sets: HashMap<Arc<str>, BTreeMap<User, Arc<ClusterSpec>>>,
    touched: BTreeSet<Arc<str>>,
    touched_sets: BTreeSet<Arc<str>>,
    later: Vec<(User, Arc<ClusterSpec>)>,
    made: Named<Cluster>,
    endpoints: Named<EndpointSet>,
    /// What each was made for, for the diagnostics.
    upstreams: Named<Upstream>,
    /// How many clusters each resolver finds the addresses of.
    resolvers: BTreeMap<Arc<str>, usize>,
}

/// One cluster.
struct Shared {
    name: Arc<str>,
    /// Never empty.
    users: BTreeMap<User, Arc<ClusterSpec>>,
}

impl Shared {
    fn first(&self) -> (&User, &Arc<ClusterSpec>) {
        let first = self.users.first_key_value();
        first.expect("invariant: somebody uses it")
    }
}

impl Clusters {
    pub(super) fn add(&mut self, user: &User, spec: &Arc<ClusterSpec>) {
        if let Some(set) = &spec.endpoints {
            let users = self.sets.entry(Arc::clone(&set.name)).or_default();
            users.insert(user.clone(), Arc::clone(spec));
            self.touched_sets.insert(Arc::clone(&set.name));
        }
        self.touched.insert(Arc::clone(&spec.name));
        let clusters = self.by_name.entry(Arc::clone(&spec.name)).or_default();
        let same = |shared: &&mut Shared| same_settings(&shared.first().1.cluster, &spec.cluster);
        let users = match clusters.iter_mut().find(same) {
            Some(shared) => &mut shared.users,
            None => {
                clusters.push(Shared {
                    name: Arc::clone(&spec.name),
                    users: BTreeMap::new(),
                });
                let last = clusters.last_mut();
                &mut last.expect("invariant: one was just added").users
            }
        };
        users.insert(user.clone(), Arc::clone(spec));
    }

    pub(super) fn remove(&mut self, user: &User, spec: &ClusterSpec) {
        if let Some(set) = &spec.endpoints
            && let Some(users) = self.sets.get_mut(&set.name)
        {
            users.remove(user);
            if users.is_empty() {
                self.sets.remove(&set.name);
            }
            self.touched_sets.insert(Arc::clone(&set.name));
        }
        if let Some(clusters) = self.by_name.get_mut(&spec.name) {
            for shared in clusters.iter_mut() {
                shared.users.remove(user);
            }
            clusters.retain(|shared| !shared.users.is_empty());
            if clusters.is_empty() {
                self.by_name.remove(&spec.name);
            }
            self.touched.insert(Arc::clone(&spec.name));
        }
    }

    /// Forgets what was not written as a Mapping.
    pub(super) fn without_later(&mut self) {
        for (user, spec) in std::mem::take(&mut self.later) {
            self.remove(&user, &spec);
        }
    }

    /// Gives names to clusters whose users are others now; returns the users whose cluster has
    /// another name than before.
    pub(super) fn rename(&mut self) -> Vec<User> {
        let mut renamed = Vec::new();
        for name in &self.touched {
            if let Some(clusters) = self.by_name.get_mut(name) {
                give_names(name, clusters, &mut renamed);
            }
        }
        renamed
    }

    /// The name of a user's cluster.
    pub(super) fn name(&self, user: &User, spec: &ClusterSpec) -> Arc<str> {
        let clusters = self.by_name.get(&spec.name).into_iter().flatten();
        let mut clusters = clusters.filter(|shared| shared.users.contains_key(user));
        let shared = clusters.next().expect("invariant: the user was added");
        Arc::clone(&shared.name)
    }

    /// The name of the cluster of what nobody wrote as a Mapping.
    pub(super) fn name_later(&mut self, spec: &Arc<ClusterSpec>) -> Arc<str> {
        let user = User::Later(self.later.len());
        self.add(&user, spec);
        self.later.push((user.clone(), Arc::clone(spec)));
        if let Some(clusters) = self.by_name.get_mut(&spec.name) {
            give_names(&spec.name, clusters, &mut Vec::new());
        }
        self.name(&user, spec)
    }

    /// Makes what is used now. What is as it was stays what it was.
    pub(super) fn finish(&mut self) {
        for set in std::mem::take(&mut self.touched_sets) {
            let users = self
                .sets
                .get(&set)
                .and_then(|users| users.first_key_value());
            match users.and_then(|(_, spec)| spec.endpoints.as_ref()) {
                Some(now) if self.endpoints.get(&set).is_some_and(|set| **set == *now) => {}
                Some(now) => {
                    self.endpoints.insert(set, Arc::new(now.clone()));
                }
                None => {
                    self.endpoints.remove(&set);
                }
            }
        }
        for name in std::mem::take(&mut self.touched) {
            let plain = self.made.get_key_value(&name).map(|(name, _)| name);
            let hashed: Arc<str> = format!("{name}{HASH}").into();
            let hashes = self.made.range::<_, Arc<str>>(Arc::clone(&hashed)..);
            let hashes = hashes
                .map(|(name, _)| name)
                .take_while(|found| found.starts_with(&*hashed))
                // Names that are cut end in a longer one.
                .filter(|found| found.len() == hashed.len() + HASH_LENGTH);
            let former: Vec<Arc<str>> = plain.into_iter().chain(hashes).map(Arc::clone).collect();
            let clusters = self.by_name.get(&name).into_iter().flatten();
            let now: BTreeMap<Arc<str>, Arc<ClusterSpec>> = clusters
                .map(|shared| (Arc::clone(&shared.name), Arc::clone(shared.first().1)))
                .collect();
            for name in former.iter().filter(|name| !now.contains_key(*name)) {
                self.made.remove(name);
                if let Some(upstream) = self.upstreams.remove(name) {
                    self.release_resolver(&upstream.resolver);
                }
            }
            for (name, spec) in now {
                self.keep(name, &spec);
            }
        }
    }

    fn keep(&mut self, name: Arc<str>, spec: &ClusterSpec) {
        let cluster = Cluster {
            name: Arc::clone(&name),
            ..spec.cluster.clone()
        };
        if self.made.get(&name).is_none_or(|made| **made != cluster) {
            self.made.insert(Arc::clone(&name), Arc::new(cluster));
        }
        let upstream = Upstream {
            service: spec.service.clone(),
            host: spec.host.clone(),
            port: spec.port,
            resolver: Arc::clone(&spec.resolver),
        };
        let former = self.upstreams.get(&name);
        if former.is_none_or(|former| **former != upstream) {
            let resolver = Arc::clone(&upstream.resolver);
            *self.resolvers.entry(resolver).or_default() += 1;
            if let Some(former) = self.upstreams.insert(name, Arc::new(upstream)) {
                self.release_resolver(&former.resolver);
            }
        }
    }

    fn release_resolver(&mut self, name: &Arc<str>) {
        if let Some(clusters) = self.resolvers.get_mut(name) {
            *clusters -= 1;
            if *clusters == 0 {
                self.resolvers.remove(name);
            }
        }
    }

    pub(super) fn made(&self) -> &Named<Cluster> {
        &self.made
    }

    pub(super) fn endpoints(&self) -> &Named<EndpointSet> {
        &self.endpoints
    }

    pub(super) fn upstreams(&self) -> &Named<Upstream> {
        &self.upstreams
    }

    /// Those that are used, in the order of their names.
    pub(super) fn resolvers(&self) -> impl Iterator<Item = &Arc<str>> {
        self.resolvers.keys()
    }
}

/// The first has the name as it is.
fn give_names(name: &Arc<str>, clusters: &mut [Shared], renamed: &mut Vec<User>) {
    let first = clusters.iter().map(Shared::first).map(|(user, _)| user);
    let first = first.min().cloned();
    for shared in clusters {
        let (user, spec) = shared.first();
        let given = if Some(user) == first.as_ref() {
            Arc::clone(name)
        } else {
            let settings = Cluster {
                origin: Origin::new(Arc::new(ResourceId::new("", "", "", ""))),
                ..spec.cluster.clone()
            };
            let hash = digest(&format!("{settings:?}"));
            format!("{name}{HASH}{}", &hash[..HASH_LENGTH]).into()
        };
        if given != shared.name {
            shared.name = given;
            renamed.extend(shared.users.keys().cloned());
        }
    }
}

const HASH: &str = "-";
const HASH_LENGTH: usize = 8;

/// Equal in all but their names and whom they are made for.
fn same_settings(one: &Cluster, other: &Cluster) -> bool {
    let Cluster {
        name: _,
        origin: _,
        alt_stat_name,
        discovery,
        connect_timeout,
        lb_policy,
        circuit_breakers,
        protocol,
        header_case,
        tls,
        idle_timeout,
        max_connection_duration,
        keepalive,
        health_checks,
        outlier_detection,
    } = one;
    *alt_stat_name == other.alt_stat_name
        && *discovery == other.discovery
        && *connect_timeout == other.connect_timeout
        && *lb_policy == other.lb_policy
        && *circuit_breakers == other.circuit_breakers
        && *protocol == other.protocol
        && *header_case == other.header_case
        && *tls == other.tls
        && *idle_timeout == other.idle_timeout
        && *max_connection_duration == other.max_connection_duration
        && *keepalive == other.keepalive
        && *health_checks == other.health_checks
        && *outlier_detection == other.outlier_detection
}
