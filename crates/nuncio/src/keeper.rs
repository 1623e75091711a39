//! Keeps what was read in the state folder, for a start at which it cannot be read.
//!
//! Beside the path of a change: changes only say that there is something to keep.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use nuncio_model::{Entry, Origin, Reason, ResourceId, Severity};
use nuncio_sources::Contents;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::supervisor::write_whole;

/// Changes that follow each other so soon are kept together.
const PAUSE: Duration = Duration::from_millis(500);

/// Writing takes this part of the time at most.
const SHARE: u32 = 10;

/// When keeping is tried again without a change.
const RETRY: Duration = Duration::from_secs(10);

/// Keeps what the sources have. Dropping it ends it as it is.
#[derive(Debug)]
pub(crate) struct Keeper {
    changes: watch::Sender<()>,
    problem: watch::Receiver<Option<Entry>>,
    task: JoinHandle<()>,
}

impl Keeper {
    pub(crate) fn start(contents: Contents, path: PathBuf) -> Self {
        let changes = watch::Sender::new(());
        let (problem_sender, problem) = watch::channel(None);
        let task = tokio::spawn(keep(contents, path, changes.subscribe(), problem_sender));
        Self {
            changes,
            problem,
            task,
        }
    }

    /// There is something new to keep.
    pub(crate) fn changed(&self) {
        self.changes.send_replace(());
    }

    /// Where to say so. [`Keeper::finish`] waits until nobody can any more.
    pub(crate) fn changes(&self) -> watch::Sender<()> {
        self.changes.clone()
    }

    /// What keeps it from keeping.
    pub(crate) fn problem(&self) -> watch::Receiver<Option<Entry>> {
        self.problem.clone()
    }

    /// Keeps what is not kept yet, and ends.
    pub(crate) async fn finish(self) {
        drop(self.changes);
        let _ = self.task.await;
    }
}

async fn keep(
    contents: Contents,
    path: PathBuf,
    mut changes: watch::Receiver<()>,
    problem: watch::Sender<Option<Entry>>,
) {
    let mut pause = PAUSE;
    let mut failed = false;
    while next(&mut changes, failed).await {
        // Ends early when nothing more is to come.
        let _ = tokio::time::timeout(pause, changes.wait_for(|()| false)).await;
        let Some(content) = contents.get().await.filter(|content| content.is_known()) else {
            continue;
        };
        let started = Instant::now();
        let file = path.clone();
        let write = move || write_whole(&file, |file| content.write(file));
        let error = match tokio::task::spawn_blocking(write).await {
            Ok(Ok(())) => None,
            Ok(Err(error)) => Some(error.to_string()),
            Err(error) => Some(error.to_string()),
        };
        pause = PAUSE.max(started.elapsed() * SHARE);
        failed = error.is_some();
        let error = error.map(|error| not_kept(&path, &error));
        problem.send_if_modified(|current| {
            let news = *current != error;
            *current = error;
            news
        });
    }
}

/// Waits for the next change, or for the next try; false when nothing more is to come.
async fn next(changes: &mut watch::Receiver<()>, failed: bool) -> bool {
    let changed = changes.changed();
    match failed {
        false => changed.await.is_ok(),
        true => tokio::time::timeout(RETRY, changed)
            .await
            .map_or(true, |changed| changed.is_ok()),
    }
}

fn not_kept(path: &Path, error: &str) -> Entry {
    let name = path.to_string_lossy();
    let origin = Origin::new(Arc::new(ResourceId::new("", "File", "", &*name)));
    let message = format!(
        "what is served cannot be kept: {error}; should a source be unreadable at the next start, \
         there is nothing newer than what was kept before"
    );
    let mut entry = Entry::new(&origin, Severity::Warning, Reason::NotKept, message);
    entry.help(
        "give the state folder's disk room and let nuncio write to it; if the folder was removed, \
         start nuncio again",
    );
    entry
}
