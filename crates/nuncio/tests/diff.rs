//! Cases of `nuncio diff`: `tests/diff/<name>/old.yaml` and `new.yaml`, and what is said of them.
//!
//! `NUNCIO_UPDATE_CASES=1` writes `diff.txt` anew.

#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::{Value, json};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/diff")
}

fn diff(old: &Path, new: &Path, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_nuncio"))
        .arg("diff")
        .args([old, new])
        .args(arguments)
        .output()
        .unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn every_case() {
    let mut wrong = String::new();
    for folder in fs::read_dir(root()).unwrap() {
        let folder = folder.unwrap().path();
        if !folder.is_dir() {
            continue;
        }
        let output = diff(&folder.join("old.yaml"), &folder.join("new.yaml"), &[]);
        assert_eq!(text(&output.stderr), "", "{}", folder.display());
        let actual = text(&output.stdout);
        let code = i32::from(!actual.is_empty());
        assert_eq!(output.status.code(), Some(code), "{}", folder.display());
        let path = folder.join("diff.txt");
        if std::env::var_os("NUNCIO_UPDATE_CASES").is_some() {
            fs::write(&path, &actual).unwrap();
        }
        let expected = fs::read_to_string(&path).unwrap_or_default();
        if expected != actual {
            let difference = similar::TextDiff::from_lines(&expected, &actual);
            let difference = difference.unified_diff();
            wrong.push_str(&format!("{}\n{difference}", path.display()));
        }
    }
    assert!(
        wrong.is_empty(),
        "{wrong}\nIf this is what must be said: NUNCIO_UPDATE_CASES=1 make test"
    );
}

#[test]
fn scripts_read_json() {
    let case = root().join("listener");
    let json = ["--output", "json"];
    let output = diff(&case.join("old.yaml"), &case.join("new.yaml"), &json);
    assert_eq!(output.status.code(), Some(1));
    let changes: Value = serde_json::from_slice(&output.stdout).unwrap();
    let drain = json!({
        "listener": "other",
        "filter_chain": "httphost-shared",
        "why": "proxy.xff_num_trusted_hops changes",
    });
    assert_eq!(changes["drains"][1], drain);
    let field = json!({ "field": "listener_filters", "from": [], "to": ["ProxyProtocol"] });
    assert_eq!(changes["listeners"][0]["fields"], json!([field]));

    let same = diff(&case.join("old.yaml"), &case.join("old.yaml"), &json);
    assert_eq!(same.status.code(), Some(0));
    let changes: Value = serde_json::from_slice(&same.stdout).unwrap();
    let lists = changes.as_object().unwrap().values();
    assert!(lists.clone().count() > 5 && lists.clone().all(|list| *list == json!([])));
}

#[test]
fn trouble_is_not_a_difference() {
    let old = root().join("same/old.yaml");
    let output = diff(&old, Path::new("nowhere"), &[]);
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).contains("cannot read nowhere"));
}

#[test]
fn what_is_not_in_effect_is_said_and_not_compared() {
    let folder = tempfile::tempdir().unwrap();
    let new = folder.path().join("new.yaml");
    let mapping = "---\napiVersion: getambassador.io/v3alpha1\nkind: Mapping\nmetadata: {name: x}\n\
                   spec: {hostname: \"*\", prefix: /x/, service: x, timeout_ms: soon}\n";
    let old = root().join("same/old.yaml");
    fs::write(&new, fs::read_to_string(&old).unwrap() + mapping).unwrap();
    let output = diff(&old, &new, &[]);
    assert_eq!(output.status.code(), Some(0));
    let said = text(&output.stderr);
    assert!(
        said.contains("error: Mapping default/x: spec.timeout_ms"),
        "{said}"
    );
}
