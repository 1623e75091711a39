//! What is written back into objects.

use serde_json::{Value, json};

/// The conditions that every kind has, and what Emissary's programs read of some. A newer nuncio may
/// write more than these CRDs know.
pub(super) fn status(kind: &str) -> Value {
    let mut properties = json!({
        "conditions": conditions(),
        "observedGeneration": {
            "type": "integer",
            "format": "int64",
            "description": "The generation of the object that the status is about.",
        },
        "attachedTo": {
            "type": "array",
            "description": "Where it is in effect: the first Listeners of a Host or a TCPMapping, or Hosts of a Mapping.",
            "items": {"type": "string"},
        },
    });
    let more = match kind {
        "Mapping" => mapping(),
        "Host" => host(),
        _ => json!({}),
    };
    if let (Value::Object(properties), Value::Object(more)) = (&mut properties, more) {
        properties.extend(more);
    }
    json!({
        "type": "object",
        "description": "What became of the object; nuncio writes it.",
        "properties": properties,
        "x-kubernetes-preserve-unknown-fields": true,
    })
}

pub(crate) fn conditions() -> Value {
    let text = |about: &str| json!({"type": "string", "description": about});
    json!({
        "type": "array",
        "description": "Whether the object is accepted and in effect, and why not.",
        "x-kubernetes-list-type": "map",
        "x-kubernetes-list-map-keys": ["type"],
        "items": {
            "type": "object",
            "required": ["type", "status"],
            "properties": {
                "type": text("What it is about, such as Accepted."),
                "status": {
                    "type": "string",
                    "description": "Whether it is so.",
                    "enum": ["True", "False", "Unknown"],
                },
                "reason": text("Why, in one word for programs."),
                "message": text("Why, for people."),
                "lastTransitionTime": {
                    "type": "string",
                    "format": "date-time",
                    "description": "When status last changed.",
                },
                "observedGeneration": {
                    "type": "integer",
                    "format": "int64",
                    "description": "The generation of the object that it is about.",
                },
            },
        },
    })
}

fn mapping() -> Value {
    json!({
        "state": {
            "type": "string",
            "description": "Running if it is in effect, else Inactive.",
            "enum": ["", "Inactive", "Running"],
        },
        "reason": {"type": "string", "description": "Why it is not in effect."},
    })
}

fn host() -> Value {
    let phase = |about: &str| {
        json!({
            "type": "string",
            "description": about,
            "enum": [
                "NA",
                "DefaultsFilled",
                "ACMEUserPrivateKeyCreated",
                "ACMEUserRegistered",
                "ACMECertificateChallenge",
            ],
        })
    };
    json!({
        "state": {
            "type": "string",
            "description": "Ready if it is in effect, Error if it is not.",
            "enum": ["Initial", "Pending", "Ready", "Error"],
        },
        "phaseCompleted": phase("How far a certificate has come by ACME."),
        "phasePending": phase("What is next by ACME."),
        "errorReason": {"type": "string", "description": "Why it is not in effect."},
        "errorTimestamp": {
            "type": "string",
            "format": "date-time",
            "description": "When that was seen.",
        },
        "errorBackoff": {
            "type": "string",
            "description": "How long to wait before ACME is tried again.",
        },
        "tlsCertificateSource": {
            "type": "string",
            "description": "Where its certificate comes from.",
            "enum": ["Unknown", "None", "Other", "ACME"],
        },
    })
}
