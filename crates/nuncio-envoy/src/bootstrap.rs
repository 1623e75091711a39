//! What Envoy starts with: how to reach nuncio, and the limits of the process.
//!
//! Written as JSON, the form in which Envoy's documentation and its users have it.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use serde_json::{Map, Value, json};

use crate::{RUNTIME_LAYER, statistics};

/// Name of the cluster that is nuncio itself.
const XDS_CLUSTER: &str = "xds_cluster";

/// RE2's program size that Envoy refuses a regular expression beyond. Emissary's 200 was for its
/// users' own good and refused useful ones; this only keeps one expression from taking all memory.
const MAX_REGEX_PROGRAM_SIZE: u32 = 20_000;

/// What a bootstrap depends on. The same values give the same bytes: a bootstrap that differs
/// makes a running Envoy restart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BootstrapConfig {
    pub node_id: String,
    pub node_cluster: String,
    pub xds: XdsServer,
    /// Socket of Envoy's admin interface, which is nowhere else; `None` for no such interface.
    pub admin_socket: Option<PathBuf>,
    /// Heap beyond which Envoy sheds load; `None` where no limit is known.
    pub max_heap_bytes: Option<u64>,
    pub max_downstream_connections: u64,
    pub stats_sink: Option<StatsSink>,
}

/// Where the ADS server is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum XdsServer {
    /// On the same machine.
    Socket(PathBuf),
    Remote(RemoteXds),
}

/// An ADS server elsewhere, over mutual TLS. Envoy reads the files when it starts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RemoteXds {
    /// A name of its certificate: a hostname or an IP address.
    pub host: String,
    pub port: u16,
    /// Who vouches for it, in PEM.
    pub ca: PathBuf,
    /// Who Envoy is to it.
    pub certificate: PathBuf,
    pub key: PathBuf,
}

/// Where Envoy sends its statistics by UDP.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StatsSink {
    pub format: StatsFormat,
    pub address: SocketAddr,
    pub flush_interval: Duration,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StatsFormat {
    /// Everything in the name.
    Statsd,
    /// With tags, and one for the pod.
    DogStatsd { entity_id: Option<String> },
}

/// How often Envoy flushes its statistics where it is not told.
pub const STATS_FLUSH_INTERVAL: Duration = Duration::from_secs(5);

/// The bootstrap in protobuf's JSON form.
pub fn bootstrap(config: &BootstrapConfig) -> Value {
    let mut bootstrap = limits(config.max_heap_bytes, config.max_downstream_connections);
    let Value::Object(fields) = json!({
        "node": { "id": config.node_id, "cluster": config.node_cluster },
        "dynamic_resources": {
            "ads_config": {
                "api_type": "DELTA_GRPC",
                "transport_api_version": "V3",
                "set_node_on_first_message_only": true,
                "grpc_services": [{
                    "envoy_grpc": {
                        "cluster_name": XDS_CLUSTER,
                        // Without it Envoy takes up to 30 s to find a nuncio that came back.
                        "retry_policy": {
                            "retry_back_off": { "base_interval": "0.1s", "max_interval": "0.5s" }
                        }
                    }
                }]
            },
            "cds_config": ads(),
            "lds_config": ads()
        },
        "static_resources": { "clusters": [xds_cluster(&config.xds)] },
        "layered_runtime": {
            "layers": [
                own_layer(),
                {
                    "name": RUNTIME_LAYER,
                    "rtds_layer": { "name": RUNTIME_LAYER, "rtds_config": ads() }
                }
            ]
        }
    }) else {
        unreachable!("invariant: it is written as an object")
    };
    bootstrap.extend(fields);
    if let Some(path) = &config.admin_socket {
        let admin = json!({ "address": { "pipe": { "path": path } } });
        bootstrap.insert("admin".to_owned(), admin);
    }
    let mut bootstrap = Value::Object(bootstrap);
    if let Some(sink) = &config.stats_sink {
        send_stats(&mut bootstrap, sink);
    }
    bootstrap
}

/// What the process may take, however it gets its configuration.
pub(crate) fn limits(max_heap_bytes: Option<u64>, max_connections: u64) -> Map<String, Value> {
    Map::from_iter([
        (
            "cluster_manager".to_owned(),
            json!({ "enable_deferred_cluster_creation": true }),
        ),
        (
            "deferred_stat_options".to_owned(),
            json!({ "enable_deferred_creation_stats": true }),
        ),
        (
            "stats_config".to_owned(),
            json!({ "stats_tags": statistics::tags() }),
        ),
        (
            "overload_manager".to_owned(),
            overload_manager(max_heap_bytes, max_connections),
        ),
    ])
}

/// The lowest layer of the runtime.
pub(crate) fn own_layer() -> Value {
    json!({
        "name": "static_layer",
        "static_layer": { "re2.max_program_size.error_level": MAX_REGEX_PROGRAM_SIZE }
    })
}

fn send_stats(bootstrap: &mut Value, sink: &StatsSink) {
    let (name, message) = match &sink.format {
        StatsFormat::Statsd => ("envoy.stat_sinks.statsd", "StatsdSink"),
        StatsFormat::DogStatsd { entity_id } => {
            if let Some(id) = entity_id {
                let tag = json!({ "tag_name": "dd.internal.entity_id", "fixed_value": id });
                let tags = bootstrap["stats_config"]["stats_tags"].as_array_mut();
                tags.expect("invariant: there are tags of our own")
                    .push(tag);
            }
            ("envoy.stat_sinks.dog_statsd", "DogStatsdSink")
        }
    };
    bootstrap["stats_sinks"] = json!([{
        "name": name,
        "typed_config": {
            "@type": format!("type.googleapis.com/envoy.config.metrics.v3.{message}"),
            "address": {
                "socket_address": {
                    "protocol": "UDP",
                    "address": sink.address.ip(),
                    "port_value": sink.address.port()
                }
            }
        }
    }]);
    bootstrap["stats_flush_interval"] = format!("{}s", sink.flush_interval.as_secs_f64()).into();
}

fn ads() -> Value {
    json!({ "ads": {}, "resource_api_version": "V3" })
}

fn xds_cluster(server: &XdsServer) -> Value {
    let (discovery, http2, address) = match server {
        XdsServer::Socket(path) => ("STATIC", json!({}), json!({ "pipe": { "path": path } })),
        XdsServer::Remote(RemoteXds { host, port, .. }) => (
            if host.parse::<IpAddr>().is_ok() {
                "STATIC"
            } else {
                "STRICT_DNS"
            },
            // A server that vanished is noticed, so that another one is asked.
            json!({ "connection_keepalive": { "interval": "30s", "timeout": "10s" } }),
            json!({ "socket_address": { "address": host, "port_value": port } }),
        ),
    };
    let mut cluster = json!({
        "name": XDS_CLUSTER,
        "type": discovery,
        "connect_timeout": "1s",
        "typed_extension_protocol_options": {
            "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
                "@type":
                    "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
                "explicit_http_config": { "http2_protocol_options": http2 }
            }
        },
        "load_assignment": {
            "cluster_name": XDS_CLUSTER,
            "endpoints": [{
                "lb_endpoints": [{ "endpoint": { "address": address } }]
            }]
        }
    });
    if let XdsServer::Remote(remote) = server {
        cluster["transport_socket"] = mutual_tls(remote);
    }
    cluster
}

fn mutual_tls(remote: &RemoteXds) -> Value {
    let mut context = json!({
        "@type":
            "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext",
        "common_tls_context": {
            "tls_certificates": [{
                "certificate_chain": { "filename": remote.certificate },
                "private_key": { "filename": remote.key }
            }],
            "validation_context": {
                "trusted_ca": { "filename": remote.ca },
                "match_typed_subject_alt_names": [{
                    "san_type": "DNS",
                    "matcher": { "exact": remote.host }
                }]
            }
        }
    });
    if remote.host.parse::<IpAddr>().is_ok() {
        let validation = &mut context["common_tls_context"]["validation_context"];
        validation["match_typed_subject_alt_names"][0]["san_type"] = "IP_ADDRESS".into();
    } else {
        context["sni"] = remote.host.as_str().into();
    }
    json!({ "name": "envoy.transport_sockets.tls", "typed_config": context })
}

/// Envoy's guide for edge proxies: give memory back, then stop keeping connections alive, then
/// stop taking requests.
fn overload_manager(max_heap_bytes: Option<u64>, max_connections: u64) -> Value {
    const HEAP: &str = "envoy.resource_monitors.fixed_heap";
    const CONNECTIONS: &str = "envoy.resource_monitors.global_downstream_max_connections";

    let mut monitors = vec![json!({
        "name": CONNECTIONS,
        "typed_config": {
            "@type": "type.googleapis.com/\
                envoy.extensions.resource_monitors.downstream_connections.v3.\
                DownstreamConnectionsConfig",
            "max_active_downstream_connections": max_connections
        }
    })];
    let mut actions = Vec::new();
    if let Some(bytes) = max_heap_bytes {
        monitors.push(json!({
            "name": HEAP,
            "typed_config": {
                "@type": "type.googleapis.com/\
                    envoy.extensions.resource_monitors.fixed_heap.v3.FixedHeapConfig",
                "max_heap_size_bytes": bytes
            }
        }));
        let action = |name: &str, share: f64| {
            json!({
                "name": name,
                "triggers": [{ "name": HEAP, "threshold": { "value": share } }]
            })
        };
        actions.extend([
            action("envoy.overload_actions.shrink_heap", 0.90),
            action("envoy.overload_actions.disable_http_keepalive", 0.92),
            action("envoy.overload_actions.stop_accepting_connections", 0.95),
            action("envoy.overload_actions.stop_accepting_requests", 0.98),
        ]);
    }
    json!({
        "refresh_interval": "0.25s",
        "resource_monitors": monitors,
        "actions": actions
    })
}
