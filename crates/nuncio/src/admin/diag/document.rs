//! The answer, key by key: a key that nobody asks for costs nothing.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use nuncio_api::status::Status;
use serde::Serialize;
use serde::ser::{SerializeMap, Serializer};
use serde_json::value::RawValue;

use super::clusters::{self, References};
use super::scene::Scene;
use super::{elements, groups, raw, report, services, system};

/// Emissary's keys, and `ingress_status` and `gateway_status`: what the status of Ingresses says, and that
/// of objects of the Gateway API.
const KEYS: [&str; 21] = [
    "system",
    "envoy_status",
    "loginfo",
    "notices",
    "banner_content",
    "cluster_stats",
    "cluster_info",
    "route_info",
    "active_elements",
    "ambassador_resources",
    "envoy_resources",
    "source_map",
    "ambassador_services",
    "ambassador_resolvers",
    "ambassador_elements",
    "envoy_elements",
    "groups",
    "tlscontexts",
    "errors",
    "ingress_status",
    "gateway_status",
];

/// What an answer is about.
pub(super) enum About<'a> {
    Everything,
    Group(usize),
    TcpGroup,
    Cluster(&'a str),
    /// Resources, by their keys.
    Resources(BTreeSet<&'a str>),
}

pub(super) struct Document<'a> {
    pub(super) scene: &'a Scene,
    pub(super) about: About<'a>,
    pub(super) references: References<'a>,
    pub(super) method: Option<String>,
    pub(super) resource: Option<String>,
}

impl<'a> Document<'a> {
    pub(super) fn new(scene: &'a Scene) -> Self {
        Self {
            scene,
            about: About::Everything,
            references: clusters::references(scene),
            method: None,
            resource: None,
        }
    }

    /// What is known of a group, a cluster or a resource.
    pub(super) fn of_key(scene: &'a Scene, key: &str) -> Option<Self> {
        let inventory = &scene.served.inventory;
        let about = if let Some(id) = key.strip_prefix("grp-") {
            let group = inventory.groups.iter().position(|group| group.id == id);
            let tcp = inventory.tcp_groups.iter().any(|group| group.id == id);
            match group {
                Some(index) => About::Group(index),
                None if tcp => About::TcpGroup,
                None => return None,
            }
        } else if let Some((name, _)) = scene.served.gateway.clusters.get_key_value(key) {
            About::Cluster(name)
        } else {
            let resources = elements::sources(scene).remove(key)?;
            About::Resources(resources)
        };
        Some(Self {
            about,
            ..Self::new(scene)
        })
    }

    /// The value of a key; null where there is no such key.
    pub(super) fn part(&self, key: &str) -> Box<RawValue> {
        let scene = self.scene;
        match key {
            "system" => raw(&system::system(scene)),
            "envoy_status" => raw(&system::envoy_status(scene)),
            "loginfo" => raw(&system::loginfo(scene)),
            "notices" => raw(&report::notices(scene)),
            "banner_content" => raw(&scene.banner),
            "cluster_stats" => raw(&clusters::stats(scene)),
            "cluster_info" => raw(&clusters::info(self)),
            "route_info" => raw(&groups::route_info(self)),
            "active_elements" => raw(&self.active_elements()),
            "ambassador_resources" => raw(&elements::serializations(self)),
            "envoy_resources" => raw(&elements::envoy_resources(self)),
            "source_map" => raw(&elements::source_map(scene)),
            "ambassador_services" => raw(&services::services(scene)),
            "ambassador_resolvers" => raw(&services::resolvers(scene)),
            "ambassador_elements" => raw(&elements::elements(scene)),
            "envoy_elements" => raw(&elements::envoy_elements(scene, None)),
            "groups" => raw(&groups::groups(scene)),
            "tlscontexts" => raw(&services::tls_contexts(scene)),
            "errors" => raw(&report::errors(scene)),
            "ingress_status" => raw(&scene.served.ingress_status),
            "gateway_status" => raw(&gateway_status(scene)),
            "method" => raw(&self.method),
            "resource" => raw(&self.resource),
            _ => raw(&()),
        }
    }

    /// Every key with its value, in Emissary's order.
    pub(super) fn parts(&self) -> impl Iterator<Item = (&'static str, Box<RawValue>)> {
        let whole = matches!(self.about, About::Everything);
        let echoed = ["method", "resource"].into_iter().filter(move |_| !whole);
        KEYS.into_iter()
            .chain(echoed)
            .map(|key| (key, self.part(key)))
    }

    /// Keys of the resources that the answer is about.
    pub(super) fn active_elements(&self) -> BTreeSet<&'a str> {
        let members = |index: usize| self.scene.served.inventory.groups[index].members.iter();
        match &self.about {
            About::Everything => self.references.values().flatten().copied().collect(),
            About::Group(index) => members(*index).map(|member| &*member.rkey).collect(),
            About::TcpGroup => BTreeSet::new(),
            About::Cluster(name) => match self.references.get(name) {
                Some(rkeys) => rkeys.iter().copied().collect(),
                None => BTreeSet::new(),
            },
            About::Resources(rkeys) => rkeys.clone(),
        }
    }

    /// Whether the answer goes into a cluster.
    pub(super) fn has_cluster(&self, name: &str) -> bool {
        match &self.about {
            About::Everything => true,
            About::Cluster(cluster) => *cluster == name,
            About::Group(index) => {
                let group = &self.scene.served.inventory.groups[*index];
                let mut members = group.members.iter();
                members.any(|member| member.cluster.as_deref() == Some(name))
            }
            About::TcpGroup | About::Resources(_) => false,
        }
    }
}

impl Serialize for Document<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        for (key, value) in self.parts() {
            map.serialize_entry(key, &value)?;
        }
        map.end()
    }
}

fn gateway_status(scene: &Scene) -> BTreeMap<String, &Status> {
    let statuses = scene.served.gateway_status.iter();
    statuses
        .map(|(id, status)| (id.to_string(), &**status))
        .collect()
}

/// A map that is looked things up in, by what it borrows.
pub(super) type Index<'a, T> = HashMap<&'a str, T>;
