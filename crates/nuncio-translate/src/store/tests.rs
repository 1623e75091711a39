use std::sync::Arc;

use nuncio_api::yaml;
use nuncio_api::{Body, ObjectMeta, RawObject, SourceRef};
use nuncio_model::{Reason, Severity};
use serde_json::Value;

use super::{LabelSelectorExpr, Scope, Store};

pub(crate) fn objects(text: &str) -> Vec<RawObject> {
    yaml::documents(text)
        .unwrap()
        .into_iter()
        .enumerate()
        .map(|(document, body)| raw(document, body))
        .collect()
}

fn raw(document: usize, body: Value) -> RawObject {
    let mut meta: ObjectMeta = serde_json::from_value(body["metadata"].clone()).unwrap();
    if meta.namespace.is_empty() {
        meta.namespace = "default".to_owned();
    }
    RawObject {
        api_version: body["apiVersion"].as_str().unwrap().into(),
        kind: body["kind"].as_str().unwrap().into(),
        meta: Arc::new(meta),
        body: Body::from(&body),
        source: SourceRef::File {
            path: Arc::from("test.yaml"),
            document,
            item: None,
        },
    }
}

fn store(text: &str) -> Store {
    store_with(Scope::default(), text)
}

fn store_with(scope: Scope, text: &str) -> Store {
    let mut store = Store::new(scope);
    store.apply(objects(text), &[]);
    store
}

fn entries(store: &Store) -> Vec<(Severity, Reason, String, String)> {
    store
        .report()
        .map(|e| (e.severity, e.reason, e.field.to_string(), e.message))
        .collect()
}

const MAPPING: &str = "
apiVersion: getambassador.io/v3alpha1
kind: Mapping
metadata: {name: a}
spec: {prefix: /a/, service: a}
";

#[test]
fn a_wrong_type_costs_its_object_and_names_the_field() {
    let store = store(
        "
apiVersion: getambassador.io/v3alpha1
kind: Mapping
metadata: {name: bad}
spec: {prefix: /a/, service: a, circuit_breakers: [{max_connections: many}]}
---
apiVersion: getambassador.io/v3alpha1
kind: Listener
metadata: {name: bad}
spec: {port: 99999, securityModel: XFP}
---
apiVersion: getambassador.io/v3alpha1
kind: Listener
metadata: {name: none}
spec: {port: 80}
---
apiVersion: getambassador.io/v3alpha1
kind: Mapping
metadata: {name: good}
spec: {prefix: /a/, service: a, timeout_ms: null}
",
    );
    assert_eq!(store.mappings.len(), 1);
    let found = entries(&store);
    let fields: Vec<_> = found.iter().map(|e| (e.1, e.2.as_str())).collect();
    assert_eq!(
        fields,
        [
            (Reason::InvalidValue, "spec.port"),
            (Reason::MissingField, "spec.securityModel"),
            (
                Reason::InvalidValue,
                "spec.circuit_breakers[0].max_connections"
            ),
        ]
    );
    assert_eq!(
        found[0].3,
        "found the number `99999`, expected a whole number from 0 to 65535"
    );
    assert_eq!(
        found[2].3,
        "found the text \"many\", expected a whole number"
    );
}

#[test]
fn a_mended_or_deleted_object_takes_its_entries_along() {
    let mut store = store(&MAPPING.replace("service", "servce"));
    assert_eq!(entries(&store)[0].2, "spec.servce");
    store.apply(objects(MAPPING), &[]);
    assert!(entries(&store).is_empty());
    store.apply(objects(&MAPPING.replace("prefix", "prefx")), &[]);
    assert_eq!(entries(&store).len(), 1);
    let key = objects(MAPPING)[0].key();
    store.apply(Vec::new(), &[key]);
    assert!(entries(&store).is_empty());
    assert_eq!(store.mappings.len(), 0);
}

#[test]
fn kinds_and_versions_that_are_not_honoured_are_said() {
    let store = store(
        "
apiVersion: getambassador.io/v3alpha1
kind: DevPortal
metadata: {name: portal}
spec: {}
---
apiVersion: getambassador.io/v2
kind: Listener
metadata: {name: old}
spec: {port: 80, securityModel: XFP}
---
apiVersion: getambassador.io/v3alpha1
kind: Maping
metadata: {name: typo}
spec: {}
---
apiVersion: projectcontour.io/v1
kind: HTTPProxy
metadata: {name: proxy}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: ignored}
",
    );
    let mut kinds: Vec<_> = store
        .report()
        .map(|e| (e.resource.kind.to_string(), e.severity, e.help))
        .collect();
    kinds.sort();
    let kinds: Vec<_> = kinds
        .iter()
        .map(|(kind, severity, help)| (kind.as_str(), *severity, help.as_deref()))
        .collect();
    assert_eq!(kinds.len(), 4);
    assert_eq!(kinds[0].0, "DevPortal");
    assert_eq!(
        kinds[1],
        ("HTTPProxy", Severity::Warning, Some("write a Mapping"))
    );
    assert_eq!(kinds[2].0, "Listener");
    assert_eq!(kinds[3].2, Some("did you mean Mapping?"));
}

#[test]
fn the_scope_limits_what_is_seen() {
    let text = "
apiVersion: getambassador.io/v3alpha1
kind: Mapping
metadata: {name: a, namespace: ours, labels: {team: red}}
spec: {prefix: /a/, service: a, ambassador_id: [blue, other]}
---
apiVersion: getambassador.io/v3alpha1
kind: Mapping
metadata: {name: b, namespace: theirs, labels: {team: red}}
spec: {prefix: /b/, service: b, ambassador_id: [--apiVersion-v3alpha1-only--blue]}
---
apiVersion: getambassador.io/v3alpha1
kind: Mapping
metadata: {name: c, namespace: ours}
spec: {prefix: /c/, service: c}
---
apiVersion: getambassador.io/v3alpha1
kind: Mapping
metadata: {name: d, namespace: ours}
spec: {prefix: /d/, service: d, ambassador_id: [_automatic_]}
";
    let names = |scope| {
        let store = store_with(scope, text);
        let names: Vec<_> = store.mappings.iter().map(|m| m.name().to_owned()).collect();
        names.join("")
    };
    let scope = |id: &str| Scope {
        ambassador_id: id.to_owned(),
        namespace: "ours".to_owned(),
        ..Scope::default()
    };
    assert_eq!(names(scope("default")), "cd");
    assert_eq!(names(scope("blue")), "adb");
    let single = Scope {
        single_namespace: true,
        ..scope("blue")
    };
    assert_eq!(names(single), "ad");
    let selected = Scope {
        label_selector: Some(LabelSelectorExpr::parse("team=red").unwrap()),
        ..scope("blue")
    };
    assert_eq!(names(selected), "ab");
}

const ANNOTATED: &str = "
apiVersion: v1
kind: Service
metadata:
  name: web
  labels: {app: web}
  annotations:
    getambassador.io/config: |
      apiVersion: ambassador/v3alpha1
      kind: Mapping
      name: a
      prefix: /annotated/
      service: web
      ---
      kind: Mapping
      name: broken
      ---
      apiVersion: getambassador.io/v3alpha1
      kind: Mapping
      name: b
      namespace: other
      prefix: /b/
      service: web
spec: {ports: [{port: 80}]}
";

#[test]
fn annotations_define_resources_that_live_with_their_parent() {
    let mut store = store(ANNOTATED);
    let a = store.mappings.get("default", "a").unwrap();
    assert_eq!(a.spec.prefix.as_deref(), Some("/annotated/"));
    assert_eq!(&*a.rkey, "web.default.1");
    assert_eq!(a.meta.labels["app"], "web");
    let b = store.mappings.get("other", "b").unwrap();
    assert_eq!(&*b.rkey, "web.default.3");
    let found = entries(&store);
    assert_eq!(found.len(), 1);
    assert_eq!(
        found[0].3,
        "document 2 of the annotation: apiVersion is missing"
    );

    // An object of its own counts more, for as long as it is there.
    store.apply(objects(MAPPING), &[]);
    let prefix = |store: &Store| {
        store
            .mappings
            .get("default", "a")
            .unwrap()
            .spec
            .prefix
            .clone()
    };
    assert_eq!(prefix(&store).as_deref(), Some("/a/"));
    assert!(store.report().any(|e| e.reason == Reason::Duplicate));
    store.apply(Vec::new(), &[objects(MAPPING)[0].key()]);
    assert_eq!(prefix(&store).as_deref(), Some("/annotated/"));

    store.apply(Vec::new(), &[objects(ANNOTATED)[0].key()]);
    assert!(store.mappings.is_empty());
    assert!(entries(&store).is_empty());
}

#[test]
fn an_annotation_that_is_not_yaml_costs_only_itself() {
    let store = store(&ANNOTATED.replace("prefix: /annotated/", "prefix: [oops"));
    assert!(store.mappings.is_empty());
    assert_eq!(store.services.len(), 1);
    assert_eq!(entries(&store)[0].1, Reason::ParseError);
}
