//! There and back, in both directions.

use proptest::prelude::*;
use proptest::sample::select;

use super::super::tests::{KINDS, value};
use super::super::to_v3alpha1;
use super::*;

fn there_and_back(kind: &str, spec: &Value) -> Value {
    from_v3alpha1(
        kind,
        Version::V2,
        to_v3alpha1(kind, Version::V2, spec.clone()).spec,
    )
}

fn back_and_there(kind: &str, spec: &Value) -> Value {
    to_v3alpha1(
        kind,
        Version::V2,
        from_v3alpha1(kind, Version::V2, spec.clone()),
    )
    .spec
}

/// A spec of v2 as it comes back: with ids that only v3alpha1 reads.
fn with_ids(mut spec: Value) -> Value {
    if let Value::Object(fields) = &mut spec {
        ambassador_id(fields);
    }
    spec
}

#[test]
fn ids_get_the_prefix() {
    let older = |spec: Value| from_v3alpha1("Module", Version::V1, spec)["ambassador_id"].take();
    let all = |ids: &[&str]| -> Value { ids.iter().map(|id| format!("{ID_PREFIX}{id}")).collect() };
    for (new, old) in [
        (json!({}), all(&["default"])),
        (json!({"ambassador_id": null}), all(&["default"])),
        (json!({"ambassador_id": ["a", "b"]}), all(&["a", "b"])),
        (json!({"ambassador_id": all(&["a"])}), all(&["a"])),
        (json!({"ambassador_id": []}), json!([])),
        (json!({"ambassador_id": [1]}), json!([1])),
        (json!({"ambassador_id": "a"}), json!("a")),
    ] {
        assert_eq!(older(new.clone()), old, "{new}");
    }
}

#[test]
fn hosts() {
    for (new, old) in [
        (json!({"hostname": "*"}), json!({})),
        (json!({"hostname": "*.a"}), json!({"host": "*.a"})),
        (json!({}), json!({"host": NO_HOST})),
        (json!({"hostname": ""}), json!({"host": NO_HOST})),
        (json!({"host": "a"}), json!({"host": "a"})),
        (
            json!({"host": "a.*", "host_regex": true}),
            json!({"host": "a.*", "host_regex": true}),
        ),
        (json!({"host_regex": true}), json!({"host_regex": true})),
        (
            json!({"hostname": "a", "host": "b", "host_regex": true}),
            json!({"host": "a", "host_regex": false}),
        ),
        (
            json!({"hostname": "*", "host_regex": true}),
            json!({"host_regex": false}),
        ),
    ] {
        assert_eq!(
            from_v3alpha1("Mapping", Version::V2, new.clone()),
            with_ids(old),
            "{new}"
        );
    }
}

/// The scheme of a TCPMapping stays: Emissary drops it, and with it TLS.
#[test]
fn tls_that_changed_since() {
    for (kind, service) in [
        ("Mapping", "service"),
        ("TCPMapping", "service"),
        ("RateLimitService", "service"),
        ("AuthService", "auth_service"),
    ] {
        for (tls, written, explicit, old_tls, old) in [
            ("", "https://a", json!(null), None, "https://a"),
            ("", "https://a", json!({}), None, "https://a"),
            ("c", "a", json!({}), Some(json!("c")), "a"),
            (
                "c",
                "https://a",
                json!({"serviceScheme": "http://"}),
                Some(json!("c")),
                "http://a",
            ),
            (
                "",
                "https://b",
                json!({"tls": "bool:true", "serviceScheme": ""}),
                Some(json!(true)),
                "b",
            ),
            (
                "",
                "http://b",
                json!({"tls": "bool:true", "serviceScheme": ""}),
                None,
                "b",
            ),
            (
                "",
                "b",
                json!({"tls": "bool:true", "serviceScheme": "HTTP://"}),
                None,
                "HTTP://b",
            ),
            (
                "",
                "https://b",
                json!({"serviceScheme": "http://"}),
                None,
                "https://b",
            ),
            (
                "",
                "b",
                json!({"tls": "bool:false"}),
                Some(json!(false)),
                "b",
            ),
            ("", "b", json!({"tls": "string"}), Some(json!("")), "b"),
            ("", "b", json!({"tls": "null"}), Some(json!(null)), "b"),
        ] {
            let new = json!({"tls": tls, service: written, "v2ExplicitTLS": explicit});
            let made = from_v3alpha1(kind, Version::V2, new.clone());
            assert_eq!(made.get("tls"), old_tls.as_ref(), "{kind} {new}");
            assert_eq!(made[service], old, "{kind} {new}");
            assert_eq!(made.get("v2ExplicitTLS"), None);
        }
    }
}

#[test]
fn what_v2_wrote_shorter_and_has_changed_since() {
    let older = |new: Value| from_v3alpha1("Mapping", Version::V2, new);
    let origins = |new: Value| older(json!({"cors": new}))["cors"].take();
    let list = json!(["a,b", "c"]);
    assert_eq!(
        origins(json!({"origins": list, "v2CommaSeparatedOrigins": true})),
        json!({"origins": list})
    );
    let header = |new: Value| {
        older(json!({"add_request_headers": {"x": new}}))["add_request_headers"]["x"].take()
    };
    assert_eq!(
        header(json!({"value": "v", "append": true, "v2Representation": "string"})),
        json!({"value": "v", "append": true})
    );
    assert_eq!(
        header(json!({"value": "v", "v2Representation": "null"})),
        json!({"value": "v"})
    );
    let made = older(json!({
        "hostname": "*",
        "headers": {"b": "set"},
        "regex_headers": {"a": ".*", "b": ".*", "c": "x", "d": ".*"},
        "v2BoolHeaders": ["a", "b", "c", "gone"],
    }));
    assert_eq!(
        made,
        with_ids(json!({
            "headers": {"a": true, "b": "set", "c": true},
            "regex_headers": {"b": ".*", "c": "x", "d": ".*"},
        }))
    );
    // A text that older versions take for a label of its own is written out.
    let label = |new: Value| {
        older(json!({"labels": {"d": [{"g": [new]}]}}))["labels"]["d"][0]["g"][0].take()
    };
    assert_eq!(
        label(json!({"generic_key": {"value": "remote_address", "v2Shorthand": true}})),
        json!({"generic_key": "remote_address"})
    );
}

fn optional(
    name: &'static str,
    value: impl Strategy<Value = Value> + 'static,
) -> BoxedStrategy<Map<String, Value>> {
    prop_oneof![
        Just(Map::new()),
        value.prop_map(move |value| Map::from_iter([(name.to_owned(), value)])),
    ]
    .boxed()
}

/// An object with some of these fields.
fn some(fields: Vec<BoxedStrategy<Map<String, Value>>>) -> BoxedStrategy<Value> {
    let merged = |all: Vec<Map<String, Value>>| Value::Object(all.into_iter().flatten().collect());
    fields.prop_map(merged).boxed()
}

fn text() -> BoxedStrategy<Value> {
    "[a-z]{1,3}".prop_map(Value::from).boxed()
}

fn texts() -> BoxedStrategy<Value> {
    prop::collection::vec("[a-z]{1,3}", 1..3)
        .prop_map(Value::from)
        .boxed()
}

fn map_of(value: BoxedStrategy<Value>) -> BoxedStrategy<Value> {
    prop::collection::btree_map("[a-d.]{1,2}", value, 1..4)
        .prop_map(|map| Value::Object(map.into_iter().collect()))
        .boxed()
}

fn service() -> BoxedStrategy<Value> {
    select(vec!["a", "a:1", "http://a", "HTTPS://a.b", "https://a"])
        .prop_map(Value::from)
        .boxed()
}

fn labels(label: BoxedStrategy<Value>) -> BoxedStrategy<Value> {
    let group = ("[a-z]{1,3}", prop::collection::vec(label, 0..4))
        .prop_map(|(name, labels)| json!({ name: labels }));
    map_of(
        prop::collection::vec(group, 0..3)
            .prop_map(Value::from)
            .boxed(),
    )
}

/// A Mapping of v2 in every form that its schema has, written as Emissary writes lists: a `headers`
/// of false, which is no condition, and `host: "*"`, which is none, are left out.
fn mapping_v2() -> BoxedStrategy<Value> {
    let tls = prop_oneof![
        any::<bool>().prop_map(Value::from),
        select(vec!["", "context"]).prop_map(Value::from),
        Just(Value::Null),
    ];
    let host = prop_oneof![
        Just(json!({})),
        select(vec!["a", "*.a", "a*", NO_HOST]).prop_map(|host| json!({"host": host})),
        "[a.]{1,2}".prop_map(|host| json!({"host": host, "host_regex": true})),
    ];
    let condition = || prop_oneof![text(), Just(json!(true))].boxed();
    let added = || {
        let full =
            (text(), prop::option::of(any::<bool>())).prop_map(|(value, append)| match append {
                Some(append) => json!({"value": value, "append": append}),
                None => json!({"value": value}),
            });
        map_of(prop_oneof![text(), full, Just(Value::Null)].boxed())
    };
    let origins = prop_oneof![
        texts(),
        select(vec!["http://a", "http://a,http://b"]).prop_map(Value::from),
    ];
    let label = prop_oneof![
        select(vec![
            "source_cluster",
            "destination_cluster",
            "remote_address",
            "x"
        ])
        .prop_map(Value::from),
        text().prop_map(|value| json!({"generic_key": value})),
        (text(), text()).prop_map(|(value, key)| json!({"generic_key": value, "v3Key": key})),
        (
            select(vec!["k", "generic_key", "remote_address"]),
            some(vec![optional(
                "omit_if_not_present",
                any::<bool>().prop_map(Value::from)
            ),]),
        )
            .prop_map(|(key, mut header)| {
                header["header"] = "h".into();
                json!({ key: header })
            }),
    ];
    let fields = some(vec![
        optional("prefix", text()),
        optional("service", service()),
        optional("tls", tls),
        optional("headers", map_of(condition())),
        optional("regex_headers", map_of(text())),
        optional("query_parameters", map_of(condition())),
        optional("regex_query_parameters", map_of(text())),
        optional("add_request_headers", added()),
        optional("add_response_headers", added()),
        optional("remove_request_headers", texts()),
        optional(
            "cors",
            some(vec![
                optional("origins", origins),
                optional("methods", texts()),
            ]),
        ),
        optional("labels", labels(label.boxed())),
        optional("ambassador_id", texts()),
        optional("v3StatsName", text()),
        optional(
            "v3health_checks",
            Just(json!([{"health_check": {"http": {"path": "/"}}}])),
        ),
        optional("unknown", text()),
    ]);
    (host, fields)
        .prop_map(|(host, fields)| merged(host, fields))
        .boxed()
}

/// A Mapping of v3alpha1 as Emissary writes it: with ids, and with one of `hostname` and `host`.
fn mapping_v3alpha1() -> BoxedStrategy<Value> {
    let host = prop_oneof![
        Just(json!({})),
        select(vec!["*", "a", "*.a", "a*"]).prop_map(|host| json!({"hostname": host})),
        "[a.]{1,2}".prop_map(|host| json!({"host": host, "host_regex": true})),
    ];
    let tls = prop_oneof![
        Just(json!({})),
        Just(json!({"tls": "context", "v2ExplicitTLS": {}})),
    ];
    let added = || {
        map_of(
            some(vec![
                optional("value", text()),
                optional("append", any::<bool>().prop_map(Value::from)),
            ])
            .boxed(),
        )
    };
    let label = prop_oneof![
        select(vec![
            "source_cluster",
            "destination_cluster",
            "remote_address"
        ])
        .prop_map(|name| json!({ name: {"key": name} })),
        some(vec![optional("key", text())]).prop_map(|mut label| {
            label["value"] = "v".into();
            json!({ "generic_key": label })
        }),
        select(vec!["k", "generic_key", "v3Key"])
            .prop_map(|key| json!({"request_headers": {"key": key, "header_name": "h"}})),
    ];
    let fields = some(vec![
        optional("prefix", text()),
        optional("service", service()),
        optional("headers", map_of(text())),
        optional("regex_headers", map_of(text())),
        optional("query_parameters", map_of(text())),
        optional("regex_query_parameters", map_of(text())),
        optional("add_request_headers", added()),
        optional("add_response_headers", added()),
        optional("remove_request_headers", texts()),
        optional(
            "cors",
            some(vec![
                optional("origins", texts()),
                optional("methods", texts()),
            ]),
        ),
        optional("labels", labels(label.boxed())),
        optional("stats_name", text()),
        optional(
            "health_checks",
            Just(json!([{"health_check": {"grpc": {}}}])),
        ),
    ]);
    (host, tls, fields, texts())
        .prop_map(|(host, tls, fields, ids)| {
            let mut spec = merged(merged(host, tls), fields);
            spec["ambassador_id"] = ids;
            spec
        })
        .boxed()
}

fn merged(one: Value, other: Value) -> Value {
    let fields = [one, other].into_iter().filter_map(|value| match value {
        Value::Object(fields) => Some(fields),
        _ => None,
    });
    Value::Object(fields.flatten().collect())
}

/// Of the other kinds, what has another name or another form.
fn other_v2() -> BoxedStrategy<(&'static str, Value)> {
    let tls = || {
        prop_oneof![
            any::<bool>().prop_map(Value::from),
            select(vec!["", "context"]).prop_map(Value::from),
            Just(Value::Null),
        ]
    };
    let of = |kind: &'static str, fields: Vec<BoxedStrategy<Map<String, Value>>>| {
        some(fields).prop_map(move |spec| (kind, spec)).boxed()
    };
    prop_oneof![
        of(
            "AuthService",
            vec![
                optional("auth_service", service()),
                optional("tls", tls()),
                optional("v3StatsName", text()),
                optional("v3CircuitBreakers", Just(json!([{"max_requests": 1}]))),
                optional("ambassador_id", texts()),
            ]
        ),
        of(
            "Host",
            vec![
                optional("selector", Just(json!({"matchLabels": {"a": "b"}}))),
                optional("tls", some(vec![optional("v3CRLSecret", text())])),
                optional("ambassador_id", texts()),
            ]
        ),
        of(
            "LogService",
            vec![
                optional("v3ProtocolVersion", text()),
                optional("v3StatsName", text()),
            ]
        ),
        of(
            "RateLimitService",
            vec![
                optional("service", service()),
                optional("tls", tls()),
                optional("v3GRPC", Just(json!({"use_resource_exhausted_code": true}))),
            ]
        ),
        of(
            "TCPMapping",
            vec![
                optional("service", service()),
                optional("tls", tls()),
                optional("host", text()),
                optional("v3StatsName", text()),
            ]
        ),
        of("TLSContext", vec![optional("v3CRLSecret", text())]),
        of(
            "TracingService",
            vec![
                optional("v3CustomTags", Just(json!([{"tag": "a"}]))),
                optional(
                    "config",
                    some(vec![optional("v3PropagationModes", texts())])
                ),
            ]
        ),
        of(
            "Module",
            vec![optional("config", Just(json!({"a": {"b": null}})))]
        ),
        of("DevPortal", vec![optional("default", Just(json!(true)))]),
    ]
    .boxed()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn a_mapping_of_v2_comes_back(spec in mapping_v2()) {
        prop_assert_eq!(there_and_back("Mapping", &spec), with_ids(spec));
    }

    #[test]
    fn other_kinds_of_v2_come_back((kind, spec) in other_v2()) {
        prop_assert_eq!(there_and_back(kind, &spec), with_ids(spec));
    }

    #[test]
    fn a_mapping_of_v3alpha1_comes_back(spec in mapping_v3alpha1()) {
        prop_assert_eq!(back_and_there("Mapping", &spec), spec);
    }

    /// Whatever stands in an object: what came back once comes back as it is.
    #[test]
    fn anything_comes_to_rest(spec in value(), kind in select(KINDS)) {
        let once = back_and_there(kind, &spec);
        prop_assert_eq!(back_and_there(kind, &once), once);
    }
}
