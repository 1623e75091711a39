//! What the documentation says of fields and differences is so: every field has a case that shows
//! it, and the tables name them.
//!
//! `NUNCIO_UPDATE_CASES=1` writes `docs/fields.md` anew.

#![allow(clippy::unwrap_used)]

#[path = "support/schema.rs"]
mod schema;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use nuncio_api::getambassador::{
    AuthService, ConsulResolver, DevPortal, Host, KubernetesResolver, Listener, LogService,
    Mapping, ModuleConfig, RateLimitService, TcpMapping, TlsContext, TracingService,
};
use nuncio_api::ingress::{Ingress, IngressClass};
use nuncio_api::policy::RoutePolicy;
use schema::{Field, Schema};
use serde_json::Value;

/// A kind whose fields are shown.
struct Kind {
    version: &'static str,
    name: &'static str,
    /// Below `spec`, where its schema begins.
    at: &'static str,
    schema: Schema,
    /// Whether what stands in its fields is a Mapping's, and shown there.
    of_mapping: bool,
}

impl Kind {
    fn fields(&self) -> Vec<Field> {
        let mut fields = self.schema.fields();
        fields.retain(|field| !self.of_mapping || !field.path.contains(['.', '[']));
        fields
    }
}

/// Fields that neither a client nor an upstream can see, and why.
const UNSEEN: &[(&str, &[&str])] = &[
    (
        "without effect, which the report says",
        &[
            "Host.previewUrl",
            "Host.requestPolicy.insecure.additionalPort",
            "Host.tls.cert_chain_file",
            "Host.tls.private_key_file",
            "Host.tls.redirect_cleartext_from",
            "Host.tls.sni",
            "Listener.hostBinding.namespace.selector",
            "Listener.hostBinding.namespace.selector.matchExpressions",
            "Listener.hostBinding.namespace.selector.matchExpressions[].key",
            "Listener.hostBinding.namespace.selector.matchExpressions[].operator",
            "Listener.hostBinding.namespace.selector.matchExpressions[].values",
            "Listener.hostBinding.namespace.selector.matchLabels",
            "Mapping.envoy_override",
            "Mapping.modules",
            "Module.admin_port",
            "Module.ambassador_id",
            "Module.auth_enabled",
            "Module.buffer.max_request_time",
            "Module.debug_mode",
            "Module.envoy_validation_timeout",
            "Module.liveness_probe.allow_non_local",
            "Module.prune_unreachable_routes",
            "Module.readiness_probe.allow_non_local",
            "Module.regex_max_size",
            "Module.regex_type",
            "Module.service_port",
            "Module.statsd",
            "Module.tls",
            "Module.use_proxy_proto",
            "Module.x_forwarded_proto_redirect",
            "Module.xff_num_trusted_hops",
            "TLSContext.redirect_cleartext_from",
        ],
    ),
    (
        "of nuncio's own port: which peers it answers is tested beside it",
        &["Module.diagnostics.allow_non_local"],
    ),
    (
        "how it was written in an old version, for the conversion back",
        &[
            "AuthService.v2ExplicitTLS",
            "AuthService.v2ExplicitTLS.serviceScheme",
            "AuthService.v2ExplicitTLS.tls",
            "Mapping.add_request_headers.*.v2Representation",
            "Mapping.add_response_headers.*.v2Representation",
            "Mapping.cors.v2CommaSeparatedOrigins",
            "Mapping.health_checks[].health_check.http.add_request_headers.*.v2Representation",
            "Mapping.v2BoolHeaders",
            "Mapping.v2BoolQueryParameters",
            "Mapping.v2ExplicitTLS",
            "Mapping.v2ExplicitTLS.serviceScheme",
            "Mapping.v2ExplicitTLS.tls",
            "Module.defaults.add_request_headers.*.v2Representation",
            "Module.defaults.add_response_headers.*.v2Representation",
            "Module.defaults.httpmapping.add_request_headers.*.v2Representation",
            "Module.defaults.httpmapping.add_response_headers.*.v2Representation",
            "Mapping.labels.*[].*[].generic_key.v2Shorthand",
            "RateLimitService.v2ExplicitTLS",
            "RateLimitService.v2ExplicitTLS.serviceScheme",
            "RateLimitService.v2ExplicitTLS.tls",
            "TCPMapping.v2ExplicitTLS",
            "TCPMapping.v2ExplicitTLS.serviceScheme",
            "TCPMapping.v2ExplicitTLS.tls",
        ],
    ),
    (
        "of services that are not there yet: ACME, the developer portal",
        &[
            "Host.acmeProvider",
            "Host.acmeProvider.authority",
            "Host.acmeProvider.email",
            "Host.acmeProvider.privateKeySecret",
            "Host.acmeProvider.privateKeySecret.name",
            "Host.acmeProvider.registration",
            "Mapping.docs",
        ],
    ),
    (
        "what only a real network shows: name servers, and connections that are cut without a word",
        &[
            "Mapping.dns_type",
            "Mapping.enable_ipv4",
            "Mapping.keepalive",
            "Mapping.keepalive.idle_time",
            "Mapping.keepalive.interval",
            "Mapping.keepalive.probes",
            "Mapping.keepalive.time",
            "Mapping.respect_dns_ttl",
            "Module.enable_ipv4",
            "Module.keepalive",
            "Module.keepalive.idle_time",
            "Module.keepalive.interval",
            "Module.keepalive.probes",
            "Module.keepalive.time",
            "RoutePolicy.keepalive",
            "TCPMapping.enable_ipv4",
            "TCPMapping.enable_ipv6",
        ],
    ),
    (
        "what shows only over minutes, when an endpoint keeps failing",
        &["Mapping.outlier_detection.max_ejection_time"],
    ),
    (
        "a Consul: crates/nuncio/tests/consul has real ones",
        &[
            "ConsulResolver.address",
            "ConsulResolver.ambassador_id",
            "ConsulResolver.datacenter",
        ],
    ),
    (
        "the memory of the gateway itself",
        &["Module.gzip.memory_level"],
    ),
];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// Emissary's kinds, and what gives their fields to the Gateway API.
fn kinds() -> Vec<Kind> {
    let kind = |name, at, schema| Kind {
        version: "getambassador.io/v3alpha1",
        name,
        at,
        schema,
        of_mapping: false,
    };
    let resolver = || Schema::of::<KubernetesResolver>();
    vec![
        kind("Listener", "", Schema::of::<Listener>()),
        kind("Host", "", Schema::of::<Host>()),
        kind("Mapping", "", Schema::of::<Mapping>()),
        kind("TCPMapping", "", Schema::of::<TcpMapping>()),
        kind("TLSContext", "", Schema::of::<TlsContext>()),
        kind("Module", "/config", Schema::of::<ModuleConfig>()),
        kind("KubernetesServiceResolver", "", resolver()),
        kind("KubernetesEndpointResolver", "", resolver()),
        kind("AuthService", "", Schema::of::<AuthService>()),
        kind("RateLimitService", "", Schema::of::<RateLimitService>()),
        kind("ConsulResolver", "", Schema::of::<ConsulResolver>()),
        kind("TracingService", "", Schema::of::<TracingService>()),
        kind("LogService", "", Schema::of::<LogService>()),
        Kind {
            version: "gateway.nuncio.dev/v1alpha1",
            name: "RoutePolicy",
            at: "",
            schema: Schema::of::<RoutePolicy>(),
            of_mapping: true,
        },
    ]
}

/// Those of Emissary's kinds that are read and checked, but have no effect yet.
fn checked_kinds() -> Vec<Kind> {
    let kind = |name, schema| Kind {
        version: "getambassador.io/v3alpha1",
        name,
        at: "",
        schema,
        of_mapping: false,
    };
    vec![kind("DevPortal", Schema::of::<DevPortal>())]
}

/// Kinds of Kubernetes, which its own documentation describes.
fn core_kinds() -> Vec<Kind> {
    let kind = |name, schema| Kind {
        version: "networking.k8s.io/v1",
        name,
        at: "",
        schema,
        of_mapping: false,
    };
    vec![
        kind("Ingress", Schema::of::<Ingress>()),
        kind("IngressClass", Schema::of::<IngressClass>()),
    ]
}

fn all_kinds() -> impl Iterator<Item = Kind> {
    kinds()
        .into_iter()
        .chain(checked_kinds())
        .chain(core_kinds())
}

/// A case and the fields that it has, by kind.
struct Case {
    /// From the root of the repository.
    path: String,
    name: String,
    fields: BTreeMap<&'static str, BTreeSet<String>>,
    size: usize,
}

impl Case {
    fn new(path: &Path, name: String, manifests: &str) -> Option<Self> {
        let documents = nuncio_api::yaml::documents(manifests).ok()?;
        let kinds: Vec<Kind> = all_kinds().collect();
        let mut fields: BTreeMap<&'static str, BTreeSet<String>> = BTreeMap::new();
        for document in documents {
            for kind in &kinds {
                if document["apiVersion"] == kind.version
                    && document["kind"] == kind.name
                    && let Some(spec) = document["spec"].pointer(kind.at)
                {
                    kind.schema
                        .present(spec, fields.entry(kind.name).or_default());
                }
            }
        }
        let path = path.strip_prefix(root()).unwrap();
        Some(Self {
            path: path.display().to_string(),
            name,
            size: fields.values().map(BTreeSet::len).sum(),
            fields,
        })
    }

    fn has(&self, kind: &str, field: &str) -> bool {
        self.fields
            .get(kind)
            .is_some_and(|fields| fields.contains(field))
    }
}

fn entries(folder: &Path) -> Vec<PathBuf> {
    let mut paths: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    paths.sort();
    paths
}

fn name(path: &Path) -> String {
    path.file_stem().unwrap().to_string_lossy().into_owned()
}

fn translation_cases() -> Vec<Case> {
    let areas = entries(&root().join("tests/cases"));
    let folders = areas
        .iter()
        .filter(|area| area.is_dir())
        .flat_map(|area| entries(area));
    let case = |folder: PathBuf| {
        let input = fs::read_to_string(folder.join("input.yaml")).unwrap();
        let name = format!("{}/{}", name(folder.parent().unwrap()), name(&folder));
        Case::new(&folder, name, &input)
    };
    folders.filter_map(case).collect()
}

fn traffic_cases() -> Vec<Case> {
    let areas = entries(&root().join("tests/traffic"));
    let files = areas
        .iter()
        .filter(|area| area.is_dir())
        .flat_map(|area| entries(area));
    let case = |file: PathBuf| {
        let text = fs::read_to_string(&file).unwrap();
        let documents = nuncio_api::yaml::documents(&text).unwrap();
        let manifests = documents[0]["manifests"].as_str().unwrap();
        let manifests = manifests.replace('$', "");
        let name = format!("{}/{}", name(file.parent().unwrap()), name(&file));
        Case::new(&file, name, &manifests)
    };
    files.filter_map(case).collect()
}

/// The case that has a field and little else.
fn shown_by<'c>(cases: &'c [Case], kind: &str, field: &str) -> Option<&'c Case> {
    cases
        .iter()
        .filter(|case| case.has(kind, field))
        .min_by_key(|case| (case.size, &case.name))
}

fn link(case: Option<&Case>) -> String {
    match case {
        Some(case) => format!("[{}](../{})", case.name, case.path),
        None => String::new(),
    }
}

const INTRODUCTION: &str = "\
# The fields of Emissary's resources

What each field does, in which part of Envoy's configuration it ends, what differs from Emissary, and
which cases show it: one of what Envoy gets and what the user is told, and one of what clients and
upstreams meet. The table is made of the types and of the cases; a field without a case, or without a
word about what it does, fails the tests.

`[]` are the items of a list, `*` the names of a map. Fields of the old versions `v2` and `v1` are
converted to these. [differences.md](differences.md) says how nuncio answers what users of Emissary
trip over. The fields of a RoutePolicy, which gives them to routes of the Gateway API, hold what they hold in a
Mapping: [gateway-api.md](gateway-api.md#policies).
";

fn row(field: &Field, kind: &str, cases: &[Case], traffic: &[Case]) -> String {
    let cell = |text: &str| text.replace('|', "\\|");
    format!(
        "| `{}` | {} | {} | {} | {} | {} |\n",
        field.path,
        cell(&field.says),
        cell(&field.envoy),
        cell(&field.emissary),
        link(shown_by(cases, kind, &field.path)),
        link(shown_by(traffic, kind, &field.path)),
    )
}

#[test]
fn the_table_of_fields_is_true() {
    let (cases, traffic) = (translation_cases(), traffic_cases());
    let mut text = INTRODUCTION.to_owned();
    let mut wordless = Vec::new();
    for kind in kinds() {
        let name = kind.name;
        text.push_str(&format!(
            "\n## {name}\n\n| field | what it does | in Envoy | in Emissary | case | traffic |\n\
             | --- | --- | --- | --- | --- | --- |\n"
        ));
        for field in kind.fields() {
            if field.says.is_empty() {
                wordless.push(format!("{name}.{}", field.path));
            }
            text.push_str(&row(&field, name, &cases, &traffic));
        }
    }
    assert!(wordless.is_empty(), "nothing is said of {wordless:?}");
    let path = root().join("docs/fields.md");
    if std::env::var_os("NUNCIO_UPDATE_CASES").is_some() {
        fs::write(&path, &text).unwrap();
    }
    assert!(
        fs::read_to_string(&path).unwrap() == text,
        "docs/fields.md is not what the types and the cases say: NUNCIO_UPDATE_CASES=1 make test"
    );
}

/// Fields of what is plugged in that end nowhere in Envoy: whose the resource is, how v2 wrote it, and what
/// Envoy has no longer or nuncio knows by itself.
const NOWHERE: &[&str] = &[
    "ambassador_id",
    "v2ExplicitTLS",
    "v2ExplicitTLS.serviceScheme",
    "v2ExplicitTLS.tls",
    "config.access_token_file",
    "config.collector_cluster",
];

#[test]
fn every_field_of_what_is_plugged_in_says_where_it_ends_in_envoy() {
    const PLUGGED_IN: &[&str] = &[
        "AuthService",
        "ConsulResolver",
        "LogService",
        "RateLimitService",
        "TracingService",
    ];
    let mut silent = Vec::new();
    for kind in kinds() {
        let name = kind.name;
        let fields = kind.fields();
        let fields = fields.iter().filter(|_| PLUGGED_IN.contains(&name));
        let of_field = |field: &Field| field.envoy.is_empty() != NOWHERE.contains(&&*field.path);
        silent.extend(
            fields
                .filter(|field| of_field(field))
                .map(|field| format!("{name}.{}", field.path)),
        );
    }
    assert!(silent.is_empty(), "not said, or said in vain: {silent:?}");
}

#[test]
fn every_field_has_a_case() {
    let cases = translation_cases();
    let mut missing = Vec::new();
    for kind in all_kinds() {
        let name = kind.name;
        for field in kind.fields() {
            if shown_by(&cases, name, &field.path).is_none() {
                missing.push(format!("{name}.{}", field.path));
            }
        }
    }
    assert!(missing.is_empty(), "no case has\n{}", missing.join("\n"));
}

#[test]
fn every_field_that_can_be_seen_has_a_traffic_case() {
    let cases = traffic_cases();
    let mut missing = Vec::new();
    let mut seen = Vec::new();
    for kind in kinds() {
        let name = kind.name;
        for field in kind.fields() {
            let full = format!("{name}.{}", field.path);
            let unseen = UNSEEN
                .iter()
                .any(|(_, fields)| fields.contains(&full.as_str()));
            match shown_by(&cases, name, &field.path) {
                None if !unseen => missing.push(full),
                Some(_) if unseen => seen.push(full),
                _ => {}
            }
        }
    }
    assert!(
        missing.is_empty(),
        "no traffic case has\n{}",
        missing.join("\n")
    );
    assert!(seen.is_empty(), "these are seen after all: {seen:?}");
}

/// The table of what users of Emissary trip over: each row says what nuncio does, and the cases that
/// it names are there.
#[test]
fn the_table_of_differences_names_cases() {
    let text = fs::read_to_string(root().join("docs/differences.md")).unwrap();
    let mut rows = BTreeSet::new();
    for line in text.lines().filter(|line| line.starts_with("| ")) {
        let cells: Vec<&str> = line.trim_matches('|').split(" | ").collect();
        let Ok(number) = cells[0].trim().parse::<u32>() else {
            continue;
        };
        assert!(rows.insert(number), "{number} is there twice");
        let shown = cells.last().unwrap();
        let mut links = 0;
        for part in shown.split("](../").skip(1) {
            let (path, _) = part.split_once(')').unwrap();
            assert!(
                root().join(path).exists(),
                "row {number}: there is no {path}"
            );
            links += 1;
        }
        assert!(links > 0, "row {number} names no case: {shown}");
    }
    let last = rows.last().copied().unwrap_or_default();
    assert!(
        rows.len() == last as usize && last > 60,
        "rows are missing: {rows:?}"
    );
}

/// A value in which a field may stand.
#[test]
fn the_fields_of_a_value_are_found() {
    let schema = Schema::of::<Mapping>();
    let value: Value = serde_json::json!({
        "headers": {"x-a": "b"},
        "retry_policy": {"retry_on": "5xx"},
        "circuit_breakers": [{"max_retries": 1}],
        "add_request_headers": {"x-a": {"value": "b"}},
        "outlier_detection": {"interval": "1s"},
        "nonsense": 1,
    });
    let mut present = BTreeSet::new();
    schema.present(&value, &mut present);
    let expected = [
        "add_request_headers",
        "add_request_headers.*.value",
        "circuit_breakers",
        "circuit_breakers[].max_retries",
        "headers",
        "outlier_detection",
        "outlier_detection.interval",
        "retry_policy",
        "retry_policy.retry_on",
    ];
    assert_eq!(present, expected.map(str::to_owned).into());
}
