//! From the model to Envoy: one encoder for each kind of resource, and the bootstrap.
//!
//! The only code that knows protobuf. Encoders cannot fail: the model's values are checked. Each is
//! a function of one model object, so that a change costs one resource. Messages live only while
//! they are encoded; what stays is bytes.

pub mod bootstrap;
mod cluster;
mod datagrams;
mod encoded;
mod endpoints;
mod error_response;
mod external;
mod filter;
mod health;
mod inquiry;
mod listener;
mod log;
mod matcher;
mod proto;
mod quic;
mod rbac;
mod ready;
mod route;
mod route_authorization;
mod runtime;
mod secret;
mod session;
mod static_config;
mod statistics;
mod table;
mod tls;
mod tracing;

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use imbl::ordmap::DiffItem;
use nuncio_envoy_api::json;
use nuncio_envoy_api::resource::{Resource, ResourceType, Snapshot};
use nuncio_model::external::Asks;
use nuncio_model::route::Route;
use nuncio_model::{Gateway, Named};
use prost::Message;
use rayon::prelude::*;
use serde_json::Value;

/// The Envoy whose API and behaviour the encoders are written and tested against.
pub const ENVOY_VERSION: &str = "1.40";

pub use bootstrap::{BootstrapConfig, RemoteXds, StatsFormat, StatsSink, XdsServer};
pub use cluster::cluster;
pub use datagrams::datagram_listener;
pub use endpoints::cluster_load_assignment;
pub use filter::extension_config;
pub use inquiry::inquiry;
pub use listener::{listener, port_of_listener};
pub use ready::ready;
pub use runtime::{LAYER as RUNTIME_LAYER, runtime};
pub use secret::secret;
pub use static_config::StaticConfig;
pub use table::{RouteSearch, route_configuration_with};

/// Encodes everything.
pub fn encode(gateway: &Gateway) -> Snapshot {
    Encoder::default().encode(gateway)
}

/// Encodes one gateway after the other, each time what is another than the last time.
#[derive(Default)]
pub struct Encoder {
    gateway: Gateway,
    snapshot: Snapshot,
    tables: BTreeMap<Arc<str>, table::Memory>,
}

impl Encoder {
    /// As [`encode`] does.
    pub fn encode(&mut self, gateway: &Gateway) -> Snapshot {
        let (old, snapshot) = (&self.gateway, &mut self.snapshot);
        changes(
            ResourceType::Cluster,
            &old.clusters,
            &gateway.clusters,
            snapshot,
            cluster,
        );
        let kind = ResourceType::ClusterLoadAssignment;
        changes(
            kind,
            &old.endpoints,
            &gateway.endpoints,
            snapshot,
            cluster_load_assignment,
        );
        changes(
            ResourceType::Secret,
            &old.secrets,
            &gateway.secrets,
            snapshot,
            secret,
        );
        let kind = ResourceType::ExtensionConfig;
        changes(
            kind,
            &old.filters,
            &gateway.filters,
            snapshot,
            extension_config,
        );
        changes(
            ResourceType::Listener,
            &old.listeners,
            &gateway.listeners,
            snapshot,
            listener,
        );
        changes(
            ResourceType::Listener,
            &old.datagram_listeners,
            &gateway.datagram_listeners,
            snapshot,
            datagram_listener,
        );

        let mut insert = |resource_type, name: &Arc<str>, resource: Resource| {
            let known = snapshot.of(resource_type).get(name);
            if known.is_none_or(|known| known.version != resource.version) {
                snapshot.insert(resource_type, Arc::clone(name), Arc::new(resource));
            }
        };
        let runtime = runtime(&gateway.runtime);
        insert(ResourceType::Runtime, &RUNTIME_LAYER.into(), runtime);
        if let Some(each) = &gateway.ready {
            insert(ResourceType::Listener, &each.name().into(), ready(each));
        }
        for (name, each) in &gateway.route_tables {
            let known = old.route_tables.get(name);
            if known.is_some_and(|known| Arc::ptr_eq(known, each)) {
                continue;
            }
            let memory = self.tables.entry(Arc::clone(name)).or_default();
            let resource = table::route_configuration(memory, each);
            insert(ResourceType::RouteConfiguration, name, resource);
        }
        for name in old.route_tables.keys() {
            if !gateway.route_tables.contains_key(name) {
                self.tables.remove(name);
                snapshot.remove(ResourceType::RouteConfiguration, name);
            }
        }
        self.gateway = gateway.clone();
        snapshot.clone()
    }
}

/// Fewer are encoded by one core: another costs as much.
const FEW: usize = 64;

/// Encodes what is not as it was.
fn changes<T: PartialEq + Send + Sync>(
    kind: ResourceType,
    old: &Named<T>,
    new: &Named<T>,
    snapshot: &mut Snapshot,
    encode: impl Fn(&T) -> Resource + Sync,
) {
    let mut changed = Vec::new();
    for difference in old.diff(new) {
        match difference {
            DiffItem::Add(name, each)
            | DiffItem::Update {
                new: (name, each), ..
            } => changed.push((name, each)),
            DiffItem::Remove(name, _) => snapshot.remove(kind, name),
        }
    }
    let each = changed.par_iter().with_min_len(FEW);
    let encoded: Vec<_> = each.map(|(_, each)| Arc::new(encode(each))).collect();
    for ((name, _), resource) in changed.into_iter().zip(encoded) {
        snapshot.insert(kind, Arc::clone(name), resource);
    }
}

/// One route of a table about whose requests this is asked, in Envoy's words, as people write them.
pub fn route_json(each: &Route, asks: &Asks) -> Result<Value, json::Error> {
    let any = nuncio_envoy_api::pack(&route::route(each, asks));
    json::body_to_json(&any.type_url, &any.value)
}

fn resource(message: &impl Message) -> Resource {
    Resource::new(Bytes::from(message.encode_to_vec()))
}
