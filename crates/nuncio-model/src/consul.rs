//! Services that a Consul knows.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::cluster::Endpoint;

/// A service in a datacenter of a Consul.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub struct ConsulService {
    /// Of an agent, as it is written: with variables of the environment, as `${HOST_IP}:8500`.
    pub address: Arc<str>,
    pub datacenter: Arc<str>,
    pub name: Arc<str>,
}

/// What is known of it.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct ConsulAnswer {
    /// Those that pass their health checks, as the Consul said last. Sorted, each once.
    pub endpoints: Vec<Endpoint>,
    /// Why there is nothing newer.
    pub problem: Option<String>,
}
