//! Which counters are over their limit, so that Redis need not be asked about them.

use std::collections::HashMap;
use std::num::NonZero;
use std::sync::{PoisonError, RwLock};

/// Of a bounded number of counters; others are asked about as ever.
#[derive(Debug)]
pub(crate) struct OverLimit {
    size: NonZero<usize>,
    known: RwLock<Known>,
}

#[derive(Debug, Default)]
struct Known {
    /// By key: when the window ends.
    window_ends: HashMap<Box<str>, u64>,
    /// When all that ended before was removed last.
    swept_at: u64,
}

impl OverLimit {
    pub(crate) fn new(size: NonZero<usize>) -> Self {
        Self {
            size,
            known: RwLock::default(),
        }
    }

    pub(crate) fn contains(&self, key: &str) -> bool {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        known.window_ends.contains_key(key)
    }

    pub(crate) fn insert(&self, key: Box<str>, window_end: u64, now: u64) {
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        if known.window_ends.len() >= self.size.get() {
            // Once a second, or each would cost a walk over all of them.
            if known.swept_at == now {
                return;
            }
            known.swept_at = now;
            known.window_ends.retain(|_, end| *end > now);
            if known.window_ends.len() >= self.size.get() {
                return;
            }
        }
        known.window_ends.insert(key, window_end);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_no_more_than_its_size_and_forgets_what_ended() {
        let over = OverLimit::new(NonZero::new(2).unwrap());
        over.insert("a".into(), 10, 1);
        over.insert("b".into(), 20, 1);
        over.insert("c".into(), 20, 2);
        assert!(over.contains("a") && over.contains("b") && !over.contains("c"));
        over.insert("c".into(), 20, 10);
        assert!(!over.contains("a") && over.contains("b") && over.contains("c"));
    }
}
