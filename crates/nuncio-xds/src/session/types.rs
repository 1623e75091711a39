//! What a session knows of one type.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use nuncio_envoy_api::resource::{Resource, ResourceType};

/// When a refusal that may pass by itself, such as a port in use, is tried again; then twice that,
/// up to the last.
const FIRST_RETRY: Duration = Duration::from_secs(5);
const LAST_RETRY: Duration = Duration::from_secs(60);

#[derive(Clone, Debug)]
pub(super) enum Sent {
    Resource {
        name: Arc<str>,
        resource: Arc<Resource>,
        /// It was accepted before, and stands in for a refused version.
        stand_in: bool,
    },
    Removal(Arc<str>),
}

impl Sent {
    pub(super) fn name(&self) -> &Arc<str> {
        match self {
            Self::Resource { name, .. } | Self::Removal(name) => name,
        }
    }

    pub(super) fn resource(&self) -> Option<&Arc<Resource>> {
        match self {
            Self::Resource { resource, .. } => Some(resource),
            Self::Removal(_) => None,
        }
    }
}

/// A response that Envoy has not answered.
#[derive(Debug)]
pub(super) struct Outstanding {
    pub(super) nonce: String,
    pub(super) sent: Vec<Sent>,
    /// The oldest snapshot that it answers for.
    pub(super) since: u64,
    pub(super) at: Instant,
    /// What was accepted before it was sent in its place, because no answer came.
    pub(super) repaired: bool,
}

/// What may differ from what Envoy has.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pending {
    /// The snapshot that brought it.
    pub(super) since: u64,
    /// It is sent though Envoy may have it.
    pub(super) forced: bool,
}

/// A cluster that is in no snapshot any more.
#[derive(Clone, Copy, Debug)]
pub(super) enum Leaving {
    /// Until the routes of this snapshot are acknowledged.
    Used { since: u64 },
    /// Requests that were routed to it may still sit in a filter.
    Until(Instant),
}

/// A version that Envoy refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    pub version: Arc<str>,
    /// Envoy's words.
    pub detail: String,
    /// The snapshot since which Envoy has refused.
    pub(super) since: u64,
    /// When it is tried again, if time may mend it.
    pub(super) retry_at: Option<Instant>,
    pub(super) retries: u32,
    /// It is being tried again.
    pub(super) again: bool,
}

impl Refused {
    /// The snapshot since which Envoy has refused.
    pub fn since(&self) -> u64 {
        self.since
    }

    /// Whether it is tried again, and may then be accepted without a change.
    pub fn may_pass(&self) -> bool {
        self.retry_at.is_some() || self.again
    }
}

#[derive(Debug, Default)]
pub(super) struct TypeState {
    /// Envoy asked for this type on this stream.
    pub(super) asked: bool,
    /// Envoy has its first clusters, from this stream or one before.
    pub(super) started: bool,
    /// Envoy has answered on this stream.
    pub(super) answered: bool,
    pub(super) wildcard: bool,
    /// Subscribed by name.
    pub(super) names: HashSet<Arc<str>>,
    /// The versions that Envoy has, as it says.
    pub(super) client: HashMap<Arc<str>, Arc<str>>,
    pub(super) outstanding: Option<Outstanding>,
    /// Responses whose answers nothing waits for any more.
    pub(super) late: Vec<Outstanding>,
    /// Sorted, so that equal sessions send equal responses.
    pub(super) pending: BTreeMap<Arc<str>, Pending>,
    /// Was in a refused response: what was accepted last goes before everything else.
    pub(super) repairs: BTreeSet<Arc<str>>,
    /// One of these made Envoy refuse a response, and it did not say which.
    pub(super) suspects: BTreeSet<Arc<str>>,
    /// How many suspects may share a response.
    pub(super) suspects_at_once: usize,
    /// The last that went alone: the next one after it is next.
    pub(super) cursor: Option<Arc<str>>,
    pub(super) refused: HashMap<Arc<str>, Refused>,
    /// Subscribed names that Envoy knows not to exist.
    pub(super) absent: HashSet<Arc<str>>,
    /// The first request of a wildcard wants an answer, even an empty one.
    pub(super) answer_wildcard: bool,
    /// Was sent, and not acknowledged yet. A refused response is applied in part, and Envoy does
    /// not claim that part on a new stream.
    pub(super) doubtful: HashSet<Arc<str>>,
    /// Clusters only.
    pub(super) leaving: BTreeMap<Arc<str>, Leaving>,
}

impl TypeState {
    pub(super) fn subscribed(&self) -> bool {
        self.wildcard || !self.names.is_empty()
    }

    pub(super) fn wants(&self, name: &Arc<str>) -> bool {
        self.wildcard || self.names.contains(name)
    }

    /// Envoy has had its answer about a name, whatever it was.
    pub(super) fn is_answered(&self, name: &Arc<str>) -> bool {
        self.client.contains_key(name)
            || self.refused.contains_key(name)
            || self.absent.contains(name)
    }

    /// How many are under way, if one of several may be refused without Envoy saying so.
    pub(super) fn may_be_stuck(&self, resource_type: ResourceType) -> Option<u32> {
        if resource_type != ResourceType::Cluster {
            return None;
        }
        let sent = self
            .outstanding
            .iter()
            .flat_map(|outstanding| &outstanding.sent);
        let new = sent.filter(|sent| self.news(sent).is_some()).count();
        (new > 1).then(|| new.try_into().unwrap_or(u32::MAX))
    }

    /// The resource of what was sent, if Envoy had another version, or none, before.
    pub(super) fn news<'a>(&self, sent: &'a Sent) -> Option<&'a Arc<Resource>> {
        match sent {
            Sent::Resource {
                name,
                resource,
                stand_in: false,
            } if self.client.get(name) != Some(&resource.version) => Some(resource),
            _ => None,
        }
    }

    pub(super) fn note(&mut self, name: &Arc<str>, since: u64) {
        self.pending.entry(Arc::clone(name)).or_insert(Pending {
            since,
            forced: false,
        });
    }

    pub(super) fn force(&mut self, name: &Arc<str>, since: u64) {
        self.note(name, since);
        if let Some(pending) = self.pending.get_mut(name) {
            pending.forced = true;
        }
    }

    /// What was accepted last goes next, in place of what was refused.
    pub(super) fn repair(&mut self, name: &Arc<str>, since: u64) {
        self.note(name, since);
        self.repairs.insert(Arc::clone(name));
    }

    /// A name is in no snapshot any more.
    pub(super) fn gone(&mut self, resource_type: ResourceType, name: &Arc<str>, since: u64) {
        self.suspects.remove(name);
        if resource_type == ResourceType::Cluster {
            if !self.repairs.contains(name) {
                self.pending.remove(name);
            }
            self.leaving
                .entry(Arc::clone(name))
                .or_insert(Leaving::Used { since });
        } else {
            self.note(name, since);
        }
        self.refused.remove(name);
    }

    pub(super) fn unsubscribe(&mut self, name: &str) {
        self.names.remove(name);
        self.absent.remove(name);
        if !self.wildcard {
            self.client.remove(name);
            self.pending.remove(name);
            self.repairs.remove(name);
            self.suspects.remove(name);
            self.refused.remove(name);
        }
    }

    pub(super) fn refuse(
        &mut self,
        name: &Arc<str>,
        version: &Arc<str>,
        detail: &str,
        since: u64,
        retry_from: Option<Instant>,
    ) {
        let before = self.refused.get(name);
        let retries = match before {
            Some(before) if before.version == *version => before.retries + 1,
            _ => 0,
        };
        let wait = FIRST_RETRY
            .saturating_mul(1u32.checked_shl(retries).unwrap_or(u32::MAX))
            .min(LAST_RETRY);
        let refused = Refused {
            version: Arc::clone(version),
            detail: detail.to_owned(),
            since: before.map_or(since, |before| before.since.min(since)),
            retry_at: retry_from.map(|now| now + wait),
            retries,
            again: false,
        };
        self.refused.insert(Arc::clone(name), refused);
        self.suspects.remove(name);
    }

    /// Tries those again that `due` picks.
    pub(super) fn retry(&mut self, since: u64, due: impl Fn(&Arc<str>, &Refused) -> bool) {
        let names: Vec<_> = self
            .refused
            .iter()
            .filter(|(name, refused)| !refused.again && due(name, refused))
            .map(|(name, _)| Arc::clone(name))
            .collect();
        for name in names {
            if let Some(refused) = self.refused.get_mut(&name) {
                refused.retry_at = None;
                refused.again = true;
            }
            self.force(&name, since);
        }
    }

    /// Removes the clusters whose time has come.
    pub(super) fn linger_due(&mut self, since: u64, now: Instant) {
        let due = self
            .leaving
            .extract_if(.., |_, at| matches!(at, Leaving::Until(at) if *at <= now));
        let due: Vec<_> = due.map(|(name, _)| name).collect();
        for name in due {
            // Envoy may have it without having said so.
            self.force(&name, since);
        }
    }

    /// The oldest snapshot of which something is under way.
    pub(super) fn oldest(&self) -> Option<u64> {
        if !self.subscribed() {
            return None;
        }
        let pending = self.pending.values().map(|pending| pending.since);
        let outstanding = self.outstanding.iter().map(|outstanding| outstanding.since);
        pending.chain(outstanding).min()
    }

    pub(super) fn next_timer(&self) -> Option<Instant> {
        let leaving = self.leaving.values().filter_map(|leaving| match leaving {
            Leaving::Used { .. } => None,
            Leaving::Until(at) => Some(*at),
        });
        self.refused
            .values()
            .filter_map(|refused| refused.retry_at)
            .chain(leaving)
            .min()
    }
}
