//! The conversion webhook: objects of one version as objects of another.
//!
//! What has no counterpart in the other version is kept in its spec, as Emissary does it
//! ([`nuncio_api::getambassador::conversion`]). Only `ambassador_id` is kept beside it: an object
//! that was written as v2 and is read and written back as v3alpha1, as when its status is, would
//! otherwise come out with ids that v2's readers take for somebody else's.

use kube::core::Status;
use kube::core::conversion::{ConversionRequest, ConversionResponse, ConversionReview};
use nuncio_api::getambassador::GROUP;
use nuncio_api::getambassador::conversion::{
    ID_PREFIX, Version, from_v3alpha1, to_v3alpha1, versions,
};
use serde_json::{Map, Value};

/// How the ids of an object of v3alpha1 were written in v2.
pub const IDS_ANNOTATION: &str = "getambassador.io/v2-ambassador-id";

/// The fields of v2 that have ids.
const IDS: [&str; 2] = ["ambassador_id", "ambassadorId"];

/// Why an object cannot be converted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConvertError {
    #[error("\"{0}\" is no version of {GROUP}")]
    NotOurs(String),
    #[error("{kind} has no version {version}")]
    NoVersion { kind: String, version: String },
}

/// Answers the API server. Either all objects are converted or none.
pub fn review(review: ConversionReview) -> ConversionReview {
    let Ok(mut request) = ConversionRequest::from_review(review) else {
        return ConversionResponse::invalid(failure("there is no request in the review"))
            .into_review();
    };
    let objects = std::mem::take(&mut request.objects);
    let desired = request.desired_api_version.clone();
    let response = ConversionResponse::for_request(request);
    let converted: Result<Vec<Value>, ConvertError> = objects
        .into_iter()
        .map(|object| convert(object, &desired))
        .collect();
    match converted {
        Ok(objects) => response.success(objects),
        Err(error) => {
            tracing::error!("cannot convert to {desired}: {error}");
            response.failure(failure(&error.to_string()))
        }
    }
    .into_review()
}

fn failure(message: &str) -> Status {
    Status::failure(message, "BadRequest")
}

/// One object in another version.
pub fn convert(mut object: Value, api_version: &str) -> Result<Value, ConvertError> {
    let text = |object: &Value, field: &str| {
        let text = object.get(field).and_then(Value::as_str);
        text.unwrap_or_default().to_owned()
    };
    let kind = text(&object, "kind");
    let from = version(&kind, &text(&object, "apiVersion"))?;
    let to = version(&kind, api_version)?;
    let older = |version| version != Version::V3alpha1;
    let Some(fields) = object.as_object_mut() else {
        return Ok(object);
    };
    fields.insert("apiVersion".to_owned(), api_version.into());
    // v1 and v2 have the same fields.
    if older(from) == older(to) {
        return Ok(object);
    }
    let spec = fields.remove("spec");
    let spec = if older(to) {
        let kept = take_ids(fields);
        spec.map(|spec| with_ids(&kind, to, spec, kept))
    } else {
        if let Some(ids) = spec.as_ref().and_then(ids_to_keep) {
            keep_ids(fields, &ids);
        }
        spec.map(|spec| to_v3alpha1(&kind, from, spec).spec)
    };
    fields.extend(spec.map(|spec| ("spec".to_owned(), spec)));
    Ok(object)
}

fn version(kind: &str, api_version: &str) -> Result<Version, ConvertError> {
    let Some((GROUP, version)) = api_version.rsplit_once('/') else {
        return Err(ConvertError::NotOurs(api_version.to_owned()));
    };
    Version::parse(version)
        .filter(|version| *version != Version::V0 && versions(kind).contains(version))
        .ok_or_else(|| ConvertError::NoVersion {
            kind: kind.to_owned(),
            version: version.to_owned(),
        })
}

/// The ids of a spec of v2, unless it was written as v3alpha1.
fn ids_to_keep(spec: &Value) -> Option<Value> {
    let ids = spec.get("ambassador_id").and_then(Value::as_array);
    let prefixed = |id: &Value| id.as_str().is_some_and(|id| id.starts_with(ID_PREFIX));
    if spec.get("ambassadorId").is_none()
        && ids.is_some_and(|ids| !ids.is_empty() && ids.iter().all(prefixed))
    {
        return None;
    }
    let kept = IDS
        .iter()
        .filter_map(|name| Some(((*name).to_owned(), spec.get(*name)?.clone())));
    Some(Value::Object(kept.collect()))
}

fn keep_ids(object: &mut Map<String, Value>, ids: &Value) {
    let Some(Value::Object(metadata)) = object.get_mut("metadata") else {
        return;
    };
    let annotations = metadata.entry("annotations").or_insert(Value::Null);
    if annotations.is_null() {
        *annotations = Value::Object(Map::new());
    }
    if let Value::Object(annotations) = annotations {
        annotations.insert(IDS_ANNOTATION.to_owned(), ids.to_string().into());
    }
}

fn take_ids(object: &mut Map<String, Value>) -> Option<Value> {
    let metadata = object.get_mut("metadata")?.as_object_mut()?;
    let annotations = metadata.get_mut("annotations")?.as_object_mut()?;
    let kept = annotations.remove(IDS_ANNOTATION)?;
    if annotations.is_empty() {
        metadata.remove("annotations");
    }
    serde_json::from_str(kept.as_str()?).ok()
}

/// The spec in an older version, with its ids as they once were if they still mean the same.
fn with_ids(kind: &str, to: Version, spec: Value, kept: Option<Value>) -> Value {
    let same = |kept: &Value| {
        let meant = to_v3alpha1(kind, to, kept.clone()).spec;
        meant.get("ambassador_id") == spec.get("ambassador_id")
    };
    let kept = kept.filter(same);
    let mut spec = from_v3alpha1(kind, to, spec);
    if let (Some(Value::Object(kept)), Value::Object(fields)) = (kept, &mut spec) {
        fields.remove("ambassador_id");
        let ids = kept
            .into_iter()
            .filter(|(name, _)| IDS.contains(&name.as_str()));
        fields.extend(ids);
    }
    spec
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn object(version: &str, spec: Value) -> Value {
        json!({
            "apiVersion": format!("{GROUP}/{version}"),
            "kind": "Mapping",
            "metadata": {"name": "m", "annotations": {"a": "b"}},
            "spec": spec,
            "status": {"state": "Running"},
        })
    }

    fn to(object: &Value, version: &str) -> Value {
        convert(object.clone(), &format!("{GROUP}/{version}")).unwrap()
    }

    #[test]
    fn an_object_of_v2_comes_back_with_its_ids() {
        for ids in [
            json!({}),
            json!({"ambassador_id": "a"}),
            json!({"ambassador_id": ["a", "b"]}),
            json!({"ambassador_id": []}),
        ] {
            let mut spec = ids;
            spec["prefix"] = "/".into();
            let old = object("v2", spec);
            let new = to(&old, "v3alpha1");
            assert_eq!(new["status"], old["status"]);
            assert_eq!(to(&new, "v2"), old);
            assert_eq!(to(&new, "v1"), to(&old, "v1"));
        }
    }

    #[test]
    fn ids_that_changed_since_are_those_of_v3alpha1() {
        let mut new = to(&object("v2", json!({"ambassador_id": "a"})), "v3alpha1");
        new["spec"]["ambassador_id"] = json!(["b"]);
        let old = to(&new, "v2");
        assert_eq!(
            old["spec"]["ambassador_id"],
            json!([format!("{ID_PREFIX}b")])
        );
        assert_eq!(old["metadata"]["annotations"], json!({"a": "b"}));
    }

    #[test]
    fn an_object_of_v3alpha1_has_nothing_added() {
        let new = object(
            "v3alpha1",
            json!({"ambassador_id": ["default"], "hostname": "*", "prefix": "/"}),
        );
        assert_eq!(to(&to(&new, "v2"), "v3alpha1"), new);
        assert_eq!(to(&to(&new, "v1"), "v3alpha1"), new);
    }

    #[test]
    fn what_cannot_be_converted_is_said() {
        let refused = |object: &Value, to: &str| convert(object.clone(), to).unwrap_err();
        let mapping = object("v2", json!({}));
        assert_eq!(
            refused(&mapping, "x/v2").to_string(),
            "\"x/v2\" is no version of getambassador.io"
        );
        assert_eq!(
            refused(&mapping, "getambassador.io/v0").to_string(),
            "Mapping has no version v0"
        );
        let mut host = mapping;
        host["kind"] = "Host".into();
        assert_eq!(
            refused(&host, "getambassador.io/v1").to_string(),
            "Host has no version v1"
        );
        let review = review(
            serde_json::from_value(json!({
                "apiVersion": "apiextensions.k8s.io/v1", "kind": "ConversionReview",
                "request": {"uid": "u", "desiredAPIVersion": "getambassador.io/v1", "objects": [host]},
            }))
            .unwrap(),
        );
        let response = serde_json::to_value(review).unwrap()["response"].take();
        assert_eq!(response["uid"], "u");
        assert_eq!(response["result"]["status"], "Failure");
        assert_eq!(response["result"]["message"], "Host has no version v1");
    }
}
