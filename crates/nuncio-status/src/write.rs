//! One status, written.

use std::time::Duration;

use kube::api::{ApiResource, DynamicObject, GetParams, Patch, PatchParams};
use kube::core::Request;
use kube::{Client, Resource as _};
use nuncio_api::status::Status;
use nuncio_model::ResourceId;
use serde::de::IgnoredAny;
use serde_json::json;
use tokio::time::timeout;

/// Whose fields the API server takes them for.
const FIELD_MANAGER: &str = "nuncio";

/// Longest wait for one answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// What came of it.
#[derive(Debug)]
pub(crate) enum Outcome {
    Written,
    /// The object is not there any more.
    Gone,
    /// The kind has no status, as most of Emissary's CRDs.
    NoStatus,
    /// The kind's status does not have the fields.
    UnknownFields(String),
    Forbidden(String),
    /// Everything is to wait, for as long as the API server says.
    Busy(Option<Duration>),
    Unreachable,
    /// This object only, because of what it is to say.
    Refused(String),
    /// This object only, for now.
    Failed(String),
}

/// What an object's status says, whoever wrote it, and which version of the object that is.
pub(crate) struct Current {
    pub(crate) status: Status,
    version: Option<String>,
}

/// Reads the status of an object.
pub(crate) async fn read(
    client: &Client,
    resource: &ApiResource,
    id: &ResourceId,
) -> Result<Current, Outcome> {
    let path = DynamicObject::url_path(resource, namespace(id));
    let request = Request::new(path).get(&id.name, &GetParams::default());
    let request = request.map_err(|error| Outcome::Refused(error.to_string()))?;
    match timeout(PATIENCE, client.request::<DynamicObject>(request)).await {
        Ok(Ok(object)) => Ok(Current {
            version: object.metadata.resource_version,
            status: object
                .data
                .get("status")
                .and_then(|status| serde_json::from_value(status.clone()).ok())
                .unwrap_or_default(),
        }),
        Ok(Err(kube::Error::Api(status))) if status.code == 404 => Err(Outcome::Gone),
        Ok(Err(error)) => Err(outcome(&error)),
        Err(_) => Err(Outcome::Unreachable),
    }
}

fn namespace(id: &ResourceId) -> Option<&str> {
    (!id.namespace.is_empty()).then_some(&*id.namespace)
}

/// Writes a status by server-side apply. What others wrote into it stays. One that was made of another
/// is written only over that.
pub(crate) async fn write(
    client: &Client,
    resource: &ApiResource,
    id: &ResourceId,
    status: &Status,
    over: Option<&Current>,
) -> Outcome {
    let mut metadata = json!({"name": &*id.name});
    if let Some(namespace) = namespace(id) {
        metadata["namespace"] = namespace.into();
    }
    if let Some(version) = over.and_then(|over| over.version.as_deref()) {
        metadata["resourceVersion"] = version.into();
    }
    let mut body = json!({
        "apiVersion": resource.api_version,
        "kind": resource.kind,
        "metadata": metadata,
    });
    // An empty one would become null, which is no status.
    if *status != Status::default() {
        body["status"] = json!(status);
    }
    let path = DynamicObject::url_path(resource, namespace(id));
    let params = PatchParams::apply(FIELD_MANAGER).force();
    let patch = Patch::Apply(&body);
    let request = match Request::new(path).patch_subresource("status", &id.name, &params, &patch) {
        Ok(request) => request,
        Err(error) => return Outcome::Refused(error.to_string()),
    };
    match timeout(PATIENCE, client.request::<IgnoredAny>(request)).await {
        Ok(Ok(_)) => Outcome::Written,
        Ok(Err(error)) => match outcome(&error) {
            // The API server says the same of an object that is not there.
            Outcome::NoStatus if has_status(client, resource).await => Outcome::Gone,
            outcome => outcome,
        },
        Err(_) => Outcome::Unreachable,
    }
}

/// Whether a kind has a status, as far as can be found out.
async fn has_status(client: &Client, resource: &ApiResource) -> bool {
    let served = client.list_api_group_resources(&resource.api_version);
    let status = format!("{}/status", resource.plural);
    match timeout(PATIENCE, served).await {
        Ok(Ok(served)) => served.resources.iter().any(|served| served.name == status),
        _ => true,
    }
}

fn outcome(error: &kube::Error) -> Outcome {
    let kube::Error::Api(status) = error else {
        tracing::debug!(%error, "the API server does not answer");
        return Outcome::Unreachable;
    };
    let details = status.details.as_ref();
    let wait = details.map_or(0, |details| details.retry_after_seconds);
    let wait = (wait > 0).then(|| Duration::from_secs(wait.into()));
    match status.code {
        404 | 405 => Outcome::NoStatus,
        403 => Outcome::Forbidden(status.message.clone()),
        401 => Outcome::Unreachable,
        429 | 503 | 504 => Outcome::Busy(wait),
        _ if status.message.contains("field not declared in schema") => {
            Outcome::UnknownFields(status.message.clone())
        }
        409 | 500.. => Outcome::Failed(status.message.clone()),
        _ => Outcome::Refused(status.message.clone()),
    }
}

#[cfg(test)]
mod tests {
    use kube::core::Status;

    use super::*;

    fn of(status: serde_json::Value) -> Outcome {
        let status: Status = serde_json::from_value(status).unwrap();
        outcome(&kube::Error::Api(Box::new(status)))
    }

    #[test]
    fn what_an_answer_means() {
        assert!(matches!(of(json!({"code": 404})), Outcome::NoStatus));
        let busy = of(json!({"code": 429, "details": {"retryAfterSeconds": 7}}));
        assert!(matches!(busy, Outcome::Busy(Some(wait)) if wait == Duration::from_secs(7)));
        assert!(matches!(of(json!({"code": 503})), Outcome::Busy(None)));
        assert!(matches!(of(json!({"code": 403})), Outcome::Forbidden(_)));
        assert!(matches!(of(json!({"code": 422})), Outcome::Refused(_)));
        assert!(matches!(of(json!({"code": 500})), Outcome::Failed(_)));
        let unknown = json!({
            "code": 500,
            "message": "failed to create typed patch object: .status.conditions: field not \
                        declared in schema",
        });
        assert!(matches!(of(unknown), Outcome::UnknownFields(_)));
    }
}
