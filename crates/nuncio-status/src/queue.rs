//! Which objects are to be written, in which order and how soon. Pure.
//!
//! An object is in the queue once; what is written is what is true when its turn comes.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use nuncio_model::ResourceId;

/// After the first failure, and at most.
const FIRST_PAUSE: Duration = Duration::from_millis(500);
const LONGEST_PAUSE: Duration = Duration::from_secs(300);

/// How much somebody waits for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Urgency {
    /// Only where a resource is in effect is another.
    Later,
    Soon,
}

#[derive(Debug, Default)]
pub(crate) struct Queue {
    waiting: HashMap<Arc<ResourceId>, Urgency>,
    soon: VecDeque<Arc<ResourceId>>,
    later: VecDeque<Arc<ResourceId>>,
    /// Those that failed, by when they are tried again.
    failed: BTreeMap<(Instant, u64), Arc<ResourceId>>,
    failures: HashMap<Arc<ResourceId>, Failures>,
    count: u64,
}

#[derive(Debug)]
struct Failures {
    in_a_row: u32,
    /// When it is tried again, while it waits for that.
    due: Option<(Instant, u64)>,
}

impl Queue {
    /// Has an object looked at. One that failed waits on.
    pub(crate) fn push(&mut self, id: &Arc<ResourceId>, urgency: Urgency) {
        if self
            .failures
            .get(id)
            .is_some_and(|failures| failures.due.is_some())
        {
            return;
        }
        let known = self.waiting.get(id);
        if known.is_some_and(|known| *known >= urgency) {
            return;
        }
        self.waiting.insert(Arc::clone(id), urgency);
        match urgency {
            Urgency::Soon => self.soon.push_back(Arc::clone(id)),
            Urgency::Later => self.later.push_back(Arc::clone(id)),
        }
    }

    /// The next object whose time has come.
    pub(crate) fn pop(&mut self, now: Instant) -> Option<Arc<ResourceId>> {
        while let Some(entry) = self.failed.first_entry() {
            if entry.key().0 > now {
                break;
            }
            let id = entry.remove();
            if let Some(failures) = self.failures.get_mut(&id) {
                failures.due = None;
            }
            self.push(&id, Urgency::Soon);
        }
        // One that became urgent stands in the other queue too, where it counts no more.
        loop {
            let (id, urgency) = match self.soon.pop_front() {
                Some(id) => (id, Urgency::Soon),
                None => (self.later.pop_front()?, Urgency::Later),
            };
            if self.waiting.get(&id) == Some(&urgency) {
                self.waiting.remove(&id);
                return Some(id);
            }
        }
    }

    /// When there is something to pop.
    pub(crate) fn due(&self, now: Instant) -> Option<Instant> {
        match self.waiting.is_empty() {
            false => Some(now),
            true => self.failed.first_key_value().map(|((due, _), _)| *due),
        }
    }

    /// It could not be written; `wait` is what the API server asks for.
    pub(crate) fn failed(&mut self, id: &Arc<ResourceId>, now: Instant, wait: Option<Duration>) {
        self.count += 1;
        let failures = self.failures.entry(Arc::clone(id)).or_insert(Failures {
            in_a_row: 0,
            due: None,
        });
        let pause = FIRST_PAUSE * 2u32.saturating_pow(failures.in_a_row.min(16));
        let pause = pause.min(LONGEST_PAUSE).max(wait.unwrap_or_default());
        failures.in_a_row += 1;
        let due = (now + pause, self.count);
        failures.due = Some(due);
        self.failed.insert(due, Arc::clone(id));
    }

    /// It says what it is to say, or is gone.
    pub(crate) fn settled(&mut self, id: &ResourceId) {
        self.failures.remove(id);
    }

    pub(crate) fn len(&self) -> usize {
        self.waiting.len() + self.failed.len()
    }

    pub(crate) fn clear(&mut self) {
        *self = Self::default();
    }
}

/// Lets so many pass in a second, and some more at once.
#[derive(Debug)]
pub(crate) struct Bucket {
    per_second: f64,
    most: f64,
    tokens: f64,
    filled: Instant,
}

impl Bucket {
    pub(crate) fn new(per_second: u32, most: u32, now: Instant) -> Self {
        let most = f64::from(most.max(1));
        Self {
            per_second: f64::from(per_second.max(1)),
            most,
            tokens: most,
            filled: now,
        }
    }

    /// Whether one may pass, which is then counted.
    pub(crate) fn take(&mut self, now: Instant) -> bool {
        self.fill(now);
        let may = self.tokens >= 1.0;
        if may {
            self.tokens -= 1.0;
        }
        may
    }

    /// When the next may pass.
    pub(crate) fn due(&self, now: Instant) -> Instant {
        let passed = now.saturating_duration_since(self.filled).as_secs_f64();
        let missing = 1.0 - (self.tokens + passed * self.per_second);
        match missing > 0.0 {
            true => now + Duration::from_secs_f64(missing / self.per_second),
            false => now,
        }
    }

    fn fill(&mut self, now: Instant) {
        let passed = now.saturating_duration_since(self.filled).as_secs_f64();
        self.tokens = (self.tokens + passed * self.per_second).min(self.most);
        self.filled = now;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(name: &str) -> Arc<ResourceId> {
        Arc::new(ResourceId::new("g", "Mapping", "default", name))
    }

    fn pop(queue: &mut Queue, now: Instant) -> Option<String> {
        queue.pop(now).map(|id| id.name.to_string())
    }

    #[test]
    fn each_is_there_once_and_what_is_urgent_goes_first() {
        let now = Instant::now();
        let mut queue = Queue::default();
        assert_eq!(queue.due(now), None);
        for name in ["a", "b", "a", "c"] {
            queue.push(&id(name), Urgency::Later);
        }
        queue.push(&id("c"), Urgency::Soon);
        queue.push(&id("c"), Urgency::Later);
        assert_eq!((queue.len(), queue.due(now)), (3, Some(now)));
        let popped: Vec<_> = std::iter::from_fn(|| pop(&mut queue, now)).collect();
        assert_eq!(popped, ["c", "a", "b"]);
        assert_eq!((queue.len(), queue.due(now)), (0, None));
    }

    #[test]
    fn what_fails_waits_ever_longer() {
        let mut now = Instant::now();
        let mut queue = Queue::default();
        let a = id("a");
        let mut pauses = Vec::new();
        for _ in 0..12 {
            queue.failed(&a, now, None);
            // News do not bring it forward.
            queue.push(&a, Urgency::Soon);
            assert_eq!(queue.pop(now), None);
            let due = queue.due(now).unwrap();
            pauses.push((due - now).as_millis());
            now = due;
            assert_eq!(queue.pop(now), Some(Arc::clone(&a)));
        }
        assert_eq!(pauses[..4], [500, 1000, 2000, 4000]);
        assert_eq!(pauses[11], 300_000);
        queue.settled(&a);
        queue.failed(&a, now, Some(Duration::from_secs(7)));
        assert_eq!(queue.due(now), Some(now + Duration::from_secs(7)));
    }

    #[test]
    fn a_bucket_lets_a_burst_pass_and_then_so_many_a_second() {
        let mut now = Instant::now();
        let mut bucket = Bucket::new(10, 3, now);
        let burst = (0..9).filter(|_| bucket.take(now)).count();
        assert_eq!(burst, 3);
        let second = now + Duration::from_secs(1);
        let mut passed = 0;
        while now < second {
            now = bucket.due(now) + Duration::from_micros(1);
            passed += usize::from(bucket.take(now));
        }
        assert!((9..=11).contains(&passed), "{passed}");
        // It never holds more than a burst.
        now += Duration::from_secs(3600);
        assert_eq!((0..9).filter(|_| bucket.take(now)).count(), 3);
    }
}
