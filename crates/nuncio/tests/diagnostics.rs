//! Diagnostics cases: `tests/diagnostics/<name>.yaml` has manifests, and what the admin port answers
//! of them. See `tests/diagnostics/README.md`.

#![allow(clippy::unwrap_used)]

mod support;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use libtest_mimic::{Arguments, Failed, Trial};
use nuncio_echo::client::{Client, Protocol, Target};
use serde::Deserialize;
use serde_json::Value;
use support::{Gateway, free_port};

/// Gateways that run at once.
const AT_ONCE: usize = 2;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    #[serde(default)]
    variables: BTreeMap<String, String>,
    manifests: String,
    /// Requests to the gateway before any other.
    #[serde(default)]
    traffic: Vec<String>,
    requests: Vec<Ask>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Ask {
    get: String,
    #[serde(default = "ok")]
    status: u16,
    /// What the JSON has at least: objects may have more keys.
    json: Option<Value>,
    /// The keys of the JSON, all of them.
    keys: Option<Vec<String>>,
    #[serde(default)]
    has: Vec<String>,
    #[serde(default)]
    lacks: Vec<String>,
}

fn ok() -> u16 {
    200
}

fn main() -> ExitCode {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/diagnostics");
    let mut files: Vec<PathBuf> = fs::read_dir(root)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|ext| ext == "yaml"))
        .collect();
    files.sort();
    let trials = files.into_iter().map(|file| {
        let name = file.file_stem().unwrap().display().to_string();
        Trial::test(name, move || {
            let runtime = tokio::runtime::Runtime::new()?;
            runtime.block_on(run(&file))
        })
    });
    let mut arguments = Arguments::from_args();
    arguments.test_threads.get_or_insert(AT_ONCE);
    libtest_mimic::run(&arguments, trials.collect()).exit_code()
}

async fn run(file: &Path) -> Result<(), Failed> {
    let text = fs::read_to_string(file)?;
    let documents = nuncio_api::yaml::documents(&text).map_err(|error| format!("{error:?}"))?;
    let case: Case = serde_path_to_error::deserialize(documents[0].clone())?;
    let port = free_port().to_string();
    let manifests = case.manifests.replace("$http", &port);
    let variables: Vec<(&str, &str)> = case
        .variables
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_str()))
        .collect();
    let gateway = Gateway::start_with(&[("case.yaml", manifests)], &variables).await;
    for path in &case.traffic {
        let target = Target::cleartext(format!("127.0.0.1:{port}").parse()?);
        let mut client = Client::connect(&target, Protocol::Http1).await?;
        client.get("localhost", path).await?;
    }
    for ask in &case.requests {
        let (status, body) = gateway.admin_get(&ask.get).await.ok_or("no answer")?;
        ask.check(status, &body)
            .map_err(|what| format!("{}: {what}\n{body}", ask.get))?;
    }
    Ok(())
}

impl Ask {
    fn check(&self, status: u16, body: &str) -> Result<(), String> {
        if status != self.status {
            return Err(format!("status {status}"));
        }
        for part in &self.has {
            if !body.contains(part) {
                return Err(format!("it lacks {part}"));
            }
        }
        for part in &self.lacks {
            if body.contains(part) {
                return Err(format!("it has {part}"));
            }
        }
        if self.json.is_none() && self.keys.is_none() {
            return Ok(());
        }
        let json: Value = serde_json::from_str(body).map_err(|error| error.to_string())?;
        if let Some(keys) = &self.keys {
            let has: Vec<&String> = json
                .as_object()
                .into_iter()
                .flat_map(|o| o.keys())
                .collect();
            let mut keys: Vec<&String> = keys.iter().collect();
            keys.sort();
            if has != keys {
                return Err(format!("its keys are {has:?}"));
            }
        }
        match &self.json {
            Some(expected) => within(expected, &json, ""),
            None => Ok(()),
        }
    }
}

/// Whether all that is expected is there.
fn within(expected: &Value, actual: &Value, at: &str) -> Result<(), String> {
    match (expected, actual) {
        (Value::Object(expected), Value::Object(actual)) => {
            expected.iter().try_for_each(|(key, expected)| {
                let actual = actual.get(key).unwrap_or(&Value::Null);
                within(expected, actual, &format!("{at}.{key}"))
            })
        }
        (Value::Array(expected), Value::Array(actual)) if expected.len() == actual.len() => {
            let mut pairs = expected.iter().zip(actual).enumerate();
            pairs.try_for_each(|(index, (expected, actual))| {
                within(expected, actual, &format!("{at}[{index}]"))
            })
        }
        _ if expected == actual => Ok(()),
        _ => Err(format!("{at} is {actual}, expected {expected}")),
    }
}
