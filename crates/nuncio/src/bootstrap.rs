//! `nuncio bootstrap`: what an Envoy elsewhere starts with.

use std::process::ExitCode;

use nuncio_envoy::{BootstrapConfig, RemoteXds, XdsServer, bootstrap};

use crate::cli::BootstrapArgs;
use crate::run::MAX_DOWNSTREAM_CONNECTIONS;

/// Prints it as JSON.
pub fn run(args: &BootstrapArgs) -> ExitCode {
    let bootstrap = bootstrap::bootstrap(&BootstrapConfig {
        node_id: args.node_id.clone(),
        node_cluster: "nuncio".to_owned(),
        xds: XdsServer::Remote(RemoteXds {
            host: args.xds.host.clone(),
            port: args.xds.port,
            ca: args.ca.clone(),
            certificate: args.cert.clone(),
            key: args.key.clone(),
        }),
        admin_socket: args.admin_socket.clone(),
        max_heap_bytes: args.max_heap_bytes,
        max_downstream_connections: MAX_DOWNSTREAM_CONNECTIONS,
        stats_sink: None,
    });
    println!("{bootstrap:#}");
    ExitCode::SUCCESS
}
