//! What an upstream was asked.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use tokio::sync::watch;

/// A request as it reached the upstream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    pub method: String,
    pub path: String,
    pub host: String,
    pub headers: BTreeMap<String, Vec<String>>,
    /// What has come of its body so far, as far as it is kept.
    pub body: Vec<u8>,
}

/// How much of a request's body is kept.
pub(crate) const KEPT_BODY: usize = 64 * 1024;

/// All requests since the start.
#[derive(Clone, Debug)]
pub(crate) struct SeenLog {
    requests: Arc<Mutex<Vec<Seen>>>,
    count: Arc<watch::Sender<usize>>,
}

impl Default for SeenLog {
    fn default() -> Self {
        Self {
            requests: Arc::default(),
            count: Arc::new(watch::Sender::new(0)),
        }
    }
}

impl SeenLog {
    /// Adds a request; returns how many there are now.
    pub(crate) fn push(&self, seen: Seen) -> usize {
        let count = {
            let mut requests = self.requests();
            requests.push(seen);
            requests.len()
        };
        self.count.send_replace(count);
        count
    }

    /// Adds to the body of the nth request, from 1.
    pub(crate) fn add_body(&self, nth: usize, bytes: &[u8]) {
        if let Some(seen) = self.requests().get_mut(nth - 1) {
            let room = KEPT_BODY.saturating_sub(seen.body.len());
            seen.body.extend(&bytes[..bytes.len().min(room)]);
        }
        self.count.send_modify(|_| ());
    }

    pub(crate) fn all(&self) -> Vec<Seen> {
        self.requests().clone()
    }

    /// Waits until a request is there that is meant.
    pub(crate) async fn wait_for(&self, is_meant: impl Fn(&Seen) -> bool) -> Seen {
        let mut count = self.count.subscribe();
        loop {
            // A copy, so that the question may itself ask for what was seen.
            if let Some(seen) = self.all().into_iter().find(|seen| is_meant(seen)) {
                return seen;
            }
            count
                .changed()
                .await
                .expect("invariant: the sender is held here");
        }
    }

    fn requests(&self) -> std::sync::MutexGuard<'_, Vec<Seen>> {
        self.requests
            .lock()
            .expect("invariant: nothing panics while it holds the requests")
    }
}
