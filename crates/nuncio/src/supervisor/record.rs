//! What is written down about the running Envoy, for the next nuncio to take it over.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::process::Process;
use super::state_dir::{StateDir, StateDirError};

/// The running Envoy, as `envoy.json` in the state folder has it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Record {
    pub(super) pid: u32,
    pub(super) start_time: u64,
    pub(super) restart_epoch: u32,
    pub(super) base_id: u32,
    /// Hash of what it was started with: the bootstrap and its arguments.
    pub(super) config: String,
    pub(super) binary: Binary,
}

/// Tells one Envoy binary from another. Its bytes are not hashed: that reads 100 MB before anything
/// can start. A copy of the same bytes counts as another, and costs a hot restart.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Binary {
    device: u64,
    inode: u64,
    size: u64,
    modified: i64,
    modified_nanos: i64,
}

impl Binary {
    pub(super) fn of(path: &Path) -> io::Result<Self> {
        let metadata = fs::metadata(path)?;
        Ok(Self {
            device: metadata.dev(),
            inode: metadata.ino(),
            size: metadata.size(),
            modified: metadata.mtime(),
            modified_nanos: metadata.mtime_nsec(),
        })
    }
}

impl Record {
    /// The record in the state folder. One that cannot be read is like none: Envoy is found by its
    /// command line too.
    pub(super) fn read(state: &StateDir) -> Option<Self> {
        let bytes = fs::read(state.record()).ok()?;
        serde_json::from_slice(&bytes).ok()
    }

    pub(super) fn write(&self, state: &StateDir) -> Result<(), StateDirError> {
        let json = serde_json::to_vec_pretty(self).expect("invariant: a record has plain fields");
        state.write(&state.record(), &json)
    }

    pub(super) fn describes(&self, process: &Process) -> bool {
        (self.pid, self.start_time) == (process.pid(), process.start_time())
    }
}
