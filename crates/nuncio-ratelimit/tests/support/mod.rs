//! The real parts: Redis, envoyproxy/ratelimit, and this service in the test's own process.

#![allow(dead_code, unreachable_pub, clippy::unwrap_used)]

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nuncio_echo::free_port;
use nuncio_envoy_api::envoy::extensions::common::ratelimit::v3::RateLimitDescriptor;
use nuncio_envoy_api::envoy::extensions::common::ratelimit::v3::rate_limit_descriptor::Entry;
use nuncio_envoy_api::envoy::service::ratelimit::v3::rate_limit_service_client::RateLimitServiceClient;
use nuncio_envoy_api::envoy::service::ratelimit::v3::{RateLimitRequest, RateLimitResponse};
use nuncio_ratelimit::{Options, RedisSettings, Server};
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tonic::transport::{Channel, Endpoint};

pub type Client = RateLimitServiceClient<Channel>;

const DEADLINE: Duration = Duration::from_secs(60);

/// Waits until there is something.
pub async fn until<T>(what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let end = Instant::now() + DEADLINE;
    loop {
        if let Some(found) = look().await {
            return found;
        }
        assert!(Instant::now() < end, "in vain: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

async fn until_listening(port: u16) {
    let listening = async || TcpStream::connect(("127.0.0.1", port)).await.ok();
    until(&format!("something listens on {port}"), listening).await;
}

fn program(variable: &str) -> String {
    std::env::var(variable).unwrap_or_else(|_| panic!("{variable} is not set: run `make test`"))
}

/// A process that ends with this.
pub struct Running(Child);

impl Running {
    fn start(command: &mut Command) -> Self {
        let command = command.stdin(Stdio::null()).stdout(Stdio::null());
        Self(command.spawn().unwrap())
    }

    pub fn id(&self) -> u32 {
        self.0.id()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

pub struct Redis {
    pub port: u16,
    arguments: Vec<String>,
    process: Option<Running>,
}

impl Redis {
    pub async fn start() -> Self {
        let port = free_port();
        let arguments = vec!["--port".to_owned(), port.to_string()];
        Self::with(port, arguments).await
    }

    pub async fn with(port: u16, arguments: Vec<String>) -> Self {
        let mut redis = Self {
            port,
            arguments,
            process: None,
        };
        redis.resume().await;
        redis
    }

    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// Nothing is kept.
    pub fn kill(&mut self) {
        self.process = None;
    }

    pub async fn resume(&mut self) {
        let mut command = Command::new(program("REDIS_SERVER"));
        command
            .args(["--bind", "127.0.0.1", "--save", "", "--loglevel", "warning"])
            .args(&self.arguments);
        self.process = Some(Running::start(&mut command));
        until_listening(self.port).await;
    }
}

/// envoyproxy/ratelimit.
pub struct Reference {
    process: Running,
    pub grpc: u16,
    pub prometheus: u16,
    folder: tempfile::TempDir,
}

impl Reference {
    /// With the files of a folder.
    pub async fn start(limits: &Path, redis: &Redis, settings: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let config = folder.path().join("limits/config");
        fs::create_dir_all(&config).unwrap();
        for entry in fs::read_dir(limits).unwrap() {
            let entry = entry.unwrap();
            fs::copy(entry.path(), config.join(entry.file_name())).unwrap();
        }
        let [grpc, http, debug, prometheus] = std::array::from_fn(|_| free_port());
        let mut command = Command::new(program("RATELIMIT"));
        command
            .env_clear()
            .env("USE_STATSD", "false")
            .env("LOG_LEVEL", "error")
            .env("REDIS_SOCKET_TYPE", "tcp")
            .env("REDIS_URL", format!("127.0.0.1:{}", redis.port))
            .env("RUNTIME_ROOT", folder.path())
            .env("RUNTIME_SUBDIRECTORY", "limits")
            .env("RUNTIME_WATCH_ROOT", "false")
            .env("PROMETHEUS_ADDR", format!("127.0.0.1:{prometheus}"))
            .envs(settings.iter().copied());
        for (host, port, number) in [
            ("HOST", "PORT", http),
            ("GRPC_HOST", "GRPC_PORT", grpc),
            ("DEBUG_HOST", "DEBUG_PORT", debug),
        ] {
            command.env(host, "127.0.0.1").env(port, number.to_string());
        }
        let process = Running::start(command.stderr(Stdio::null()));
        until_listening(grpc).await;
        Self {
            process,
            grpc,
            prometheus,
            folder,
        }
    }

    pub fn id(&self) -> u32 {
        self.process.id()
    }
}

/// This service.
pub struct Service {
    pub grpc: SocketAddr,
    pub http: SocketAddr,
    end: Option<oneshot::Sender<()>>,
    server: JoinHandle<Result<(), nuncio_ratelimit::Error>>,
}

pub fn options(limits: &Path) -> Options {
    Options {
        limits: limits.to_owned(),
        listen: "127.0.0.1:0".parse().unwrap(),
        http: "127.0.0.1:0".parse().unwrap(),
        merge_domains: false,
        near_limit_ratio: 0.8,
        key_prefix: String::new(),
        shadow_mode: false,
        headers: None,
        redis: None,
    }
}

pub fn redis_settings(url: String) -> RedisSettings {
    RedisSettings {
        url,
        ca: None,
        expiration_jitter: 300,
        local_cache: None,
    }
}

impl Service {
    /// Does not wait until it is ready.
    pub async fn start(options: Options) -> Self {
        let server = Server::bind(options).await.unwrap();
        let (grpc, http) = (
            server.grpc_address().unwrap(),
            server.http_address().unwrap(),
        );
        let (end, ended) = oneshot::channel();
        let server = tokio::spawn(server.run(async {
            let _ = ended.await;
        }));
        Self {
            grpc,
            http,
            end: Some(end),
            server,
        }
    }

    /// With limits, and with Redis if it has one.
    pub async fn ready(options: Options) -> Self {
        let redis = options.redis.is_some();
        let service = Self::start(options).await;
        until("the service is ready", async || {
            let ready = service.get("/healthcheck").await.0 == 200;
            let connected = !redis || service.metric("ratelimit_redis_up").await == Some(1.0);
            (ready && connected).then_some(())
        })
        .await;
        service
    }

    pub async fn end(mut self) {
        self.end.take().unwrap().send(()).unwrap();
        (&mut self.server).await.unwrap().unwrap();
    }

    pub async fn get(&self, path: &str) -> (u16, String) {
        get(self.http.port(), path).await
    }

    /// Of `/metrics`, by its name with its labels.
    pub async fn metric(&self, name: &str) -> Option<f64> {
        let (_, text) = self.get("/metrics").await;
        let line = text
            .lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.map(|value| value.parse().unwrap())
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        self.server.abort();
    }
}

pub async fn get(port: u16, path: &str) -> (u16, String) {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    let request = format!("GET {path} HTTP/1.0\r\nhost: localhost\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut response = String::new();
    stream.read_to_string(&mut response).await.unwrap();
    let (head, body) = response.split_once("\r\n\r\n").unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    (status, body.to_owned())
}

pub fn client(port: u16) -> Client {
    let endpoint = Endpoint::from_shared(format!("http://127.0.0.1:{port}")).unwrap();
    RateLimitServiceClient::new(endpoint.connect_lazy())
}

pub fn descriptor(entries: &[(&str, &str)]) -> RateLimitDescriptor {
    let entries = entries.iter().map(|(key, value)| Entry {
        key: (*key).to_owned(),
        value: (*value).to_owned(),
    });
    RateLimitDescriptor {
        entries: entries.collect(),
        ..RateLimitDescriptor::default()
    }
}

pub fn request(domain: &str, descriptors: Vec<RateLimitDescriptor>) -> RateLimitRequest {
    RateLimitRequest {
        domain: domain.to_owned(),
        descriptors,
        hits_addend: 0,
    }
}

pub async fn ask(
    client: &mut Client,
    request: &RateLimitRequest,
) -> Result<RateLimitResponse, tonic::Status> {
    let response = client.should_rate_limit(request.clone()).await?;
    Ok(response.into_inner())
}
