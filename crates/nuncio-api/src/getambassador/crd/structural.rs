//! From JSON schema to what the API server calls a structural one.

use serde_json::{Map, Value, json};

/// What has no type, and may be anything.
pub(super) fn anything() -> Value {
    json!({"x-kubernetes-preserve-unknown-fields": true})
}

/// A schema without references, alternatives and null. Which form a value has that may be written
/// in several is not said; neither are bounds of numbers, which say what Rust's types hold.
pub(crate) fn structural(root: &Value) -> Value {
    node(root, root)
}

/// The schema of one of the fields of an object.
pub(crate) fn field<'a>(schema: &'a mut Value, name: &str) -> &'a mut Value {
    &mut schema["properties"][name]
}

fn node(root: &Value, schema: &Value) -> Value {
    let Some(reference) = schema.get("$ref").and_then(Value::as_str) else {
        return described(schema, unreferenced(root, schema));
    };
    let target = root
        .pointer(reference.trim_start_matches('#'))
        .expect("invariant: a schema's references are in it");
    described(schema, node(root, target))
}

/// What is said of a field counts more than what is said of its type.
fn described(schema: &Value, mut made: Value) -> Value {
    if let Some(text) = schema.get("description").and_then(Value::as_str) {
        made["description"] = explained(text).into();
    }
    made
}

/// What `kubectl explain` shows: not how Envoy and Emissary call it.
fn explained(text: &str) -> String {
    let paragraphs = text.split("\n\n").map(|text| text.replace('\n', " "));
    let wanted =
        paragraphs.filter(|text| !text.starts_with("Envoy:") && !text.starts_with("Emissary:"));
    wanted.collect::<Vec<_>>().join("\n\n")
}

fn unreferenced(root: &Value, schema: &Value) -> Value {
    for alternatives in ["anyOf", "oneOf"] {
        if let Some(Value::Array(all)) = schema.get(alternatives) {
            return one_of(root, all);
        }
    }
    let type_ = match schema.get("type") {
        Some(Value::Array(types)) => types.iter().find(|type_| *type_ != "null"),
        type_ => type_,
    };
    let Some(type_) = type_.and_then(Value::as_str) else {
        return anything();
    };
    let mut made = json!({ "type": type_ });
    for kept in ["enum", "required"] {
        if let Some(value) = schema.get(kept) {
            made[kept] = value.clone();
        }
    }
    if let Some(value) = schema.get("const") {
        made["enum"] = json!([value]);
    }
    match type_ {
        "array" => {
            made["items"] = schema
                .get("items")
                .map_or_else(anything, |each| node(root, each));
        }
        "object" => fields(root, schema, &mut made),
        _ => {}
    }
    made
}

fn fields(root: &Value, schema: &Value, made: &mut Value) {
    if let Some(Value::Object(properties)) = schema.get("properties") {
        let properties = properties
            .iter()
            .map(|(name, schema)| (name.clone(), node(root, schema)));
        made["properties"] = Value::Object(properties.collect());
    } else if let Some(each) = schema.get("additionalProperties") {
        made["additionalProperties"] = node(root, each);
    } else {
        made["x-kubernetes-preserve-unknown-fields"] = true.into();
    }
}

fn one_of(root: &Value, all: &[Value]) -> Value {
    let made: Vec<Value> = all
        .iter()
        .filter(|schema| schema.get("type").is_none_or(|type_| type_ != "null"))
        .map(|schema| node(root, schema))
        .collect();
    if let [only] = &made[..] {
        return only.clone();
    }
    let values: Option<Vec<&Value>> = made
        .iter()
        .map(|schema| schema.get("enum")?.as_array())
        .collect::<Option<Vec<_>>>()
        .map(|values| values.into_iter().flatten().collect());
    if let Some(values) = values {
        return json!({"type": "string", "enum": values});
    }
    let types: Option<Vec<&str>> = made.iter().map(|schema| schema["type"].as_str()).collect();
    match types.as_deref() {
        Some(["integer", "string"]) => json!({"x-kubernetes-int-or-string": true}),
        _ => anything(),
    }
}

/// Takes away what a schema says of one of its fields, but for the description. A null stays too,
/// as where there is no schema.
pub(super) fn loosen(properties: &mut Map<String, Value>, name: &str) {
    if let Some(schema) = properties.get_mut(name) {
        let mut loose = anything();
        loose["nullable"] = true.into();
        if let Some(text) = schema.get("description") {
            loose["description"] = text.clone();
        }
        *schema = loose;
    }
}
