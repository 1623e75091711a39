//! The rate limit service that comes with nuncio: Envoy asks it whether a request is over a limit.
//!
//! ```text
//!  folder ──▶ files ──▶ rules ──┐
//!  (watch)   (file,             ▼
//!             last good)     limiter ◀──▶ counters (memory, Redis)
//!                               ▲
//!  Envoy ──▶ service ───────────┴──▶ metrics ──▶ /metrics
//! ```
//!
//! Files, answers, keys in Redis and names of metrics are those of envoyproxy/ratelimit;
//! `tests/same.rs` holds the answers to those of the real one. [`file`], [`files`] and [`rules`] are
//! pure.

mod counters;
mod file;
mod files;
mod folder;
mod limiter;
mod metrics;
mod rules;
mod server;
mod service;
mod unit;

pub use counters::RedisSetupError;
pub use limiter::Headers;
pub use server::{Error, Options, RedisSettings, Server};
