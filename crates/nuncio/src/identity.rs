//! Who this nuncio is.

use std::time::{Instant, SystemTime};

use nuncio_translate::Scope;
use uuid::Uuid;

/// What does not change while the process runs.
pub struct Identity {
    pub hostname: String,
    pub scope: Scope,
    pub cluster_id: String,
    /// Whether Envoy sends statistics.
    pub statsd: bool,
    pub started: Instant,
    pub started_at: SystemTime,
}

pub const VERSION: &str = env!("CARGO_PKG_VERSION");

impl Identity {
    pub fn new(scope: Scope, cluster_id: Option<String>) -> Self {
        let cluster_id = cluster_id.unwrap_or_else(|| cluster_id_of(&scope.ambassador_id));
        Self {
            hostname: rustix::system::uname()
                .nodename()
                .to_string_lossy()
                .into_owned(),
            scope,
            cluster_id,
            statsd: false,
            started: Instant::now(),
            started_at: SystemTime::now(),
        }
    }

    /// The name of Envoy's cluster, which the label `source_cluster` says: Emissary's.
    pub fn node_cluster(&self) -> String {
        let id = match self.scope.ambassador_id.as_str() {
            "default" => "ambassador",
            id => id,
        };
        format!("{id}-{}", self.scope.namespace)
    }
}

/// Emissary's identity of an installation: a UUID from the UID of a namespace, which a folder does
/// not have, and the ambassador_id.
fn cluster_id_of(ambassador_id: &str) -> String {
    let url = format!("d6e_id://{}/{ambassador_id}", Uuid::nil());
    Uuid::new_v5(&Uuid::NAMESPACE_URL, url.as_bytes()).to_string()
}
