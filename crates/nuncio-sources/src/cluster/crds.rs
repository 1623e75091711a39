//! Which custom kinds there are: follows the CustomResourceDefinitions.
//!
//! Only their names are watched, because a definition is large; those that matter are then read.
//! Where nuncio may not watch them, it looks at what the API server serves from time to time.

use std::collections::BTreeMap;
use std::time::Duration;

use futures::StreamExt;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{ApiResource, GroupVersionKind, PartialObjectMeta};
use kube::runtime::utils::StreamBackoff;
use kube::runtime::watcher::{self, watcher};
use kube::{Api, Client, ResourceExt};
use serde::Deserialize;
use tokio::sync::mpsc;

use super::follow::backoff;
use super::kinds::{CUSTOM_GROUPS, Kind, preferred};
use super::trouble::Trouble;

/// Between two looks where there are no events.
const POLL: Duration = Duration::from_secs(30);

/// Between two tries at most.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// What becomes known.
#[derive(Debug)]
pub(super) enum Definitions {
    /// Every custom kind that there is.
    Known(Vec<Kind>),
    /// They cannot be found out.
    Trouble(Trouble),
}

/// Says which custom kinds there are, and again whenever that changes.
pub(super) async fn follow(client: Client, known: mpsc::Sender<Definitions>) {
    let mut pauses = backoff(LONGEST_PAUSE);
    loop {
        let Some(trouble) = until_trouble(&client, &known).await else {
            return;
        };
        let pause = if let Trouble::Forbidden(message) = &trouble {
            tracing::debug!(message, "CustomResourceDefinitions cannot be watched");
            match served(&client).await {
                Ok(kinds) => {
                    if known.send(Definitions::Known(kinds)).await.is_err() {
                        return;
                    }
                    Some(POLL)
                }
                Err(error) => {
                    let trouble = Trouble::of(&error);
                    if known.send(Definitions::Trouble(trouble)).await.is_err() {
                        return;
                    }
                    pauses.next()
                }
            }
        } else {
            if known.send(Definitions::Trouble(trouble)).await.is_err() {
                return;
            }
            pauses.next()
        };
        tokio::time::sleep(pause.unwrap_or(LONGEST_PAUSE)).await;
    }
}

/// Follows the definitions until there is trouble; `None` when nobody listens any more.
async fn until_trouble(client: &Client, known: &mpsc::Sender<Definitions>) -> Option<Trouble> {
    let api: Api<PartialObjectMeta<CustomResourceDefinition>> = Api::all(client.clone());
    let events = watcher(api, watcher::Config::default());
    let mut events = std::pin::pin!(StreamBackoff::new(events, backoff(LONGEST_PAUSE)));
    let mut kinds: BTreeMap<String, Kind> = BTreeMap::new();
    let mut listed: BTreeMap<String, Kind> = BTreeMap::new();
    let mut complete = false;
    while let Some(event) = events.next().await {
        match event {
            Ok(watcher::Event::Init) => {
                listed.clear();
                continue;
            }
            Ok(watcher::Event::InitApply(definition)) => {
                let name = definition.name_any();
                if !is_custom(&name) {
                    continue;
                }
                match kind_of(client, &name).await {
                    Ok(kind) => listed.extend(kind.map(|kind| (name, kind))),
                    Err(error) => return Some(Trouble::of(&error)),
                }
                continue;
            }
            Ok(watcher::Event::InitDone) => {
                kinds = std::mem::take(&mut listed);
                complete = true;
            }
            Ok(watcher::Event::Apply(definition)) => {
                let name = definition.name_any();
                if !is_custom(&name) {
                    continue;
                }
                let kind = match kind_of(client, &name).await {
                    Ok(kind) => kind,
                    Err(error) => return Some(Trouble::of(&error)),
                };
                let same = kinds.get(&name) == kind.as_ref();
                match kind {
                    Some(kind) => kinds.insert(name, kind),
                    None => kinds.remove(&name),
                };
                if same {
                    continue;
                }
            }
            Ok(watcher::Event::Delete(definition)) => {
                if kinds.remove(&definition.name_any()).is_none() {
                    continue;
                }
            }
            Err(error) => {
                let trouble = Trouble::of_watcher(&error);
                let passing = matches!(trouble, Trouble::Unreachable(_) | Trouble::Refused(_));
                if !complete || !passing {
                    return Some(trouble);
                }
                continue;
            }
        }
        let all = kinds.values().cloned().collect();
        if known.send(Definitions::Known(all)).await.is_err() {
            return None;
        }
    }
    None
}

/// Whether a definition, `PLURAL.GROUP`, is of a group that matters.
fn is_custom(name: &str) -> bool {
    name.split_once('.')
        .is_some_and(|(_, group)| CUSTOM_GROUPS.contains(&group))
}

/// A CustomResourceDefinition without its schemas.
#[derive(Deserialize)]
struct Definition {
    spec: DefinitionSpec,
    #[serde(default)]
    status: DefinitionStatus,
}

#[derive(Deserialize)]
struct DefinitionSpec {
    group: String,
    scope: String,
    names: DefinitionNames,
    versions: Vec<DefinitionVersion>,
}

#[derive(Deserialize)]
struct DefinitionNames {
    kind: String,
    plural: String,
}

#[derive(Deserialize)]
struct DefinitionVersion {
    name: String,
    served: bool,
}

#[derive(Default, Deserialize)]
struct DefinitionStatus {
    #[serde(default)]
    conditions: Vec<Condition>,
}

#[derive(Deserialize)]
struct Condition {
    #[serde(rename = "type")]
    type_: String,
    status: String,
}

/// The kind that a definition makes; `None` if it makes none, or not yet.
async fn kind_of(client: &Client, name: &str) -> kube::Result<Option<Kind>> {
    let path = format!("/apis/apiextensions.k8s.io/v1/customresourcedefinitions/{name}");
    let request = http::Request::get(path)
        .body(Vec::new())
        .map_err(kube::Error::HttpError)?;
    let definition: Definition = match client.request(request).await {
        Ok(definition) => definition,
        Err(kube::Error::Api(status)) if status.is_not_found() => return Ok(None),
        Err(error) => return Err(error),
    };
    Ok(definition.kind())
}

impl Definition {
    fn kind(&self) -> Option<Kind> {
        let Self { spec, status } = self;
        let established =
            |condition: &Condition| condition.type_ == "Established" && condition.status == "True";
        if !status.conditions.iter().any(established) {
            return None;
        }
        let served = spec.versions.iter().filter(|version| version.served);
        let served: Vec<_> = served.map(|version| version.name.as_str()).collect();
        let gvk = GroupVersionKind::gvk(&spec.group, preferred(&served)?, &spec.names.kind);
        Some(Kind {
            resource: ApiResource::from_gvk_with_plural(&gvk, &spec.names.plural),
            namespaced: spec.scope == "Namespaced",
            fields: None,
        })
    }
}

/// The custom kinds that the API server says it serves.
async fn served(client: &Client) -> kube::Result<Vec<Kind>> {
    let groups = client.list_api_groups().await?;
    let groups = groups.groups.into_iter();
    let mut kinds = Vec::new();
    for group in groups.filter(|group| CUSTOM_GROUPS.contains(&group.name.as_str())) {
        let mut versions_of: BTreeMap<String, Vec<(String, String, bool)>> = BTreeMap::new();
        for version in &group.versions {
            let resources = client
                .list_api_group_resources(&version.group_version)
                .await?;
            // Subresources have a slash.
            let whole = resources
                .resources
                .into_iter()
                .filter(|resource| !resource.name.contains('/'));
            for resource in whole {
                let versions = versions_of.entry(resource.kind).or_default();
                versions.push((version.version.clone(), resource.name, resource.namespaced));
            }
        }
        for (kind, versions) in versions_of {
            let served: Vec<_> = versions
                .iter()
                .map(|(version, ..)| version.as_str())
                .collect();
            let chosen = preferred(&served);
            let found = versions
                .iter()
                .find(|(version, ..)| Some(version.as_str()) == chosen);
            kinds.extend(found.map(|(version, plural, namespaced)| Kind {
                resource: ApiResource::from_gvk_with_plural(
                    &GroupVersionKind::gvk(&group.name, version, &kind),
                    plural,
                ),
                namespaced: *namespaced,
                fields: None,
            }));
        }
    }
    Ok(kinds)
}
