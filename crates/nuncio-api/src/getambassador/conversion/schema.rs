use serde_json::{Map, Value, json};

use super::{NEW, RENAMED, Version};

/// Parts of v3alpha1 that older versions do not have, by the type that they are in.
const NEW_PARTS: &[(&str, &str)] = &[
    ("AddedHeader", "v2Representation"),
    ("Cors", "v2CommaSeparatedOrigins"),
];

/// The JSON schema of a kind in an older version, made of the one in v3alpha1. It says which
/// fields there are, not which of them may be written in several ways.
pub fn schema(kind: &str, version: Version, mut schema: Value) -> Value {
    if version == Version::V3alpha1 {
        return schema;
    }
    for (type_, field) in NEW_PARTS {
        if let Some(fields) = schema.pointer_mut(&format!("/$defs/{type_}/properties")) {
            remove(fields, field);
        }
    }
    for (_, field) in NEW.iter().filter(|(of, _)| *of == kind) {
        if let Some(fields) = properties(&mut schema, "") {
            fields.remove(*field);
        }
    }
    for field in RENAMED.iter().filter(|field| field.kind == kind) {
        if let Some(fields) = properties(&mut schema, field.within)
            && let Some(type_) = fields.remove(field.new)
        {
            fields.insert(field.old.to_owned(), type_);
        }
    }
    if let Some(fields) = properties(&mut schema, "") {
        if kind == "Mapping" {
            fields.insert("labels".to_owned(), labels());
        }
        if version == Version::V0 {
            v0(kind, fields);
        }
    }
    schema
}

/// The name in older versions of a field, given by its path, that only v3alpha1 has.
pub fn former_name(kind: &str, field: &str) -> Option<&'static str> {
    let name = field.strip_prefix("spec.")?;
    let (within, name) = name.rsplit_once('.').unwrap_or(("", name));
    RENAMED
        .iter()
        .find(|field| field.kind == kind && field.within == within && field.new == name)
        .map(|field| field.old)
}

/// The fields of a schema, or of one of its fields.
fn properties<'a>(schema: &'a mut Value, within: &str) -> Option<&'a mut Map<String, Value>> {
    let pointer = match within {
        "" => String::new(),
        within => {
            let field = schema.pointer(&format!("/properties/{within}"))?;
            let reference = field.pointer("/anyOf/0/$ref").or(field.get("$ref"))?;
            reference.as_str()?.trim_start_matches('#').to_owned()
        }
    };
    schema
        .pointer_mut(&format!("{pointer}/properties"))?
        .as_object_mut()
}

fn remove(fields: &mut Value, name: &str) {
    if let Value::Object(fields) = fields {
        fields.remove(name);
    }
}

/// A label is a text, or an object with any name; v3alpha1's forms are taken too.
fn labels() -> Value {
    let any = json!(true);
    let label = json!({"additionalProperties": {"properties": {
        "header": any, "omit_if_not_present": any, "header_name": any, "key": any, "value": any,
    }}});
    let group = json!({"additionalProperties": {"items": label}});
    json!({"additionalProperties": {"items": group}})
}

fn v0(kind: &str, fields: &mut Map<String, Value>) {
    let any = json!(true);
    match kind {
        "Mapping" => {
            let limit = json!({"properties": {"descriptor": any, "headers": any}});
            fields.insert("rate_limits".to_owned(), json!({"items": limit}));
            fields.insert("circuit_breaker".to_owned(), any);
        }
        "AuthService" => {
            fields.insert("allowed_headers".to_owned(), any);
        }
        _ => {}
    }
}
