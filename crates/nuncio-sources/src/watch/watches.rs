//! The folders that the kernel watches.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::ops::Bound;
use std::path::{Path, PathBuf};
use std::sync::mpsc::Sender;

use notify::event::{AccessKind, AccessMode};
use notify::{Config, ErrorKind, EventKind, RecursiveMode};

use super::Message;
use crate::folder::{Inode, Surroundings, inode};

/// Each folder is watched by itself, under its canonical path: the kernel knows one watch per
/// folder, and a second path to it would take it over.
pub(super) struct Watches<W> {
    events: Sender<Message>,
    watcher: Option<W>,
    /// With the folder that was found under the path when the watch began.
    watched: BTreeMap<PathBuf, Inode>,
}

impl<W: notify::Watcher> Watches<W> {
    pub(super) fn new(events: Sender<Message>) -> Self {
        Self {
            events,
            watcher: None,
            watched: BTreeMap::new(),
        }
    }

    /// Watches exactly these; `true` if some were not watched before.
    ///
    /// # Errors
    ///
    /// A limit on watches is reached.
    pub(super) fn watch(&mut self, surroundings: &Surroundings) -> notify::Result<bool> {
        let watcher = match &mut self.watcher {
            Some(watcher) => watcher,
            None => {
                let events = self.events.clone();
                let handler = move |event: notify::Result<notify::Event>| {
                    // Reading the files makes events too.
                    let written = AccessKind::Close(AccessMode::Write);
                    if let Ok(event) = &event
                        && matches!(event.kind, EventKind::Access(kind) if kind != written)
                        && !event.need_rescan()
                    {
                        return;
                    }
                    // At the end nobody listens any more.
                    let _ = events.send(Message::Event(event));
                };
                self.watcher.insert(W::new(handler, Config::default())?)
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
        let mut more = false;
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
                    more = true;
                }
                Err(error) if matches!(error.kind, ErrorKind::MaxFilesWatch) => return Err(error),
                // Gone since the stat, or a folder on the way that may be passed but not read.
                Err(error) => tracing::debug!(path = %path.display(), %error, "not watched"),
            }
        }
        Ok(more)
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
