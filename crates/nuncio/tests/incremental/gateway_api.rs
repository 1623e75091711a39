//! Draws of the Gateway API: two Gateways, what adds to them, and routes of every kind.

use proptest::prelude::*;
use proptest::sample::select;

const CERTIFICATE: &str =
    include_str!("../../../nuncio-translate/src/certificate/testdata/rsa-v1.crt");
const KEY: &str = include_str!("../../../nuncio-translate/src/certificate/testdata/rsa-pkcs8.key");

const HOSTNAMES: [&str; 4] = [
    "",
    "",
    "hostnames: [a.example], ",
    "hostnames: [\"*.example\", b.test], ",
];

const BACKENDS: [&str; 6] = [
    "a, port: 80",
    "a, port: 80",
    "b, port: 81",
    "c, port: 80, weight: 3",
    "d, port: 80",
    "a, namespace: other, port: 80",
];

const PARENTS: [&str; 6] = [
    "{name: g0}, {name: g1}",
    "{name: g0}, {name: g1}",
    "{name: g0, sectionName: wild}, {name: g1}",
    "{name: g0, port: 8090}",
    "{name: g1}, {name: set, kind: ListenerSet}",
    "{name: set, kind: ListenerSet}, {name: elsewhere}",
];

/// One by its kind and name, in one of several states.
pub(super) fn resource() -> impl Strategy<Value = (String, String)> {
    prop_oneof![
        4 => gateway(),
        1 => listener_set(),
        8 => http_route(),
        5 => grpc_route(),
        3 => stream_route(),
        2 => tls_policy(),
        4 => route_policy(),
        1 => reference_grant(),
        3 => referred_to(),
    ]
}

fn route_policy() -> impl Strategy<Value = (String, String)> {
    let target = select(vec![
        "Gateway, name: g0",
        "Gateway, name: g0, sectionName: http",
        "Gateway, name: g1",
        "ListenerSet, name: set",
        "HTTPRoute, name: r0",
        "HTTPRoute, name: r0, sectionName: named",
        "HTTPRoute, name: r1",
        "GRPCRoute, name: q0",
        "HTTPRoute, name: nowhere",
    ]);
    let says = select(vec![
        "bypass_auth: true",
        "timeout_ms: 1000",
        "timeout_ms: 2000",
        "circuit_breakers: [{max_requests: 7}]",
        "load_balancer: {policy: ring_hash, header: x-user}",
        "labels: {ambassador: [{one: [{remote_address: {key: remote_address}}]}]}",
        "error_response_overrides: [{on_status_code: 500, body: {text_format: no}}]",
        "priority: wrong",
    ]);
    let targets = prop::collection::vec(target, 0..3);
    (0..3u32, targets, says).prop_map(|(n, targets, says)| {
        let targets = targets.iter();
        let targets: Vec<_> = targets
            .map(|target| format!("{{group: gateway.networking.k8s.io, kind: {target}}}"))
            .collect();
        let text = format!(
            "apiVersion: gateway.nuncio.dev/v1alpha1\nkind: RoutePolicy\n\
             metadata: {{name: p{n}, namespace: default, generation: 1}}\n\
             spec: {{targetRefs: [{}], {says}}}\n",
            targets.join(", ")
        );
        (format!("RoutePolicy p{n}"), text)
    })
}

fn object(kind: &str, version: &str, name: &str, spec: &str) -> (String, String) {
    let text = format!(
        "apiVersion: gateway.networking.k8s.io/{version}\nkind: {kind}\n\
         metadata: {{name: {name}, namespace: default, generation: 1}}\nspec: {{{spec}}}\n"
    );
    (format!("{kind} {name}"), text)
}

fn gateway() -> impl Strategy<Value = (String, String)> {
    let listeners = select(vec![
        "{name: http, port: 8080, protocol: HTTP}",
        "{name: http, port: 8090, protocol: HTTP}",
        "{name: http, port: 8090, protocol: HTTP}",
        "{name: a, port: 8090, protocol: HTTP, hostname: a.example}, \
         {name: wild, port: 8090, protocol: HTTP, hostname: \"*.example\"}",
        "{name: chosen, port: 8090, protocol: HTTP, allowedRoutes: \
         {namespaces: {from: Selector, selector: {matchLabels: {who: x}}}}}",
        "{name: tls, port: 8091, protocol: HTTPS, tls: {certificateRefs: [{name: s}]}}, \
         {name: tcp, port: 9000, protocol: TCP}",
        "{name: wild, port: 8091, protocol: HTTPS, hostname: \"*.example\", \
         tls: {certificateRefs: [{name: s}]}}, \
         {name: passes, port: 8091, protocol: TLS, hostname: b.test, tls: {mode: Passthrough}}, \
         {name: udp, port: 9001, protocol: UDP}",
    ]);
    let more = select(vec![
        "",
        "",
        ", allowedListeners: {namespaces: {from: Same}}",
        ", tls: {backend: {clientCertificateRef: {name: s}}}",
    ]);
    (0..2u32, listeners, more).prop_map(|(n, listeners, more)| {
        let spec = format!("gatewayClassName: emissary, listeners: [{listeners}]{more}");
        object("Gateway", "v1", &format!("g{n}"), &spec)
    })
}

fn listener_set() -> impl Strategy<Value = (String, String)> {
    let listeners = select(vec![
        "{name: own, port: 8092, protocol: HTTP}",
        "{name: b, port: 8090, protocol: HTTP, hostname: b.test}",
    ]);
    (select(vec!["g0", "g1"]), listeners).prop_map(|(gateway, listeners)| {
        let spec = format!("parentRef: {{name: {gateway}}}, listeners: [{listeners}]");
        object("ListenerSet", "v1", "set", &spec)
    })
}

fn http_route() -> impl Strategy<Value = (String, String)> {
    let more = select(vec![
        "",
        "",
        "{name: b, port: 80}, ",
        "{name: b, port: 80, weight: 0}, ",
    ]);
    let filters = select(vec![
        "",
        "",
        "filters: [{type: RequestRedirect, requestRedirect: {hostname: x.example}}], ",
        "filters: [{type: RequestMirror, requestMirror: {backendRef: {name: c, port: 80}}}], ",
        "filters: [{type: Unheard}], ",
        "name: named, filters: [{type: ExtensionRef, extensionRef: \
         {group: gateway.nuncio.dev, kind: RoutePolicy, name: p0}}], ",
        "name: named, ",
    ]);
    (
        0..3u32,
        select(PARENTS.to_vec()),
        select(HOSTNAMES.to_vec()),
        select(vec!["/", "/0", "/0/x"]),
        select(BACKENDS.to_vec()),
        more,
        filters,
    )
        .prop_map(|(n, parents, hostnames, path, backend, more, filters)| {
            let backends = match filters.contains("Redirect") {
                true => String::new(),
                false => format!("backendRefs: [{more}{{name: {backend}}}]"),
            };
            let spec = format!(
                "parentRefs: [{parents}], {hostnames}\
                     rules: [{{matches: [{{path: {{value: {path}}}}}], {filters}{backends}}}]"
            );
            object("HTTPRoute", "v1", &format!("r{n}"), &spec)
        })
}

fn grpc_route() -> impl Strategy<Value = (String, String)> {
    let matches = select(vec![
        "",
        "matches: [{method: {service: x}}], ",
        "matches: [{method: {service: x, method: y}}], ",
    ]);
    (
        0..2u32,
        select(PARENTS.to_vec()),
        select(HOSTNAMES.to_vec()),
        matches,
        select(BACKENDS.to_vec()),
    )
        .prop_map(|(n, parents, hostnames, matches, backend)| {
            let spec = format!(
                "parentRefs: [{parents}], {hostnames}\
                 rules: [{{{matches}backendRefs: [{{name: {backend}}}]}}]"
            );
            object("GRPCRoute", "v1", &format!("q{n}"), &spec)
        })
}

fn stream_route() -> impl Strategy<Value = (String, String)> {
    let kind = select(vec!["TLSRoute", "TCPRoute", "UDPRoute"]);
    let hostnames = select(vec!["b.test", "a.example"]);
    (kind, 0..2u32, hostnames, select(BACKENDS.to_vec())).prop_map(
        |(kind, n, hostname, backend)| {
            let hostnames = match kind {
                "TLSRoute" => format!("hostnames: [{hostname}], "),
                _ => String::new(),
            };
            let spec = format!(
                "parentRefs: [{{name: g0}}, {{name: g1}}], {hostnames}\
                 rules: [{{backendRefs: [{{name: {backend}}}]}}]"
            );
            object(kind, "v1", &format!("s{n}"), &spec)
        },
    )
}

fn tls_policy() -> impl Strategy<Value = (String, String)> {
    let authorities = select(vec![
        "caCertificateRefs: [{group: \"\", kind: ConfigMap, name: authority}]",
        "caCertificateRefs: [{group: \"\", kind: ConfigMap, name: missing}]",
        "wellKnownCACertificates: None",
    ]);
    (0..2u32, select(vec!["a", "b"]), authorities).prop_map(|(n, service, authorities)| {
        let spec = format!(
            "targetRefs: [{{group: \"\", kind: Service, name: {service}}}], \
             validation: {{hostname: {service}.example, {authorities}}}"
        );
        object("BackendTLSPolicy", "v1", &format!("p{n}"), &spec)
    })
}

fn reference_grant() -> impl Strategy<Value = (String, String)> {
    select(vec!["HTTPRoute", "GRPCRoute"]).prop_map(|kind| {
        let text = format!(
            "apiVersion: gateway.networking.k8s.io/v1\nkind: ReferenceGrant\n\
             metadata: {{name: t, namespace: other}}\n\
             spec: {{from: [{{group: gateway.networking.k8s.io, kind: {kind}, namespace: default}}], \
             to: [{{group: \"\", kind: Service}}]}}\n"
        );
        ("ReferenceGrant t".to_owned(), text)
    })
}

/// What Gateways, routes and policies refer to.
fn referred_to() -> impl Strategy<Value = (String, String)> {
    let indented = |text: &str| text.replace('\n', "\n    ");
    let secret = format!(
        "apiVersion: v1\nkind: Secret\nmetadata: {{name: s, namespace: default}}\n\
         type: kubernetes.io/tls\nstringData:\n  tls.crt: |\n    {}\n  tls.key: |\n    {}\n",
        indented(CERTIFICATE),
        indented(KEY)
    );
    let authority = format!(
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: authority, namespace: default}}\n\
         data:\n  ca.crt: |\n    {}\n",
        indented(CERTIFICATE)
    );
    let namespace = |labels: &str| {
        format!(
            "apiVersion: v1\nkind: Namespace\nmetadata: {{name: default, labels: {{{labels}}}}}\n"
        )
    };
    let service = "apiVersion: v1\nkind: Service\nmetadata: {name: a, namespace: other}\n\
                   spec: {clusterIP: 10.0.0.2, ports: [{port: 80}]}\n";
    select(vec![
        ("Secret s", secret),
        ("ConfigMap authority", authority),
        ("Namespace default", namespace("")),
        ("Namespace default", namespace("who: x")),
        ("Service other/a", service.to_owned()),
    ])
    .prop_map(|(name, text)| (name.to_owned(), text))
}
