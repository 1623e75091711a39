//! The whole bench at a tiny size: everything it promises is measured, and can be compared with.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;

fn envoy() -> String {
    if let Ok(envoy) = std::env::var("NUNCIO_ENVOY") {
        return envoy;
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let versions = std::fs::read_to_string(root.join("versions.env")).unwrap();
    let mut lines = versions.lines();
    let version = lines.find_map(|line| line.strip_prefix("ENVOY_VERSION="));
    let envoy = root.join(format!(".tools/envoy-{}/envoy", version.unwrap()));
    assert!(envoy.is_file(), "Envoy is not installed: run `make envoy`");
    envoy.to_str().unwrap().to_owned()
}

fn bench(folder: &Path, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_nuncio-bench"))
        .args(["run", "--output", "out/bench.json", "--envoy", &envoy()])
        .args(arguments)
        .current_dir(folder)
        .output()
        .unwrap()
}

#[test]
fn everything_is_measured() {
    let folder = tempfile::tempdir().unwrap();
    let sizes = [
        "--sizes",
        "20,40",
        "--gateways",
        "60",
        "--hosts",
        "1,5",
        "--shared-mappings",
        "20",
        "--served",
        "20",
        "--clusters",
        "20",
        "--busy",
        "20",
        "--fleet",
        "3",
        "--certificates",
        "3",
        "--routes",
        "10,50",
        "--filters",
        "10",
        "--requests",
        "20",
        "--rest",
        "5",
    ];
    let output = bench(folder.path(), &sizes);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");

    let written = std::fs::read(folder.path().join("out/bench.json")).unwrap();
    let written: Value = serde_json::from_slice(&written).unwrap();
    let mut sizes: BTreeMap<(String, String), Vec<u64>> = BTreeMap::new();
    for figure in written["figures"].as_array().unwrap() {
        let text = |key: &str| figure[key].as_str().unwrap().to_owned();
        let key = (text("measure"), text("name"));
        assert!(figure["value"].as_f64().unwrap() >= 0.0, "{figure}");
        sizes
            .entry(key)
            .or_default()
            .push(figure["size"].as_u64().unwrap());
    }
    for (measure, name, of) in [
        ("cold", "parse (CPU)", vec![20, 40]),
        ("cold", "store (CPU)", vec![20, 40]),
        ("cold", "translate (CPU)", vec![20, 40]),
        ("cold", "encode (CPU)", vec![20, 40]),
        ("cold", "peak memory", vec![20, 40]),
        ("change", "Mapping: to snapshot (CPU)", vec![20, 40]),
        ("change", "endpoint: to snapshot (CPU)", vec![20, 40]),
        ("gateway", "HTTPRoute: to snapshot (CPU)", vec![60]),
        ("gateways", "HTTPRoute: to snapshot (CPU)", vec![60]),
        ("hosts", "translate (CPU)", vec![1, 5]),
        ("served", "Mapping: file to acknowledged", vec![20]),
        ("served", "endpoint: file to acknowledged", vec![20]),
        ("served", "Mapping: file / prepared", vec![20]),
        ("cluster", "to the first request", vec![20]),
        ("cluster", "memory", vec![20]),
        ("cluster", "API requests a minute at rest", vec![20]),
        ("busy", "alone: 99 %", vec![20]),
        ("busy", "one route after the other: 99 %", vec![20]),
        ("busy", "all routes again and again: 99 %", vec![20]),
        ("fleet", "memory for each, both ends", vec![3]),
        ("fleet", "Mapping: snapshot to acknowledged by all", vec![3]),
        ("tls", "chain for each: Host added (main thread)", vec![3]),
        ("tls", "on demand: Host added (main thread)", vec![3]),
        ("routing", "last: nuncio (worker CPU)", vec![10, 50]),
        ("routing", "last: by hand (worker CPU)", vec![10, 50]),
        ("filters", "both: throughput, nuncio / by hand", vec![10]),
    ] {
        let found = sizes.get(&(measure.to_owned(), name.to_owned()));
        assert_eq!(
            found,
            Some(&of),
            "{measure}: {name} among {:?}",
            sizes.keys()
        );
    }

    let nothing = [
        "--gateways",
        "",
        "--hosts",
        "",
        "--served",
        "",
        "--clusters",
        "",
        "--busy",
        "",
        "--fleet",
        "",
        "--certificates",
        "",
        "--routes",
        "",
        "--filters",
        "",
        "--sizes",
        "20",
        "--baseline",
        "out/bench.json",
    ];
    let output = bench(folder.path(), &nothing);
    let table = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && table.contains(" (×"), "{table}");
}

#[test]
fn a_baseline_that_is_none_is_said_before_anything_is_measured() {
    let folder = tempfile::tempdir().unwrap();
    let output = bench(folder.path(), &["--baseline", "nowhere.json"]);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success());
    assert!(
        said.contains("cannot take nowhere.json as a baseline"),
        "{said}"
    );
}
