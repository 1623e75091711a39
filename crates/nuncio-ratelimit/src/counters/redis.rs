//! Counters in Redis, for many replicas.
//!
//! ```text
//!  decisions ──▶ waiting ──▶ batch: equal keys summed ──▶ INCRBY, EXPIRE for each key ──▶ Redis
//!      ▲            (while a batch is under way, others wait and make the next one)        │
//!      └──────────────── each its own count, in the order of arrival ◀────────────────────┘
//! ```
//!
//! Nothing is sent twice: whether a batch whose connection broke was counted cannot be known, and
//! twice would be wrong. Its decisions fail, and so do those that come while there is no
//! connection: what then becomes of requests is said to Envoy (`failure_mode_deny`).

use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Client, TlsCertificates, Value};
use tokio::sync::{Notify, oneshot};
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

use super::Hit;
use crate::metrics::Metrics;

/// How long Redis may take to connect and to answer: longer than a busy machine makes it take, so that
/// only what is gone is given up. Envoy waits for no answer that long.
const PATIENCE: Duration = Duration::from_secs(5);

/// Between two attempts to connect: doubled up to the second.
const PAUSES: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(2));

/// How often a connection is tried on which nothing happens: one that broke is found before it is
/// needed.
const IDLE: Duration = Duration::from_secs(1);

#[derive(Clone, Debug)]
pub(crate) struct RedisOptions {
    /// `redis://` or `rediss://` (TLS), with user and password, or `redis+unix://`.
    pub(crate) url: String,
    /// Authorities, in PEM, that vouch for a `rediss://`; without, the system's.
    pub(crate) ca: Option<PathBuf>,
    /// Keys expire up to so many seconds after their window, not all at once.
    pub(crate) expiration_jitter: u64,
}

#[derive(Clone, Debug, thiserror::Error)]
pub(crate) enum RedisError {
    #[error("there is no connection to Redis: {0}")]
    Down(Arc<str>),
    #[error("Redis refuses to count: {0}")]
    Refused(String),
}

#[derive(Debug, thiserror::Error)]
pub enum RedisSetupError {
    #[error("the URL of Redis is wrong: {0}")]
    Url(#[source] redis::RedisError),
    #[error("the authorities for Redis cannot be read from {}: {error}", path.display())]
    Ca { path: PathBuf, error: io::Error },
}

#[derive(Debug)]
pub(crate) struct Redis {
    queue: Arc<Queue>,
    worker: JoinHandle<()>,
}

#[derive(Debug)]
struct Queue {
    state: Mutex<State>,
    wanted: Notify,
}

#[derive(Debug)]
struct State {
    waiting: Vec<Decision>,
    /// Why there is no connection.
    down: Option<Arc<str>>,
}

type Answer = Result<Vec<u64>, RedisError>;

#[derive(Debug)]
struct Decision {
    hits: Vec<Hit>,
    answer: oneshot::Sender<Answer>,
}

impl Redis {
    /// Connects in a task of its own.
    pub(crate) fn new(
        options: &RedisOptions,
        metrics: Arc<Metrics>,
    ) -> Result<Self, RedisSetupError> {
        let client = client(&options.url, options.ca.as_deref())?;
        let queue = Arc::new(Queue {
            state: Mutex::new(State {
                waiting: Vec::new(),
                down: Some("it is not connected yet".into()),
            }),
            wanted: Notify::new(),
        });
        let worker = Worker {
            client,
            queue: Arc::clone(&queue),
            metrics,
            expiration_jitter: options.expiration_jitter,
        };
        Ok(Self {
            queue,
            worker: tokio::spawn(worker.run()),
        })
    }

    pub(crate) async fn add(&self, hits: Vec<Hit>) -> Answer {
        if hits.is_empty() {
            return Ok(Vec::new());
        }
        let (answer, answered) = oneshot::channel();
        {
            let mut state = self.queue.state();
            if let Some(reason) = &state.down {
                return Err(RedisError::Down(Arc::clone(reason)));
            }
            if state.waiting.is_empty() {
                self.queue.wanted.notify_one();
            }
            state.waiting.push(Decision { hits, answer });
        }
        answered
            .await
            .unwrap_or_else(|_| Err(RedisError::Down("this process ends".into())))
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        self.worker.abort();
    }
}

fn client(url: &str, ca: Option<&Path>) -> Result<Client, RedisSetupError> {
    let Some(path) = ca else {
        return Client::open(url).map_err(RedisSetupError::Url);
    };
    let root_cert = std::fs::read(path).map_err(|error| RedisSetupError::Ca {
        path: path.to_owned(),
        error,
    })?;
    let certificates = TlsCertificates {
        client_tls: None,
        root_cert: Some(root_cert),
    };
    Client::build_with_tls(url, certificates).map_err(RedisSetupError::Url)
}

impl Queue {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Everything that waits fails, and what comes, until there is a connection.
    fn set_down(&self, reason: &str) {
        let reason: Arc<str> = reason.into();
        let waiting = {
            let mut state = self.state();
            state.down = Some(Arc::clone(&reason));
            std::mem::take(&mut state.waiting)
        };
        for decision in waiting {
            decision.end(Err(RedisError::Down(Arc::clone(&reason))));
        }
    }
}

impl Decision {
    fn end(self, answer: Answer) {
        // Whoever asked may have gone.
        let _ = self.answer.send(answer);
    }
}

struct Worker {
    client: Client,
    queue: Arc<Queue>,
    metrics: Arc<Metrics>,
    expiration_jitter: u64,
}

impl Worker {
    async fn run(self) {
        let (first, longest) = PAUSES;
        let mut pause = first;
        let mut said = String::new();
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(PATIENCE))
            .set_response_timeout(Some(PATIENCE));
        loop {
            let connected = self
                .client
                .get_multiplexed_async_connection_with_config(&config);
            let error = match connected.await {
                Ok(connection) => {
                    tracing::info!("connected to Redis");
                    said.clear();
                    pause = first;
                    self.queue.state().down = None;
                    self.metrics.redis_up.store(true, Ordering::Relaxed);
                    let error = self.serve(connection).await;
                    self.metrics.redis_up.store(false, Ordering::Relaxed);
                    error
                }
                Err(error) => error,
            };
            let error = error.to_string();
            self.queue.set_down(&error);
            if error != said {
                tracing::error!(error, "no connection to Redis; it is tried again and again");
                said = error;
            }
            sleep(pause).await;
            pause = longest.min(2 * pause);
        }
    }

    /// Sends batches until the connection breaks; why it did.
    async fn serve(&self, mut connection: MultiplexedConnection) -> redis::RedisError {
        loop {
            let waiting = std::mem::take(&mut self.queue.state().waiting);
            if !waiting.is_empty() {
                let batch = Batch::new(waiting);
                if let Err(error) = batch.send(&mut connection, self.expiration_jitter).await {
                    return error;
                }
            } else if timeout(IDLE, self.queue.wanted.notified()).await.is_err()
                && let Err(error) = redis::cmd("PING").exec_async(&mut connection).await
            {
                return error;
            }
        }
    }
}

/// Decisions that are asked for together.
struct Batch {
    decisions: Vec<Decision>,
    /// For each hit of each decision in order, the index of its counter.
    places: Vec<usize>,
    counters: Vec<Counter>,
}

struct Counter {
    key: Box<str>,
    window: u64,
    /// Of all decisions.
    hits: u64,
}

impl Batch {
    fn new(mut decisions: Vec<Decision>) -> Self {
        let mut counters: Vec<Counter> = Vec::new();
        let mut places = Vec::new();
        let mut known: HashMap<Box<str>, usize> = HashMap::new();
        for hit in decisions.iter_mut().flat_map(|decision| &mut decision.hits) {
            let place = match known.get(&hit.key) {
                Some(place) => *place,
                None => {
                    let place = counters.len();
                    known.insert(hit.key.clone(), place);
                    counters.push(Counter {
                        key: std::mem::take(&mut hit.key),
                        window: hit.window,
                        hits: 0,
                    });
                    place
                }
            };
            counters[place].hits += hit.hits;
            places.push(place);
        }
        Self {
            decisions,
            places,
            counters,
        }
    }

    async fn send(
        self,
        connection: &mut MultiplexedConnection,
        expiration_jitter: u64,
    ) -> redis::RedisResult<()> {
        let mut pipeline = redis::Pipeline::with_capacity(2 * self.counters.len());
        for counter in &self.counters {
            let jitter = match expiration_jitter {
                0 => 0,
                most => fastrand::u64(..most),
            };
            pipeline
                .cmd("INCRBY")
                .arg(&*counter.key)
                .arg(counter.hits)
                .cmd("EXPIRE")
                .arg(&*counter.key)
                .arg(counter.window + jitter);
        }
        let sent = connection.send_packed_commands(&pipeline, 0, pipeline.len());
        match sent.await {
            Ok(answers) => {
                self.answer(&answers);
                Ok(())
            }
            Err(error) => {
                let reason: Arc<str> = error.to_string().into();
                for decision in self.decisions {
                    decision.end(Err(RedisError::Down(Arc::clone(&reason))));
                }
                Err(error)
            }
        }
    }

    /// Two answers for each counter, of which the first counts.
    fn answer(self, answers: &[Value]) {
        // What each counter was before this batch.
        let mut counts: Vec<_> = self
            .counters
            .iter()
            .zip(answers.chunks(2))
            .map(|(counter, answers)| match &answers[0] {
                Value::Int(after) => Ok(u64::try_from(*after)
                    .unwrap_or(0)
                    .saturating_sub(counter.hits)),
                other => Err(format!("{other:?}")),
            })
            .collect();
        let mut places = self.places.into_iter();
        for decision in self.decisions {
            let places = places.by_ref().take(decision.hits.len());
            let after = decision.hits.iter().zip(places).map(|(hit, place)| {
                let count = counts.get_mut(place);
                match count {
                    Some(Ok(count)) => {
                        *count += hit.hits;
                        Ok(*count)
                    }
                    Some(Err(refusal)) => Err(RedisError::Refused(refusal.clone())),
                    None => Err(RedisError::Refused("an answer is missing".to_owned())),
                }
            });
            let answer = collect_all(after);
            decision.end(answer);
        }
    }
}

/// All, or the first error; but everything is gone through, since each counts for those after it.
fn collect_all(results: impl Iterator<Item = Result<u64, RedisError>>) -> Answer {
    let results: Vec<_> = results.collect();
    results.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decision(hits: &[(&str, u64)]) -> (Decision, oneshot::Receiver<Answer>) {
        let (answer, answered) = oneshot::channel();
        let hits = hits.iter().map(|(key, hits)| Hit {
            key: (*key).into(),
            hits: *hits,
            window_end: 60,
            window: 60,
        });
        let hits = hits.collect();
        (Decision { hits, answer }, answered)
    }

    #[test]
    fn equal_keys_are_summed_and_each_decision_gets_its_own_count() {
        let (first, mut first_answer) = decision(&[("a", 1), ("b", 2)]);
        let (second, mut second_answer) = decision(&[("a", 3), ("a", 4), ("c", 0)]);
        let (third, mut third_answer) = decision(&[("b", 5)]);
        let batch = Batch::new(vec![first, second, third]);
        let sums: Vec<_> = batch
            .counters
            .iter()
            .map(|counter| (&*counter.key, counter.hits))
            .collect();
        assert_eq!(sums, [("a", 8), ("b", 7), ("c", 0)]);
        batch.answer(&[
            Value::Int(108),
            Value::Int(1),
            Value::Int(7),
            Value::Int(1),
            Value::Nil,
            Value::Int(1),
        ]);
        assert_eq!(first_answer.try_recv().unwrap().unwrap(), [101, 2]);
        let refused = second_answer.try_recv().unwrap().unwrap_err();
        assert!(matches!(refused, RedisError::Refused(_)), "{refused}");
        assert_eq!(third_answer.try_recv().unwrap().unwrap(), [7]);
    }
}
