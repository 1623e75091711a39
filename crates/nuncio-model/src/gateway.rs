use std::collections::BTreeMap;
use std::sync::Arc;

use serde::Serialize;

use crate::cluster::{Cluster, EndpointSet};
use crate::filter::HttpFilter;
use crate::listener::{Listener, Ready};
use crate::route::RouteTable;
use crate::runtime::Runtime;
use crate::tls::Secret;

/// Things by their names; cheap to have twice.
pub type Named<T> = Arc<BTreeMap<Arc<str>, T>>;

/// The whole of what Envoy is to do. Each entry becomes one Envoy resource and is named by its
/// key; every name that an entry refers to is there.
#[derive(Clone, PartialEq, Debug, Default, Serialize)]
pub struct Gateway {
    pub listeners: Named<Listener>,
    pub route_tables: Named<RouteTable>,
    pub clusters: Named<Cluster>,
    pub endpoints: Named<EndpointSet>,
    pub secrets: Named<Secret>,
    pub filters: Named<HttpFilter>,
    /// What has no name of its own: the process's flags, and its port for probes.
    pub runtime: Runtime,
    pub ready: Option<Ready>,
}
