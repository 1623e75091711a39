//! What a kind's schema says of a resource: fields that the kind does not have.

use nuncio_api::getambassador;
use schemars::JsonSchema;
use serde_json::Value;

/// Names that are read although the schema has them under another: the camelCase forms that
/// Emissary takes too.
const ALIASES: &[&str] = &[
    "ambassadorId",
    "caCertChainFile",
    "caSecret",
    "cacertChainFile",
    "certChainFile",
    "certRequired",
    "cipherSuites",
    "crlSecret",
    "ecdhCurves",
    "alpnProtocols",
    "maxTLSVersion",
    "maxTlsVersion",
    "minTLSVersion",
    "minTlsVersion",
    "privateKeyFile",
    "redirectCleartextFrom",
];

/// A field that a kind does not have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Unknown {
    /// From the resource's root: `spec.headres`.
    pub(super) path: String,
    /// The field that was probably meant.
    pub(super) nearest: Option<String>,
}

/// The JSON schema of one kind's `spec`.
pub(super) struct Schema(Value);

impl Schema {
    pub(super) fn of<T: JsonSchema>() -> Self {
        Self(schemars::schema_for!(T).to_value())
    }

    pub(super) fn unknown_fields(&self, spec: &Value) -> Vec<Unknown> {
        let mut unknown = Vec::new();
        self.walk(&self.0, spec, "spec", &mut unknown);
        unknown
    }

    fn walk(&self, schema: &Value, value: &Value, path: &str, unknown: &mut Vec<Unknown>) {
        let schema = self.dereference(schema);
        match value {
            Value::Object(fields) => {
                let properties = schema.get("properties").and_then(Value::as_object);
                for (name, value) in fields {
                    let path = join(path, name);
                    if let Some(properties) = properties {
                        match properties.get(name) {
                            Some(property) => self.walk(property, value, &path, unknown),
                            None if ALIASES.contains(&name.as_str()) => {}
                            None => unknown.push(Unknown {
                                path,
                                nearest: nearest(name, properties.keys()),
                            }),
                        }
                    } else if let Some(each) = schema.get("additionalProperties") {
                        self.walk(each, value, &path, unknown);
                    }
                }
            }
            Value::Array(items) => {
                if let Some(each) = schema.get("items") {
                    for (index, item) in items.iter().enumerate() {
                        self.walk(each, item, &format!("{path}[{index}]"), unknown);
                    }
                }
            }
            _ => {}
        }
    }

    /// Follows a reference, and the `anyOf: [X, null]` of an optional field.
    fn dereference<'a>(&'a self, schema: &'a Value) -> &'a Value {
        let mut schema = schema;
        loop {
            if let Some(reference) = schema.get("$ref").and_then(Value::as_str) {
                let pointer = reference.trim_start_matches('#');
                match self.0.pointer(pointer) {
                    Some(target) => schema = target,
                    None => return schema,
                }
            } else if let Some(first) = schema.pointer("/anyOf/0") {
                schema = first;
            } else {
                return schema;
            }
        }
    }
}

/// A name of a path; one with a dot in it stands in brackets.
fn join(path: &str, name: &str) -> String {
    if name.contains(['.', '[', ']']) {
        format!("{path}[{name:?}]")
    } else {
        format!("{path}.{name}")
    }
}

/// The known name that a wrong one is probably meant to be.
pub(super) fn nearest<'a>(
    name: &str,
    known: impl IntoIterator<Item = &'a String>,
) -> Option<String> {
    let plain = |text: &str| text.replace('_', "").to_ascii_lowercase();
    let name = plain(name);
    known
        .into_iter()
        .map(|known| (strsim::damerau_levenshtein(&name, &plain(known)), known))
        .filter(|(distance, known)| *distance <= known.len().max(3) / 3)
        .min()
        .map(|(_, known)| known.clone())
}

/// The schemas of the kinds that nuncio reads.
pub(super) struct Schemas {
    pub(super) listener: Schema,
    pub(super) host: Schema,
    pub(super) mapping: Schema,
    pub(super) tls_context: Schema,
}

impl Default for Schemas {
    fn default() -> Self {
        Self {
            listener: Schema::of::<getambassador::Listener>(),
            host: Schema::of::<getambassador::Host>(),
            mapping: Schema::of::<getambassador::Mapping>(),
            tls_context: Schema::of::<getambassador::TlsContext>(),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn unknown_fields_are_found_at_every_depth() {
        let schema = Schema::of::<getambassador::Mapping>();
        let spec = json!({
            "prefix": "/", "servce": "x", "timeoutMs": 1,
            "headers": {"anything": "goes"},
            "retry_policy": {"retry_on": "5xx", "numretries": 3},
            "circuit_breakers": [{"max_conections": 1}],
            "add_request_headers": {"x.y": {"vaule": "a"}},
            "docs": {"anything": 1}
        });
        let found: Vec<_> = schema
            .unknown_fields(&spec)
            .into_iter()
            .map(|u| (u.path, u.nearest.unwrap_or_default()))
            .collect();
        let expected = [
            ("spec.add_request_headers[\"x.y\"].vaule", "value"),
            ("spec.circuit_breakers[0].max_conections", "max_connections"),
            ("spec.retry_policy.numretries", "num_retries"),
            ("spec.servce", "service"),
            ("spec.timeoutMs", "timeout_ms"),
        ];
        assert_eq!(
            found,
            expected.map(|(path, nearest)| (path.to_owned(), nearest.to_owned()))
        );
    }
}
