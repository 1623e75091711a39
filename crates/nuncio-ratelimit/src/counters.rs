//! Where hits are counted.
//!
//! Each window has a key of its own, which says when it began, so that nothing has to be reset and
//! a clock that is set back, or that of another replica, counts in its own window.

mod memory;
mod over_limit;
mod redis;

pub(crate) use memory::Memory;
pub(crate) use over_limit::OverLimit;
pub use redis::RedisSetupError;
pub(crate) use redis::{Redis, RedisError, RedisOptions};

/// What is added to a counter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Hit {
    pub(crate) key: Box<str>,
    pub(crate) hits: u64,
    /// When its window ends, in seconds since 1970.
    pub(crate) window_end: u64,
    /// How long the window is.
    pub(crate) window: u64,
}

#[derive(Debug)]
pub(crate) enum Counters {
    Memory(Memory),
    Redis(Redis),
}

impl Counters {
    /// Adds all hits in their order; what each counter then is. For the same key twice the second
    /// comes after the first.
    pub(crate) async fn add(&self, hits: Vec<Hit>, now: u64) -> Result<Vec<u64>, RedisError> {
        match self {
            Self::Memory(memory) => Ok(hits.into_iter().map(|hit| memory.add(hit, now)).collect()),
            Self::Redis(redis) => redis.add(hits).await,
        }
    }
}
