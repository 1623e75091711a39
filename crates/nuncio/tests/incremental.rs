//! After any changes the engine serves what one that starts on the same resources serves, whatever
//! it left uncomputed on the way.

#![allow(clippy::unwrap_used)]

#[path = "incremental/gateway_api.rs"]
mod gateway_api;
#[path = "support/mod.rs"]
mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, LazyLock, Mutex};

use nuncio::engine::{Engine, Recomputed, Served};
use nuncio::quarantine::Found;
use nuncio_api::core::SecretName;
use nuncio_api::{ObjectKey, RawObject};
use nuncio_echo::certs;
use nuncio_envoy_api::envoy::config::route::v3::RouteConfiguration;
use nuncio_envoy_api::resource::ResourceType;
use nuncio_model::{Origin, Reason, ResourceId};
use nuncio_sources::{ChangeSet, manifest};
use nuncio_translate::{Scope, ServiceType, Settings, Store};
use proptest::prelude::*;
use proptest::sample::select;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;
use prost::Message;

const TREE_STEPS: usize = 250;

const RESOLVER: &str = "apiVersion: getambassador.io/v3alpha1\nkind: KubernetesEndpointResolver\n\
    metadata: {name: endpoint, namespace: default}\nspec: {}\n";

/// Without NUNCIO_STEPS.
const STEPS: usize = 1_000;

/// Each in several states; an empty one is its absence.
fn resource() -> impl Strategy<Value = (String, String)> {
    let number = 0..4u32;
    // So many that hardly one is the last of its Service: then more changes than endpoints.
    let slice = (
        0..8u32,
        select(vec!["a", "a", "b", "b", "c", "none"]),
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
    let service = (select(vec!["a", "b", "c"]), select(vec!["", "", "clusterIP: None,", "clusterIP: 10.0.0.1,", "type: ExternalName, externalName: x.example,"]), select(vec![80, 80, 81]))
        .prop_map(|(name, kind, port)| {
            let text = format!(
                "apiVersion: v1\nkind: Service\nmetadata: {{name: {name}, namespace: default}}\nspec: {{{kind} ports: [{{port: {port}}}]}}\n"
            );
            (format!("Service {name}"), text)
        });
    let mapping = (
        number.clone(),
        select(vec!["/0/", "/1/", "/", "/0/", "/0/x"]),
        select(vec!["a", "a", "b", "c:81", "d", "https://a", "9.9.9.9", "a, load_balancer: {policy: nonsense}"]),
        prop::collection::vec(
            select(vec![
                "resolver: endpoint",
                "resolver: endpoint",
                "connect_timeout_ms: 1000",
                "connect_timeout_ms: 2000",
                "weight: 20",
                "weight: 90",
                "shadow: true",
                "host_redirect: true",
                "precedence: 1",
                "headers: {x: y}",
                "prefix_regex: true",
                "tls: t",
                "error_response_overrides: [{on_status_code: 500, body: {text_format: no}}]",
                "circuit_breakers: [{max_connections: 5}]",
                "timeout_ms: 7000",
                "bypass_auth: true",
                "auth_context_extensions: {a: b}",
                "labels: {ambassador: [{one: [{remote_address: {key: remote_address}}]}]}",
                "labels: {other: [{one: [{generic_key: {value: v}}]}]}",
            ]),
            0..3,
        ),
        select(vec!["\"*\"", "a.example", "\"*.example\"", ""]),
        select(vec!["", "labels: {who: x}", "labels: {who: y}"]),
    )
        .prop_map(|(n, prefix, service, more, hostname, labels)| {
            let more: BTreeMap<_, _> = more.iter().map(|more| more.split_once(':').unwrap()).collect();
            let more: String = more.iter().map(|(key, value)| format!(", {key}: {value}")).collect();
            let hostname = if hostname.is_empty() { String::new() } else { format!("hostname: {hostname}, ") };
            let text = format!(
                "apiVersion: getambassador.io/v3alpha1\nkind: Mapping\nmetadata: {{name: m{n}, namespace: default, {labels}}}\n\
                 spec: {{{hostname}prefix: {prefix}, service: {service}{more}}}\n"
            );
            (format!("Mapping m{n}"), text)
        });
    let host = (
        0..3u32,
        select(vec!["\"*\"", "a.example", "b.example", "\"*.example\""]),
        select(vec!["", ", mappingSelector: {matchLabels: {who: x}}", ", mappingSelector: {matchLabels: {who: y}}"]),
        select(vec!["Route", "Redirect", "Reject"]),
        select(vec!["", ", tlsSecret: {name: other}", ", tlsSecret: {name: s}", ", tlsSecret: {name: gone}, tlsContext: {name: t}"]),
    )
        .prop_map(|(n, hostname, selector, action, tls)| {
            let text = format!(
                "apiVersion: getambassador.io/v3alpha1\nkind: Host\nmetadata: {{name: h{n}, namespace: default}}\n\
                 spec: {{hostname: {hostname}, requestPolicy: {{insecure: {{action: {action}}}}}{selector}{tls}}}\n"
            );
            (format!("Host h{n}"), text)
        });
    let ingress = (
        0..2u32,
        select(vec!["", "host: a.example, ", "host: \"*.b.example\", "]),
        select(vec!["/0/", "/i"]),
        select(vec!["a", "b", "nowhere"]),
    )
        .prop_map(|(n, host, path, service)| {
            let text = format!(
                "apiVersion: networking.k8s.io/v1\nkind: Ingress\nmetadata: {{name: i{n}, namespace: default, \
                 annotations: {{kubernetes.io/ingress.class: ambassador}}}}\n\
                 spec: {{rules: [{{{host}http: {{paths: [{{path: {path}, pathType: Prefix, \
                 backend: {{service: {{name: {service}, port: {{number: 80}}}}}}}}]}}}}]}}\n"
            );
            (format!("Ingress i{n}"), text)
        });
    let tcp = (0..2u32, select(vec!["a", "b:81", "d"]), select(vec![9000, 9001])).prop_map(|(n, service, port)| {
        let text = format!(
            "apiVersion: getambassador.io/v3alpha1\nkind: TCPMapping\nmetadata: {{name: t{n}, namespace: default}}\n\
             spec: {{port: {port}, service: {service}}}\n"
        );
        (format!("TCPMapping t{n}"), text)
    });
    let module = select(vec!["{}", "{add_linkerd_headers: true}", "{default_labels: 7}", "{default_labels: {ambassador: {defaults: [{generic_key: {value: x}}]}}}", "{cluster_idle_timeout_ms: 5000}", "{lua_scripts: \"x = 1\"}", "{circuit_breakers: [{max_requests: 3}]}", "{diagnostics: {enabled: false}}"])
        .prop_map(|config| {
            let text = format!(
                "apiVersion: getambassador.io/v3alpha1\nkind: Module\nmetadata: {{name: ambassador, namespace: default}}\n\
                 spec: {{config: {config}}}\n"
            );
            ("Module ambassador".to_owned(), text)
        });
    let auth = (
        0..3u32,
        select(vec![
            "{auth_service: a}",
            "{auth_service: \"a:81\", path_prefix: /x}",
            "{auth_service: c, proto: grpc, protocol_version: v3}",
            "{auth_service: d.example}",
            "{auth_service: b, tls: t}",
            "{auth_service: b, timeout_ms: soon}",
            "{}",
        ]),
    )
        .prop_map(|(n, spec)| {
            let text = format!(
                "apiVersion: getambassador.io/v3alpha1\nkind: AuthService\nmetadata: {{name: u{n}, namespace: default}}\nspec: {spec}\n"
            );
            (format!("AuthService u{n}"), text)
        });
    let limits = (
        0..2u32,
        select(vec![
            "{service: a, protocol_version: v3}",
            "{service: b, protocol_version: v3, domain: other}",
            "{service: b}",
        ]),
    )
        .prop_map(|(n, spec)| {
            let text = format!(
                "apiVersion: getambassador.io/v3alpha1\nkind: RateLimitService\nmetadata: {{name: r{n}, namespace: default}}\nspec: {spec}\n"
            );
            (format!("RateLimitService r{n}"), text)
        });
    let tls_context = select(vec!["{}", "{sni: x.example}", "{ca_secret: gone}", "{secret: s}", "{min_tls_version: v9}"])
        .prop_map(|spec| {
            let text = format!(
                "apiVersion: getambassador.io/v3alpha1\nkind: TLSContext\nmetadata: {{name: t, namespace: default}}\nspec: {spec}\n"
            );
            ("TLSContext t".to_owned(), text)
        });
    let secret = (select(vec!["s", "gone", "other"]), 0..3usize).prop_map(|(name, content)| {
        let text = match SECRETS.get(content) {
            Some(pair) => support::tls_secret(name, pair).replace("name: ", "namespace: default, name: "),
            None => format!("apiVersion: v1\nkind: Secret\nmetadata: {{name: {name}, namespace: default}}\ndata: {{ca.crt: AAAA}}\n"),
        };
        (format!("Secret {name}"), text)
    });
    // What an annotation defines is a Mapping of the same name as others are.
    let annotated = (select(vec!["a", "b"]), select(vec!["m0", "m9"]), select(vec!["/0/", "/9/"])).prop_map(|(name, mapping, prefix)| {
        let text = format!(
            "apiVersion: v1\nkind: Service\nmetadata:\n  name: {name}\n  namespace: default\n  annotations:\n    \
             getambassador.io/config: |\n      apiVersion: getambassador.io/v3alpha1\n      kind: Mapping\n      \
             name: {mapping}\n      hostname: \"*\"\n      prefix: {prefix}\n      service: {name}\n\
             spec: {{ports: [{{port: 80}}]}}\n"
        );
        (format!("Service {name}"), text)
    });
    let fixed = select(vec![
        ("Listener l", "apiVersion: getambassador.io/v3alpha1\nkind: Listener\nmetadata: {name: l, namespace: default}\nspec: {port: 8080, protocol: HTTP, securityModel: XFP, hostBinding: {namespace: {from: ALL}}}\n"),
        ("Listener l", "apiVersion: getambassador.io/v3alpha1\nkind: Listener\nmetadata: {name: l, namespace: default}\nspec: {port: 8080, protocol: HTTP, securityModel: INSECURE, hostBinding: {namespace: {from: ALL}}}\n"),
        ("KubernetesEndpointResolver endpoint", RESOLVER),
    ])
    .prop_map(|(name, text)| (name.to_owned(), text.to_owned()));
    let present = prop::bool::weighted(0.93);
    (
        prop_oneof![
            12 => gateway_api::resource(),
            40 => slice, 3 => endpoints, 10 => service, 12 => mapping, 1 => fixed, 3 => host,
            2 => ingress, 2 => tcp, 1 => module, 1 => tls_context, 3 => secret, 1 => annotated, 2 => auth, 1 => limits,
        ],
        present,
    )
        .prop_map(|((name, text), present)| (name, if present { text } else { String::new() }))
}

fn endpoints() -> impl Strategy<Value = String> {
    let one = (
        1..6u32,
        select(vec![
            "",
            "",
            "",
            ", conditions: {ready: false}",
            ", conditions: {ready: false, serving: true, terminating: true}",
        ]),
    )
        .prop_map(|(n, conditions)| format!("{{addresses: [10.1.0.{n}]{conditions}}}"));
    let wrong = Just("[{addresses: 7}]".to_owned());
    let list = prop::collection::vec(one, 0..6).prop_map(|all| format!("[{}]", all.join(", ")));
    prop_oneof![20 => list, 1 => wrong]
}

fn ports() -> impl Strategy<Value = &'static str> {
    select(vec![
        "[{port: 80}]",
        "[{port: 80}]",
        "[{port: 80}]",
        "[{port: 80}]",
        "[{name: x, port: 8080}, {port: 81}]",
        "[]",
    ])
}

/// What there is at the beginning, so that the endpoints of most Services are of use to somebody.
fn first() -> [(String, String); 4] {
    let object = |group: &str, kind: &str, name: &str, spec: &str| {
        let text = format!(
            "apiVersion: {group}\nkind: {kind}\nmetadata: {{name: {name}, namespace: default}}\n\
             spec: {{{spec}}}\n"
        );
        (format!("{kind} {name}"), text)
    };
    const GROUP: &str = "getambassador.io/v3alpha1";
    [
        object(
            GROUP,
            "Listener",
            "l",
            "port: 8080, protocol: HTTP, securityModel: XFP, hostBinding: {namespace: {from: ALL}}",
        ),
        object(GROUP, "KubernetesEndpointResolver", "endpoint", ""),
        object("v1", "Service", "a", "ports: [{port: 80}]"),
        object("v1", "Service", "b", "ports: [{port: 80}]"),
    ]
}

fn objects(text: &str) -> Vec<RawObject> {
    manifest::parse(&Arc::from("x.yaml"), text).unwrap().objects
}

fn engine() -> Engine {
    let scope = Scope::default();
    let settings = Settings::new(&scope);
    Engine::new(Store::new(scope), settings)
}

/// What Secrets have.
static SECRETS: LazyLock<[certs::Pair; 2]> =
    LazyLock::new(|| [(); 2].map(|()| certs::self_signed(&["a.example"])));

/// The Secrets that a source has, and those that it follows.
#[derive(Default)]
struct Secrets {
    all: BTreeMap<SecretName, RawObject>,
    followed: Option<BTreeSet<SecretName>>,
    /// How many were told of because they are wanted.
    told: usize,
}

impl Secrets {
    fn follow(&mut self, wanted: &BTreeSet<SecretName>) -> Vec<RawObject> {
        let Some(before) = self.followed.replace(wanted.clone()) else {
            return Vec::new();
        };
        let new = wanted.difference(&before);
        let new: Vec<_> = new.filter_map(|name| self.all.get(name).cloned()).collect();
        self.told += new.len();
        new
    }

    /// Takes a change up, of which there remains what is followed.
    fn pass(&mut self, change: &mut ChangeSet) {
        let name = |key: &ObjectKey| {
            let name = (key.namespace.as_str().into(), key.name.as_str().into());
            (key.kind == "Secret").then_some(name)
        };
        let followed = self.followed.clone();
        let is_followed = |name: &SecretName| {
            followed
                .as_ref()
                .is_none_or(|followed| followed.contains(name))
        };
        change.upserted.retain(|object| {
            let Some(name) = name(&object.key()) else {
                return true;
            };
            self.all.insert(name.clone(), object.clone());
            is_followed(&name)
        });
        change.deleted.retain(|key| {
            let Some(name) = name(key) else {
                return true;
            };
            self.all.remove(&name);
            is_followed(&name)
        });
    }
}

/// One that holds none but the Secrets that are wanted.
fn engine_of(secrets: &Arc<Mutex<Secrets>>) -> Engine {
    let mut engine = engine();
    let secrets = Arc::clone(secrets);
    engine.follow_secrets(Box::new(move |wanted| {
        Some(secrets.lock().unwrap().follow(wanted))
    }));
    engine
}

/// Says where two things differ.
#[track_caller]
fn assert_same<T: PartialEq + std::fmt::Debug>(step: usize, served: &T, cold: &T) {
    if served != cold {
        let (served, cold) = (format!("{served:#?}"), format!("{cold:#?}"));
        let differences = similar::TextDiff::from_lines(&cold, &served);
        panic!("step {step}:\n{}", differences.unified_diff());
    }
}

#[test]
fn what_is_left_uncomputed_is_as_it_was() {
    let mut runner = TestRunner::deterministic();
    let changes = prop::collection::vec(resource(), 1..3);
    let mut state: BTreeMap<String, (ObjectKey, String)> = BTreeMap::new();
    let secrets = Arc::new(Mutex::new(Secrets::default()));
    let mut incremental = engine_of(&secrets);
    // Without it hardly any Mapping has endpoints.
    let resolver = objects(RESOLVER).remove(0);
    let name = "KubernetesEndpointResolver endpoint".to_owned();
    state.insert(name, (resolver.key(), RESOLVER.to_owned()));
    let mut served: Arc<Served> = incremental.apply(ChangeSet {
        upserted: vec![resolver],
        ..ChangeSet::default()
    });
    let mut fast = 0;
    let steps = std::env::var("NUNCIO_STEPS").map_or(STEPS, |steps| steps.parse().unwrap());
    for step in 0..steps {
        let mut change = ChangeSet::default();
        let mut drawn = changes.new_tree(&mut runner).unwrap().current();
        if step == 0 {
            drawn = first().into();
        }
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
        secrets.lock().unwrap().pass(&mut change);
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
        assert_same(step, &served.gateway, &cold.gateway);
        let shown = |served: &Served| {
            let inventory = &served.inventory;
            let (groups, upstreams) = (inventory.groups.clone(), inventory.upstreams.clone());
            let asked = inventory.services.clone();
            (groups, upstreams, inventory.resolvers.clone(), asked)
        };
        assert_same(step, &shown(&served), &shown(&cold));
        assert_eq!(served.snapshot, cold.snapshot, "step {step}");
        assert_same(step, &served.report, &cold.report);
        assert_same(step, &served.gateway_status, &cold.gateway_status);
    }
    // Endpoints alone were computed anew often enough to have been tried.
    assert!(fast > steps / 40, "only {fast} of {steps}");
    let told = secrets.lock().unwrap().told;
    assert!(told > steps / 200, "only {told} Secrets in {steps}");
}

/// What is left out is input: the order in which it came about does not count, and nothing else
/// differs from its not being there.
/// Tables that are searched as trees, of which only some nodes are encoded anew.
#[test]
fn what_is_left_of_a_tree_is_as_it_was() {
    let mut runner = TestRunner::deterministic();
    let path = prop::collection::vec(select(vec!["a", "b", "ab", "/", "/c/"]), 0..4);
    let more = select(vec![
        "",
        "",
        "",
        ", precedence: 1",
        ", headers: {x: y}",
        ", query_parameters: {q: r}",
        ", prefix_exact: true",
        ", case_sensitive: false",
        ", method: GET",
        ", prefix_regex: true",
        ", timeout_ms: 7000",
    ]);
    // Half of those that are there keep what they match, and lead elsewhere.
    let elsewhere = any::<bool>();
    let mapping = (0..90u32, path, more, prop::bool::weighted(0.9), elsewhere).prop_map(
        |(n, path, more, present, elsewhere)| {
            let text = format!(
                "apiVersion: getambassador.io/v3alpha1\nkind: Mapping\n\
                 metadata: {{name: m{n}, namespace: default}}\n\
                 spec: {{hostname: \"*\", prefix: \"/{}\", service: s{n}{more}}}\n",
                path.concat()
            );
            (n, (present.then_some(text), elsewhere))
        },
    );
    let mappings = prop::collection::vec(mapping, 1..4);
    let listener = "apiVersion: getambassador.io/v3alpha1\nkind: Listener\n\
        metadata: {name: l, namespace: default}\n\
        spec: {port: 8080, protocol: HTTP, securityModel: SECURE, hostBinding: {namespace: {from: ALL}}}\n";
    let mut state: BTreeMap<u32, (ObjectKey, String)> = BTreeMap::new();
    let mut incremental = engine();
    incremental.apply(ChangeSet {
        upserted: objects(listener),
        ..ChangeSet::default()
    });
    let mut trees = 0;
    for step in 0..TREE_STEPS {
        let mut change = ChangeSet::default();
        let drawn = mappings.new_tree(&mut runner).unwrap().current();
        for (n, (text, elsewhere)) in BTreeMap::from_iter(drawn) {
            let Some(mut text) = text else {
                let gone = state.remove(&n);
                change.deleted.extend(gone.map(|(key, _)| key));
                continue;
            };
            if let Some((_, before)) = state.get(&n).filter(|_| elsewhere) {
                let (one, other) = ("service: s", "service: t");
                text = match before.contains(one) {
                    true => before.replace(one, other),
                    false => before.replace(other, one),
                };
            }
            let object = objects(&text).remove(0);
            state.insert(n, (object.key(), text));
            change.upserted.push(object);
        }
        let served = incremental.apply(change);
        let all: String = state
            .values()
            .map(|(_, text)| format!("---\n{text}"))
            .collect();
        let cold = engine().apply(ChangeSet {
            upserted: objects(&format!("{listener}{all}")),
            ..ChangeSet::default()
        });
        assert_same(step, &served.gateway, &cold.gateway);
        let resources = |served: &Served| {
            let of = |kind| served.snapshot.of(kind).clone();
            let resources = ResourceType::ALL.map(of);
            let resources = resources.into_iter().flatten();
            let named = resources.map(|(name, resource)| (name, Arc::clone(&resource.version)));
            named.collect::<BTreeMap<_, _>>()
        };
        assert_same(step, &resources(&served), &resources(&cold));
        let tables = served.snapshot.of(ResourceType::RouteConfiguration);
        let table = tables.values().next().unwrap();
        let table = RouteConfiguration::decode(table.body.clone()).unwrap();
        trees += usize::from(table.virtual_hosts[0].matcher.is_some());
    }
    assert!(trees > TREE_STEPS / 4, "only {trees} of {TREE_STEPS}");
}

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

/// The labels of nuncio's pod select its own Service: others are nothing to Gateways.
#[test]
fn services_of_others_make_no_gateway_again() {
    const LABEL: &str = "app.kubernetes.io/component: ambassador-service";
    let scope = Scope::default();
    let settings = Settings {
        pod_labels: Some([("app".to_owned(), "nuncio".to_owned())].into()),
        gateway_services: Some(ServiceType::LoadBalancer),
        ..Settings::new(&scope)
    };
    let mut engine = Engine::new(Store::new(scope), settings);
    let mut change = |text: &str| {
        engine.apply(ChangeSet {
            upserted: objects(text),
            ..ChangeSet::default()
        })
    };
    let service = |name: &str, labels: &str, port: u16| {
        format!(
            "apiVersion: v1\nkind: Service\n\
             metadata: {{name: {name}, namespace: default, labels: {{{labels}}}}}\n\
             spec: {{selector: {{app: nuncio}}, ports: [{{port: {port}}}]}}\n---\n"
        )
    };
    let gateway = "apiVersion: gateway.networking.k8s.io/v1\nkind: Gateway\n\
        metadata: {name: g, namespace: default, generation: 1}\n\
        spec: {gatewayClassName: emissary, listeners: [{name: http, port: 8090, protocol: HTTP}]}\n---\n";
    let own = service("own", LABEL, 80);
    let before = change(&[gateway, &own, &service("other", "", 80)].concat());
    let same = |one: &Served, other: &Served| {
        Arc::ptr_eq(&one.infrastructure, &other.infrastructure)
            && Arc::ptr_eq(&one.gateway_status, &other.gateway_status)
    };
    let after = change(&(service("other", "", 81) + &service("new", "", 80)));
    assert!(same(&before, &after));
    // One that may be nuncio's own is not.
    let after = change(&service("new", LABEL, 80));
    assert!(!same(&before, &after));
    let last = change(&service("own", LABEL, 81));
    assert!(!same(&after, &last));
}
