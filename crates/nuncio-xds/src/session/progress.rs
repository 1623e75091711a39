//! How far Envoy is.

use std::sync::Arc;
use std::time::{Duration, Instant};

use nuncio_envoy_api::resource::{Resource, ResourceType};

use super::types::Leaving;
use super::{CLUSTER_USERS, Session};

/// Envoy waits up to 15 s for what it asked for; what it has not asked for by then is not needed.
const ASKS: Duration = Duration::from_secs(20);

/// An accepted resource, whose requirements Envoy has not all asked for.
#[derive(Debug)]
pub(super) struct Awaited {
    since: u64,
    pub(super) until: Instant,
    requires: Arc<Resource>,
}

impl Session {
    pub(super) fn await_required(
        &mut self,
        resource_type: ResourceType,
        name: &Arc<str>,
        resource: &Arc<Resource>,
        since: u64,
        now: Instant,
    ) {
        if !resource.requires.is_empty() {
            let awaited = Awaited {
                since,
                until: now + ASKS,
                requires: Arc::clone(resource),
            };
            self.awaited
                .insert((resource_type, Arc::clone(name)), awaited);
        }
    }

    /// Brings everything up to date that depends on how far Envoy is.
    pub(super) fn progress(&mut self, now: Instant) {
        let types = &self.types;
        self.awaited.retain(|(resource_type, name), awaited| {
            awaited.until > now
                && types[*resource_type as usize].client.contains_key(name)
                && awaited
                    .requires
                    .requires
                    .iter()
                    .any(|(t, name)| !types[*t as usize].is_answered(name))
        });
        self.acknowledged = self.acknowledged.max(self.answered(&ResourceType::ALL));
        self.start_lingering(now);
    }

    /// The newest snapshot of which nothing of these types is under way. Both wildcards must have
    /// been asked for: Envoy asks for listeners only once it has its clusters.
    fn answered(&self, types: &[ResourceType]) -> u64 {
        let asked = [ResourceType::Cluster, ResourceType::Listener]
            .into_iter()
            .all(|t| self.types[t as usize].wildcard);
        if !asked || self.snapshot.is_none() {
            return 0;
        }
        let under_way = types
            .iter()
            .filter_map(|t| self.types[*t as usize].oldest());
        let awaited = self
            .awaited
            .iter()
            .filter_map(|((t, _), awaited)| types.contains(t).then_some(awaited.since));
        under_way
            .chain(awaited)
            .min()
            .map_or(Some(self.number), |oldest| {
                let before = oldest.saturating_sub(1).min(self.number);
                (before >= self.first).then_some(before)
            })
            .unwrap_or_default()
    }

    /// Clusters that nothing uses any more begin to linger once the routes are acknowledged. Where
    /// Envoy refuses them, those before them are in effect.
    fn start_lingering(&mut self, now: Instant) {
        if self.types[ResourceType::Cluster as usize]
            .leaving
            .is_empty()
        {
            return;
        }
        let stale = CLUSTER_USERS.iter().flat_map(|t| {
            let state = &self.types[*t as usize];
            state.refused.iter().filter_map(|(name, refused)| {
                state.client.contains_key(name).then_some(refused.since)
            })
        });
        let unused = stale
            .map(|since| since.saturating_sub(1))
            .chain([self.answered(&CLUSTER_USERS)])
            .min()
            .unwrap_or(0);
        let until = now + self.options.linger;
        for leaving in self.types[ResourceType::Cluster as usize]
            .leaving
            .values_mut()
        {
            if matches!(leaving, Leaving::Used { since } if *since <= unused) {
                *leaving = Leaving::Until(until);
            }
        }
    }

    /// Until when what names clusters waits for clusters that are new to Envoy.
    pub(super) fn held_until(&self) -> Option<Instant> {
        let since = self.held_since.filter(|_| self.held)?;
        Some(since + self.options.hold_routes)
    }

    /// Whether what names clusters waits now. However many clusters come, one after the other, the
    /// wait is one.
    pub(super) fn holds(&mut self, now: Instant) -> bool {
        if !self.brings_clusters() {
            self.held_since = None;
            self.held = false;
            return false;
        }
        let since = *self.held_since.get_or_insert(now);
        self.held = now < since + self.options.hold_routes;
        self.held
    }

    /// Something waits, and clusters that Envoy does not have are under way.
    fn brings_clusters(&self) -> bool {
        let waiting = CLUSTER_USERS.iter().any(|t| {
            let state = &self.types[*t as usize];
            state.outstanding.is_none() && !state.pending.is_empty()
        });
        let state = &self.types[ResourceType::Cluster as usize];
        let is_new = |name: &Arc<str>| !state.is_answered(name);
        let Some(outstanding) = state.outstanding.as_ref().filter(|_| waiting) else {
            return false;
        };
        let sent = outstanding.sent.iter();
        sent.filter(|sent| sent.resource().is_some())
            .any(|sent| is_new(sent.name()))
            || state
                .pending
                .keys()
                .any(|name| is_new(name) && self.wanted(ResourceType::Cluster, name).is_some())
    }
}
