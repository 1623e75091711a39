//! The state machine of one delta ADS stream.
//!
//! # Rules
//!
//! What Envoy does under delta xDS is not all in its documentation; each rule has a test.
//!
//! - One response is outstanding for each type, and none waits for another type: Envoy acknowledges
//!   an EDS cluster only after its assignment came. What changes meanwhile is merged. But for a
//!   short time filters, listeners and routes wait for clusters that Envoy does not have yet.
//! - An EDS cluster that is sent is followed by its assignment, even an unchanged one: Envoy does
//!   not subscribe again when a cluster changes, and warms it for 15 s without.
//! - Every subscription is answered: with the resource, with its name among the removed, or for an
//!   empty wildcard with an empty response.
//! - But for clusters and assignments resources go one to a response, because a refused response of
//!   several says little about which. So do clusters that Envoy has not accepted before, once it
//!   has started: it answers a response with a refused and a good one not at all, because the good
//!   one is warming and the refused one never ends to.
//! - What Envoy refuses is followed at once by what it accepted last, or by the removal of what it
//!   never had. Otherwise a refused cluster keeps Envoy from acknowledging clusters for ever, and a
//!   refused secret every listener that uses it. The refused version is not sent again, but when
//!   time may have mended it: a port got free, a listener's secret is good again.
//! - A listener that goes travels with one that comes: a renamed one keeps its port.
//! - A cluster that is no longer used goes last, and some time after the routes that stopped using
//!   it are acknowledged: requests may still sit in a filter. While Envoy refuses such routes, what
//!   they replace stays in effect, and so do its clusters. Resources that are subscribed by name
//!   are never taken away: Envoy unsubscribes when it no longer needs them.
//! - Before there is a snapshot nothing is answered: an Envoy that runs keeps what it has.
//!
//! # What it relies on
//!
//! A listener of a snapshot names only filters, secrets and route tables of that snapshot. Their
//! subscriptions can then be answered, and the listener does not wait for them. Where one is missing
//! its removal is the answer. It ends Envoy's wait for a secret; for a route table Envoy waits its
//! 15 s all the same; for a filter for ever, and at its start with all listeners. A filter that was
//! refused before any was accepted ends the wait, and the listener answers 500 to everything.
//!
//! A changed filter counts from the next request on of connections that are open; none is drained.
//!
//! Of an Envoy that is taken over from another process only those bodies are known that are still
//! the same. If it refuses the change of another one it keeps its own, and a cluster among these
//! then keeps it from acknowledging clusters: they are sent without waiting for that.

mod answer;
mod plan;
mod progress;
mod types;

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use imbl::ordmap::DiffItem;
use nuncio_envoy_api::envoy::service::discovery::v3::{
    DeltaDiscoveryRequest, DeltaDiscoveryResponse,
};
use nuncio_envoy_api::resource::{Resource, ResourceType, Resources, Snapshot};

use crate::memory::{Memory, Names};
use progress::Awaited;
pub use types::Refused;
use types::{Outstanding, TypeState};

/// The version of what Envoy may have in another one than it says: equal to none.
const UNKNOWN: &str = "";

/// What may name a cluster: a route, or a filter that asks somebody.
const CLUSTER_USERS: [ResourceType; 3] = [
    ResourceType::ExtensionConfig,
    ResourceType::Listener,
    ResourceType::RouteConfiguration,
];

/// How a session deals with time.
#[derive(Clone, Debug)]
pub struct Options {
    /// How long a cluster stays after the routes stopped using it. At least as long as a filter
    /// may hold a request back.
    pub linger: Duration,
    /// For how long filters, listeners and routes wait at most for clusters that are new to Envoy: a request
    /// that comes between its route and its cluster is answered by a 503.
    pub hold_routes: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            linger: Duration::from_secs(30),
            hold_routes: Duration::from_secs(2),
        }
    }
}

/// One stream.
pub struct Session {
    options: Options,
    memory: Memory,
    /// `None` before the first.
    snapshot: Option<Arc<Snapshot>>,
    /// The snapshot's number.
    number: u64,
    /// That of the first one: what was before it Envoy never had here.
    first: u64,
    types: [TypeState; ResourceType::ALL.len()],
    nonce: u64,
    /// Since when clusters have kept what names them waiting, and whether they still do.
    held_since: Option<Instant>,
    held: bool,
    /// Accepted resources, whose requirements Envoy has not all asked for.
    awaited: BTreeMap<(ResourceType, Arc<str>), Awaited>,
    acknowledged: u64,
    nacks: Vec<ResourceType>,
}

impl Session {
    pub(crate) fn new(memory: Memory, options: Options) -> Self {
        Self {
            options,
            memory,
            snapshot: None,
            number: 0,
            first: 0,
            types: Default::default(),
            nonce: 0,
            held_since: None,
            held: false,
            awaited: BTreeMap::new(),
            acknowledged: 0,
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
            return plan::nothing_of_type(request).into_iter().collect();
        };
        if let Some(outstanding) = self.take_answered(resource_type, &request.response_nonce) {
            match &request.error_detail {
                None => self.on_ack(resource_type, outstanding, now),
                Some(error) => self.on_nack(resource_type, outstanding, &error.message, now),
            }
        }
        self.subscribe(resource_type, request, now);
        self.flush(now)
    }

    /// Takes the snapshot that counts from now on. Numbers grow.
    pub fn on_snapshot(
        &mut self,
        number: u64,
        snapshot: Arc<Snapshot>,
        now: Instant,
    ) -> Vec<DeltaDiscoveryResponse> {
        self.number = number;
        let old = self.snapshot.replace(Arc::clone(&snapshot));
        if old.is_none() {
            self.first = number;
        }
        for resource_type in ResourceType::ALL {
            let new = snapshot.of(resource_type);
            match &old {
                Some(old) => self.compare(resource_type, old.of(resource_type), new),
                None => self.compare_with_claims(resource_type, new, now),
            }
        }
        self.flush(now)
    }

    /// Does what has waited for this time.
    pub fn on_timer(&mut self, now: Instant) -> Vec<DeltaDiscoveryResponse> {
        for resource_type in ResourceType::ALL {
            let state = &mut self.types[resource_type as usize];
            state.retry(self.number, |_, refused| {
                refused.retry_at.is_some_and(|at| at <= now)
            });
            state.linger_due(self.number, now);
            self.give_up(resource_type, now);
        }
        self.flush(now)
    }

    /// When [`Session::on_timer`] has something to do.
    pub fn next_timer(&self) -> Option<Instant> {
        let states = self.types.iter().filter_map(TypeState::next_timer);
        let answers = ResourceType::ALL
            .into_iter()
            .filter_map(|t| self.answer_due(t));
        states
            .chain(answers)
            .chain(self.held_until())
            .chain(self.awaited.values().map(|awaited| awaited.until))
            .min()
    }

    /// The newest snapshot of which Envoy has answered everything, by ACK or NACK, what its
    /// resources made it ask for included. What lingers does not count; 0 before the first.
    pub fn acknowledged(&self) -> u64 {
        self.acknowledged
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

    /// What Envoy accepted last of a resource, where that is known.
    pub(crate) fn accepted(
        &self,
        resource_type: ResourceType,
        name: &Arc<str>,
    ) -> Option<Arc<Resource>> {
        self.memory.accepted(resource_type, name)
    }

    /// How many resources of a type Envoy has.
    pub fn held(&self, resource_type: ResourceType) -> usize {
        self.types[resource_type as usize].client.len()
    }

    /// The types of the responses that were refused since the last call.
    pub fn take_nacks(&mut self) -> Vec<ResourceType> {
        std::mem::take(&mut self.nacks)
    }

    /// Leaves what the next stream of the same Envoy must know.
    pub fn close(&self) {
        let refused = self
            .refused()
            .map(|(t, name, refused)| (t, Arc::clone(name), refused.clone()));
        let mut unanswered = Names::default();
        for resource_type in ResourceType::ALL {
            let state = &self.types[resource_type as usize];
            for name in state
                .pending
                .iter()
                .filter_map(|(name, pending)| pending.forced.then_some(name))
            {
                unanswered.insert((resource_type, Arc::clone(name)), None);
            }
            let responses = state.outstanding.iter().chain(&state.late);
            for sent in responses.flat_map(|response| &response.sent) {
                // A cluster may be waiting for its assignment.
                for required in sent.resource().iter().flat_map(|sent| &sent.requires) {
                    unanswered.entry(required.clone()).or_insert(None);
                }
                let key = (resource_type, Arc::clone(sent.name()));
                unanswered.insert(key, state.news(sent).map(Arc::clone));
            }
        }
        let clusters = &self.types[ResourceType::Cluster as usize];
        let leaving = clusters.leaving.keys().map(Arc::clone);
        let doubtful = [ResourceType::Cluster, ResourceType::Listener]
            .into_iter()
            .flat_map(|t| {
                let names = self.types[t as usize].doubtful.iter();
                names.map(move |name| (t, Arc::clone(name)))
            });
        self.memory.leave(refused, unanswered, leaving, doubtful);
    }

    fn wanted(&self, resource_type: ResourceType, name: &str) -> Option<&Arc<Resource>> {
        self.snapshot.as_ref()?.of(resource_type).get(name)
    }

    /// Marks what differs between two snapshots. What they share is not looked at.
    fn compare(&mut self, resource_type: ResourceType, old: &Resources, new: &Resources) {
        let state = &mut self.types[resource_type as usize];
        for difference in old.diff(new) {
            match difference {
                DiffItem::Update {
                    old: (_, old),
                    new: (_, new),
                } if old.version == new.version => {}
                DiffItem::Add(name, _) | DiffItem::Update { new: (name, _), .. } => {
                    state.leaving.remove(name);
                    state.note(name, self.number);
                }
                DiffItem::Remove(name, _) => state.gone(resource_type, name, self.number),
            }
        }
    }

    /// Compares the first snapshot with what Envoy said that it has.
    fn compare_with_claims(&mut self, resource_type: ResourceType, new: &Resources, now: Instant) {
        self.compare(resource_type, &Resources::new(), new);
        let state = &mut self.types[resource_type as usize];
        state.refused.retain(|name, _| new.contains_key(name));
        let claims: Vec<_> = self.types[resource_type as usize]
            .client
            .keys()
            .map(Arc::clone)
            .collect();
        for name in claims {
            self.claimed(resource_type, &name, now);
        }
    }

    /// Envoy says that it has a resource, from a stream before this one.
    fn claimed(&mut self, resource_type: ResourceType, name: &Arc<str>, now: Instant) {
        if self.snapshot.is_none() {
            return;
        }
        let wanted = self.wanted(resource_type, name).map(Arc::clone);
        let state = &mut self.types[resource_type as usize];
        match wanted {
            None => state.gone(resource_type, name, self.number),
            // The same version is the same bytes: now it is known what Envoy accepted.
            Some(wanted) if state.client.get(name) == Some(&wanted.version) => {
                self.memory.accept(resource_type, name, &wanted);
                self.await_required(resource_type, name, &wanted, self.number, now);
            }
            Some(_) => state.note(name, self.number),
        }
    }

    fn subscribe(
        &mut self,
        resource_type: ResourceType,
        request: DeltaDiscoveryRequest,
        now: Instant,
    ) {
        let state = &mut self.types[resource_type as usize];
        let first = !std::mem::replace(&mut state.asked, true);
        let mut claims = Vec::new();
        for (name, version) in request.initial_resource_versions {
            let name: Arc<str> = name.into();
            state.client.insert(Arc::clone(&name), version.into());
            claims.push(name);
        }
        let by_name = matches!(
            resource_type,
            ResourceType::Runtime
                | ResourceType::ClusterLoadAssignment
                | ResourceType::Secret
                | ResourceType::ExtensionConfig
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
            if first && state.client.contains_key(&name) {
                state.note(&name, self.number);
            } else {
                state.force(&name, self.number);
            }
            state.names.insert(name);
        }
        for name in request.resource_names_unsubscribe {
            if name == "*" {
                state.wildcard = false;
                state.client.retain(|name, _| state.names.contains(name));
            }
            state.unsubscribe(name.as_str());
            if self
                .snapshot
                .as_ref()
                .is_some_and(|s| !s.of(resource_type).contains_key(&*name))
            {
                self.memory.forget(resource_type, &name.into());
            }
        }
        if wildcard && !state.wildcard {
            state.wildcard = true;
            state.answer_wildcard = true;
            if let Some(snapshot) = &self.snapshot {
                for name in snapshot.of(resource_type).keys() {
                    state.note(name, self.number);
                }
            }
        }
        if first {
            self.continue_from(resource_type, &claims);
        }
        for name in &claims {
            self.claimed(resource_type, name, now);
        }
    }

    /// Goes on where the stream before this one ended. An Envoy that has nothing may be another
    /// one, which may accept what the other refused; or one that was refused its only cluster.
    fn continue_from(&mut self, resource_type: ResourceType, claims: &[Arc<str>]) {
        let left = self.memory.take_over(resource_type);
        let is_cluster = resource_type == ResourceType::Cluster;
        let snapshot = self.snapshot.as_ref().map(|s| s.of(resource_type));
        let state = &mut self.types[resource_type as usize];
        state.started = !claims.is_empty();
        let mut suspected = Vec::new();
        let mut accepted = HashSet::new();
        // What Envoy applied of a refused response it has, but does not claim.
        for name in left.leaving {
            if snapshot.is_some_and(|snapshot| snapshot.contains_key(&name)) {
                state.force(&name, self.number);
            } else {
                state.gone(resource_type, &name, self.number);
            }
        }
        for (name, mut refused) in left.refused {
            // Whether it was mended is not known.
            suspected.push(Arc::clone(&name));
            let gone = snapshot.is_some_and(|snapshot| !snapshot.contains_key(&name));
            if !claims.is_empty() && !gone {
                refused.again = false;
                state.refused.insert(name, refused);
            }
        }
        for (name, sent) in left.unanswered {
            if resource_type == ResourceType::ClusterLoadAssignment {
                state.force(&name, self.number);
            }
            match sent {
                Some(sent) if state.client.get(&name) == Some(&sent.version) => {
                    self.memory.accept(resource_type, &name, &sent);
                    accepted.insert(name);
                }
                // It may be refused, and Envoy may not have come to say so.
                _ if is_cluster => suspected.push(name),
                _ => {}
            }
        }
        for name in left.doubtful {
            if !accepted.contains(&name)
                && let Some(claim) = state.client.get_mut(&name)
            {
                *claim = UNKNOWN.into();
            }
            state.doubtful.insert(name);
        }
        for name in suspected {
            if is_cluster || !claims.is_empty() {
                state.repair(&name, self.number);
            }
        }
    }

    fn take_answered(&mut self, resource_type: ResourceType, nonce: &str) -> Option<Outstanding> {
        let state = &mut self.types[resource_type as usize];
        if let Some(at) = state.late.iter().position(|late| late.nonce == nonce) {
            return Some(state.late.remove(at));
        }
        state
            .outstanding
            .take_if(|outstanding| outstanding.nonce == nonce)
    }
}

#[cfg(test)]
mod tests;
