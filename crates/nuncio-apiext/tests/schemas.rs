//! What Emissary's CRDs take ours take too, and keep; and what nuncio serves is not refused.

#![allow(clippy::unwrap_used)]

#[path = "support/cases.rs"]
mod cases;

use std::collections::BTreeSet;

use nuncio_api::getambassador::crd::{CrdOptions, WebhookService, crds};
use nuncio_api::yaml::documents;
use nuncio_apiext::validate::judge;
use serde_json::Value;

/// Emissary takes them, and neither Emissary nor nuncio does anything with such an object.
const REFUSED_ON_PURPOSE: &[&str] = &["Listener v3alpha1 spec: a rule that Emissary has not"];

fn ours() -> Vec<Value> {
    crds(&CrdOptions {
        conversion: Some(WebhookService {
            namespace: "emissary-system".to_owned(),
            name: "emissary-apiext".to_owned(),
            port: 443,
        }),
    })
}

fn emissarys() -> Vec<Value> {
    documents(include_str!("emissary/crds.yaml")).unwrap()
}

fn versions(crd: &Value) -> impl Iterator<Item = (&str, &Value)> {
    let versions = crd["spec"]["versions"].as_array().unwrap();
    versions.iter().map(|version| {
        let schema = &version["schema"]["openAPIV3Schema"];
        (version["name"].as_str().unwrap(), schema)
    })
}

fn keeps_unknown(schema: &Value) -> bool {
    schema["x-kubernetes-preserve-unknown-fields"] == true
}

/// Where `ours` takes or keeps less than `theirs`.
fn narrower(ours: &Value, theirs: &Value, path: &str, found: &mut Vec<String>) {
    let mut note = |what: &str| found.push(format!("{path}: {what}"));
    if ours.get("x-kubernetes-validations").is_some() {
        note("a rule that Emissary has not");
    }
    match (ours.get("type"), theirs.get("type")) {
        (None, Some(type_))
            if ours["x-kubernetes-int-or-string"] == true
                && type_ != "string"
                && type_ != "integer" =>
        {
            note("another type");
        }
        (None, _) => {}
        (Some(our_type), their_type) if Some(our_type) != their_type => note("another type"),
        _ => {}
    }
    if let Some(values) = ours["enum"].as_array() {
        let theirs = theirs["enum"].as_array();
        if theirs.is_none_or(|theirs| theirs.iter().any(|value| !values.contains(value))) {
            note("fewer values");
        }
    }
    let required = |schema: &Value| -> BTreeSet<String> {
        let names = schema["required"].as_array().into_iter().flatten();
        names
            .map(|name| name.as_str().unwrap().to_owned())
            .collect()
    };
    if !required(ours).is_subset(&required(theirs)) {
        note("more is required");
    }
    for bound in [
        "minimum",
        "maximum",
        "pattern",
        "minItems",
        "minProperties",
        "maxProperties",
        "default",
    ] {
        if ours.get(bound).is_some() && ours.get(bound) != theirs.get(bound) {
            note(bound);
        }
    }
    if keeps_unknown(theirs) && !keeps_unknown(ours) {
        note("unknown fields are dropped");
    }
    let fields = |schema: &'static str, of: &Value| of.get(schema).cloned();
    let (our_fields, their_fields) = (fields("properties", ours), fields("properties", theirs));
    for (name, schema) in their_fields.iter().filter_map(Value::as_object).flatten() {
        let path = format!("{path}.{name}");
        match our_fields.as_ref().and_then(|fields| fields.get(name)) {
            Some(field) => narrower(field, schema, &path, found),
            None if keeps_unknown(ours) => {}
            None => found.push(format!("{path}: it is dropped")),
        }
    }
    for each in ["items", "additionalProperties"] {
        match (ours.get(each), theirs.get(each)) {
            (Some(ours), Some(theirs)) => narrower(ours, theirs, &format!("{path}[]"), found),
            (None, Some(_)) if !keeps_unknown(ours) => {
                found.push(format!("{path}[]: it is dropped"))
            }
            _ => {}
        }
    }
    // A field that theirs has no schema for is kept by it in whatever form.
    if keeps_unknown(theirs) {
        let known = their_fields.unwrap_or_default();
        for (name, schema) in our_fields.iter().filter_map(Value::as_object).flatten() {
            if known.get(name).is_none() && schema.get("type").is_some() {
                found.push(format!("{path}.{name}: a type that Emissary has not"));
            }
        }
    }
}

#[test]
fn nothing_that_emissarys_crds_take_is_refused_or_dropped() {
    let mut found = Vec::new();
    for theirs in emissarys() {
        let name = &theirs["metadata"]["name"];
        let ours = ours();
        let ours = ours.iter().find(|crd| crd["metadata"]["name"] == *name);
        let ours = ours.unwrap_or_else(|| panic!("there is no {name}"));
        for field in ["kind", "listKind", "plural", "singular", "categories"] {
            assert_eq!(ours["spec"]["names"][field], theirs["spec"]["names"][field]);
        }
        for (version, schema) in versions(&theirs) {
            let (_, our_schema) = versions(ours).find(|(name, _)| *name == version).unwrap();
            let kind = theirs["spec"]["names"]["kind"].as_str().unwrap();
            let mut here = Vec::new();
            narrower(our_schema, schema, "", &mut here);
            found.extend(
                here.iter()
                    .map(|what| format!("{kind} {version} {}", &what[1..])),
            );
        }
        let storage = |crd: &Value| -> Vec<Value> {
            let versions = crd["spec"]["versions"].as_array().unwrap();
            versions
                .iter()
                .map(|version| version["storage"].clone())
                .collect()
        };
        assert_eq!(storage(ours), storage(&theirs), "{name}");
    }
    assert_eq!(found, REFUSED_ON_PURPOSE);
}

#[test]
fn what_a_case_has_in_effect_is_not_refused() {
    let (mut seen, mut refused) = (0, 0);
    for case in cases::all() {
        for object in case.objects {
            let verdict = judge(&object, None);
            seen += 1;
            if case.in_error.contains(&cases::name(&object)) {
                refused += usize::from(!verdict.refusals.is_empty());
            } else {
                assert_eq!(verdict.refusals, [""; 0], "{}", case.input.display());
            }
        }
    }
    assert!(
        seen > 500 && refused > 50,
        "{seen} objects, {refused} refused"
    );
}
