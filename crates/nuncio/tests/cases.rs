//! Translation cases: `tests/cases/<area>/<name>/input.yaml`, and what must come of it.
//!
//! `NUNCIO_UPDATE_CASES=1` writes the expected files anew. See `tests/cases/README.md`.

#![allow(clippy::unwrap_used)]

#[path = "support/static_config.rs"]
mod static_config;
mod support;

use std::collections::BTreeMap;
use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::sync::Arc;

use libtest_mimic::{Arguments, Failed, Trial};
use nuncio_envoy_api::json::body_to_json;
use nuncio_envoy_api::resource::{ResourceType, Snapshot};
use nuncio_model::Report;
use nuncio_model::value::{CipherSuites, Curve, format_operators};
use nuncio_sources::{manifest, positions};
use nuncio_translate::gateway_api::{Infrastructure, Statuses};
use nuncio_translate::ingress::parse_pod_labels;
use nuncio_translate::{Scope, Settings, Store};
use serde_json::{Map, Value, json};
use static_config::Together;

/// Set in the process that only prints the bytes of every case.
const PRINT: &str = "NUNCIO_CASES_PRINT";

fn main() -> ExitCode {
    let cases = cases();
    if std::env::var_os(PRINT).is_some() {
        for case in &cases {
            println!("{}", fingerprint(&case.run().snapshot));
        }
        return ExitCode::SUCCESS;
    }
    let mut trials: Vec<Trial> = cases
        .iter()
        .cloned()
        .map(|case| Trial::test(case.name.clone(), move || case.check()))
        .collect();
    let all = cases.clone();
    trials.push(Trial::test("envoy_takes_every_case", move || {
        envoy_takes(&all)
    }));
    trials.push(Trial::test(
        "envoy_takes_every_operator",
        envoy_takes_operators,
    ));
    trials.push(Trial::test(
        "envoy_takes_every_tls_parameter",
        envoy_takes_tls_parameters,
    ));
    trials.push(Trial::test(
        "two_processes_encode_the_same_bytes",
        move || same_bytes(&cases),
    ));
    libtest_mimic::run(&Arguments::from_args(), trials).exit_code()
}

#[derive(Clone)]
struct Case {
    name: String,
    folder: PathBuf,
}

struct Outcome {
    snapshot: Snapshot,
    report: Report,
    store: Store,
    gateway_status: Arc<Statuses>,
    infrastructure: Arc<Infrastructure>,
    input: String,
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/cases")
}

fn cases() -> Vec<Case> {
    let folders = |path: &Path| -> Vec<PathBuf> {
        let entries = fs::read_dir(path)
            .unwrap()
            .map(|entry| entry.unwrap().path());
        let mut folders: Vec<_> = entries.filter(|path| path.is_dir()).collect();
        folders.sort();
        folders
    };
    let name = |path: &Path| path.file_name().unwrap().to_string_lossy().into_owned();
    folders(&root())
        .iter()
        .flat_map(|area| folders(area))
        .map(|folder| Case {
            name: format!("{}::{}", name(folder.parent().unwrap()), name(&folder)),
            folder,
        })
        .collect()
}

impl Case {
    fn run(&self) -> Outcome {
        let input = fs::read_to_string(self.folder.join("input.yaml")).unwrap();
        let variables: BTreeMap<String, String> =
            match fs::read_to_string(self.folder.join("variables.yaml")) {
                Ok(text) => {
                    let documents = nuncio_api::yaml::documents(&text).unwrap();
                    serde_json::from_value(documents[0].clone()).unwrap()
                }
                Err(_) => BTreeMap::new(),
            };
        let pod_labels = fs::read_to_string(self.folder.join("pod-labels")).ok();
        translate(&input, &variables, pod_labels.as_deref(), &self.folder)
    }

    fn check(&self) -> Result<(), Failed> {
        let outcome = self.run();
        let mut files = vec![
            (
                "envoy.yaml",
                yaml(&envoy(&outcome.snapshot, self.name != UNABRIDGED)),
            ),
            ("report.yaml", yaml(&report(&outcome))),
        ];
        if *outcome.infrastructure != Infrastructure::default() {
            let made = infrastructure(&outcome.infrastructure);
            files.push(("infrastructure.yaml", yaml(&made)));
        }
        if !outcome.gateway_status.is_empty() {
            files.push((
                "status.yaml",
                yaml(&gateway_status(&outcome.gateway_status)),
            ));
        }
        let mut differences = String::new();
        for (name, actual) in files {
            let path = self.folder.join(name);
            if std::env::var_os("NUNCIO_UPDATE_CASES").is_some() {
                fs::write(&path, &actual)?;
                continue;
            }
            let expected = fs::read_to_string(&path).unwrap_or_default();
            if expected != actual {
                let difference = similar::TextDiff::from_lines(&expected, &actual);
                let difference = difference.unified_diff();
                differences.push_str(&format!("{}\n{difference}", path.display()));
            }
        }
        if differences.is_empty() {
            return Ok(());
        }
        Err(format!(
            "{differences}\nIf this is what must come of it: NUNCIO_UPDATE_CASES=1 make test"
        )
        .into())
    }
}

/// `/case/…` in resources is a file of the case's folder.
fn translate(
    input: &str,
    variables: &BTreeMap<String, String>,
    pod_labels: Option<&str>,
    folder: &Path,
) -> Outcome {
    let scope = Scope::from_vars(|name| variables.get(name).cloned()).unwrap();
    let settings = Settings {
        admin: SocketAddr::from((Ipv4Addr::LOCALHOST, 8877)),
        strict_label_selectors: !variables.contains_key("DISABLE_STRICT_LABEL_SELECTORS"),
        gateway_services: variables
            .get("NUNCIO_GATEWAY_SERVICES")
            .map(|text| text.parse().unwrap()),
        pod_labels: pod_labels.map(|text| parse_pod_labels(text).unwrap()),
        ..Settings::new(&scope)
    };
    let manifest = manifest::parse(&Arc::from("input.yaml"), input).unwrap();
    let mut store = Store::new(scope);
    store.apply(manifest.objects, &[]);
    let translation = nuncio_translate::translate(&mut store, &settings, |path| {
        let name = path
            .strip_prefix("/case/")
            .ok_or("No such file or directory")?;
        fs::read_to_string(folder.join(name)).map_err(|error| error.to_string())
    });
    let mut report = translation.report;
    report.extend(manifest.problems);
    report.sort();
    Outcome {
        snapshot: nuncio_envoy::encode(&translation.gateway),
        report,
        store,
        gateway_status: translation.gateway_status,
        infrastructure: translation.infrastructure,
        input: input.to_owned(),
    }
}

/// What is to stand in a cluster for Gateways.
fn infrastructure(made: &Infrastructure) -> Value {
    let objects = made.objects.iter().map(|object| {
        json!({"body": object.body, "owner": object.owner.to_string(), "stands": object.stands})
    });
    let obsolete = made.obsolete.iter().map(ToString::to_string);
    json!({
        "objects": objects.collect::<Vec<_>>(),
        "obsolete": obsolete.collect::<Vec<_>>(),
    })
}

/// What the status of each object of the Gateway API says. A GatewayClass's features are left out.
fn gateway_status(statuses: &Statuses) -> Value {
    let statuses = statuses.iter().map(|(id, status)| {
        let mut status = serde_json::to_value(status).unwrap();
        status.as_object_mut().unwrap().remove("supportedFeatures");
        (id.to_string(), status)
    });
    Value::Object(statuses.collect())
}

fn yaml(value: &Value) -> String {
    match value {
        Value::Object(fields) if fields.is_empty() => "{}\n".to_owned(),
        Value::Array(items) if items.is_empty() => "[]\n".to_owned(),
        value => serde_saphyr::to_string(value).unwrap(),
    }
}

/// The case that shows what the others leave out.
const UNABRIDGED: &str = "listener::unabridged";

/// Envoy's resources by type and name, without what every case has: the connection manager's
/// fixed part, the built-in routes with their cluster, and an empty runtime.
fn envoy(snapshot: &Snapshot, abridge: bool) -> Value {
    let mut types = Map::new();
    for resource_type in ResourceType::ALL {
        let mut resources = Map::new();
        for (name, resource) in snapshot.of(resource_type) {
            let mut json = body_to_json(resource_type.type_url(), &resource.body).unwrap();
            if abridge {
                elide(&mut json);
            }
            resources.insert(name.to_string(), json);
        }
        if abridge {
            resources.retain(|name, _| !name.starts_with("cluster_127_0_0_1_8877_"));
            resources.retain(|_, resource| resource["layer"] != json!({}));
            resources.retain(|name, resource| {
                !(OFF.contains(&name.as_str()) && resource["typed_config"] == json!({"@type": LUA}))
            });
        }
        if !resources.is_empty() {
            types.insert(resource_type.short_name().to_owned(), resources.into());
        }
    }
    Value::Object(types)
}

/// Filters that are in every connection manager, and what they are where nobody is asked.
const OFF: &[&str] = &[
    "envoy.filters.http.ext_authz",
    "envoy.filters.http.ratelimit",
];
const LUA: &str = "type.googleapis.com/envoy.extensions.filters.http.lua.v3.Lua";

/// Fields of a connection manager that are the same in all.
const FIXED: &[&str] = &[
    "common_http_protocol_options",
    "internal_address_config",
    "normalize_path",
    "request_headers_timeout",
    "server_name",
    "stream_idle_timeout",
    "use_remote_address",
];

fn elide(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            if fields.contains_key("http_filters") {
                fields.retain(|name, _| !FIXED.contains(&name.as_str()));
                if is_usual_log(&fields["access_log"]) {
                    fields.remove("access_log");
                }
                if let Some(Value::Array(filters)) = fields.get_mut("http_filters") {
                    filters.retain(|filter| {
                        filter["name"] == "envoy.filters.http.rbac"
                            || filter["typed_config"]["start_child_span"] == true
                    });
                }
            }
            if fields.contains_key("virtual_hosts")
                && let Some(Value::Object(filters)) = fields.get_mut("typed_per_filter_config")
            {
                filters.retain(|name, settings| {
                    !(OFF.contains(&name.as_str()) && settings["disabled"] == json!(true))
                });
                if filters.is_empty() {
                    fields.remove("typed_per_filter_config");
                }
            }
            for name in ["inline_bytes", "private_key", "certificate_chain"] {
                if let Some(value) = fields.get_mut(name) {
                    *value = json!("(elided)");
                }
            }
            if let Some(Value::Array(routes)) = fields.get_mut("routes") {
                routes.retain(|route| {
                    let prefix = route["match"]["prefix"].as_str().unwrap_or_default();
                    !prefix.starts_with("/ambassador/v0/")
                });
            }
            fields.values_mut().for_each(elide);
        }
        Value::Array(items) => items.iter_mut().for_each(elide),
        _ => {}
    }
}

/// Emissary's line on standard output, and nothing else.
fn is_usual_log(logs: &Value) -> bool {
    let line = &logs[0]["typed_config"]["log_format"]["text_format_source"]["inline_string"];
    logs[1].is_null()
        && logs[0]["name"] == "envoy.access_loggers.stdout"
        && line
            .as_str()
            .is_some_and(|line| line.starts_with("ACCESS ["))
}

fn report(outcome: &Outcome) -> Value {
    let entries = outcome.report.entries().iter();
    let fields = entries
        .clone()
        .map(|entry| (outcome.store.source(&entry.resource), &*entry.field));
    let places = positions(fields, |_| Some(outcome.input.clone()));
    let entries = entries.zip(places).map(|(entry, at)| {
        let mut fields = Map::new();
        fields.insert("resource".into(), entry.resource.to_string().into());
        if !entry.field.is_empty() {
            fields.insert("field".into(), entry.field.to_string().into());
        }
        if let Some(at) = at {
            fields.insert("at".into(), at.to_string().into());
        }
        fields.insert("severity".into(), entry.severity.to_string().into());
        fields.insert("reason".into(), entry.reason.to_string().into());
        fields.insert("message".into(), entry.message.clone().into());
        if let Some(help) = &entry.help {
            fields.insert("help".into(), help.clone().into());
        }
        Value::Object(fields)
    });
    entries.collect()
}

fn fingerprint(snapshot: &Snapshot) -> String {
    let mut versions = String::new();
    for resource_type in ResourceType::ALL {
        for (name, resource) in snapshot.of(resource_type) {
            versions.push_str(&format!("{resource_type} {name} {}; ", resource.version));
        }
    }
    versions
}

fn same_bytes(cases: &[Case]) -> Result<(), Failed> {
    let output = Command::new(std::env::current_exe()?)
        .env(PRINT, "1")
        .output()?;
    let theirs = String::from_utf8_lossy(&output.stdout).into_owned();
    for (case, theirs) in cases.iter().zip(theirs.lines()) {
        if fingerprint(&case.run().snapshot) != theirs {
            return Err(format!("{} differs", case.name).into());
        }
    }
    if theirs.lines().count() != cases.len() {
        return Err("the other process printed too little".into());
    }
    Ok(())
}

/// Envoy itself reads everything that the cases give it.
fn envoy_takes(cases: &[Case]) -> Result<(), Failed> {
    let mut whole = Together::default();
    for case in cases {
        whole.add(&case.name.replace("::", "-"), &case.run().snapshot);
    }
    Ok(whole.validate()?)
}

/// Every operator that may stand in a header's value is one that Envoy has.
fn envoy_takes_operators() -> Result<(), Failed> {
    let headers: String = format_operators()
        .map(|(name, has_argument)| {
            let argument = match name {
                _ if !has_argument => "",
                "COALESCE" => "({\\\"operators\\\": [\\\"HOSTNAME\\\"]})",
                "COMMON_DURATION" => "(DS_RX_BEG:DS_RX_END:ms)",
                _ => "(x)",
            };
            format!(
                "    x-{}: {{value: \"%{name}{argument}%\"}}\n",
                name.to_lowercase()
            )
        })
        .collect();
    let input = fs::read_to_string(root().join("listener/http/input.yaml"))?
        + "  add_response_headers:\n"
        + &headers;
    let outcome = translate(&input, &BTreeMap::new(), None, Path::new(""));
    if !outcome.report.is_empty() {
        return Err(format!("{:?}", outcome.report).into());
    }
    let mut whole = Together::default();
    whole.add("operators", &outcome.snapshot);
    Ok(whole.validate()?)
}

/// So is every cipher suite and every curve.
fn envoy_takes_tls_parameters() -> Result<(), Failed> {
    let input = fs::read_to_string(root().join("listener/https/input.yaml"))?;
    let suites = CipherSuites::known().join(", ");
    let curves = Curve::known().join(", ");
    let tls = format!("tls: {{cipher_suites: [{suites}], ecdh_curves: [{curves}]}}");
    let input = input.replacen("tlsSecret:", &format!("{tls}\n  tlsSecret:"), 1);
    let outcome = translate(&input, &BTreeMap::new(), None, Path::new(""));
    let mut whole = Together::default();
    whole.add("parameters", &outcome.snapshot);
    let json = envoy(&outcome.snapshot, false).to_string();
    if !json.contains("cipher_suites") || !json.contains("ecdh_curves") {
        return Err(format!("they are not used: {:?}", outcome.report).into());
    }
    Ok(whole.validate()?)
}
