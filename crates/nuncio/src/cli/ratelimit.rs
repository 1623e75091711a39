//! What is about counting requests.

use std::net::SocketAddr;
use std::num::NonZero;
use std::path::PathBuf;

use clap::Args;

/// Serve Envoy's rate limit protocol, in the place of envoyproxy/ratelimit.
///
/// The files of limits are those of envoyproxy/ratelimit, and are read again when they change;
/// docs/ratelimit.md says what may stand in them. Hits are counted in this process, or with --redis
/// together with other replicas. On --http are:
///   /healthcheck (200 once all limits are known), /alive, /metrics
///
/// SIGTERM and SIGINT end it when what is under way is answered.
///
/// Exit codes: 0 after an orderly end, 1 when it could not start or go on, 2 for a wrong command
/// line.
#[derive(Args, Debug, Clone)]
#[command(verbatim_doc_comment)]
pub struct RatelimitArgs {
    /// Folder with the files of limits (.yaml, .yml), or one file.
    #[arg(long, value_name = "DIR")]
    pub limits: PathBuf,

    /// Address on which Envoy asks, by gRPC.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8081")]
    pub listen: SocketAddr,

    /// Address of health and metrics.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8080")]
    pub http: SocketAddr,

    #[command(flatten)]
    pub counting: CountingArgs,

    /// How much to log: error, warn, info, debug, trace.
    #[arg(
        long,
        value_name = "LEVEL",
        default_value = "info",
        env = "AES_LOG_LEVEL"
    )]
    pub log_level: String,
}

/// How limits are counted.
#[derive(Args, Debug, Clone)]
pub struct CountingArgs {
    /// Redis, where replicas count together: redis://HOST:PORT, with TLS rediss://HOST:PORT, with a
    /// password redis://USER:PASSWORD@HOST:PORT, a socket redis+unix:///PATH. Without, this process
    /// counts for itself.
    #[arg(
        long,
        value_name = "URL",
        env = "NUNCIO_RATELIMIT_REDIS",
        hide_env_values = true
    )]
    pub redis: Option<String>,

    /// The authorities, in PEM, that vouch for a rediss://; without, the system's.
    #[arg(long, value_name = "FILE", requires = "redis")]
    pub redis_ca: Option<PathBuf>,

    /// How many counters over their limit are remembered, so that Redis is not asked about them
    /// again.
    #[arg(long, value_name = "N", requires = "redis")]
    pub local_cache: Option<NonZero<usize>>,

    /// Keys in Redis expire up to so many seconds after their window, not all at once.
    #[arg(
        long,
        value_name = "SECONDS",
        default_value_t = 300,
        env = "EXPIRATION_JITTER_MAX_SECONDS"
    )]
    pub expiration_jitter: u64,

    /// Begins every key in Redis; without, nothing does.
    #[arg(long, value_name = "TEXT", env = "CACHE_KEY_PREFIX")]
    pub key_prefix: Option<String>,

    /// From which part of a limit on hits are counted as near it.
    #[arg(
        long,
        value_name = "RATIO",
        default_value_t = 0.8,
        env = "NEAR_LIMIT_RATIO"
    )]
    pub near_limit_ratio: f32,

    /// Say in headers of every answer how much is left: RateLimit-Limit, RateLimit-Remaining,
    /// RateLimit-Reset.
    #[arg(long, env = "LIMIT_RESPONSE_HEADERS_ENABLED")]
    pub response_headers: bool,

    /// Let everything pass, and count what would not have.
    #[arg(long, env = "SHADOW_MODE")]
    pub shadow_mode: bool,

    /// Let several files have limits of one domain.
    #[arg(long, env = "MERGE_DOMAIN_CONFIG")]
    pub merge_domains: bool,
}
