//! A small upstream that says what it was asked, and clients to ask with.
//!
//! It answers every request with JSON: which upstream it is, and the method, path, headers and body
//! that reached it, so that a person or a test sees what a gateway did. One port takes HTTP/1.1 and
//! HTTP/2 (with prior knowledge, or by ALPN), WebSocket on any path (every message comes back) and
//! gRPC on any path (the message comes back; below `/Stream` three times; `grpc.health.v1` says
//! SERVING of the whole and of the service with the upstream's name, and knows no other). It is an
//! authorization service for Envoy, too: over HTTP because every answer is one, over gRPC by
//! `envoy.service.auth.v3`, where 200 allows.
//!
//! A request can ask for more, by header or by query parameter of the same name:
//!
//! | name | what it does |
//! | --- | --- |
//! | `x-echo-status` | answers with this status; of a list `503,503,200` each once, counted by `x-echo-key` |
//! | `x-echo-delay` | answers after so many milliseconds; of a list each once too |
//! | `x-echo-header` | adds `name=value` to the response |
//! | `x-echo-size` | answers with so many bytes instead |
//! | `x-echo-grpc-status` | ends gRPC with this status |
//! | `x-echo-at` | only the upstream with this name does what is asked |

mod authorize;
pub mod certs;
pub mod client;
mod port;
mod respond;
mod seen;
mod server;
mod tls;

pub use port::free_port;
pub use seen::Seen;
pub use server::{Echo, Running};
