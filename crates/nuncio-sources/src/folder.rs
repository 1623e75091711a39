//! A folder of manifests: what is in it, and what changed since it was last looked at.
//!
//! A scan stats every file and reads those that changed. What was good once stays in effect
//! until there is something better: a file that no longer parses and a root that went away keep
//! their objects and are reported.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::SystemTime;

use nuncio_api::{ObjectKey, RawObject, SourceRef};
use nuncio_model::{Entry, Origin, Reason, ResourceId, Severity, Unread};
use xxhash_rust::xxh3::xxh3_128;

use crate::ChangeSet;
use crate::locate::{DocumentLines, Tree};
use crate::manifest::{Syntax, file_resource};

mod read;
mod restore;
mod walk;

use read::{Job, Outcome, read_all};
use walk::Walk;
pub(crate) use walk::{Fingerprint, Inode, Surroundings, hidden, inode, is_manifest};

/// How often a scan begins again because files were exchanged under it.
const RETRIES: usize = 5;

/// How many files are read before the events that reading them makes are taken.
const BATCH: usize = 2048;

/// Sees what others do to the files while they are scanned.
pub(crate) trait Observer {
    /// Begins to look at these folders, before their files are read.
    fn watch(&mut self, surroundings: Surroundings);

    /// Learns of everything that happened up to now.
    fn catch_up(&mut self);

    /// Whether someone may be writing this file, or wrote it since the scan began.
    fn writing(&mut self, file: &Fingerprint) -> bool;
}

/// Without events nobody is seen to write.
struct Blind;

impl Observer for Blind {
    fn watch(&mut self, _: Surroundings) {}

    fn catch_up(&mut self) {}

    fn writing(&mut self, _: &Fingerprint) -> bool {
        false
    }
}

/// A file's place in the order of all files: by root, then by path.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct FileId {
    root: usize,
    name: Arc<str>,
}

#[derive(Debug)]
struct File {
    fingerprint: Fingerprint,
    /// The fingerprint was taken so soon after a change that it may miss another one.
    unsettled: bool,
    /// Of the last content, good or bad; none if it could not be read.
    hash: Option<u128>,
    /// From the last content that parsed.
    objects: Vec<RawObject>,
    problems: Vec<Entry>,
    /// Why the last content is not what is in effect.
    fault: Option<Entry>,
    /// Whether any content was in effect.
    good: bool,
    /// Kinds of objects that may be in it beside those, and must not go unseen.
    unread: BTreeSet<&'static str>,
    /// Where its objects are, once a message had to say so.
    lines: Option<Vec<DocumentLines>>,
    path: PathBuf,
}

/// Where an object is defined: the file and the index among its objects.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Place {
    file: FileId,
    index: usize,
}

/// When a root was read, and whether by this process.
#[derive(Clone, Copy, Debug)]
enum ReadAt {
    Here(SystemTime),
    Before(SystemTime),
}

/// One or more roots, each a folder or a file.
#[derive(Debug)]
pub struct Folder {
    roots: Vec<PathBuf>,
    /// When each root was read last, if ever.
    read_at: Vec<Option<ReadAt>>,
    files: BTreeMap<FileId, File>,
    /// Every place of an object, in order: the last one counts.
    places: HashMap<ObjectKey, Vec<Place>>,
    /// Objects with more than one place.
    duplicates: BTreeSet<ObjectKey>,
    /// What is wrong with the watching of the folder rather than with its contents.
    note: Option<Entry>,
    /// Why what was kept cannot stand in for what cannot be read.
    not_kept: Option<Entry>,
    /// As of the last scan, none before the first.
    said: Option<(Vec<Entry>, Vec<Unread>)>,
}

impl Folder {
    /// Nothing is read before the first scan.
    pub fn new(roots: Vec<PathBuf>) -> Self {
        Self {
            read_at: vec![None; roots.len()],
            roots,
            files: BTreeMap::new(),
            places: HashMap::new(),
            duplicates: BTreeSet::new(),
            note: None,
            not_kept: None,
            said: None,
        }
    }

    /// What changed since the last scan, `None` if nothing did. The first scan always answers.
    pub fn scan(&mut self) -> Option<ChangeSet> {
        self.scan_beside(&mut Blind)
    }

    /// Scans, leaving alone what is being written.
    pub(crate) fn scan_beside(&mut self, observer: &mut dyn Observer) -> Option<ChangeSet> {
        for _ in 0..RETRIES {
            if let Some(scan) = Scan::run(self, observer, false) {
                return self.apply(scan);
            }
        }
        // Files are exchanged faster than they can be read: the next scan will find more.
        let scan = Scan::run(self, observer, true).expect("invariant: the last try is taken as is");
        self.apply(scan)
    }

    /// Has the next change sets carry another problem.
    pub(crate) fn set_note(&mut self, note: Option<Entry>) {
        self.note = note;
    }

    /// A problem with a root, or with all of them.
    pub(crate) fn root_problem(&self, severity: Severity, message: String) -> Entry {
        let roots: Vec<_> = self
            .roots
            .iter()
            .map(|root| root.to_string_lossy())
            .collect();
        let origin = Origin::new(file_resource(&roots.join(", ")));
        Entry::new(&origin, severity, Reason::Unreadable, message)
    }

    /// What it means that a root cannot be read.
    fn consequence(&self, root: usize, objects: usize) -> String {
        match self.read_at[root] {
            _ if objects == 0 => "nothing of it is in effect".to_owned(),
            Some(ReadAt::Before(time)) => format!(
                "what was read from it before this start ({objects} objects, {}) stays in effect",
                httpdate::fmt_http_date(time)
            ),
            _ => format!("what was last read from it ({objects} objects) stays in effect"),
        }
    }

    fn object(&self, place: &Place) -> &RawObject {
        &self.files[&place.file].objects[place.index]
    }

    fn effective(&self, key: &ObjectKey) -> Option<&Place> {
        self.places.get(key)?.last()
    }

    fn apply(&mut self, scan: Scan) -> Option<ChangeSet> {
        // What was in effect for every key that may change.
        let mut before: BTreeMap<ObjectKey, Option<RawObject>> = BTreeMap::new();
        if self.said.is_none() {
            // Nothing was in effect, what was kept included.
            before.extend(self.places.keys().map(|key| (key.clone(), None)));
        }
        for (read_at, read) in self.read_at.iter_mut().zip(scan.roots_read) {
            if read {
                *read_at = Some(ReadAt::Here(SystemTime::now()));
            }
        }
        for id in scan.gone {
            self.take_objects(&id, &mut before);
            self.files.remove(&id);
        }
        for (id, path, fingerprint, outcome) in scan.read {
            self.take_up(id, path, fingerprint, outcome, &mut before);
        }

        let mut upserted = Vec::new();
        let mut deleted = Vec::new();
        for (key, before) in before {
            let places = self.places.get(&key).map_or(0, Vec::len);
            if places > 1 {
                self.duplicates.insert(key.clone());
            } else {
                self.duplicates.remove(&key);
            }
            match (before, self.effective(&key)) {
                (Some(_), None) => deleted.push(key),
                (before, Some(place)) => {
                    let now = self.object(place);
                    if before.is_none_or(|before| before != *now) {
                        upserted.push((place.clone(), now.clone()));
                    }
                }
                (None, None) => {}
            }
        }
        upserted.sort_by(|(a, _), (b, _)| a.cmp(b));

        let unread: Vec<Unread> = self
            .files
            .iter()
            .flat_map(|(id, file)| {
                file.unread.iter().map(move |&kind| Unread {
                    kind,
                    origin: Origin::new(file_resource(&id.name)),
                })
            })
            .collect();
        let problems = self.standing_problems(scan.faults);
        let said = (problems, unread);
        let news = self.said.as_ref() != Some(&said);
        self.said = Some(said.clone());
        let (problems, unread) = said;
        (news || !upserted.is_empty() || !deleted.is_empty()).then(|| ChangeSet {
            upserted: upserted.into_iter().map(|(_, object)| object).collect(),
            deleted,
            problems,
            unread,
        })
    }

    /// Takes a file's objects out, noting what they were.
    fn take_objects(&mut self, id: &FileId, before: &mut BTreeMap<ObjectKey, Option<RawObject>>) {
        let Some(file) = self.files.get(id) else {
            return;
        };
        let keys: Vec<_> = file.objects.iter().map(|object| object.key()).collect();
        for key in &keys {
            self.note_effective(key, before);
        }
        for key in keys {
            if let Some(places) = self.places.get_mut(&key) {
                places.retain(|place| place.file != *id);
                if places.is_empty() {
                    self.places.remove(&key);
                }
            }
        }
    }

    fn note_effective(&self, key: &ObjectKey, before: &mut BTreeMap<ObjectKey, Option<RawObject>>) {
        if !before.contains_key(key) {
            let object = self.effective(key).map(|place| self.object(place).clone());
            before.insert(key.clone(), object);
        }
    }

    fn take_up(
        &mut self,
        id: FileId,
        path: PathBuf,
        fingerprint: Fingerprint,
        outcome: Outcome,
        before: &mut BTreeMap<ObjectKey, Option<RawObject>>,
    ) {
        if matches!(outcome, Outcome::Read { .. }) {
            self.take_objects(&id, before);
        }
        let unsettled = fingerprint.is_unsettled();
        let file = self.files.entry(id.clone()).or_insert_with(|| File {
            fingerprint,
            unsettled,
            hash: None,
            objects: Vec::new(),
            problems: Vec::new(),
            fault: None,
            good: false,
            unread: BTreeSet::new(),
            lines: None,
            path,
        });
        file.fingerprint = fingerprint;
        file.unsettled = unsettled;
        match outcome {
            Outcome::Same | Outcome::Torn => {}
            Outcome::Fault {
                hash,
                reason,
                message,
                unread,
            } => {
                file.hash = hash;
                if !file.good {
                    file.unread = unread;
                }
                let origin = Origin::new(file_resource(&id.name));
                let consequence = if file.good {
                    "its last good content stays in effect"
                } else {
                    "nothing of it is in effect"
                };
                let message = format!("{message}; {consequence}");
                file.fault = Some(Entry::new(&origin, Severity::Error, reason, message));
            }
            Outcome::Read { hash, manifest } => {
                file.hash = Some(hash);
                file.objects = manifest.objects;
                file.objects.shrink_to_fit();
                file.problems = manifest.problems;
                file.unread = manifest.unread;
                file.fault = None;
                file.good = true;
                file.lines = None;
                let keys: Vec<_> = file.objects.iter().map(|object| object.key()).collect();
                for (index, key) in keys.into_iter().enumerate() {
                    self.note_effective(&key, before);
                    let place = Place {
                        file: id.clone(),
                        index,
                    };
                    let places = (self.places.entry(key)).or_insert_with(|| Vec::with_capacity(1));
                    places.insert(places.partition_point(|other| *other < place), place);
                }
            }
        }
    }

    fn standing_problems(&mut self, faults: Vec<Entry>) -> Vec<Entry> {
        let mut problems: Vec<_> = self.note.iter().cloned().collect();
        let lacking = !faults.is_empty() || self.files.values().any(|file| file.fault.is_some());
        if lacking {
            problems.extend(self.not_kept.iter().cloned());
        } else {
            self.not_kept = None;
        }
        problems.extend(faults);
        for file in self.files.values() {
            problems.extend(file.fault.iter().cloned());
            problems.extend(file.problems.iter().cloned());
        }
        for key in self.duplicates.clone() {
            let Some((counts, others)) = self.places[&key]
                .clone()
                .split_last()
                .map(|(counts, others)| (counts.clone(), others.to_vec()))
            else {
                continue;
            };
            let counts = self.line_of(&counts);
            let resource = Arc::new(ResourceId::new(
                key.group,
                key.kind,
                key.namespace,
                key.name,
            ));
            for other in others {
                let message = format!(
                    "defined twice: {} has no effect, because {counts} comes later",
                    self.line_of(&other)
                );
                let mut entry = Entry::new(
                    &Origin::new(Arc::clone(&resource)),
                    Severity::Warning,
                    Reason::Duplicate,
                    message,
                );
                entry.help("keep one of them");
                problems.push(entry);
            }
        }
        problems
    }

    /// `file:line` of an object, or the file alone if it has changed since it was read.
    fn line_of(&mut self, place: &Place) -> String {
        let source = self.object(place).source.clone();
        let file = self
            .files
            .get_mut(&place.file)
            .expect("invariant: places are those of known files");
        let name = &place.file.name;
        if file.lines.is_none() {
            let text = std::fs::read(&file.path)
                .ok()
                .filter(|bytes| Some(xxh3_128(bytes)) == file.hash && file.fault.is_none())
                .and_then(|bytes| String::from_utf8(bytes).ok());
            file.lines = text.map(|text| Tree::parse(&text, Syntax::of(name)).lines());
        }
        let line = match (&source, &file.lines) {
            (SourceRef::File { document, item, .. }, Some(lines)) => {
                lines.get(*document).and_then(|lines| match item {
                    Some(item) => lines.items.get(*item).copied(),
                    None => Some(lines.line),
                })
            }
            _ => None,
        };
        line.map_or_else(|| name.to_string(), |line| format!("{name}:{line}"))
    }
}

/// What one look at the roots gave: nothing of it is in effect yet.
struct Scan {
    /// Which of the roots could be read.
    roots_read: Vec<bool>,
    /// Of roots and of folders below them.
    faults: Vec<Entry>,
    read: Vec<(FileId, PathBuf, Fingerprint, Outcome)>,
    gone: Vec<FileId>,
}

impl Scan {
    /// `None` if files were exchanged meanwhile, so that what was read may not belong together;
    /// `as_is` takes even that.
    fn run(folder: &Folder, observer: &mut dyn Observer, as_is: bool) -> Option<Scan> {
        let mut scan = Scan {
            roots_read: Vec::new(),
            faults: Vec::new(),
            read: Vec::new(),
            gone: Vec::new(),
        };
        let mut surroundings = Surroundings::default();
        let mut walks = Vec::new();
        for (root, path) in folder.roots.iter().enumerate() {
            let walk = walk::walk(path, &mut surroundings);
            scan.roots_read.push(walk.is_ok());
            match walk {
                Ok(walk) => {
                    scan.missing(folder, root, &walk);
                    walks.push((root, walk));
                }
                Err(error) => {
                    let objects: usize = folder
                        .files
                        .iter()
                        .filter(|(id, _)| id.root == root)
                        .map(|(_, file)| file.objects.len())
                        .sum();
                    let consequence = folder.consequence(root, objects);
                    let origin = Origin::new(file_resource(&walk::name(path)));
                    let message = format!("cannot be read: {error}; {consequence}");
                    let severity = Severity::Error;
                    let entry = Entry::new(&origin, severity, Reason::Unreadable, message);
                    scan.faults.push(entry);
                }
            }
        }

        observer.watch(surroundings);
        let jobs: Vec<_> = walks
            .iter()
            .flat_map(|(root, walk)| walk.files.iter().map(|found| (*root, found)))
            .filter_map(|(root, found)| {
                let id = FileId {
                    root,
                    name: Arc::clone(&found.name),
                };
                let known = folder.files.get(&id);
                let read = known
                    .is_none_or(|known| known.unsettled || known.fingerprint != found.fingerprint)
                    && !observer.writing(&found.fingerprint);
                let hash = known.and_then(|known| known.hash);
                read.then_some((id, Job { found, hash }))
            })
            .collect();
        let (ids, jobs): (Vec<_>, Vec<_>) = jobs.into_iter().unzip();
        let mut outcomes = Vec::new();
        for batch in jobs.chunks(BATCH) {
            outcomes.extend(read_all(batch));
            // Someone may have written while the files were read.
            observer.catch_up();
        }
        let mut whole = walks.iter().all(|(_, walk)| walk.still_stands());
        // Removed and written anew, as some editors do.
        whole &= !scan.gone.iter().any(|id| folder.files[id].path.exists());
        for ((id, job), (fingerprint, outcome)) in ids.into_iter().zip(jobs).zip(outcomes) {
            match outcome {
                Outcome::Torn => whole = false,
                _ if observer.writing(&fingerprint) => {}
                outcome => {
                    scan.read
                        .push((id, job.found.path.clone(), fingerprint, outcome));
                }
            }
        }
        (whole || as_is).then_some(scan)
    }

    /// Notes what a root no longer has, and reports what of it cannot be looked into.
    fn missing(&mut self, folder: &Folder, root: usize, walk: &Walk) {
        let found: BTreeSet<&str> = walk.files.iter().map(|found| &*found.name).collect();
        for (id, _) in folder.files.iter().filter(|(id, _)| id.root == root) {
            let kept = walk.faults.iter().any(|fault| {
                id.name
                    .strip_prefix(&*fault.name)
                    .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
            });
            if !kept && !found.contains(&*id.name) {
                self.gone.push(id.clone());
            }
        }
        for fault in &walk.faults {
            let origin = Origin::new(file_resource(&fault.name));
            let message = format!(
                "cannot be read: {}; what was last read from it stays in effect",
                fault.error
            );
            let entry = Entry::new(&origin, Severity::Error, Reason::Unreadable, message);
            self.faults.push(entry);
        }
    }
}

#[cfg(test)]
mod tests;
