//! Whatever is written: translation does not panic, what is valid stays in effect, and Envoy takes
//! what comes of it.

#![allow(clippy::unwrap_used)]

#[path = "support/schema.rs"]
mod schema;
#[path = "support/static_config.rs"]
mod static_config;
mod support;

use std::sync::{Arc, LazyLock};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use nuncio_api::getambassador::{
    Host, KubernetesResolver, Listener, Mapping, ModuleConfig, TcpMapping, TlsContext,
};
use nuncio_api::ingress::Ingress;
use nuncio_echo::certs::{self, Pair};
use nuncio_envoy_api::json::body_to_json;
use nuncio_envoy_api::resource::{ResourceType, Snapshot};
use nuncio_sources::manifest;
use nuncio_translate::{Scope, Settings, Store};
use proptest::prelude::*;
use proptest::sample::select;
use proptest::strategy::{Union, ValueTree};
use proptest::test_runner::{Config, TestRunner};
use schema::{Schema, fields};
use schemars::JsonSchema;
use serde_json::{Map, Value, json};
use static_config::StaticConfig;

/// Sorts before everything random, so that it counts where two claim the same.
const GOOD: &str = r#"
apiVersion: getambassador.io/v3alpha1
kind: Listener
metadata: {name: "0-good"}
spec: {port: 1, protocol: HTTPS, securityModel: XFP, hostBinding: {namespace: {from: ALL}}}
---
apiVersion: getambassador.io/v3alpha1
kind: Host
metadata: {name: "0-good"}
spec: {hostname: good.example, requestPolicy: {insecure: {action: Route}}}
---
apiVersion: getambassador.io/v3alpha1
kind: Mapping
metadata: {name: "0-good"}
spec: {hostname: good.example, prefix: /good/, precedence: 1000, service: 10.0.0.1}
---
"#;

/// What the Secret `good` and files hold.
static PAIR: LazyLock<Pair> = LazyLock::new(|| certs::self_signed(&["a.example"]));

fn good() -> String {
    let pair = &*PAIR;
    let secret = json!({
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": { "name": "good" },
        "type": "kubernetes.io/tls",
        "data": {
            "tls.crt": STANDARD.encode(&pair.cert_pem),
            "tls.key": STANDARD.encode(&pair.key_pem),
        },
    });
    format!("{GOOD}{secret}\n---\n")
}

/// The files that there are.
fn file(path: &str) -> Result<String, String> {
    match path {
        "/page.html" => Ok("<h1>%RESPONSE_CODE%</h1>\n".to_owned()),
        "/broken.html" => Ok("100% %NOPE%".to_owned()),
        "/cert.pem" => Ok(PAIR.cert_pem.clone()),
        "/key.pem" => Ok(PAIR.key_pem.clone()),
        _ => Err("it is not there".to_owned()),
    }
}

/// Texts that are special somewhere.
const TEXTS: &[&str] = &[
    "",
    "*",
    "**",
    "*.a.example",
    "a.*",
    "a*b",
    "A.example",
    "a.example",
    "a.example:80",
    ".",
    "/",
    "/a",
    "/a/",
    "//",
    "?",
    "#",
    "/a?b=c",
    "[",
    "(",
    "a{2,1}",
    "(?i)a",
    ".*",
    "\\",
    "\\1",
    "\\9",
    "%",
    "%%",
    "%REQ(a)%",
    "%REQ(:path)%",
    "%NOPE%",
    "a b",
    "a\nb",
    "a\0b",
    "ä",
    "日本",
    " ",
    "-",
    "x-a",
    "X-A",
    ":authority",
    ":method",
    ":path",
    ":x",
    "host",
    "Host",
    "connection",
    "te",
    "http://",
    "https://a",
    "https://a:0",
    "a:65536",
    "a:-1",
    "a:80:80",
    "::1",
    "[::1]",
    "[::1]:80",
    "10.0.0.1",
    "256.0.0.1",
    "localhost",
    "a.b",
    "a.b.c",
    "GET",
    "get",
    "G T",
    "5xx",
    "5xx,reset",
    "1s",
    "-1s",
    "0s",
    "1e99s",
    "9999999999999s",
    "high",
    "default",
    "true",
    "websocket",
    "h2",
    "http/1.1,h2",
    "TLSv1.3",
    "v1.3",
    "v9",
    "ECDHE-RSA-AES128-GCM-SHA256",
    "NOPE",
    "X25519",
    "HTTP",
    "HTTPS",
    "TCP",
    "TLS",
    "UDP",
    "PROXY",
    "XFP",
    "SECURE",
    "INSECURE",
    "Route",
    "Redirect",
    "Reject",
    "ALL",
    "SELF",
    "SELECTOR",
    "round_robin",
    "maglev",
    "strict_dns",
    "logical_dns",
    "0-good",
    "good",
    "301",
    "86400",
    "a",
    "endpoint",
    "kubernetes-service",
    "least_request",
    "ring_hash",
    "/page.html",
    "/broken.html",
    "/cert.pem",
    "/key.pem",
    "/dev/fd/1",
    "text",
    "json",
    "typed_json",
    "text/html",
    "%RESPONSE_CODE%",
    "%START_TIME(%Y)%",
    "%DYNAMIC_METADATA(a:b)%",
    "peer",
    "remote",
    "10.0.0.0/8",
    "10.0.0.0/33",
    "::/0",
    "::/129",
    "BEST_SPEED",
    "COMPRESSION_LEVEL_9",
    "HUFFMAN_ONLY",
    "REJECT_REQUEST",
    "SANITIZE_SET",
    "function envoy_on_request(handle) end",
    "function (",
    "http.max_requests_per_io_cycle",
    "envoy.reloadable_features.x",
    "In",
    "Exists",
];

/// Random manifests of the kinds that count; many of them nearly right.
fn manifests() -> impl Strategy<Value = String> {
    prop::collection::vec(object(), 1..8).prop_map(|objects| {
        let documents = objects.iter().map(|object| format!("{object}\n---\n"));
        documents.collect()
    })
}

fn object() -> impl Strategy<Value = Value> {
    let core = |kind: &'static str, names: &[&str], base: Value| {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        (prop::collection::vec((select(names.clone()), value(names)), 0..3)).prop_map(
            move |fields| {
                let mut object = base.clone();
                object["apiVersion"] = "v1".into();
                object["kind"] = kind.into();
                object["metadata"] = json!({ "name": "a" });
                for (field, value) in fields {
                    object[field] = value;
                }
                object
            },
        )
    };
    let named = select(&["a", "b", "c"][..]);
    let module = getambassador::<ModuleConfig>("Module", json!({}), Just("ambassador"));
    let module = module.prop_map(|mut object| {
        let config = &mut object["spec"];
        // Envoy makes the file, and runs the script.
        if config["envoy_log_path"]
            .as_str()
            .is_some_and(|path| !path.ends_with('/'))
        {
            config["envoy_log_path"] = "/dev/null".into();
        }
        if config["lua_scripts"]
            .as_str()
            .is_some_and(|script| !script.starts_with("function"))
        {
            config["lua_scripts"] = "function (".into();
        }
        object["spec"] = json!({ "config": object["spec"].take() });
        object
    });
    let resolver = |kind| getambassador::<KubernetesResolver>(kind, json!({}), named.clone());
    prop_oneof![
        5 => getambassador::<Mapping>("Mapping", json!({
            "hostname": "*", "prefix": "/x/", "service": "a",
        }), named.clone()),
        1 => getambassador::<Host>("Host", json!({"hostname": "a.example"}), named.clone()),
        1 => getambassador::<Host>("Host", json!({
            "hostname": "b.example", "tlsSecret": {"name": "good"},
        }), named.clone()),
        2 => getambassador::<Listener>("Listener", json!({
            "port": 2, "protocol": "HTTPS", "securityModel": "XFP",
            "hostBinding": {"namespace": {"from": "ALL"}},
        }), named.clone()),
        1 => getambassador::<TlsContext>("TLSContext", json!({"sni": "a.example"}), named.clone()),
        1 => getambassador::<TcpMapping>("TCPMapping", json!({
            "port": 2, "service": "a", "host": "a.example",
        }), named.clone()),
        2 => module,
        1 => resolver("KubernetesServiceResolver"),
        1 => resolver("KubernetesEndpointResolver"),
        2 => ingress(),
        1 => core("Service", &["spec", "ports", "clusterIP", "type", "externalName"], json!({"spec": {"clusterIP": "10.0.0.2", "ports": [{"port": 80}]}})),
        1 => core("Secret", &["data", "type", "tls.crt", "tls.key"], json!({"data": {}})),
        1 => core("Endpoints", &["subsets", "addresses", "ports"], json!({"subsets": []})),
    ]
}

/// A resource whose fields are mostly of the right type, and hold anything.
fn getambassador<T: JsonSchema>(
    kind: &'static str,
    base: Value,
    name: impl Strategy<Value = &'static str>,
) -> impl Strategy<Value = Value> {
    let schema = Schema::of::<T>();
    let names: Vec<String> = fields::<T>().into_iter().collect();
    let any = prop::collection::vec((select(names.clone()), value(names)), 0..4);
    let fields = prop_oneof![
        3 => shaped(&schema, schema.root(), 5),
        1 => any.prop_map(|fields| Value::Object(Map::from_iter(fields))),
    ];
    (fields, name).prop_map(move |(fields, name)| {
        let mut spec = base.clone();
        for (field, value) in fields.as_object().into_iter().flatten() {
            spec[field] = value.clone();
        }
        json!({
            "apiVersion": "getambassador.io/v3alpha1",
            "kind": kind,
            "metadata": { "name": name, "labels": { "x-a": "a.b" } },
            "spec": spec,
        })
    })
}

/// A value of the type that a schema says, with few of its fields, to a depth.
fn shaped(schema: &Schema, node: &Value, depth: u32) -> BoxedStrategy<Value> {
    let Some(depth) = depth.checked_sub(1) else {
        return Just(Value::Null).boxed();
    };
    let variants = schema.variants(node).into_iter();
    Union::new(variants.map(|variant| {
        if let Some(properties) = variant["properties"].as_object() {
            let chance = (4.0 / properties.len() as f64).min(0.6);
            let fields = properties.iter().map(|(name, node)| {
                let name = name.clone();
                let value = shaped(schema, node, depth);
                prop::option::weighted(chance, value.prop_map(move |value| (name.clone(), value)))
            });
            let fields: Vec<_> = fields.collect();
            return fields
                .prop_map(|fields| Value::Object(fields.into_iter().flatten().collect()))
                .boxed();
        }
        if let Some(items) = variant.get("items") {
            let items = prop::collection::vec(shaped(schema, items, depth), 0..3);
            return items.prop_map(Value::from).boxed();
        }
        if let Some(each) = variant.get("additionalProperties") {
            let fields = (text(), shaped(schema, each, depth));
            return prop::collection::vec(fields, 0..3)
                .prop_map(|fields| Value::Object(fields.into_iter().collect()))
                .boxed();
        }
        let types = &variant["type"];
        match types.as_str().or(types[0].as_str()) {
            Some("boolean") => any::<bool>().prop_map(Value::from).boxed(),
            Some("integer" | "number") => number().boxed(),
            Some("string") => text().prop_map(Value::from).boxed(),
            _ => prop_oneof![text().prop_map(Value::from), number()].boxed(),
        }
    }))
    .boxed()
}

fn text() -> impl Strategy<Value = String> {
    select(TEXTS).prop_map(str::to_owned)
}

fn number() -> impl Strategy<Value = Value> {
    prop_oneof![
        1 => any::<i64>().prop_map(Value::from),
        1 => (-2i64..4).prop_map(Value::from),
        2 => (0i64..1000).prop_map(Value::from),
        1 => (-2i64..100_000).prop_map(Value::from),
    ]
}

/// An Ingress that is nuncio's, with odd texts where texts belong, and perhaps odd fields.
fn ingress() -> impl Strategy<Value = Value> {
    let names: Vec<String> = fields::<Ingress>().into_iter().collect();
    let fields = prop::collection::vec((select(names.clone()), value(names)), 0..2);
    let types = select(&["Exact", "Prefix", "ImplementationSpecific", "0-good"][..]);
    let texts = prop::array::uniform4(select(TEXTS));
    (texts, types, fields, select(&["a", "b", "c"][..])).prop_map(
        |([host, path, service, secret], path_type, fields, name)| {
            let backend = json!({"service": {"name": service, "port": {"number": 80}}});
            let path = json!({"path": path, "pathType": path_type, "backend": backend});
            let mut spec = json!({
                "tls": [{"hosts": [host], "secretName": secret}],
                "rules": [{"host": host, "http": {"paths": [path]}}],
            });
            for (field, value) in fields {
                spec[field] = value;
            }
            json!({
                "apiVersion": "networking.k8s.io/v1",
                "kind": "Ingress",
                "metadata": {
                    "name": name,
                    "annotations": {"kubernetes.io/ingress.class": "ambassador"},
                },
                "spec": spec,
            })
        },
    )
}

/// Any value, its objects with fields of these names.
fn value(names: Vec<String>) -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        4 => select(TEXTS).prop_map(Value::from),
        1 => any::<i64>().prop_map(Value::from),
        2 => (-2i64..100_000).prop_map(Value::from),
        1 => any::<bool>().prop_map(Value::from),
        1 => Just(Value::Null),
        1 => any::<f64>().prop_map(Value::from),
        1 => "\\PC{0,8}".prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 16, 4, move |inner| {
        let key = prop_oneof![
            3 => select(names.clone()),
            1 => select(TEXTS).prop_map(str::to_owned),
        ];
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::vec((key, inner), 0..4)
                .prop_map(|fields| Value::Object(Map::from_iter(fields))),
        ]
    })
}

fn served(text: &str) -> Snapshot {
    let scope = Scope::default();
    let settings = Settings::new(&scope);
    let mut store = Store::new(scope);
    if let Ok(manifest) = manifest::parse(&Arc::from("x.yaml"), text) {
        store.apply(manifest.objects, &[]);
    }
    nuncio_envoy::encode(&nuncio_translate::translate(&mut store, &settings, file).gateway)
}

/// Whether the good Mapping has its route.
fn serves_the_good(snapshot: &Snapshot) -> bool {
    let tables = snapshot.of(ResourceType::RouteConfiguration);
    tables.get("0-good").is_some_and(|table| {
        let json = body_to_json(ResourceType::RouteConfiguration.type_url(), &table.body).unwrap();
        json.to_string().contains("\"/good/\"")
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn what_is_valid_stays_in_effect(text in manifests()) {
        let text = good() + &text;
        prop_assert!(serves_the_good(&served(&text)));
    }

    #[test]
    fn any_text_is_survived(text in "\\PC{0,200}") {
        served(&text);
    }

    #[test]
    fn any_yaml_is_survived(text in "[ \\-:,\\[\\]{}&*!|>'\"%@#?\\n\\ta0]{0,80}") {
        served(&text);
    }
}

/// How many random configurations a real Envoy validates, unless `PROPTEST_CASES` says, and how many
/// at once.
const VALIDATED: usize = 600;
const AT_ONCE: usize = 100;

fn validated() -> usize {
    let cases = std::env::var("PROPTEST_CASES").ok();
    cases.map_or(VALIDATED, |cases| cases.parse().unwrap())
}

#[test]
fn envoy_takes_what_comes_of_it() {
    let mut runner = TestRunner::new(Config::default());
    let manifests = manifests();
    for _ in 0..validated() / AT_ONCE {
        let texts: Vec<String> = (0..AT_ONCE)
            .map(|_| good() + &manifests.new_tree(&mut runner).unwrap().current())
            .collect();
        if validate(&texts).is_ok() {
            continue;
        }
        // Which one it is.
        for text in &texts {
            if let Err(error) = validate(std::slice::from_ref(text)) {
                panic!("{error}\n{text}");
            }
        }
    }
}

fn validate(texts: &[String]) -> Result<(), String> {
    let mut whole = StaticConfig::default();
    for (index, text) in texts.iter().enumerate() {
        whole.add(&index.to_string(), &served(text));
    }
    whole.validate()
}
