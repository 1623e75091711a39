//! Who reads what of the store, and what of it has changed: a translation leaves alone what has read
//! nothing that changed. Tables see to it themselves, so that no reader can be forgotten.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use nuncio_api::core::SecretName;
use nuncio_model::consul::ConsulService;

/// The tables whose changed objects are known by their names.
const NAMED: [&str; 6] = [
    "mappings",
    "http_routes",
    "grpc_routes",
    "tls_routes",
    "tcp_routes",
    "udp_routes",
];

/// The table of whose objects those that are read are known by their names: no others are held.
const SECRETS: &str = "secrets";

/// Something of the store that can be read, and can change.
#[derive(Clone, Copy, Debug, Hash)]
pub(crate) enum Read<'a> {
    /// An object, which need not be there.
    Object {
        table: &'static str,
        namespace: &'a str,
        name: &'a str,
    },
    /// Which objects there are in a table.
    Table(&'static str),
    /// The EndpointSlices of a Service.
    SlicesOf {
        namespace: &'a str,
        service: &'a str,
    },
    /// Which Services say that clients reach nuncio through them.
    OwnServices,
    File(&'a str),
    /// What a Consul says of a service.
    Consul(&'a ConsulService),
}

/// A hash of a [`Read`], which is a tenth of it. Where two have the same, what reads one is also made
/// again when the other changes, and becomes what it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct ReadId(u64);

impl Read<'_> {
    /// The service as the table of Services has it.
    pub(crate) fn service<'a>(namespace: &'a str, name: &'a str) -> Read<'a> {
        Read::Object {
            table: "services",
            namespace,
            name,
        }
    }

    pub(crate) fn id(&self) -> ReadId {
        let mut hasher = DefaultHasher::new();
        self.hash(&mut hasher);
        ReadId(hasher.finish())
    }
}

/// All that some work has read, each once.
#[derive(Debug, Default)]
pub(crate) struct Reads {
    ids: Box<[ReadId]>,
    secrets: BTreeSet<SecretName>,
}

impl Reads {
    pub(crate) fn iter(&self) -> impl Iterator<Item = &ReadId> {
        self.ids.iter()
    }

    /// Whether there are Secrets among it, there or not.
    pub(crate) fn has_secrets(&self) -> bool {
        !self.secrets.is_empty()
    }
}

/// What is not as it was.
#[derive(Debug, Default)]
pub(crate) struct Changed {
    reads: HashSet<ReadId>,
    /// By table, namespace and name.
    named: BTreeMap<&'static str, BTreeSet<(String, String)>>,
}

impl Changed {
    pub(crate) fn iter(&self) -> impl Iterator<Item = &ReadId> {
        self.reads.iter()
    }

    /// The objects of a table that changed.
    pub(crate) fn named(&self, table: &'static str) -> impl Iterator<Item = &(String, String)> {
        debug_assert!(NAMED.contains(&table), "{table} is not among those");
        self.named.get(table).into_iter().flatten()
    }

    /// Whether any of these is among it.
    pub(crate) fn has_any(&self, reads: &Reads) -> bool {
        reads.iter().any(|read| self.reads.contains(read))
    }
}

thread_local! {
    /// What this thread reads, while it is recorded: several read at once, each for itself.
    static RECORDED: RefCell<Option<Vec<ReadId>>> = const { RefCell::new(None) };
    /// The Secrets among it, there or not, while those are noted.
    static WANTED: RefCell<Option<BTreeSet<SecretName>>> = const { RefCell::new(None) };
}

/// Notes that something is read.
pub(super) fn read(what: Read<'_>) {
    RECORDED.with_borrow_mut(|recorded| {
        if let Some(recorded) = recorded {
            recorded.push(what.id());
        }
    });
    if let Read::Object {
        table: SECRETS,
        namespace,
        name,
    } = what
    {
        want(|| [(namespace.into(), name.into())]);
    }
}

/// What is read meanwhile, by this thread. Where that is part of other work, that has read it too.
pub(crate) fn record<T>(work: impl FnOnce() -> T) -> (T, Reads) {
    let around = RECORDED.replace(Some(Vec::new()));
    let (result, secrets) = secrets_read(work);
    let mut recorded = RECORDED.replace(around).unwrap_or_default();
    recorded.sort_unstable();
    recorded.dedup();
    let reads = Reads {
        ids: recorded.into(),
        secrets,
    };
    read_again(&reads);
    (result, reads)
}

/// Notes what was read for something that is kept.
pub(crate) fn read_again(reads: &Reads) {
    RECORDED.with_borrow_mut(|recorded| {
        if let Some(recorded) = recorded {
            recorded.extend_from_slice(&reads.ids);
        }
    });
    secrets_read_again(&reads.secrets);
}

/// The Secrets that are read meanwhile, by this thread. Where that is part of other work, they are
/// none of its before [`secrets_read_again`].
pub(crate) fn secrets_read<T>(work: impl FnOnce() -> T) -> (T, BTreeSet<SecretName>) {
    let around = WANTED.replace(Some(BTreeSet::new()));
    let result = work();
    let wanted = WANTED.replace(around).unwrap_or_default();
    (result, wanted)
}

/// Notes which Secrets were read for something that is kept.
pub(crate) fn secrets_read_again(secrets: &BTreeSet<SecretName>) {
    want(|| secrets.iter().cloned());
}

fn want<I: IntoIterator<Item = SecretName>>(secrets: impl FnOnce() -> I) {
    WANTED.with_borrow_mut(|wanted| {
        if let Some(wanted) = wanted {
            wanted.extend(secrets());
        }
    });
}

/// What changes in one store.
#[derive(Clone, Debug, Default)]
pub(super) struct Tracker(Arc<Mutex<Changed>>);

impl Tracker {
    fn changed(&self) -> MutexGuard<'_, Changed> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn change(&self, what: Read<'_>) {
        let mut changed = self.changed();
        if let Read::Object {
            table,
            namespace,
            name,
        } = what
        {
            changed.reads.insert(Read::Table(table).id());
            if NAMED.contains(&table) {
                let name = (namespace.to_owned(), name.to_owned());
                changed.named.entry(table).or_default().insert(name);
            }
        }
        changed.reads.insert(what.id());
    }

    /// What changed since the last call.
    pub(super) fn take_changed(&self) -> Changed {
        std::mem::take(&mut self.changed())
    }
}
