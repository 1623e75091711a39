//! The validating webhook: refuses what would not be in effect whatever else there is, with the
//! words of `nuncio check`.

use std::sync::Arc;

use nuncio_api::getambassador::conversion::ID_PREFIX;
use nuncio_api::{Body, ObjectMeta, RawObject, SourceRef};
use nuncio_model::{Entry, Reason, Severity};
use nuncio_translate::{Scope, Settings, Store};
use serde::Deserialize;
use serde_json::{Value, json};

/// A question of the API server, `admission.k8s.io/v1`.
#[derive(Deserialize)]
pub struct AdmissionReview {
    request: AdmissionRequest,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct AdmissionRequest {
    uid: String,
    #[serde(default)]
    object: Value,
    #[serde(default)]
    old_object: Value,
}

/// What is said of an object.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verdict {
    /// Why it is refused; it is taken if there is nothing.
    pub refusals: Vec<String>,
    /// What is shown to who wrote it.
    pub warnings: Vec<String>,
}

/// Answers the API server.
pub fn review(review: AdmissionReview) -> Value {
    let AdmissionRequest {
        uid,
        object,
        old_object,
    } = review.request;
    let old = Some(&old_object).filter(|old| !old.is_null());
    let verdict = judge(&object, old);
    let mut response = json!({
        "uid": uid,
        "allowed": verdict.refusals.is_empty(),
        "warnings": verdict.warnings,
    });
    if !verdict.refusals.is_empty() {
        response["status"] = json!({
            "status": "Failure",
            "reason": "Invalid",
            "code": 422,
            "message": verdict.refusals.join("\n"),
        });
    }
    json!({
        "apiVersion": "admission.k8s.io/v1",
        "kind": "AdmissionReview",
        "response": response,
    })
}

/// Judges an object that takes the place of `old`. What was wrong before may stay so: whoever
/// changes something else, a label or a finalizer, is not held up by it.
pub fn judge(object: &Value, old: Option<&Value>) -> Verdict {
    let leaving = object.pointer("/metadata/deletionTimestamp").is_some();
    let same = old.is_some_and(|old| old.get("spec") == object.get("spec"));
    if leaving || same {
        return Verdict::default();
    }
    let before: Vec<Entry> = old.map(entries).unwrap_or_default();
    let known = |entry: &Entry| {
        let said = |old: &Entry| (&old.field, &old.message) == (&entry.field, &entry.message);
        let part = part(&entry.field);
        before.iter().any(said) && old.and_then(|old| old.pointer(&part)) == object.pointer(&part)
    };
    let mut verdict = Verdict::default();
    for entry in entries(object) {
        match entry.severity {
            Severity::Error if of_itself(&entry) && !known(&entry) => {
                verdict.refusals.push(entry.to_string());
            }
            Severity::Error | Severity::Warning if tells(&entry) => {
                verdict.warnings.push(entry.to_string());
            }
            _ => {}
        }
    }
    verdict
}

/// The part of an object that a field stands in, up to the first list or odd name on the way, as a
/// JSON pointer.
fn part(field: &str) -> String {
    let (names, _) = field.split_once('[').unwrap_or((field, ""));
    names
        .split('.')
        .fold(String::new(), |pointer, name| pointer + "/" + name)
}

/// Whether nothing else in a cluster could make it right.
fn of_itself(entry: &Entry) -> bool {
    matches!(entry.reason, Reason::InvalidValue | Reason::MissingField)
}

/// Whether it is worth saying, though the object alone was looked at.
fn tells(entry: &Entry) -> bool {
    matches!(
        entry.reason,
        Reason::InvalidValue
            | Reason::MissingField
            | Reason::NoEffect
            | Reason::NotSupported
            | Reason::UnknownField
    )
}

/// What `nuncio check` would say of an object alone, for the gateway that it is meant for.
fn entries(object: &Value) -> Vec<Entry> {
    let id = first_id(object);
    let Some(object) = raw(object) else {
        return Vec::new();
    };
    let scope = Scope {
        ambassador_id: id.unwrap_or_else(|| "default".to_owned()),
        namespace: object.meta.namespace.clone(),
        ..Scope::default()
    };
    let settings = Settings::new(&scope);
    let key = object.key();
    let mut store = Store::new(scope);
    store.apply(vec![object], &[]);
    let unread = |path: &str| Err(format!("{path} is not looked at"));
    let translation = nuncio_translate::translate(&mut store, &settings, unread);
    let about = |entry: &&Entry| {
        let resource = &entry.resource;
        let key = (&*key.group, &*key.kind, &*key.name);
        // Files are the gateway's, not this server's.
        let of_file = |file: &Arc<str>| entry.message.contains(&**file);
        (&*resource.group, &*resource.kind, &*resource.name) == key
            && !translation.files.iter().any(of_file)
    };
    let entries = translation.report.entries().iter();
    entries.filter(about).cloned().collect()
}

fn raw(object: &Value) -> Option<RawObject> {
    let text = |field: &str| Some(object.get(field)?.as_str()?.to_owned());
    let meta = object.get("metadata")?;
    Some(RawObject {
        api_version: text("apiVersion")?.into(),
        kind: text("kind")?.into(),
        meta: Arc::new(ObjectMeta::deserialize(meta).ok()?),
        body: Body::from(object),
        source: SourceRef::File {
            path: Arc::from(""),
            document: 0,
            item: None,
        },
    })
}

fn first_id(body: &Value) -> Option<String> {
    let ids = body.pointer("/spec/ambassador_id")?;
    let id = ids.as_str().or_else(|| ids.get(0)?.as_str())?;
    Some(id.strip_prefix(ID_PREFIX).unwrap_or(id).to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mapping(spec: Value) -> Value {
        json!({
            "apiVersion": "getambassador.io/v3alpha1",
            "kind": "Mapping",
            "metadata": {"name": "m", "namespace": "n"},
            "spec": spec,
        })
    }

    #[test]
    fn what_would_never_work_is_refused_in_words_that_help() {
        let wrong =
            mapping(json!({"hostname": "*", "prefix": "(", "prefix_regex": true, "service": "a"}));
        let verdict = judge(&wrong, None);
        let [refusal] = &verdict.refusals[..] else {
            panic!("{verdict:?}");
        };
        assert!(
            refusal.starts_with("Mapping n/m: spec.prefix: "),
            "{refusal}"
        );
        assert!(refusal.ends_with("[InvalidValue]"), "{refusal}");
    }

    #[test]
    fn what_depends_on_others_is_taken() {
        let fine = mapping(json!({
            "hostname": "a.example", "prefix": "/", "service": "nowhere", "tls": "no-such-context",
            "resolver": "no-such-resolver", "ambassador_id": ["other"],
        }));
        assert_eq!(judge(&fine, None).refusals, [""; 0]);
    }

    #[test]
    fn an_object_for_another_gateway_is_looked_at_too() {
        let wrong = mapping(
            json!({"ambassador_id": ["other"], "prefix": "/", "service": "a", "weight": -1}),
        );
        assert_eq!(judge(&wrong, None).refusals.len(), 1);
    }

    #[test]
    fn what_was_wrong_before_may_stay_so() {
        let old = mapping(json!({"hostname": "*", "prefix": "/", "service": "a", "weight": -1}));
        let mut labelled = old.clone();
        labelled["metadata"]["labels"] = json!({"a": "b"});
        assert_eq!(judge(&labelled, Some(&old)), Verdict::default());

        let mut changed = old.clone();
        changed["spec"]["service"] = "b".into();
        let verdict = judge(&changed, Some(&old));
        assert_eq!(verdict.refusals, [""; 0]);
        assert_eq!(verdict.warnings.len(), 1, "{verdict:?}");

        changed["spec"]["weight"] = json!(-2);
        assert_eq!(judge(&changed, Some(&old)).refusals.len(), 1);

        changed["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z".into();
        assert_eq!(judge(&changed, Some(&old)), Verdict::default());
    }

    #[test]
    fn fields_are_named_as_they_are_written() {
        let mut wrong = mapping(
            json!({"host": "(", "host_regex": true, "prefix": "/", "service": "a", "v3StatsName": 3}),
        );
        wrong["apiVersion"] = "getambassador.io/v2".into();
        let refusals = judge(&wrong, None).refusals.join("\n");
        assert!(refusals.contains("spec.v3StatsName"), "{refusals}");
    }

    #[test]
    fn what_is_no_object_is_taken() {
        for odd in [json!(null), json!({}), json!({"metadata": 3}), json!([1])] {
            assert_eq!(judge(&odd, None), Verdict::default());
        }
    }
}
