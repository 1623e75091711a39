//! The wiring: ports, files, counters.

use std::io;
use std::net::SocketAddr;
use std::num::NonZero;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;
use nuncio_envoy_api::envoy::service::ratelimit::v3::rate_limit_service_server::RateLimitServiceServer;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tonic::transport::server::TcpIncoming;
use tonic_health::ServingStatus;
use tonic_health::server::HealthReporter;

use crate::RedisSetupError;
use crate::counters::{Counters, Memory, OverLimit, Redis, RedisOptions};
use crate::files::{Files, Loaded};
use crate::folder::Folder;
use crate::limiter::{Headers, Limiter, Settings};
use crate::metrics::{Metrics, add};
use crate::service::Service;

/// How long the end waits for answers that are under way.
const GOODBYE: Duration = Duration::from_secs(5);

/// Whom the gRPC health service knows: the whole, envoyproxy/ratelimit's name of it, and the
/// protocol's.
const HEALTH_NAMES: [&str; 3] = [
    "",
    "ratelimit",
    "envoy.service.ratelimit.v3.RateLimitService",
];

#[derive(Clone, Debug)]
pub struct Options {
    /// A folder with files of limits, or one file.
    pub limits: PathBuf,
    /// Where Envoy asks.
    pub listen: SocketAddr,
    /// Health and metrics.
    pub http: SocketAddr,
    /// Several files may have limits of one domain.
    pub merge_domains: bool,
    /// From which part of a limit on hits are counted as near it.
    pub near_limit_ratio: f32,
    /// Begins every key of a counter.
    pub key_prefix: String,
    /// Nothing is ever over a limit.
    pub shadow_mode: bool,
    /// Headers for clients.
    pub headers: Option<Headers>,
    /// Where replicas count together; without, this process counts for itself.
    pub redis: Option<RedisSettings>,
}

#[derive(Clone, Debug)]
pub struct RedisSettings {
    /// `redis://` or `rediss://` (TLS), with user and password, or `redis+unix://`.
    pub url: String,
    /// Authorities, in PEM, that vouch for a `rediss://`; without, the system's.
    pub ca: Option<PathBuf>,
    /// Keys expire up to so many seconds after their window.
    pub expiration_jitter: u64,
    /// How many counters over their limit are remembered, so as not to ask.
    pub local_cache: Option<NonZero<usize>>,
}

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("cannot listen on {address}: {error}")]
    Listen {
        address: SocketAddr,
        #[source]
        error: io::Error,
    },
    #[error(transparent)]
    Redis(#[from] RedisSetupError),
    #[error("the rate limit service ended: {0}")]
    Ended(String),
}

/// A rate limit service that has its ports.
#[derive(Debug)]
pub struct Server {
    options: Options,
    grpc: TcpListener,
    http: TcpListener,
    limiter: Arc<Limiter>,
    metrics: Arc<Metrics>,
}

impl Server {
    /// Takes the ports, and begins to connect to Redis.
    ///
    /// # Errors
    ///
    /// A port is taken, or what says where Redis is cannot be used. That Redis does not answer is
    /// none: it is tried again and again.
    pub async fn bind(options: Options) -> Result<Self, Error> {
        let metrics = Arc::<Metrics>::default();
        let (counters, over_limit) = match &options.redis {
            None => (Counters::Memory(Memory::default()), None),
            Some(redis) => {
                let connection = RedisOptions {
                    url: redis.url.clone(),
                    ca: redis.ca.clone(),
                    expiration_jitter: redis.expiration_jitter,
                };
                let counters = Redis::new(&connection, Arc::clone(&metrics))?;
                let over_limit = redis.local_cache.map(OverLimit::new);
                (Counters::Redis(counters), over_limit)
            }
        };
        let settings = Settings {
            near_limit_ratio: options.near_limit_ratio,
            key_prefix: options.key_prefix.clone(),
            shadow_mode: options.shadow_mode,
            headers: options.headers.clone(),
        };
        let limiter = Limiter::new(counters, over_limit, Arc::clone(&metrics), settings);
        Ok(Self {
            grpc: listen(options.listen).await?,
            http: listen(options.http).await?,
            limiter: Arc::new(limiter),
            metrics,
            options,
        })
    }

    /// Its metrics in the text format of Prometheus, at any time.
    pub fn metrics(&self) -> impl Fn() -> String + Send + Sync + 'static {
        let metrics = Arc::clone(&self.metrics);
        let redis = self.options.redis.is_some();
        move || metrics.text(redis)
    }

    /// Where Envoy asks, with the port that was taken for 0.
    ///
    /// # Errors
    ///
    /// The kernel does not say.
    pub fn grpc_address(&self) -> io::Result<SocketAddr> {
        self.grpc.local_addr()
    }

    /// Where health and metrics are.
    ///
    /// # Errors
    ///
    /// The kernel does not say.
    pub fn http_address(&self) -> io::Result<SocketAddr> {
        self.http.local_addr()
    }

    /// Serves until `end`, and then what is under way.
    ///
    /// # Errors
    ///
    /// A port cannot be served any more.
    pub async fn run(self, end: impl Future<Output = ()> + Send) -> Result<(), Error> {
        let (reporter, health) = tonic_health::server::health_reporter();
        report(&reporter, ServingStatus::NotServing).await;
        let ready = Arc::new(AtomicBool::new(false));
        let (stop, stopped) = watch::channel(());
        let stopped = move || {
            let mut stopped = stopped.clone();
            async move {
                // An error says that the sender is gone, which is the end as well.
                let _ = stopped.changed().await;
            }
        };

        let service = RateLimitServiceServer::new(Service {
            limiter: Arc::clone(&self.limiter),
            metrics: Arc::clone(&self.metrics),
        });
        let incoming = TcpIncoming::from(self.grpc).with_nodelay(Some(true));
        let grpc = tonic::transport::Server::builder()
            .add_service(health)
            .add_service(service)
            .serve_with_incoming_shutdown(incoming, stopped());
        let state = HttpState {
            metrics: Arc::clone(&self.metrics),
            redis: self.options.redis.is_some(),
            ready: Arc::clone(&ready),
        };
        let http = axum::serve(self.http, router(state)).with_graceful_shutdown(stopped());
        let servers = async {
            let ended = |error: String| Err(Error::Ended(error));
            tokio::try_join!(
                async { grpc.await.or_else(|error| ended(error.to_string())) },
                async { http.await.or_else(|error| ended(error.to_string())) },
            )
        };
        tokio::pin!(servers, end);

        let mut follower = Follower {
            folder: Folder::new(self.options.limits.clone()),
            files: Files::default(),
            merge_domains: self.options.merge_domains,
            limiter: self.limiter,
            metrics: self.metrics,
            reporter: reporter.clone(),
            ready: Arc::clone(&ready),
        };
        tokio::select! {
            served = &mut servers => return served.map(|_| ()),
            () = follower.run() => {}
            () = &mut end => {}
        }
        ready.store(false, Ordering::Relaxed);
        report(&reporter, ServingStatus::NotServing).await;
        drop(stop);
        // Envoy's connections end when it has heard of it.
        match tokio::time::timeout(GOODBYE, servers).await {
            Ok(served) => served.map(|_| ()),
            Err(_) => Ok(()),
        }
    }
}

async fn listen(address: SocketAddr) -> Result<TcpListener, Error> {
    TcpListener::bind(address)
        .await
        .map_err(|error| Error::Listen { address, error })
}

async fn report(reporter: &HealthReporter, status: ServingStatus) {
    for name in HEALTH_NAMES {
        reporter.set_service_status(name, status).await;
    }
}

/// Puts into effect what the files say.
struct Follower {
    folder: Folder,
    files: Files,
    merge_domains: bool,
    limiter: Arc<Limiter>,
    metrics: Arc<Metrics>,
    reporter: HealthReporter,
    ready: Arc<AtomicBool>,
}

impl Follower {
    /// For ever.
    async fn run(&mut self) {
        let mut said = String::new();
        loop {
            match self.folder.read() {
                Ok(texts) => {
                    said.clear();
                    let loaded = self.files.update(texts, self.merge_domains, &self.metrics);
                    if let Some(loaded) = loaded {
                        self.put_into_effect(loaded).await;
                    }
                }
                // What was read before stays in effect.
                Err(error) => {
                    let error = error.to_string();
                    if error != said {
                        add(&self.metrics.failed_loads, 1);
                        tracing::error!(error, "the limits cannot be read");
                        said = error;
                    }
                }
            }
            self.folder.changed().await;
        }
    }

    async fn put_into_effect(&mut self, loaded: Loaded) {
        if loaded.problems.is_empty() {
            add(&self.metrics.loads, 1);
            tracing::info!("the limits are in effect");
        } else {
            add(&self.metrics.failed_loads, 1);
        }
        for problem in &loaded.problems {
            tracing::error!("{problem}");
        }
        // Once only: a wrong file that comes later must not take the others' limits away.
        let complete = loaded.in_effect.incomplete.is_none();
        self.limiter.set_rules(loaded.in_effect);
        if complete && !self.ready.swap(true, Ordering::Relaxed) {
            report(&self.reporter, ServingStatus::Serving).await;
        }
    }
}

#[derive(Clone)]
struct HttpState {
    metrics: Arc<Metrics>,
    redis: bool,
    ready: Arc<AtomicBool>,
}

fn router(state: HttpState) -> Router {
    Router::new()
        .route("/healthcheck", get(healthcheck))
        .route("/alive", get(async || "OK"))
        .route("/metrics", get(metrics))
        .with_state(state)
}

/// Whether all limits are known: readiness.
async fn healthcheck(State(state): State<HttpState>) -> impl IntoResponse {
    match state.ready.load(Ordering::Relaxed) {
        true => (StatusCode::OK, "OK"),
        false => (
            StatusCode::INTERNAL_SERVER_ERROR,
            "the limits could not be read yet, or this is the end; the log says more",
        ),
    }
}

async fn metrics(State(state): State<HttpState>) -> impl IntoResponse {
    let text = "text/plain; version=0.0.4; charset=utf-8";
    let body = state.metrics.text(state.redis);
    ([(header::CONTENT_TYPE, text)], body)
}
