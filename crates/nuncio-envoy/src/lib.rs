//! From the model to Envoy: one encoder for each kind of resource, and the bootstrap.
//!
//! The only code that knows protobuf. Encoders cannot fail: the model's values are checked. Each is
//! a function of one model object, so that a change costs one resource. Messages live only while
//! they are encoded; what stays is bytes.

pub mod bootstrap;
mod cluster;
mod endpoints;
mod error_response;
mod filter;
mod health;
mod listener;
mod log;
mod matcher;
mod proto;
mod quic;
mod rbac;
mod ready;
mod route;
mod runtime;
mod secret;
mod static_config;
mod statistics;
mod table;
mod tls;

use std::sync::Arc;

use bytes::Bytes;
use nuncio_envoy_api::json;
use nuncio_envoy_api::resource::{Resource, ResourceType, Snapshot};
use nuncio_model::Gateway;
use nuncio_model::route::Route;
use prost::Message;
use serde_json::Value;

/// The Envoy whose API and behaviour the encoders are written and tested against.
pub const ENVOY_VERSION: &str = "1.40";

pub use bootstrap::{BootstrapConfig, RemoteXds, StatsFormat, StatsSink, XdsServer};
pub use cluster::cluster;
pub use endpoints::cluster_load_assignment;
pub use filter::extension_config;
pub use listener::listener;
pub use ready::ready;
pub use runtime::{LAYER as RUNTIME_LAYER, runtime};
pub use secret::secret;
pub use static_config::StaticConfig;
pub use table::{RouteSearch, route_configuration, route_configuration_with};

/// Encodes everything.
pub fn encode(gateway: &Gateway) -> Snapshot {
    let mut snapshot = Snapshot::default();
    let mut insert = |resource_type, name: &Arc<str>, resource| {
        snapshot.insert(resource_type, Arc::clone(name), Arc::new(resource));
    };
    let runtime = runtime(&gateway.runtime);
    insert(ResourceType::Runtime, &RUNTIME_LAYER.into(), runtime);
    for (name, each) in &*gateway.clusters {
        insert(ResourceType::Cluster, name, cluster(each));
    }
    for (name, each) in &*gateway.endpoints {
        let resource = cluster_load_assignment(each);
        insert(ResourceType::ClusterLoadAssignment, name, resource);
    }
    for (name, each) in &*gateway.secrets {
        insert(ResourceType::Secret, name, secret(each));
    }
    for (name, each) in &*gateway.filters {
        insert(ResourceType::ExtensionConfig, name, extension_config(each));
    }
    for (name, each) in &*gateway.listeners {
        insert(ResourceType::Listener, name, listener(each));
    }
    if let Some(each) = &gateway.ready {
        insert(ResourceType::Listener, &each.name().into(), ready(each));
    }
    for (name, each) in &*gateway.route_tables {
        let resource = route_configuration(each);
        insert(ResourceType::RouteConfiguration, name, resource);
    }
    snapshot
}

/// One route in Envoy's words, as people write them.
pub fn route_json(each: &Route) -> Result<Value, json::Error> {
    let any = nuncio_envoy_api::pack(&route::route(each));
    json::body_to_json(&any.type_url, &any.value)
}

fn resource(message: &impl Message) -> Resource {
    Resource::new(Bytes::from(message.encode_to_vec()))
}
