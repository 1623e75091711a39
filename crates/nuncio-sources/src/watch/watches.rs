//! The folders that the kernel watches.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::ops::Bound;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::mpsc::Sender;

use notify::event::{AccessKind, AccessMode};
use notify::{Config, ErrorKind, EventKind, RecursiveMode};

use rustix::fs::{MemfdFlags, memfd_create};

use super::Message;
use crate::folder::{Inode, Surroundings, inode};

/// A file in memory that nobody else knows of.
#[derive(Debug)]
struct Marker {
    path: PathBuf,
    _file: OwnedFd,
}

impl Marker {
    fn new() -> Option<Self> {
        let file = memfd_create("nuncio-marker", MemfdFlags::CLOEXEC).ok()?;
        let path = PathBuf::from(format!("/proc/self/fd/{}", file.as_raw_fd()));
        Some(Self { path, _file: file })
    }
}

/// What is watched that was not before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum More {
    Nothing,
    /// Folders that lead to others.
    Entries,
    /// Folders of manifests.
    Manifests,
}

/// Each folder is watched by itself, under its canonical path: the kernel knows one watch per
/// folder, and a second path to it would take it over.
pub(super) struct Watches<W> {
    events: Sender<Message>,
    watcher: Option<W>,
    marker: Option<Marker>,
    /// With the folder that was found under the path when the watch began.
    watched: BTreeMap<PathBuf, Inode>,
}

impl<W: notify::Watcher> Watches<W> {
    pub(super) fn new(events: Sender<Message>) -> Self {
        Self {
            events,
            watcher: None,
            marker: None,
            watched: BTreeMap::new(),
        }
    }

    /// Watches exactly these, and says what of it was not watched before.
    ///
    /// # Errors
    ///
    /// A limit on watches is reached.
    pub(super) fn watch(&mut self, surroundings: &Surroundings) -> notify::Result<More> {
        let watcher = match &mut self.watcher {
            Some(watcher) => watcher,
            None => {
                self.marker = Marker::new();
                let marker = self.marker.as_ref().map(|marker| marker.path.clone());
                let events = self.events.clone();
                let handler = move |event: notify::Result<notify::Event>| {
                    // Reading the files makes events too.
                    let written = AccessKind::Close(AccessMode::Write);
                    if let Ok(event) = &event
                        && matches!(event.kind, EventKind::Access(kind) if kind != written)
                        && !event.need_rescan()
                        && !marker
                            .as_ref()
                            .is_some_and(|marker| event.paths.contains(marker))
                    {
                        return;
                    }
                    // At the end nobody listens any more.
                    let _ = events.send(Message::Event(event));
                };
                let watcher = self.watcher.insert(W::new(handler, Config::default())?);
                self.marker.take_if(|marker| {
                    let watched = watcher.watch(&marker.path, RecursiveMode::NonRecursive);
                    watched.is_err()
                });
                watcher
            }
        };
        let wanted: BTreeSet<&PathBuf> = surroundings
            .folders
            .iter()
            .chain(surroundings.entries.keys())
            .collect();
        self.watched.retain(|path, _| {
            let keep = wanted.contains(path);
            if !keep {
                // The folder may be gone, and the watch with it.
                let _ = watcher.unwatch(path);
            }
            keep
        });
        let mut more = More::Nothing;
        for path in wanted {
            let Ok(metadata) = fs::metadata(path) else {
                continue;
            };
            let now = inode(&metadata);
            match self.watched.get(path) {
                Some(before) if *before == now => continue,
                Some(_) => {
                    let _ = watcher.unwatch(path);
                    self.watched.remove(path);
                }
                None => {}
            }
            match watcher.watch(path, RecursiveMode::NonRecursive) {
                Ok(()) => {
                    self.watched.insert(path.clone(), now);
                    let manifests = surroundings.folders.contains(path);
                    more = more.max(if manifests {
                        More::Manifests
                    } else {
                        More::Entries
                    });
                }
                Err(error) if matches!(error.kind, ErrorKind::MaxFilesWatch) => return Err(error),
                // Gone since the stat, or a folder on the way that may be passed but not read.
                Err(error) => tracing::debug!(path = %path.display(), %error, "not watched"),
            }
        }
        Ok(more)
    }

    /// A file whose opening comes as an event, after every earlier event.
    pub(super) fn marker(&self) -> Option<&Path> {
        self.marker.as_ref().map(|marker| &*marker.path)
    }

    /// Drops the watches of a path and what is below: it may be another folder by now.
    pub(super) fn forget(&mut self, path: &Path) {
        let below: Vec<_> = self
            .watched
            .range::<Path, _>((Bound::Included(path), Bound::Unbounded))
            .take_while(|(watched, _)| watched.starts_with(path))
            .map(|(watched, _)| watched.clone())
            .collect();
        for path in below {
            self.watched.remove(&path);
            if let Some(watcher) = &mut self.watcher {
                let _ = watcher.unwatch(&path);
            }
        }
    }
}
