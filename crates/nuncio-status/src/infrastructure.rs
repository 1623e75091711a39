//! Keeps in the cluster what is to stand there for Gateways: looks at what is served last, and writes
//! what does not stand there as it is to.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::time::{Duration, Instant};

use kube::api::{
    ApiResource, DeleteParams, DynamicObject, GroupVersionKind, Patch, PatchParams, Preconditions,
};
use kube::{Api, Client, ResourceExt};
use nuncio_model::ResourceId;
use nuncio_sources::cluster::Standings;
use nuncio_translate::gateway_api::{Generated, is_generated};
use serde_json::json;
use tokio::sync::watch;
use tokio::time::{sleep_until, timeout};

use crate::of_error;
use crate::scene::Scene;
use crate::trouble::Troubles;

/// Whose fields the API server takes them for.
const FIELD_MANAGER: &str = "nuncio-gateways";

/// Longest wait for one answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// The same is not written again sooner: until then it is on its way back, and who writes over it again
/// and again is answered so often.
const PAUSE: Duration = Duration::from_secs(5);

/// Stands in the place of a digest.
const DELETED: u64 = 0;

pub(crate) struct Keeper {
    pub(crate) client: Client,
    pub(crate) standings: Standings,
    pub(crate) troubles: Troubles,
    /// What was written last of each, and when.
    pub(crate) written: HashMap<Arc<ResourceId>, (u64, Instant)>,
}

impl Keeper {
    pub(crate) async fn run(
        mut self,
        mut scenes: watch::Receiver<Arc<Scene>>,
        mut until: watch::Receiver<Option<Instant>>,
    ) {
        loop {
            let leads = until
                .borrow_and_update()
                .filter(|until| *until > Instant::now());
            let again = match leads {
                Some(until) => {
                    let scene = Arc::clone(&scenes.borrow_and_update());
                    self.keep(&scene, until).await
                }
                None => None,
            };
            let wait = async {
                match again {
                    Some(again) => sleep_until(again.into()).await,
                    None => std::future::pending().await,
                }
            };
            let gone = tokio::select! {
                changed = until.changed() => changed,
                changed = scenes.changed() => changed,
                () = wait => Ok(()),
            };
            if gone.is_err() {
                return;
            }
        }
    }

    /// Writes what differs. Returns when to look again, if something is left.
    async fn keep(&mut self, scene: &Scene, until: Instant) -> Option<Instant> {
        let infrastructure = &scene.infrastructure;
        let mut again: Option<Instant> = None;
        let mut later = |time: Instant| again = Some(again.map_or(time, |again| again.min(time)));
        for object in infrastructure
            .objects
            .iter()
            .filter(|object| !object.stands)
        {
            let now = Instant::now();
            let digest = digest(object);
            let before = self.written.get(&object.id);
            let due = before.filter(|(before, _)| *before == digest);
            if let Some((_, since)) = due.filter(|(_, since)| *since + PAUSE > now) {
                later(*since + PAUSE);
                continue;
            }
            if now >= until {
                return Some(now + PAUSE);
            }
            self.written.insert(Arc::clone(&object.id), (digest, now));
            self.write(object).await;
            // Until it is seen that it stands.
            later(now + PAUSE);
        }
        for id in &infrastructure.obsolete {
            let now = Instant::now();
            let before = self
                .written
                .get(id)
                .filter(|(digest, _)| *digest == DELETED);
            let due = before.map(|(_, since)| *since + PAUSE);
            if let Some(due) = due.filter(|due| *due > now) {
                later(due);
                continue;
            }
            if now >= until {
                return Some(now + PAUSE);
            }
            self.written.insert(Arc::clone(id), (DELETED, now));
            self.delete(id).await;
            later(now + PAUSE);
        }
        let known = |id: &Arc<ResourceId>| {
            infrastructure.objects.iter().any(|object| object.id == *id)
                || infrastructure.obsolete.contains(id)
        };
        self.written.retain(|id, _| known(id));
        again
    }

    async fn write(&self, object: &Generated) {
        let id = &object.id;
        match timeout(PATIENCE, self.try_to_write(object)).await {
            Ok(Ok(true)) => {
                tracing::info!("wrote {id} for {}", object.owner);
                self.say(id, None);
            }
            Ok(Ok(false)) => {}
            Ok(Err(error)) => {
                tracing::warn!("cannot write {id} for {}: {error}", object.owner);
                self.say(id, Some(&error));
            }
            Err(_) => tracing::debug!(%id, "writing it takes too long"),
        }
    }

    /// Whether it was: one of this name that is somebody's may be there and not known yet.
    async fn try_to_write(&self, object: &Generated) -> kube::Result<bool> {
        let Some(owner) = self.standings.get(&object.owner) else {
            return Ok(false);
        };
        let api = self.api(&object.id);
        let found = api.get_opt(&object.id.name).await?;
        if found
            .as_ref()
            .is_some_and(|found| !is_generated(found.labels()))
        {
            return Ok(false);
        }
        let mut body = object.body.clone();
        body["metadata"]["ownerReferences"] = json!([{
            "apiVersion": "gateway.networking.k8s.io/v1", "kind": &*object.owner.kind,
            "name": &*object.owner.name, "uid": owner.uid.to_string(),
        }]);
        if let Some(uid) = found.and_then(|found| found.metadata.uid) {
            body["metadata"]["uid"] = uid.into();
        }
        let params = PatchParams::apply(FIELD_MANAGER).force();
        let patch = Patch::Apply(&body);
        api.patch(&object.id.name, &params, &patch).await?;
        Ok(true)
    }

    async fn delete(&self, id: &ResourceId) {
        // One that was made anew by now is another.
        let uid = self
            .standings
            .get(id)
            .map(|standing| standing.uid.to_string());
        let params = DeleteParams {
            preconditions: uid.map(|uid| Preconditions {
                uid: Some(uid),
                ..Preconditions::default()
            }),
            ..DeleteParams::default()
        };
        let api = self.api(id);
        match timeout(PATIENCE, api.delete(&id.name, &params)).await {
            Ok(Ok(_)) => {
                tracing::info!("deleted {id}, which is of no use any more");
                self.say(id, None);
            }
            Ok(Err(kube::Error::Api(status))) if status.code == 404 => {}
            Ok(Err(error)) => {
                tracing::warn!("cannot delete {id}: {error}");
                self.say(id, Some(&error));
            }
            Err(_) => tracing::debug!(%id, "deleting it takes too long"),
        }
    }

    fn api(&self, id: &ResourceId) -> Api<DynamicObject> {
        let kind = GroupVersionKind::gvk(&id.group, "v1", &id.kind);
        let resource = ApiResource::from_gvk(&kind);
        Api::namespaced_with(self.client.clone(), &id.namespace, &resource)
    }

    fn say(&self, id: &ResourceId, error: Option<&kube::Error>) {
        let resources = match &*id.kind {
            "Service" => "services",
            _ => "endpointslices",
        };
        let forbidden =
            error.filter(|error| matches!(error, kube::Error::Api(status) if status.code == 403));
        if error.is_none() || forbidden.is_some() {
            let right = (&*id.group, resources, "get, create, patch, delete");
            of_error(&self.troubles, forbidden, right);
        }
    }
}

fn digest(object: &Generated) -> u64 {
    let mut hasher = DefaultHasher::new();
    object.body.to_string().hash(&mut hasher);
    hasher.finish().max(DELETED + 1)
}
