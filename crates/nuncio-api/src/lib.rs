//! The resources nuncio reads.
//!
//! [`object`] is a resource as its source gave it; [`getambassador`], [`gateway_api`], [`policy`], [`ingress`]
//! and [`core`] hold the typed kinds, [`status`] what is written back. Everything here is data: no resource is
//! checked beyond its types.

pub mod core;
pub mod gateway_api;
pub mod getambassador;
pub mod ingress;
pub mod object;
pub mod path;
pub mod policy;
pub mod status;
pub mod yaml;

pub use object::{Body, ObjectKey, ObjectMeta, RawObject, SourceRef, group_of};
