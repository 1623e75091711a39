//! A cluster: the objects of its API server, as they change.
//!
//! ```text
//!  crds ──▶ which kinds ──▶ follow, one for each kind ──▶ state ──▶ ChangeSet
//!                                 (list, then watch)        │
//!                                                           └──▶ Content, to be kept
//! ```
//!
//! [`state`] is pure and decides what is said; the rest asks the API server. Trouble never takes
//! anything out of effect: what was read stays until the API server says something else.

mod connect;
mod crds;
mod follow;
mod kinds;
mod object;
mod secrets;
mod standing;
mod state;
mod trouble;

use std::collections::BTreeMap;
use std::future::pending;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use kube::Client;
use kube::runtime::watcher;
use nuncio_api::{Body, RawObject};
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::task::{AbortHandle, JoinHandle, JoinSet};
use tokio::time::{Instant, sleep_until};

pub use connect::{ConnectError, Connection};
pub use secrets::Secrets;
pub use standing::{Standing, StandingCondition, Standings};

use crate::kept::{Content, Kept};
use crate::{ChangeSet, Contents};
use crds::Definitions;
use follow::News;
use kinds::{Kind, KindId};
use secrets::Request;
use state::{Question, State};

/// A burst of changes ends when nothing came for so long.
const QUIET: Duration = Duration::from_millis(5);

/// A burst that does not end is cut after this.
const LONGEST_BURST: Duration = Duration::from_millis(100);

/// Between two tries whether the API server answers again.
const PROBE: Duration = Duration::from_secs(1);

/// How long who wants a Secret waits for the API server's answer.
const PATIENCE: Duration = Duration::from_secs(3);

/// How much may come before it is looked at.
const QUEUE: usize = 1024;

/// Which objects are asked for.
#[derive(Clone, Debug, Default)]
pub struct Limits {
    /// Only those of this namespace, and none that have no namespace.
    pub namespace: Option<String>,
    /// As the API server understands it, for every kind.
    pub label_selector: Option<String>,
    /// As the API server understands it, for every kind.
    pub field_selector: Option<String>,
}

impl Limits {
    fn sees(&self, kind: &Kind) -> bool {
        kind.namespaced || self.namespace.is_none()
    }

    /// What objects are selected by, beside what the user says.
    fn field_selector<'a>(&'a self, fields: impl Iterator<Item = &'a str>) -> Option<String> {
        let selectors: Vec<_> = fields.chain(self.field_selector.as_deref()).collect();
        (!selectors.is_empty()).then(|| selectors.join(","))
    }

    fn watcher_config(&self, fields: Option<&str>) -> watcher::Config {
        watcher::Config {
            label_selector: self.label_selector.clone(),
            field_selector: self.field_selector(fields.into_iter()),
            // Lists are not streamed: kube asks for those as the API server remembers them, which may
            // lack what was written just before.
            ..watcher::Config::default()
        }
    }
}

/// The change sets of a cluster, as they come.
#[derive(Debug)]
pub struct Cluster {
    changes: mpsc::Receiver<ChangeSet>,
    asked: mpsc::Sender<oneshot::Sender<Content>>,
    wants: mpsc::UnboundedSender<Request>,
    standings: Standings,
    task: JoinHandle<()>,
}

impl Cluster {
    /// Starts to follow a cluster. For what cannot be read at the start stands what was
    /// [kept](Content) in a file.
    pub fn start(connection: Connection, limits: Limits, kept: PathBuf) -> Self {
        // What changes while the last change set is not taken up goes into the next one.
        let (sender, changes) = mpsc::channel(1);
        let (asked, asks) = mpsc::channel(1);
        let (wants, requests) = mpsc::unbounded_channel();
        let standings = Standings::default();
        let collector = Collector {
            standings: standings.clone(),
            state: State::new(&connection.url),
            client: connection.client,
            limits: Arc::new(limits),
            kept,
            followers: BTreeMap::new(),
            tasks: JoinSet::new(),
            asking: JoinSet::new(),
            room: Arc::new(Semaphore::new(secrets::AT_ONCE)),
        };
        let task = tokio::spawn(collector.run(sender, asks, requests));
        Self {
            changes,
            asked,
            wants,
            standings,
            task,
        }
    }

    /// The next change set; the first one is what the cluster holds at the start. Dropping the
    /// future loses nothing.
    pub async fn next(&mut self) -> ChangeSet {
        self.changes
            .recv()
            .await
            .expect("invariant: the task lives as long as its cluster")
    }

    /// Where to ask for what there is to keep.
    pub fn contents(&self) -> Contents {
        Contents::of_cluster(self.asked.clone())
    }

    /// Where to say which Secrets count: all do before.
    pub fn secrets(&self) -> Secrets {
        Secrets::new(self.wants.clone())
    }

    /// What the status of its objects says.
    pub fn standings(&self) -> Standings {
        self.standings.clone()
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.task.abort();
    }
}

struct Collector {
    state: State,
    standings: Standings,
    client: Client,
    limits: Arc<Limits>,
    kept: PathBuf,
    followers: BTreeMap<KindId, AbortHandle>,
    /// Ends with the collector.
    tasks: JoinSet<()>,
    /// Secrets that are asked for.
    asking: JoinSet<(Question, Option<Body>)>,
    room: Arc<Semaphore>,
}

/// Who waits for Secrets, and how long.
struct Waiting {
    asked: Vec<Question>,
    until: Instant,
    answer: std::sync::mpsc::Sender<Option<Vec<RawObject>>>,
}

impl Collector {
    async fn run(
        mut self,
        changes: mpsc::Sender<ChangeSet>,
        mut asks: mpsc::Receiver<oneshot::Sender<Content>>,
        mut requests: mpsc::UnboundedReceiver<Request>,
    ) {
        let (known, mut definitions) = mpsc::channel(1);
        let (sender, mut news) = mpsc::channel(QUEUE);
        self.tasks.spawn(crds::follow(self.client.clone(), known));
        let mut burst: Option<Burst> = None;
        let mut probe = None;
        let mut received = Vec::new();
        let mut waiting: Option<Waiting> = None;
        loop {
            if let Some(waiter) = waiting.take_if(|waiter| self.is_over(waiter)) {
                // Whoever asked may have gone.
                let _ = waiter.answer.send(Some(self.state.found(&waiter.asked)));
            }
            let patience = waiting.as_ref().map(|waiter| waiter.until);
            let patience = async {
                match patience {
                    Some(until) => sleep_until(until).await,
                    None => pending().await,
                }
            };
            let due = burst.as_ref().map(Burst::end);
            let room = async {
                match due {
                    Some(due) => sleep_until(due).await,
                    None => pending().await,
                }
                changes.reserve().await
            };
            tokio::select! {
                Some(definitions) = definitions.recv() => self.define(definitions, &sender),
                _ = news.recv_many(&mut received, QUEUE) => {
                    for news in received.drain(..) {
                        self.state.take(news);
                    }
                }
                Some(asked) = asks.recv() => {
                    // Whoever asked may have gone.
                    let _ = asked.send(self.state.content());
                    continue;
                }
                Some(request) = requests.recv() => {
                    // What was sent and is not there any more was taken up.
                    waiting = self.want(request, changes.capacity() > 0);
                }
                Some(asked) = self.asking.join_next() => {
                    if let Ok((question, body)) = asked {
                        self.state.answered(question, body);
                    }
                }
                () = patience => continue,
                () = answers(&self.client, &mut probe), if self.state.unreachable() => {
                    self.state.reached();
                }
                permit = room => {
                    let Ok(permit) = permit else {
                        return;
                    };
                    burst = None;
                    if self.state.is_dirty() {
                        permit.send(self.state.changes());
                    }
                    continue;
                }
            }
            if self.state.lacks() {
                let path = self.kept.clone();
                let kept = tokio::task::spawn_blocking(move || Kept::read(&path)).await;
                if let Ok(kept) = kept {
                    self.state.restore(&self.kept, kept);
                }
            }
            if self.state.is_dirty() {
                burst = Some(Burst::more(burst));
            }
        }
    }

    /// Has Secrets asked for of which nothing is known yet; who waits for that.
    fn want(&mut self, request: Request, all_taken_up: bool) -> Option<Waiting> {
        let Request { wanted, answer } = request;
        let Some(asked) = self.state.want(wanted, all_taken_up) else {
            let _ = answer.send(None);
            return None;
        };
        for question in &asked {
            let question = question.clone();
            if !secrets::is_possible(&question.name, &self.limits) {
                self.state.answered(question, None);
                continue;
            }
            let (client, limits) = (self.client.clone(), Arc::clone(&self.limits));
            let asking = secrets::ask(
                client,
                limits,
                question.name.clone(),
                Arc::clone(&self.room),
            );
            self.asking.spawn(async { (question, asking.await) });
        }
        // From an API server that is away there is nothing to wait for.
        let patience = match self.state.unreachable() {
            true => Duration::ZERO,
            false => PATIENCE,
        };
        Some(Waiting {
            asked,
            until: Instant::now() + patience,
            answer,
        })
    }

    fn is_over(&self, waiter: &Waiting) -> bool {
        waiter.until <= Instant::now() || !self.state.awaits(&waiter.asked)
    }

    /// Has every kind followed that there is, and no other.
    fn define(&mut self, definitions: Definitions, news: &mpsc::Sender<News>) {
        let custom = match definitions {
            Definitions::Known(custom) => custom,
            Definitions::Trouble(trouble) => return self.state.undefined(trouble),
        };
        let kinds = kinds::built_in()
            .into_iter()
            .chain(kinds::for_gateway_api(&custom))
            .chain(custom);
        let steps = self
            .state
            .define(kinds.filter(|kind| self.limits.sees(kind)).collect());
        for id in steps.stop {
            if let Some(follower) = self.followers.remove(&id) {
                follower.abort();
            }
        }
        for (kind, number) in steps.start {
            let id = kind.id();
            let limits = Arc::clone(&self.limits);
            let (client, news) = (self.client.clone(), news.clone());
            let standings = self.standings.of(&kind);
            let follow = follow::follow(client, kind, limits, number, news, standings);
            self.followers.insert(id, self.tasks.spawn(follow));
        }
    }
}

/// Changes that belong into one change set.
#[derive(Clone, Copy)]
struct Burst {
    began: Instant,
    last: Instant,
}

impl Burst {
    fn more(burst: Option<Self>) -> Self {
        let last = Instant::now();
        let began = burst.map_or(last, |burst| burst.began);
        Self { began, last }
    }

    fn end(&self) -> Instant {
        (self.last + QUIET).min(self.began + LONGEST_BURST)
    }
}

/// Waits until the API server answers. What is waited for in between goes on the next time.
async fn answers(client: &Client, probe: &mut Option<Instant>) {
    loop {
        let next = *probe.get_or_insert_with(|| Instant::now() + PROBE);
        sleep_until(next).await;
        match client.apiserver_version().await {
            Ok(_) => {
                *probe = None;
                return;
            }
            Err(error) => {
                tracing::debug!(%error, "the API server does not answer");
                *probe = Some(Instant::now() + PROBE);
            }
        }
    }
}
