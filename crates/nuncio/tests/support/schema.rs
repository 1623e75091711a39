//! What fields a kind has.

use std::collections::BTreeSet;

use schemars::JsonSchema;
use serde_json::Value;

/// The names of all fields of a kind, at any depth.
pub(crate) fn fields<T: JsonSchema>() -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    walk(&schemars::schema_for!(T).to_value(), &mut names);
    names
}

fn walk(schema: &Value, names: &mut BTreeSet<String>) {
    match schema {
        Value::Object(parts) => {
            if let Some(Value::Object(properties)) = parts.get("properties") {
                names.extend(properties.keys().cloned());
            }
            parts.values().for_each(|part| walk(part, names));
        }
        Value::Array(parts) => parts.iter().for_each(|part| walk(part, names)),
        _ => {}
    }
}
