//! The delta ADS server: gives each Envoy what differs from what it has.
//!
//! [`session`] is the state machine of one stream, pure: requests, snapshots and the time go in,
//! responses come out. [`server`] puts sessions on a Unix socket, and on
//! a port with mutual TLS for Envoys elsewhere; [`status`] says how far they are.

mod memory;
pub mod server;
pub mod session;
pub mod status;
mod tls;

pub use server::{AdsServer, BoundServer, Counters};
pub use session::Options;
pub use status::{Others, Refusal, Status, TypeCounts};
pub use tls::{TlsError, TlsFiles};
