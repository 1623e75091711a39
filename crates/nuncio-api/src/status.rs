//! What nuncio writes into the status of objects, and reads there to see whether it is written.

use std::hash::{DefaultHasher, Hash, Hasher};

use serde::{Deserialize, Serialize};

use crate::core::LoadBalancerStatus;

/// The type of the condition that each kind of getambassador.io has.
pub const ACCEPTED: &str = "Accepted";

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
        said.conditions = self.accepted().cloned().into_iter().collect();
        for condition in &mut said.conditions {
            condition.last_transition_time = None;
        }
        said.load_balancer = said
            .load_balancer
            .filter(|status| !status.ingress.is_empty());
        hash(&said)
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
    fn no_addresses_are_as_none() {
        assert_eq!(
            read(json!({})).digest(),
            read(json!({"loadBalancer": {}})).digest()
        );
        let one = read(json!({"loadBalancer": {"ingress": [{"ip": "192.0.2.1"}]}}));
        assert_ne!(read(json!({})).digest(), one.digest());
    }
}
