#![allow(clippy::unwrap_used)]

use std::sync::Arc;

use nuncio_api::SourceRef;
use proptest::prelude::*;

use super::*;

const YAML: &str = r#"# a comment
---
apiVersion: getambassador.io/v3alpha1
kind: Mapping
metadata:
  name: a
  annotations:
    getambassador.io/config: |
      ---
      kind: Mapping
      name: inner
      ---
      kind: Mapping
      prefix: /x/
spec:
  headers:
    x-foo: bar
    "a.b": c
  labels:
    ambassador:
    - group:
      - one
      - two: {deep: 1}
  <<: &more {shared: 1}
---
kind: List
items:
- kind: X
  metadata:
    name: x
- *gone
"#;

fn locate(
    text: &str,
    syntax: Syntax,
    document: usize,
    item: Option<usize>,
    field: &str,
) -> Option<(usize, usize)> {
    Tree::parse(text, syntax).locate(document, item, field)
}

fn at(field: &str) -> (usize, usize) {
    locate(YAML, Syntax::Yaml, 0, None, field).unwrap()
}

#[test]
fn finds_fields() {
    assert_eq!(at(""), (3, 1));
    assert_eq!(at("metadata.name"), (6, 3));
    assert_eq!(at("spec.headers.x-foo"), (17, 5));
    assert_eq!(at("spec.headers[\"a.b\"]"), (18, 5));
    assert_eq!(at("spec.labels.ambassador[0].group[1]"), (23, 9));
    assert_eq!(at("spec.labels.ambassador[0].group[1].two.deep"), (23, 15));
    assert_eq!(at("spec.shared"), (24, 14));
}

#[test]
fn a_missing_field_is_at_its_nearest_parent() {
    assert_eq!(at("spec.headers.none"), (16, 3));
    assert_eq!(at("spec.labels.ambassador[7]"), (20, 5));
    assert_eq!(at("none.at.all"), (3, 1));
    assert_eq!(locate(YAML, Syntax::Yaml, 5, None, "kind"), None);
}

#[test]
fn finds_items_of_lists_and_aliased_fields() {
    let text =
        "kind: List\nitems:\n- kind: X\n  metadata: &m\n    name: x\n- kind: Y\n  metadata: *m\n";
    assert_eq!(locate(text, Syntax::Yaml, 0, Some(0), ""), Some((3, 3)));
    assert_eq!(locate(text, Syntax::Yaml, 0, Some(1), "kind"), Some((6, 3)));
    assert_eq!(
        locate(text, Syntax::Yaml, 0, Some(1), "metadata.name"),
        Some((5, 5))
    );
    let lines = Tree::parse(text, Syntax::Yaml).lines();
    assert_eq!((lines[0].line, lines[0].items.as_slice()), (1, &[3, 6][..]));
}

#[test]
fn finds_fields_in_json() {
    let text = "{\"a\": 1} {\n\t\"metadata\": {\n\t\t\"na\\u006de\": \"\\ud83d\\ude00\",\n\t\t\"x\": [\n1]}} {\"b\": 2}";
    assert_eq!(locate(text, Syntax::Json, 0, None, "a"), Some((1, 2)));
    assert_eq!(locate(text, Syntax::Json, 1, None, ""), Some((1, 10)));
    assert_eq!(
        locate(text, Syntax::Json, 1, None, "metadata.name"),
        Some((3, 3))
    );
    assert_eq!(
        locate(text, Syntax::Json, 1, None, "metadata.x[0]"),
        Some((5, 1))
    );
    assert_eq!(locate(text, Syntax::Json, 2, None, "b"), Some((5, 7)));
}

fn annotated(document: usize) -> SourceRef {
    SourceRef::Annotation {
        parent: Arc::new(SourceRef::File {
            path: Arc::from("a.yaml"),
            document: 0,
            item: None,
        }),
        document,
    }
}

#[test]
fn an_object_from_an_annotation_is_found_in_its_parents_file() {
    let show = |document, field, text: &str| {
        let source = annotated(document);
        let places = positions([(Some(&source), field)], |path| {
            assert_eq!(path, "a.yaml");
            Some(text.to_owned())
        });
        places[0].as_ref().unwrap().to_string()
    };
    assert_eq!(show(0, "name", YAML), "a.yaml:11:7");
    assert_eq!(show(1, "prefix", YAML), "a.yaml:14:7");
    assert_eq!(show(1, "spec.prefix", YAML), "a.yaml:14:7");
    assert_eq!(show(0, "metadata.name", YAML), "a.yaml:11:7");
    assert_eq!(show(9, "prefix", YAML), "a.yaml:8:5");
    let folded = YAML.replace("config: |", "config: >");
    assert_eq!(show(1, "prefix", &folded), "a.yaml:8:5");
    let spaced = YAML.replace("config: |\n", "config: |\n\n\n");
    assert_eq!(show(1, "prefix", &spaced), "a.yaml:16:7");
}

/// A text is parsed as it is read, so that whoever reads each file once parses it once.
#[test]
fn each_file_is_read_once_however_much_is_asked_of_it() {
    let source = |path: &str, document| SourceRef::File {
        path: Arc::from(path),
        document,
        item: None,
    };
    let sources: Vec<_> = (0..500)
        .flat_map(|n| ["a.yaml", "b.json", "gone.yaml"].map(|path| source(path, n)))
        .collect();
    let mut wanted: Vec<_> = sources.iter().map(|source| (Some(source), "b")).collect();
    wanted.push((None, "b"));
    let mut read = Vec::new();
    let places = positions(wanted, |path| {
        read.push(path.to_owned());
        match path {
            "a.yaml" => Some("a: 1\nb: 2\n---\n".repeat(500)),
            "b.json" => Some("{\"a\": 1,\n\"b\": 2} ".repeat(500)),
            _ => None,
        }
    });
    read.sort();
    assert_eq!(read, ["a.yaml", "b.json", "gone.yaml"]);
    assert_eq!(places.len(), 1501);
    let place = |index: usize| places[index].as_ref().map(Position::to_string);
    for n in 0..500 {
        assert_eq!(place(3 * n), Some(format!("a.yaml:{}:1", 3 * n + 2)));
        assert_eq!(place(3 * n + 1), Some(format!("b.json:{}:1", n + 2)));
        assert_eq!(place(3 * n + 2), None);
    }
    assert_eq!(place(1500), None);
}

proptest! {
    #[test]
    fn any_text_and_field_is_looked_up_without_panic(
        text in "([-a:{}\\[\\],&*!|>'\"#%?~ \n\t<]|: |- |é|😀){0,40}",
        field in "[a.\\[\\]\"0-9]{0,12}",
    ) {
        let _ = locate(&text, Syntax::Yaml, 0, None, &field);
        let _ = locate(&text, Syntax::Json, 0, Some(0), &field);
        let _ = Tree::parse(&text, Syntax::Yaml).lines();
    }
}
