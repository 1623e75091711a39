//! What a session knows of one type.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;
use std::time::Instant;

use nuncio_envoy_api::resource::Resource;

use super::{FIRST_RETRY, LAST_RETRY};

#[derive(Debug)]
pub(super) enum Sent {
    Resource(Arc<str>, Arc<Resource>),
    Removal(Arc<str>),
}

/// A response that Envoy has not answered.
#[derive(Debug)]
pub(super) struct Outstanding {
    pub(super) nonce: String,
    pub(super) sent: Vec<Sent>,
}

/// A version that Envoy refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    pub version: Arc<str>,
    /// Envoy's words.
    pub detail: String,
    /// When it is tried again, if time may mend it.
    pub(super) retry_at: Option<Instant>,
    retries: u32,
    /// It is being tried again.
    pub(super) again: bool,
}

#[derive(Debug, Default)]
pub(super) struct TypeState {
    /// Envoy asked for this type on this stream.
    pub(super) asked: bool,
    pub(super) wildcard: bool,
    /// Subscribed by name.
    pub(super) names: HashSet<Arc<str>>,
    /// The versions that Envoy has, as it says.
    pub(super) client: HashMap<Arc<str>, Arc<str>>,
    pub(super) outstanding: Option<Outstanding>,
    /// What may differ from what Envoy has. Sorted, so that equal sessions send equal responses.
    pub(super) dirty: BTreeSet<Arc<str>>,
    /// Of the dirty ones, those that must be sent though Envoy has them.
    pub(super) forced: HashSet<Arc<str>>,
    /// Of the dirty ones, those that must go alone.
    pub(super) alone: HashSet<Arc<str>>,
    pub(super) refused: HashMap<Arc<str>, Refused>,
    /// Subscribed names that Envoy knows not to exist.
    pub(super) absent: HashSet<Arc<str>>,
    /// The first request of a wildcard wants an answer, even an empty one.
    pub(super) answer_wildcard: bool,
    /// Removed from the snapshot, and to go at this time.
    pub(super) lingering: BTreeMap<Arc<str>, Instant>,
    /// The time of these has come.
    pub(super) lingered: HashSet<Arc<str>>,
}

impl TypeState {
    pub(super) fn subscribed(&self) -> bool {
        self.wildcard || !self.names.is_empty()
    }

    pub(super) fn unsubscribe(&mut self, name: &str) {
        self.names.remove(name);
        self.absent.remove(name);
        self.forced.remove(name);
        if !self.wildcard {
            self.client.remove(name);
            self.dirty.remove(name);
            self.refused.remove(name);
        }
    }

    pub(super) fn refuse(
        &mut self,
        name: Arc<str>,
        version: &Arc<str>,
        detail: &str,
        retry: bool,
        now: Instant,
    ) {
        let retries = match self.refused.get(&name) {
            Some(before) if before.version == *version => before.retries + 1,
            _ => 0,
        };
        let wait = FIRST_RETRY
            .saturating_mul(1u32.checked_shl(retries).unwrap_or(u32::MAX))
            .min(LAST_RETRY);
        let refused = Refused {
            version: Arc::clone(version),
            detail: detail.to_owned(),
            retry_at: retry.then(|| now + wait),
            retries,
            again: false,
        };
        self.refused.insert(name, refused);
    }

    pub(super) fn retry_due(&mut self, now: Instant) {
        for (name, refused) in &mut self.refused {
            if refused.retry_at.is_some_and(|at| at <= now) {
                refused.retry_at = None;
                refused.again = true;
                self.dirty.insert(Arc::clone(name));
                self.forced.insert(Arc::clone(name));
            }
        }
    }

    pub(super) fn linger_due(&mut self, now: Instant) {
        let due: Vec<_> = self
            .lingering
            .iter()
            .filter(|(_, until)| **until <= now)
            .map(|(name, _)| Arc::clone(name))
            .collect();
        for name in due {
            self.lingering.remove(&name);
            self.lingered.insert(name);
        }
    }

    pub(super) fn next_timer(&self) -> Option<Instant> {
        self.refused
            .values()
            .filter_map(|refused| refused.retry_at)
            .chain(self.lingering.values().copied())
            .min()
    }
}
