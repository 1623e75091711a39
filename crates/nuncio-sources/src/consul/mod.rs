//! The endpoints of services that a Consul knows.
//!
//! Each service is followed by blocking queries of the health API: an answer comes when there is
//! another, or after a minute. What a Consul said last stays while it says nothing, or that it
//! cannot say.

mod agent;
mod answer;
mod follow;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use nuncio_model::consul::{ConsulAnswer, ConsulService};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

pub use agent::Access;
use agent::Agents;

/// What is new of services.
pub type News = BTreeMap<Arc<ConsulService>, ConsulAnswer>;

/// How many answers wait to be taken up; then those who follow wait.
const WAITING: usize = 256;

/// Follows services. Dropped, it follows none.
#[derive(Debug)]
pub struct Consul {
    agents: Arc<Agents>,
    followed: BTreeMap<Arc<ConsulService>, Follower>,
    /// Of services that nobody follows yet.
    kept: News,
    sender: mpsc::Sender<(Arc<ConsulService>, ConsulAnswer)>,
    news: mpsc::Receiver<(Arc<ConsulService>, ConsulAnswer)>,
}

#[derive(Debug)]
struct Follower {
    task: JoinHandle<()>,
    /// Whether there was an answer, be it that there is none.
    answered: bool,
}

impl Drop for Follower {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Consul {
    /// With what was known of services before.
    pub fn new(access: Access, kept: News) -> Self {
        let (sender, news) = mpsc::channel(WAITING);
        Self {
            agents: Arc::new(Agents::new(access)),
            followed: BTreeMap::new(),
            kept,
            sender,
            news,
        }
    }

    /// Follows these and no others. What was known before of those that are new comes at once.
    pub fn follow(&mut self, services: &BTreeSet<Arc<ConsulService>>) -> News {
        self.followed
            .retain(|service, _| services.contains(service));
        let mut known = News::new();
        for service in services {
            if self.followed.contains_key(service) {
                continue;
            }
            let before = self.kept.remove(service);
            let following = follow::follow(
                Arc::clone(&self.agents),
                Arc::clone(service),
                before.clone(),
                self.sender.clone(),
            );
            let follower = Follower {
                task: tokio::spawn(following),
                answered: false,
            };
            self.followed.insert(Arc::clone(service), follower);
            known.extend(before.map(|before| (Arc::clone(service), before)));
        }
        known
    }

    /// What is new, of one service or of several. Dropping the future loses nothing.
    pub async fn next(&mut self) -> News {
        let mut news = News::new();
        while news.is_empty() {
            let first = self.news.recv().await;
            let mut next = Some(first.expect("invariant: a sender is held here"));
            while let Some((service, answer)) = next {
                // One that is no longer followed may have answered before.
                if let Some(follower) = self.followed.get_mut(&service) {
                    follower.answered = true;
                    news.insert(service, answer);
                }
                next = self.news.try_recv().ok();
            }
        }
        news
    }

    /// Whether there was an answer of each.
    pub fn all_answered(&self) -> bool {
        self.followed.values().all(|follower| follower.answered)
    }
}
