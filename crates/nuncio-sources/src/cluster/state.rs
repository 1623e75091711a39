//! What is known of the objects of a cluster, and what of it changed. Pure.
//!
//! A list takes effect when it is whole, so that an object that is in neither half of one is
//! never gone. Nothing is said before every kind has been listed, unless something was kept before:
//! an empty configuration is one that was read.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use kube::api::{ApiResource, GroupVersionKind};
use nuncio_api::core::SecretName;
use nuncio_api::getambassador::GROUP;
use nuncio_api::{Body, ObjectKey, RawObject, SourceRef};
use nuncio_model::{Entry, Origin, Reason, Severity, Unread, guard};

use super::follow::{Name, News, What};
use super::kinds::{self, Kind, KindId};
use super::trouble::{self, Trouble, server};
use crate::ChangeSet;
use crate::kept::{Content, Kept, KeptError, KeptFile, KeptObject, KeptRoot};
use crate::manifest::{self, file_resource};

/// How often in a row the API server must say no before it is believed: while it starts it knows
/// neither all rights nor all kinds.
const BELIEVED: u32 = 3;

type Objects = BTreeMap<Name, Body>;

/// One kind.
#[derive(Debug, Default)]
struct Held {
    /// None of what was kept and is not known to exist yet.
    kind: Option<Kind>,
    follower: u64,
    objects: Objects,
    /// The list that is not whole yet.
    listing: Objects,
    /// It was listed, or cannot be.
    settled: bool,
    listed: Listed,
    trouble: Option<Trouble>,
    /// Troubles since it was listed last.
    troubles: u32,
}

/// Whether a kind was ever listed, here or before this start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Listed {
    #[default]
    NotYet,
    Once,
    /// Nor can it be, so that nothing is known of its objects.
    Never,
}

impl Held {
    /// What keeps it from being read, once the API server has said so often enough.
    fn believed(&self) -> Option<&Trouble> {
        let passing = matches!(self.trouble, Some(Trouble::Forbidden(_) | Trouble::Missing))
            && self.troubles < BELIEVED;
        self.trouble.as_ref().filter(|_| !passing)
    }
}

/// Which Secrets count.
#[derive(Debug, Default)]
struct Wanted {
    /// All, before it was said which.
    names: Option<BTreeSet<SecretName>>,
    /// Those of which it is not known yet whether they are there, and which question is to say.
    unanswered: BTreeMap<SecretName, u64>,
    questions: u64,
    /// Those in the last change set, while that may not have been taken up.
    said: BTreeSet<SecretName>,
}

impl Wanted {
    fn has(&self, name: &SecretName) -> bool {
        self.names.as_ref().is_none_or(|names| names.contains(name))
    }
}

/// A Secret to be asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Question {
    pub(super) name: SecretName,
    number: u64,
}

/// When everything was known, and whether to this process.
#[derive(Clone, Copy, Debug)]
enum ReadAt {
    Here(SystemTime),
    Before(SystemTime),
}

#[derive(Debug)]
pub(super) struct State {
    url: Arc<str>,
    kinds: BTreeMap<KindId, Held>,
    followers: u64,
    /// Whether it is known which kinds there are.
    known: bool,
    /// Why that cannot be found out.
    unknown: Option<Trouble>,
    /// Why the API server as a whole is no help.
    server: Option<Trouble>,
    read_at: Option<ReadAt>,
    /// Whether what is known is all there is, or stands for it.
    flowing: bool,
    /// Whether what was kept was asked for.
    restored: bool,
    /// Why what was kept is not used.
    not_kept: Option<Entry>,
    dirty: BTreeSet<ObjectKey>,
    said: Option<Said>,
    wanted: Wanted,
}

/// The problems that stand, and what must not go unseen and was never read.
type Said = (Vec<Entry>, Vec<Unread>);

/// What follows from the definitions that there are.
#[derive(Debug, Default)]
pub(super) struct Steps {
    pub(super) stop: Vec<KindId>,
    pub(super) start: Vec<(Kind, u64)>,
}

impl State {
    pub(super) fn new(url: &str) -> Self {
        Self {
            url: url.into(),
            kinds: BTreeMap::new(),
            followers: 0,
            known: false,
            unknown: None,
            server: None,
            read_at: None,
            flowing: false,
            restored: false,
            not_kept: None,
            dirty: BTreeSet::new(),
            said: None,
            wanted: Wanted::default(),
        }
    }

    /// Takes up which kinds there are.
    pub(super) fn define(&mut self, kinds: Vec<Kind>) -> Steps {
        self.known = true;
        self.unknown = None;
        let mut steps = Steps::default();
        let now: BTreeMap<KindId, Kind> = kinds.into_iter().map(|kind| (kind.id(), kind)).collect();
        let gone: Vec<_> = self
            .kinds
            .keys()
            .filter(|id| !now.contains_key(*id))
            .cloned()
            .collect();
        for id in gone {
            if let Some(held) = self.kinds.remove(&id) {
                self.dirty
                    .extend(held.objects.keys().map(|name| key(&id, name)));
            }
            steps.stop.push(id);
        }
        for (id, kind) in now {
            let held = self.kinds.entry(id.clone()).or_default();
            if held.kind.as_ref() == Some(&kind) {
                continue;
            }
            if held.kind.is_some() {
                steps.stop.push(id);
            }
            self.followers += 1;
            held.kind = Some(kind.clone());
            held.follower = self.followers;
            held.listing = Objects::new();
            held.trouble = None;
            held.troubles = 0;
            steps.start.push((kind, self.followers));
        }
        self.look();
        steps
    }

    /// Takes up why it cannot be found out which kinds there are.
    pub(super) fn undefined(&mut self, trouble: Trouble) {
        if let Trouble::Unreachable(_) | Trouble::Unauthorized(_) = trouble {
            self.server = Some(trouble);
        } else {
            self.unknown = Some(trouble);
        }
    }

    /// The API server answers.
    pub(super) fn reached(&mut self) {
        self.server = None;
    }

    /// Whether it is to be found out when the API server answers again.
    pub(super) fn unreachable(&self) -> bool {
        self.server.is_some()
    }

    /// Takes up what became known of a kind.
    pub(super) fn take(&mut self, news: News) {
        let News {
            kind: id,
            follower,
            what,
        } = news;
        let Some(held) = self
            .kinds
            .get_mut(&id)
            .filter(|held| held.follower == follower)
        else {
            return;
        };
        let secrets = is_secrets(&id);
        if let What::Changed(name, _) | What::Deleted(name) = &what
            && secrets
        {
            // What was asked may be older.
            self.wanted.unanswered.remove(name);
            if !self.wanted.has(name) {
                return;
            }
        }
        match what {
            What::Listed(name, body) => {
                held.listing.insert(name, body);
            }
            What::Complete => {
                let mut listed = std::mem::take(&mut held.listing);
                if secrets {
                    listed.retain(|name, _| self.wanted.has(name));
                    self.wanted.unanswered.clear();
                }
                let gone = held
                    .objects
                    .keys()
                    .filter(|name| !listed.contains_key(*name));
                let new = listed
                    .iter()
                    .filter(|(name, body)| held.objects.get(*name) != Some(*body));
                let changed = gone.chain(new.map(|(name, _)| name));
                self.dirty.extend(changed.map(|name| key(&id, name)));
                held.objects = listed;
                held.settled = true;
                held.listed = Listed::Once;
                held.trouble = None;
                held.troubles = 0;
                self.look();
            }
            What::Changed(name, body) => {
                if held.objects.get(&name) != Some(&body) {
                    self.dirty.insert(key(&id, &name));
                    held.objects.insert(name, body);
                }
            }
            What::Deleted(name) => {
                if held.objects.remove(&name).is_some() {
                    self.dirty.insert(key(&id, &name));
                }
            }
            What::Trouble(trouble) => {
                held.listing = Objects::new();
                held.troubles += 1;
                if let Trouble::Unreachable(_) | Trouble::Unauthorized(_) = trouble {
                    self.server = Some(trouble);
                    return;
                }
                held.settled |=
                    matches!(trouble, Trouble::Forbidden(_)) && held.troubles >= BELIEVED;
                held.trouble = Some(trouble);
                if held.listed == Listed::NotYet && held.believed().is_some() {
                    held.listed = Listed::Never;
                }
                self.look();
            }
        }
    }

    /// Takes up which Secrets count from now on, and which are to be asked for, because nothing is
    /// known of them. `None` before anything is said. Whoever wants them may have taken up all that was.
    pub(super) fn want(
        &mut self,
        wanted: BTreeSet<SecretName>,
        all_taken_up: bool,
    ) -> Option<Vec<Question>> {
        if !self.flowing {
            return None;
        }
        if all_taken_up {
            self.wanted.said.clear();
        }
        let id = kinds::secrets().id();
        let held = self.kinds.get_mut(&id);
        // Where they are not followed, a list is to come.
        let followed = held.as_ref().is_some_and(|held| {
            let denied = matches!(held.trouble, Some(Trouble::Forbidden(_) | Trouble::Missing));
            held.settled && !denied
        });
        if let Some(held) = held {
            held.objects.retain(|name, _| wanted.contains(name));
        }
        self.dirty
            .retain(|key| secret_name(key).is_none_or(|name| wanted.contains(&name)));
        let Wanted {
            names,
            unanswered,
            questions,
            ..
        } = &mut self.wanted;
        unanswered.retain(|name, _| wanted.contains(name));
        let new = match names {
            Some(before) if followed => wanted.difference(before).cloned().collect(),
            _ => Vec::new(),
        };
        *names = Some(wanted);
        let ask = |name: SecretName| {
            *questions += 1;
            unanswered.insert(name.clone(), *questions);
            Question {
                name,
                number: *questions,
            }
        };
        Some(new.into_iter().map(ask).collect())
    }

    /// Takes up what the API server has of a Secret.
    pub(super) fn answered(&mut self, question: Question, body: Option<Body>) {
        let Question { name, number } = question;
        if self.wanted.unanswered.get(&name) != Some(&number) {
            return;
        }
        self.wanted.unanswered.remove(&name);
        let id = kinds::secrets().id();
        let (Some(body), Some(held)) = (body, self.kinds.get_mut(&id)) else {
            return;
        };
        self.dirty.insert(key(&id, &name));
        // A list under way may have been made before it was there.
        if !held.listing.is_empty() {
            held.listing.insert(name.clone(), body.clone());
        }
        held.objects.insert(name, body);
    }

    /// Whether one of these is not answered yet.
    pub(super) fn awaits(&self, asked: &[Question]) -> bool {
        let unanswered = &self.wanted.unanswered;
        asked
            .iter()
            .any(|question| unanswered.get(&question.name) == Some(&question.number))
    }

    /// Those of these Secrets that are there. They are in no change set then.
    pub(super) fn found(&mut self, asked: &[Question]) -> Vec<RawObject> {
        let id = kinds::secrets().id();
        let mut found = Vec::new();
        for Question { name, .. } in asked {
            // In the last change set it may be otherwise, and that may be taken up after this.
            let key = key(&id, name);
            match self.wanted.said.contains(name) {
                true => self.dirty.insert(key),
                false => self.dirty.remove(&key),
            };
            let body = self.kinds.get(&id).and_then(|held| held.objects.get(name));
            let object = body.and_then(|body| manifest::packed(SourceRef::Cluster, body).ok());
            found.extend(object.map(|(object, _)| object));
        }
        found
    }

    /// Sees whether everything is known now.
    fn look(&mut self) {
        if self.known && self.kinds.values().all(|held| held.settled) {
            self.read_at = Some(ReadAt::Here(SystemTime::now()));
            self.flowing = true;
            self.not_kept = None;
        }
    }

    /// Whether what was kept is to stand in for what cannot be read, be it only for now.
    pub(super) fn lacks(&self) -> bool {
        let mut of_kinds = self.kinds.values().map(|held| &held.trouble);
        let trouble = self.server.is_some()
            || self.unknown.is_some()
            || of_kinds.any(|trouble| trouble.is_some());
        trouble && !self.flowing && !self.restored
    }

    /// Has what was kept stand in.
    pub(super) fn restore(&mut self, path: &Path, kept: Result<Option<Kept>, KeptError>) {
        self.restored = true;
        let kept = match kept {
            Ok(kept) => kept.and_then(|mut kept| kept.take(Path::new(&*self.url))),
            Err(error) => {
                let origin = Origin::new(file_resource(&path.to_string_lossy()));
                let message = format!("{error}; nothing of it is used");
                let mut entry = Entry::new(&origin, Severity::Error, Reason::Unreadable, message);
                entry.help("what is kept is written anew as soon as the API server answers");
                self.not_kept = Some(entry);
                None
            }
        };
        let Some(kept) = kept else {
            return;
        };
        self.read_at = Some(ReadAt::Before(kept.read_at()));
        self.flowing = true;
        for file in kept.files {
            let Some((group, kind)) = file.name.rsplit_once('/') else {
                continue;
            };
            let id = (group.into(), kind.into());
            if self.known && !self.kinds.contains_key(&id) {
                continue;
            }
            let held = self.kinds.entry(id.clone()).or_default();
            if held.settled {
                continue;
            }
            held.listed = match file.unread.is_empty() {
                true => Listed::Once,
                false => Listed::Never,
            };
            for object in file.objects {
                let Ok((object, _)) = manifest::object(SourceRef::Cluster, object.body) else {
                    continue;
                };
                let ObjectKey {
                    namespace, name, ..
                } = object.key();
                let name = (namespace.into(), name.into());
                self.dirty.insert(key(&id, &name));
                held.objects.insert(name, object.body);
            }
        }
    }

    /// What there is to keep. A kind that was listed is kept even without objects: there were none.
    pub(super) fn content(&self) -> Content {
        let Some(ReadAt::Here(time) | ReadAt::Before(time)) = self.read_at else {
            return Content(Vec::new());
        };
        let all = self.kinds.iter();
        let known = all.filter(|(_, held)| held.listed != Listed::NotYet);
        let files = known.map(|((group, kind), held)| KeptFile {
            name: format!("{group}/{kind}"),
            objects: held
                .objects
                .values()
                .map(|body| KeptObject {
                    document: 0,
                    item: None,
                    body: body.clone(),
                })
                .collect(),
            unread: match held.listed {
                Listed::Never => vec![kind.to_string()],
                Listed::NotYet | Listed::Once => Vec::new(),
            },
        });
        let root = KeptRoot::new(Path::new(&*self.url).to_owned(), time, files.collect());
        Content(vec![root])
    }

    /// Whether there is something to say.
    pub(super) fn is_dirty(&self) -> bool {
        let now = (self.troubles(), self.unread());
        if !self.flowing && self.said.is_none() && now.0.is_empty() {
            return false;
        }
        self.flowing && !self.dirty.is_empty() || self.said.as_ref() != Some(&now)
    }

    /// What changed since the last time.
    pub(super) fn changes(&mut self) -> ChangeSet {
        let now = (self.troubles(), self.unread());
        self.said = Some(now.clone());
        let (problems, unread) = now;
        let mut changes = ChangeSet {
            problems,
            unread,
            ..ChangeSet::default()
        };
        if !self.flowing {
            return changes;
        }
        let dirty = std::mem::take(&mut self.dirty);
        self.wanted.said = dirty.iter().filter_map(secret_name).collect();
        for key in dirty {
            let id = (key.group.as_str().into(), key.kind.as_str().into());
            let name = (key.namespace.as_str().into(), key.name.as_str().into());
            let body = self.kinds.get(&id).and_then(|held| held.objects.get(&name));
            let object = body.and_then(|body| manifest::packed(SourceRef::Cluster, body).ok());
            match object {
                Some((object, _)) => changes.upserted.push(object),
                None => changes.deleted.push(key),
            }
        }
        changes
    }

    fn troubles(&self) -> Vec<Entry> {
        let mut entries: Vec<Entry> = self.not_kept.iter().cloned().collect();
        let all = self.kinds.values().map(|held| held.objects.len()).sum();
        if let Some(trouble) = &self.server {
            entries.extend(trouble.of_server(&self.url, &self.consequence(all)));
        }
        if let Some(trouble) = &self.unknown {
            let message = format!(
                "does not say which kinds it has: {}; {}",
                trouble.message(),
                self.consequence(all)
            );
            let severity = Severity::Error;
            entries.push(Entry::new(
                &server(&self.url),
                severity,
                Reason::Unreadable,
                message,
            ));
        }
        for held in self.kinds.values() {
            if let (Some(kind), Some(trouble)) = (&held.kind, held.believed()) {
                let consequence = self.consequence(held.objects.len());
                entries.extend(trouble.of_kind(&kind.resource, &consequence));
            }
        }
        entries
    }

    fn unread(&self) -> Vec<Unread> {
        let all = self.kinds.iter();
        let never = all.filter(|(_, held)| held.listed == Listed::Never);
        never
            .filter_map(|((group, kind), _)| {
                let guard = match (&**group, &**kind) {
                    (GROUP, kind) => guard(kind)?,
                    // Annotations of Services have any kind. Of Ingresses too, but who has none may
                    // well not read them.
                    ("", "Service") => "AuthService",
                    _ => return None,
                };
                let resource = ApiResource::from_gvk(&GroupVersionKind::gvk(group, "", kind));
                Some(Unread {
                    kind: guard,
                    origin: trouble::resource(&resource),
                })
            })
            .collect()
    }

    /// What it means that so many objects cannot be read anew.
    fn consequence(&self, objects: usize) -> String {
        match self.read_at {
            _ if objects == 0 => "nothing of it is in effect".to_owned(),
            Some(ReadAt::Before(time)) => format!(
                "what was read from it before this start ({objects} objects, {}) stays in effect",
                httpdate::fmt_http_date(time)
            ),
            Some(ReadAt::Here(_)) => {
                format!("what was last read from it ({objects} objects) stays in effect")
            }
            None => "nothing of it is in effect until all is read".to_owned(),
        }
    }
}

fn key((group, kind): &KindId, (namespace, name): &Name) -> ObjectKey {
    ObjectKey {
        group: group.to_string(),
        kind: kind.to_string(),
        namespace: namespace.to_string(),
        name: name.to_string(),
    }
}

fn is_secrets((group, kind): &KindId) -> bool {
    group.is_empty() && &**kind == "Secret"
}

/// If it is a Secret, which.
fn secret_name(key: &ObjectKey) -> Option<SecretName> {
    let is_secret = key.group.is_empty() && key.kind == "Secret";
    is_secret.then(|| (key.namespace.as_str().into(), key.name.as_str().into()))
}

#[cfg(test)]
mod tests;
