//! A status of the Gateway API as it is written: with what others say in lists that are written as a
//! whole, and since when each condition is as it is. Pure.

use k8s_openapi::jiff::Timestamp;
use nuncio_api::gateway_api::CONTROLLER;
use nuncio_api::status::{Condition, Status};

/// What nuncio is to say, over what is said.
pub(crate) fn merge(mut status: Status, current: &Status, now: Timestamp) -> Status {
    if let (Some(own), Some(all)) = (&mut status.parents, &current.parents) {
        let others = all.iter().filter(|each| each.controller_name != CONTROLLER);
        let mut merged: Vec<_> = others.cloned().collect();
        merged.append(own);
        *own = merged;
    }
    if let (Some(own), Some(all)) = (&mut status.ancestors, &current.ancestors) {
        let others = all.iter().filter(|each| each.controller_name != CONTROLLER);
        let mut merged: Vec<_> = others.cloned().collect();
        merged.append(own);
        *own = merged;
    }
    let now = now.to_string();
    since(&mut status.conditions, &current.conditions, &now);
    for listener in status.listeners.iter_mut().flatten() {
        let mut before = current.listeners.iter().flatten();
        let before = before.find(|before| before.name == listener.name);
        let before = before.map_or(&[][..], |before| &before.conditions);
        since(&mut listener.conditions, before, &now);
    }
    for parent in status.parents.iter_mut().flatten() {
        let mut before = current.parents.iter().flatten();
        let before = before.find(|before| {
            (&before.parent_ref, &before.controller_name)
                == (&parent.parent_ref, &parent.controller_name)
        });
        let before = before.map_or(&[][..], |before| &before.conditions);
        since(&mut parent.conditions, before, &now);
    }
    for ancestor in status.ancestors.iter_mut().flatten() {
        let mut before = current.ancestors.iter().flatten();
        let before = before.find(|before| {
            (&before.ancestor_ref, &before.controller_name)
                == (&ancestor.ancestor_ref, &ancestor.controller_name)
        });
        let before = before.map_or(&[][..], |before| &before.conditions);
        since(&mut ancestor.conditions, before, &now);
    }
    status
}

/// A condition whose status is the same is as old as it was.
fn since(conditions: &mut [Condition], before: &[Condition], now: &str) {
    for condition in conditions {
        let same = |before: &&Condition| {
            before.type_ == condition.type_ && before.status == condition.status
        };
        let before = before.iter().find(same);
        let time = before.and_then(|before| before.last_transition_time.clone());
        condition.last_transition_time = Some(time.unwrap_or_else(|| now.to_owned()));
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(value: serde_json::Value) -> Status {
        serde_json::from_value(value).unwrap()
    }

    #[test]
    fn what_others_say_stays_and_so_do_times() {
        let condition = |status: &str, time: Option<&str>| {
            json!({
                "type": "Accepted", "status": status, "reason": "", "message": "",
                "lastTransitionTime": time,
            })
        };
        let parent = |controller: &str, name: &str, condition| {
            json!({
                "parentRef": {"name": name}, "controllerName": controller,
                "conditions": [condition],
            })
        };
        let then = Some("2026-01-01T00:00:00Z");
        let theirs = parent("example.com/other", "b", condition("True", then));
        let current = read(json!({"parents": [
            parent(CONTROLLER, "a", condition("True", then)),
            theirs,
            parent(CONTROLLER, "b", condition("True", then)),
            parent(CONTROLLER, "gone", condition("True", then)),
        ]}));
        let status = read(json!({"parents": [
            parent(CONTROLLER, "a", condition("True", None)),
            parent(CONTROLLER, "b", condition("False", None)),
            parent(CONTROLLER, "new", condition("True", None)),
        ]}));
        let now = "2026-02-02T00:00:00Z";
        let merged = merge(status, &current, now.parse().unwrap());
        let expected = read(json!({"parents": [
            theirs,
            parent(CONTROLLER, "a", condition("True", then)),
            parent(CONTROLLER, "b", condition("False", Some(now))),
            parent(CONTROLLER, "new", condition("True", Some(now))),
        ]}));
        assert_eq!(merged, expected);
    }
}
