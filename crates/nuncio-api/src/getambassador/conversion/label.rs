use serde_json::{Map, Value, json};

use super::FieldOrigins;
use crate::path::join;

/// Labels that are their name alone.
const NAMED: &[&str] = &["source_cluster", "destination_cluster", "remote_address"];

/// Every label of a Mapping. Groups and their names are the same in all versions.
pub(super) fn labels(origins: &mut FieldOrigins, labels: &mut Value) {
    each(labels, |at, specifier| label(origins, at, specifier));
}

/// Puts another label in the place of each for which there is one.
pub(super) fn each(labels: &mut Value, mut converted: impl FnMut(&str, &Value) -> Option<Value>) {
    for (domain, groups) in labels.as_object_mut().into_iter().flatten() {
        let at = join("spec.labels", domain);
        for (index, group) in groups.as_array_mut().into_iter().flatten().enumerate() {
            for (name, specifiers) in group.as_object_mut().into_iter().flatten() {
                let at = join(&format!("{at}[{index}]"), name);
                let specifiers = specifiers.as_array_mut().into_iter().flatten();
                for (index, specifier) in specifiers.enumerate() {
                    if let Some(other) = converted(&format!("{at}[{index}]"), specifier) {
                        *specifier = other;
                    }
                }
            }
        }
    }
}

/// One label as older versions write it; `None` if only v3alpha1's form says it all, which is read
/// there too.
pub(super) fn older(_at: &str, specifier: &Value) -> Option<Value> {
    let mut entries = specifier.as_object()?.iter();
    let (Some((name, Value::Object(label))), None) = (entries.next(), entries.next()) else {
        return None;
    };
    let text = |field: &str| label.get(field).and_then(Value::as_str);
    let only = |known: &[&str]| label.keys().all(|field| known.contains(&field.as_str()));
    match name.as_str() {
        name if NAMED.contains(&name) => {
            (only(&["key"]) && text("key") == Some(name)).then(|| name.into())
        }
        "generic_key" if only(&["key", "value", "v2Shorthand"]) => {
            let value = text("value")?;
            let key = text("key").filter(|key| !key.is_empty());
            let short = label.get("v2Shorthand") == Some(&Value::Bool(true));
            Some(match key {
                Some(key) => json!({ "generic_key": value, "v3Key": key }),
                None if short && !NAMED.contains(&value) => value.into(),
                None => json!({ "generic_key": value }),
            })
        }
        "request_headers" if only(&["key", "header_name", "omit_if_not_present"]) => {
            let mut fields = label.clone();
            fields.remove("key");
            let header = fields.remove("header_name")?;
            fields.insert("header".to_owned(), header);
            Some(json!({ text("key")?: fields }))
        }
        _ => None,
    }
}

/// One label; `None` if it has no form that only older versions have. v3alpha1's forms are taken
/// too: in older versions they mean nothing.
fn label(origins: &mut FieldOrigins, at: &str, specifier: &Value) -> Option<Value> {
    match specifier {
        Value::String(name) => Some(named(origins, at, name)),
        Value::Object(fields) => match fields.get("generic_key") {
            Some(value @ Value::String(_)) => generic(origins, at, fields, value),
            _ => header(origins, at, fields),
        },
        _ => None,
    }
}

fn named(origins: &mut FieldOrigins, at: &str, name: &str) -> Value {
    let (field, label) = match name {
        name if NAMED.contains(&name) => (name, json!({ "key": name })),
        _ => ("generic_key", json!({ "value": name, "v2Shorthand": true })),
    };
    for part in ["", ".key", ".value"] {
        origins.add(format!("{at}.{field}{part}"), at.to_owned());
    }
    json!({ field: label })
}

/// `{generic_key: value, v3Key: key}`. Emissary forgets the key.
fn generic(
    origins: &mut FieldOrigins,
    at: &str,
    fields: &Map<String, Value>,
    value: &Value,
) -> Option<Value> {
    if fields
        .keys()
        .any(|name| !matches!(name.as_str(), "generic_key" | "v3Key"))
    {
        return None;
    }
    let mut label = json!({ "value": value });
    origins.add(
        format!("{at}.generic_key.value"),
        format!("{at}.generic_key"),
    );
    if let Some(key) = fields.get("v3Key") {
        label["key"] = key.clone();
        origins.add(format!("{at}.generic_key.key"), format!("{at}.v3Key"));
    }
    Some(json!({ "generic_key": label }))
}

/// `{key: {header: name, omit_if_not_present: bool}}`.
fn header(origins: &mut FieldOrigins, at: &str, fields: &Map<String, Value>) -> Option<Value> {
    let mut entries = fields.iter();
    let (Some((key, Value::Object(label))), None) = (entries.next(), entries.next()) else {
        return None;
    };
    let mut label = label.clone();
    let name = label.remove("header")?;
    label.insert("key".to_owned(), key.as_str().into());
    label.insert("header_name".to_owned(), name);
    let (new, old) = (format!("{at}.request_headers"), join(at, key));
    origins.add(format!("{new}.header_name"), format!("{old}.header"));
    origins.add(format!("{new}.key"), old.clone());
    origins.add(new, old);
    Some(json!({ "request_headers": label }))
}
