//! Which files there are, and what must be watched to learn of others.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::ffi::{OsStr, OsString};
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// How long after a change a file system may give a second change the same time.
const CLOCK_TICK: Duration = Duration::from_millis(50);

/// Which file it is, whatever its name: a device and an inode.
pub(crate) type Inode = (u64, u64);

pub(crate) fn inode(metadata: &fs::Metadata) -> Inode {
    (metadata.dev(), metadata.ino())
}

/// Differs when a file's content does, as far as a stat can tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Fingerprint {
    pub(crate) inode: Inode,
    pub(crate) size: u64,
    modified: (i64, i64),
    /// Catches what sets the modification time back.
    changed: (i64, i64),
}

impl Fingerprint {
    /// Of a file that was not looked at yet.
    pub(super) const NONE: Self = Self {
        inode: (0, 0),
        size: 0,
        modified: (0, 0),
        changed: (0, 0),
    };

    pub(crate) fn of(metadata: &fs::Metadata) -> Self {
        Self {
            inode: inode(metadata),
            size: metadata.size(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        }
    }

    /// Whether the file changed less than this long ago, or is said to change in the future.
    pub(crate) fn is_younger_than(&self, age: Duration) -> bool {
        let (seconds, nanoseconds) = self.changed;
        let (Ok(seconds), Ok(nanoseconds)) = (u64::try_from(seconds), u32::try_from(nanoseconds))
        else {
            return false;
        };
        SystemTime::now()
            .duration_since(UNIX_EPOCH + Duration::new(seconds, nanoseconds))
            .map_or(!age.is_zero(), |passed| passed < age)
    }

    /// Whether a fingerprint taken now may miss a change that follows at once.
    pub(super) fn is_unsettled(&self) -> bool {
        // File systems without fractions of a second.
        let coarse = self.changed.1 == 0;
        self.is_younger_than(if coarse {
            Duration::from_secs(2)
        } else {
            CLOCK_TICK
        })
    }
}

/// A manifest that exists.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) path: PathBuf,
    /// The path as messages show it.
    pub(super) name: Arc<str>,
    pub(super) fingerprint: Fingerprint,
}

/// A part of a root that cannot be looked into: what was read from it before stays.
#[derive(Debug)]
pub(super) struct Fault {
    pub(super) name: Arc<str>,
    pub(super) error: io::Error,
}

/// What a root holds now.
#[derive(Debug, Default)]
pub(super) struct Walk {
    pub(super) files: Vec<Found>,
    /// Files and folders below the root.
    pub(super) faults: Vec<Fault>,
    /// Symbolic links that are replaced to exchange several files at once, with their targets.
    swaps: Vec<(PathBuf, PathBuf)>,
    root: Option<(PathBuf, Inode)>,
}

impl Walk {
    /// Whether nothing was exchanged under the walk: what it found belongs together.
    pub(super) fn still_stands(&self) -> bool {
        self.swaps
            .iter()
            .all(|(link, target)| fs::read_link(link).is_ok_and(|now| now == *target))
            && self.root.as_ref().is_none_or(|(path, before)| {
                fs::metadata(path).is_ok_and(|metadata| inode(&metadata) == *before)
            })
    }
}

/// The folders whose events matter, by their canonical paths.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Surroundings {
    /// Folders of manifests.
    pub(crate) folders: BTreeSet<PathBuf>,
    /// Folders of which only some entries matter: those that lead to a root or to the target of
    /// a symbolic link.
    pub(crate) entries: BTreeMap<PathBuf, BTreeSet<OsString>>,
}

impl Surroundings {
    /// Notes everything that leads to a root, whether it exists or not.
    pub(super) fn lead_to(&mut self, root: &Path) {
        let Ok(root) = std::path::absolute(root) else {
            return;
        };
        for step in root.ancestors() {
            self.follow(step);
        }
    }

    /// Notes the entry and, if it is a symbolic link, the entries it leads to.
    fn follow(&mut self, path: &Path) {
        // As many links as the kernel follows.
        let mut path = path.to_owned();
        for _ in 0..40 {
            let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
                return;
            };
            let Ok(folder) = parent.canonicalize() else {
                return;
            };
            let target = fs::read_link(&path).map(|target| folder.join(target));
            self.entries
                .entry(folder)
                .or_default()
                .insert(name.to_owned());
            match target {
                Ok(target) => path = target,
                Err(_) => return,
            }
        }
    }
}

/// Finds the manifests below a root, in path order.
///
/// # Errors
///
/// The root itself cannot be read.
pub(super) fn walk(root: &Path, surroundings: &mut Surroundings) -> io::Result<Walk> {
    surroundings.lead_to(root);
    let metadata = fs::metadata(root)?;
    let mut walk = Walk {
        root: Some((root.to_owned(), inode(&metadata))),
        ..Walk::default()
    };
    if metadata.is_file() {
        walk.files.push(Found {
            path: root.to_owned(),
            name: name(root),
            fingerprint: Fingerprint::of(&metadata),
        });
        return Ok(walk);
    }
    if !metadata.is_dir() {
        return Err(io::Error::other("neither a folder nor a file"));
    }
    let mut seen = HashSet::from([inode(&metadata)]);
    folder(root, &mut walk, &mut seen, surroundings)?;
    Ok(walk)
}

/// A folder is walked once, by the first of its paths, which also ends loops of links.
fn folder(
    path: &Path,
    walk: &mut Walk,
    seen: &mut HashSet<Inode>,
    surroundings: &mut Surroundings,
) -> io::Result<()> {
    let mut entries: Vec<_> = fs::read_dir(path)?.collect::<Result<_, _>>()?;
    entries.sort_by_key(fs::DirEntry::file_name);
    surroundings.folders.insert(path.canonicalize()?);
    for entry in entries {
        let path = entry.path();
        let link = entry.file_type().is_ok_and(|kind| kind.is_symlink());
        if hidden(&entry.file_name()) {
            if link && let Ok(target) = fs::read_link(&path) {
                walk.swaps.push((path, target));
            }
            continue;
        }
        let metadata = if link {
            surroundings.follow(&path);
            fs::metadata(&path)
        } else {
            entry.metadata()
        };
        let metadata = match metadata {
            Ok(metadata) => metadata,
            // Deleted under the walk.
            Err(error) if error.kind() == io::ErrorKind::NotFound && !link => continue,
            Err(error) => {
                if is_manifest(&path) {
                    walk.fault(&path, error);
                }
                continue;
            }
        };
        if metadata.is_dir() {
            if seen.insert(inode(&metadata))
                && let Err(error) = folder(&path, walk, seen, surroundings)
                && error.kind() != io::ErrorKind::NotFound
            {
                walk.fault(&path, error);
            }
        } else if metadata.is_file() && is_manifest(&path) {
            walk.files.push(Found {
                name: name(&path),
                fingerprint: Fingerprint::of(&metadata),
                path,
            });
        }
    }
    Ok(())
}

impl Walk {
    fn fault(&mut self, path: &Path, error: io::Error) {
        let name = name(path);
        self.faults.push(Fault { name, error });
    }
}

/// How messages show a path.
pub(super) fn name(path: &Path) -> Arc<str> {
    Arc::from(path.to_string_lossy())
}

pub(crate) fn hidden(name: &OsStr) -> bool {
    name.as_encoded_bytes().starts_with(b".")
}

pub(crate) fn is_manifest(path: &Path) -> bool {
    path.extension().is_some_and(|extension| {
        ["yaml", "yml", "json"]
            .iter()
            .any(|known| extension == *known)
    })
}
