//! The folder that holds what one nuncio needs to find its Envoy again.

use std::ffi::OsStr;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Seek, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};
use xxhash_rust::xxh3::xxh3_128;

/// Longest path of a Unix socket: `sun_path` without its closing NUL.
const MAX_SOCKET_PATH: usize = 107;

/// What Envoy names its hot restart sockets after; it appends up to `_udp_parent_4294967295`.
const HOT_RESTART: &str = "hr";
const HOT_RESTART_LONGEST: &str = "hr_udp_parent_4294967295";

const XDS_SOCKET: &str = "xds.sock";
const ADMIN_SOCKET: &str = "admin.sock";

/// Why a state folder cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StateDirError {
    #[error(
        "cannot create the state folder {}: {source}; give one that can be written with --state-dir",
        path.display()
    )]
    Create { path: PathBuf, source: io::Error },
    #[error(
        "cannot write to the state folder {}: {source}; give another with --state-dir",
        path.display()
    )]
    Write { path: PathBuf, source: io::Error },
    #[error(
        "the state folder {} is in use by another nuncio{}; stop that one, or give another folder \
         with --state-dir",
        path.display(),
        pid.map(|pid| format!(" (pid {pid})")).unwrap_or_default()
    )]
    InUse { path: PathBuf, pid: Option<u32> },
    #[error(
        "the folder for sockets {} exists and is not this user's alone (owner {owner}, mode \
         {mode:o}): remove it, or give a shorter --state-dir, so that none is needed",
        path.display()
    )]
    NotOurs {
        path: PathBuf,
        owner: u32,
        mode: u32,
    },
    #[error(
        "no folder is short enough for sockets, not even {}: give a shorter --state-dir or TMPDIR",
        path.display()
    )]
    TooLong { path: PathBuf },
}

/// An open state folder. While it exists, no other nuncio can open the same one.
#[derive(Debug)]
pub struct StateDir {
    path: PathBuf,
    /// Where sockets are: the folder itself, or a short one when its path is too long.
    sockets: PathBuf,
    /// Holds the lock; Envoy does not inherit it (`O_CLOEXEC`).
    _lock: File,
}

impl StateDir {
    /// Creates the folder, for this user alone, if there is none, and locks it.
    pub fn open(path: &Path) -> Result<Self, StateDirError> {
        let create = |source| StateDirError::Create {
            path: path.to_owned(),
            source,
        };
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(path)
            .map_err(create)?;
        let path = path.canonicalize().map_err(create)?;
        let lock = lock(&path)?;
        let sockets = socket_folder(&path)?;
        Ok(Self {
            path,
            sockets,
            _lock: lock,
        })
    }

    /// The folder, as an absolute path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The socket of nuncio's ADS server.
    pub fn xds_socket(&self) -> PathBuf {
        self.sockets.join(XDS_SOCKET)
    }

    /// The socket of Envoy's admin interface.
    pub fn admin_socket(&self) -> PathBuf {
        self.sockets.join(ADMIN_SOCKET)
    }

    pub(super) fn hot_restart_socket(&self) -> PathBuf {
        self.sockets.join(HOT_RESTART)
    }

    pub(super) fn bootstrap(&self) -> PathBuf {
        self.path.join("bootstrap.json")
    }

    /// What Envoy is asked about without being given it.
    pub fn inquiry(&self) -> PathBuf {
        self.path.join("inquiry.json")
    }

    pub(super) fn record(&self) -> PathBuf {
        self.path.join("envoy.json")
    }

    /// What was read, for a start at which it cannot be read. It outlives an orderly end.
    pub(crate) fn kept(&self) -> PathBuf {
        self.path.join("kept")
    }

    /// What Consul said last.
    pub(crate) fn kept_consul(&self) -> PathBuf {
        self.path.join("kept-consul")
    }

    pub(super) fn base_id(&self) -> PathBuf {
        self.path.join("base-id")
    }

    /// Writes a file whole or not at all, also when the machine stops midway.
    pub(super) fn write(&self, path: &Path, content: &[u8]) -> Result<(), StateDirError> {
        write_whole(path, |file| file.write_all(content)).map_err(|source| StateDirError::Write {
            path: self.path.clone(),
            source,
        })
    }

    /// The same, unless the file is as it is to be: then it takes no room on the disk.
    pub(super) fn write_if_other(&self, path: &Path, content: &[u8]) -> Result<(), StateDirError> {
        match fs::read(path) {
            Ok(there) if there == content => Ok(()),
            _ => self.write(path, content),
        }
    }

    /// Removes what an Envoy that is no more left behind: its sockets, the record of it, and its
    /// shared memory, of which Envoy removes nothing itself.
    pub(super) fn remove_leftovers(&self) {
        self.remove_leftovers_but_base_id();
        remove(&self.base_id());
    }

    pub(super) fn remove_leftovers_but_base_id(&self) {
        if let Ok(base_id) = fs::read_to_string(self.base_id())
            && let Ok(base_id) = base_id.trim().parse::<u32>()
        {
            remove(&shared_memory(base_id));
        }
        for path in [self.record(), self.admin_socket()] {
            remove(&path);
        }
        for entry in fs::read_dir(&self.sockets).into_iter().flatten().flatten() {
            let name = entry.file_name();
            if name.as_bytes().starts_with(b"hr_") {
                remove(&entry.path());
            }
        }
    }

    /// Removes everything that belongs to Envoy; the lock goes when this is dropped.
    pub(super) fn remove_all(&self) {
        self.remove_leftovers();
        remove(&self.bootstrap());
        remove(&self.inquiry());
        remove(&self.xds_socket());
    }
}

impl Drop for StateDir {
    fn drop(&mut self) {
        if self.sockets != self.path {
            // Goes only when it is empty: sockets of an Envoy that lives on stay.
            let _ = fs::remove_dir(&self.sockets);
        }
        // Removed while still locked: whoever waits for it sees that it is gone and makes another.
        remove(&self.path.join("lock"));
    }
}

/// Writes a file for this user alone, whole or not at all, also when the machine stops midway.
pub(crate) fn write_whole(
    path: &Path,
    content: impl FnOnce(&mut File) -> io::Result<()>,
) -> io::Result<()> {
    let new = path.with_extension("new");
    let write = || -> io::Result<()> {
        let mut file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&new)?;
        content(&mut file)?;
        file.sync_all()?;
        fs::rename(&new, path)
    };
    if let Err(error) = write() {
        // A part of it would take what room there is.
        let _ = fs::remove_file(&new);
        return Err(error);
    }
    File::open(path.parent().unwrap_or(path))?.sync_all()
}

fn remove(path: &Path) {
    if let Err(error) = fs::remove_file(path)
        && error.kind() != io::ErrorKind::NotFound
    {
        tracing::warn!("cannot remove {}: {error}", path.display());
    }
}

/// Envoy scales its base id by ten, to have room for the epochs of hot restarts.
fn shared_memory(base_id: u32) -> PathBuf {
    PathBuf::from(format!(
        "/dev/shm/envoy_shared_memory_{}",
        u64::from(base_id) * 10
    ))
}

fn lock(folder: &Path) -> Result<File, StateDirError> {
    let path = folder.join("lock");
    let write = |source| StateDirError::Write {
        path: folder.to_owned(),
        source,
    };
    loop {
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&path)
            .map_err(write)?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(rustix::io::Errno::WOULDBLOCK) => {
                let mut pid = String::new();
                let _ = file.read_to_string(&mut pid);
                return Err(StateDirError::InUse {
                    path: folder.to_owned(),
                    pid: pid.trim().parse().ok(),
                });
            }
            Err(error) => return Err(write(error.into())),
        }
        // The one who held it may have removed the file between our opening and our locking.
        let ours = file.metadata().map_err(write)?;
        match fs::metadata(&path) {
            Ok(there) if (there.dev(), there.ino()) == (ours.dev(), ours.ino()) => {}
            _ => continue,
        }
        file.set_len(0).map_err(write)?;
        file.rewind().map_err(write)?;
        writeln!(file, "{}", std::process::id()).map_err(write)?;
        return Ok(file);
    }
}

/// The state folder itself where its sockets fit, else a folder under the temporary one whose name
/// is always the same for the same state folder, so that the next nuncio finds it.
fn socket_folder(state: &Path) -> Result<PathBuf, StateDirError> {
    if fits(state) {
        return Ok(state.to_owned());
    }
    let user = rustix::process::geteuid().as_raw();
    let hash = format!("{:032x}", xxh3_128(state.as_os_str().as_bytes()));
    let name = format!("nuncio-{user}-{}", &hash[..16]);
    let candidates = [std::env::temp_dir(), PathBuf::from("/tmp")];
    let folder = candidates
        .iter()
        .map(|temp| temp.join(&name))
        .find(|folder| fits(folder))
        .ok_or_else(|| StateDirError::TooLong {
            path: candidates[0].join(&name),
        })?;
    match DirBuilder::new().mode(0o700).create(&folder) {
        Ok(()) => return Ok(folder),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        Err(source) => {
            return Err(StateDirError::Create {
                path: folder,
                source,
            });
        }
    }
    // Anyone may create names in a shared temporary folder, symbolic links among them.
    let metadata = fs::symlink_metadata(&folder).map_err(|source| StateDirError::Create {
        path: folder.clone(),
        source,
    })?;
    let mode = metadata.mode() & 0o7777;
    if metadata.is_dir() && metadata.uid() == user && mode & 0o077 == 0 {
        Ok(folder)
    } else {
        Err(StateDirError::NotOurs {
            path: folder,
            owner: metadata.uid(),
            mode,
        })
    }
}

/// Whether every socket in the folder has a path that the kernel takes, and that JSON can hold.
fn fits(folder: &Path) -> bool {
    let longest = [XDS_SOCKET, ADMIN_SOCKET, HOT_RESTART_LONGEST]
        .iter()
        .map(|name| OsStr::new(name).len())
        .max()
        .expect("invariant: there are sockets");
    folder.to_str().is_some() && folder.is_absolute() && {
        folder.as_os_str().len() + 1 + longest <= MAX_SOCKET_PATH
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_second_one_is_told_who_has_the_folder() {
        let temp = tempfile::tempdir().unwrap();
        let first = StateDir::open(&temp.path().join("state")).unwrap();
        let second = StateDir::open(first.path()).unwrap_err().to_string();
        assert!(
            second.contains(&format!("(pid {})", std::process::id())),
            "{second}"
        );
        let path = first.path().to_owned();
        drop(first);
        assert!(!path.join("lock").exists());
        StateDir::open(&path).unwrap();
    }

    #[test]
    fn sockets_of_a_long_folder_are_in_a_short_one() {
        let temp = tempfile::tempdir().unwrap();
        let state = StateDir::open(&temp.path().join("x".repeat(150))).unwrap();
        assert!(state.path().as_os_str().len() > 150);
        let socket = state.xds_socket();
        assert!(socket.as_os_str().len() <= MAX_SOCKET_PATH);
        let folder = socket.parent().unwrap().to_owned();
        assert_eq!(fs::metadata(&folder).unwrap().mode() & 0o777, 0o700);
        drop(state);
        assert!(!folder.exists());
    }

    #[test]
    fn a_folder_for_sockets_that_others_can_open_is_refused() {
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join("y".repeat(150));
        let state = StateDir::open(&path).unwrap();
        let folder = state.xds_socket().parent().unwrap().to_owned();
        drop(state);
        fs::create_dir(&folder).unwrap();
        fs::set_permissions(&folder, fs::Permissions::from_mode(0o755)).unwrap();
        let refused = StateDir::open(&path);
        fs::remove_dir(&folder).unwrap();
        assert!(matches!(refused, Err(StateDirError::NotOurs { .. })));
    }

    #[test]
    fn a_folder_that_cannot_be_is_an_error_that_says_what_to_do() {
        let error = StateDir::open(Path::new("/proc/nuncio")).unwrap_err();
        assert!(error.to_string().contains("--state-dir"), "{error}");
    }
}
