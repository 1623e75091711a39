//! `errors` and `notices`: the report.

use nuncio_model::Severity;
use serde::Serialize;
use serde_json::{Value, json};

use super::scene::Scene;

/// `[key, text]`, the key being Emissary's of the resource: `<name>.<namespace>.<n>`.
#[derive(Serialize)]
pub(super) struct Error(String, String);

pub(super) fn errors(scene: &Scene) -> Vec<Error> {
    let entries = scene.report.entries().iter();
    entries
        .filter(|entry| entry.severity == Severity::Error)
        .map(|entry| {
            let id = &entry.resource;
            // A resource that could not be read has no key yet, and a file never has one.
            let key = match scene.served.keys.get(id) {
                Some(key) => key.clone(),
                None if id.namespace.is_empty() => id.name.to_string(),
                None => format!("{}.{}.1", id.name, id.namespace),
            };
            Error(key, entry.to_string())
        })
        .collect()
}

pub(super) fn notices(scene: &Scene) -> Vec<Value> {
    let entries = scene.report.entries().iter();
    let refused = scene
        .level_refused
        .then(|| json!({ "level": "WARNING", "message": "Could not update log level!" }));
    entries
        .filter(|entry| entry.severity != Severity::Error)
        .map(|entry| {
            let warning = entry.severity == Severity::Warning;
            json!({
                "level": if warning { "WARNING" } else { "NOTICE" },
                "message": entry.to_string(),
            })
        })
        .chain(refused)
        .collect()
}
