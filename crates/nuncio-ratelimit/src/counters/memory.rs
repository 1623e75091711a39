//! Counters of one process.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::{Mutex, PoisonError};

use super::Hit;

/// So many that two threads seldom want the same one.
const SHARDS: usize = 64;

/// Removal of ended windows begins at this size of a shard.
const SWEEP_FROM: usize = 64;

#[derive(Debug)]
pub(crate) struct Memory {
    shards: Box<[Mutex<Shard>]>,
    hasher: RandomState,
}

#[derive(Debug)]
struct Shard {
    counters: HashMap<Box<str>, Counter>,
    /// Ended windows are removed when there are so many counters: twice as many as the last time
    /// were left, so that it costs each hit the same.
    sweep_at: usize,
}

#[derive(Clone, Copy, Debug)]
struct Counter {
    hits: u64,
    window_end: u64,
}

impl Default for Memory {
    fn default() -> Self {
        let shard = || {
            Mutex::new(Shard {
                counters: HashMap::new(),
                sweep_at: SWEEP_FROM,
            })
        };
        Self {
            shards: std::iter::repeat_with(shard).take(SHARDS).collect(),
            hasher: RandomState::new(),
        }
    }
}

impl Memory {
    pub(crate) fn add(&self, hit: Hit, now: u64) -> u64 {
        let hash = self.hasher.hash_one(&hit.key);
        let index = usize::try_from(hash % SHARDS as u64).expect("invariant: below SHARDS");
        let shard = &self.shards[index];
        let mut shard = shard.lock().unwrap_or_else(PoisonError::into_inner);
        if shard.counters.len() >= shard.sweep_at {
            shard.counters.retain(|_, counter| counter.window_end > now);
            let twice = 2 * shard.counters.len();
            shard.counters.shrink_to(twice);
            shard.sweep_at = SWEEP_FROM.max(twice);
        }
        let counter = shard.counters.entry(hit.key).or_insert(Counter {
            hits: 0,
            window_end: hit.window_end,
        });
        counter.hits = counter.hits.saturating_add(hit.hits);
        counter.hits
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hit(key: &str, window_end: u64) -> Hit {
        Hit {
            key: key.into(),
            hits: 1,
            window_end,
            window: 1,
        }
    }

    #[test]
    fn counts_each_key() {
        let memory = Memory::default();
        assert_eq!(memory.add(hit("a_0", 1), 0), 1);
        assert_eq!(memory.add(hit("a_0", 1), 0), 2);
        assert_eq!(memory.add(hit("b_0", 1), 0), 1);
        assert_eq!(memory.add(hit("a_1", 2), 1), 1);
    }

    #[test]
    fn windows_that_ended_are_forgotten() {
        let memory = Memory::default();
        for second in 0..20 {
            for user in 0..5_000 {
                memory.add(hit(&format!("{user}_{second}"), second + 1), second);
            }
        }
        let shards = memory.shards.iter();
        let counters: usize = shards
            .map(|shard| shard.lock().unwrap().counters.len())
            .sum();
        // Of all 100,000 at most twice those that one sweep left.
        assert!(counters <= 20_000, "{counters}");
    }

    #[test]
    fn no_hit_of_many_threads_is_lost() {
        let memory = Memory::default();
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..10_000 {
                        memory.add(hit("a_0", 1), 0);
                    }
                });
            }
        });
        assert_eq!(memory.add(hit("a_0", 1), 0), 40_001);
    }
}
