//! The resources themselves: where each is from, what it says, and what Envoy was told of it.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use nuncio_envoy_api::json::body_to_json;
use nuncio_envoy_api::resource::ResourceType;
use nuncio_model::ResourceId;
use nuncio_translate::Element;
use serde::Serialize;
use serde_json::Value;

use super::document::{About, Document};
use super::scene::Scene;

/// What stands in place of a Secret: nothing of it is ever shown.
const ELIDED: &str = "kind: Secret\ndata: (elided by Ambassador)\n";

#[derive(Serialize)]
pub(super) struct ElementInfo<'a> {
    kind: &'a str,
    location: &'a str,
    parent: &'a str,
    serialization: String,
}

/// Keys of resources by the keys that stand for them: their own, and without its number.
pub(super) fn sources(scene: &Scene) -> BTreeMap<&str, BTreeSet<&str>> {
    let mut sources: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for element in scene.served.elements.iter() {
        let rkey = element.rkey();
        for key in [rkey, unnumbered(rkey)] {
            sources.entry(key).or_default().insert(rkey);
        }
    }
    sources
}

pub(super) fn source_map(scene: &Scene) -> BTreeMap<&str, BTreeMap<&str, bool>> {
    let sources = sources(scene).into_iter();
    sources
        .map(|(key, rkeys)| (key, rkeys.into_iter().map(|rkey| (rkey, true)).collect()))
        .collect()
}

fn unnumbered(rkey: &str) -> &str {
    match rkey.rsplit_once('.') {
        Some((key, number)) if number.bytes().all(|b| b.is_ascii_digit()) => key,
        _ => rkey,
    }
}

/// By key. Resources of different kinds may have one key; Emissary shows the first.
pub(super) fn elements(scene: &Scene) -> BTreeMap<String, ElementInfo<'_>> {
    let mut elements = BTreeMap::new();
    for element in scene.served.elements.iter() {
        elements
            .entry(element.rkey().to_owned())
            .or_insert_with(|| {
                let parent = unnumbered(element.rkey());
                ElementInfo {
                    kind: &element.id().kind,
                    location: parent,
                    parent,
                    serialization: serialization(&**element),
                }
            });
    }
    for secret in scene.served.gateway.secrets.values() {
        let id = &secret.origin.resource;
        if &*id.kind == "Secret" {
            let key = format!("{}.{}.1", id.name, id.namespace);
            elements.entry(key).or_insert_with(|| ElementInfo {
                kind: &id.kind,
                location: &id.name,
                parent: &id.name,
                serialization: ELIDED.to_owned(),
            });
        }
    }
    elements
}

pub(super) fn serialization(element: &dyn Element) -> String {
    serde_saphyr::to_string(&element.manifest()).expect("invariant: keys of maps are strings")
}

/// What the resources say that an answer is about; nothing where it is about everything.
pub(super) fn serializations<'a>(document: &Document<'a>) -> BTreeMap<&'a str, String> {
    if matches!(document.about, About::Everything) {
        return BTreeMap::new();
    }
    let active = document.active_elements();
    let elements = document.scene.served.elements.iter();
    elements
        .filter(|element| active.contains(element.rkey()))
        .map(|element| (element.rkey(), serialization(&**element)))
        .collect()
}

pub(super) fn envoy_resources<'a>(document: &Document<'a>) -> EnvoyElements<'a> {
    match document.about {
        About::Everything => EnvoyElements::new(),
        _ => envoy_elements(document.scene, Some(&document.active_elements())),
    }
}

/// By key and kind.
pub(super) type EnvoyElements<'a> = BTreeMap<&'a str, BTreeMap<&'static str, Vec<Value>>>;

/// What Envoy was told, by the resource that it came of, of all or only these.
pub(super) fn envoy_elements<'a>(
    scene: &'a Scene,
    only: Option<&BTreeSet<&str>>,
) -> EnvoyElements<'a> {
    let keys: HashMap<&ResourceId, &str> = scene
        .served
        .elements
        .iter()
        .map(|element| (&**element.id(), element.rkey()))
        .filter(|(_, rkey)| only.is_none_or(|only| only.contains(rkey)))
        .collect();
    let key_of = |id: &ResourceId| keys.get(id).copied();
    let gateway = &scene.served.gateway;
    let mut elements = EnvoyElements::new();
    let mut add = |key, kind, value| {
        let element: &mut BTreeMap<_, Vec<Value>> = elements.entry(key).or_default();
        element.entry(kind).or_default().push(value);
    };
    let mut seen = HashSet::new();
    let tables = gateway.route_tables.values();
    let routes = tables.flat_map(|table| {
        let routes = table.virtual_hosts.iter().flat_map(|host| &host.routes);
        routes.map(move |route| (route, &table.asks))
    });
    for (route, asks) in routes {
        if let Some(key) = key_of(&route.origin.resource)
            && seen.insert(Arc::as_ptr(route))
            && let Ok(json) = nuncio_envoy::route_json(route, asks)
        {
            add(key, "route", json);
        }
    }
    let clusters = gateway.clusters.values();
    let clusters = clusters.map(|of| (&of.name, &of.origin, "cluster", ResourceType::Cluster));
    let listeners = gateway.listeners.values();
    let listeners = listeners.map(|of| (&of.name, &of.origin, "listener", ResourceType::Listener));
    for (name, origin, kind, resource_type) in clusters.chain(listeners) {
        if let Some(key) = key_of(&origin.resource)
            && let Some(resource) = scene.served.snapshot.of(resource_type).get(name)
            && let Ok(json) = body_to_json(resource_type.type_url(), &resource.body)
        {
            add(key, kind, json);
        }
    }
    elements
}
