//! Keeps in the cluster what is to stand there for Gateways: looks at what is served last, and writes
//! what does not stand there as it is to.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::time::{Duration, Instant};

use kube::api::{
    ApiResource, DeleteParams, DynamicObject, GroupVersionKind, Patch, PatchParams, Preconditions,
};
use kube::{Api, Client};
use nuncio_model::ResourceId;
use nuncio_sources::cluster::Standings;
use nuncio_translate::gateway_api::Generated;
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
            let before = self.written.get(id).map(|(_, since)| *since + PAUSE);
            if let Some(due) = before.filter(|due| *due > now) {
                later(due);
                continue;
            }
            if now >= until {
                return Some(now + PAUSE);
            }
            self.written.insert(Arc::clone(id), (0, now));
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
        let Some(owner) = self.standings.get(&object.owner) else {
            return;
        };
        let mut body = object.body.clone();
        body["metadata"]["ownerReferences"] = json!([{
            "apiVersion": "gateway.networking.k8s.io/v1", "kind": &*object.owner.kind,
            "name": &*object.owner.name, "uid": owner.uid.to_string(),
        }]);
        let params = PatchParams::apply(FIELD_MANAGER).force();
        let patch = Patch::Apply(&body);
        let api = self.api(&object.id);
        let written = timeout(PATIENCE, api.patch(&object.id.name, &params, &patch)).await;
        match written {
            Ok(Ok(_)) => {
                tracing::info!("wrote {} for {}", object.id, object.owner);
                self.say(&object.id, None);
            }
            Ok(Err(error)) => {
                tracing::warn!("cannot write {} for {}: {error}", object.id, object.owner);
                self.say(&object.id, Some(&error));
            }
            Err(_) => tracing::debug!(id = %object.id, "writing it takes too long"),
        }
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
            let right = (&*id.group, resources, "create, patch, delete");
            of_error(&self.troubles, forbidden, right);
        }
    }
}

fn digest(object: &Generated) -> u64 {
    let mut hasher = DefaultHasher::new();
    object.body.to_string().hash(&mut hasher);
    // Never that of something deleted.
    hasher.finish().max(1)
}
