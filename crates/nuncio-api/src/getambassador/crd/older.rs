//! What v1 and v2 have otherwise than v3alpha1.

use serde_json::{Map, Value};

use super::structural::{anything, loosen};
use crate::getambassador::conversion::{NEW, RENAMED};

/// Fields that may be written in several ways, by kind and the field that they stand in.
const SEVERAL_WAYS: &[(&str, &str, &[&str])] = &[
    ("AuthService", "", &["tls"]),
    (
        "Mapping",
        "",
        &[
            "add_request_headers",
            "add_response_headers",
            "headers",
            "labels",
            "query_parameters",
            "remove_request_headers",
            "remove_response_headers",
            "tls",
        ],
    ),
    (
        "Mapping",
        "cors",
        &["exposed_headers", "headers", "methods", "origins"],
    ),
    ("RateLimitService", "", &["tls"]),
    ("TCPMapping", "", &["tls"]),
];

/// Turns the schema of a spec into that of an older version. As in Emissary's CRDs a spec keeps
/// fields that are not known: what was stored before a CRD had a schema is not lost.
pub(super) fn spec(kind: &str, spec: &mut Value) {
    spec["x-kubernetes-preserve-unknown-fields"] = true.into();
    // The rules are about fields of v3alpha1.
    if let Some(spec) = spec.as_object_mut() {
        spec.remove("x-kubernetes-validations");
        if kind == "Module" {
            spec.remove("required");
        }
    }
    for field in RENAMED.iter().filter(|field| field.kind == kind) {
        let properties = properties(spec, field.within);
        if let Some(schema) = properties.remove(field.new) {
            properties.insert(field.old.to_owned(), schema);
        }
    }
    for (_, field) in NEW.iter().filter(|(of, _)| *of == kind) {
        properties(spec, "").remove(*field);
    }
    for (_, within, fields) in SEVERAL_WAYS.iter().filter(|(of, ..)| *of == kind) {
        let properties = properties(spec, within);
        fields.iter().for_each(|field| loosen(properties, field));
    }
    loosen(properties(spec, ""), "ambassador_id");
    match kind {
        "Mapping" => {
            properties(spec, "cors").remove("v2CommaSeparatedOrigins");
            spec["properties"]["cors"]["x-kubernetes-preserve-unknown-fields"] = true.into();
        }
        "Host" => {
            properties(spec, "").insert("ambassadorId".to_owned(), anything());
        }
        _ => {}
    }
}

fn properties<'a>(spec: &'a mut Value, within: &str) -> &'a mut Map<String, Value> {
    let schema = match within {
        "" => spec,
        within => &mut spec["properties"][within],
    };
    schema["properties"]
        .as_object_mut()
        .expect("invariant: what has fields says which")
}
