//! The nuncio binary: command line, wiring, admin server, Envoy supervisor.
//!
//! A library so that its tests reach its parts.

pub mod admin;
pub mod apiext;
pub mod bootstrap;
pub mod check;
pub mod cli;
mod consul;
pub mod crds;
pub mod diff;
pub mod engine;
pub mod environment;
pub mod explain;
mod files;
pub mod gauges;
pub mod identity;
pub mod init;
mod keeper;
mod log;
mod memory;
pub mod overview;
mod pod;
pub mod quarantine;
pub mod ratelimit;
pub mod reference;
pub mod render;
mod resources;
pub mod run;
mod signals;
mod source;
pub mod status;
pub mod supervisor;
