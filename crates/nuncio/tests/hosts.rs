//! Hosts that are given one list of routes for all of them answer what each answers with its own:
//! random Hosts, Mappings and requests, as `explain` has them.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::fmt::Write;
use std::sync::Arc;

use nuncio_explain::{Explainer, Outcome, Request};
use nuncio_model::Gateway;
use nuncio_sources::manifest;
use nuncio_translate::{Scope, Settings, Store};
use proptest::prelude::*;
use proptest::sample::select;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;

const TABLES: usize = 12;
const REQUESTS: usize = 150;
const PORT: u16 = 8080;

/// Enough Hosts and Mappings for every name that the lists multiply.
const HOSTS: usize = 60;
const FOR_EVERY_NAME: usize = 60;

const LISTENER: &str = "\
apiVersion: getambassador.io/v3alpha1
kind: Listener
metadata: {name: http}
spec: {port: 8080, protocol: HTTP, securityModel: XFP, hostBinding: {namespace: {from: ALL}}}
";

/// Of Hosts and Mappings.
fn hostname() -> impl Strategy<Value = String> {
    let number = 0..25u32;
    let form = select(vec![
        "N.example",
        "N.example",
        "N.example",
        "x.N.example",
        "*.N.example",
        "*N.example",
        "N.*",
        "N.example*",
        ".N.example",
        "*.example",
        "N.example:8080",
        "*",
    ]);
    (number, form).prop_map(|(number, form)| form.replace('N', &format!("n{number}")))
}

/// `{SELECTOR}` is where a Host may get one.
fn host() -> impl Strategy<Value = String> {
    let action = select(vec!["Route", "Route", "Redirect", "Reject"]);
    (hostname(), action).prop_map(|(hostname, action)| {
        format!(
            "hostname: \"{hostname}\", {{SELECTOR}} requestPolicy: {{insecure: {{action: {action}}}}}"
        )
    })
}

fn path() -> impl Strategy<Value = &'static str> {
    select(vec!["/", "/a", "/a/", "/a/b", "/b/", "/c/d", "/c"])
}

fn mapping() -> impl Strategy<Value = String> {
    let name = prop_oneof![
        8 => hostname().prop_map(|name| format!("hostname: \"{name}\"")),
        1 => (0..25u32).prop_map(|n| format!("host: \"n{n}\\\\..*\", host_regex: true")),
        1 => (0..25u32).prop_map(|n| format!("host: n{n}.example")),
        1 => (0..25u32).prop_map(|n| format!("headers: {{\":authority\": n{n}.example}}")),
        1 => Just("labels: {who: nobody}".to_owned()),
    ];
    let more = select(vec!["", "", "", "precedence: 1,", "method: POST,"]);
    (name, path(), more).prop_map(|(name, path, more)| format!("{name}, prefix: {path}, {more}"))
}

fn table() -> impl Strategy<Value = (Vec<String>, Vec<String>)> {
    let for_every_name = (path(), 0..100u32).prop_map(|(path, header)| {
        format!("hostname: \"*\", prefix: {path}, headers: {{x: \"{header}\"}},")
    });
    let for_every_name = prop::collection::vec(for_every_name, FOR_EVERY_NAME);
    let some = prop::collection::vec(mapping(), 120);
    let hosts = prop::collection::vec(host(), HOSTS);
    (hosts, for_every_name, some).prop_map(|(hosts, mut all, some)| {
        all.extend(some);
        (hosts, all)
    })
}

/// A selector that selects nothing keeps a Host for itself; without strict selectors it takes what
/// is for its name all the same.
fn gateway(hosts: &[String], mappings: &[String], selector: &str) -> Gateway {
    let mut text = LISTENER.to_owned();
    for (number, host) in hosts.iter().enumerate() {
        let spec = host.replace("{SELECTOR}", selector);
        write!(
            text,
            "---\napiVersion: getambassador.io/v3alpha1\nkind: Host\n\
             metadata: {{name: h{number}}}\nspec: {{{spec}}}\n"
        )
        .unwrap();
    }
    for (number, mapping) in mappings.iter().enumerate() {
        write!(
            text,
            "---\napiVersion: getambassador.io/v3alpha1\nkind: Mapping\n\
             metadata: {{name: m{number}}}\nspec: {{{mapping} service: \"10.0.0.{number}:80\"}}\n"
        )
        .unwrap();
    }
    let scope = Scope::default();
    let settings = Settings {
        most_routes_in_own_lists: 1000,
        strict_label_selectors: false,
        ..Settings::new(&scope)
    };
    let mut store = Store::new(scope);
    let parsed = manifest::parse(&Arc::from("x.yaml"), &text).unwrap();
    store.apply(parsed.objects, &[]);
    let read = |_: &str| Err("no files here".to_owned());
    nuncio_translate::translate(&mut store, &settings, read).gateway
}

fn asked() -> impl Strategy<Value = Request> {
    let name = prop_oneof![
        1 => Just("other".to_owned()),
        20 => (0..25u32, select(vec![
            "N.example", "N.example", "x.N.example", "xN.example", "y.x.N.example", "N.other",
            ".N.example", "N.example:8080", "N.EXAMPLE", "N.examples", "N.example.", "N.",
        ])).prop_map(|(number, form)| form.replace('N', &format!("n{number}"))),
    ];
    let headers = (prop::option::weighted(0.3, 0..100u32), any::<bool>());
    let method = select(vec!["GET", "GET", "POST"]);
    (name, path(), headers, method).prop_map(|(name, path, (header, secure), method)| {
        let header = header.map(|value| format!("x: {value}"));
        let secure = secure.then(|| "x-forwarded-proto: https".to_owned());
        let host = format!("host: {name}");
        let headers = header.into_iter().chain(secure).chain([host]);
        let url = format!("http://127.0.0.1:{PORT}{path}");
        let mut request = Request::parse(method, &url, headers).unwrap();
        request.listener_port = Some(PORT);
        request
    })
}

fn answers(gateway: &Gateway, request: &Request) -> Vec<String> {
    let explanation = Explainer::new(gateway).explain(request);
    let shares = explanation.outcomes.into_iter();
    let text = shares.map(|share| match share.outcome {
        // The reason tells of the routes that were tried.
        Outcome::Refused { status, .. } => format!("{} refused {status}", share.percent),
        other => format!("{} {other:?}", share.percent),
    });
    text.collect()
}

fn routes(gateway: &Gateway) -> usize {
    let tables = gateway.route_tables.values();
    let hosts = tables.flat_map(|table| &table.virtual_hosts);
    hosts.map(|host| host.routes.len()).sum()
}

#[test]
fn hosts_that_share_a_list_answer_what_each_would() {
    let mut runner = TestRunner::deterministic();
    let requests = prop::collection::vec(asked(), REQUESTS);
    let mut seen = BTreeSet::new();
    for _ in 0..TABLES {
        let (hosts, mappings) = table().new_tree(&mut runner).unwrap().current();
        let apart = "mappingSelector: {matchLabels: {no: thing}},";
        let (apart, together) = (
            gateway(&hosts, &mappings, apart),
            gateway(&hosts, &mappings, ""),
        );
        let (many, few) = (routes(&apart), routes(&together));
        assert!(few * 2 < many, "{few} routes are not few beside {many}");
        for request in requests.new_tree(&mut runner).unwrap().current() {
            let expected = answers(&apart, &request);
            let actual = answers(&together, &request);
            assert_eq!(actual, expected, "{request:?}\n{hosts:#?}\n{mappings:#?}");
            seen.extend(expected);
        }
    }
    assert!(seen.len() > 150, "only {} different answers", seen.len());
}
