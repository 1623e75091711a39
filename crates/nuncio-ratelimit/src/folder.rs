//! Reads the files of limits, and again whenever something there changed.
//!
//! The kernel's events only say when to look; what changed is what was read. Where there are no
//! events, as on some network file systems, looking from time to time finds it.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use notify::event::{AccessKind, AccessMode};
use notify::{Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher};
use tokio::sync::mpsc;
use tokio::time::timeout;

use crate::files::Texts;

/// A burst of events ends when nothing happened for so long: files may still be being written.
const QUIET: Duration = Duration::from_millis(100);

/// A burst that does not end is cut after so many events.
const LONGEST_BURST: usize = 100;

/// How often to look without an event.
const LOOK: Duration = Duration::from_secs(5);

/// A folder with files of limits, or one file.
#[derive(Debug)]
pub(crate) struct Folder {
    path: PathBuf,
    events: mpsc::Receiver<()>,
    /// Ends with this.
    _watcher: Option<RecommendedWatcher>,
}

impl Folder {
    pub(crate) fn new(path: PathBuf) -> Self {
        // One that is not taken up yet says it all.
        let (sender, events) = mpsc::channel(1);
        let watched = notify::recommended_watcher(move |event| {
            if may_change(&event) {
                let _ = sender.try_send(());
            }
        });
        let watched = watched.and_then(|mut watcher| {
            // Of a file its folder: editors put another one in its place.
            let folder = match fs::metadata(&path) {
                Ok(metadata) if metadata.is_file() => path.parent().unwrap_or(&path),
                _ => &path,
            };
            let folder = match folder.as_os_str().is_empty() {
                true => Path::new("."),
                false => folder,
            };
            watcher.watch(folder, RecursiveMode::NonRecursive)?;
            Ok(watcher)
        });
        let watcher = watched
            .inspect_err(|error| {
                let every = LOOK.as_secs();
                tracing::warn!(%error, "the limits are not watched, but looked at every {every} s");
            })
            .ok();
        Self {
            path,
            events,
            _watcher: watcher,
        }
    }

    /// What is there.
    pub(crate) fn read(&self) -> io::Result<Texts> {
        if fs::metadata(&self.path)?.is_file() {
            return Ok(BTreeMap::from([read(&self.path)]));
        }
        let mut texts = Texts::new();
        for entry in fs::read_dir(&self.path)? {
            let path = entry?.path();
            if is_limits(&path) && fs::metadata(&path).is_ok_and(|metadata| metadata.is_file()) {
                texts.extend([read(&path)]);
            }
        }
        Ok(texts)
    }

    /// Waits until something may have changed.
    pub(crate) async fn changed(&mut self) {
        // Without a watcher its sender is gone, and this ends at once.
        if let Ok(None) = timeout(LOOK, self.events.recv()).await {
            tokio::time::sleep(LOOK).await;
        }
        for _ in 0..LONGEST_BURST {
            if !matches!(timeout(QUIET, self.events.recv()).await, Ok(Some(()))) {
                return;
            }
        }
    }
}

/// To read is an event too.
fn may_change(event: &notify::Result<Event>) -> bool {
    let kind = event.as_ref().map(|event| event.kind);
    let written = EventKind::Access(AccessKind::Close(AccessMode::Write));
    kind.map_or(true, |kind| !kind.is_access() || kind == written)
}

/// Hidden files are not: a ConfigMap's files are links to those in a hidden folder.
fn is_limits(path: &Path) -> bool {
    let hidden = path
        .file_name()
        .is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
    let extension = path.extension().and_then(|extension| extension.to_str());
    !hidden && matches!(extension, Some("yaml" | "yml"))
}

fn read(path: &Path) -> (String, Result<String, String>) {
    let text = fs::read_to_string(path).map_err(|error| error.to_string());
    (path.display().to_string(), text)
}
