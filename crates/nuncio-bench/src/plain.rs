//! An Envoy configuration as somebody writes it by hand who wants these routes, and what nuncio does
//! for every request: its line of the log, CORS, normal paths, addresses that are trusted, limits of
//! time and of HTTP/2.

use std::net::SocketAddr;
use std::path::Path;

use serde_json::{Value, json};

const CONNECTION_MANAGER: &str = "type.googleapis.com/envoy.extensions.filters.network.\
    http_connection_manager.v3.HttpConnectionManager";
const ROUTER: &str = "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router";
const CORS: &str = "type.googleapis.com/envoy.extensions.filters.http.cors.v3.Cors";
const LOG: &str = "type.googleapis.com/envoy.extensions.access_loggers.file.v3.FileAccessLog";
/// Emissary's.
const LOG_FORMAT: &str = "ACCESS [%START_TIME%] \"%REQ(:METHOD)% \
    %REQ(X-ENVOY-ORIGINAL-PATH?:PATH)% %PROTOCOL%\" %RESPONSE_CODE% %RESPONSE_FLAGS% \
    %BYTES_RECEIVED% %BYTES_SENT% %DURATION% %RESP(X-ENVOY-UPSTREAM-SERVICE-TIME)% \
    \"%REQ(X-FORWARDED-FOR)%\" \"%REQ(USER-AGENT)%\" \"%REQ(X-REQUEST-ID)%\" \
    \"%REQ(:AUTHORITY)%\" \"%UPSTREAM_HOST%\"\n";

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
            "typed_config": {
                "@type": LOG,
                "path": "/dev/fd/1",
                "log_format": { "text_format_source": { "inline_string": LOG_FORMAT } }
            }
        }],
        "common_http_protocol_options": { "idle_timeout": "3600s" },
        "http2_protocol_options": {
            "initial_connection_window_size": 1_048_576,
            "initial_stream_window_size": 65_536,
            "max_concurrent_streams": 1024
        },
        "http_filters": [
            { "name": "envoy.filters.http.cors", "typed_config": { "@type": CORS } },
            { "name": "envoy.filters.http.router", "typed_config": { "@type": ROUTER } }
        ],
        "internal_address_config": {
            "cidr_ranges": [{ "address_prefix": "127.0.0.0", "prefix_len": 8 }]
        },
        "normalize_path": true,
        "request_headers_timeout": "60s",
        "use_remote_address": true,
        "route_config": {
            "virtual_hosts": [{
                "name": "all",
                "domains": ["*"],
                "routes": routes,
                // Statistics of what clients see.
                "virtual_clusters": [{
                    "name": "all",
                    "headers": [{ "name": ":authority", "present_match": true }]
                }]
            }]
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
