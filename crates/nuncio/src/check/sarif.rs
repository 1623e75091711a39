//! SARIF 2.1.0, the form in which code scanning takes what a linter says.

use std::collections::BTreeMap;

use nuncio_model::{Entry, Severity};
use serde_json::{Value, json};

use super::Placed;
use crate::identity;

pub(super) fn log(entries: &[Placed<'_>]) -> Value {
    let rules: BTreeMap<String, Value> = entries
        .iter()
        .map(|(_, entry)| (entry.reason.to_string(), rule(entry)))
        .collect();
    json!({
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [{
            "tool": {
                "driver": {
                    "name": "nuncio",
                    "version": identity::VERSION,
                    "rules": rules.values().collect::<Vec<_>>(),
                }
            },
            "columnKind": "unicodeCodePoints",
            "results": entries.iter().map(result).collect::<Vec<_>>(),
        }]
    })
}

/// A reason is what others call a rule.
fn rule(entry: &Entry) -> Value {
    json!({
        "id": entry.reason,
        "shortDescription": { "text": entry.reason.meaning() },
    })
}

fn result((at, entry): &Placed<'_>) -> Value {
    let mut location = json!({
        "logicalLocations": [{
            "fullyQualifiedName": match &*entry.field {
                "" => entry.resource.to_string(),
                field => format!("{}: {field}", entry.resource),
            },
            "kind": "resource",
        }]
    });
    if let Some(at) = at {
        location["physicalLocation"] = json!({
            "artifactLocation": { "uri": uri(&at.file) },
            "region": { "startLine": at.line, "startColumn": at.column },
        });
    }
    json!({
        "ruleId": entry.reason,
        "level": match entry.severity {
            Severity::Error => "error",
            Severity::Warning => "warning",
            Severity::Notice => "note",
        },
        "message": { "text": message(entry) },
        "locations": [location],
    })
}

/// What is wrong with which resource; the field is where the result points.
pub(super) fn message(entry: &Entry) -> String {
    let mut text = format!("{}: ", entry.resource);
    if !entry.field.is_empty() {
        text.push_str(&format!("{}: ", entry.field));
    }
    text.push_str(&entry.message);
    if let Some(help) = &entry.help {
        text.push_str(&format!("; {help}"));
    }
    text
}

/// A path as a reference (RFC 3986): what may not stand there as percent and two digits.
fn uri(path: &str) -> String {
    let path = path.strip_prefix("./").unwrap_or(path);
    let mut uri = String::from(if path.starts_with('/') { "file://" } else { "" });
    for byte in path.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b'/' => {
                uri.push(byte.into());
            }
            _ => uri.push_str(&format!("%{byte:02X}")),
        }
    }
    uri
}

#[cfg(test)]
mod tests {
    use super::uri;

    #[test]
    fn paths_become_references() {
        assert_eq!(uri("./a b/ü.yaml"), "a%20b/%C3%BC.yaml");
        assert_eq!(uri("/a/b:c.yaml"), "file:///a/b%3Ac.yaml");
    }
}
