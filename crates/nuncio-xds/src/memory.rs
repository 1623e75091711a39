//! What is known of an Envoy beyond the end of a stream.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard};

use nuncio_envoy_api::resource::{Resource, ResourceType};

use crate::session::Refused;

pub(crate) type Names<T> = HashMap<(ResourceType, Arc<str>), T>;

/// What a stream left behind of a type.
pub(crate) struct LeftBehind {
    pub(crate) refused: Vec<(Arc<str>, Refused)>,
    /// What Envoy was sent, if its claiming that version says that it accepted it.
    pub(crate) unanswered: Vec<(Arc<str>, Option<Arc<Resource>>)>,
    /// Clusters in no snapshot, which Envoy may have without claiming them.
    pub(crate) leaving: HashSet<Arc<str>>,
    /// What Envoy claims of these may not be what it has.
    pub(crate) doubtful: Vec<Arc<str>>,
}

/// How many Envoys that are not connected are remembered.
const REMEMBERED: usize = 16;

/// The memories of all Envoys, by node id.
#[derive(Debug, Default)]
pub(crate) struct Memories {
    by_node: HashMap<String, Remembered>,
    /// Those that are not connected, by when they left.
    left: VecDeque<String>,
}

#[derive(Debug, Default)]
struct Remembered {
    memory: Memory,
    streams: usize,
}

/// Whose memory a stream uses; `None` where nobody will come back for it.
#[derive(Debug)]
pub(crate) struct Tenant(Option<String>);

impl Memories {
    /// That of a stream, until it [leaves](Self::leave).
    pub(crate) fn of(&mut self, node: &str) -> (Tenant, Memory) {
        self.left.retain(|known| known != node);
        let remembered = self.by_node.entry(node.to_owned()).or_default();
        remembered.streams += 1;
        (Tenant(Some(node.to_owned())), remembered.memory.clone())
    }

    /// Of an Envoy elsewhere. Nobody there is kept from giving the same name to several: one that is
    /// taken is somebody else's.
    pub(crate) fn of_other(&mut self, node: &str) -> (Tenant, Memory) {
        // No own node has a NUL in its name.
        let node = format!("\0{node}");
        match self.by_node.get(&node) {
            Some(taken) if taken.streams > 0 => (Tenant(None), Memory::default()),
            _ => self.of(&node),
        }
    }

    pub(crate) fn leave(&mut self, tenant: &Tenant) {
        let Some(node) = &tenant.0 else { return };
        let Some(remembered) = self.by_node.get_mut(node) else {
            return;
        };
        remembered.streams -= 1;
        if remembered.streams > 0 {
            return;
        }
        self.left.push_back(node.clone());
        if self.left.len() > REMEMBERED
            && let Some(oldest) = self.left.pop_front()
        {
            self.by_node.remove(&oldest);
        }
    }
}

/// What one Envoy accepted last, so that it can be sent again when it refuses what came after, and
/// what the end of a stream left open. The bodies are those of the snapshots, not copies.
#[derive(Clone, Debug, Default)]
pub(crate) struct Memory(Arc<Mutex<Known>>);

#[derive(Debug, Default)]
struct Known {
    accepted: Names<Arc<Resource>>,
    refused: Names<Refused>,
    unanswered: Names<Option<Arc<Resource>>>,
    leaving: HashSet<Arc<str>>,
    doubtful: HashSet<(ResourceType, Arc<str>)>,
}

impl Memory {
    pub(crate) fn accept(&self, t: ResourceType, name: &Arc<str>, resource: &Arc<Resource>) {
        self.lock()
            .accepted
            .insert((t, Arc::clone(name)), Arc::clone(resource));
    }

    pub(crate) fn accepted(&self, t: ResourceType, name: &Arc<str>) -> Option<Arc<Resource>> {
        self.lock()
            .accepted
            .get(&(t, Arc::clone(name)))
            .map(Arc::clone)
    }

    pub(crate) fn forget(&self, t: ResourceType, name: &Arc<str>) {
        self.lock().accepted.remove(&(t, Arc::clone(name)));
    }

    /// Takes what a stream leaves behind.
    pub(crate) fn leave(
        &self,
        refused: impl Iterator<Item = (ResourceType, Arc<str>, Refused)>,
        unanswered: Names<Option<Arc<Resource>>>,
        leaving: impl Iterator<Item = Arc<str>>,
        doubtful: impl Iterator<Item = (ResourceType, Arc<str>)>,
    ) {
        let mut known = self.lock();
        // What it has not taken over itself is still open.
        let refused = refused.map(|(t, name, r)| ((t, name), r));
        known.refused.extend(refused);
        for (key, sent) in unanswered {
            let open = known.unanswered.entry(key).or_default();
            *open = sent.or(open.take());
        }
        known.leaving.extend(leaving);
        known.doubtful.extend(doubtful);
    }

    /// Gives what the stream before left behind of a type.
    pub(crate) fn take_over(&self, t: ResourceType) -> LeftBehind {
        let mut known = self.lock();
        let refused = known.refused.extract_if(|(of, _), _| *of == t);
        let refused = refused
            .map(|((_, name), refused)| (name, refused))
            .collect();
        let unanswered = known.unanswered.extract_if(|(of, _), _| *of == t);
        let unanswered = unanswered.map(|((_, name), sent)| (name, sent)).collect();
        let leaving = if t == ResourceType::Cluster {
            std::mem::take(&mut known.leaving)
        } else {
            HashSet::new()
        };
        let doubtful = known.doubtful.extract_if(|(of, _)| *of == t);
        let doubtful = doubtful.map(|(_, name)| name).collect();
        LeftBehind {
            refused,
            doubtful,
            unanswered,
            leaving,
        }
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        self.0
            .lock()
            .expect("invariant: nothing panics while it holds what is known")
    }
}
