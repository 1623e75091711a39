//! Objects of the cluster, as `kubectl apply` and `kubectl delete` would change them.

use anyhow::{Context, ensure};
use futures::{StreamExt, TryStreamExt, stream};
use kube::api::{
    ApiResource, DeleteParams, DynamicObject, GroupVersionKind, Patch, PatchParams, PostParams,
};
use kube::discovery::{Scope, pinned_kind};
use kube::{Api, Client};
use nuncio_api::yaml;
use serde_json::Value;
use tokio::time::{Instant, sleep};

use crate::{DEADLINE, Kubernetes, LOOK};

const FIELD_MANAGER: &str = "test";

/// How many objects are created at a time.
const AT_ONCE: usize = 32;

impl Kubernetes {
    /// Applies the objects of a text of YAML documents, in their order. What was defined just now
    /// is waited for.
    pub async fn apply(&self, manifests: &str) -> anyhow::Result<()> {
        let client = self.client().await?;
        for body in documents(manifests)? {
            let object: DynamicObject = serde_json::from_value(body)?;
            let name = name_of(&object)?;
            let params = PatchParams::apply(FIELD_MANAGER).force();
            let api = self.api_of(&client, &object).await?;
            let deadline = Instant::now() + DEADLINE;
            loop {
                match api.patch(&name, &params, &Patch::Apply(&object)).await {
                    Ok(_) => break,
                    Err(kube::Error::Api(status)) if status.is_not_found() => {
                        ensure!(Instant::now() < deadline, "{name}: {status}");
                        sleep(LOOK).await;
                    }
                    Err(error) => return Err(error).context(name),
                }
            }
        }
        Ok(())
    }

    /// Deletes the objects of a text of YAML documents; those that are not there are passed over.
    pub async fn delete(&self, manifests: &str) -> anyhow::Result<()> {
        let client = self.client().await?;
        for body in documents(manifests)? {
            let object: DynamicObject = serde_json::from_value(body)?;
            let name = name_of(&object)?;
            let api = self.api_of(&client, &object).await?;
            match api.delete(&name, &DeleteParams::default()).await {
                Ok(_) => {}
                Err(kube::Error::Api(status)) if status.is_not_found() => {}
                Err(error) => return Err(error).context(name),
            }
        }
        Ok(())
    }

    /// Creates objects of kinds that the API server has by now, many at a time.
    pub async fn create(&self, objects: impl IntoIterator<Item = Value>) -> anyhow::Result<()> {
        let client = self.client().await?;
        let create = |body: Value| {
            let client = client.clone();
            async move {
                let object: DynamicObject = serde_json::from_value(body)?;
                let name = name_of(&object)?;
                let types = object.types.as_ref().context("an object has a kind")?;
                let resource = ApiResource::from_gvk(&GroupVersionKind::try_from(types)?);
                let namespace = object.metadata.namespace.as_deref().unwrap_or("default");
                let api: Api<DynamicObject> = Api::namespaced_with(client, namespace, &resource);
                let created = api.create(&PostParams::default(), &object).await;
                created.map(drop).context(name)
            }
        };
        stream::iter(objects)
            .map(create)
            .buffer_unordered(AT_ONCE)
            .try_collect()
            .await
    }

    async fn api_of(
        &self,
        client: &Client,
        object: &DynamicObject,
    ) -> anyhow::Result<Api<DynamicObject>> {
        let types = object.types.as_ref().context("an object has a kind")?;
        let gvk = GroupVersionKind::try_from(types)?;
        let deadline = Instant::now() + DEADLINE;
        let (resource, capabilities) = loop {
            match pinned_kind(client, &gvk).await {
                Ok(found) => break found,
                Err(error) => {
                    ensure!(Instant::now() < deadline, "{gvk:?}: {error}");
                    sleep(LOOK).await;
                }
            }
        };
        let namespace = object.metadata.namespace.as_deref().unwrap_or("default");
        Ok(match capabilities.scope {
            Scope::Cluster => Api::all_with(client.clone(), &resource),
            Scope::Namespaced => Api::namespaced_with(client.clone(), namespace, &resource),
        })
    }
}

fn documents(manifests: &str) -> anyhow::Result<Vec<Value>> {
    yaml::documents(manifests).context("manifests of a test")
}

fn name_of(object: &DynamicObject) -> anyhow::Result<String> {
    object.metadata.name.clone().context("an object has a name")
}
