//! The clusters of all Mappings: which share one, and what each is called.
//!
//! Emissary gives every Mapping the cluster of the first with the same name; here one with other
//! settings has a cluster of its own, whose name ends in a hash of them.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use nuncio_model::cluster::{Cluster, EndpointSet};
use nuncio_model::consul::ConsulService;
use nuncio_model::{Named, Origin, ResourceId};

use super::cluster::{ClusterSpec, digest};
use super::diagnostics::Upstream;
use super::kept::MappingKey;
use crate::few::Few;

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
    by_name: HashMap<Arc<str>, OfName>,
    sets: HashMap<Arc<str>, Few<User, Arc<ClusterSpec>>>,
    touched: BTreeSet<Arc<str>>,
    touched_sets: BTreeSet<Arc<str>>,
    later: Vec<(User, Arc<ClusterSpec>)>,
    made: Named<Cluster>,
    endpoints: Named<EndpointSet>,
    /// What is asked of a Consul, by the names of the sets.
    consul: BTreeMap<Arc<str>, Arc<ConsulService>>,
    /// What each was made for, for the diagnostics.
    upstreams: Named<Upstream>,
    /// How many clusters each resolver finds the addresses of.
    resolvers: BTreeMap<Arc<str>, usize>,
}

/// What Emissary would give one name.
#[derive(Default)]
struct OfName {
    clusters: Vec<Shared>,
    /// The names of those that are made.
    made: Vec<Arc<str>>,
}

/// One cluster.
struct Shared {
    name: Arc<str>,
    /// Never empty.
    users: Few<User, Arc<ClusterSpec>>,
}

impl Shared {
    fn first(&self) -> (&User, &Arc<ClusterSpec>) {
        let first = self.users.first();
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
        let of_name = self.by_name.entry(Arc::clone(&spec.name)).or_default();
        let clusters = &mut of_name.clusters;
        let same = |shared: &&mut Shared| same_settings(&shared.first().1.cluster, &spec.cluster);
        let users = match clusters.iter_mut().find(same) {
            Some(shared) => &mut shared.users,
            None => {
                clusters.push(Shared {
                    name: Arc::clone(&spec.name),
                    users: Few::None,
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
        if let Some(OfName { clusters, .. }) = self.by_name.get_mut(&spec.name) {
            for shared in clusters.iter_mut() {
                shared.users.remove(user);
            }
            clusters.retain(|shared| !shared.users.is_empty());
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
            if let Some(of_name) = self.by_name.get_mut(name) {
                give_names(name, &mut of_name.clusters, &mut renamed);
            }
        }
        renamed
    }

    /// The name of a user's cluster.
    pub(super) fn name(&self, user: &User, spec: &ClusterSpec) -> Arc<str> {
        let of_name = self.by_name.get(&spec.name).into_iter();
        let clusters = of_name.flat_map(|of_name| &of_name.clusters);
        let mut clusters = clusters.filter(|shared| shared.users.contains(user));
        let shared = clusters.next().expect("invariant: the user was added");
        Arc::clone(&shared.name)
    }

    /// The name of the cluster of what nobody wrote as a Mapping.
    pub(super) fn name_later(&mut self, spec: &Arc<ClusterSpec>) -> Arc<str> {
        let user = User::Later(self.later.len());
        self.add(&user, spec);
        self.later.push((user.clone(), Arc::clone(spec)));
        if let Some(of_name) = self.by_name.get_mut(&spec.name) {
            give_names(&spec.name, &mut of_name.clusters, &mut Vec::new());
        }
        self.name(&user, spec)
    }

    /// Makes what is used now. What is as it was stays what it was.
    pub(super) fn finish(&mut self) {
        for set in std::mem::take(&mut self.touched_sets) {
            let users = self.sets.get(&set).and_then(Few::first);
            match users.and_then(|(_, spec)| spec.consul.as_ref()) {
                Some(service) => {
                    self.consul.insert(Arc::clone(&set), Arc::clone(service));
                }
                None => {
                    self.consul.remove(&set);
                }
            }
            match users.and_then(|(_, spec)| spec.endpoints.as_ref()) {
                Some(now) if self.endpoints.get(&set) == Some(now) => {}
                Some(now) => {
                    self.endpoints.insert(set, Arc::clone(now));
                }
                None => {
                    self.endpoints.remove(&set);
                }
            }
        }
        for name in std::mem::take(&mut self.touched) {
            let Some(of_name) = self.by_name.get_mut(&name) else {
                continue;
            };
            let clusters = of_name.clusters.iter();
            let now: Vec<(Arc<str>, Arc<ClusterSpec>)> = clusters
                .map(|shared| (Arc::clone(&shared.name), Arc::clone(shared.first().1)))
                .collect();
            let names = now.iter().map(|(name, _)| Arc::clone(name)).collect();
            let former = std::mem::replace(&mut of_name.made, names);
            if now.is_empty() {
                self.by_name.remove(&name);
            }
            let is_now = |name: &Arc<str>| now.iter().any(|(now, _)| now == name);
            for name in former.iter().filter(|name| !is_now(name)) {
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
        let cluster = match name == spec.name {
            true => Arc::clone(&spec.cluster),
            false => Arc::new(Cluster {
                name: Arc::clone(&name),
                ..Cluster::clone(&spec.cluster)
            }),
        };
        if self.made.get(&name) != Some(&cluster) {
            self.made.insert(Arc::clone(&name), cluster);
        }
        let upstream = &spec.upstream;
        if self.upstreams.get(&name) != Some(upstream) {
            let resolver = Arc::clone(&upstream.resolver);
            *self.resolvers.entry(resolver).or_default() += 1;
            if let Some(former) = self.upstreams.insert(name, Arc::clone(upstream)) {
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

    /// Services that are looked for in a Consul.
    pub(super) fn consul(&self) -> impl Iterator<Item = &Arc<ConsulService>> {
        self.consul.values()
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
                name: "".into(),
                origin: Origin::new(Arc::new(ResourceId::new("", "", "", ""))),
                ..Cluster::clone(&spec.cluster)
            };
            let hash = digest(&format!("{settings:?}"));
            format!("{name}{HASH}{}", &hash[..HASH_LENGTH]).into()
        };
        if given != shared.name {
            shared.name = given;
            renamed.extend(shared.users.iter().map(|(user, _)| user.clone()));
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
