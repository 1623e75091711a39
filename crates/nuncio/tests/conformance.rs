//! The Gateway API's own suite, of `tests/conformance`, against the real binary, Envoy and Kubernetes API.

#![allow(clippy::unwrap_used)]

mod support;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;

/// What nuncio is not for, and the guide says so.
fn is_left_out(test: &str) -> bool {
    test.starts_with("Mesh")
}

/// How many lines of the log of a test that fails are shown.
const SHOWN: usize = 60;

/// What a test that failed said, at the end.
fn said(log: &str, test: &str) -> String {
    let begins = format!("=== RUN   TestConformance/{test}");
    let is_other = |line: &str| {
        line.strip_prefix("=== RUN   TestConformance/")
            .is_some_and(|name| name.split('/').next() != Some(test))
    };
    let lines = log.lines().skip_while(|line| **line != begins);
    let lines: Vec<_> = lines.take_while(|line| !is_other(line)).collect();
    lines[lines.len().saturating_sub(SHOWN)..].join("\n")
}

#[test]
fn the_suite_of_the_gateway_api_passes() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let out = root.join("target/conformance");
    assert!(
        std::env::var_os("CONFORMANCE_BIN").is_some(),
        "CONFORMANCE_BIN names no folder: run `make test`, or export what \
         scripts/install-conformance.sh prints"
    );
    let run = Command::new(root.join("tests/conformance/run.sh"))
        .arg(&out)
        .env("NUNCIO", env!("CARGO_BIN_EXE_nuncio"))
        .env("NUNCIO_ENVOY", support::envoy())
        .output()
        .unwrap();
    let printed = String::from_utf8_lossy(&run.stdout) + String::from_utf8_lossy(&run.stderr);
    let log = fs::read_to_string(out.join("suite.log")).unwrap_or_default();
    let results = fs::read_to_string(out.join("results.txt")).unwrap_or_default();

    let mut tests: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for line in results.lines() {
        let (outcome, rest) = line.split_once(' ').unwrap();
        let name = rest.split(' ').next().unwrap();
        tests.entry(outcome).or_default().push(name);
    }
    let failed = tests.remove("FAIL").unwrap_or_default();
    let failures: Vec<_> = failed.iter().map(|test| said(&log, test)).collect();
    assert!(
        run.status.success(),
        "{printed}\nfailed: {failed:?}; more is in {}\n{}",
        out.display(),
        failures.join("\n\n")
    );

    let (left_out, skipped): (Vec<_>, Vec<_>) = tests
        .remove("SKIP")
        .unwrap_or_default()
        .into_iter()
        .partition(|test| is_left_out(test));
    assert!(skipped.is_empty(), "not run: {skipped:?}");
    let guide = fs::read_to_string(root.join("docs/gateway-api.md")).unwrap();
    let passed = tests.remove("PASS").unwrap_or_default().len();
    let words = guide.split_whitespace().collect::<Vec<_>>().join(" ");
    for said in [
        format!(": {passed} tests"),
        format!("the {} of service meshes", left_out.len()),
    ] {
        assert!(words.contains(&said), "the guide does not say: {said}");
    }
}
