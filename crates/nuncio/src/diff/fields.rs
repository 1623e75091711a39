//! Which fields of a model object are others, by the names that the model has for them.

use std::collections::BTreeSet;
use std::time::Duration;

use serde::Serialize;
use serde_json::{Map, Value};

/// A field that is another. Without, it is null.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Field {
    pub field: String,
    pub from: Value,
    pub to: Value,
}

impl Field {
    pub(super) fn new(
        field: impl Into<String>,
        from: impl Into<Value>,
        to: impl Into<Value>,
    ) -> Self {
        Self {
            field: field.into(),
            from: from.into(),
            to: to.into(),
        }
    }
}

/// A model object as values, without the fields that are compared by themselves. Where it comes from
/// changes nothing for traffic.
pub(super) fn value(object: &impl Serialize, without: &[&str]) -> Value {
    let mut value = serde_json::to_value(object).expect("invariant: the model has a form in JSON");
    if let Value::Object(fields) = &mut value {
        for name in without.iter().chain(&["origin"]) {
            fields.remove(*name);
        }
    }
    value
}

pub(super) fn fields(old: &Value, new: &Value) -> Vec<Field> {
    let mut found = Vec::new();
    walk(String::new(), old, new, &mut found);
    found
}

fn walk(path: String, old: &Value, new: &Value, found: &mut Vec<Field>) {
    if old == new {
        return;
    }
    match (old, new) {
        (Value::Object(from), Value::Object(to)) if comparable(from, to) => {
            let names: BTreeSet<&String> = from.keys().chain(to.keys()).collect();
            for name in names {
                let part = |of: &Map<String, Value>| of.get(name).cloned().unwrap_or_default();
                walk(below(&path, name), &part(from), &part(to), found);
            }
        }
        (Value::Array(from), Value::Array(to)) if from.len() == to.len() => {
            for (index, (from, to)) in from.iter().zip(to).enumerate() {
                walk(format!("{path}[{index}]"), from, to, found);
            }
        }
        _ => found.push(Field {
            field: path,
            from: plain(old),
            to: plain(new),
        }),
    }
}

/// Not two variants of an enumeration, and not times.
fn comparable(old: &Map<String, Value>, new: &Map<String, Value>) -> bool {
    let variant = |of: &Map<String, Value>| of.keys().next().cloned().filter(|key| is_variant(key));
    duration(old).is_none() && duration(new).is_none() && variant(old) == variant(new)
}

/// The name of a variant of an enumeration.
fn is_variant(key: &str) -> bool {
    key.starts_with(|c: char| c.is_ascii_uppercase())
}

fn below(path: &str, name: &str) -> String {
    match (path, is_variant(name)) {
        (path, true) => path.to_owned(),
        ("", false) => name.to_owned(),
        (path, false) => format!("{path}.{name}"),
    }
}

fn duration(value: &Map<String, Value>) -> Option<Duration> {
    let nanos = u32::try_from(value.get("nanos")?.as_u64()?).ok()?;
    (value.len() == 2).then_some(Duration::new(value.get("secs")?.as_u64()?, nanos))
}

/// A value as people write it: with times as such, without what is absent.
pub(super) fn plain(value: &Value) -> Value {
    match value {
        Value::Object(fields) => match duration(fields) {
            Some(duration) => format!("{duration:?}").into(),
            None => {
                let there = fields.iter().filter(|(_, value)| !value.is_null());
                there
                    .map(|(name, value)| (name.clone(), plain(value)))
                    .collect()
            }
        },
        Value::Array(items) => items.iter().map(plain).collect(),
        other => other.clone(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn fields_are_named_without_their_variants() {
        let old = json!({
            "action": {"Forward": {"timeout": {"secs": 3, "nanos": 0}, "retry": null}},
            "path": {"Prefix": "/a"},
            "list": [1, 2],
            "same": {"secs": 1, "nanos": 0},
        });
        let new = json!({
            "action": {"Forward": {"timeout": {"secs": 0, "nanos": 500_000_000}, "retry": {"n": 1}}},
            "path": {"Exact": "/a"},
            "list": [1, 3],
            "same": {"secs": 1, "nanos": 0},
        });
        let expected = [
            Field::new("action.retry", Value::Null, json!({"n": 1})),
            Field::new("action.timeout", "3s", "500ms"),
            Field::new("list[1]", 2, 3),
            Field::new("path", json!({"Prefix": "/a"}), json!({"Exact": "/a"})),
        ];
        assert_eq!(fields(&old, &new), expected);
    }
}
