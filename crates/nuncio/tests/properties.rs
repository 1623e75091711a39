//! Whatever is written: translation does not panic, what is valid stays in effect, and Envoy takes
//! what comes of it.

#![allow(clippy::unwrap_used)]

#[path = "support/schema.rs"]
mod schema;
#[path = "support/static_config.rs"]
mod static_config;
mod support;

use std::collections::BTreeSet;
use std::sync::Arc;

use nuncio_api::gateway_api::{
    BackendTlsPolicy, Gateway, GrpcRoute, HttpRoute, ListenerSet, StreamRoute,
};
use nuncio_api::getambassador::{
    AuthService, Host, Listener, LogService, Mapping, RateLimitService, TcpMapping, TlsContext,
    TlsModuleCertificate, TracingService,
};
use nuncio_api::ingress::Ingress;
use nuncio_api::policy::RoutePolicy;
use nuncio_envoy_api::json::body_to_json;
use nuncio_envoy_api::resource::{ResourceType, Snapshot};
use nuncio_sources::manifest;
use nuncio_translate::{Scope, Settings, Store};
use proptest::prelude::*;
use proptest::sample::select;
use proptest::strategy::ValueTree;
use proptest::test_runner::{Config, TestRunner};
use schema::fields;
use serde_json::{Map, Value, json};
use static_config::Together;

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
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: "0-good"}
spec: {gatewayClassName: emissary, listeners: [{name: good, port: 3, protocol: HTTP}]}
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: "0-good"}
spec:
  parentRefs: [{name: "0-good"}]
  hostnames: [good.example]
  rules: [{matches: [{path: {value: /good}}], backendRefs: [{name: a, port: 80}]}]
---
"#;

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
    "Exact",
    "PathPrefix",
    "RegularExpression",
    "ReplaceFullPath",
    "ReplacePrefixMatch",
    "Cookie",
    "Permanent",
    "Terminate",
    "Passthrough",
    "Same",
    "Service",
    "Secret",
    "ConfigMap",
    "Gateway",
    "HTTPRoute",
    "RoutePolicy",
    "gateway.networking.k8s.io",
    "gateway.nuncio.dev",
    "1h30m",
];

/// Types of filters of routes.
const FILTERS: &[&str] = &[
    "RequestHeaderModifier",
    "ResponseHeaderModifier",
    "RequestRedirect",
    "URLRewrite",
    "RequestMirror",
    "CORS",
    "ExternalAuth",
    "ExtensionRef",
];

/// Most are of the version whose fields are drawn.
const VERSIONS: &[&str] = &["v3alpha1", "v3alpha1", "v3alpha1", "v2", "v1", "v0"];

/// Fields of older versions.
const OLD_FIELDS: &[&str] = &[
    "ambassadorId",
    "allowed_headers",
    "circuit_breaker",
    "generic_key",
    "header",
    "rate_limits",
    "selector",
    "v3CRLSecret",
    "v3Key",
    "v3StatsName",
    "v3health_checks",
];

/// Random manifests of the kinds that count; many of them nearly right.
fn manifests() -> impl Strategy<Value = String> {
    prop::collection::vec(object(), 1..8).prop_map(|objects| {
        let documents = objects.iter().map(|object| format!("{object}\n---\n"));
        documents.collect()
    })
}

fn object() -> impl Strategy<Value = Value> {
    let getambassador = |kind: &'static str, names: BTreeSet<String>, base: Value| {
        let old = OLD_FIELDS.iter().map(|name| (*name).to_owned());
        let names: Vec<String> = names.into_iter().chain(old).collect();
        let fields = prop::collection::vec((select(names.clone()), value(names)), 0..4);
        let name = select(&["a", "b", "c"][..]);
        (fields, name, select(VERSIONS)).prop_map(move |(fields, name, version)| {
            let mut spec = base.clone();
            for (field, value) in fields {
                spec[field] = value;
            }
            json!({
                "apiVersion": format!("getambassador.io/{version}"),
                "kind": kind,
                "metadata": { "name": name, "labels": { "x-a": "a.b" } },
                "spec": spec,
            })
        })
    };
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
    prop_oneof![
        5 => getambassador("Mapping", fields::<Mapping>(), json!({"hostname": "*", "prefix": "/x/", "service": "a"})),
        2 => getambassador("Host", fields::<Host>(), json!({"hostname": "a.example"})),
        2 => getambassador("Listener", fields::<Listener>(), json!({
            "port": 2, "protocol": "HTTP", "securityModel": "XFP",
            "hostBinding": {"namespace": {"from": "ALL"}},
        })),
        1 => getambassador("Listener", fields::<Listener>(), json!({
            "port": 2, "protocolStack": ["TLS", "HTTP", "UDP"], "securityModel": "XFP",
            "hostBinding": {"namespace": {"from": "ALL"}},
        })),
        2 => getambassador("TCPMapping", fields::<TcpMapping>(), json!({"port": 2, "service": "a"})),
        1 => getambassador("TCPMapping", fields::<TcpMapping>(), json!({"port": 1, "service": "a", "host": "a.example"})),
        1 => getambassador("TLSContext", fields::<TlsContext>(), json!({"sni": "a.example"})),
        2 => ingress(),
        4 => gateway_api(),
        1 => getambassador("AuthService", fields::<AuthService>(), json!({"auth_service": "a"})),
        1 => getambassador("RateLimitService", fields::<RateLimitService>(), json!({"service": "a"})),
        1 => getambassador("TracingService", fields::<TracingService>(), json!({"service": "a"})),
        1 => getambassador("LogService", fields::<LogService>(), json!({"service": "a"})),
        1 => tls_module(),
        1 => core("Service", &["spec", "ports", "clusterIP", "type", "externalName"], json!({"spec": {"clusterIP": "10.0.0.2", "ports": [{"port": 80}]}})),
        1 => core("Secret", &["data", "type", "tls.crt", "tls.key"], json!({"data": {}})),
        1 => core("Endpoints", &["subsets", "addresses", "ports"], json!({"subsets": []})),
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

/// An object of the Gateway API, with odd values at some places of it.
fn gateway_api() -> impl Strategy<Value = Value> {
    prop_oneof![
        2 => placed("Gateway", fields::<Gateway>(), json!({
            "gatewayClassName": "emissary",
            "listeners": [
                {"name": "a", "port": 4, "protocol": "HTTP", "allowedRoutes": {"namespaces": {"from": "All"}}},
                {"name": "b", "port": 5, "protocol": "HTTPS", "hostname": "a.example",
                 "tls": {"mode": "Terminate", "certificateRefs": [{"name": "a"}]}},
                {"name": "c", "port": 6, "protocol": "TLS", "tls": {"mode": "Passthrough"}},
                {"name": "d", "port": 7, "protocol": "TCP"},
            ],
        })),
        1 => placed("ListenerSet", fields::<ListenerSet>(), json!({
            "parentRef": {"name": "a"},
            "listeners": [{"name": "a", "port": 8, "protocol": "HTTP"}],
        })),
        6 => select(FILTERS).prop_flat_map(|filter| placed("HTTPRoute", fields::<HttpRoute>(), json!({
            "parentRefs": [{"name": "a"}, {"name": "0-good"}],
            "hostnames": ["a.example"],
            "rules": [{
                "matches": [{
                    "path": {"type": "PathPrefix", "value": "/a"},
                    "headers": [{"name": "x-a", "value": "a"}],
                    "queryParams": [{"name": "a", "value": "b"}],
                }],
                "filters": [filled(filter)],
                "backendRefs": [{"name": "a", "port": 80, "filters": []}, {"name": "b", "port": 80}],
                "timeouts": {"request": "1s"},
            }],
        }))),
        2 => select(FILTERS).prop_flat_map(|filter| placed("GRPCRoute", fields::<GrpcRoute>(), json!({
            "parentRefs": [{"name": "a"}],
            "hostnames": ["g.example"],
            "rules": [{
                "matches": [{"method": {"service": "a"}, "headers": [{"name": "x-a", "value": "a"}]}],
                "filters": [filled(filter)],
                "backendRefs": [{"name": "a", "port": 80, "filters": []}],
            }],
        }))),
        2 => select(&["TLSRoute", "TCPRoute", "UDPRoute"][..]).prop_flat_map(|kind| placed(
            kind,
            fields::<StreamRoute>(),
            json!({"parentRefs": [{"name": "a"}], "rules": [{"backendRefs": [{"name": "a", "port": 80}]}]}),
        )),
        1 => placed("BackendTLSPolicy", fields::<BackendTlsPolicy>(), json!({
            "targetRefs": [{"group": "", "kind": "Service", "name": "a"}],
            "validation": {"hostname": "a.example", "wellKnownCACertificates": "System"},
        })),
        3 => placed("RoutePolicy", fields::<RoutePolicy>(), json!({
            "targetRefs": [{"group": "gateway.networking.k8s.io", "kind": "HTTPRoute", "name": "a"}],
        })),
    ]
}

/// A filter with something in each of its fields.
fn filled(type_: &str) -> Value {
    let backend = json!({"name": "a", "port": 80});
    json!({
        "type": type_,
        "requestHeaderModifier": {"set": [{"name": "x-a", "value": "b"}]},
        "responseHeaderModifier": {"remove": ["x-a"]},
        "requestRedirect": {"path": {"type": "ReplaceFullPath", "replaceFullPath": "/b"}},
        "urlRewrite": {"path": {"type": "ReplacePrefixMatch", "replacePrefixMatch": "/b"}},
        "requestMirror": {"backendRef": backend},
        "cors": {"allowOrigins": ["*"], "allowMethods": ["GET"]},
        "extensionRef": {"group": "gateway.nuncio.dev", "kind": "RoutePolicy", "name": "a"},
    })
}

/// An object with this `spec`, in some parts of which stand random fields.
fn placed(
    kind: &'static str,
    names: BTreeSet<String>,
    spec: Value,
) -> impl Strategy<Value = Value> {
    let places = objects(&spec);
    let names: Vec<String> = names.into_iter().collect();
    let field = (select(places), select(names.clone()), value(names));
    let fields = prop::collection::vec(field, 0..4);
    (fields, select(&["a", "b"][..])).prop_map(move |(fields, name)| {
        let mut spec = spec.clone();
        for (place, field, value) in fields {
            // What stands there may be something else by now.
            if let Some(Value::Object(part)) = spec.pointer_mut(&place) {
                part.insert(field, value);
            }
        }
        let api_version = match kind {
            "RoutePolicy" => "gateway.nuncio.dev/v1alpha1",
            _ => "gateway.networking.k8s.io/v1",
        };
        json!({"apiVersion": api_version, "kind": kind, "metadata": {"name": name}, "spec": spec})
    })
}

/// Where in a value its objects are, as JSON pointers.
fn objects(value: &Value) -> Vec<String> {
    let below = |(name, value): (String, &Value)| -> Vec<String> {
        let places = objects(value).into_iter();
        places.map(|place| format!("/{name}{place}")).collect()
    };
    match value {
        Value::Object(parts) => {
            let parts = parts.iter().map(|(name, part)| (name.clone(), part));
            let own = std::iter::once(String::new());
            own.chain(parts.flat_map(below)).collect()
        }
        Value::Array(items) => {
            let items = items.iter().enumerate();
            let items = items.map(|(index, item)| (index.to_string(), item));
            items.flat_map(below).collect()
        }
        _ => Vec::new(),
    }
}

/// A Module tls with random parts.
fn tls_module() -> impl Strategy<Value = Value> {
    let names: Vec<String> = fields::<TlsModuleCertificate>().into_iter().collect();
    let part = (select(&["server", "client", "a", "b"][..]), value(names));
    prop::collection::vec(part, 0..3).prop_map(|parts| {
        let config: Map<String, Value> = parts
            .into_iter()
            .map(|(name, part)| (name.to_owned(), part))
            .collect();
        json!({
            "apiVersion": "getambassador.io/v2",
            "kind": "Module",
            "metadata": { "name": "tls" },
            "spec": { "config": config },
        })
    })
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
    let read = |_: &str| Err("no files here".to_owned());
    nuncio_envoy::encode(&nuncio_translate::translate(&mut store, &settings, read).gateway)
}

/// Whether the good Mapping and the good HTTPRoute have their routes.
fn serves_the_good(snapshot: &Snapshot) -> bool {
    let tables = snapshot.of(ResourceType::RouteConfiguration);
    [("0-good", "\"/good/\""), ("gateway/3", "\"/good\"")]
        .into_iter()
        .all(|(name, path)| {
            tables.get(name).is_some_and(|table| {
                let type_url = ResourceType::RouteConfiguration.type_url();
                let json = body_to_json(type_url, &table.body).unwrap();
                json.to_string().contains(path)
            })
        })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn what_is_valid_stays_in_effect(text in manifests()) {
        let text = [GOOD, &text].concat();
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

/// How many random configurations a real Envoy validates, and how many at once.
const VALIDATED: usize = 600;
const AT_ONCE: usize = 100;

#[test]
fn envoy_takes_what_comes_of_it() {
    let mut runner = TestRunner::new(Config::default());
    for _ in 0..VALIDATED / AT_ONCE {
        let texts: Vec<String> = (0..AT_ONCE)
            .map(|_| manifests().new_tree(&mut runner).unwrap().current())
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
    let mut whole = Together::default();
    for (index, text) in texts.iter().enumerate() {
        whole.add(&index.to_string(), &served(text));
    }
    whole.validate()
}
