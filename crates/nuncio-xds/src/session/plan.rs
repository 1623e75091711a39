//! What goes into the next response.

use std::ops::Bound;
use std::sync::Arc;
use std::time::Instant;

use nuncio_envoy_api::envoy::service::discovery::v3::{
    DeltaDiscoveryRequest, DeltaDiscoveryResponse, Resource as DiscoveryResource,
};
use nuncio_envoy_api::google::protobuf::Any;
use nuncio_envoy_api::resource::{Resource, ResourceType};

use super::types::{Outstanding, Pending, Sent, TypeState};
use super::{CLUSTER_USERS, Session};

#[derive(Default)]
struct Batch {
    sent: Vec<Sent>,
    /// Names of which nothing more is to be sent.
    done: Vec<Arc<str>>,
    /// Names whose repair is under way, or not possible.
    repaired: Vec<Arc<str>>,
}

impl Session {
    /// Sends what can be sent now, for each type in order.
    pub(super) fn flush(&mut self, now: Instant) -> Vec<DeltaDiscoveryResponse> {
        let mut responses = Vec::new();
        for resource_type in ResourceType::ALL {
            self.give_up(resource_type, now);
            let held = CLUSTER_USERS.contains(&resource_type) && self.holds(now);
            if !held {
                responses.extend(self.flush_type(resource_type, now));
            }
        }
        self.progress(now);
        responses
    }

    fn flush_type(
        &mut self,
        resource_type: ResourceType,
        now: Instant,
    ) -> Option<DeltaDiscoveryResponse> {
        self.snapshot.as_ref()?;
        let state = &mut self.types[resource_type as usize];
        if !state.subscribed() {
            // A subscription says for itself what is to be looked at; but not that a cluster of
            // this stream waits for its assignment.
            let asked = state.asked;
            state.pending.retain(|_, pending| pending.forced && !asked);
            return None;
        }
        if state.outstanding.is_some() {
            return None;
        }
        let mut since = self.number;
        let mut batch = self.repair_batch(resource_type);
        if batch.sent.is_empty() {
            self.finish(resource_type, &batch);
            batch = self.batch(resource_type);
        }
        let state = &mut self.types[resource_type as usize];
        for sent in &batch.sent {
            if let Some(pending) = state.pending.get(sent.name()) {
                since = since.min(pending.since);
            }
        }
        self.finish(resource_type, &batch);
        let state = &mut self.types[resource_type as usize];
        let answer_wildcard = std::mem::take(&mut state.answer_wildcard);
        if batch.sent.is_empty() && !answer_wildcard {
            return None;
        }
        let resource = batch.sent.iter().rfind(|sent| sent.resource().is_some());
        state.cursor = resource.map(|sent| Arc::clone(sent.name()));
        self.nonce += 1;
        let nonce = format!("{:x}", self.nonce);
        let mut response = DeltaDiscoveryResponse {
            type_url: resource_type.type_url().to_owned(),
            nonce: nonce.clone(),
            ..Default::default()
        };
        for sent in &batch.sent {
            let state = &mut self.types[resource_type as usize];
            state.doubtful.insert(Arc::clone(sent.name()));
            match sent {
                Sent::Resource { name, resource, .. } => {
                    let resource_of = discovery_resource(resource_type, name, resource);
                    response.resources.push(resource_of);
                    self.follow(resource);
                }
                Sent::Removal(name) => response.removed_resources.push(name.to_string()),
            }
        }
        self.types[resource_type as usize].outstanding = Some(Outstanding {
            nonce,
            sent: batch.sent,
            since,
            at: now,
            repaired: false,
        });
        Some(response)
    }

    /// Forgets what a batch takes care of.
    fn finish(&mut self, resource_type: ResourceType, batch: &Batch) {
        let state = &mut self.types[resource_type as usize];
        for name in &batch.repaired {
            state.repairs.remove(name);
            if batch.sent.iter().any(|sent| sent.name() == name)
                && let Some(pending) = state.pending.get_mut(name)
            {
                pending.forced = false;
            }
        }
        for name in &batch.done {
            state.pending.remove(name);
        }
        // What the snapshot wants is in effect again, though it was never sent: it was taken back.
        let snapshot = self.snapshot.as_ref();
        let wanted = snapshot.map(|snapshot| snapshot.of(resource_type));
        for name in &batch.done {
            let wanted = wanted.and_then(|wanted| wanted.get(name));
            if let Some(refused) = state.refused.get(name)
                && let Some(wanted) = wanted
                && refused.version != wanted.version
                && state.client.get(name) == Some(&wanted.version)
                && !batch.sent.iter().any(|sent| sent.name() == name)
            {
                state.refused.remove(name);
            }
        }
    }

    /// A cluster is followed by its assignment; Envoy asks for the rest by itself. On a new stream
    /// the cluster may be sent before Envoy says which assignments it has.
    fn follow(&mut self, resource: &Resource) {
        for (resource_type, name) in &resource.requires {
            if *resource_type == ResourceType::ClusterLoadAssignment {
                let state = &mut self.types[*resource_type as usize];
                if state.names.contains(name) || !state.asked {
                    state.force(name, self.number);
                }
            }
        }
    }

    /// What was accepted last of everything that a refused response held.
    fn repair_batch(&self, resource_type: ResourceType) -> Batch {
        let state = &self.types[resource_type as usize];
        let mut batch = Batch::default();
        for name in &state.repairs {
            batch.repaired.push(Arc::clone(name));
            let Some(sent) = self.stand_in(resource_type, name, true) else {
                continue;
            };
            let resource = sent.resource().is_some();
            batch.sent.push(sent);
            if resource && goes_alone(resource_type) {
                break;
            }
        }
        batch
    }

    fn batch(&self, resource_type: ResourceType) -> Batch {
        let state = &self.types[resource_type as usize];
        let mut batch = Batch::default();
        let mut resources = Vec::new();
        let mut suspects = Vec::new();
        let mut removals = Vec::new();
        let alone = goes_alone(resource_type);
        let cautious = resource_type == ResourceType::Cluster && state.started;
        for (name, pending) in self.in_turn(state) {
            match self.next_for(resource_type, name, pending) {
                None => batch.done.push(Arc::clone(name)),
                Some(removal @ Sent::Removal(_)) => removals.push(removal),
                Some(resource) if cautious && !self.was_accepted(resource_type, &resource) => {
                    // Clusters of a stream before may still be warming; an answer says that
                    // they are not.
                    if resources.is_empty() && state.answered {
                        resources.push(resource);
                    }
                    if !resources.is_empty() {
                        break;
                    }
                }
                Some(resource) if !cautious && state.suspects.contains(name) => {
                    suspects.push(resource);
                }
                Some(resource) => resources.push(resource),
            }
            // The others have their turn later; but a listener's removal must be found.
            if alone && !resources.is_empty() && resource_type != ResourceType::Listener {
                break;
            }
        }
        if resources.is_empty() {
            suspects.truncate(state.suspects_at_once);
            resources = suspects;
        }
        if alone {
            // A new listener takes over the port of one that goes: together, or not at all.
            // Otherwise a change goes before a new one: what serves already is not kept waiting.
            let new_first = !removals.is_empty();
            resources.sort_by_key(|sent| state.client.contains_key(sent.name()) == new_first);
            resources.truncate(1);
        }
        batch.sent = resources;
        batch.sent.append(&mut removals);
        let sent = batch.sent.iter().map(|sent| Arc::clone(sent.name()));
        batch.done.extend(sent);
        batch
    }

    fn was_accepted(&self, resource_type: ResourceType, sent: &Sent) -> bool {
        let accepted = self.memory.accepted(resource_type, sent.name());
        match (accepted, sent.resource()) {
            (Some(accepted), Some(resource)) => accepted.version == resource.version,
            _ => false,
        }
    }

    /// What is pending, from the cursor on: a name that changes all the time must not keep those
    /// behind it from their turn.
    fn in_turn<'a>(
        &self,
        state: &'a TypeState,
    ) -> impl Iterator<Item = (&'a Arc<str>, &'a Pending)> {
        let cursor = state.cursor.as_ref();
        let after = cursor.map_or(Bound::Unbounded, Bound::Excluded);
        let rest = cursor.map(|cursor| state.pending.range::<Arc<str>, _>(..=cursor));
        state
            .pending
            .range::<Arc<str>, _>((after, Bound::Unbounded))
            .chain(rest.into_iter().flatten())
    }

    fn next_for(
        &self,
        resource_type: ResourceType,
        name: &Arc<str>,
        pending: &Pending,
    ) -> Option<Sent> {
        let state = &self.types[resource_type as usize];
        if !state.wants(name) {
            return None;
        }
        let has = state.client.get(name);
        if let Some(wanted) = self.wanted(resource_type, name) {
            let refused = state.refused.get(name);
            if refused.is_some_and(|r| r.version == wanted.version && !r.again) {
                return self.stand_in(resource_type, name, pending.forced);
            }
            let differs = pending.forced || has != Some(&wanted.version);
            return differs.then(|| Sent::Resource {
                name: Arc::clone(name),
                resource: Arc::clone(wanted),
                stand_in: false,
            });
        }
        match resource_type {
            ResourceType::Cluster if state.leaving.contains_key(name) => None,
            ResourceType::Cluster | ResourceType::Listener => {
                self.stand_in(resource_type, name, pending.forced)
            }
            // Something that is still in effect may need what the snapshot lacks.
            _ if pending.forced => self
                .stand_in(resource_type, name, true)
                .or_else(|| Some(Sent::Removal(Arc::clone(name)))),
            _ => None,
        }
    }

    /// What Envoy accepted last, or the removal of what it never had. Where Envoy has one from
    /// before this process, whose body is not known here, it stays.
    fn stand_in(&self, resource_type: ResourceType, name: &Arc<str>, forced: bool) -> Option<Sent> {
        let state = &self.types[resource_type as usize];
        let has = state.client.get(name);
        let leaves = match resource_type {
            ResourceType::Cluster => !state.leaving.contains_key(name),
            ResourceType::Listener => true,
            _ => false,
        };
        if leaves && self.wanted(resource_type, name).is_none() {
            return (has.is_some() || forced).then(|| Sent::Removal(Arc::clone(name)));
        }
        let refused = state.refused.get(name).map(|refused| &refused.version);
        let accepted = self
            .memory
            .accepted(resource_type, name)
            .filter(|accepted| Some(&accepted.version) != refused);
        match accepted {
            Some(resource) => (forced || has != Some(&resource.version)).then(|| Sent::Resource {
                name: Arc::clone(name),
                resource,
                stand_in: true,
            }),
            None => (forced && has.is_none()).then(|| Sent::Removal(Arc::clone(name))),
        }
    }
}

/// A refused response of several says little about which.
fn goes_alone(resource_type: ResourceType) -> bool {
    match resource_type {
        ResourceType::Cluster | ResourceType::ClusterLoadAssignment => false,
        ResourceType::Runtime
        | ResourceType::Secret
        | ResourceType::ExtensionConfig
        | ResourceType::Listener
        | ResourceType::RouteConfiguration => true,
    }
}

fn discovery_resource(
    resource_type: ResourceType,
    name: &Arc<str>,
    resource: &Resource,
) -> DiscoveryResource {
    DiscoveryResource {
        name: name.to_string(),
        version: resource.version.to_string(),
        resource: Some(Any {
            type_url: resource_type.type_url().to_owned(),
            value: resource.body.clone(),
        }),
        ..Default::default()
    }
}

/// A type that nuncio does not serve: what is asked for does not exist.
pub(super) fn nothing_of_type(request: DeltaDiscoveryRequest) -> Option<DeltaDiscoveryResponse> {
    if !request.response_nonce.is_empty() && request.resource_names_subscribe.is_empty() {
        return None; // the acknowledgement of this very answer
    }
    tracing::warn!(
        type_url = request.type_url,
        "Envoy asks for an unknown type"
    );
    Some(DeltaDiscoveryResponse {
        nonce: "nothing".to_owned(),
        type_url: request.type_url,
        removed_resources: request.resource_names_subscribe,
        ..Default::default()
    })
}
