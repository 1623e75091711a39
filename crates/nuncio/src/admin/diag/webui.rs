//! `filter=webui`: what Emissary's web interface asks for, and no more.

use std::collections::BTreeMap;

use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::document::Document;
use super::raw;

/// Keys that are there as they are.
const WHOLE: [&str; 7] = [
    "system",
    "source_map",
    "ambassador_services",
    "envoy_status",
    "cluster_stats",
    "loginfo",
    "errors",
];

/// What is there of each route, and of its clusters.
const ROUTE: [&str; 5] = ["diag_class", "key", "headers", "precedence", "clusters"];
const CLUSTER: [&str; 4] = ["_hcolor", "type_label", "service", "weight"];
const RESOLVER: [&str; 2] = ["_source", "kind"];

pub(super) fn trimmed(document: &Document<'_>) -> BTreeMap<&'static str, Box<RawValue>> {
    let mut answer: BTreeMap<_, _> = WHOLE
        .into_iter()
        .map(|key| (key, document.part(key)))
        .collect();
    let mut routes = list(&document.part("route_info"));
    for route in &mut routes {
        keep(route, &ROUTE);
        let clusters = route.get_mut("clusters").and_then(Value::as_array_mut);
        for cluster in clusters.into_iter().flatten() {
            keep(cluster, &CLUSTER);
        }
    }
    let mut resolvers = list(&document.part("ambassador_resolvers"));
    for resolver in &mut resolvers {
        keep(resolver, &RESOLVER);
    }
    answer.insert("route_info", raw(&routes));
    answer.insert("ambassador_resolvers", raw(&resolvers));
    answer
}

fn list(raw: &RawValue) -> Vec<Value> {
    serde_json::from_str(raw.get()).unwrap_or_default()
}

fn keep(value: &mut Value, keys: &[&str]) {
    match value.as_object_mut() {
        Some(fields) => fields.retain(|key, _| keys.contains(&key.as_str())),
        None => *value = json!({}),
    }
}
