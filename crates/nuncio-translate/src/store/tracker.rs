//! Who reads what of the store, and what of it has changed: a translation leaves alone what has read
//! nothing that changed. Tables see to it themselves, so that no reader can be forgotten.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Something of the store that can be read, and can change.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Read {
    /// An object, which need not be there.
    Object {
        table: &'static str,
        namespace: String,
        name: String,
    },
    /// Which objects there are in a table.
    Table(&'static str),
    /// The EndpointSlices of a Service.
    SlicesOf {
        namespace: String,
        service: String,
    },
    File(Arc<str>),
}

#[derive(Clone, Debug, Default)]
pub(super) struct Tracker(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    recorded: Option<BTreeSet<Read>>,
    changed: BTreeSet<Read>,
}

impl Tracker {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn read(&self, what: impl FnOnce() -> Read) {
        if let Some(recorded) = &mut self.state().recorded {
            recorded.insert(what());
        }
    }

    pub(super) fn change(&self, what: Read) {
        let mut state = self.state();
        if let Read::Object { table, .. } = what {
            state.changed.insert(Read::Table(table));
        }
        state.changed.insert(what);
    }

    /// What changed since the last call.
    pub(super) fn take_changed(&self) -> BTreeSet<Read> {
        std::mem::take(&mut self.state().changed)
    }

    /// What is read meanwhile.
    pub(super) fn record<T>(&self, work: impl FnOnce() -> T) -> (T, BTreeSet<Read>) {
        self.state().recorded = Some(BTreeSet::new());
        let result = work();
        let recorded = self.state().recorded.take();
        (result, recorded.unwrap_or_default())
    }
}
