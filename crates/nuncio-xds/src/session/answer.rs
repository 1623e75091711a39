//! What follows from an ACK, from a NACK, and from no answer at all.

use std::sync::Arc;
use std::time::{Duration, Instant};

use nuncio_envoy_api::resource::{Resource, ResourceType};

use super::Session;
use super::types::{Outstanding, Sent};

/// When an answer is not waited for any longer. Envoy itself waits up to 15 s for what it lacks.
const ANSWER: Duration = Duration::from_secs(20);

/// The same for several clusters that are new to Envoy. It answers at once while it starts, and
/// afterwards they go alone; unless it started without any cluster, and comes back on a new stream.
const STUCK: Duration = Duration::from_secs(3);

/// What Envoy may take for each of them: while it applies 10,000 it says nothing for seconds, and
/// to take those back would only double its work.
const APPLIES: Duration = Duration::from_millis(1);

/// How many late answers can still be understood.
const LATE: usize = 64;

impl Session {
    pub(super) fn on_ack(
        &mut self,
        resource_type: ResourceType,
        outstanding: Outstanding,
        now: Instant,
    ) {
        let state = &mut self.types[resource_type as usize];
        state.started = true;
        state.answered = true;
        let mut freed = false;
        let mut cleared = false;
        for sent in outstanding.sent {
            let state = &mut self.types[resource_type as usize];
            state.doubtful.remove(sent.name());
            match sent {
                Sent::Resource {
                    name,
                    resource,
                    stand_in,
                } => {
                    self.memory.accept(resource_type, &name, &resource);
                    state.absent.remove(&name);
                    if !stand_in {
                        cleared |= state.suspects.remove(&name);
                        state.refused.remove(&name);
                        freed = true;
                    }
                    if state.wants(&name) {
                        let version = Arc::clone(&resource.version);
                        state.client.insert(Arc::clone(&name), version);
                        self.await_required(
                            resource_type,
                            &name,
                            &resource,
                            outstanding.since,
                            now,
                        );
                    }
                    if resource_type == ResourceType::Secret {
                        self.retry_listeners_of(&name);
                    }
                }
                Sent::Removal(name) => {
                    state.client.remove(&name);
                    freed |= !state.refused.contains_key(&name);
                    if state.names.contains(&name) {
                        state.absent.insert(Arc::clone(&name));
                    }
                    if self.wanted(resource_type, &name).is_none() {
                        self.memory.forget(resource_type, &name);
                    }
                }
            }
        }
        let state = &mut self.types[resource_type as usize];
        if cleared {
            state.suspects_at_once = state.suspects_at_once.saturating_mul(2);
        }
        if resource_type == ResourceType::Listener && freed {
            // A port that another listener needs may have got free.
            state.retry(self.number, |_, refused| refused.retry_at.is_some());
        }
    }

    pub(super) fn on_nack(
        &mut self,
        resource_type: ResourceType,
        outstanding: Outstanding,
        detail: &str,
        now: Instant,
    ) {
        self.nacks.push(resource_type);
        let repaired = outstanding.repaired;
        let since = outstanding.since;
        let retry_from = time_may_mend(detail).then_some(now);
        let culprits = culprits(resource_type, &outstanding.sent, detail);
        let several = culprits.is_empty();
        let resources = outstanding.sent.iter().filter_map(Sent::resource).count();
        let snapshot = self.snapshot.as_ref();
        let wanted = snapshot.map(|snapshot| snapshot.of(resource_type));
        let state = &mut self.types[resource_type as usize];
        state.started = true;
        state.answered = true;
        if several {
            state.suspects_at_once = (resources / 2).max(1);
        }
        for sent in outstanding.sent {
            match sent {
                Sent::Resource {
                    name,
                    resource,
                    stand_in,
                } => {
                    if stand_in {
                        if culprits.contains(&name) {
                            // Another Envoy may have accepted it; this one does not.
                            self.memory.forget(resource_type, &name);
                            state.repair(&name, since);
                        }
                    } else if culprits.contains(&name) {
                        if wanted.is_some_and(|wanted| wanted.contains_key(&name)) {
                            state.refuse(&name, &resource.version, detail, since, retry_from);
                        }
                        if !repaired {
                            state.repair(&name, since);
                        }
                    } else if repaired {
                        // It was taken back, and comes again by itself.
                        state.note(&name, since);
                    } else if several {
                        state.suspects.insert(Arc::clone(&name));
                        state.repair(&name, since);
                    } else {
                        // It was applied, but on a new stream Envoy would claim the one before.
                        self.memory.accept(resource_type, &name, &resource);
                        let version = Arc::clone(&resource.version);
                        state.refused.remove(&name);
                        state.client.insert(name, version);
                    }
                }
                // Envoy has nothing to refuse in a removal; what it says is about the others.
                Sent::Removal(name) => {
                    state.client.remove(&name);
                    if state.names.contains(&name) {
                        state.absent.insert(name);
                    }
                }
            }
        }
    }

    /// Stops waiting for an answer that does not come: other changes must not wait with it.
    pub(super) fn give_up(&mut self, resource_type: ResourceType, now: Instant) {
        if self.answer_due(resource_type).is_none_or(|due| due > now) {
            return;
        }
        let state = &mut self.types[resource_type as usize];
        let stuck = state.may_be_stuck(resource_type).is_some();
        let Some(mut outstanding) = state.outstanding.take() else {
            return;
        };
        tracing::warn!(%resource_type, nonce = outstanding.nonce, "no answer from Envoy");
        for sent in &outstanding.sent {
            match sent {
                // What is new stays unknown: should it be refused yet, its removal is due.
                Sent::Resource { name, resource, .. } => {
                    if let Some(version) = state.client.get_mut(name) {
                        *version = Arc::clone(&resource.version);
                    }
                }
                Sent::Removal(name) => {
                    state.client.remove(name);
                }
            }
        }
        if stuck {
            // Envoy answers once it is rid of what it refused, whichever that is.
            for sent in &outstanding.sent {
                state.repair(sent.name(), outstanding.since);
            }
            state.started = true;
            outstanding.repaired = true;
        }
        state.late.push(outstanding);
        if state.late.len() > LATE {
            state.late.remove(0);
        }
    }

    pub(super) fn answer_due(&self, resource_type: ResourceType) -> Option<Instant> {
        let outstanding = self.types[resource_type as usize].outstanding.as_ref()?;
        let patience = if resource_type == ResourceType::Cluster && self.never_acknowledges() {
            Duration::ZERO
        } else {
            let clusters = self.types[resource_type as usize].may_be_stuck(resource_type);
            clusters.map_or(ANSWER, |clusters| STUCK + APPLIES * clusters)
        };
        Some(outstanding.at + patience)
    }

    /// Envoy refuses a cluster, and what it has instead of it is not known here.
    fn never_acknowledges(&self) -> bool {
        let state = &self.types[ResourceType::Cluster as usize];
        state.refused.keys().any(|name| {
            state.client.contains_key(name)
                && self.memory.accepted(ResourceType::Cluster, name).is_none()
        })
    }

    /// A listener is refused while one of its secrets is bad.
    fn retry_listeners_of(&mut self, secret: &Arc<str>) {
        let Some(snapshot) = self.snapshot.as_ref().map(Arc::clone) else {
            return;
        };
        let listeners = snapshot.of(ResourceType::Listener);
        let uses = |resource: &Arc<Resource>| {
            resource
                .requires
                .iter()
                .any(|(t, name)| *t == ResourceType::Secret && name == secret)
        };
        self.types[ResourceType::Listener as usize]
            .retry(self.number, |name, _| listeners.get(name).is_some_and(uses));
    }
}

/// The resources of a refused response that the refusal is about: the only one, or the clusters
/// that Envoy names. Empty when it names none.
fn culprits(resource_type: ResourceType, sent: &[Sent], detail: &str) -> Vec<Arc<str>> {
    let resources = sent.iter().filter(|sent| sent.resource().is_some());
    let names: Vec<_> = resources.map(Sent::name).collect();
    if let [name] = names.as_slice() {
        return vec![Arc::clone(name)];
    }
    if resource_type != ResourceType::Cluster {
        return Vec::new();
    }
    names
        .into_iter()
        .filter(|name| blames(detail, name))
        .map(Arc::clone)
        .collect()
}

/// Envoy writes `Error adding/updating cluster(s) one: why, two: why`. A name alone says nothing:
/// a cluster may be called "cluster".
fn blames(detail: &str, name: &str) -> bool {
    detail.match_indices(name).any(|(at, _)| {
        detail[at + name.len()..].starts_with(": ")
            && detail[..at]
                .chars()
                .next_back()
                .is_none_or(char::is_whitespace)
    })
}

/// Whether a refusal may pass without a change: somebody else has the port.
fn time_may_mend(detail: &str) -> bool {
    ["ddress already in use", "cannot bind", "duplicate address"]
        .iter()
        .any(|reason| detail.contains(reason))
}
