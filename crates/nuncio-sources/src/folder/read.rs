//! Reads files, several at a time.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, Read};
use std::num::NonZero;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use nuncio_model::{Reason, guards_in};
use xxhash_rust::xxh3::xxh3_128;

use super::walk::{Fingerprint, Found};
use crate::manifest::{self, Manifest};

/// Larger files are refused: they are no manifests, and would be held in memory.
const MAX_SIZE: u64 = 64 << 20;

/// One file, and the hash of its last content.
pub(super) struct Job<'a> {
    pub(super) found: &'a Found,
    pub(super) hash: Option<u128>,
}

/// What came of reading a file.
#[derive(Debug)]
pub(super) enum Outcome {
    /// The content is the same as before.
    Same,
    Read {
        hash: u128,
        manifest: Manifest,
    },
    /// Not read, or not understood.
    Fault {
        /// Of the content, if there is any.
        hash: Option<u128>,
        reason: Reason,
        message: String,
        /// Kinds that the content names and that must not go unseen.
        unread: BTreeSet<&'static str>,
    },
    /// The file went away or changed while it was read.
    Torn,
}

/// Reads all, in the order of the jobs.
pub(super) fn read_all(jobs: &[Job<'_>]) -> Vec<(Fingerprint, Outcome)> {
    let cores = thread::available_parallelism().map_or(1, NonZero::get);
    // A thread costs as much as a handful of small files.
    let threads = cores.min(jobs.len().div_ceil(8));
    if threads <= 1 {
        return jobs.iter().map(read).collect();
    }
    let next = AtomicUsize::new(0);
    let work = || {
        let mut done = Vec::new();
        loop {
            let index = next.fetch_add(1, Ordering::Relaxed);
            let Some(job) = jobs.get(index) else {
                return done;
            };
            done.push((index, read(job)));
        }
    };
    let mut outcomes: Vec<_> = thread::scope(|scope| {
        let threads: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        threads
            .into_iter()
            .flat_map(|thread| thread.join().expect("invariant: reading does not panic"))
            .collect()
    });
    outcomes.sort_by_key(|(index, _)| *index);
    outcomes.into_iter().map(|(_, outcome)| outcome).collect()
}

fn read(job: &Job<'_>) -> (Fingerprint, Outcome) {
    let mut fingerprint = job.found.fingerprint;
    let outcome = match content(&job.found.path, &mut fingerprint) {
        Ok(None) => Outcome::Torn,
        Ok(Some(bytes)) => parse(&job.found.name, bytes, job.hash),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Outcome::Torn,
        Err(error) => Outcome::Fault {
            hash: None,
            reason: Reason::Unreadable,
            message: format!("cannot be read: {error}"),
            unread: BTreeSet::new(),
        },
    };
    (fingerprint, outcome)
}

/// The content, and the fingerprint that goes with it.
fn content(path: &Path, fingerprint: &mut Fingerprint) -> io::Result<Option<Vec<u8>>> {
    let mut file = File::open(path)?;
    *fingerprint = Fingerprint::of(&file.metadata()?);
    let mut bytes = Vec::with_capacity(fingerprint.size.min(MAX_SIZE) as usize + 1);
    file.by_ref().take(MAX_SIZE + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > MAX_SIZE {
        return Err(io::Error::other("larger than 64 MiB"));
    }
    let unchanged = Fingerprint::of(&file.metadata()?) == *fingerprint;
    Ok(unchanged.then_some(bytes))
}

fn parse(name: &Arc<str>, bytes: Vec<u8>, known: Option<u128>) -> Outcome {
    let hash = xxh3_128(&bytes);
    if known == Some(hash) {
        return Outcome::Same;
    }
    let fault = |content: &[u8], message| Outcome::Fault {
        hash: Some(hash),
        reason: Reason::ParseError,
        message,
        unread: guards_in(&String::from_utf8_lossy(content)),
    };
    let text = match String::from_utf8(bytes) {
        Ok(text) => text,
        Err(error) => {
            let (line, column) = end_of(&error.as_bytes()[..error.utf8_error().valid_up_to()]);
            let message = format!("line {line}, column {column}: not UTF-8");
            return fault(error.as_bytes(), message);
        }
    };
    match manifest::parse(name, &text) {
        Ok(manifest) => Outcome::Read { hash, manifest },
        Err(error) => fault(text.as_bytes(), error.to_string()),
    }
}

/// Line and column, from 1, of what follows a text.
fn end_of(valid: &[u8]) -> (usize, usize) {
    let text = String::from_utf8_lossy(valid);
    let line = text.matches('\n').count() + 1;
    let last = text.rsplit('\n').next().unwrap_or_default();
    (line, last.chars().count() + 1)
}
