//! What a gateway does, in the field's own words: listeners, virtual hosts, routes, clusters,
//! endpoints, certificates; and the report that says what became of each resource.
//!
//! Nothing here knows where an object came from beyond its [`Origin`] (no resource kind has a
//! type here) nor how it is encoded (no protobuf). Values are parsed once: a [`value::PathLiteral`]
//! or a [`value::HeaderName`] exists only if it is valid, so whoever encodes the model needs no
//! error paths.

pub mod cluster;
pub mod consul;
pub mod external;
pub mod filter;
pub mod listener;
pub mod log;
pub mod report;
pub mod route;
pub mod runtime;
pub mod tls;
pub mod tracing;
pub mod value;

mod gateway;
mod unread;

pub use gateway::{Gateway, Named};
pub use report::{Entry, Origin, Reason, Report, ResourceId, Severity};
pub use unread::{Unread, guard, guards_in};
