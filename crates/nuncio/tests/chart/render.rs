//! Running helm, and what comes of it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;

pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

pub(crate) fn chart() -> PathBuf {
    root().join("charts/nuncio")
}

/// The chart of the CRDs.
pub(crate) fn crds_chart() -> PathBuf {
    root().join("charts/nuncio-crds")
}

/// Values by the name of their file.
fn values(name: &str) -> PathBuf {
    root().join(format!("tests/chart/{name}.yaml"))
}

pub(crate) fn all_values() -> Vec<PathBuf> {
    let mut files: Vec<_> = fs::read_dir(root().join("tests/chart"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    files.sort();
    assert!(files.len() > 5);
    files
}

pub(crate) fn helm(arguments: &[&str]) -> Output {
    let program = std::env::var_os("HELM").expect(
        "HELM names no helm: run `make test`, or export what scripts/install-helm.sh prints",
    );
    let home = tempfile::tempdir().unwrap();
    Command::new(program)
        .args(arguments)
        .env("HELM_CACHE_HOME", home.path())
        .env("HELM_CONFIG_HOME", home.path())
        .env("HELM_DATA_HOME", home.path())
        .output()
        .unwrap()
}

/// What a release becomes.
#[derive(Debug)]
pub(crate) struct Rendered(pub(crate) Vec<Value>);

impl Rendered {
    pub(crate) fn of(release: &str, options: &[&str]) -> Self {
        Self::of_chart(&chart(), release, options)
    }

    pub(crate) fn of_chart(chart: &Path, release: &str, options: &[&str]) -> Self {
        let mut arguments = vec!["template", release, chart.to_str().unwrap()];
        arguments.extend(["--namespace", "edge"]);
        arguments.extend(options);
        let output = helm(&arguments);
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{options:?}: {error}");
        let text = String::from_utf8(output.stdout).unwrap();
        let documents = text.split("\n---\n").map(|document| {
            let document = document.trim_start_matches("---\n");
            serde_saphyr::from_str::<Value>(document).unwrap_or_else(|error| {
                panic!("{options:?}: {error}\n{document}");
            })
        });
        Self(documents.filter(|object| !object.is_null()).collect())
    }

    pub(crate) fn with(name: &str) -> Self {
        Self::of("gw", &["--values", values(name).to_str().unwrap()])
    }

    pub(crate) fn find(&self, kind: &str, name: &str) -> Option<&Value> {
        self.0
            .iter()
            .find(|object| object["kind"] == kind && object["metadata"]["name"] == name)
    }

    pub(crate) fn get(&self, kind: &str, name: &str) -> &Value {
        let names: Vec<_> = self.names();
        self.find(kind, name)
            .unwrap_or_else(|| panic!("there is no {kind} {name}: {names:?}"))
    }

    pub(crate) fn names(&self) -> Vec<String> {
        let name = |object: &Value| {
            let [kind, name] = [&object["kind"], &object["metadata"]["name"]].map(Value::as_str);
            format!("{}/{}", kind.unwrap(), name.unwrap())
        };
        self.0.iter().map(name).collect()
    }

    pub(crate) fn has(&self, kind: &str) -> bool {
        self.0.iter().any(|object| object["kind"] == kind)
    }
}
