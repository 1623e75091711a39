use proptest::prelude::*;

use super::*;

pub(super) const KINDS: &[&str] = &[
    "AuthService",
    "ConsulResolver",
    "DevPortal",
    "Host",
    "KubernetesEndpointResolver",
    "KubernetesServiceResolver",
    "Listener",
    "LogService",
    "Mapping",
    "Module",
    "RateLimitService",
    "TCPMapping",
    "TLSContext",
    "TracingService",
];

/// What comes of each spec; of v1 it is the same as of v2.
fn check(kind: &str, rows: &[(Value, Value)]) {
    for (old, new) in rows {
        for version in [Version::V1, Version::V2] {
            let converted = to_v3alpha1(kind, version, old.clone());
            assert_eq!(converted.spec, *new, "{kind} {old}");
            assert_eq!(converted.lost, [], "{kind} {old}");
        }
    }
}

/// As [`check`], without the hostname that every Mapping gets.
fn check_mapping(rows: &[(Value, Value)]) {
    let mut rows = rows.to_vec();
    for (_, new) in &mut rows {
        new["hostname"] = "*".into();
    }
    check("Mapping", &rows);
}

fn written(kind: &str, version: Version, spec: Value, field: &str) -> String {
    let converted = to_v3alpha1(kind, version, spec);
    converted.origins.written(field).into_owned()
}

#[test]
fn ids_are_lists_without_the_prefix() {
    let prefixed = format!("{ID_PREFIX}a");
    check(
        "Module",
        &[
            (
                json!({"ambassador_id": "a"}),
                json!({"ambassador_id": ["a"]}),
            ),
            (
                json!({"ambassador_id": [prefixed, "b"]}),
                json!({"ambassador_id": ["a", "b"]}),
            ),
            (
                json!({"ambassador_id": prefixed}),
                json!({"ambassador_id": ["a"]}),
            ),
            (
                json!({"ambassador_id": null}),
                json!({"ambassador_id": null}),
            ),
            (json!({"ambassador_id": 1}), json!({"ambassador_id": 1})),
        ],
    );
    check(
        "Host",
        &[
            (
                json!({"ambassador_id": "a", "ambassadorId": ["b", prefixed]}),
                json!({"ambassador_id": ["a", "b", "a"]}),
            ),
            (
                json!({"ambassadorId": "b"}),
                json!({"ambassador_id": ["b"]}),
            ),
        ],
    );
    let spec = json!({"ambassador_id": ["a"], "ambassadorId": ["b", 3]});
    assert_eq!(
        written("Host", Version::V2, spec, "spec.ambassador_id[2]"),
        "spec.ambassadorId[1]"
    );
}

#[test]
fn tls_and_the_scheme_of_the_service() {
    for (kind, service) in [
        ("Mapping", "service"),
        ("TCPMapping", "service"),
        ("RateLimitService", "service"),
        ("AuthService", "auth_service"),
    ] {
        let row = |tls: Value, old: &str, new: Value, new_service: &str, explicit: Value| {
            let mut from = json!({ service: old, "tls": tls });
            if tls == "absent" {
                from = json!({ service: old });
            }
            let mut to = json!({ service: new_service, "v2ExplicitTLS": explicit });
            if !new.is_null() {
                to["tls"] = new;
            }
            if explicit.is_null() {
                to = json!({ service: new_service });
            }
            if kind == "Mapping" {
                to["hostname"] = "*".into();
            }
            check(kind, &[(from, to)]);
        };
        let none = Value::Null;
        row(json!("c"), "a", json!("c"), "a", json!({}));
        row(json!("c"), "http://a", json!("c"), "http://a", json!({}));
        let explicit = json!({"tls": "bool:true"});
        row(
            json!(true),
            "HTTPS://a",
            none.clone(),
            "HTTPS://a",
            explicit,
        );
        let explicit = json!({"tls": "bool:true", "serviceScheme": "Http://"});
        row(
            json!(true),
            "Http://a:1",
            none.clone(),
            "https://a:1",
            explicit,
        );
        let explicit = json!({"tls": "bool:true", "serviceScheme": ""});
        row(json!(true), "a", none.clone(), "https://a", explicit);
        let explicit = json!({"tls": "bool:false"});
        row(
            json!(false),
            "https://a",
            none.clone(),
            "https://a",
            explicit,
        );
        row(json!(""), "a", none.clone(), "a", json!({"tls": "string"}));
        row(
            json!(null),
            "http://a",
            none.clone(),
            "http://a",
            json!({"tls": "null"}),
        );
        row(
            json!("absent"),
            "https://a",
            none.clone(),
            "https://a",
            none,
        );
    }
}

#[test]
fn hosts_are_globs() {
    check(
        "Mapping",
        &[
            (json!({}), json!({"hostname": "*"})),
            (json!({"host": ""}), json!({"hostname": "*"})),
            (json!({"host": null}), json!({"hostname": "*"})),
            (json!({"host": "a"}), json!({"hostname": "a"})),
            (
                json!({"host": "a", "host_regex": false}),
                json!({"hostname": "a", "host_regex": false}),
            ),
            (json!({"host": NO_HOSTNAME}), json!({})),
            (
                json!({"host": "a.*", "host_regex": true}),
                json!({"host": "a.*", "host_regex": true}),
            ),
            (json!({"host_regex": true}), json!({"host_regex": true})),
            // Only v3alpha1 has it: the API server drops it.
            (
                json!({"host": "a", "hostname": "b"}),
                json!({"hostname": "a"}),
            ),
        ],
    );
    assert_eq!(
        written("Mapping", Version::V2, json!({}), "spec.hostname"),
        "spec.host"
    );
}

const NO_HOSTNAME: &str = "_skip_mapping_with_empty_host_";

#[test]
fn what_must_be_there() {
    for (exact, regex, kept) in [
        ("headers", "regex_headers", "v2BoolHeaders"),
        (
            "query_parameters",
            "regex_query_parameters",
            "v2BoolQueryParameters",
        ),
    ] {
        check_mapping(&[
            (
                json!({ exact: {"a": true, "b": "true", "c": null} }),
                json!({ exact: {"b": "true"}, regex: {"a": ".*"}, kept: ["a"] }),
            ),
            (
                json!({ exact: {"a": true, "b": true}, regex: {"a": "x", "c": "y"} }),
                json!({ regex: {"a": "x", "b": ".*", "c": "y"}, kept: ["a", "b"] }),
            ),
            (json!({ exact: {"a": 3} }), json!({ exact: {"a": 3} })),
        ]);
        let spec = json!({ exact: {"a.b": true} });
        assert_eq!(
            written(
                "Mapping",
                Version::V2,
                spec,
                &format!("spec.{regex}[\"a.b\"]")
            ),
            format!("spec.{exact}[\"a.b\"]")
        );
        let converted = to_v3alpha1("Mapping", Version::V2, json!({ exact: {"a": false} }));
        assert_eq!(converted.spec, json!({"hostname": "*"}));
        assert_eq!(converted.lost[0].field, format!("spec.{exact}.a"));
    }
}

#[test]
fn what_may_be_written_shorter() {
    check_mapping(&[
        (
            json!({"remove_request_headers": "a", "remove_response_headers": ["b"]}),
            json!({"remove_request_headers": ["a"], "remove_response_headers": ["b"]}),
        ),
        (
            json!({"add_request_headers": {"a": "x", "b": {"value": "y", "append": false}}}),
            json!({"add_request_headers": {
                "a": {"value": "x", "v2Representation": "string"},
                "b": {"value": "y", "append": false},
            }}),
        ),
        (
            json!({"add_response_headers": {"a": null}}),
            json!({"add_response_headers": {"a": {"v2Representation": "null"}}}),
        ),
        (
            json!({"cors": {
                "origins": "http://a, http://b,", "methods": "GET, PUT", "headers": "x",
                "exposed_headers": ["y"],
            }}),
            json!({"cors": {
                "origins": ["http://a", "http://b"], "methods": ["GET", "PUT"], "headers": ["x"],
                "exposed_headers": ["y"], "v2CommaSeparatedOrigins": true,
            }}),
        ),
        (
            json!({"cors": {"origins": ["a,b"]}}),
            json!({"cors": {"origins": ["a,b"]}}),
        ),
    ]);
    let spec = json!({"add_request_headers": {"a": "x"}, "cors": {"origins": "a,b"}});
    let from = |field| written("Mapping", Version::V2, spec.clone(), field);
    assert_eq!(
        from("spec.add_request_headers.a.value"),
        "spec.add_request_headers.a"
    );
    assert_eq!(from("spec.cors.origins[1]"), "spec.cors.origins");
}

#[test]
fn labels_of_every_form() {
    let labels = |specifier: Value| json!({"labels": {"d": [{"g": [specifier]}]}});
    for (old, new, field, origin) in [
        (
            json!("source_cluster"),
            json!({"source_cluster": {"key": "source_cluster"}}),
            ".source_cluster.key",
            "",
        ),
        (
            json!("destination_cluster"),
            json!({"destination_cluster": {"key": "destination_cluster"}}),
            ".destination_cluster",
            "",
        ),
        (
            json!("remote_address"),
            json!({"remote_address": {"key": "remote_address"}}),
            ".remote_address",
            "",
        ),
        (
            json!("x"),
            json!({"generic_key": {"value": "x", "v2Shorthand": true}}),
            ".generic_key.value",
            "",
        ),
        (
            json!({"generic_key": "x"}),
            json!({"generic_key": {"value": "x"}}),
            ".generic_key.value",
            ".generic_key",
        ),
        (
            json!({"generic_key": "x", "v3Key": "k"}),
            json!({"generic_key": {"value": "x", "key": "k"}}),
            ".generic_key.key",
            ".v3Key",
        ),
        (
            json!({"k": {"header": "h", "omit_if_not_present": true}}),
            json!({"request_headers": {"key": "k", "header_name": "h", "omit_if_not_present": true}}),
            ".request_headers.header_name",
            ".k.header",
        ),
        (
            json!({"k": {"header": 1}}),
            json!({"request_headers": {"key": "k", "header_name": 1}}),
            ".request_headers.omit_if_not_present",
            ".k.omit_if_not_present",
        ),
        // v3alpha1's own forms, and what has none.
        (
            json!({"request_headers": {"key": "k", "header_name": "h"}}),
            json!({"request_headers": {"key": "k", "header_name": "h"}}),
            "",
            "",
        ),
        (
            json!({"a": {"header": "b"}, "c": {"header": "d"}}),
            json!({"a": {"header": "b"}, "c": {"header": "d"}}),
            "",
            "",
        ),
        (json!(3), json!(3), "", ""),
    ] {
        check_mapping(&[(labels(old.clone()), labels(new))]);
        let at = "spec.labels.d[0].g[0]";
        assert_eq!(
            written("Mapping", Version::V2, labels(old), &format!("{at}{field}")),
            format!("{at}{origin}")
        );
    }
}

#[test]
fn fields_of_other_names() {
    for field in RENAMED {
        if field.old == "host" {
            continue;
        }
        let spec = |name: &str| match field.within {
            "" => json!({ name: "x" }),
            within => json!({ within: { name: "x" } }),
        };
        let mut new = spec(field.new);
        if field.kind == "Mapping" {
            new["hostname"] = "*".into();
        }
        check(field.kind, &[(spec(field.old), new)]);
    }
    let spec = json!({"tls": {"v3CRLSecret": 1}});
    assert_eq!(
        written("Host", Version::V2, spec, "spec.tls.crl_secret"),
        "spec.tls.v3CRLSecret"
    );
    assert_eq!(
        former_name("Host", "spec.tls.crl_secret"),
        Some("v3CRLSecret")
    );
    assert_eq!(former_name("Mapping", "spec.hostname"), Some("host"));
    assert_eq!(former_name("Mapping", "spec.prefix"), None);
}

#[test]
fn tags_of_headers() {
    let tag = json!({"tag": "x", "request_header": {"name": "x"}});
    check(
        "TracingService",
        &[
            (json!({"tag_headers": ["x"]}), json!({"custom_tags": [tag]})),
            (json!({"tag_headers": "x"}), json!({"tag_headers": "x"})),
        ],
    );
    let spec = json!({"tag_headers": [1]});
    assert_eq!(
        written(
            "TracingService",
            Version::V2,
            spec,
            "spec.custom_tags[0].request_header.name"
        ),
        "spec.tag_headers[0]"
    );
    let both = json!({"tag_headers": ["x"], "v3CustomTags": []});
    let converted = to_v3alpha1("TracingService", Version::V2, both);
    assert_eq!(converted.spec, json!({"custom_tags": []}));
    assert_eq!(converted.lost[0].field, "spec.tag_headers");
}

#[test]
fn what_only_v0_has() {
    let v0 = |kind, spec| to_v3alpha1(kind, Version::V0, spec);
    let spec = json!({
        "labels": {"ambassador": [{"a": ["x"]}]},
        "rate_limits": [{"descriptor": "d", "headers": ["h"]}, 3],
        "circuit_breaker": "b",
    });
    let converted = v0("Mapping", spec);
    let groups = json!([
        {"a": [{"generic_key": {"value": "x", "v2Shorthand": true}}]},
        {"v0_ratelimit_01": [
            {"source_cluster": {"key": "source_cluster"}},
            {"destination_cluster": {"key": "destination_cluster"}},
            {"remote_address": {"key": "remote_address"}},
            {"generic_key": {"value": "d"}},
            {"request_headers": {"key": "h", "header_name": "h", "omit_if_not_present": true}},
        ]},
    ]);
    assert_eq!(
        converted.spec,
        json!({"hostname": "*", "labels": {"ambassador": groups}})
    );
    let lost: Vec<_> = converted.lost.iter().map(|lost| &*lost.field).collect();
    assert_eq!(lost, ["spec.circuit_breaker", "spec.rate_limits[1]"]);
    let new = "spec.labels.ambassador[1].v0_ratelimit_01";
    let from = |field: &str| {
        converted
            .origins
            .written(&format!("{new}{field}"))
            .into_owned()
    };
    assert_eq!(
        from("[3].generic_key.value"),
        "spec.rate_limits[0].descriptor"
    );
    assert_eq!(
        from("[4].request_headers.key"),
        "spec.rate_limits[0].headers[0]"
    );

    assert_eq!(
        v0("Mapping", json!({"rate_limits": 3})).lost[0].field,
        "spec.rate_limits"
    );

    let converted = v0("AuthService", json!({"allowed_headers": ["x-a"]}));
    let requests = converted.spec["allowed_request_headers"]
        .as_array()
        .unwrap();
    assert!(requests.contains(&json!("x-b3-traceid")) && requests.contains(&json!("x-a")));
    assert_eq!(
        converted.spec["allowed_authorization_headers"],
        json!(["x-a"])
    );
    assert_eq!(converted.spec.get("allowed_headers"), None);
    assert_eq!(
        converted
            .origins
            .written("spec.allowed_request_headers[12]"),
        "spec.allowed_headers[0]"
    );
    assert_eq!(
        v0("AuthService", json!({"allowed_headers": 3})).lost.len(),
        1
    );
}

#[test]
fn an_older_schema_has_the_older_names() {
    let of = |version| {
        let current = schemars::schema_for!(crate::getambassador::Mapping).to_value();
        schema("Mapping", version, current)
    };
    let has = |schema: &Value, field: &str| schema["properties"].get(field).is_some();
    let (v3, v2, v0) = (of(Version::V3alpha1), of(Version::V2), of(Version::V0));
    for field in ["hostname", "stats_name", "v2BoolHeaders"] {
        assert!(has(&v3, field) && !has(&v2, field), "{field}");
    }
    for field in ["host", "v3StatsName", "prefix", "labels"] {
        assert!(has(&v2, field), "{field}");
    }
    assert!(has(&v0, "rate_limits") && !has(&v2, "rate_limits"));
    assert!(
        v2["$defs"]["AddedHeader"]["properties"]
            .get("v2Representation")
            .is_none()
    );
    let host = schemars::schema_for!(crate::getambassador::Host).to_value();
    let host = schema("Host", Version::V2, host);
    assert!(
        host["$defs"]["HostTls"]["properties"]
            .get("v3CRLSecret")
            .is_some()
    );
}

/// Any value, its objects with the names that matter somewhere.
pub(super) fn value() -> impl Strategy<Value = Value> {
    let names = RENAMED
        .iter()
        .flat_map(|field| [field.within, field.old, field.new])
        .chain([
            "add_request_headers",
            "allowed_headers",
            "ambassador",
            "ambassadorId",
            "ambassador_id",
            "circuit_breaker",
            "config",
            "cors",
            "descriptor",
            "generic_key",
            "header",
            "headers",
            "host_regex",
            "labels",
            "origins",
            "query_parameters",
            "rate_limits",
            "regex_headers",
            "remove_request_headers",
            "service",
            "tag_headers",
            "tls",
            "v3Key",
        ])
        .collect::<Vec<_>>();
    let name = prop_oneof![
        5 => proptest::sample::select(names).prop_map(str::to_owned),
        1 => "\\PC{0,4}",
    ];
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        "\\PC{0,6}|https?://a|a, b|remote_address".prop_map(Value::from),
    ];
    leaf.prop_recursive(6, 48, 5, move |inner| {
        prop_oneof![
            1 => prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            3 => prop::collection::vec((name.clone(), inner), 0..5)
                .prop_map(|fields| Value::Object(fields.into_iter().collect())),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(3000))]

    #[test]
    fn anything_is_converted(spec in value(), kind in proptest::sample::select(KINDS)) {
        for version in [Version::V0, Version::V1, Version::V2] {
            let converted = to_v3alpha1(kind, version, spec.clone());
            converted.origins.written("spec.hostname");
            prop_assert_eq!(converted.spec.is_object(), spec.is_object());
        }
    }

    #[test]
    fn v3alpha1_is_left_alone(spec in value(), kind in proptest::sample::select(KINDS)) {
        let converted = to_v3alpha1(kind, Version::V3alpha1, spec.clone());
        prop_assert_eq!(converted.spec, spec);
        prop_assert!(converted.origins.is_empty() && converted.lost.is_empty());
    }
}
