//! One resource in a bootstrap, for an Envoy of its own to say whether it would take it.

use nuncio_envoy_api::json::body_to_json;
use nuncio_envoy_api::resource::{Resource, ResourceType};
use serde_json::{Value, json};

/// The bootstrap of the Envoy that is asked about, with this resource as a static one. What the
/// resource refers to is not in it, as it is not when Envoy takes the resource by xDS. `None` for
/// types that are not checked before something uses them.
pub fn inquiry(
    bootstrap: &Value,
    resource_type: ResourceType,
    resource: &Resource,
) -> Option<Value> {
    let json = body_to_json(resource_type.type_url(), &resource.body)
        .expect("invariant: a resource is an encoded message of its type");
    let (key, json) = match resource_type {
        ResourceType::Cluster => ("clusters", json),
        ResourceType::Listener => ("listeners", json),
        ResourceType::RouteConfiguration => ("listeners", listener_of(json)),
        ResourceType::Runtime
        | ResourceType::ClusterLoadAssignment
        | ResourceType::Secret
        | ResourceType::ExtensionConfig => return None,
    };
    let mut bootstrap = bootstrap.clone();
    match &mut bootstrap["static_resources"][key] {
        Value::Array(all) => all.push(json),
        none => *none = json!([json]),
    }
    Some(bootstrap)
}

/// A listener with nothing but a route table, whose clusters nobody looks for.
fn listener_of(mut table: Value) -> Value {
    table["validate_clusters"] = false.into();
    let router = "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router";
    let manager = "type.googleapis.com/envoy.extensions.filters.network.\
        http_connection_manager.v3.HttpConnectionManager";
    json!({
        "name": "inquiry",
        "address": { "socket_address": { "address": "127.0.0.1", "port_value": 1 } },
        "filter_chains": [{
            "filters": [{
                "name": "envoy.filters.network.http_connection_manager",
                "typed_config": {
                    "@type": manager,
                    "stat_prefix": "inquiry",
                    "route_config": table,
                    "http_filters": [{
                        "name": "envoy.filters.http.router",
                        "typed_config": { "@type": router }
                    }]
                }
            }]
        }]
    })
}
