//! Files that resources name: certificates, pages for errors.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::sync::Arc;

/// The most that is read of such a file.
const MAX_BYTES: u64 = 16 * 1024 * 1024;

pub(crate) fn read_file(path: &str) -> Result<String, String> {
    let metadata = fs::metadata(path).map_err(|error| error.to_string())?;
    if !metadata.is_file() {
        return Err("it is not a file".to_owned());
    }
    if metadata.len() > MAX_BYTES {
        return Err(format!("it has more than {MAX_BYTES} bytes"));
    }
    fs::read_to_string(path).map_err(|error| error.to_string())
}

/// What the files looked like when they were read. They may lie anywhere, on file systems that
/// report no changes and behind links that are swapped, so they are looked at instead of watched.
#[derive(Debug, Default)]
pub(crate) struct NamedFiles {
    read: RefCell<Looks>,
    last: Looks,
}

type Looks = BTreeMap<Arc<str>, Option<Fingerprint>>;

#[derive(Debug, PartialEq, Eq)]
struct Fingerprint {
    inode: (u64, u64),
    size: u64,
    modified: (i64, i64),
}

impl NamedFiles {
    pub(crate) fn read(&self, path: &str) -> Result<String, String> {
        // Before the content: what is written meanwhile is then another look.
        let look = fingerprint(path);
        self.read.borrow_mut().insert(path.into(), look);
        read_file(path)
    }

    /// Forgets the files that nothing names any more.
    pub(crate) fn keep(&mut self, named: &BTreeSet<Arc<str>>) {
        self.read.get_mut().retain(|path, _| named.contains(path));
    }

    /// Whether they are others now, and stay so: between a certificate and its key somebody may be
    /// writing.
    pub(crate) fn have_changed(&mut self) -> bool {
        let read = self.read.get_mut();
        let now = look(read.keys());
        let settled = now == self.last;
        self.last = now;
        settled && self.last != *read
    }
}

fn look<'a>(paths: impl IntoIterator<Item = &'a Arc<str>>) -> Looks {
    paths
        .into_iter()
        .map(|path| (Arc::clone(path), fingerprint(path)))
        .collect()
}

fn fingerprint(path: &str) -> Option<Fingerprint> {
    let metadata = fs::metadata(path).ok()?;
    Some(Fingerprint {
        inode: (metadata.dev(), metadata.ino()),
        size: metadata.size(),
        modified: (metadata.mtime(), metadata.mtime_nsec()),
    })
}
