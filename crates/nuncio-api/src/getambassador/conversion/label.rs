use serde_json::{Map, Value, json};

use super::FieldOrigins;
use crate::path::join;

/// Every label of a Mapping. Groups and their names are the same in all versions.
pub(super) fn labels(origins: &mut FieldOrigins, labels: &mut Value) {
    for (domain, groups) in labels.as_object_mut().into_iter().flatten() {
        let at = join("spec.labels", domain);
        for (index, group) in groups.as_array_mut().into_iter().flatten().enumerate() {
            for (name, specifiers) in group.as_object_mut().into_iter().flatten() {
                let at = join(&format!("{at}[{index}]"), name);
                let specifiers = specifiers.as_array_mut().into_iter().flatten();
                for (index, specifier) in specifiers.enumerate() {
                    if let Some(converted) = label(origins, &format!("{at}[{index}]"), specifier) {
                        *specifier = converted;
                    }
                }
            }
        }
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
        "source_cluster" | "destination_cluster" | "remote_address" => {
            (name, json!({ "key": name }))
        }
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
