use serde_json::{Value, json};

use super::*;

fn all() -> Vec<Value> {
    crds(&CrdOptions {
        conversion: Some(WebhookService {
            namespace: "emissary-system".to_owned(),
            name: "emissary-apiext".to_owned(),
            port: 443,
        }),
    })
}

/// The schema of a kind's spec in a version.
fn spec(crds: &[Value], kind: &str, version: &str) -> Value {
    let crd = crds.iter().find(|crd| crd["spec"]["names"]["kind"] == kind);
    let versions = crd.unwrap()["spec"]["versions"].as_array().unwrap();
    let version = versions.iter().find(|found| found["name"] == version);
    version.unwrap()["schema"]["openAPIV3Schema"]["properties"]["spec"].clone()
}

/// Every schema below one.
fn visit(schema: &Value, path: &str, see: &mut impl FnMut(&str, &Value)) {
    see(path, schema);
    for (name, property) in schema["properties"].as_object().into_iter().flatten() {
        visit(property, &format!("{path}.{name}"), see);
    }
    for each in ["items", "additionalProperties"] {
        if let Some(inner) = schema.get(each) {
            visit(inner, &format!("{path}[]"), see);
        }
    }
}

#[test]
fn versions_are_emissarys() {
    for (crd, kind) in all().iter().zip(KINDS) {
        let versions = crd["spec"]["versions"].as_array().unwrap();
        let named: Vec<&str> = versions
            .iter()
            .map(|version| version["name"].as_str().unwrap())
            .collect();
        let stored: Vec<&Value> = versions
            .iter()
            .filter(|version| version["storage"] == true)
            .map(|version| &version["name"])
            .collect();
        let (expected, storage): (&[&str], &str) = match kind.kind {
            "Listener" => (&["v3alpha1"], "v3alpha1"),
            "Host" => (&["v2", "v3alpha1"], "v2"),
            _ => (&["v1", "v2", "v3alpha1"], "v2"),
        };
        assert_eq!(named, expected, "{}", kind.kind);
        assert_eq!(stored, [storage], "{}", kind.kind);
        let converted = crd["spec"].get("conversion").is_some();
        assert_eq!(converted, versions.len() > 1, "{}", kind.kind);
    }
}

#[test]
fn v3alpha1_alone_needs_no_webhook() {
    for crd in crds(&CrdOptions { conversion: None }) {
        let versions = crd["spec"]["versions"].as_array().unwrap();
        assert_eq!(versions.len(), 1);
        assert_eq!(versions[0]["name"], "v3alpha1");
        assert_eq!(versions[0]["storage"], true);
        assert_eq!(crd["spec"].get("conversion"), None);
    }
}

#[test]
fn every_field_of_v3alpha1_is_explained() {
    let crds = all();
    for kind in KINDS {
        let mut bare = Vec::new();
        visit(
            &spec(&crds, kind.kind, "v3alpha1"),
            "spec",
            &mut |path, schema| {
                if !path.ends_with("[]") && schema.get("description").is_none() {
                    bare.push(path.to_owned());
                }
                let text = schema["description"].as_str().unwrap_or_default();
                assert!(
                    !text.contains("Envoy:") && !text.contains("Emissary:"),
                    "{text}"
                );
            },
        );
        assert_eq!(bare, [""; 0], "{}", kind.kind);
    }
}

#[test]
fn what_has_several_forms_has_no_type() {
    let crds = all();
    let mapping = spec(&crds, "Mapping", "v2");
    assert_eq!(mapping["x-kubernetes-preserve-unknown-fields"], true);
    for field in [
        "tls",
        "headers",
        "ambassador_id",
        "labels",
        "host",
        "v3StatsName",
    ] {
        let schema = &mapping["properties"][field];
        assert!(schema.is_object(), "{field}");
        let typed = schema.get("type").is_some();
        assert_eq!(typed, matches!(field, "host" | "v3StatsName"), "{field}");
    }
    for field in ["hostname", "v2BoolHeaders", "v2ExplicitTLS", "stats_name"] {
        assert_eq!(mapping["properties"].get(field), None, "{field}");
    }
    let tcp = spec(&crds, "TCPMapping", "v3alpha1");
    assert_eq!(
        tcp["properties"]["idle_timeout_ms"]["x-kubernetes-int-or-string"],
        true
    );
    assert_eq!(tcp["required"], json!(["port", "service"]));
    let host = spec(&crds, "Host", "v2");
    assert_eq!(host["properties"]["tls"]["type"], "object");
    assert!(
        host["properties"]["tls"]["properties"]
            .get("v3CRLSecret")
            .is_some()
    );
}
