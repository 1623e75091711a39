//! Where resources come from: a folder of manifests, or a cluster.
//!
//! ```text
//!  files ──▶ folder ──▶ manifest ──┬▶ ChangeSet ──▶ store
//!    │         ▲                   │
//!    └─ watch ─┘    API server ──▶ cluster
//!
//!  locate: object + field ──▶ file:line:column, for messages
//! ```
//!
//! [`manifest`] and [`locate`] are pure. [`folder`] reads the files and remembers what it read, so
//! that a file that breaks, or a folder that goes away, leaves its last good objects in effect.
//! [`watch`] runs it whenever something changed. [`cluster`] follows the objects of an API server.
//! [`consul`] asks Consul where the services are that resources name. [`kept`] is what a start falls back
//! to at which something cannot be read.

pub mod cluster;
pub mod consul;
mod contents;
pub mod folder;
pub mod kept;
pub mod locate;
pub mod manifest;
pub mod watch;

pub use cluster::Cluster;
pub use consul::Consul;
pub use contents::Contents;
pub use folder::Folder;
pub use kept::Content;
pub use locate::{Position, positions};
pub use watch::Watcher;

use nuncio_api::{ObjectKey, RawObject};
use nuncio_model::{Entry, Unread};

/// What changed since the last one, to be taken up as a whole.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ChangeSet {
    /// New objects and new contents of known ones, in the order of their sources.
    pub upserted: Vec<RawObject>,
    /// Objects that no source has any more.
    pub deleted: Vec<ObjectKey>,
    /// Every problem that stands now: replaces those of earlier change sets.
    pub problems: Vec<Entry>,
    /// Where objects may be that must not go unseen and of which nothing was ever read: replaces
    /// those of earlier change sets.
    pub unread: Vec<Unread>,
}
