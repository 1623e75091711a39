//! What a kind's schema says of a resource: fields that the kind does not have.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use nuncio_api::getambassador::conversion::{self, Version};
use nuncio_api::path::join;
use nuncio_api::{gateway_api, getambassador, ingress, policy};
use schemars::JsonSchema;
use serde_json::Value;

/// Names that are read although the schema has them under another, by the type whose fields they
/// are: the camelCase forms that Emissary takes too.
const ALIASES: &[(&str, &[&str])] = &[
    ("Host", &["ambassadorId"]),
    (
        "HostTls",
        &[
            "alpnProtocols",
            "caCertChainFile",
            "caSecret",
            "cacertChainFile",
            "certChainFile",
            "certRequired",
            "cipherSuites",
            "crlSecret",
            "ecdhCurves",
            "maxTLSVersion",
            "maxTlsVersion",
            "minTLSVersion",
            "minTlsVersion",
            "privateKeyFile",
            "redirectCleartextFrom",
        ],
    ),
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

/// A step on the way to a field.
#[derive(Clone, Debug)]
pub(super) enum Step {
    Field(String),
    Item(usize),
}

/// The way to a value, written out only where there is something to say of it.
enum Path<'p> {
    Root(&'p str),
    Field(&'p Self, &'p str),
    Item(&'p Self, usize),
}

impl Path<'_> {
    fn text(&self) -> String {
        match self {
            Self::Root(path) => (*path).to_owned(),
            Self::Field(parent, name) => join(&parent.text(), name),
            Self::Item(parent, index) => format!("{}[{index}]", parent.text()),
        }
    }
}

impl Schema {
    pub(super) fn of<T: JsonSchema>() -> Self {
        Self(schemars::schema_for!(T).to_value())
    }

    pub(super) fn unknown_fields(&self, spec: &Value) -> Vec<Unknown> {
        self.unknown_fields_at("spec", spec)
    }

    /// The same below another path.
    pub(super) fn unknown_fields_at(&self, path: &str, value: &Value) -> Vec<Unknown> {
        let mut unknown = Vec::new();
        self.walk(&self.0, value, &Path::Root(path), &mut unknown);
        unknown
    }

    /// What may stand at a field, in words.
    pub(super) fn describe(&self, path: &[Step]) -> Option<String> {
        let mut schema = self.dereference(&self.0).1;
        for step in path {
            let inner = match step {
                Step::Field(name) => schema
                    .get("properties")
                    .and_then(|properties| properties.get(name))
                    .or_else(|| schema.get("additionalProperties"))?,
                Step::Item(_) => schema.get("items")?,
            };
            schema = self.dereference(inner).1;
        }
        if let Some(values) = values(schema) {
            if let [value] = values[..] {
                return Some(value.to_owned());
            }
            return Some(format!("one of {}", values.join(", ")));
        }
        let type_ = match schema.get("type")? {
            Value::Array(types) => types.first()?,
            type_ => type_,
        };
        let bound = |name| schema.get(name).and_then(Value::as_u64);
        Some(
            match (type_.as_str()?, bound("minimum"), bound("maximum")) {
                ("integer", Some(least), Some(most)) => {
                    format!("a whole number from {least} to {most}")
                }
                ("integer", Some(0), None) => "a whole number that is not negative".to_owned(),
                ("integer", ..) => "a whole number".to_owned(),
                ("boolean", ..) => "true or false".to_owned(),
                ("string", ..) => "a text".to_owned(),
                ("array", ..) => "a list".to_owned(),
                ("object", ..) => "an object".to_owned(),
                _ => return None,
            },
        )
    }

    fn walk(&self, schema: &Value, value: &Value, path: &Path<'_>, unknown: &mut Vec<Unknown>) {
        let (type_, schema) = self.dereference(schema);
        match value {
            Value::Object(fields) => {
                let properties = schema.get("properties").and_then(Value::as_object);
                for (name, value) in fields.iter().filter(|(_, value)| !value.is_null()) {
                    let path = Path::Field(path, name);
                    if let Some(properties) = properties {
                        match properties.get(name) {
                            Some(property) => self.walk(property, value, &path, unknown),
                            None if is_alias(type_, name) => {}
                            None => unknown.push(Unknown {
                                path: path.text(),
                                nearest: nearest(name, properties.keys().map(String::as_str))
                                    .map(str::to_owned),
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
                        self.walk(each, item, &Path::Item(path, index), unknown);
                    }
                }
            }
            _ => {}
        }
    }

    /// Follows a reference, and the `anyOf: [X, null]` of an optional field. Gives the type's name
    /// too.
    fn dereference<'a>(&'a self, schema: &'a Value) -> (&'a str, &'a Value) {
        let title = schema.get("title").and_then(Value::as_str);
        let (mut type_, mut schema) = (title.unwrap_or_default(), schema);
        loop {
            if let Some(reference) = schema.get("$ref").and_then(Value::as_str) {
                let name = reference.strip_prefix("#/$defs/").unwrap_or_default();
                match self.0.get("$defs").and_then(|types| types.get(name)) {
                    Some(target) => (type_, schema) = (name, target),
                    None => return (type_, schema),
                }
            } else if let Some(first) = schema.get("anyOf").and_then(|any| any.get(0)) {
                schema = first;
            } else {
                return (type_, schema);
            }
        }
    }
}

fn is_alias(type_: &str, name: &str) -> bool {
    ALIASES
        .iter()
        .any(|(of, names)| *of == type_ && names.contains(&name))
}

/// The values of an enumeration, however the schema writes it.
fn values(schema: &Value) -> Option<Vec<&str>> {
    let variants = match (schema.get("enum"), schema.get("oneOf")) {
        (Some(values), _) => values.as_array()?.iter().collect(),
        (_, Some(variants)) => {
            let mut values = Vec::new();
            for variant in variants.as_array()? {
                match (variant.get("const"), variant.get("enum")) {
                    (Some(value), _) => values.push(value),
                    (_, Some(some)) => values.extend(some.as_array()?),
                    _ => return None,
                }
            }
            values
        }
        _ => return None,
    };
    Some(variants.into_iter().filter_map(Value::as_str).collect())
}

/// The known name that a wrong one is probably meant to be.
pub(super) fn nearest<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let plain = |text: &str| text.replace('_', "").to_ascii_lowercase();
    let name = plain(name);
    known
        .into_iter()
        .map(|known| (strsim::damerau_levenshtein(&name, &plain(known)), known))
        .filter(|(distance, known)| *distance <= known.len().max(3) / 3)
        .min()
        .map(|(_, known)| known)
}

/// The schema of a kind's `spec` in a version of it; none where anything may stand.
pub(super) fn of(kind: &str, version: Version) -> Option<&'static Schema> {
    SCHEMAS.get(kind)?.get(&version)
}

/// The schema of the `config` of the Module `ambassador`.
pub(super) fn module() -> &'static Schema {
    static MODULE: LazyLock<Schema> = LazyLock::new(Schema::of::<getambassador::ModuleConfig>);
    &MODULE
}

pub(super) fn ingress() -> &'static Schema {
    static INGRESS: LazyLock<Schema> = LazyLock::new(Schema::of::<ingress::Ingress>);
    &INGRESS
}

pub(super) fn ingress_class() -> &'static Schema {
    static CLASS: LazyLock<Schema> = LazyLock::new(Schema::of::<ingress::IngressClass>);
    &CLASS
}

/// The schema of a kind of the Gateway API.
pub(super) fn gateway_api(kind: &str) -> &'static Schema {
    static KINDS: LazyLock<BTreeMap<&str, Schema>> = LazyLock::new(|| {
        BTreeMap::from([
            ("GatewayClass", Schema::of::<gateway_api::GatewayClass>()),
            ("Gateway", Schema::of::<gateway_api::Gateway>()),
            ("ListenerSet", Schema::of::<gateway_api::ListenerSet>()),
            ("HTTPRoute", Schema::of::<gateway_api::HttpRoute>()),
            ("GRPCRoute", Schema::of::<gateway_api::GrpcRoute>()),
            ("TLSRoute", Schema::of::<gateway_api::StreamRoute>()),
            ("TCPRoute", Schema::of::<gateway_api::StreamRoute>()),
            ("UDPRoute", Schema::of::<gateway_api::StreamRoute>()),
            (
                "ReferenceGrant",
                Schema::of::<gateway_api::ReferenceGrant>(),
            ),
            (
                "BackendTLSPolicy",
                Schema::of::<gateway_api::BackendTlsPolicy>(),
            ),
        ])
    });
    &KINDS[kind]
}

pub(super) fn route_policy() -> &'static Schema {
    static POLICY: LazyLock<Schema> = LazyLock::new(Schema::of::<policy::RoutePolicy>);
    &POLICY
}

static SCHEMAS: LazyLock<BTreeMap<&'static str, BTreeMap<Version, Schema>>> = LazyLock::new(|| {
    fn row<T: JsonSchema>(kind: &'static str) -> (&'static str, BTreeMap<Version, Schema>) {
        let Schema(current) = Schema::of::<T>();
        let versions = conversion::versions(kind).iter().map(|version| {
            let schema = conversion::schema(kind, *version, current.clone());
            (*version, Schema(schema))
        });
        (kind, versions.collect())
    }
    BTreeMap::from([
        row::<getambassador::AuthService>("AuthService"),
        row::<getambassador::ConsulResolver>("ConsulResolver"),
        row::<getambassador::DevPortal>("DevPortal"),
        row::<getambassador::Host>("Host"),
        row::<getambassador::KubernetesResolver>("KubernetesEndpointResolver"),
        row::<getambassador::KubernetesResolver>("KubernetesServiceResolver"),
        row::<getambassador::Listener>("Listener"),
        row::<getambassador::LogService>("LogService"),
        row::<getambassador::Mapping>("Mapping"),
        row::<getambassador::RateLimitService>("RateLimitService"),
        row::<getambassador::TcpMapping>("TCPMapping"),
        row::<getambassador::TlsContext>("TLSContext"),
        row::<getambassador::TracingService>("TracingService"),
    ])
});

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

    /// The list of aliases says what the types do: no more, and no less where it matters.
    #[test]
    fn aliases_are_read() {
        for (type_, names) in ALIASES {
            for name in *names {
                let any = [json!("x"), json!(["x"]), json!(true), json!(1)];
                let read = any.into_iter().any(|value| {
                    let object = json!({ *name: value });
                    match *type_ {
                        "Host" => serde_json::from_value(object)
                            .is_ok_and(|host: getambassador::Host| host != Default::default()),
                        _ => serde_json::from_value(object)
                            .is_ok_and(|tls: getambassador::HostTls| tls != Default::default()),
                    }
                });
                assert!(read, "{type_}.{name}");
            }
        }
        let unknown = |schema: &Schema, spec: Value| schema.unknown_fields(&spec).len();
        let host = Schema::of::<getambassador::Host>();
        assert_eq!(
            unknown(&host, json!({"ambassadorId": [], "tls": {"caSecret": "x"}})),
            0
        );
        assert_eq!(unknown(&host, json!({"caSecret": "x"})), 1);
        // Here it would be ignored, and with it the check of clients' certificates.
        let context = Schema::of::<getambassador::TlsContext>();
        assert_eq!(unknown(&context, json!({"caSecret": "x"})), 1);
    }

    #[test]
    fn what_may_stand_somewhere_is_said_in_words() {
        let field = |name: &str| Step::Field(name.to_owned());
        let listener = Schema::of::<getambassador::Listener>();
        let mapping = Schema::of::<getambassador::Mapping>();
        for (schema, path, expected) in [
            (
                &listener,
                vec![field("port")],
                "a whole number from 0 to 65535",
            ),
            (
                &listener,
                vec![field("securityModel")],
                "one of XFP, SECURE, INSECURE",
            ),
            (
                &listener,
                vec![field("protocolStack"), Step::Item(0)],
                "one of HTTP, PROXY, TLS, TCP, UDP",
            ),
            (&mapping, vec![field("timeout_ms")], "a whole number"),
            (&mapping, vec![field("grpc")], "true or false"),
            (&mapping, vec![field("headers"), field("x")], "a text"),
            (&mapping, vec![field("cors"), field("origins")], "a list"),
            (&mapping, vec![field("cors")], "an object"),
        ] {
            assert_eq!(
                schema.describe(&path).as_deref(),
                Some(expected),
                "{path:?}"
            );
        }
        assert_eq!(mapping.describe(&[field("docs")]), None);
    }
}
