#![allow(clippy::unwrap_used)]

use std::sync::Arc;

use nuncio_api::{RawObject, SourceRef};
use nuncio_model::Reason;
use proptest::prelude::*;
use serde_json::json;

use super::*;

fn yaml(text: &str) -> Manifest {
    parse(&Arc::from("a.yaml"), text).unwrap()
}

fn names(objects: &[RawObject]) -> Vec<String> {
    objects
        .iter()
        .map(|object| object.key().to_string())
        .collect()
}

#[test]
fn reads_every_document_and_skips_empty_ones() {
    let manifest = yaml(
        "---\n---\n# nothing\n---\napiVersion: v1\nkind: Service\nmetadata: {name: a}\n---\n~\n\
         ---\napiVersion: v1\nkind: Namespace\nmetadata: {name: b, namespace: x}\n...\n---\n",
    );
    assert_eq!(
        names(&manifest.objects),
        ["Service default/a", "Namespace /b"]
    );
    assert_eq!(manifest.problems, []);
    assert_eq!(
        manifest.objects[1].source,
        SourceRef::File {
            path: Arc::from("a.yaml"),
            document: 1,
            item: None
        }
    );
}

#[test]
fn flattens_lists() {
    let manifest = yaml(
        "apiVersion: v1\nkind: List\nitems:\n- {apiVersion: v1, kind: Service, metadata: {name: a}}\n\
         ---\napiVersion: getambassador.io/v2\nkind: MappingList\nitems:\n- metadata: {name: b, namespace: ns}\n",
    );
    assert_eq!(
        names(&manifest.objects),
        ["Service default/a", "Mapping ns/b"]
    );
    assert_eq!(
        manifest.objects[1].api_version.as_ref(),
        "getambassador.io/v2"
    );
    assert_eq!(manifest.objects[1].body.to_value()["kind"], "Mapping");
}

#[test]
fn a_document_that_is_no_object_is_reported_and_the_others_count() {
    let manifest = yaml(
        "apiVersion: v1\nkind: Service\n---\napiVersion: v1\nkind: Service\nmetadata:\n  name: 12\n\
         ---\n- 1\n---\napiVersion: v1\nkind: Service\nmetadata: {name: c, labels: {a: 1}}\n",
    );
    assert_eq!(names(&manifest.objects), ["Service default/c"]);
    assert_eq!(manifest.objects[0].meta.labels["a"], "1");
    let lines: Vec<_> = manifest.problems.iter().map(ToString::to_string).collect();
    assert_eq!(
        lines,
        [
            "File a.yaml: line 1: this document has no metadata.name; it is left out; write a name that is unique for its kind and namespace, as a string [MissingField]",
            "File a.yaml: line 7: metadata.name must be a string, not 12; this document is left out; quote it: in Kubernetes' YAML plain numbers, and words such as y, no and on, are no strings [InvalidValue]",
            "File a.yaml: line 9: this document is not an object; write apiVersion, kind and metadata.name [InvalidValue]",
            "Service default/c: metadata.labels[\"a\"]: must be a string; taken as \"1\"; quote the value: Kubernetes refuses it otherwise [InvalidValue]",
        ],
    );
    assert_eq!(manifest.problems[0].reason, Reason::MissingField);
}

#[test]
fn scalars_are_what_kubectl_makes_of_them() {
    let manifest = yaml(
        "apiVersion: v1\nkind: X\nmetadata: {name: a}\nspec:\n  a: yes\n  b: 'yes'\n  c: 0755\n  d: 10\n  e: 1.5\n  \
         f: null\n  g: off\n  h: 1_000\n  i: 0x10\n  j: 10s\n  k: -1\n  on: x\n  200: z\n",
    );
    assert_eq!(
        manifest.objects[0].body.to_value()["spec"],
        json!({
            "a": true, "b": "yes", "c": 493, "d": 10, "e": 1.5, "f": null, "g": false, "h": 1000,
            "i": 16, "j": "10s", "k": -1, "on": "x", "200": "z",
        })
    );
}

#[test]
fn anchors_and_merge_keys_work() {
    let manifest = yaml(
        "apiVersion: v1\nkind: X\nmetadata: {name: a}\nbase: &base {x: 1, y: 2}\nspec:\n  <<: *base\n  y: 3\n",
    );
    assert_eq!(
        manifest.objects[0].body.to_value()["spec"],
        json!({"x": 1, "y": 3})
    );
    let mut text =
        String::from("apiVersion: v1\nkind: X\nmetadata: {name: a}\nbase: &base {x: 1}\nspec:\n");
    for _ in 0..500 {
        text.push_str("- *base\n");
    }
    assert_eq!(
        yaml(&text).objects[0].body.to_value()["spec"]
            .as_array()
            .unwrap()
            .len(),
        500
    );
}

#[test]
fn an_alias_bomb_is_refused() {
    let mut text = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n");
    for level in 1..12 {
        let alias = format!("*a{}", level - 1);
        let list = vec![alias; 10].join(", ");
        text.push_str(&format!("a{level}: &a{level} [{list}]\n"));
    }
    parse(&Arc::from("a.yaml"), &text).unwrap_err();
}

#[test]
fn a_syntax_error_names_its_place_and_refuses_the_file() {
    let good = "apiVersion: v1\nkind: X\nmetadata: {name: a}\n---\n";
    for (text, line, column, message) in [
        ("a: [\n", 5, 4, "unclosed bracket '['"),
        (
            "a: 1\na: 2\n",
            6,
            1,
            "duplicate mapping key `a` is not allowed here",
        ),
        (
            "a: 1\n b: 2\n",
            6,
            3,
            "mapping values are not allowed in this context",
        ),
        ("a: *x\n", 5, 4, "reference to unknown value"),
    ] {
        let error = parse(&Arc::from("a.yaml"), &format!("{good}{text}")).unwrap_err();
        let expected = SyntaxError {
            line,
            column,
            message: message.to_owned(),
        };
        assert_eq!(error, expected);
    }
    let error = parse(&Arc::from("a.json"), "{\"a\": 1}\n{\"a\": 1,\n \"a\": 2}").unwrap_err();
    assert_eq!(
        (error.line, error.message.as_str()),
        (3, "duplicate key \"a\"")
    );
}

#[test]
fn json_may_hold_several_documents() {
    let text = "{\"apiVersion\":\"v1\",\"kind\":\"X\",\"metadata\":{\"name\":\"a\"}} null\n\
                {\"apiVersion\":\"v1\",\"kind\":\"X\",\"metadata\":{\"name\":\"b\"}}";
    let manifest = parse(&Arc::from("a.json"), text).unwrap();
    assert_eq!(names(&manifest.objects), ["X default/a", "X default/b"]);
}

#[test]
fn a_file_may_hold_ten_thousand_objects() {
    let text: String = (0..10_000)
        .map(|n| {
            format!(
                "---\napiVersion: v1\nkind: X\nmetadata:\n  name: x{n}\nspec: {{prefix: /{n}/}}\n"
            )
        })
        .collect();
    assert_eq!(yaml(&text).objects.len(), 10_000);
}

proptest! {
    #[test]
    fn any_text_parses_or_is_refused(text in "\\PC*") {
        let _ = parse(&Arc::from("a.yaml"), &text);
        let _ = parse(&Arc::from("a.json"), &text);
    }

    #[test]
    fn any_yaml_like_text_parses_or_is_refused(
        text in "([-a:{}\\[\\],&*!|>'\"#%?~ \n\t<]|: |- |kind|items|List|metadata|name|apiVersion){0,40}"
    ) {
        let path = Arc::from("a.yaml");
        if let Ok(manifest) = parse(&path, &text) {
            // Whatever was read is found again.
            let objects = manifest.objects.iter();
            let kinds = objects.map(|object| (Some(&object.source), "kind"));
            let found = crate::positions(kinds, |_| Some(text.clone()));
            prop_assert!(found.iter().all(Option::is_some));
        }
    }
}
