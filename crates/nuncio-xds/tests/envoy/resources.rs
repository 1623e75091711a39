//! Resources for the tests, written in Envoy's JSON.

use std::net::SocketAddr;
use std::sync::Arc;

use nuncio_envoy_api::envoy::config::cluster::v3::Cluster;
use nuncio_envoy_api::envoy::config::core::v3::TypedExtensionConfig;
use nuncio_envoy_api::envoy::config::endpoint::v3::ClusterLoadAssignment;
use nuncio_envoy_api::envoy::config::listener::v3::Listener;
use nuncio_envoy_api::envoy::config::route::v3::RouteConfiguration;
use nuncio_envoy_api::envoy::extensions::transport_sockets::tls::v3::Secret;
use nuncio_envoy_api::envoy::service::runtime::v3::Runtime;
use nuncio_envoy_api::json::from_json;
use nuncio_envoy_api::pack;
use nuncio_envoy_api::resource::{Resource, ResourceType, Snapshot};
use serde_json::{Value, json};

/// Builds a snapshot.
#[derive(Clone)]
pub struct Config(Snapshot);

impl Default for Config {
    /// Without anything but an empty runtime, which Envoy always asks for.
    fn default() -> Self {
        Self(Snapshot::default()).runtime(json!({}))
    }
}

impl Config {
    pub fn build(&self) -> Snapshot {
        self.0.clone()
    }

    /// An EDS cluster and its assignment.
    pub fn cluster(self, name: &str, address: SocketAddr) -> Self {
        self.cluster_with(name, address, json!({}))
    }

    /// The same, with fields of the cluster.
    pub fn cluster_with(mut self, name: &str, address: SocketAddr, fields: Value) -> Self {
        let mut cluster = json!({
            "name": name,
            "type": "EDS",
            "eds_cluster_config": {
                "eds_config": { "ads": {}, "resource_api_version": "V3" }
            },
            "connect_timeout": "1s"
        });
        merge(&mut cluster, fields);
        self.put::<Cluster>(
            ResourceType::Cluster,
            name,
            cluster,
            &[(ResourceType::ClusterLoadAssignment, name)],
        );
        self.assignment(name, &address.ip().to_string(), address.port())
    }

    pub fn assignment(mut self, name: &str, ip: &str, port: u16) -> Self {
        let assignment = json!({
            "cluster_name": name,
            "endpoints": [{ "lb_endpoints": [{ "endpoint": {
                "address": { "socket_address": { "address": ip, "port_value": port } }
            } }] }]
        });
        self.put::<ClusterLoadAssignment>(
            ResourceType::ClusterLoadAssignment,
            name,
            assignment,
            &[],
        );
        self
    }

    /// A plain HTTP listener with a route table.
    pub fn listener(self, name: &str, port: u16, table: &str) -> Self {
        self.listener_with(name, port, table, json!({}), json!({}), None)
    }

    /// One that terminates TLS.
    pub fn tls_listener(self, name: &str, port: u16, table: &str, secret: &str) -> Self {
        self.tls_listener_with(name, port, table, secret, json!({}))
    }

    /// The same, with fields of the listener.
    pub fn tls_listener_with(
        self,
        name: &str,
        port: u16,
        table: &str,
        secret: &str,
        fields: Value,
    ) -> Self {
        let socket = json!({ "transport_socket": {
            "name": "tls",
            "typed_config": {
                "@type": "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext",
                "common_tls_context": { "tls_certificate_sds_secret_configs": [{
                    "name": secret,
                    "sds_config": { "ads": {}, "resource_api_version": "V3" }
                }] }
            }
        } });
        self.listener_with(name, port, table, fields, socket, Some(secret))
    }

    /// One whose requests pass a role-based access control filter that is configured apart.
    pub fn filtered_listener(mut self, name: &str, port: u16, table: &str, filter: &str) -> Self {
        let mut listener = listener(name, port, table);
        let http = &mut listener["filter_chains"][0]["filters"][0]["typed_config"];
        let filters = http["http_filters"].as_array_mut().unwrap();
        let rbac = "type.googleapis.com/envoy.extensions.filters.http.rbac.v3.RBAC";
        let discovered = json!({ "name": filter, "config_discovery": {
            "config_source": { "ads": {}, "resource_api_version": "V3" },
            "type_urls": [rbac]
        } });
        filters.insert(0, discovered);
        let requires = [
            (ResourceType::RouteConfiguration, table),
            (ResourceType::ExtensionConfig, filter),
        ];
        self.put::<Listener>(ResourceType::Listener, name, listener, &requires);
        self
    }

    /// The configuration of such a filter.
    pub fn filter(mut self, name: &str, mut rbac: Value) -> Self {
        rbac["@type"] = "type.googleapis.com/envoy.extensions.filters.http.rbac.v3.RBAC".into();
        let config = json!({ "name": name, "typed_config": rbac });
        self.put::<TypedExtensionConfig>(ResourceType::ExtensionConfig, name, config, &[]);
        self
    }

    fn listener_with(
        mut self,
        name: &str,
        port: u16,
        table: &str,
        fields: Value,
        chain: Value,
        secret: Option<&str>,
    ) -> Self {
        let mut listener = listener(name, port, table);
        merge(&mut listener["filter_chains"][0], chain);
        merge(&mut listener, fields);
        let mut requires = vec![(ResourceType::RouteConfiguration, table)];
        requires.extend(secret.map(|secret| (ResourceType::Secret, secret)));
        self.put::<Listener>(ResourceType::Listener, name, listener, &requires);
        self
    }

    /// A table that sends everything to a cluster.
    pub fn table(self, name: &str, cluster: &str) -> Self {
        self.table_with(name, json!({ "route": { "cluster": cluster } }))
    }

    pub fn table_with(mut self, name: &str, action: Value) -> Self {
        let mut route = json!({ "match": { "prefix": "/" } });
        merge(&mut route, action);
        let table = json!({
            "name": name,
            "virtual_hosts": [{ "name": "all", "domains": ["*"], "routes": [route] }]
        });
        self.put::<RouteConfiguration>(ResourceType::RouteConfiguration, name, table, &[]);
        self
    }

    /// The layer of Envoy's runtime that is discovered.
    pub fn runtime(mut self, layer: Value) -> Self {
        let runtime = json!({ "name": "runtime", "layer": layer });
        self.put::<Runtime>(ResourceType::Runtime, "runtime", runtime, &[]);
        self
    }

    pub fn secret(mut self, name: &str, certificate: &str, key: &str) -> Self {
        let secret = json!({ "name": name, "tls_certificate": {
            "certificate_chain": { "inline_string": certificate },
            "private_key": { "inline_string": key }
        } });
        self.put::<Secret>(ResourceType::Secret, name, secret, &[]);
        self
    }

    fn put<M: prost::Message + prost::Name + Default>(
        &mut self,
        resource_type: ResourceType,
        name: &str,
        json: Value,
        requires: &[(ResourceType, &str)],
    ) {
        let message = from_json::<M>(&json).unwrap();
        let mut resource = Resource::new(pack(&message).value);
        resource.requires = requires.iter().map(|(t, n)| (*t, Arc::from(*n))).collect();
        self.0.insert(resource_type, name.into(), resource.into());
    }
}

fn listener(name: &str, port: u16, table: &str) -> Value {
    json!({
        "name": name,
        "address": { "socket_address": { "address": "127.0.0.1", "port_value": port } },
        "filter_chains": [{ "name": "chain", "filters": [{
            "name": "http",
            "typed_config": {
                "@type": "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
                "stat_prefix": "test",
                "rds": {
                    "route_config_name": table,
                    "config_source": { "ads": {}, "resource_api_version": "V3" }
                },
                "http_filters": [{
                    "name": "router",
                    "typed_config": {
                        "@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router"
                    }
                }]
            }
        }] }]
    })
}

fn merge(into: &mut Value, fields: Value) {
    let (Value::Object(into), Value::Object(fields)) = (into, fields) else {
        panic!("only objects are merged");
    };
    into.extend(fields);
}
