//! Everything in one file, which an Envoy runs without nuncio.
//!
//! Made of the encoded resources, so that it says what the served ones say: what they refer to
//! stands in the place of the reference.

use std::net::{Ipv4Addr, SocketAddr};

use nuncio_envoy_api::json::body_to_json;
use nuncio_envoy_api::resource::{ResourceType, Snapshot};
use serde_json::{Map, Value, json};

use crate::RUNTIME_LAYER;
use crate::bootstrap::{limits, own_layer};

/// The resources of a static configuration, in protobuf's JSON form.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct StaticConfig {
    pub listeners: Vec<Value>,
    pub clusters: Vec<Value>,
    pub secrets: Vec<Value>,
    /// Layers of the runtime, above the bootstrap's own.
    pub layers: Vec<Value>,
}

impl StaticConfig {
    /// All of a snapshot, in the order of its names.
    pub fn new(snapshot: &Snapshot) -> Self {
        let all = |resource_type, inlined: fn(&mut Value, &Snapshot)| {
            let names = snapshot.of(resource_type).keys();
            let resource = |name| {
                let mut resource = json_of(snapshot, resource_type, name);
                inlined(&mut resource, snapshot);
                resource
            };
            names.map(|name| resource(name)).collect::<Vec<_>>()
        };
        let layers = all(ResourceType::Runtime, |_, _| {});
        Self {
            listeners: all(ResourceType::Listener, inline),
            clusters: all(ResourceType::Cluster, |cluster, snapshot| {
                inline_assignment(cluster, snapshot);
                inline(cluster, snapshot);
            }),
            secrets: all(ResourceType::Secret, |_, _| {}),
            layers: layers
                .into_iter()
                .filter(|runtime| runtime["layer"] != json!({}))
                .map(|runtime| json!({ "name": RUNTIME_LAYER, "static_layer": runtime["layer"] }))
                .collect(),
        }
    }

    /// The whole file: the resources with the limits of the process that a bootstrap has, and the
    /// admin interface on a port of the loopback address if one is asked for.
    pub fn bootstrap(self, max_downstream_connections: u64, admin_port: Option<u16>) -> Value {
        let mut bootstrap = limits(None, max_downstream_connections);
        let mut layers = vec![own_layer()];
        layers.extend(self.layers);
        bootstrap.insert("layered_runtime".to_owned(), json!({ "layers": layers }));
        bootstrap.insert(
            "static_resources".to_owned(),
            json!({
                "listeners": self.listeners,
                "clusters": self.clusters,
                "secrets": self.secrets,
            }),
        );
        if let Some(port) = admin_port {
            let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
            bootstrap.insert(
                "admin".to_owned(),
                json!({
                    "address": {
                        "socket_address": {
                            "address": address.ip(),
                            "port_value": address.port()
                        }
                    }
                }),
            );
        }
        Value::Object(bootstrap)
    }
}

fn json_of(snapshot: &Snapshot, resource_type: ResourceType, name: &str) -> Value {
    let resource = &snapshot.of(resource_type)[name];
    body_to_json(resource_type.type_url(), &resource.body)
        .expect("invariant: a resource is an encoded message of its type")
}

/// The name at a key, which encoders always write.
fn name_at(fields: &Map<String, Value>, key: &str) -> String {
    let name = fields.get(key).and_then(Value::as_str);
    name.expect("invariant: what is referred to is named")
        .to_owned()
}

fn inline_assignment(cluster: &mut Value, snapshot: &Snapshot) {
    let Some(fields) = cluster.as_object_mut() else {
        return;
    };
    if let Some(Value::Object(eds)) = fields.remove("eds_cluster_config") {
        let name = name_at(&eds, "service_name");
        let assignment = json_of(snapshot, ResourceType::ClusterLoadAssignment, &name);
        fields.insert("type".to_owned(), "STATIC".into());
        fields.insert("load_assignment".to_owned(), assignment);
    }
}

/// Puts route tables and filters in place; secrets stay apart, and are named.
fn inline(value: &mut Value, snapshot: &Snapshot) {
    match value {
        Value::Object(fields) => {
            if let Some(Value::Object(rds)) = fields.remove("rds") {
                let name = name_at(&rds, "route_config_name");
                let table = json_of(snapshot, ResourceType::RouteConfiguration, &name);
                fields.insert("route_config".to_owned(), table);
            }
            if fields.remove("config_discovery").is_some() {
                let name = name_at(fields, "name");
                let mut filter = json_of(snapshot, ResourceType::ExtensionConfig, &name);
                fields.insert("typed_config".to_owned(), filter["typed_config"].take());
            }
            // Without a source it is a static secret.
            fields.remove("sds_config");
            fields
                .values_mut()
                .for_each(|value| inline(value, snapshot));
        }
        Value::Array(items) => items.iter_mut().for_each(|value| inline(value, snapshot)),
        _ => {}
    }
}
