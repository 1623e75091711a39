//! The CustomResourceDefinitions of gateway.nuncio.dev, made of the types.

use serde_json::{Value, json};

use super::{GROUP, RoutePolicy};
use crate::getambassador::crd::status::conditions;
use crate::getambassador::crd::structural::{field, structural};

/// By which policies are found, and how they are inherited (GEP-713).
const POLICY: (&str, &str) = ("gateway.networking.k8s.io/policy", "Inherited");

/// The CRDs, one for each kind.
pub fn crds() -> Vec<Value> {
    vec![route_policy()]
}

fn route_policy() -> Value {
    let mut spec = structural(&schemars::schema_for!(RoutePolicy).to_value());
    let targets = field(&mut spec, "targetRefs");
    targets["maxItems"] = 16.into();
    targets["items"]["required"] = json!(["group", "kind", "name"]);
    field(&mut targets["items"], "kind")["enum"] =
        json!(["Gateway", "GRPCRoute", "HTTPRoute", "ListenerSet"]);
    field(&mut targets["items"], "group")["enum"] = json!([crate::gateway_api::GROUP]);
    let text = |about: &str| json!({"type": "string", "description": about});
    let ancestor = json!({
        "type": "object",
        "required": ["ancestorRef", "controllerName", "conditions"],
        "properties": {
            "ancestorRef": {
                "type": "object",
                "description": "A Gateway that it is in effect for, or what it is attached to where \
                                that is not there.",
                "required": ["name"],
                "properties": {
                    "group": text("The API group of its kind."),
                    "kind": text("Its kind."),
                    "namespace": text("Its namespace."),
                    "name": text("Its name."),
                    "sectionName": text("A part of it."),
                    "port": {"type": "integer", "format": "int32", "description": "A port of it."},
                },
            },
            "controllerName": text("Who says so."),
            "conditions": conditions(),
        },
    });
    let column = |name: &str, type_: &str, path: &str| json!({"name": name, "type": type_, "jsonPath": path});
    let (label, value) = POLICY;
    json!({
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {
            "name": format!("routepolicies.{GROUP}"),
            "labels": { label: value },
        },
        "spec": {
            "group": GROUP,
            "names": {
                "categories": ["gateway-api"],
                "kind": "RoutePolicy",
                "listKind": "RoutePolicyList",
                "plural": "routepolicies",
                "shortNames": ["rpol"],
                "singular": "routepolicy",
            },
            "scope": "Namespaced",
            "versions": [{
                "name": "v1alpha1",
                "served": true,
                "storage": true,
                "subresources": {"status": {}},
                "additionalPrinterColumns": [
                    column(
                        "Accepted",
                        "string",
                        ".status.ancestors[0].conditions[?(@.type==\"Accepted\")].status",
                    ),
                    column("Age", "date", ".metadata.creationTimestamp"),
                ],
                "schema": {"openAPIV3Schema": {
                    "type": "object",
                    "description": "RoutePolicy says what routes of the Gateway API cannot say themselves.",
                    "required": ["spec"],
                    "properties": {
                        "apiVersion": text("The version of the API that the object is written in."),
                        "kind": text("The kind of the object."),
                        "metadata": {"type": "object"},
                        "spec": spec,
                        "status": {
                            "type": "object",
                            "description": "What became of the object; nuncio writes it.",
                            "properties": {"ancestors": {
                                "type": "array",
                                "maxItems": 16,
                                "description": "What it is in effect for, or why it is not.",
                                "items": ancestor,
                            }},
                        },
                    },
                }},
            }],
        },
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    /// What a Mapping says of a field a RoutePolicy says in the same form.
    #[test]
    fn fields_are_those_of_a_mapping() {
        let mapping = structural(&schemars::schema_for!(crate::getambassador::Mapping).to_value());
        let crd = route_policy();
        let schema = &crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"];
        let own = &schema["properties"]["spec"]["properties"];
        for (name, own) in own.as_object().unwrap() {
            if name == "targetRefs" {
                continue;
            }
            let form = |schema: &Value| {
                let mut schema = schema.clone();
                schema.as_object_mut().unwrap().remove("description");
                schema
            };
            assert_eq!(form(own), form(&mapping["properties"][name]), "{name}");
        }
    }
}
