//! Follows a folder: scans it whenever something in it changed.
//!
//! The kernel's events only say when to look and which files are still being written; what
//! changed is found by a scan. So a lost or misread event delays a change but never falsifies it.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread;
use std::time::{Duration, Instant};
use std::{fs, io};

use notify::event::{AccessKind, AccessMode, CreateKind, ModifyKind};
use notify::{Event, EventKind, RecommendedWatcher};
use nuncio_model::{Entry, Reason, Severity};
use tokio::sync::oneshot;

use crate::ChangeSet;
use crate::contents::Contents;
use crate::folder::{
    Fingerprint, Folder, Inode, Observer, Surroundings, hidden, inode, is_manifest,
};
use crate::kept::{Content, Kept};

mod held;
mod watches;

use held::{Held, PATIENCE, Twice};
use watches::{More, Watches};

/// A burst of events ends when nothing happened for so long.
const QUIET: Duration = Duration::from_millis(5);

/// After a removal: many editors, and git, remove a file before they write it anew.
const QUIET_AFTER_REMOVAL: Duration = Duration::from_millis(50);

/// A burst that does not end is cut after this.
const LONGEST_BURST: Duration = Duration::from_millis(100);

/// How long events are taken to need from the kernel to here if that cannot be found out.
const EVENT_DELAY: Duration = Duration::from_millis(2);

/// How long to wait for an event that must come.
const MARKER_DELAY: Duration = Duration::from_secs(1);

/// How long a file is taken to be unfinished after a change if its events were missed: in a
/// folder that has just been found, or when events were lost.
const UNSEEN: Duration = Duration::from_millis(100);

/// How often to look where the kernel cannot tell.
const POLL: Duration = Duration::from_secs(1);

/// How often to look where it can: network file systems tell nothing of what others change.
const SAFETY_SCAN: Duration = Duration::from_secs(30);

pub(crate) enum Message {
    Event(notify::Result<Event>),
    Content(oneshot::Sender<Content>),
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
        Self::with::<RecommendedWatcher>(roots, None)
    }

    /// The same; for what cannot be read at the start stands what was [kept](Content) in a file.
    ///
    /// # Errors
    ///
    /// As of [`Watcher::new`]. A file that cannot be used is reported in the change sets.
    pub fn with_kept(roots: Vec<PathBuf>, kept: PathBuf) -> io::Result<Self> {
        Self::with::<RecommendedWatcher>(roots, Some(kept))
    }

    fn with<W: notify::Watcher + Send + 'static>(
        roots: Vec<PathBuf>,
        kept: Option<PathBuf>,
    ) -> io::Result<Self> {
        let (sender, events) = mpsc::channel();
        // What changes while the last change set is not taken up goes into the next one.
        let (changes, receiver) = tokio::sync::mpsc::channel(1);
        let follower = Follower {
            folder: Folder::new(roots),
            live: Live::<W>::new(sender.clone(), events),
            changes,
        };
        thread::Builder::new()
            .name("folder".to_owned())
            .spawn(move || follower.run(kept.as_deref()))?;
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

impl Watcher {
    /// Where to ask for what there is to keep.
    pub fn contents(&self) -> Contents {
        Contents::of_folder(self.stop.clone())
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
    live: Live<W>,
    changes: tokio::sync::mpsc::Sender<ChangeSet>,
}

impl<W: notify::Watcher> Follower<W> {
    fn run(mut self, kept: Option<&Path>) {
        let mut failing = false;
        let mut changes = self.folder.scan_beside(&mut self.live);
        if let Some(kept) = kept
            && changes.as_ref().is_some_and(lacks)
        {
            match Kept::read(kept) {
                Ok(None) => {}
                Ok(Some(kept)) => {
                    self.folder = self.folder.restored(kept);
                    changes = self.folder.scan_beside(&mut self.live);
                }
                Err(error) => {
                    self.folder.set_not_kept(kept, &error);
                    self.live.touch();
                }
            }
        }
        loop {
            if let Some(changes) = changes
                && self.changes.blocking_send(changes).is_err()
            {
                return;
            }
            if failing != self.live.failure.is_some() {
                failing = !failing;
                self.folder.set_note(self.note());
                self.live.touch();
            }
            loop {
                match self.live.wait() {
                    Due::Scan => break,
                    // Whoever asked may have gone.
                    Due::Content(asked) => drop(asked.send(self.folder.content())),
                    Due::End => return,
                }
            }
            changes = self.folder.scan_beside(&mut self.live);
        }
    }

    fn note(&self) -> Option<Entry> {
        let (_, error) = self.live.failure.as_ref()?;
        let message = format!(
            "changes cannot be watched for ({error}); they are looked for every second instead"
        );
        let mut note = self.folder.root_problem(Severity::Warning, message);
        note.help(
            "raise fs.inotify.max_user_watches (and fs.inotify.max_user_instances) with sysctl",
        );
        Some(note)
    }
}

/// Whether something of the roots could not be read.
fn lacks(changes: &ChangeSet) -> bool {
    let mut reasons = changes.problems.iter().map(|problem| problem.reason);
    reasons.any(|reason| matches!(reason, Reason::Unreadable | Reason::ParseError))
}

/// What a follower has to do.
enum Due {
    Scan,
    Content(oneshot::Sender<Content>),
    End,
}

/// What is known from events.
struct Live<W> {
    events: Receiver<Message>,
    watches: Watches<W>,
    surroundings: Surroundings,
    held: Held,
    /// Files written since the scan began: what was read of them may be torn.
    written: HashSet<Inode>,
    /// Whether events were lost since the scan began.
    lost: bool,
    /// Folders were found since the scan began: their files may have been written unseen.
    found: bool,
    /// When files of such folders are due.
    again: Option<Instant>,
    /// Whether the event of the marker has come.
    marked: bool,
    /// Why there are no events to rely on, and what is known without.
    failure: Option<(Twice, notify::Error)>,
    /// What was removed or renamed: no longer what is watched under that path.
    removed: Vec<PathBuf>,
    /// Whether anything happened that a scan might find.
    dirty: bool,
    /// When it last happened, and how long to wait for more of it.
    last: Instant,
    quiet: Duration,
    /// Whether this is about the very first scan, which reads whatever is there.
    first: bool,
    /// Who asks for what there is to keep.
    asked: Option<oneshot::Sender<Content>>,
    stopped: bool,
}

impl<W: notify::Watcher> Live<W> {
    fn new(sender: Sender<Message>, events: Receiver<Message>) -> Self {
        Self {
            events,
            watches: Watches::new(sender),
            surroundings: Surroundings::default(),
            held: Held::default(),
            written: HashSet::new(),
            lost: false,
            found: false,
            again: None,
            marked: false,
            failure: None,
            removed: Vec::new(),
            dirty: false,
            last: Instant::now(),
            quiet: QUIET,
            first: true,
            asked: None,
            stopped: false,
        }
    }

    /// Waits until something is due.
    fn wait(&mut self) -> Due {
        let interval = if self.failure.is_some() {
            POLL
        } else {
            SAFETY_SCAN
        };
        let due = Instant::now() + interval;
        let due = self.again.take().map_or(due, |again| again.min(due));
        while !self.dirty {
            if let Some(asked) = self.asked.take() {
                self.again = Some(due);
                return Due::Content(asked);
            }
            if Instant::now() >= due {
                self.touch();
                break;
            }
            if self
                .held
                .next_expiry()
                .is_some_and(|expiry| expiry <= Instant::now())
            {
                // Not before the writer's last signs of life are here.
                self.catch_up();
                if self.held.expire(Instant::now()) {
                    self.touch();
                }
                continue;
            }
            let until = self
                .held
                .next_expiry()
                .map_or(due, |expiry| expiry.min(due));
            self.receive(until);
            if self.stopped {
                return Due::End;
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
        self.written.clear();
        self.lost = false;
        self.found = false;
        self.first = false;
        if let Some((twice, _)) = &mut self.failure {
            twice.begin();
        }
        match self.stopped {
            true => Due::End,
            false => Due::Scan,
        }
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
            // One asks at a time.
            Ok(Message::Content(asked)) => self.asked = Some(asked),
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
            self.lost = true;
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
                EventKind::Access(_) => {
                    self.marked |= self.watches.marker() == Some(path.as_path())
                }
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
    fn hold(&mut self, event: &Event, path: &Path) -> bool {
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
            let file = inode(&metadata);
            self.held.hold(path, file, Instant::now());
            self.written.insert(file);
        }
        true
    }

    fn matters(&self, path: &Path) -> bool {
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
fn is_content(path: &Path, surroundings: &Surroundings) -> bool {
    is_manifest(path)
        || path
            .parent()
            .zip(path.file_name())
            .and_then(|(parent, name)| Some(surroundings.entries.get(parent)?.contains(name)))
            .unwrap_or(false)
}

impl<W: notify::Watcher> Observer for Live<W> {
    fn watch(&mut self, surroundings: Surroundings) {
        for path in self.removed.drain(..) {
            self.watches.forget(&path);
        }
        match self.watches.watch(&surroundings) {
            Ok(more) => {
                self.failure = None;
                if more != More::Nothing {
                    // Something may have come between the walk and the watch.
                    self.touch();
                }
                self.found |= more == More::Manifests && !self.first;
            }
            Err(error) => {
                self.failure
                    .get_or_insert_with(|| (Twice::default(), error));
            }
        }
        self.surroundings = surroundings;
    }

    fn catch_up(&mut self) {
        self.marked = false;
        if let Some(marker) = self.watches.marker()
            && fs::File::open(marker).is_ok()
        {
            let end = Instant::now() + MARKER_DELAY;
            while !self.marked && !self.lost && self.receive(end) {}
        } else {
            let end = Instant::now() + 10 * EVENT_DELAY;
            while Instant::now() < end && self.receive(Instant::now() + EVENT_DELAY) {}
        }
    }

    fn writing(&mut self, file: &Fingerprint) -> bool {
        // A file is empty for a while before the event of its truncation comes.
        let patience = if file.size == 0 {
            PATIENCE
        } else if self.found || self.lost {
            UNSEEN
        } else {
            Duration::ZERO
        };
        if file.is_younger_than(patience) {
            let again = Instant::now() + patience;
            self.again = Some(self.again.map_or(again, |other| other.min(again)));
            return true;
        }
        if let Some((twice, _)) = &mut self.failure
            && !self.first
            && !twice.same(file)
        {
            return true;
        }
        self.held.contains(file.inode) || self.written.contains(&file.inode)
    }
}

#[cfg(test)]
mod tests;
