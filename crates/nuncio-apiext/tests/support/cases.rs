//! The objects of the translation cases.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use nuncio_api::getambassador::GROUP;
use nuncio_api::yaml::documents;
use serde_json::Value;

pub(crate) struct Case {
    pub(crate) input: PathBuf,
    /// Those of our group.
    pub(crate) objects: Vec<Value>,
    /// Those that the report has an error about, by [`name`].
    pub(crate) in_error: BTreeSet<String>,
}

pub(crate) fn all() -> Vec<Case> {
    let inputs = inputs().into_iter();
    let cases = inputs.map(|input| Case {
        objects: objects(&input),
        in_error: reported(&input, |entry| entry["severity"] == "error"),
        input,
    });
    cases.collect()
}

/// An object's kind, namespace and name, as reports write them.
pub(crate) fn name(object: &Value) -> String {
    let metadata = &object["metadata"];
    let namespace = metadata["namespace"].as_str().unwrap_or("default");
    let name = metadata["name"].as_str().unwrap_or_default();
    let kind = object["kind"].as_str().unwrap_or_default();
    format!("{kind} {namespace}/{name}")
}

fn inputs() -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/cases")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.ends_with("input.yaml") {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

/// Those of lists too.
fn objects(input: &Path) -> Vec<Value> {
    let documents = documents(&std::fs::read_to_string(input).unwrap()).unwrap_or_default();
    let listed = documents
        .into_iter()
        .flat_map(|document| match document.get("items") {
            Some(Value::Array(items)) => items.clone(),
            _ => vec![document],
        });
    let ours = |object: &Value| {
        let version = object["apiVersion"].as_str().unwrap_or_default();
        // Emissary's schema too refuses a Module that has none.
        let empty = object["kind"] == "Module" && object["spec"].get("config").is_none();
        version.starts_with(&format!("{GROUP}/")) && !empty
    };
    listed.filter(ours).collect()
}

/// The names of the objects that a case's report has such an entry about.
pub(crate) fn reported(input: &Path, wanted: impl Fn(&Value) -> bool) -> BTreeSet<String> {
    let text = std::fs::read_to_string(input.with_file_name("report.yaml")).unwrap();
    let entries = documents(&text).unwrap();
    let entries = entries.iter().filter_map(Value::as_array).flatten();
    let wanted = entries.filter(|entry| wanted(entry));
    wanted
        .map(|entry| entry["resource"].as_str().unwrap().to_owned())
        .collect()
}
