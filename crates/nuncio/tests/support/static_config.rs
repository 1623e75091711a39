//! Many snapshots as one static configuration, for Envoy to validate at once.

#![allow(clippy::unwrap_used)]

use std::process::Command;

use nuncio_envoy::StaticConfig;
use nuncio_envoy_api::resource::Snapshot;
use serde_json::Value;

#[derive(Default)]
pub(crate) struct Together(StaticConfig);

impl Together {
    /// Adds all of a snapshot, its names behind a tag, its listeners on ports of their own.
    pub(crate) fn add(&mut self, tag: &str, snapshot: &Snapshot) {
        let mut config = StaticConfig::new(snapshot);
        for listener in &mut config.listeners {
            let port = 20_000 + self.0.listeners.len();
            listener["address"]["socket_address"]["port_value"] = port.into();
            tag_name(listener, tag);
            tag_secrets(listener, tag);
            tag_collectors(listener, tag);
            self.0.listeners.push(listener.take());
        }
        for cluster in &mut config.clusters {
            tag_secrets(cluster, tag);
        }
        for (all, own) in [
            (&mut self.0.clusters, config.clusters),
            (&mut self.0.secrets, config.secrets),
            (&mut self.0.layers, config.layers),
        ] {
            all.extend(own.into_iter().map(|mut resource| {
                tag_name(&mut resource, tag);
                resource
            }));
        }
    }

    /// Envoy's words, if it refuses anything.
    pub(crate) fn validate(self) -> Result<(), String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("envoy.yaml");
        let bootstrap = self.0.bootstrap(1, None);
        std::fs::write(&path, nuncio::render::yaml(&bootstrap)).unwrap();
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

fn tag_name(resource: &mut Value, tag: &str) {
    let name = resource["name"].as_str().unwrap();
    resource["name"] = format!("{tag}-{name}").into();
}

/// Envoy looks for the cluster of a collector while it reads the listener.
fn tag_collectors(value: &mut Value, tag: &str) {
    match value {
        Value::Object(fields) => {
            if let Some(Value::String(cluster)) = fields.get_mut("collector_cluster") {
                cluster.insert_str(0, &format!("{tag}-"));
            }
            fields
                .values_mut()
                .for_each(|value| tag_collectors(value, tag));
        }
        Value::Array(items) => items
            .iter_mut()
            .for_each(|value| tag_collectors(value, tag)),
        _ => {}
    }
}

fn tag_secrets(value: &mut Value, tag: &str) {
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                match (name.as_str(), &mut *value) {
                    ("tls_certificate_sds_secret_configs", Value::Array(secrets)) => {
                        secrets.iter_mut().for_each(|secret| tag_name(secret, tag));
                    }
                    ("validation_context_sds_secret_config", secret) => tag_name(secret, tag),
                    _ => tag_secrets(value, tag),
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|value| tag_secrets(value, tag)),
        _ => {}
    }
}
