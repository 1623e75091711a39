//! What fields a kind has.

#![allow(dead_code)]

use std::collections::BTreeSet;

use schemars::JsonSchema;
use serde_json::Value;

/// The JSON schema of a kind.
pub(crate) struct Schema(Value);

/// A field, at any depth, and what its documentation says.
pub(crate) struct Field {
    /// `retry_policy.retry_on`, `circuit_breakers[].priority`, `add_request_headers.*.value`.
    pub(crate) path: String,
    pub(crate) says: String,
    /// Where it ends in Envoy's configuration.
    pub(crate) envoy: String,
    /// What differs there.
    pub(crate) emissary: String,
}

/// The names of all fields of a kind, at any depth.
pub(crate) fn fields<T: JsonSchema>() -> BTreeSet<String> {
    let fields = Schema::of::<T>().fields().into_iter();
    fields
        .filter_map(|field| field.path.rsplit('.').next().map(str::to_owned))
        .map(|name| name.replace("[]", ""))
        .collect()
}

impl Schema {
    pub(crate) fn of<T: JsonSchema>() -> Self {
        Self(schemars::schema_for!(T).to_value())
    }

    pub(crate) fn root(&self) -> &Value {
        &self.0
    }

    pub(crate) fn fields(&self) -> Vec<Field> {
        let mut fields = Vec::new();
        self.walk(&self.0, "", &mut fields);
        fields
    }

    /// The paths of the fields that a value has.
    pub(crate) fn present(&self, value: &Value, paths: &mut BTreeSet<String>) {
        self.find(&self.0, value, "", paths);
    }

    fn walk(&self, schema: &Value, path: &str, fields: &mut Vec<Field>) {
        for variant in self.variants(schema) {
            for (name, property) in object(variant, "properties") {
                let path = join(path, name);
                let text = property["description"].as_str().unwrap_or_default();
                fields.push(Field::new(path.clone(), text));
                self.walk(property, &path, fields);
            }
            if let Some(items) = variant.get("items") {
                self.walk(items, &format!("{path}[]"), fields);
            }
            if let Some(each) = variant.get("additionalProperties") {
                self.walk(each, &join(path, "*"), fields);
            }
        }
    }

    fn find(&self, schema: &Value, value: &Value, path: &str, paths: &mut BTreeSet<String>) {
        for variant in self.variants(schema) {
            match value {
                Value::Object(parts) => {
                    for (name, part) in parts {
                        if let Some(property) = variant["properties"].get(name) {
                            let path = join(path, name);
                            paths.insert(path.clone());
                            self.find(property, part, &path, paths);
                        } else if let Some(each) = variant.get("additionalProperties") {
                            self.find(each, part, &join(path, "*"), paths);
                        }
                    }
                }
                Value::Array(items) => {
                    for item in items {
                        if let Some(each) = variant.get("items") {
                            self.find(each, item, &format!("{path}[]"), paths);
                        }
                    }
                }
                _ => {}
            }
        }
    }

    /// What a schema may mean, its references followed.
    pub(crate) fn variants<'a>(&'a self, schema: &'a Value) -> Vec<&'a Value> {
        if let Some(reference) = schema["$ref"].as_str() {
            let target = self.0.pointer(reference.trim_start_matches('#'));
            return target
                .map(|target| self.variants(target))
                .unwrap_or_default();
        }
        match schema["anyOf"].as_array() {
            Some(variants) => variants
                .iter()
                .flat_map(|variant| self.variants(variant))
                .collect(),
            None => vec![schema],
        }
    }
}

impl Field {
    fn new(path: String, text: &str) -> Self {
        let mut field = Self {
            path,
            says: String::new(),
            envoy: String::new(),
            emissary: String::new(),
        };
        for paragraph in text.split("\n\n") {
            let paragraph = paragraph.replace('\n', " ");
            if let Some(envoy) = paragraph.strip_prefix("Envoy: ") {
                field.envoy = envoy.trim_end_matches('.').to_owned();
            } else if let Some(emissary) = paragraph.strip_prefix("Emissary: ") {
                field.emissary = emissary.trim_end_matches('.').to_owned();
            } else {
                field.says.push_str(&paragraph);
            }
        }
        field
    }
}

fn object<'a>(schema: &'a Value, name: &str) -> impl Iterator<Item = (&'a String, &'a Value)> {
    schema[name].as_object().into_iter().flatten()
}

fn join(path: &str, name: &str) -> String {
    if path.is_empty() {
        name.to_owned()
    } else {
        format!("{path}.{name}")
    }
}
