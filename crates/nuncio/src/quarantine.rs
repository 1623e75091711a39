//! Resources that are left out because Envoy refused what came of them, for a reason that nothing
//! here could foresee.
//!
//! Envoy keeps what it accepted last, so what is refused with one resource keeps all others from
//! changing that share a listener or a route table with it. An [`Inquiry`] finds which it is: by
//! what changed since, and where that is more than one, by leaving out ever fewer and asking an
//! Envoy of its own. The [`Quarantine`] is then input of the translation: the same resources with
//! the same left out give the same bytes.
//!
//! A resource comes back when it changes; and all do when something changes that many depend on,
//! because a certificate may have been what was wrong.
//!
//! Nothing is left out that protects: of a Module only the keys of [`HARMLESS_KEYS`], no TLSContext
//! but the Hosts and Mappings that use it; for the name of a Host that is left out nobody answers but
//! with 404; and with no AuthService but such that are left out every request is answered with 500. Nor is a Listener: without it nothing of it would be left. One whose port somebody else has keeps
//! the port that it had ([`Ports`]).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use nuncio_api::core::SecretName;
use nuncio_api::{ObjectKey, RawObject, gateway_api, getambassador, ingress, policy};
use nuncio_model::{Entry, Origin, Reason, ResourceId, Severity};

mod inquiry;
mod isolation;
mod ports;

pub use inquiry::{Inquiry, Validator};
pub use isolation::Isolation;
pub(crate) use ports::Ports;

/// Keys of a Module that can be left out without opening anything.
const HARMLESS_KEYS: [&str; 7] = [
    "envoy_log_format",
    "envoy_log_path",
    "envoy_log_type",
    "error_response_overrides",
    "grpc_stats",
    "gzip",
    "brotli",
];

/// When a resource changed last.
#[derive(Clone, Copy, Debug)]
struct Known {
    content: u64,
    change: u64,
}

/// What is left out, and what is known of everything that could be.
#[derive(Clone, Debug, Default)]
pub(crate) struct Quarantine {
    left_out: BTreeMap<Origin, LeftOut>,
    known: BTreeMap<ObjectKey, Known>,
}

/// What is to blame, as the resources were after a change.
#[derive(Clone, Debug, Default)]
pub struct Found {
    pub change: u64,
    /// With Envoy's words, and what it said them of.
    pub blamed: Vec<(Origin, Arc<str>)>,
}

/// Why something is left out.
#[derive(Clone, Debug)]
struct LeftOut {
    /// What is known of its content; `None` for what stands in an annotation.
    content: Option<u64>,
    words: Arc<str>,
}

impl Quarantine {
    /// Takes up what changes, and lets those come back whose time has come. Whether there are any.
    pub(crate) fn changed(
        &mut self,
        upserted: &[RawObject],
        deleted: &[ObjectKey],
        change: u64,
    ) -> bool {
        let mut many_depend = false;
        let mut others = false;
        for key in deleted {
            many_depend |= rank(&key.group, &key.kind) == Some(Rank::Shared);
            others |= !is_endpoints(key);
            self.known.remove(key);
        }
        for object in upserted {
            let key = object.key();
            others |= !is_endpoints(&key);
            let Some(rank) = rank(&key.group, &key.kind) else {
                continue;
            };
            let content = content(object);
            let known = self.known.entry(key).or_insert(Known {
                content: 0,
                change: 0,
            });
            if known.change == 0 || known.content != content {
                *known = Known { content, change };
                many_depend |= rank == Rank::Shared;
            }
        }
        if !others {
            return false;
        }
        let before = self.left_out.len();
        let known = &self.known;
        self.left_out.retain(|at, left_out| match left_out.content {
            _ if many_depend => false,
            None => false,
            content => known.get(&key(&at.resource)).map(|known| known.content) == content,
        });
        self.left_out.len() != before
    }

    /// Leaves out what is to blame, unless it changed meanwhile. Whether there is any.
    pub(crate) fn take(&mut self, found: Found) -> bool {
        let before = self.left_out.len();
        for (at, words) in found.blamed {
            let now = self.known.get(&key(&at.resource));
            if now.is_none_or(|known| known.change <= found.change) {
                let content = now.map(|known| known.content);
                self.left_out.insert(at, LeftOut { content, words });
            }
        }
        self.left_out.len() != before
    }

    /// Whether nothing is left out.
    pub(crate) fn is_empty(&self) -> bool {
        self.left_out.is_empty()
    }

    /// Forgets all Secrets but these.
    pub(crate) fn keep_secrets(&mut self, wanted: &BTreeSet<SecretName>) {
        let first = ObjectKey {
            group: String::new(),
            kind: "Secret".to_owned(),
            namespace: String::new(),
            name: String::new(),
        };
        let secrets = self.known.range(first..).map(|(key, _)| key);
        let secrets = secrets.take_while(|key| key.group.is_empty() && key.kind == "Secret");
        let is_other = |key: &&ObjectKey| {
            !wanted.contains(&(key.namespace.as_str().into(), key.name.as_str().into()))
        };
        let others: Vec<_> = secrets.filter(is_other).cloned().collect();
        for key in &others {
            self.known.remove(key);
        }
    }

    pub(crate) fn origins(&self) -> BTreeSet<Origin> {
        self.left_out.keys().cloned().collect()
    }

    pub(crate) fn report(&self) -> impl Iterator<Item = Entry> + '_ {
        self.left_out.iter().map(|(at, left_out)| {
            let what = match at.field.rsplit_once('.') {
                Some((_, key)) => format!("{key} is left out"),
                None => format!("the {} is left out", at.resource.kind),
            };
            let message = format!("{what}, because Envoy refused {}", left_out.words);
            let mut entry = Entry::new(at, Severity::Error, Reason::LeftOut, message);
            entry.help(
                "mend what Envoy's words are about: it is tried again when the resource changes, \
                 or one that it depends on",
            );
            entry
        })
    }

    /// Whether a resource is not known to be as it was before a change.
    fn changed_since(&self, at: &Origin, change: u64) -> bool {
        let known = self.known.get(&key(&at.resource));
        known.is_none_or(|known| known.change >= change)
    }
}

/// What a resource is to others, in the order in which they are suspected.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Rank {
    /// Many depend on it.
    Shared,
    Route,
    Host,
}

fn rank(group: &str, kind: &str) -> Option<Rank> {
    match (group, kind) {
        (getambassador::GROUP, "Module" | "TLSContext" | "Listener") | ("", "Secret") => {
            Some(Rank::Shared)
        }
        (getambassador::GROUP, "TCPMapping" | "Mapping" | "AuthService" | "RateLimitService")
        | (ingress::GROUP, "Ingress") => Some(Rank::Route),
        (gateway_api::GROUP, kind) if gateway_api::ROUTE_KINDS.contains(&kind) => Some(Rank::Route),
        (gateway_api::GROUP, "Gateway" | "ListenerSet" | "BackendTLSPolicy")
        | (policy::GROUP, "RoutePolicy") => Some(Rank::Shared),
        (getambassador::GROUP, "Host") => Some(Rank::Host),
        _ => None,
    }
}

/// Whether something may be left out.
fn can_be_left_out(at: &Origin) -> bool {
    let id = &at.resource;
    match (&*id.group, &*id.kind) {
        (getambassador::GROUP, "Module") => {
            let key = at.field.strip_prefix("spec.config.");
            key.is_some_and(|key| HARMLESS_KEYS.contains(&key))
        }
        (getambassador::GROUP, "TLSContext" | "Listener") => false,
        (gateway_api::GROUP, kind) => gateway_api::ROUTE_KINDS.contains(&kind),
        (policy::GROUP, _) => false,
        (group, kind) => rank(group, kind).is_some(),
    }
}

/// What is to be left out where something of a resource is refused: all of it, or a Module's key.
fn whole(at: &Origin) -> Origin {
    if &*at.resource.kind != "Module" {
        return Origin::new(Arc::clone(&at.resource));
    }
    let end = |(index, c): (usize, char)| matches!(c, '.' | '[').then_some(index);
    let start = "spec.config.".len().min(at.field.len());
    let end = at.field[start..].char_indices().find_map(end);
    let field = &at.field[..end.map_or(at.field.len(), |end| start + end)];
    Origin::new(Arc::clone(&at.resource)).field(field)
}

fn key(id: &ResourceId) -> ObjectKey {
    ObjectKey {
        group: id.group.to_string(),
        kind: id.kind.to_string(),
        namespace: id.namespace.to_string(),
        name: id.name.to_string(),
    }
}

fn is_endpoints(key: &ObjectKey) -> bool {
    matches!(key.kind.as_str(), "Endpoints" | "EndpointSlice")
}

/// A hash of what counts of an object: not its status, nor who wrote it when.
fn content(object: &RawObject) -> u64 {
    let body = object.body.to_value();
    let fields = body.as_object().into_iter().flatten();
    let fields: Vec<_> = fields
        .filter(|(name, _)| !matches!(name.as_str(), "metadata" | "status"))
        .collect();
    let meta = (&object.meta.labels, &object.meta.annotations);
    let bytes = serde_json::to_vec(&(meta, fields));
    xxhash_rust::xxh3::xxh3_64(&bytes.expect("invariant: JSON can be written"))
}
