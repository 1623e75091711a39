//! The loop: takes up what is another, and writes it when its turn comes.

use std::collections::{HashMap, HashSet};
use std::future::pending;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use k8s_openapi::jiff::Timestamp;
use kube::api::ApiResource;
use nuncio_api::gateway_api;
use nuncio_api::status::Status;
use nuncio_model::ResourceId;
use nuncio_sources::cluster::Standing;
use tokio::sync::{mpsc, watch};
use tokio::time::sleep_until;

use crate::desired::{self, IN_EFFECT, Verdict, as_emissary};
use crate::event::{Events, Said};
use crate::merge::merge;
use crate::queue::{Bucket, Queue, Urgency};
use crate::scene::{Index, Scene, entries_changed};
use crate::trouble::Troubles;
use crate::write::{Outcome, read, write};
use crate::{Config, Figures, Written, of_error};

/// So many objects are looked at before anything else has its turn.
const CHUNK: usize = 1000;

/// How long a kind waits that may not be written.
const KIND_WAITS: Duration = Duration::from_secs(30);

/// Of so many objects it is remembered what was written last.
const MOST_REMEMBERED: usize = 10_000;

/// How often it is seen whether a kind is defined otherwise.
const PLACES_LOOKED_FOR: Duration = Duration::from_secs(600);

/// How long everything waits when the API server does not answer, at first and at most.
const FIRST_PAUSE: Duration = Duration::from_millis(500);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// A burst is so many seconds' worth.
const BURST: u32 = 5;

pub(crate) struct Writer {
    config: Config,
    troubles: Troubles,
    figures: Arc<Figures>,
    events: Events,
    scene: Arc<Scene>,
    index: Index,
    queue: Queue,
    bucket: Bucket,
    /// What is still to be looked at of all that there is.
    scan: Vec<ResourceId>,
    /// Objects written anew in changes that no scene has yet.
    written: Vec<Written>,
    kinds: HashMap<Arc<str>, OfKind>,
    /// Digests of what was written last.
    last: HashMap<Arc<ResourceId>, u64>,
    /// Digests of the objects whose status is nuncio's: ids would be many times as large.
    own: HashSet<u64>,
    /// Objects that were nuncio's, and still say so.
    left: HashSet<Arc<ResourceId>>,
    /// When it is seen whether kinds have a place by then for what they had none.
    places_anew: Option<Instant>,
    /// Nothing is written until then.
    pause: Option<Instant>,
    pauses: u32,
}

/// What is known of how a kind can be written.
#[derive(Debug, Default)]
struct OfKind {
    place: Place,
    waits: Option<Instant>,
    /// Those that wait with it.
    parked: Vec<Arc<ResourceId>>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Place {
    #[default]
    All,
    /// As in Emissary's CRDs.
    Emissarys,
    None,
}

impl Writer {
    pub(crate) fn new(config: Config, troubles: Troubles, figures: Arc<Figures>) -> Self {
        let per_second = config.writes_per_second;
        let of_events = troubles.clone();
        let instance = config.candidate.identity.clone();
        let events = Events::start(config.client.clone(), instance, move |error| {
            of_error(
                &of_events,
                error,
                ("events.k8s.io", "events", "create, patch"),
            );
        });
        Self {
            bucket: Bucket::new(per_second, per_second.saturating_mul(BURST), Instant::now()),
            config,
            troubles,
            figures,
            events,
            scene: Arc::default(),
            index: Index::default(),
            queue: Queue::default(),
            scan: Vec::new(),
            written: Vec::new(),
            kinds: HashMap::new(),
            last: HashMap::new(),
            own: HashSet::new(),
            left: HashSet::new(),
            places_anew: None,
            pause: None,
            pauses: 0,
        }
    }

    pub(crate) async fn run(
        mut self,
        mut scenes: watch::Receiver<Arc<Scene>>,
        mut objects: mpsc::UnboundedReceiver<Written>,
        mut until: watch::Receiver<Option<Instant>>,
    ) {
        let standings = self.config.standings.clone();
        loop {
            let now = Instant::now();
            let leads_until = until.borrow_and_update().filter(|until| *until > now);
            if leads_until.is_some() != self.figures.leads() {
                self.lead(leads_until.is_some());
                scenes.mark_changed();
            }
            if leads_until.is_none() {
                // What becomes known meanwhile is looked at when this replica leads.
                tokio::select! {
                    changed = until.changed() => if changed.is_err() { return },
                    () = standings.changed() => drop(standings.take_changed()),
                    Some(_) = objects.recv() => {}
                }
                continue;
            }
            self.look();
            self.figures
                .waiting
                .store(self.queue.len() + self.scan.len(), Ordering::Relaxed);
            let due = self.due(Instant::now());
            let step = async {
                match due {
                    Some(due) => sleep_until(due.into()).await,
                    None => pending().await,
                }
            };
            let over = async {
                match leads_until {
                    Some(until) => sleep_until(until.into()).await,
                    None => pending().await,
                }
            };
            tokio::select! {
                changed = until.changed() => if changed.is_err() { return },
                () = over => {}
                changed = scenes.changed() => {
                    if changed.is_err() {
                        return;
                    }
                    let scene = Arc::clone(&scenes.borrow_and_update());
                    self.take_up(scene);
                }
                Some(written) = objects.recv() => self.written.push(written),
                () = standings.changed(), if self.scene.change > 0 => {
                    let changed = standings.take_changed();
                    self.scan.extend(changed);
                }
                () = step => self.step().await,
            }
        }
    }

    /// Begins to lead, or ends.
    fn lead(&mut self, leads: bool) {
        self.figures.leads.store(leads, Ordering::Relaxed);
        self.queue.clear();
        self.kinds.clear();
        self.last.clear();
        self.own.clear();
        self.left.clear();
        self.places_anew = None;
        self.written.clear();
        self.scan.clear();
        self.scene = Arc::default();
        self.index = Index::default();
        self.figures.waiting.store(0, Ordering::Relaxed);
        if leads {
            tracing::info!("this replica writes status and Events");
        } else {
            tracing::info!("this replica writes neither status nor Events any more");
        }
    }

    /// Goes on to another scene.
    fn take_up(&mut self, scene: Arc<Scene>) {
        if scene.change == 0 {
            return;
        }
        let first = self.scene.change == 0;
        let before = std::mem::replace(&mut self.scene, scene);
        self.say(&before);
        let changed = self.index.update(&before, &self.scene);
        if first {
            self.scan = self.config.standings.all();
            return;
        }
        for id in changed {
            self.consider(&id);
        }
    }

    /// Looks at some of what is to be looked at.
    fn look(&mut self) {
        if self.scene.change == 0 {
            return;
        }
        let change = self.scene.change;
        let known = self
            .written
            .extract_if(.., |written| written.change <= change);
        let known: Vec<_> = known.flat_map(|written| written.objects).collect();
        self.scan.extend(known);
        let rest = self.scan.len().saturating_sub(CHUNK);
        for id in self.scan.split_off(rest) {
            self.consider(&Arc::new(id));
        }
    }

    /// Puts an object into the queue if its status says something else than it is to.
    fn consider(&mut self, id: &Arc<ResourceId>) {
        let status = desired::status(&self.scene, &self.index, id);
        self.note_whose(id, status.is_some());
        let Some((status, standing)) = self.compared(id, status) else {
            self.left.remove(id);
            return;
        };
        let said = standing
            .condition
            .as_ref()
            .map(|condition| condition.digest);
        let same = said.is_some() && said == status.accepted().map(|condition| condition.digest());
        let urgency = if same { Urgency::Later } else { Urgency::Soon };
        self.queue.push(id, urgency);
    }

    /// Notes whether an object's status is nuncio's, or was.
    fn note_whose(&mut self, id: &Arc<ResourceId>, own: bool) {
        let mut hasher = DefaultHasher::new();
        id.hash(&mut hasher);
        let digest = hasher.finish();
        if own {
            self.own.insert(digest);
            self.left.remove(id);
        } else if !self.index.is_ingress(id)
            && self.own.remove(&digest)
            && self.config.standings.get(id).is_some()
        {
            self.left.insert(Arc::clone(id));
        }
    }

    /// What an object's status is to say, if that is not what it says.
    fn differs(&self, id: &ResourceId) -> Option<(Status, Standing)> {
        self.compared(id, desired::status(&self.scene, &self.index, id))
    }

    fn compared(&self, id: &ResourceId, status: Option<Status>) -> Option<(Status, Standing)> {
        let of_kind = self.kinds.get(&id.kind);
        let place = of_kind.map_or(Place::All, |of_kind| of_kind.place);
        if place == Place::None || (&*id.kind == "Mapping" && !self.config.mappings) {
            return None;
        }
        let standing = self.config.standings.get(id)?;
        // What nuncio wrote is taken back once; then it may be another's.
        let taken_back = || self.left.contains(id).then(Status::default);
        let mut status = status.or_else(taken_back)?;
        if place == Place::Emissarys {
            status = as_emissary(&status);
        }
        (status.digest() != standing.digest).then_some((status, standing))
    }

    /// When there is something to do.
    fn due(&self, now: Instant) -> Option<Instant> {
        if self.scene.change == 0 {
            return None;
        }
        if !self.scan.is_empty() {
            return Some(now);
        }
        let waits = self
            .kinds
            .values()
            .filter_map(|of_kind| of_kind.waits)
            .min();
        let queued = self.queue.due(now).map(|due| {
            let due = due.max(self.bucket.due(now));
            self.pause.map_or(due, |pause| due.max(pause))
        });
        queued
            .into_iter()
            .chain(waits)
            .chain(self.places_anew)
            .min()
    }

    /// Writes one status.
    async fn step(&mut self) {
        let now = Instant::now();
        for of_kind in self.kinds.values_mut() {
            if of_kind.waits.is_some_and(|waits| waits <= now) {
                of_kind.waits = None;
                for id in of_kind.parked.drain(..) {
                    self.queue.push(&id, Urgency::Later);
                }
            }
        }
        if self.places_anew.is_some_and(|anew| anew <= now) {
            self.places_anew = None;
            for of_kind in self.kinds.values_mut() {
                of_kind.place = Place::All;
            }
            self.scan = self.config.standings.all();
        }
        if self.pause.is_some_and(|pause| pause > now) || !self.scan.is_empty() {
            return;
        }
        self.pause = None;
        while let Some(id) = self.queue.pop(now) {
            let Some((mut status, standing)) = self.differs(&id) else {
                self.queue.settled(&id);
                self.left.remove(&id);
                continue;
            };
            let of_kind = self.kinds.entry(Arc::clone(&id.kind)).or_default();
            if of_kind.waits.is_some() {
                of_kind.parked.push(id);
                continue;
            }
            if !self.bucket.take(now) {
                self.queue.push(&id, Urgency::Soon);
                return;
            }
            if !gateway_api::is_group(&id.group) {
                with_times(&mut status, &standing);
            }
            self.write(&id, &status, &standing).await;
            return;
        }
    }

    /// A status of the Gateway API has parts of others beside nuncio's own, and many times.
    async fn write_over(
        &self,
        resource: &ApiResource,
        id: &ResourceId,
        status: &Status,
    ) -> Outcome {
        let client = &self.config.client;
        if !gateway_api::is_group(&id.group) {
            return write(client, resource, id, status, None).await;
        }
        match read(client, resource, id).await {
            Ok(current) => {
                let merged = merge(status.clone(), &current.status, now());
                write(client, resource, id, &merged, Some(&current)).await
            }
            Err(outcome) => outcome,
        }
    }

    async fn write(&mut self, id: &Arc<ResourceId>, status: &Status, standing: &Standing) {
        let Some(resource) = self.config.standings.resource(id) else {
            return;
        };
        let outcome = self.write_over(&resource, id, status).await;
        let now = Instant::now();
        tracing::debug!(%id, ?outcome, "wrote its status");
        if let Outcome::Busy(_) | Outcome::Unreachable = outcome {
            let pause = FIRST_PAUSE * 2u32.saturating_pow(self.pauses.min(16));
            let asked = match outcome {
                Outcome::Busy(asked) => asked.unwrap_or_default(),
                _ => Duration::ZERO,
            };
            self.pause = Some(now + pause.min(LONGEST_PAUSE).max(asked));
            self.pauses += 1;
            self.queue.push(id, Urgency::Soon);
            return;
        }
        self.pauses = 0;
        let of_kind = self.kinds.entry(Arc::clone(&id.kind)).or_default();
        match outcome {
            Outcome::Written => {
                self.left.remove(id);
                self.figures.writes.fetch_add(1, Ordering::Relaxed);
                self.troubles.written(&resource);
                if of_kind.place == Place::All {
                    self.troubles.defined(&resource);
                }
                let standing = Standing::new(standing.uid, status);
                if self.last.len() >= MOST_REMEMBERED {
                    self.last.clear();
                }
                // Somebody wrote over it. Who does it again and again is answered ever later.
                match self.last.insert(Arc::clone(id), standing.digest) {
                    Some(before) if before == standing.digest => self.queue.failed(id, now, None),
                    _ => self.queue.settled(id),
                }
                self.config.standings.written(id, standing);
            }
            Outcome::Gone => {
                self.left.remove(id);
                self.queue.settled(id);
            }
            Outcome::NoStatus => {
                self.places_anew.get_or_insert(now + PLACES_LOOKED_FOR);
                of_kind.place = Place::None;
                self.troubles.undefined(&resource, "a status");
            }
            Outcome::UnknownFields(message) => {
                let place = match of_kind.place {
                    Place::All if matches!(&*id.kind, "Host" | "Mapping") => Place::Emissarys,
                    _ => Place::None,
                };
                self.places_anew.get_or_insert(now + PLACES_LOOKED_FOR);
                tracing::debug!(message, kind = &*id.kind, "fields are not defined");
                of_kind.place = place;
                self.troubles.undefined(&resource, "conditions in a status");
                self.queue.push(id, Urgency::Soon);
            }
            Outcome::Forbidden(message) => {
                of_kind.waits = Some(now + KIND_WAITS);
                of_kind.parked.push(Arc::clone(id));
                let status = format!("{}/status", resource.plural);
                self.troubles
                    .forbidden(&resource.group, &status, "patch", &message);
            }
            Outcome::Refused(message) => {
                tracing::warn!(
                    "the status of {id} cannot be written, and is tried again: {message}"
                );
                self.queue.failed(id, now, None);
            }
            Outcome::Failed(message) => {
                tracing::debug!(%id, message, "its status cannot be written, and is tried again");
                self.queue.failed(id, now, None);
            }
            Outcome::Busy(_) | Outcome::Unreachable => {}
        }
    }

    /// Says in Events what is new in a scene.
    fn say(&self, before: &Scene) {
        for id in entries_changed(before, &self.scene) {
            let was = Verdict::of_entries(before.entries(&id));
            let is = Verdict::of_entries(self.scene.entries(&id));
            let silent = is.reason == IN_EFFECT && was.accepted;
            if silent || (was.reason, &was.message) == (is.reason.clone(), &is.message) {
                continue;
            }
            let parent = self
                .scene
                .parents
                .get(&id)
                .or_else(|| before.parents.get(&id));
            let about = parent.unwrap_or(&id);
            let standings = &self.config.standings;
            let (Some(standing), Some(resource)) =
                (standings.get(about), standings.resource(about))
            else {
                continue;
            };
            // What is said no more may be gone, or be for another nuncio.
            if is.reason == IN_EFFECT && (parent.is_some() || !self.scene.has(&id)) {
                continue;
            }
            let note = match parent {
                Some(_) => format!("{id}: {}", is.message),
                None => is.message,
            };
            self.events.say(Said {
                about: about.clone(),
                uid: standing.uid,
                resource,
                is_warning: is.reason != IN_EFFECT,
                reason: is.reason,
                note,
            });
        }
    }
}

/// The API server keeps whole seconds.
fn now() -> Timestamp {
    Timestamp::from_second(Timestamp::now().as_second()).unwrap_or_default()
}

/// Since when it is as it is.
fn with_times(status: &mut Status, standing: &Standing) {
    let Some(condition) = status.conditions.first_mut() else {
        return;
    };
    let accepted = condition.status == "True";
    let before = standing.condition.as_ref();
    let since = before
        .filter(|before| before.accepted == accepted)
        .and_then(|before| before.since);
    let since = since.unwrap_or_else(now).to_string();
    if status.state.as_deref() == Some("Error") {
        status.error_timestamp = Some(since.clone());
    }
    condition.last_transition_time = Some(since);
}
