//! Listeners whose port Envoy cannot have, because another program has it.
//!
//! Envoy refuses such a Listener as a whole, so that no Host of it could change until the port is
//! free. Where it had another port before, it goes on with that one, and all else that it says now.
//! That is input of the translation (`Store::keep_ports`). The port that it wants is tried again, at
//! first soon and then ever more seldom.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use nuncio_api::getambassador;
use nuncio_envoy_api::resource::ResourceType;
use nuncio_model::{Entry, Origin, Reason, ResourceId, Severity};
use nuncio_translate::{KeptPort, Store};
use nuncio_xds::{Refusal, Status};

use crate::engine::Served;

const FIRST_TRY: Duration = Duration::from_secs(5);
const LAST_TRY: Duration = Duration::from_secs(60);

#[derive(Clone, Debug, Default)]
pub(crate) struct Ports(BTreeMap<Arc<ResourceId>, Kept>);

#[derive(Clone, Debug)]
struct Kept {
    port: KeptPort,
    /// Envoy's.
    words: String,
    tries: u32,
    now: Now,
}

#[derive(Clone, Copy, Debug)]
enum Now {
    Waits(Instant),
    /// Envoy was sent the port that is wanted.
    Tries,
}

impl Ports {
    /// Takes up what Envoy says of the snapshot that is served. Whether ports are others now, or
    /// there is less to say.
    pub(crate) fn look(&mut self, served: &Served, status: &Status, now: Instant) -> bool {
        let mut changed = false;
        for (id, port, words) in status
            .refused
            .iter()
            .filter_map(|refusal| in_place_of(served, refusal))
        {
            let before = self
                .0
                .get(&id)
                .filter(|kept| kept.port.wanted == port.wanted);
            let tries = before.map_or(0, |kept| kept.tries + 1);
            let wait = FIRST_TRY
                .saturating_mul(1u32.checked_shl(tries).unwrap_or(u32::MAX))
                .min(LAST_TRY);
            let kept = Kept {
                port,
                words,
                tries,
                now: Now::Waits(now + wait),
            };
            self.0.insert(id, kept);
            changed = true;
        }
        if status.newest == status.acknowledged {
            let before = self.0.len();
            self.0.retain(|_, kept| matches!(kept.now, Now::Waits(_)));
            changed |= self.0.len() != before;
        }
        changed
    }

    /// Forgets those whose Listener wants another port now, or is gone. Whether there were any.
    pub(crate) fn changed(&mut self, store: &Store) -> bool {
        let before = self.0.len();
        self.0.retain(|id, kept| {
            let listener = store.listeners.get(&id.namespace, &id.name);
            listener.is_some_and(|listener| listener.spec.port == kept.port.wanted)
        });
        self.0.len() != before
    }

    /// When [`Ports::try_again`] has something to do.
    pub(crate) fn next_try(&self) -> Option<Instant> {
        let waits = self.0.values().filter_map(|kept| match kept.now {
            Now::Waits(until) => Some(until),
            Now::Tries => None,
        });
        waits.min()
    }

    pub(crate) fn try_again(&mut self, now: Instant) {
        for kept in self.0.values_mut() {
            if matches!(kept.now, Now::Waits(until) if until <= now) {
                kept.now = Now::Tries;
            }
        }
    }

    pub(crate) fn kept(&self) -> BTreeMap<Arc<ResourceId>, KeptPort> {
        let waits = self
            .0
            .iter()
            .filter(|(_, kept)| matches!(kept.now, Now::Waits(_)));
        waits
            .map(|(id, kept)| (Arc::clone(id), kept.port))
            .collect()
    }

    pub(crate) fn report(&self) -> impl Iterator<Item = Entry> + '_ {
        self.0.iter().map(|(id, kept)| {
            let KeptPort { wanted, kept: port } = kept.port;
            let at = Origin::new(Arc::clone(id)).field("spec.port");
            let message = format!(
                "Envoy cannot listen on port {wanted}: {}; the Listener keeps port {port}",
                kept.words
            );
            let mut entry = Entry::new(&at, Severity::Error, Reason::Refused, message);
            entry.help("free the port, or write another: it is tried again at least once a minute");
            entry
        })
    }
}

/// The Listener that a refusal is about, and the port that it can keep.
fn in_place_of(served: &Served, refusal: &Refusal) -> Option<(Arc<ResourceId>, KeptPort, String)> {
    if refusal.resource_type != ResourceType::Listener || !refusal.may_pass {
        return None;
    }
    let wanted = served
        .snapshot
        .of(ResourceType::Listener)
        .get(&refusal.name)?;
    if wanted.version != refusal.version {
        return None;
    }
    let listener = served.gateway.listeners.get(&refusal.name)?;
    let id = &listener.origin.resource;
    let kept = nuncio_envoy::port_of_listener(refusal.instead.as_ref()?)?;
    let is_listener = (&*id.group, &*id.kind) == (getambassador::GROUP, "Listener");
    let port = KeptPort {
        wanted: listener.port,
        kept,
    };
    (is_listener && kept != listener.port)
        .then(|| (Arc::clone(id), port, refusal.detail.trim().to_owned()))
}
