//! From older versions of getambassador.io to v3alpha1, and back.
//!
//! v1 and v2 have the same fields; v0, known from annotations alone, has some of its own. A
//! conversion looks at nothing but the spec and cannot fail: a value of a wrong type stays, and
//! whoever reads the result finds it there. What the older version can say in several ways is kept
//! in the `v2…` fields of v3alpha1, so that it can be written back as it was.

mod label;
mod mapping;
mod older;
mod origin;
mod schema;
mod tls;
mod v0;

use serde_json::{Map, Value, json};

pub use older::from_v3alpha1;
pub use origin::FieldOrigins;
pub use schema::{former_name, schema};

/// A version of the API, oldest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Version {
    V0,
    V1,
    V2,
    V3alpha1,
}

/// A spec in v3alpha1.
#[derive(Clone, Debug, PartialEq)]
pub struct Converted {
    pub spec: Value,
    /// Where what stands in `spec` was written.
    pub origins: FieldOrigins,
    pub lost: Vec<Lost>,
}

/// A field that means nothing in v3alpha1.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lost {
    /// As it is written.
    pub field: String,
    pub message: String,
    /// What to write instead.
    pub help: String,
}

/// A field that v3alpha1 has under another name. `within` is the field that both stand in, empty
/// for the spec itself.
pub(super) struct Renamed {
    pub(super) kind: &'static str,
    pub(super) within: &'static str,
    pub(super) old: &'static str,
    pub(super) new: &'static str,
}

const fn renamed(
    kind: &'static str,
    within: &'static str,
    old: &'static str,
    new: &'static str,
) -> Renamed {
    Renamed {
        kind,
        within,
        old,
        new,
    }
}

pub(super) const RENAMED: &[Renamed] = &[
    renamed("AuthService", "", "v3CircuitBreakers", "circuit_breakers"),
    renamed("AuthService", "", "v3StatsName", "stats_name"),
    renamed("Host", "", "selector", "mappingSelector"),
    renamed("Host", "tls", "v3CRLSecret", "crl_secret"),
    renamed("LogService", "", "v3ProtocolVersion", "protocol_version"),
    renamed("LogService", "", "v3StatsName", "stats_name"),
    renamed("Mapping", "", "host", "hostname"),
    renamed("Mapping", "", "v3StatsName", "stats_name"),
    renamed("Mapping", "", "v3health_checks", "health_checks"),
    renamed("RateLimitService", "", "v3GRPC", "grpc"),
    renamed("RateLimitService", "", "v3StatsName", "stats_name"),
    renamed("TCPMapping", "", "v3StatsName", "stats_name"),
    renamed("TLSContext", "", "v3CRLSecret", "crl_secret"),
    renamed("TracingService", "", "v3CustomTags", "custom_tags"),
    renamed("TracingService", "", "v3StatsName", "stats_name"),
    renamed(
        "TracingService",
        "config",
        "v3PropagationModes",
        "propagation_modes",
    ),
];

/// Fields that only v3alpha1 has: what it keeps of older versions.
pub(super) const NEW: &[(&str, &str)] = &[
    ("AuthService", "v2ExplicitTLS"),
    ("Mapping", "v2BoolHeaders"),
    ("Mapping", "v2BoolQueryParameters"),
    ("Mapping", "v2ExplicitTLS"),
    ("RateLimitService", "v2ExplicitTLS"),
    ("TCPMapping", "v2ExplicitTLS"),
];

/// Stands before the `ambassador_id`s of an object that was written as v3alpha1 and is stored as
/// v2, so that an Emissary that only knows v2 leaves it alone.
pub const ID_PREFIX: &str = "--apiVersion-v3alpha1-only--";

/// The versions that a kind of the API exists in.
pub fn versions(kind: &str) -> &'static [Version] {
    use Version::{V0, V1, V2, V3alpha1};
    match kind {
        "Listener" => &[V3alpha1],
        "Host" => &[V2, V3alpha1],
        "AuthService" | "Mapping" | "Module" | "RateLimitService" | "TracingService" => {
            &[V0, V1, V2, V3alpha1]
        }
        _ => &[V1, V2, V3alpha1],
    }
}

/// The spec of a kind, as any version has it, in v3alpha1. One of v3alpha1 is left as it is.
pub fn to_v3alpha1(kind: &str, version: Version, spec: Value) -> Converted {
    let fields = match spec {
        Value::Object(fields) if version != Version::V3alpha1 => fields,
        spec => {
            return Converted {
                spec,
                origins: FieldOrigins::default(),
                lost: Vec::new(),
            };
        }
    };
    let mut conversion = Conversion {
        fields,
        origins: FieldOrigins::default(),
        lost: Vec::new(),
    };
    conversion.forget_new(kind);
    conversion.rename(kind);
    conversion.ambassador_id();
    match kind {
        "AuthService" => conversion.tls("auth_service"),
        "Host" => conversion.deprecated_id(),
        "Mapping" => conversion.mapping(),
        "RateLimitService" | "TCPMapping" => conversion.tls("service"),
        "TracingService" => conversion.tag_headers(),
        _ => {}
    }
    if version == Version::V0 {
        conversion.v0(kind);
    }
    Converted {
        spec: Value::Object(conversion.fields),
        origins: conversion.origins,
        lost: conversion.lost,
    }
}

/// A spec on its way.
struct Conversion {
    fields: Map<String, Value>,
    origins: FieldOrigins,
    lost: Vec<Lost>,
}

impl Conversion {
    /// The API server drops fields that a version does not have; so they have no effect here.
    fn forget_new(&mut self, kind: &str) {
        for (_, field) in NEW.iter().filter(|(of, _)| *of == kind) {
            self.fields.remove(*field);
        }
        for Renamed { within, new, .. } in RENAMED.iter().filter(|field| field.kind == kind) {
            if let Some(fields) = self::within(&mut self.fields, within) {
                fields.remove(*new);
            }
        }
    }

    fn rename(&mut self, kind: &str) {
        for field in RENAMED.iter().filter(|field| field.kind == kind) {
            let Some(fields) = within(&mut self.fields, field.within) else {
                continue;
            };
            if let Some(value) = fields.remove(field.old) {
                fields.insert(field.new.to_owned(), value);
            }
            let parent = match field.within {
                "" => "spec".to_owned(),
                within => format!("spec.{within}"),
            };
            self.origins.add(
                format!("{parent}.{}", field.new),
                format!("{parent}.{}", field.old),
            );
        }
    }

    fn ambassador_id(&mut self) {
        self.string_or_list("ambassador_id");
        if let Some(Value::Array(ids)) = self.fields.get_mut("ambassador_id") {
            ids.iter_mut().for_each(without_prefix);
        }
    }

    /// The other spelling of a Host's `ambassador_id`: both count.
    fn deprecated_id(&mut self) {
        self.string_or_list("ambassadorId");
        match self.fields.remove("ambassadorId") {
            Some(Value::Array(more)) => {
                let ids = self.fields.entry("ambassador_id").or_insert(Value::Null);
                if ids.is_null() {
                    *ids = json!([]);
                }
                let Value::Array(ids) = ids else {
                    return;
                };
                for (index, mut id) in more.into_iter().enumerate() {
                    without_prefix(&mut id);
                    self.origins.add(
                        format!("spec.ambassador_id[{}]", ids.len()),
                        format!("spec.ambassadorId[{index}]"),
                    );
                    ids.push(id);
                }
            }
            // Whoever reads it says what it is not; it has that name there too.
            Some(other) => {
                self.fields.insert("ambassadorId".to_owned(), other);
            }
            None => {}
        }
    }

    /// A list that may be written as its only item.
    fn string_or_list(&mut self, field: &str) {
        if let Some(value @ Value::String(_)) = self.fields.get_mut(field) {
            *value = Value::Array(vec![value.take()]);
            self.origins
                .add(format!("spec.{field}[0]"), format!("spec.{field}"));
        }
    }

    fn tag_headers(&mut self) {
        if !matches!(self.fields.get("tag_headers"), Some(Value::Array(_))) {
            return;
        }
        let Some(Value::Array(headers)) = self.fields.remove("tag_headers") else {
            return;
        };
        if self.fields.get("custom_tags").is_some_and(|v| !v.is_null()) {
            self.lost.push(Lost {
                field: "spec.tag_headers".to_owned(),
                message: "tag_headers has no effect beside v3CustomTags".to_owned(),
                help: "write each header as a request_header of v3CustomTags".to_owned(),
            });
            return;
        }
        for index in 0..headers.len() {
            for part in ["tag", "request_header.name", "request_header"] {
                self.origins.add(
                    format!("spec.custom_tags[{index}].{part}"),
                    format!("spec.tag_headers[{index}]"),
                );
            }
        }
        let tags = headers
            .into_iter()
            .map(|header| json!({"tag": header, "request_header": {"name": header}}))
            .collect();
        self.fields.insert("custom_tags".to_owned(), tags);
    }
}

/// The spec itself, or the fields of one of its fields.
fn within<'a>(
    fields: &'a mut Map<String, Value>,
    name: &str,
) -> Option<&'a mut Map<String, Value>> {
    match name {
        "" => Some(fields),
        name => fields.get_mut(name)?.as_object_mut(),
    }
}

fn without_prefix(id: &mut Value) {
    if let Value::String(text) = id
        && let Some(rest) = text.strip_prefix(ID_PREFIX)
    {
        *text = rest.to_owned();
    }
}

// === impl Version ===

impl Version {
    pub fn parse(text: &str) -> Option<Self> {
        [Self::V0, Self::V1, Self::V2, Self::V3alpha1]
            .into_iter()
            .find(|version| version.as_str() == text)
    }

    pub fn as_str(self) -> &'static str {
        match self {
            Self::V0 => "v0",
            Self::V1 => "v1",
            Self::V2 => "v2",
            Self::V3alpha1 => "v3alpha1",
        }
    }
}

#[cfg(test)]
mod tests;
