//! Resources as one static configuration, for Envoy to validate.

#![allow(clippy::unwrap_used)]

use std::path::PathBuf;
use std::process::Command;

use nuncio_envoy_api::json::body_to_json;
use nuncio_envoy_api::resource::{ResourceType, Snapshot};
use serde_json::{Value, json};

#[derive(Default)]
pub(crate) struct StaticConfig {
    listeners: Vec<Value>,
    clusters: Vec<Value>,
    secrets: Vec<Value>,
    /// Of the runtime.
    layers: Vec<Value>,
}

impl StaticConfig {
    /// Adds all of a snapshot, its names behind a tag.
    pub(crate) fn add(&mut self, tag: &str, snapshot: &Snapshot) {
        let json = |t: ResourceType, name: &str| {
            let resource = &snapshot.of(t)[name];
            body_to_json(t.type_url(), &resource.body).unwrap()
        };
        for name in snapshot.of(ResourceType::Listener).keys() {
            let mut listener = json(ResourceType::Listener, name);
            listener["name"] = format!("{tag}-{name}").into();
            listener["address"]["socket_address"]["port_value"] =
                (20_000 + self.listeners.len()).into();
            inline(&mut listener, &json, tag);
            self.listeners.push(listener);
        }
        for name in snapshot.of(ResourceType::Cluster).keys() {
            let mut cluster = json(ResourceType::Cluster, name);
            cluster["name"] = format!("{tag}-{name}").into();
            let fields = cluster.as_object_mut().unwrap();
            if let Some(eds) = fields.remove("eds_cluster_config") {
                let set = eds["service_name"].as_str().unwrap();
                cluster["type"] = "STATIC".into();
                cluster["load_assignment"] = json(ResourceType::ClusterLoadAssignment, set);
            }
            inline(&mut cluster, &json, tag);
            self.clusters.push(cluster);
        }
        for name in snapshot.of(ResourceType::Secret).keys() {
            let mut secret = json(ResourceType::Secret, name);
            secret["name"] = format!("{tag}-{name}").into();
            self.secrets.push(secret);
        }
        for name in snapshot.of(ResourceType::Runtime).keys() {
            let runtime = json(ResourceType::Runtime, name);
            if runtime["layer"] != json!({}) {
                let layer = json!({ "name": tag, "static_layer": runtime["layer"] });
                self.layers.push(layer);
            }
        }
    }

    /// Envoy's words, if it refuses anything.
    pub(crate) fn validate(&self) -> Result<(), String> {
        let folder = tempfile::tempdir().unwrap();
        let bootstrap = nuncio_envoy::bootstrap::bootstrap(&nuncio_envoy::BootstrapConfig {
            node_id: String::new(),
            node_cluster: String::new(),
            xds_socket: PathBuf::new(),
            admin_socket: PathBuf::new(),
            max_heap_bytes: None,
            max_downstream_connections: 1,
            stats_sink: None,
        });
        let own = bootstrap["layered_runtime"]["layers"].as_array().unwrap();
        // What is discovered otherwise stands in the layers.
        let own = own.iter().filter(|layer| layer["rtds_layer"].is_null());
        let layers: Vec<_> = own.chain(&self.layers).collect();
        let bootstrap = json!({
            "static_resources": {
                "listeners": self.listeners,
                "clusters": self.clusters,
                "secrets": self.secrets,
            },
            "layered_runtime": { "layers": layers },
        });
        let path = folder.path().join("envoy.json");
        std::fs::write(&path, bootstrap.to_string()).unwrap();
        let output = Command::new(crate::support::envoy())
            .args(["--mode", "validate", "-l", "error", "-c"])
            .arg(&path)
            .output()
            .unwrap();
        if output.status.success() {
            return Ok(());
        }
        Err(String::from_utf8_lossy(&output.stderr).into_owned())
    }
}

/// Puts route tables, filters and secrets where a static configuration has them.
fn inline(value: &mut Value, json: &dyn Fn(ResourceType, &str) -> Value, tag: &str) {
    match value {
        Value::Object(fields) => {
            if let Some(rds) = fields.remove("rds") {
                let name = rds["route_config_name"].as_str().unwrap();
                let table = json(ResourceType::RouteConfiguration, name);
                fields.insert("route_config".to_owned(), table);
            }
            if fields.remove("config_discovery").is_some() {
                let name = fields["name"].as_str().unwrap();
                let filter = json(ResourceType::ExtensionConfig, name);
                fields.insert("typed_config".to_owned(), filter["typed_config"].clone());
            }
            if let Some(Value::Array(configs)) =
                fields.get_mut("tls_certificate_sds_secret_configs")
            {
                for config in configs {
                    let name = config["name"].as_str().unwrap();
                    *config = json!({ "name": format!("{tag}-{name}") });
                }
            }
            if let Some(config) = fields.get_mut("validation_context_sds_secret_config") {
                let name = config["name"].as_str().unwrap();
                *config = json!({ "name": format!("{tag}-{name}") });
            }
            fields
                .values_mut()
                .for_each(|value| inline(value, json, tag));
        }
        Value::Array(items) => items.iter_mut().for_each(|value| inline(value, json, tag)),
        _ => {}
    }
}
