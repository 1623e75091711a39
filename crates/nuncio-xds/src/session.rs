//! The state machine of one delta ADS stream.
//!
//! # Rules
//!
//! What Envoy does under delta xDS is not all in its documentation; each rule has a test.
//!
//! - One response is outstanding for each type, and none waits for another type: Envoy acknowledges
//!   an EDS cluster only after its assignment came. What changes meanwhile is merged.
//! - An EDS cluster that is sent is followed by its assignment, even an unchanged one: Envoy does
//!   not subscribe again when a cluster changes, and warms it for 15 s without.
//! - Every subscription is answered: with the resource, with its name among the removed, or for an
//!   empty wildcard with an empty response.
//! - Listeners, route tables and secrets go one to a response, because a refused response of
//!   several says little about which.
//! - What Envoy refuses is followed at once by what it accepted last, or by the removal of what it
//!   never had. Otherwise a refused cluster keeps Envoy from acknowledging clusters for ever, and a
//!   refused secret every listener that uses it.
//! - A listener that goes and one that comes travel together: a renamed one keeps its port.
//! - A cluster that is no longer used goes last, and some time after the routes: requests may still
//!   sit in a filter. Resources that are subscribed by name are never taken away: Envoy
//!   unsubscribes when it no longer needs them.

mod types;

use std::sync::Arc;
use std::time::{Duration, Instant};

use nuncio_envoy_api::envoy::service::discovery::v3::{
    DeltaDiscoveryRequest, DeltaDiscoveryResponse, Resource as DiscoveryResource,
};
use nuncio_envoy_api::google::protobuf::Any;
use nuncio_envoy_api::resource::{Resource, ResourceType, Snapshot};

use crate::accepted::Accepted;
pub use types::Refused;
use types::{Outstanding, Sent, TypeState};

/// When a refusal that may pass by itself, such as a port in use, is tried again; then twice that,
/// up to the last.
const FIRST_RETRY: Duration = Duration::from_secs(5);
const LAST_RETRY: Duration = Duration::from_secs(60);

/// What came of a response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pushed {
    pub resource_type: ResourceType,
    pub resources: usize,
}

/// One stream.
pub struct Session {
    snapshot: Arc<Snapshot>,
    types: [TypeState; ResourceType::ALL.len()],
    accepted: Accepted,
    linger: Duration,
    nonce: u64,
    nacks: Vec<ResourceType>,
}

impl Session {
    pub(crate) fn new(snapshot: Arc<Snapshot>, accepted: Accepted, linger: Duration) -> Self {
        Self {
            snapshot,
            types: Default::default(),
            accepted,
            linger,
            nonce: 0,
            nacks: Vec::new(),
        }
    }

    /// Takes a request: a subscription, an ACK or a NACK, or several of them at once.
    pub fn on_request(
        &mut self,
        request: DeltaDiscoveryRequest,
        now: Instant,
    ) -> Vec<DeltaDiscoveryResponse> {
        let Some(resource_type) = ResourceType::from_type_url(&request.type_url) else {
            return nothing_of_type(request).into_iter().collect();
        };
        let state = &mut self.types[resource_type as usize];
        match state.outstanding.take() {
            Some(outstanding) if outstanding.nonce == request.response_nonce => {
                match &request.error_detail {
                    None => self.on_ack(resource_type, outstanding),
                    Some(error) => self.on_nack(resource_type, outstanding, &error.message, now),
                }
            }
            other => state.outstanding = other,
        }
        self.subscribe(resource_type, request);
        self.flush(now)
    }

    /// Takes the snapshot that counts from now on.
    pub fn on_snapshot(
        &mut self,
        snapshot: Arc<Snapshot>,
        now: Instant,
    ) -> Vec<DeltaDiscoveryResponse> {
        let old = std::mem::replace(&mut self.snapshot, snapshot);
        for resource_type in ResourceType::ALL {
            let (old, new) = (old.of(resource_type), self.snapshot.of(resource_type));
            let state = &mut self.types[resource_type as usize];
            for (name, resource) in new {
                let same = old
                    .get(name)
                    .is_some_and(|o| Arc::ptr_eq(o, resource) || o.version == resource.version);
                if !same {
                    state.dirty.insert(Arc::clone(name));
                }
            }
            for name in old.keys().filter(|name| !new.contains_key(*name)) {
                state.dirty.insert(Arc::clone(name));
                state.refused.remove(name);
            }
        }
        self.flush(now)
    }

    /// Does what has waited for this time.
    pub fn on_timer(&mut self, now: Instant) -> Vec<DeltaDiscoveryResponse> {
        for state in &mut self.types {
            state.retry_due(now);
            state.linger_due(now);
        }
        self.flush(now)
    }

    /// When [`Session::on_timer`] has something to do.
    pub fn next_timer(&self) -> Option<Instant> {
        self.types.iter().filter_map(TypeState::next_timer).min()
    }

    /// Everything that came of the snapshot was answered; what lingers does not count.
    pub fn is_settled(&self) -> bool {
        ResourceType::ALL.into_iter().all(|t| {
            let state = &self.types[t as usize];
            state.outstanding.is_none()
                && state
                    .dirty
                    .iter()
                    .all(|name| state.lingering.contains_key(name))
        }) && self.is_answered()
    }

    /// Each resource that Envoy has, or refused, has what it requires answered too.
    fn is_answered(&self) -> bool {
        [ResourceType::Cluster, ResourceType::Listener]
            .into_iter()
            .all(|resource_type| {
                let state = &self.types[resource_type as usize];
                state.wildcard
                    && self.snapshot.of(resource_type).iter().all(|(name, r)| {
                        state.refused.contains_key(name)
                            || (state.client.contains_key(name)
                                && r.requires.iter().all(|(t, n)| {
                                    let required = &self.types[*t as usize];
                                    required.client.contains_key(n)
                                        || required.refused.contains_key(n)
                                        || required.absent.contains(n)
                                }))
                    })
            })
    }

    /// What Envoy refuses at the moment.
    pub fn refused(&self) -> impl Iterator<Item = (ResourceType, &Arc<str>, &Refused)> {
        ResourceType::ALL.into_iter().flat_map(|t| {
            self.types[t as usize]
                .refused
                .iter()
                .map(move |(name, refused)| (t, name, refused))
        })
    }

    /// How many resources of a type Envoy has.
    pub fn held(&self, resource_type: ResourceType) -> usize {
        self.types[resource_type as usize].client.len()
    }

    /// The types of the responses that were refused since the last call.
    pub fn take_nacks(&mut self) -> Vec<ResourceType> {
        std::mem::take(&mut self.nacks)
    }

    fn subscribe(&mut self, resource_type: ResourceType, request: DeltaDiscoveryRequest) {
        let snapshot = self.snapshot.of(resource_type);
        let state = &mut self.types[resource_type as usize];
        let first = !std::mem::replace(&mut state.asked, true);
        for (name, version) in request.initial_resource_versions {
            let name: Arc<str> = name.into();
            state.dirty.insert(Arc::clone(&name));
            state.client.insert(name, version.into());
        }
        let by_name = matches!(
            resource_type,
            ResourceType::ClusterLoadAssignment
                | ResourceType::Secret
                | ResourceType::RouteConfiguration
        );
        let mut wildcard = first && !by_name && request.resource_names_subscribe.is_empty();
        for name in request.resource_names_subscribe {
            if name == "*" {
                wildcard = true;
                continue;
            }
            let name: Arc<str> = name.into();
            // With an initial version Envoy has it already, and asks for what differs.
            if !(first && state.client.contains_key(&name)) {
                state.forced.insert(Arc::clone(&name));
            }
            state.dirty.insert(Arc::clone(&name));
            state.names.insert(name);
        }
        for name in request.resource_names_unsubscribe {
            if name == "*" {
                state.wildcard = false;
            }
            state.unsubscribe(name.as_str());
        }
        if wildcard && !state.wildcard {
            state.wildcard = true;
            state.answer_wildcard = true;
            state.dirty.extend(snapshot.keys().map(Arc::clone));
        }
    }

    fn on_ack(&mut self, resource_type: ResourceType, outstanding: Outstanding) {
        let snapshot = self.snapshot.of(resource_type);
        let state = &mut self.types[resource_type as usize];
        for sent in outstanding.sent {
            match sent {
                Sent::Resource(name, resource) => {
                    self.accepted.insert(resource_type, &name, &resource);
                    state.absent.remove(&name);
                    // What stands in for a refused version does not end the refusal.
                    let wanted = snapshot.get(&name).map(|wanted| &wanted.version);
                    let stands_in = state.refused.get(&name).is_some_and(|refused| {
                        wanted == Some(&refused.version) && refused.version != resource.version
                    });
                    if !stands_in {
                        state.refused.remove(&name);
                    }
                    if state.wildcard || state.names.contains(&name) {
                        state.client.insert(name, Arc::clone(&resource.version));
                    }
                }
                Sent::Removal(name) => {
                    self.accepted.remove(resource_type, &name);
                    state.client.remove(&name);
                    if state.names.contains(&name) {
                        state.absent.insert(name);
                    }
                }
            }
        }
    }

    fn on_nack(
        &mut self,
        resource_type: ResourceType,
        outstanding: Outstanding,
        detail: &str,
        now: Instant,
    ) {
        self.nacks.push(resource_type);
        let state = &mut self.types[resource_type as usize];
        let culprits = culprits(&outstanding.sent, detail);
        for sent in outstanding.sent {
            match sent {
                Sent::Resource(name, resource) => {
                    state.forced.insert(Arc::clone(&name));
                    state.dirty.insert(Arc::clone(&name));
                    if culprits.is_empty() {
                        state.alone.insert(name);
                    } else if culprits.contains(&name) {
                        state.refuse(name, &resource.version, detail, retry(detail), now);
                    }
                }
                // Envoy has nothing to refuse in a removal; what it says is about the others.
                Sent::Removal(name) => {
                    state.client.remove(&name);
                }
            }
        }
    }

    /// Sends what can be sent now, for each type in order.
    fn flush(&mut self, now: Instant) -> Vec<DeltaDiscoveryResponse> {
        let mut responses = Vec::new();
        for resource_type in ResourceType::ALL {
            if let Some(response) = self.flush_type(resource_type) {
                responses.push(response);
            }
        }
        self.start_lingering(now);
        responses
    }

    fn flush_type(&mut self, resource_type: ResourceType) -> Option<DeltaDiscoveryResponse> {
        let state = &mut self.types[resource_type as usize];
        if !state.subscribed() {
            // A subscription says for itself what is to be looked at.
            state.dirty.clear();
            return None;
        }
        if state.outstanding.is_some() {
            return None;
        }
        let batch = self.batch(resource_type);
        let state = &mut self.types[resource_type as usize];
        for name in &batch.done {
            state.dirty.remove(name);
            state.forced.remove(name);
            state.alone.remove(name);
        }
        let answer_wildcard = std::mem::take(&mut state.answer_wildcard);
        if batch.sent.is_empty() && !answer_wildcard {
            return None;
        }
        self.nonce += 1;
        let nonce = format!("{:x}", self.nonce);
        let mut response = DeltaDiscoveryResponse {
            type_url: resource_type.type_url().to_owned(),
            nonce: nonce.clone(),
            ..Default::default()
        };
        for sent in &batch.sent {
            match sent {
                Sent::Resource(name, resource) => {
                    response
                        .resources
                        .push(discovery_resource(resource_type, name, resource));
                    self.follow(resource);
                }
                Sent::Removal(name) => response.removed_resources.push(name.to_string()),
            }
        }
        self.types[resource_type as usize].outstanding = Some(Outstanding {
            nonce,
            sent: batch.sent,
        });
        Some(response)
    }

    /// A cluster is followed by its assignment; Envoy asks for the rest by itself.
    fn follow(&mut self, resource: &Resource) {
        for (resource_type, name) in &resource.requires {
            if *resource_type == ResourceType::ClusterLoadAssignment {
                let state = &mut self.types[*resource_type as usize];
                if state.names.contains(name) {
                    state.dirty.insert(Arc::clone(name));
                    state.forced.insert(Arc::clone(name));
                }
            }
        }
    }

    /// What goes into the next response of a type.
    fn batch(&self, resource_type: ResourceType) -> Batch {
        let state = &self.types[resource_type as usize];
        let one_by_one = matches!(
            resource_type,
            ResourceType::Listener | ResourceType::RouteConfiguration | ResourceType::Secret
        );
        let mut batch = Batch::default();
        let mut resources = Vec::new();
        let mut removals = Vec::new();
        for name in &state.dirty {
            match self.next_for(resource_type, name) {
                Next::Nothing => batch.done.push(Arc::clone(name)),
                Next::Wait => {}
                Next::Remove => removals.push(Arc::clone(name)),
                Next::Send(resource) => resources.push((Arc::clone(name), resource)),
            }
        }
        if one_by_one || !state.alone.is_empty() {
            // New listeners take over the ports of those that go: together, or not at all.
            let replaces = !removals.is_empty()
                && resource_type == ResourceType::Listener
                && resources
                    .iter()
                    .any(|(name, _)| !state.client.contains_key(name));
            if replaces {
                resources.retain(|(name, _)| !state.client.contains_key(name));
            } else {
                // A change before a new one: what serves already is not kept waiting.
                resources.sort_by_key(|(name, _)| !state.client.contains_key(name));
                resources.truncate(1);
            }
        }
        for (name, resource) in resources {
            batch.done.push(Arc::clone(&name));
            batch.sent.push(Sent::Resource(name, resource));
        }
        for name in removals {
            batch.done.push(Arc::clone(&name));
            batch.sent.push(Sent::Removal(name));
        }
        batch
    }

    fn next_for(&self, resource_type: ResourceType, name: &Arc<str>) -> Next {
        let state = &self.types[resource_type as usize];
        if !state.wildcard && !state.names.contains(name) {
            return Next::Nothing;
        }
        let forced = state.forced.contains(name);
        let has = state.client.get(name);
        let wanted = self.snapshot.of(resource_type).get(name);
        let refused = state.refused.get(name);
        if let (Some(wanted), Some(refused)) = (wanted, refused)
            && refused.version == wanted.version
            && !refused.again
        {
            // What stands in for it: what Envoy accepted last.
            return match self.accepted.get(resource_type, name) {
                Some(accepted) if forced || has != Some(&accepted.version) => Next::Send(accepted),
                Some(_) => Next::Nothing,
                // Envoy has one from before this process, whose body is not known here: it stays.
                None if has.is_some() => Next::Nothing,
                None if forced => Next::Remove,
                None => Next::Nothing,
            };
        }
        match wanted {
            Some(wanted) if forced || has != Some(&wanted.version) => {
                Next::Send(Arc::clone(wanted))
            }
            Some(_) => Next::Nothing,
            None if state.names.contains(name) => {
                if forced && !state.wildcard {
                    Next::Remove
                } else {
                    Next::Nothing
                }
            }
            None if has.is_none() && !forced => Next::Nothing,
            None if resource_type == ResourceType::Cluster && !state.lingered.contains(name) => {
                Next::Wait
            }
            None => Next::Remove,
        }
    }

    /// Clusters that nothing uses any more begin to linger once the routes are acknowledged.
    fn start_lingering(&mut self, now: Instant) {
        let [routes, listeners] = [ResourceType::RouteConfiguration, ResourceType::Listener]
            .map(|t| &self.types[t as usize])
            .map(|state| state.outstanding.is_none() && state.dirty.is_empty());
        let wanted = self.snapshot.of(ResourceType::Cluster);
        let state = &mut self.types[ResourceType::Cluster as usize];
        state.lingering.retain(|name, _| !wanted.contains_key(name));
        state.lingered.retain(|name| !wanted.contains_key(name));
        if routes && listeners {
            let until = now + self.linger;
            for name in &state.dirty {
                if !wanted.contains_key(name) && !state.lingered.contains(name) {
                    state.lingering.entry(Arc::clone(name)).or_insert(until);
                }
            }
        }
    }
}

#[derive(Default)]
struct Batch {
    sent: Vec<Sent>,
    /// Names that need no more than this.
    done: Vec<Arc<str>>,
}

enum Next {
    Nothing,
    Wait,
    Remove,
    Send(Arc<Resource>),
}

/// The resources of a refused response that the refusal is about: the only one, or those that
/// Envoy names. Empty when it names none.
fn culprits(sent: &[Sent], detail: &str) -> Vec<Arc<str>> {
    let names: Vec<&Arc<str>> = sent
        .iter()
        .filter_map(|sent| match sent {
            Sent::Resource(name, _) => Some(name),
            Sent::Removal(_) => None,
        })
        .collect();
    if let [name] = names.as_slice() {
        return vec![Arc::clone(name)];
    }
    names
        .into_iter()
        .filter(|name| names_it(detail, name))
        .map(Arc::clone)
        .collect()
}

/// `detail` has `name` as a word: names are often the beginnings of others.
fn names_it(detail: &str, name: &str) -> bool {
    let is_part = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.' | '/');
    detail.match_indices(name).any(|(at, _)| {
        let before = detail[..at].chars().next_back();
        let mut after = detail[at + name.len()..].chars();
        // A full stop or colon may end the sentence that the name stands in.
        let next = after.next();
        !before.is_some_and(is_part)
            && (!next.is_some_and(is_part)
                || (next == Some('.') && !after.next().is_some_and(is_part)))
    })
}

/// Whether a refusal may pass without a change: somebody else has the port.
fn retry(detail: &str) -> bool {
    detail.contains("ddress already in use") || detail.contains("cannot bind")
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
fn nothing_of_type(request: DeltaDiscoveryRequest) -> Option<DeltaDiscoveryResponse> {
    if !request.response_nonce.is_empty() {
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

#[cfg(test)]
mod tests;
