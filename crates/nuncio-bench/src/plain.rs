//! An Envoy configuration as somebody writes it by hand who wants these routes and nothing else.

use std::net::SocketAddr;
use std::path::Path;

use serde_json::{Value, json};

const CONNECTION_MANAGER: &str = "type.googleapis.com/envoy.extensions.filters.network.\
    http_connection_manager.v3.HttpConnectionManager";
const ROUTER: &str = "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router";
const LOG: &str = "type.googleapis.com/envoy.extensions.access_loggers.file.v3.FileAccessLog";

/// A plain list of routes to one upstream, in the given order.
pub(crate) fn bootstrap(
    admin_socket: &Path,
    port: u16,
    upstream: SocketAddr,
    prefixes: &[String],
) -> Value {
    let routes: Vec<_> = prefixes
        .iter()
        .map(|prefix| {
            json!({
                "match": { "prefix": prefix },
                "route": { "cluster": "upstream", "prefix_rewrite": "/", "timeout": "3s" }
            })
        })
        .collect();
    let connection_manager = json!({
        "@type": CONNECTION_MANAGER,
        "stat_prefix": "ingress",
        "access_log": [{
            "name": "envoy.access_loggers.file",
            "typed_config": { "@type": LOG, "path": "/dev/stdout" }
        }],
        "http_filters": [{
            "name": "envoy.filters.http.router",
            "typed_config": { "@type": ROUTER }
        }],
        "route_config": {
            "virtual_hosts": [{ "name": "all", "domains": ["*"], "routes": routes }]
        }
    });
    json!({
        "admin": { "address": { "pipe": { "path": admin_socket } } },
        "static_resources": {
            "listeners": [{
                "name": "http",
                "address": address(SocketAddr::from(([127, 0, 0, 1], port))),
                "filter_chains": [{
                    "filters": [{
                        "name": "envoy.filters.network.http_connection_manager",
                        "typed_config": connection_manager
                    }]
                }]
            }],
            "clusters": [{
                "name": "upstream",
                "type": "STATIC",
                "load_assignment": {
                    "cluster_name": "upstream",
                    "endpoints": [{
                        "lb_endpoints": [{ "endpoint": { "address": address(upstream) } }]
                    }]
                }
            }]
        }
    })
}

fn address(address: SocketAddr) -> Value {
    json!({
        "socket_address": { "address": address.ip(), "port_value": address.port() }
    })
}
