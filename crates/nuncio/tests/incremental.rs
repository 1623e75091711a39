//! After any changes the engine serves what one that starts on the same resources serves, whatever
//! it left uncomputed on the way.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::sync::Arc;

use nuncio::engine::{Engine, Recomputed, Served};
use nuncio::quarantine::Found;
use nuncio_api::{ObjectKey, RawObject};
use nuncio_model::{Origin, Reason, ResourceId};
use nuncio_sources::{ChangeSet, manifest};
use nuncio_translate::{Scope, Settings, Store};
use proptest::prelude::*;
use proptest::sample::select;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;

const STEPS: usize = 2_000;

/// Each in several states; an empty one is its absence.
fn resource() -> impl Strategy<Value = (String, String)> {
    let number = 0..4u32;
    let slice = (
        number.clone(),
        select(vec!["a", "b", "c", "none"]),
        endpoints(),
        ports(),
    )
        .prop_map(|(n, service, endpoints, ports)| {
            let label = match service {
                "none" => String::new(),
                service => format!("kubernetes.io/service-name: {service}"),
            };
            let text = format!(
                "apiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\n\
                 metadata: {{name: s{n}, namespace: default, labels: {{{label}}}}}\n\
                 addressType: IPv4\nports: {ports}\nendpoints: {endpoints}\n"
            );
            (format!("EndpointSlice s{n}"), text)
        });
    let endpoints = (select(vec!["a", "b"]), select(vec!["[]", "[{addresses: [{ip: 10.9.0.1}], ports: [{port: 80}]}]"]))
        .prop_map(|(name, subsets)| {
            let text = format!(
                "apiVersion: v1\nkind: Endpoints\nmetadata: {{name: {name}, namespace: default}}\nsubsets: {subsets}\n"
            );
            (format!("Endpoints {name}"), text)
        });
    let service = (select(vec!["a", "b", "c"]), select(vec!["", "clusterIP: None,", "clusterIP: 10.0.0.1,", "type: ExternalName, externalName: x.example,"]), select(vec![80, 81]))
        .prop_map(|(name, kind, port)| {
            let text = format!(
                "apiVersion: v1\nkind: Service\nmetadata: {{name: {name}, namespace: default}}\nspec: {{{kind} ports: [{{port: {port}}}]}}\n"
            );
            (format!("Service {name}"), text)
        });
    let mapping = (number, select(vec!["a", "b", "c:81", "d", "a, load_balancer: {policy: nonsense}"]), select(vec!["", ", resolver: endpoint"]))
        .prop_map(|(n, service, more)| {
            let text = format!(
                "apiVersion: getambassador.io/v3alpha1\nkind: Mapping\nmetadata: {{name: m{n}, namespace: default}}\n\
                 spec: {{hostname: \"*\", prefix: /{n}/, service: {service}{more}}}\n"
            );
            (format!("Mapping m{n}"), text)
        });
    let fixed = select(vec![
        ("Listener l", "apiVersion: getambassador.io/v3alpha1\nkind: Listener\nmetadata: {name: l, namespace: default}\nspec: {port: 8080, protocol: HTTP, securityModel: XFP, hostBinding: {namespace: {from: ALL}}}\n"),
        ("KubernetesEndpointResolver endpoint", "apiVersion: getambassador.io/v3alpha1\nkind: KubernetesEndpointResolver\nmetadata: {name: endpoint, namespace: default}\nspec: {}\n"),
    ])
    .prop_map(|(name, text)| (name.to_owned(), text.to_owned()));
    let present = prop::bool::weighted(0.93);
    (
        prop_oneof![24 => slice, 3 => endpoints, 2 => service, 2 => mapping, 1 => fixed],
        present,
    )
        .prop_map(|((name, text), present)| (name, if present { text } else { String::new() }))
}

fn endpoints() -> impl Strategy<Value = String> {
    let one = (
        1..6u32,
        select(vec![
            "",
            ", conditions: {ready: false}",
            ", conditions: {ready: false, serving: true, terminating: true}",
        ]),
    )
        .prop_map(|(n, conditions)| format!("{{addresses: [10.1.0.{n}]{conditions}}}"));
    let wrong = Just("[{addresses: 7}]".to_owned());
    let list = prop::collection::vec(one, 0..4).prop_map(|all| format!("[{}]", all.join(", ")));
    prop_oneof![20 => list, 1 => wrong]
}

fn ports() -> impl Strategy<Value = &'static str> {
    select(vec![
        "[{port: 80}]",
        "[{port: 80}]",
        "[{name: x, port: 8080}, {port: 81}]",
        "[]",
    ])
}

fn objects(text: &str) -> Vec<RawObject> {
    manifest::parse(&Arc::from("x.yaml"), text).unwrap().objects
}

fn engine() -> Engine {
    let scope = Scope::default();
    let settings = Settings::new(&scope);
    Engine::new(Store::new(scope), settings)
}

#[test]
fn what_is_left_uncomputed_is_as_it_was() {
    let mut runner = TestRunner::deterministic();
    let changes = prop::collection::vec(resource(), 1..3);
    let mut state: BTreeMap<String, (ObjectKey, String)> = BTreeMap::new();
    let mut incremental = engine();
    let mut served: Arc<Served> = incremental.apply(ChangeSet::default());
    let mut fast = 0;
    for step in 0..STEPS {
        let mut change = ChangeSet::default();
        let drawn = changes.new_tree(&mut runner).unwrap().current();
        // A change set has each resource once.
        for (name, text) in BTreeMap::from_iter(drawn) {
            if text.is_empty() {
                change
                    .deleted
                    .extend(state.remove(&name).map(|(key, _)| key));
                continue;
            }
            let object = objects(&text).remove(0);
            state.insert(name, (object.key(), text));
            change.upserted.push(object);
        }
        let before = Arc::clone(&served);
        served = incremental.apply(change);
        if let Recomputed::Endpoints(changed) = served.recomputed {
            fast += usize::from(changed > 0);
            let same = before.snapshot == served.snapshot;
            assert_eq!(same, changed == 0, "step {step} counts what it changed");
        }

        let all: String = state
            .values()
            .map(|(_, text)| format!("---\n{text}"))
            .collect();
        let cold = engine().apply(ChangeSet {
            upserted: objects(&all),
            ..ChangeSet::default()
        });
        assert_eq!(served.gateway, cold.gateway, "step {step}");
        assert_eq!(served.snapshot, cold.snapshot, "step {step}");
        assert_eq!(served.report, cold.report, "step {step}");
    }
    // Endpoints alone were computed anew often enough to have been tried.
    assert!(fast > STEPS / 40, "only {fast} of {STEPS}");
}

/// What is left out is input: the order in which it came about does not count, and nothing else
/// differs from its not being there.
#[test]
fn what_is_left_out_stays_so_until_it_changes() {
    let listener = "apiVersion: getambassador.io/v3alpha1\nkind: Listener\n\
        metadata: {name: l, namespace: default}\nspec: {port: 8080, protocol: HTTP, \
        securityModel: XFP, hostBinding: {namespace: {from: ALL}}}\n---\n";
    let mapping = |name: &str, service: &str| {
        format!(
            "apiVersion: getambassador.io/v3alpha1\nkind: Mapping\nmetadata: {{name: {name}, \
             namespace: default}}\nspec: {{hostname: \"*\", prefix: /{name}/, service: {service}}}\n---\n"
        )
    };
    let change = |text: &str| ChangeSet {
        upserted: objects(text),
        ..ChangeSet::default()
    };
    let id = ResourceId::new("getambassador.io", "Mapping", "default", "b");
    let blame = |engine: &mut Engine, change| {
        let at = Origin::new(Arc::new(id.clone()));
        let blamed = vec![(at, Arc::from("it is too large"))];
        engine.found(Found { change, blamed })
    };
    let left_out = |served: &Served| {
        let mut entries = served.report.entries().iter();
        entries.any(|entry| entry.reason == Reason::LeftOut && *entry.resource == id)
    };
    let (a, b, c) = (mapping("a", "a"), mapping("b", "b"), mapping("c", "c"));

    let mut incremental = engine();
    incremental.apply(change(&[listener, &a, &b].concat()));
    assert!(blame(&mut incremental, 1));
    assert!(left_out(&incremental.leave_out()));
    // It is read again and is the same; something else changes.
    let served = incremental.apply(change(&[b.as_str(), &c].concat()));
    assert!(left_out(&served));

    let mut cold = engine();
    cold.apply(change(&[listener, &a, &b, &c].concat()));
    assert!(blame(&mut cold, 1));
    let cold = cold.leave_out();
    assert_eq!(served.gateway, cold.gateway);
    assert_eq!(served.snapshot, cold.snapshot);
    assert_eq!(served.report, cold.report);

    let without = engine().apply(change(&[listener, &a, &c].concat()));
    assert_eq!(served.gateway, without.gateway);
    assert_eq!(served.snapshot, without.snapshot);

    // What was found of an older state of it counts no more.
    let changed = incremental.apply(change(&mapping("b", "other")));
    assert!(!left_out(&changed));
    assert!(!blame(&mut incremental, changed.change - 1));
    let now = engine().apply(change(&[listener, &a, &mapping("b", "other"), &c].concat()));
    assert_eq!(changed.snapshot, now.snapshot);
}
