//! Envoy's API: generated messages that encode to the same bytes everywhere, and their JSON.
//!
//! The modules follow the packages of the definitions: `envoy.config.route.v3.Route` is
//! [`envoy::config::route::v3::Route`]. Maps are sorted and `bytes` are shared
//! ([`bytes::Bytes`]), [`google::protobuf::Any`]'s value included.

pub mod json;
pub mod resource;

#[allow(
    clippy::all,
    clippy::pedantic,
    dead_code,
    missing_docs,
    rustdoc::all,
    unreachable_pub,
    rust_2018_idioms
)]
mod generated {
    include!(concat!(env!("OUT_DIR"), "/api.rs"));
}

pub use generated::{envoy, google, xds};

use google::protobuf::Any;

/// Packs a message as Envoy's `typed_config` fields and discovery responses carry it.
pub fn pack<M: prost::Message + prost::Name>(message: &M) -> Any {
    Any {
        type_url: M::type_url(),
        value: message.encode_to_vec().into(),
    }
}
