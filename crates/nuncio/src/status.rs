//! What is written back into a cluster: what [`nuncio_status`] takes, from what is served.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::time::SystemTime;

use nuncio_api::{gateway_api, getambassador, ingress, policy};
use nuncio_model::{Report, ResourceId};
use nuncio_sources::ChangeSet;
use nuncio_status::{Candidate, Config, Scene, StatusWriter};

use crate::cli::RunArgs;
use crate::engine::Served;
use crate::environment::Environment;
use crate::identity::Identity;
use crate::source::Source;

/// Starts to write, where resources come from a cluster and that is wanted.
pub(crate) fn start(
    source: &Source,
    args: &RunArgs,
    environment: &Environment,
    identity: &Identity,
) -> Option<StatusWriter> {
    let cluster = source.cluster().filter(|_| !args.no_status)?;
    let scope = &identity.scope;
    let candidate = Candidate {
        namespace: scope.namespace.clone(),
        lease: lease_name(&scope.ambassador_id),
        identity: args
            .pod_name
            .clone()
            .unwrap_or_else(|| process_name(&identity.hostname)),
    };
    Some(StatusWriter::start(Config {
        client: cluster.client.clone(),
        url: cluster.url.clone(),
        standings: cluster.standings(),
        candidate,
        writes_per_second: args.status_writes,
        mappings: environment.mapping_status,
    }))
}

/// The objects that a change set has anew, as far as their status is written.
pub(crate) fn written(changes: &ChangeSet) -> Vec<ResourceId> {
    let objects = changes.upserted.iter().map(|object| object.key());
    let have_status = |group: &str| {
        matches!(
            group,
            getambassador::GROUP | ingress::GROUP | gateway_api::GROUP | policy::GROUP
        )
    };
    objects
        .filter(|key| have_status(&key.group))
        .map(|key| ResourceId::new(key.group, key.kind, key.namespace, key.name))
        .collect()
}

/// What is served, as far as a status says it.
pub fn scene(served: &Served, report: Report) -> Scene {
    Scene {
        change: served.change,
        report: Arc::new(report),
        inventory: Arc::clone(&served.inventory),
        attached: Arc::clone(&served.attached),
        elements: served.elements.clone(),
        ingress: Arc::clone(&served.ingress_status),
        gateway: Arc::clone(&served.gateway_status),
        infrastructure: Arc::clone(&served.infrastructure),
        parents: Arc::clone(&served.parents),
    }
}

/// One for each `AMBASSADOR_ID`, as the API server takes a name.
fn lease_name(ambassador_id: &str) -> String {
    let is_plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    let is_name = !ambassador_id.is_empty()
        && ambassador_id.len() <= 200
        && ambassador_id.chars().all(is_plain)
        && !ambassador_id.ends_with('-');
    match is_name {
        true => format!("nuncio-{ambassador_id}"),
        false => format!("nuncio-{:016x}", hash(ambassador_id)),
    }
}

/// Where no pod has a name of its own: pods on the network of their machine have its hostname.
fn process_name(hostname: &str) -> String {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    let started = now.unwrap_or_default().as_nanos();
    format!("{hostname}_{:016x}", hash((std::process::id(), started)))
}

fn hash(value: impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_ambassador_id_has_a_lease_of_its_own() {
        assert_eq!(lease_name("default"), "nuncio-default");
        for id in ["a_b", "A", "a.b", "", "a-", &"a".repeat(300)] {
            let name = lease_name(id);
            let (_, hash) = name.split_once('-').unwrap();
            assert_eq!(hash.len(), 16, "{name}");
        }
        assert_ne!(lease_name("a_b"), lease_name("a.b"));
    }
}
