//! An Envoy configuration as somebody writes it by hand who wants these routes, and what nuncio does
//! for every request: its line of the log, CORS, normal paths, addresses that are trusted, limits of
//! time and of HTTP/2.

use std::net::SocketAddr;
use std::path::Path;

use serde_json::{Value, json};

use crate::manifests::{DOMAIN, Filters};

const CONNECTION_MANAGER: &str = "type.googleapis.com/envoy.extensions.filters.network.\
    http_connection_manager.v3.HttpConnectionManager";
const ROUTER: &str = "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router";
const CORS: &str = "type.googleapis.com/envoy.extensions.filters.http.cors.v3.Cors";
const EXT_AUTHZ: &str = "type.googleapis.com/envoy.extensions.filters.http.ext_authz.v3.ExtAuthz";
const RATE_LIMIT: &str = "type.googleapis.com/envoy.extensions.filters.http.ratelimit.v3.RateLimit";
const LOG: &str = "type.googleapis.com/envoy.extensions.access_loggers.stream.v3.StdoutAccessLog";
/// Emissary's.
const LOG_FORMAT: &str = "ACCESS [%START_TIME%] \"%REQ(:METHOD)% \
    %REQ(X-ENVOY-ORIGINAL-PATH?:PATH)% %PROTOCOL%\" %RESPONSE_CODE% %RESPONSE_FLAGS% \
    %BYTES_RECEIVED% %BYTES_SENT% %DURATION% %RESP(X-ENVOY-UPSTREAM-SERVICE-TIME)% \
    \"%REQ(X-FORWARDED-FOR)%\" \"%REQ(USER-AGENT)%\" \"%REQ(X-REQUEST-ID)%\" \
    \"%REQ(:AUTHORITY)%\" \"%UPSTREAM_HOST%\"\n";

/// What Emissary has asked with, and takes from an answer.
const ASKED_WITH: [&str; 8] = [
    "authorization",
    "cookie",
    "from",
    "proxy-authorization",
    "user-agent",
    "x-forwarded-for",
    "x-forwarded-host",
    "x-forwarded-proto",
];
const ANSWERED_WITH: [&str; 5] = [
    "authorization",
    "location",
    "proxy-authenticate",
    "set-cookie",
    "www-authenticate",
];

/// A plain list of routes to one upstream, in the given order.
pub(crate) fn bootstrap(
    admin_socket: &Path,
    port: u16,
    upstream: SocketAddr,
    prefixes: &[String],
    filters: Filters,
) -> Value {
    let limits = filters
        .rate_limit
        .map(|_| json!([{ "actions": [{ "remote_address": {} }] }]));
    let routes: Vec<_> = prefixes
        .iter()
        .map(|prefix| {
            json!({
                "match": { "prefix": prefix },
                "route": {
                    "cluster": "upstream",
                    "prefix_rewrite": "/",
                    "timeout": "3s",
                    "rate_limits": limits
                }
            })
        })
        .collect();
    let mut http_filters =
        vec![json!({ "name": "envoy.filters.http.cors", "typed_config": { "@type": CORS } })];
    let mut clusters = vec![cluster("upstream", upstream)];
    if let Some(auth) = filters.auth {
        http_filters.push(ext_authz());
        clusters.push(cluster("auth", auth));
    }
    if let Some(rate_limit) = filters.rate_limit {
        http_filters.push(ratelimit());
        let mut cluster = cluster("limits", rate_limit);
        cluster["typed_extension_protocol_options"] = json!({
            "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
                "@type": "type.googleapis.com/\
                    envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
                "explicit_http_config": { "http2_protocol_options": {} }
            }
        });
        clusters.push(cluster);
    }
    http_filters
        .push(json!({ "name": "envoy.filters.http.router", "typed_config": { "@type": ROUTER } }));
    let connection_manager = json!({
        "@type": CONNECTION_MANAGER,
        "stat_prefix": "ingress",
        "access_log": [{
            "name": "envoy.access_loggers.stdout",
            "typed_config": {
                "@type": LOG,
                "log_format": { "text_format_source": { "inline_string": LOG_FORMAT } }
            }
        }],
        "common_http_protocol_options": { "idle_timeout": "3600s" },
        "http2_protocol_options": {
            "initial_connection_window_size": 1_048_576,
            "initial_stream_window_size": 65_536,
            "max_concurrent_streams": 1024
        },
        "http_filters": http_filters,
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
            "clusters": clusters
        }
    })
}

fn ext_authz() -> Value {
    let patterns = |names: &[&str]| {
        let exact = |name: &&str| json!({ "exact": name, "ignore_case": true });
        json!({ "patterns": names.iter().map(exact).collect::<Vec<_>>() })
    };
    json!({
        "name": "envoy.filters.http.ext_authz",
        "typed_config": {
            "@type": EXT_AUTHZ,
            "allowed_headers": patterns(&ASKED_WITH),
            "clear_route_cache": true,
            "http_service": {
                "server_uri": { "uri": "http://auth", "cluster": "auth", "timeout": "5s" },
                "authorization_response": {
                    "allowed_client_headers": patterns(&ANSWERED_WITH),
                    "allowed_upstream_headers": patterns(&ANSWERED_WITH)
                }
            }
        }
    })
}

fn ratelimit() -> Value {
    json!({
        "name": "envoy.filters.http.ratelimit",
        "typed_config": {
            "@type": RATE_LIMIT,
            "domain": DOMAIN,
            "rate_limit_service": {
                "grpc_service": { "envoy_grpc": { "cluster_name": "limits" } },
                "transport_api_version": "V3"
            }
        }
    })
}

fn cluster(name: &str, upstream: SocketAddr) -> Value {
    json!({
        "name": name,
        "type": "STATIC",
        "load_assignment": {
            "cluster_name": name,
            "endpoints": [{
                "lb_endpoints": [{ "endpoint": { "address": address(upstream) } }]
            }]
        }
    })
}

fn address(address: SocketAddr) -> Value {
    json!({
        "socket_address": { "address": address.ip(), "port_value": address.port() }
    })
}
