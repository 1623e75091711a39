use std::sync::Arc;

use imbl::OrdMap;
use serde::Serialize;

use crate::cluster::{Cluster, EndpointSet};
use crate::filter::HttpFilter;
use crate::listener::{DatagramListener, Listener, Ready};
use crate::report::Origin;
use crate::route::RouteTable;
use crate::runtime::Runtime;
use crate::tls::{Secret, SecretKind};

/// Things by their names. Two that differ in a few entries share all others, and are compared in no
/// more time than that takes.
pub type Named<T> = OrdMap<Arc<str>, Arc<T>>;

/// The whole of what Envoy is to do. Each entry becomes one Envoy resource and is named by its
/// key; every name that an entry refers to is there.
#[derive(Clone, PartialEq, Debug, Default, Serialize)]
pub struct Gateway {
    pub listeners: Named<Listener>,
    /// No name of one is that of another listener.
    pub datagram_listeners: Named<DatagramListener>,
    pub route_tables: Named<RouteTable>,
    pub clusters: Named<Cluster>,
    pub endpoints: Named<EndpointSet>,
    pub secrets: Named<Secret>,
    pub filters: Named<HttpFilter>,
    /// What has no name of its own: the process's flags, and its port for probes.
    pub runtime: Runtime,
    pub ready: Option<Ready>,
}

impl Gateway {
    /// Has a secret of this name, unless there is one, which is the same then; returns the name.
    pub fn keep_secret(&mut self, name: String, origin: Origin, kind: SecretKind) -> Arc<str> {
        let name: Arc<str> = name.into();
        let secret = || {
            Arc::new(Secret {
                name: Arc::clone(&name),
                origin,
                kind,
            })
        };
        self.secrets.entry(Arc::clone(&name)).or_insert_with(secret);
        name
    }
}
