//! Follows a folder: scans it whenever something in it changed.
//!
//! The kernel's events only say when to look and which files are still being written; what
//! changed is found by a scan. So a lost or misread event delays a change but never falsifies it.

use std::path::PathBuf;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread;
use std::time::{Duration, Instant};
use std::{fs, io};

use notify::event::{AccessKind, AccessMode, CreateKind, ModifyKind};
use notify::{Event, EventKind, RecommendedWatcher};
use nuncio_model::Severity;

use crate::ChangeSet;
use crate::folder::{Fingerprint, Folder, Surroundings, Writers, hidden, inode, is_manifest};

mod held;
mod watches;

use held::{Held, Twice};
use watches::Watches;

/// A burst of events ends when nothing happened for so long.
const QUIET: Duration = Duration::from_millis(5);

/// After a removal: many editors, and git, remove a file before they write it anew.
const QUIET_AFTER_REMOVAL: Duration = Duration::from_millis(50);

/// A burst that does not end is cut after this.
const LONGEST_BURST: Duration = Duration::from_millis(100);

/// How long events may take from the kernel to here.
const EVENT_DELAY: Duration = Duration::from_millis(2);

/// How often to look where the kernel cannot tell.
const POLL: Duration = Duration::from_secs(1);

/// How often to look where it can: network file systems tell nothing of what others change.
const SAFETY_SCAN: Duration = Duration::from_secs(30);

pub(crate) enum Message {
    Event(notify::Result<Event>),
    Stop,
}

/// The change sets of one or more folders or files, as they come.
#[derive(Debug)]
pub struct Watcher {
    changes: tokio::sync::mpsc::Receiver<ChangeSet>,
    stop: Sender<Message>,
}

impl Watcher {
    /// Starts to follow the roots, in a thread of its own.
    ///
    /// # Errors
    ///
    /// No thread can be started. Roots that do not exist are reported in the change sets.
    pub fn new(roots: Vec<PathBuf>) -> io::Result<Self> {
        Self::with::<RecommendedWatcher>(roots)
    }

    fn with<W: notify::Watcher + Send + 'static>(roots: Vec<PathBuf>) -> io::Result<Self> {
        let (sender, events) = mpsc::channel();
        // What changes while the last change set is not taken up goes into the next one.
        let (changes, receiver) = tokio::sync::mpsc::channel(1);
        let follower = Follower {
            folder: Folder::new(roots),
            watches: Watches::<W>::new(sender.clone()),
            live: Live {
                events,
                surroundings: Surroundings::default(),
                held: Held::default(),
                polls: None,
                removed: Vec::new(),
                dirty: false,
                last: Instant::now(),
                quiet: QUIET,
                stopped: false,
            },
            changes,
        };
        thread::Builder::new()
            .name("folder".to_owned())
            .spawn(move || follower.run())?;
        Ok(Self {
            changes: receiver,
            stop: sender,
        })
    }

    /// The next change set; the first one is what the roots hold at the start. Dropping the
    /// future loses nothing.
    pub async fn next(&mut self) -> ChangeSet {
        self.changes
            .recv()
            .await
            .expect("invariant: the thread lives as long as its watcher")
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        // The thread may have ended already.
        let _ = self.stop.send(Message::Stop);
    }
}

struct Follower<W> {
    folder: Folder,
    watches: Watches<W>,
    live: Live,
    changes: tokio::sync::mpsc::Sender<ChangeSet>,
}

impl<W: notify::Watcher> Follower<W> {
    fn run(mut self) {
        loop {
            if let Some(changes) = self.folder.scan_beside(&mut self.live)
                && self.changes.blocking_send(changes).is_err()
            {
                return;
            }
            self.watch();
            if !self.live.wait() {
                return;
            }
        }
    }

    /// Watches what the last scan found to matter.
    fn watch(&mut self) {
        for path in self.live.removed.drain(..) {
            self.watches.forget(&path);
        }
        let surroundings = self.folder.surroundings();
        match self.watches.watch(surroundings) {
            Ok(more) => {
                if self.live.polls.take().is_some() {
                    self.folder.set_note(None);
                    self.live.touch();
                }
                if more {
                    // Something may have changed before the watch was there.
                    self.live.touch();
                }
            }
            Err(error) => {
                if self.live.polls.is_none() {
                    self.live.polls = Some(Twice::default());
                    let message = format!(
                        "changes cannot be watched for ({error}); they are looked for every second instead"
                    );
                    let mut note = self.folder.root_problem(Severity::Warning, message);
                    note.help("raise fs.inotify.max_user_watches (and fs.inotify.max_user_instances) with sysctl");
                    self.folder.set_note(Some(note));
                    self.live.touch();
                }
            }
        }
        self.live
            .surroundings
            .clone_from(self.folder.surroundings());
    }
}

/// What is known from events.
struct Live {
    events: Receiver<Message>,
    surroundings: Surroundings,
    held: Held,
    /// While there are no events to rely on.
    polls: Option<Twice>,
    /// What was removed or renamed: no longer what is watched under that path.
    removed: Vec<PathBuf>,
    /// Whether anything happened that a scan might find.
    dirty: bool,
    /// When it last happened, and how long to wait for more of it.
    last: Instant,
    quiet: Duration,
    stopped: bool,
}

impl Live {
    /// Waits until a scan is due; `false` at the end.
    fn wait(&mut self) -> bool {
        let interval = if self.polls.is_some() {
            POLL
        } else {
            SAFETY_SCAN
        };
        let due = Instant::now() + interval;
        while !self.dirty {
            let now = Instant::now();
            if self.held.expire(now) || now >= due {
                self.touch();
                break;
            }
            let until = self
                .held
                .next_expiry()
                .map_or(due, |expiry| expiry.min(due));
            self.receive(until);
            if self.stopped {
                return false;
            }
        }
        let end = Instant::now() + LONGEST_BURST;
        loop {
            let until = end.min(self.last + self.quiet);
            if Instant::now() >= until {
                break;
            }
            self.receive(until);
        }
        self.dirty = false;
        self.quiet = QUIET;
        if let Some(polls) = &mut self.polls {
            polls.begin();
        }
        !self.stopped
    }

    /// Takes one message, or none until the time is over.
    fn receive(&mut self, until: Instant) -> bool {
        let timeout = until.saturating_duration_since(Instant::now());
        match self.events.recv_timeout(timeout) {
            Ok(Message::Event(Ok(event))) => self.event(&event),
            Ok(Message::Event(Err(error))) => {
                tracing::warn!(%error, "watching for changes of manifests");
                self.touch();
            }
            Ok(Message::Stop) | Err(RecvTimeoutError::Disconnected) => self.stopped = true,
            Err(RecvTimeoutError::Timeout) => return false,
        }
        !self.stopped
    }

    fn touch(&mut self) {
        self.dirty = true;
        self.last = Instant::now();
    }

    fn event(&mut self, event: &Event) {
        if event.need_rescan() {
            // Events were lost, among them perhaps that a file is complete.
            self.held = Held::default();
            self.touch();
            return;
        }
        for path in &event.paths {
            match event.kind {
                EventKind::Access(AccessKind::Close(AccessMode::Write)) => {
                    self.held.release(path);
                    if self.matters(path) && is_content(path, &self.surroundings) {
                        self.touch();
                    }
                }
                EventKind::Access(_) => {}
                EventKind::Create(CreateKind::File | CreateKind::Any)
                | EventKind::Modify(ModifyKind::Data(_) | ModifyKind::Any) => {
                    if self.matters(path) && !self.hold(event, path) {
                        self.touch();
                    }
                }
                EventKind::Remove(_) | EventKind::Modify(ModifyKind::Name(_)) => {
                    self.held.release(path);
                    self.removed.push(path.clone());
                    if self.matters(path) {
                        self.touch();
                        if is_manifest(path) && fs::symlink_metadata(path).is_err() {
                            self.quiet = QUIET_AFTER_REMOVAL;
                        }
                    }
                }
                _ => {
                    if self.matters(path) {
                        self.touch();
                    }
                }
            }
        }
    }

    /// Holds a file back that is open for writing, if it is one.
    fn hold(&mut self, event: &Event, path: &std::path::Path) -> bool {
        let Ok(metadata) = fs::symlink_metadata(path) else {
            return false;
        };
        // A new hard link comes into being complete.
        let linked = matches!(event.kind, EventKind::Create(_))
            && std::os::unix::fs::MetadataExt::nlink(&metadata) > 1;
        if !metadata.is_file() || linked {
            return false;
        }
        if is_content(path, &self.surroundings) {
            self.held.hold(path, inode(&metadata), Instant::now());
        }
        true
    }

    fn matters(&self, path: &std::path::Path) -> bool {
        let Surroundings { folders, entries } = &self.surroundings;
        if folders.contains(path) || entries.contains_key(path) {
            return true;
        }
        let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
            return false;
        };
        // Of hidden entries only the links that exchange several files at once, `..data`.
        let shown = !hidden(name) || name.as_encoded_bytes().starts_with(b"..");
        shown && folders.contains(parent)
            || entries
                .get(parent)
                .is_some_and(|names| names.contains(name))
    }
}

/// Whether a file's content is read at all.
fn is_content(path: &std::path::Path, surroundings: &Surroundings) -> bool {
    is_manifest(path)
        || path
            .parent()
            .zip(path.file_name())
            .and_then(|(parent, name)| Some(surroundings.entries.get(parent)?.contains(name)))
            .unwrap_or(false)
}

impl Writers for Live {
    fn catch_up(&mut self) {
        let end = Instant::now() + 10 * EVENT_DELAY;
        while Instant::now() < end && self.receive(Instant::now() + EVENT_DELAY) {}
    }

    fn writing(&mut self, file: &Fingerprint) -> bool {
        self.held.contains(file.inode) || self.polls.as_mut().is_some_and(|polls| !polls.same(file))
    }
}

#[cfg(test)]
mod tests;
