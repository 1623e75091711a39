//! How far Envoys are, all that are connected taken together.
//!
//! A message of one costs the same however many there are: what is the least of all is looked up in
//! counts, not found by asking each.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use nuncio_envoy_api::resource::{Resource, ResourceType, Snapshot};

/// How far Envoy is: nuncio's own where there is a socket for it, else all that are connected.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Status {
    /// The number of the newest snapshot; 0 before the first.
    pub newest: u64,
    /// Envoys that are connected, of those that count.
    pub streams: usize,
    /// Those that connect from elsewhere.
    pub others: Others,
    /// Envoy has answered, or refused, every resource of a configuration once. Stays true.
    pub first_config_answered: bool,
    /// The newest snapshot that every connected Envoy has answered, by the number that
    /// [`AdsServer::set_snapshot`](crate::AdsServer::set_snapshot) gave it; 0 before the first.
    pub acknowledged: u64,
    /// What is refused at the moment, by any Envoy.
    pub refused: Vec<Refusal>,
    /// In the order of [`ResourceType::ALL`].
    pub types: [TypeCounts; ResourceType::ALL.len()],
}

/// Envoys elsewhere.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Others {
    pub streams: usize,
    /// The newest snapshot that each of them has answered; 0 before the first.
    pub acknowledged: u64,
}

/// A resource that Envoy refused.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Refusal {
    pub resource_type: ResourceType,
    pub name: Arc<str>,
    pub version: Arc<str>,
    /// Envoy's words.
    pub detail: String,
    /// The first snapshot that differs here from what was accepted last.
    pub since: u64,
    /// It is tried again, because it may pass by itself: somebody else has the port.
    pub may_pass: bool,
    /// What nuncio's own Envoy goes on with, where that is known.
    pub instead: Option<Arc<Resource>>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TypeCounts {
    /// In the snapshot.
    pub wanted: usize,
    /// That Envoy has; the least of all Envoys.
    pub held: usize,
    pub refused: usize,
}

/// How far one stream is.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct StreamStatus {
    /// Of nuncio's own Envoy.
    pub(crate) own: bool,
    pub(crate) acknowledged: u64,
    pub(crate) refused: Vec<Refusal>,
    pub(crate) held: [usize; ResourceType::ALL.len()],
}

/// All streams.
#[derive(Debug, Default)]
pub(crate) struct Streams {
    by_id: HashMap<u64, StreamStatus>,
    own: Group,
    others: Group,
    refused: Counted<Refusal>,
}

impl Streams {
    /// Takes up how far a stream is. Whether that is news.
    pub(crate) fn put(&mut self, id: u64, status: StreamStatus) -> bool {
        if self.by_id.get(&id) == Some(&status) {
            return false;
        }
        self.remove(id);
        self.group(status.own).add(&status);
        for refusal in &status.refused {
            self.refused.add(refusal);
        }
        self.by_id.insert(id, status);
        true
    }

    pub(crate) fn remove(&mut self, id: u64) {
        let Some(status) = self.by_id.remove(&id) else {
            return;
        };
        self.group(status.own).remove(&status);
        for refusal in &status.refused {
            self.refused.remove(refusal);
        }
    }

    /// All together. With an Envoy of nuncio's own it is that one which counts.
    pub(crate) fn status(&self, newest: u64, snapshot: &Snapshot, has_own: bool) -> Status {
        let counted = if has_own { &self.own } else { &self.others };
        let refused: Vec<Refusal> = self.refused.values().cloned().collect();
        let types = ResourceType::ALL.map(|resource_type| TypeCounts {
            wanted: snapshot.of(resource_type).len(),
            held: counted.held[resource_type as usize].least(),
            refused: refused
                .iter()
                .filter(|refusal| refusal.resource_type == resource_type)
                .count(),
        });
        Status {
            newest,
            streams: counted.streams,
            others: Others {
                streams: self.others.streams,
                acknowledged: self.others.acknowledged.least(),
            },
            first_config_answered: false,
            acknowledged: counted.acknowledged.least(),
            refused,
            types,
        }
    }

    fn group(&mut self, own: bool) -> &mut Group {
        if own { &mut self.own } else { &mut self.others }
    }
}

#[derive(Debug, Default)]
struct Group {
    streams: usize,
    acknowledged: Counted<u64>,
    held: [Counted<usize>; ResourceType::ALL.len()],
}

impl Group {
    fn add(&mut self, status: &StreamStatus) {
        self.streams += 1;
        self.acknowledged.add(&status.acknowledged);
        for (counted, held) in self.held.iter_mut().zip(&status.held) {
            counted.add(held);
        }
    }

    fn remove(&mut self, status: &StreamStatus) {
        self.streams -= 1;
        self.acknowledged.remove(&status.acknowledged);
        for (counted, held) in self.held.iter_mut().zip(&status.held) {
            counted.remove(held);
        }
    }
}

/// Values, and how often each is there.
#[derive(Debug)]
struct Counted<T>(BTreeMap<T, usize>);

impl<T> Default for Counted<T> {
    fn default() -> Self {
        Self(BTreeMap::new())
    }
}

impl<T: Ord + Clone> Counted<T> {
    fn add(&mut self, value: &T) {
        match self.0.get_mut(value) {
            Some(count) => *count += 1,
            None => {
                self.0.insert(value.clone(), 1);
            }
        }
    }

    fn remove(&mut self, value: &T) {
        if let Some(count) = self.0.get_mut(value) {
            *count -= 1;
            if *count == 0 {
                self.0.remove(value);
            }
        }
    }

    fn values(&self) -> impl Iterator<Item = &T> {
        self.0.keys()
    }

    fn least(&self) -> T
    where
        T: Copy + Default,
    {
        self.values().next().copied().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn refusal(name: u8) -> Refusal {
        Refusal {
            resource_type: ResourceType::Cluster,
            name: name.to_string().into(),
            version: "v".into(),
            detail: String::new(),
            since: 1,
            may_pass: false,
            instead: None,
        }
    }

    prop_compose! {
        fn stream()(
            own: bool,
            acknowledged in 0u64..4,
            held in 0usize..4,
            refused in prop::collection::btree_set(0u8..3, 0..3),
        ) -> StreamStatus {
            StreamStatus {
                own,
                acknowledged,
                refused: refused.into_iter().map(refusal).collect(),
                held: [held; ResourceType::ALL.len()],
            }
        }
    }

    proptest! {
        #[test]
        fn counts_say_what_asking_each_would(
            steps in prop::collection::vec((0u64..4, prop::option::weighted(0.8, stream())), 1..30),
            has_own: bool,
        ) {
            let mut streams = Streams::default();
            let mut each: BTreeMap<u64, StreamStatus> = BTreeMap::new();
            for (id, step) in steps {
                match step {
                    Some(status) => {
                        let news = each.get(&id) != Some(&status);
                        prop_assert_eq!(streams.put(id, status.clone()), news);
                        each.insert(id, status);
                    }
                    None => {
                        streams.remove(id);
                        each.remove(&id);
                    }
                }
                let status = streams.status(5, &Snapshot::default(), has_own);
                let counted: Vec<_> = each.values().filter(|s| s.own == has_own).collect();
                let others: Vec<_> = each.values().filter(|s| !s.own).collect();
                let least = |of: &[&StreamStatus]| of.iter().map(|s| s.acknowledged).min().unwrap_or(0);
                prop_assert_eq!(status.streams, counted.len());
                prop_assert_eq!(status.acknowledged, least(&counted));
                prop_assert_eq!(status.others.streams, others.len());
                prop_assert_eq!(status.others.acknowledged, least(&others));
                let held = counted.iter().map(|s| s.held[0]).min().unwrap_or(0);
                prop_assert_eq!(status.types[0].held, held);
                let mut refused: Vec<_> = each.values().flat_map(|s| s.refused.clone()).collect();
                refused.sort();
                refused.dedup();
                prop_assert_eq!(status.refused, refused);
            }
        }
    }
}
