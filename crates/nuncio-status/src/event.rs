//! Events: what a person should see of a resource where `kubectl describe` shows it.
//!
//! One that says the same of the same object is the same Event, also after a restart: its name is made
//! of what it says. Most are said by the status too, so that those beyond the pace are not said.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::{Duration, Instant};

use k8s_openapi::api::core::v1::ObjectReference;
use k8s_openapi::api::events::v1::Event;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use k8s_openapi::jiff::Timestamp;
use kube::api::{ApiResource, ObjectMeta, Patch, PatchParams, PostParams};
use kube::{Api, Client};
use nuncio_model::ResourceId;
use serde_json::json;
use tokio::sync::mpsc;
use tokio::time::timeout;
use uuid::Uuid;

use crate::queue::Bucket;

/// So many in a second, and so many at once.
const PACE: u32 = 2;
const BURST: u32 = 50;

/// So many wait.
const QUEUE: usize = 256;

/// Longest wait for one answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// How long the API server keeps Events.
const KEPT: Duration = Duration::from_secs(3600);

/// What the API server takes of a note, in bytes, and of a name.
const LONGEST_NOTE: usize = 1024;
const LONGEST_NAME: usize = 200;

/// Who says it.
const CONTROLLER: &str = "getambassador.io/nuncio";

/// What is to be said of an object.
#[derive(Clone, Debug)]
pub(crate) struct Said {
    pub(crate) about: ResourceId,
    pub(crate) uid: Uuid,
    pub(crate) resource: ApiResource,
    pub(crate) is_warning: bool,
    pub(crate) reason: String,
    pub(crate) note: String,
}

/// Where to say it.
#[derive(Clone, Debug)]
pub(crate) struct Events(mpsc::Sender<Said>);

impl Events {
    /// Dropped where too much is said already.
    pub(crate) fn say(&self, said: Said) {
        let _ = self.0.try_send(said);
    }

    /// Starts to say things in the name of `instance`; `trouble` hears why that cannot be.
    pub(crate) fn start(
        client: Client,
        instance: String,
        trouble: impl Fn(Option<&kube::Error>) + Send + 'static,
    ) -> Self {
        let (sender, mut said) = mpsc::channel::<Said>(QUEUE);
        tokio::spawn(async move {
            let mut bucket = Bucket::new(PACE, BURST, Instant::now());
            let mut known: HashMap<String, (Instant, i32)> = HashMap::new();
            while let Some(said) = said.recv().await {
                let now = Instant::now();
                if !bucket.take(now) {
                    tracing::debug!(about = %said.about, note = said.note, "no Event: too many");
                    continue;
                }
                known.retain(|_, (at, _)| now - *at < KEPT);
                let name = name(&said);
                let times = known.get(&name).map_or(1, |(_, times)| times + 1);
                known.insert(name.clone(), (now, times));
                match timeout(PATIENCE, publish(&client, &instance, &name, &said, times)).await {
                    Ok(Ok(())) => trouble(None),
                    Ok(Err(error)) => trouble(Some(&error)),
                    Err(_) => tracing::debug!("an Event takes too long"),
                }
            }
        });
        Self(sender)
    }
}

async fn publish(
    client: &Client,
    instance: &str,
    name: &str,
    said: &Said,
    times: i32,
) -> kube::Result<()> {
    let api: Api<Event> = Api::namespaced(client.clone(), &said.about.namespace);
    let event = event(instance, name, said);
    match api.create(&PostParams::default(), &event).await {
        Err(kube::Error::Api(status)) if status.code == 409 => {
            // It is there, of this process or of one before.
            if times < 2 {
                return Ok(());
            }
            let series = json!({"series": {
                "count": times, "lastObservedTime": MicroTime(Timestamp::now()),
            }});
            let params = PatchParams::default();
            api.patch(name, &params, &Patch::Merge(series)).await?;
            Ok(())
        }
        // The object or its namespace is going.
        Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
        made => made.map(|_| ()),
    }
}

fn name(said: &Said) -> String {
    let mut hasher = DefaultHasher::new();
    (said.uid, said.is_warning, &said.reason, &said.note).hash(&mut hasher);
    let object = cut(&said.about.name, LONGEST_NAME);
    format!("{object}.{:016x}", hasher.finish())
}

fn event(instance: &str, name: &str, said: &Said) -> Event {
    Event {
        metadata: ObjectMeta {
            name: Some(name.to_owned()),
            namespace: Some(said.about.namespace.to_string()),
            ..ObjectMeta::default()
        },
        action: Some("Configure".to_owned()),
        event_time: Some(MicroTime(Timestamp::now())),
        note: Some(cut(&said.note, LONGEST_NOTE).to_owned()),
        reason: Some(said.reason.clone()),
        regarding: Some(ObjectReference {
            api_version: Some(said.resource.api_version.clone()),
            kind: Some(said.resource.kind.clone()),
            namespace: Some(said.about.namespace.to_string()),
            name: Some(said.about.name.to_string()),
            uid: Some(said.uid.to_string()),
            ..ObjectReference::default()
        }),
        reporting_controller: Some(CONTROLLER.to_owned()),
        reporting_instance: Some(cut(instance, 128).to_owned()),
        type_: Some(if said.is_warning { "Warning" } else { "Normal" }.to_owned()),
        ..Event::default()
    }
}

/// At most so many bytes.
fn cut(text: &str, most: usize) -> &str {
    &text[..text.floor_char_boundary(most)]
}

#[cfg(test)]
mod tests {
    use kube::api::GroupVersionKind;

    use super::*;

    fn said(note: &str) -> Said {
        let gvk = GroupVersionKind::gvk("getambassador.io", "v3alpha1", "Mapping");
        Said {
            about: ResourceId::new("getambassador.io", "Mapping", "default", "a".repeat(253)),
            uid: Uuid::nil(),
            resource: ApiResource::from_gvk_with_plural(&gvk, "mappings"),
            is_warning: true,
            reason: "InvalidValue".to_owned(),
            note: note.to_owned(),
        }
    }

    #[test]
    fn the_name_is_made_of_what_is_said() {
        assert_eq!(name(&said("a")), name(&said("a")));
        assert_ne!(name(&said("a")), name(&said("b")));
        let mut other = said("a");
        other.is_warning = false;
        assert_ne!(name(&said("a")), name(&other));
        assert!(name(&said("a")).len() <= 253);
    }

    #[test]
    fn a_note_is_as_long_as_the_api_server_takes_it() {
        let event = event("pod", "a.1", &said(&"é".repeat(1000)));
        assert_eq!(event.note.unwrap().len(), 1024);
        assert_eq!(event.type_.as_deref(), Some("Warning"));
    }
}
