//! The bench, at a size at which it takes seconds: every figure is there, and is one.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;

/// The Envoy program that `make test` installs.
fn envoy() -> PathBuf {
    if let Some(envoy) = std::env::var_os("NUNCIO_ENVOY") {
        return envoy.into();
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let versions = fs::read_to_string(root.join("versions.env")).unwrap();
    let version = versions
        .lines()
        .find_map(|line| line.strip_prefix("ENVOY_VERSION="))
        .expect("versions.env names a version");
    root.join(format!(".tools/envoy-{version}/envoy"))
}

fn bench(output: &Path, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_nuncio-bench"))
        .arg("run")
        .arg("--envoy")
        .arg(envoy())
        .arg("--output")
        .arg(output)
        .args(arguments)
        .output()
        .unwrap()
}

const COLD: &[&str] = &[
    "parse (CPU)",
    "store (CPU)",
    "translate (CPU)",
    "encode (CPU)",
    "resources",
    "snapshot",
    "peak memory",
];

const CHANGE: &[&str] = &[
    "Mapping: find it (CPU)",
    "Mapping: to snapshot (CPU)",
    "Mapping: changed resources",
    "Mapping: their size",
    "endpoint: find it (CPU)",
    "endpoint: to snapshot (CPU)",
    "endpoint: changed resources",
    "endpoint: their size",
];

const SERVED: &[&str] = &[
    "start of Envoy to all acknowledged",
    "Mapping: file to acknowledged",
    "Mapping: pushed resources",
    "Mapping: their size",
    "endpoint: file to acknowledged",
    "endpoint: pushed resources",
    "endpoint: their size",
];

const ROUTING: &[&str] = &[
    "first: nuncio (worker CPU)",
    "first: by hand (worker CPU)",
    "first: nuncio / by hand",
    "last: nuncio (worker CPU)",
    "last: by hand (worker CPU)",
    "last: nuncio / by hand",
];

#[test]
fn every_figure_is_measured_and_compared() {
    let folder = tempfile::tempdir().unwrap();
    let (first, second) = (folder.path().join("1/a.json"), folder.path().join("b.json"));
    let sizes = [
        "--sizes",
        "20,30",
        "--served",
        "20",
        "--routes",
        "10",
        "--requests",
        "40",
    ];
    let output = bench(&first, &sizes);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");

    let results: Value = serde_json::from_slice(&fs::read(&first).unwrap()).unwrap();
    assert!(results["cores"].as_u64() > Some(0));
    assert!(matches!(
        results["build"].as_str(),
        Some("debug" | "release")
    ));
    let figures = results["figures"].as_array().unwrap();
    let mut found = BTreeSet::new();
    for figure in figures {
        let value = figure["value"].as_f64();
        assert!(value.is_some_and(|value| value > 0.0), "{figure}");
        let key = (
            figure["measure"].as_str().unwrap(),
            figure["size"].as_u64().unwrap(),
            figure["name"].as_str().unwrap(),
        );
        assert!(found.insert(key), "{figure} stands there twice");
    }
    let wanted = [
        ("cold", 20, COLD),
        ("cold", 30, COLD),
        ("change", 20, CHANGE),
        ("change", 30, CHANGE),
        ("served", 20, SERVED),
        ("routing", 10, ROUTING),
    ];
    let wanted: BTreeSet<_> = wanted
        .into_iter()
        .flat_map(|(measure, size, names)| names.iter().map(move |name| (measure, size, *name)))
        .collect();
    assert_eq!(found, wanted);

    // What does not depend on the machine is known, and the same once more.
    let figure = |name: &str| {
        let is_it = |figure: &&Value| figure["name"] == name && figure["size"] == 20;
        figures.iter().find(is_it).unwrap()["value"].as_f64()
    };
    assert_eq!(figure("Mapping: changed resources"), Some(1.0));
    assert_eq!(figure("Mapping: pushed resources"), Some(1.0));
    assert_eq!(figure("endpoint: changed resources"), Some(1.0));
    assert_eq!(figure("endpoint: pushed resources"), Some(1.0));
    let again = bench(
        &second,
        &[
            "--sizes",
            "20",
            "--served=",
            "--routes=",
            "--baseline",
            first.to_str().unwrap(),
        ],
    );
    let table = String::from_utf8_lossy(&again.stdout);
    let resources = table.lines().find(|line| line.starts_with("| resources"));
    assert!(
        resources.is_some_and(|line| line.contains("(×1.00)")),
        "{table}\n{}",
        String::from_utf8_lossy(&again.stderr)
    );
}

#[test]
fn what_cannot_be_is_said_before_anything_is_measured() {
    let folder = tempfile::tempdir().unwrap();
    let output = folder.path().join("a.json");
    fs::write(folder.path().join("no.json"), "{}").unwrap();
    let no = folder.path().join("no.json");
    let refused = bench(&output, &["--baseline", no.to_str().unwrap()]);
    assert!(!refused.status.success());
    let said = String::from_utf8_lossy(&refused.stderr);
    assert!(said.contains("give the file that an earlier"), "{said}");
    assert!(!output.exists());
}
