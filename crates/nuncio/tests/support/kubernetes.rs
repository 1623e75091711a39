//! What tests write into a real API server.

#![allow(dead_code, unreachable_pub, clippy::unwrap_used)]

use std::net::SocketAddr;

use nuncio_echo::{Echo, Running};
use nuncio_testkube::own_address;

/// An upstream where an EndpointSlice may lead: loopback addresses are refused there.
pub async fn upstream(name: &str) -> Running {
    let any_port = SocketAddr::from((own_address().unwrap(), 0));
    Echo::new(name).start(any_port).await.unwrap()
}

/// A Service without pods, and where it leads.
pub fn service(name: &str, address: SocketAddr, protocol: &str) -> String {
    format!(
        "apiVersion: v1\nkind: Service\nmetadata: {{name: {name}}}\n\
         spec: {{ports: [{{name: main, port: 80, protocol: {protocol}}}]}}\n---\n\
         apiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\n\
         metadata: {{name: {name}-1, labels: {{kubernetes.io/service-name: {name}}}}}\n\
         addressType: IPv4\nports: [{{name: main, port: {}, protocol: {protocol}}}]\n\
         endpoints: [{{addresses: [\"{}\"], conditions: {{ready: true}}}}]\n---\n",
        address.port(),
        address.ip()
    )
}
