//! Traffic cases: `tests/traffic/<area>/<name>.yaml` has manifests, requests, and what must come of
//! them through the real Envoy. See `tests/traffic/README.md`.

#![allow(clippy::unwrap_used)]

mod case;
mod check;
mod scene;
#[path = "../support/mod.rs"]
mod support;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use libtest_mimic::{Arguments, Failed, Trial};
use serde_json::Value;

use case::Case;
use scene::Scene;

/// Gateways that run at once.
const AT_ONCE: usize = 4;

fn main() -> ExitCode {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/traffic");
    let mut files = Vec::new();
    for area in fs::read_dir(root)
        .unwrap()
        .map(|entry| entry.unwrap().path())
    {
        if area.is_dir() {
            let cases = fs::read_dir(area).unwrap();
            files.extend(cases.map(|entry| entry.unwrap().path()));
        }
    }
    files.sort();
    let trials = files.into_iter().map(|file| {
        let area = file.parent().unwrap().file_name().unwrap();
        let name = file.file_stem().unwrap();
        let name = format!("{}::{}", area.display(), name.display());
        Trial::test(name, move || run(&file))
    });
    let mut arguments = Arguments::from_args();
    arguments.test_threads.get_or_insert(AT_ONCE);
    libtest_mimic::run(&arguments, trials.collect()).exit_code()
}

fn run(file: &PathBuf) -> Result<(), Failed> {
    let text = fs::read_to_string(file)?;
    let documents = nuncio_api::yaml::documents(&text)
        .map_err(|error| format!("{}: {error:?}", file.display()))?;
    let case: Case = serde_path_to_error::deserialize(documents[0].clone())
        .map_err(|error| format!("{}: {error}", file.display()))?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()?;
    runtime.block_on(case.run())
}

impl Case {
    async fn run(&self) -> Result<(), Failed> {
        let scene = Scene::start(self).await;
        for step in &self.requests {
            if let Err(error) = scene.step(step).await {
                let errors = scene.gateway.errors().await;
                return Err(format!("{}: {error}\n{errors}", step.send).into());
            }
        }
        let errors: Value = serde_json::from_str(&scene.gateway.errors().await)?;
        let errors: Vec<String> = errors
            .as_array()
            .or_else(|| errors["errors"].as_array())
            .ok_or("diagnostics have no errors")?
            .iter()
            .map(ToString::to_string)
            .collect();
        let missing = |part: &&String| !errors.iter().any(|error| error.contains(part.as_str()));
        let missing: Vec<_> = self.errors.iter().filter(missing).collect();
        if !missing.is_empty() || errors.len() != self.errors.len() {
            return Err(format!("missing: {missing:?}\nof: {errors:#?}").into());
        }
        for (key, expected) in &self.diagnostics {
            let path = format!("/ambassador/v0/diag/?json=true&filter={key}");
            let (_, actual) = scene.gateway.admin_get(&path).await.ok_or("no answer")?;
            let actual: Value = serde_json::from_str(&actual)?;
            if actual != *expected {
                return Err(format!("{key} of the diagnostics is {actual}").into());
            }
        }
        Ok(())
    }
}
