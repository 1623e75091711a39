//! Requests without end, to see that none fails.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Method, Request};
use http_body_util::Full;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::MissedTickBehavior;

use super::{Client, Protocol, Target};

/// A request to send over and over.
#[derive(Clone, Debug)]
pub struct RequestSpec {
    pub method: Method,
    pub host: String,
    pub path: String,
    pub headers: Vec<(HeaderName, HeaderValue)>,
}

impl RequestSpec {
    pub fn get(host: impl Into<String>, path: impl Into<String>) -> Self {
        Self {
            method: Method::GET,
            host: host.into(),
            path: path.into(),
            headers: Vec::new(),
        }
    }

    fn request(&self) -> Request<Full<Bytes>> {
        let mut request = Request::new(Full::default());
        *request.method_mut() = self.method.clone();
        *request.uri_mut() = self.path.parse().unwrap_or_default();
        request.headers_mut().extend(self.headers.iter().cloned());
        request
    }
}

/// What came of the requests.
#[derive(Clone, Debug, Default)]
pub struct LoadReport {
    pub sent: u64,
    /// Requests without an answer, each with the reason; statuses are in `by_status`.
    pub failed: Vec<String>,
    pub by_status: BTreeMap<u16, u64>,
    pub connections: u64,
}

impl LoadReport {
    /// Requests that were not answered with 200.
    pub fn not_ok(&self) -> u64 {
        self.sent - self.by_status.get(&200).copied().unwrap_or(0)
    }
}

/// Running requests.
pub struct Load {
    stop: watch::Sender<bool>,
    workers: JoinSet<()>,
    report: Arc<Mutex<LoadReport>>,
}

impl Load {
    /// Starts `connections` keep-alive connections that together send at most `rate` requests a
    /// second, each the next of `requests`.
    pub fn start(target: &Target, requests: Vec<RequestSpec>, connections: u32, rate: u32) -> Self {
        Self::over(Protocol::Http1, target, requests, connections, rate)
    }

    /// The same over another protocol.
    pub fn over(
        protocol: Protocol,
        target: &Target,
        requests: Vec<RequestSpec>,
        connections: u32,
        rate: u32,
    ) -> Self {
        let report = Arc::new(Mutex::new(LoadReport::default()));
        let stop = watch::Sender::new(false);
        let mut workers = JoinSet::new();
        let requests = Arc::new(requests);
        let pause = Duration::from_secs(1) * connections / rate.max(1);
        for offset in 0..connections as usize {
            let worker = Worker {
                protocol,
                target: target.clone(),
                requests: Arc::clone(&requests),
                report: Arc::clone(&report),
                pause,
            };
            workers.spawn(worker.run(offset, stop.subscribe()));
        }
        Self {
            stop,
            workers,
            report,
        }
    }

    /// How many were sent so far.
    pub fn sent(&self) -> u64 {
        lock(&self.report).sent
    }

    /// Finishes what is under way and says what came of it.
    pub async fn stop(mut self) -> LoadReport {
        self.stop.send_replace(true);
        while self.workers.join_next().await.is_some() {}
        lock(&self.report).clone()
    }
}

struct Worker {
    protocol: Protocol,
    target: Target,
    requests: Arc<Vec<RequestSpec>>,
    report: Arc<Mutex<LoadReport>>,
    pause: Duration,
}

impl Worker {
    async fn run(self, offset: usize, stop: watch::Receiver<bool>) {
        let mut client: Option<Client> = None;
        let mut ticks = tokio::time::interval(self.pause.max(Duration::from_micros(1)));
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        for spec in self
            .requests
            .iter()
            .cycle()
            .skip(offset % self.requests.len())
        {
            ticks.tick().await;
            if *stop.borrow() {
                return;
            }
            // Told to close, a client takes a new connection for the next request.
            let open = client.take().filter(Client::is_open);
            let again = match open {
                Some(mut open) => match open.send(&spec.host, spec.request()).await {
                    // The server has closed while this one was about to send: nothing was sent.
                    Err(error) if never_sent(&error) => None,
                    answer => Some((open, answer)),
                },
                None => None,
            };
            let (connected, answer) = match again {
                Some(done) => done,
                None => match Client::connect(&self.target, self.protocol).await {
                    Ok(mut connected) => {
                        lock(&self.report).connections += 1;
                        let answer = connected.send(&spec.host, spec.request()).await;
                        (connected, answer)
                    }
                    Err(error) => {
                        let mut report = lock(&self.report);
                        report.sent += 1;
                        report.failed.push(format!("connecting: {error}"));
                        continue;
                    }
                },
            };
            let mut report = lock(&self.report);
            report.sent += 1;
            match answer {
                Ok(answer) => {
                    *report.by_status.entry(answer.status.as_u16()).or_default() += 1;
                    let close = answer
                        .headers
                        .get(http::header::CONNECTION)
                        .is_some_and(|value| value == "close");
                    if !close {
                        client = Some(connected);
                    }
                }
                Err(error) => report
                    .failed
                    .push(format!("{} {}: {error}", spec.method, spec.path)),
            }
        }
    }
}

/// Whether a connection took nothing of a request, so that another may.
fn never_sent(error: &io::Error) -> bool {
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref());
    inner.is_some_and(|error: &hyper::Error| error.is_canceled() || error.is_closed())
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex
        .lock()
        .expect("invariant: nothing panics while it holds the report")
}
