//! Files that someone may still be writing.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::folder::{Fingerprint, Inode};

/// A writer that neither writes nor closes for so long is taken to be done.
pub(super) const PATIENCE: Duration = Duration::from_secs(1);

/// Files opened for writing and not yet closed, going by events.
///
/// Kept by inode: the same file may be read by another path than the one the event names.
#[derive(Default)]
pub(super) struct Held {
    paths: HashMap<PathBuf, Inode>,
    files: HashMap<Inode, Instant>,
    /// No file expires before.
    earliest: Option<Instant>,
}

impl Held {
    pub(super) fn hold(&mut self, path: &Path, file: Inode, now: Instant) {
        if self.paths.get(path) != Some(&file) {
            self.release(path);
            self.paths.insert(path.to_owned(), file);
        }
        let until = now + PATIENCE;
        self.files.insert(file, until);
        self.earliest = Some(self.earliest.map_or(until, |earliest| earliest.min(until)));
    }

    pub(super) fn release(&mut self, path: &Path) {
        if let Some(file) = self.paths.remove(path) {
            self.files.remove(&file);
        }
    }

    pub(super) fn contains(&self, file: Inode) -> bool {
        self.files.contains_key(&file)
    }

    /// When to call [`Held::expire`] at the latest.
    pub(super) fn next_expiry(&self) -> Option<Instant> {
        self.earliest
    }

    /// Lets go of files without a sign of their writers; `true` if there are such.
    pub(super) fn expire(&mut self, now: Instant) -> bool {
        if self.earliest.is_none_or(|earliest| now < earliest) {
            return false;
        }
        let before = self.files.len();
        self.files.retain(|_, until| now < *until);
        self.paths.retain(|_, file| self.files.contains_key(file));
        self.earliest = self.files.values().min().copied();
        self.files.len() < before
    }
}

/// Tells complete files without events: those that two polls found the same.
#[derive(Default)]
pub(super) struct Twice {
    before: HashMap<Inode, Fingerprint>,
    now: HashMap<Inode, Fingerprint>,
}

impl Twice {
    /// Begins another poll.
    pub(super) fn begin(&mut self) {
        self.before = std::mem::take(&mut self.now);
    }

    pub(super) fn same(&mut self, file: &Fingerprint) -> bool {
        self.now.insert(file.inode, *file);
        self.before.get(&file.inode) == Some(file)
    }
}
