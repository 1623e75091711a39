//! Encoded resources, as they travel from the encoders to Envoy.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use imbl::OrdMap;

/// The types of resource that nuncio serves, in the order in which a change is sent: what is
/// referred to goes before what refers to it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum ResourceType {
    /// RTDS: a layer of Envoy's runtime. Envoy waits for it before it asks for anything else.
    Runtime,
    Cluster,
    ClusterLoadAssignment,
    Secret,
    /// ECDS: the configuration of a filter, which a listener names.
    ExtensionConfig,
    Listener,
    RouteConfiguration,
}

impl ResourceType {
    pub const ALL: [Self; 7] = [
        Self::Runtime,
        Self::Cluster,
        Self::ClusterLoadAssignment,
        Self::Secret,
        Self::ExtensionConfig,
        Self::Listener,
        Self::RouteConfiguration,
    ];

    pub const fn type_url(self) -> &'static str {
        match self {
            Self::Runtime => "type.googleapis.com/envoy.service.runtime.v3.Runtime",
            Self::Cluster => "type.googleapis.com/envoy.config.cluster.v3.Cluster",
            Self::ClusterLoadAssignment => {
                "type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment"
            }
            Self::Secret => "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret",
            Self::ExtensionConfig => {
                "type.googleapis.com/envoy.config.core.v3.TypedExtensionConfig"
            }
            Self::Listener => "type.googleapis.com/envoy.config.listener.v3.Listener",
            Self::RouteConfiguration => {
                "type.googleapis.com/envoy.config.route.v3.RouteConfiguration"
            }
        }
    }

    pub fn from_type_url(type_url: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|t| t.type_url() == type_url)
    }

    /// The message's own name, without its package.
    pub fn short_name(self) -> &'static str {
        self.type_url()
            .rsplit_once('.')
            .map_or(self.type_url(), |(_, name)| name)
    }
}

impl fmt::Display for ResourceType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.short_name())
    }
}

/// One resource: its bytes, and a version that depends on nothing else.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Resource {
    /// A hash of `body`, in hexadecimal.
    pub version: Arc<str>,
    /// The encoded message, without its `Any`.
    pub body: Bytes,
    /// What Envoy asks for once it has this one, and waits for before it uses it: an EDS cluster's
    /// assignment, a listener's filter configurations, route tables and certificates.
    pub requires: Vec<(ResourceType, Arc<str>)>,
}

impl Resource {
    pub fn new(body: Bytes) -> Self {
        Self {
            version: format!("{:016x}", xxhash_rust::xxh3::xxh3_64(&body)).into(),
            body,
            requires: Vec::new(),
        }
    }
}

/// The resources of one type, by name. Two that differ in a few share all others.
pub type Resources = OrdMap<Arc<str>, Arc<Resource>>;

/// Everything that Envoy is to have, by type and name.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Snapshot {
    types: [Resources; ResourceType::ALL.len()],
}

impl Snapshot {
    pub fn of(&self, resource_type: ResourceType) -> &Resources {
        &self.types[resource_type as usize]
    }

    pub fn insert(&mut self, resource_type: ResourceType, name: Arc<str>, resource: Arc<Resource>) {
        self.types[resource_type as usize].insert(name, resource);
    }

    pub fn remove(&mut self, resource_type: ResourceType, name: &str) {
        self.types[resource_type as usize].remove(name);
    }

    pub fn len(&self) -> usize {
        self.types.iter().map(Resources::len).sum()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

#[cfg(test)]
mod tests {
    use imbl::ordmap::DiffItem;
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// What is sent to Envoy is what a comparison finds.
        #[test]
        fn a_comparison_misses_nothing(
            first in prop::collection::vec(any::<u8>(), 0..200),
            changes in prop::collection::vec((any::<u8>(), any::<bool>()), 0..6),
        ) {
            let resource = |text: &str| Arc::new(Resource::new(text.to_owned().into()));
            let name = |n: &u8| Arc::<str>::from(n.to_string());
            let old: Resources = first.iter().map(|n| (name(n), resource("old"))).collect();
            let mut new = old.clone();
            for (n, present) in &changes {
                match present {
                    true => new.insert(name(n), resource("new")),
                    false => new.remove(&name(n)),
                };
            }
            let mut applied = old.clone();
            for difference in old.diff(&new) {
                match difference {
                    DiffItem::Add(name, now) | DiffItem::Update { new: (name, now), .. } => {
                        applied.insert(Arc::clone(name), Arc::clone(now));
                    }
                    DiffItem::Remove(name, _) => {
                        applied.remove(name);
                    }
                }
            }
            prop_assert_eq!(applied, new);
        }
    }
}
