//! What nuncio writes into the status of objects, and reads there to see whether it is written.

use std::hash::{DefaultHasher, Hash, Hasher};

use serde::{Deserialize, Serialize};

use crate::core::LoadBalancerStatus;
use crate::gateway_api::{CONTROLLER, GatewayAddress, ParentReference, RouteGroupKind};

/// The type of the condition that each kind of getambassador.io has.
pub const ACCEPTED: &str = "Accepted";

pub const PROGRAMMED: &str = "Programmed";
pub const RESOLVED_REFS: &str = "ResolvedRefs";
pub const CONFLICTED: &str = "Conflicted";
pub const PARTIALLY_INVALID: &str = "PartiallyInvalid";
pub const INSECURE_VALIDATION: &str = "InsecureFrontendValidationMode";
pub const OVERLAPPING_TLS_CONFIG: &str = "OverlappingTLSConfig";

/// The types of the conditions that nuncio writes, of whichever kind. Others are others'.
const WRITTEN: &[&str] = &[
    ACCEPTED,
    PROGRAMMED,
    RESOLVED_REFS,
    CONFLICTED,
    PARTIALLY_INVALID,
    INSECURE_VALIDATION,
    OVERLAPPING_TLS_CONFIG,
];

/// Every field that nuncio writes, of whichever kind. Those that an object's status has beside them are
/// others'.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Status {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<Condition>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub attached_to: Vec<String>,
    /// Of a Mapping or a Host.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub state: Option<String>,
    /// Of a Mapping.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub phase_completed: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub phase_pending: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error_reason: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error_timestamp: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls_certificate_source: Option<String>,
    /// Of a Gateway, as those that follow.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub addresses: Option<Vec<GatewayAddress>>,
    /// Of a ListenerSet too.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub listeners: Option<Vec<ListenerStatus>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub attached_listener_sets: Option<i32>,
    /// Of a route; those of other controllers stand beside nuncio's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parents: Option<Vec<ParentStatus>>,
    /// Of a policy, likewise.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ancestors: Option<Vec<AncestorStatus>>,
    /// Of a GatewayClass.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub supported_features: Vec<SupportedFeature>,
    /// Of an Ingress.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub load_balancer: Option<LoadBalancerStatus>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Condition {
    #[serde(rename = "type")]
    pub type_: String,
    /// `True`, `False` or `Unknown`.
    pub status: String,
    pub reason: String,
    pub message: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_transition_time: Option<String>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ListenerStatus {
    pub name: String,
    pub supported_kinds: Vec<RouteGroupKind>,
    pub attached_routes: i32,
    pub conditions: Vec<Condition>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ParentStatus {
    pub parent_ref: ParentReference,
    pub controller_name: String,
    pub conditions: Vec<Condition>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct AncestorStatus {
    pub ancestor_ref: ParentReference,
    pub controller_name: String,
    pub conditions: Vec<Condition>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(default)]
pub struct SupportedFeature {
    pub name: String,
}

impl Status {
    /// The condition that is nuncio's.
    pub fn accepted(&self) -> Option<&Condition> {
        let mut conditions = self.conditions.iter();
        conditions.find(|condition| condition.type_ == ACCEPTED)
    }

    /// Equal for what says the same, whenever it was written. Only to be compared within one process.
    pub fn digest(&self) -> u64 {
        let mut said = self.clone();
        said.error_timestamp = None;
        for conditions in said.all_conditions() {
            conditions.retain(|condition| WRITTEN.contains(&&*condition.type_));
            for condition in &mut *conditions {
                condition.last_transition_time = None;
            }
            // The API server keeps its own order of them.
            conditions.sort_by(|one, other| one.type_.cmp(&other.type_));
        }
        let listeners = said.listeners.iter_mut();
        listeners.for_each(|all| all.sort_by(|one, other| one.name.cmp(&other.name)));
        said.keep_own();
        said.load_balancer = said
            .load_balancer
            .filter(|status| !status.ingress.is_empty());
        hash(&said)
    }
}

impl Status {
    /// The conditions of the object itself, and those of each of its parts.
    pub fn all_conditions(&mut self) -> impl Iterator<Item = &mut Vec<Condition>> {
        let listeners = self.listeners.iter_mut().flatten();
        let parents = self.parents.iter_mut().flatten();
        let ancestors = self.ancestors.iter_mut().flatten();
        std::iter::once(&mut self.conditions)
            .chain(listeners.map(|listener| &mut listener.conditions))
            .chain(parents.map(|parent| &mut parent.conditions))
            .chain(ancestors.map(|ancestor| &mut ancestor.conditions))
    }

    /// Leaves out what other controllers say. To say nothing is not to have the list.
    fn keep_own(&mut self) {
        if let Some(parents) = &mut self.parents {
            parents.retain(|parent| parent.controller_name == CONTROLLER);
        }
        if let Some(ancestors) = &mut self.ancestors {
            ancestors.retain(|ancestor| ancestor.controller_name == CONTROLLER);
        }
        self.parents = self.parents.take().filter(|parents| !parents.is_empty());
        let ancestors = self.ancestors.take();
        self.ancestors = ancestors.filter(|ancestors| !ancestors.is_empty());
        let addresses = self.addresses.take();
        self.addresses = addresses.filter(|addresses| !addresses.is_empty());
    }
}

impl Condition {
    /// Equal for conditions that say the same, whenever and of whichever generation.
    pub fn digest(&self) -> u64 {
        hash(&(&self.status, &self.reason, &self.message))
    }
}

fn hash(value: &impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(value: serde_json::Value) -> Status {
        serde_json::from_value(value).unwrap()
    }

    #[test]
    fn times_and_what_is_others_do_not_count() {
        let written = read(json!({
            "state": "Running",
            "conditions": [{"type": "Accepted", "status": "True", "reason": "Accepted", "message": ""}],
        }));
        let stored = read(json!({
            "state": "Running", "another": 1,
            "conditions": [
                {"type": "Ready", "status": "True"},
                {
                    "type": "Accepted", "status": "True", "reason": "Accepted", "message": "",
                    "lastTransitionTime": "2026-01-01T00:00:00Z",
                },
            ],
        }));
        assert_eq!(written.digest(), stored.digest());
        let other = Status {
            observed_generation: Some(2),
            ..written.clone()
        };
        assert_ne!(written.digest(), other.digest());
    }

    #[test]
    fn what_other_controllers_say_does_not_count() {
        let parent = |controller: &str, status: &str, time: &str| {
            json!({
                "parentRef": {"name": "a"}, "controllerName": controller,
                "conditions": [
                    {"type": "ResolvedRefs", "status": status, "lastTransitionTime": time},
                    {"type": "Accepted", "status": status, "lastTransitionTime": time},
                ],
            })
        };
        let own = |status: &str, time: &str| parent(CONTROLLER, status, time);
        let written = read(json!({"parents": [own("True", "2026-01-01T00:00:00Z")]}));
        let theirs = parent("example.com/other", "False", "");
        let stored = read(json!({"parents": [theirs, own("True", "2026-01-02T00:00:00Z")]}));
        assert_eq!(written.digest(), stored.digest());
        assert_ne!(
            written.digest(),
            read(json!({"parents": [own("False", "")]})).digest()
        );
        let nothing = read(json!({"parents": []}));
        assert_eq!(nothing.digest(), read(json!({})).digest());
        assert_eq!(
            nothing.digest(),
            read(json!({"parents": [theirs]})).digest()
        );
    }

    #[test]
    fn no_addresses_are_as_none() {
        assert_eq!(
            read(json!({})).digest(),
            read(json!({"loadBalancer": {}})).digest()
        );
        let one = read(json!({"loadBalancer": {"ingress": [{"ip": "192.0.2.1"}]}}));
        assert_ne!(read(json!({})).digest(), one.digest());
    }
}
