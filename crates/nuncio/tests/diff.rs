//! Cases of `nuncio diff`: `tests/diff/<name>/old.yaml` and `new.yaml`, and what is said of them.
//!
//! `NUNCIO_UPDATE_CASES=1` writes `diff.txt` anew.

#![allow(clippy::unwrap_used)]

mod support;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::{Value, json};
use support::{Gateway, free_port};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/diff")
}

fn folders() -> Vec<PathBuf> {
    let entries = fs::read_dir(root()).unwrap();
    let mut folders: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    folders.retain(|path| path.is_dir());
    folders.sort();
    folders
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
    for folder in folders() {
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

/// A gauge of Envoy's listeners.
async fn draining(gateway: &Gateway, what: &str) -> usize {
    let name = format!("envoy_listener_manager_total_{what}_draining{{}}");
    usize::try_from(gateway.metric(&name).await).unwrap()
}

/// What is said of connections is what Envoy does with them.
#[tokio::test]
async fn envoy_drains_what_is_said() {
    for folder in folders() {
        let [mut old, mut new] =
            ["old.yaml", "new.yaml"].map(|name| fs::read_to_string(folder.join(name)).unwrap());
        for port in ["8080", "8081", "8082", "8443"] {
            let free = free_port().to_string();
            (old, new) = (old.replace(port, &free), new.replace(port, &free));
        }
        let output = diff(
            &folder.join("old.yaml"),
            &folder.join("new.yaml"),
            &["--output", "json"],
        );
        let changes: Value = serde_json::from_slice(&output.stdout).unwrap();
        let drains = changes["drains"].as_array().unwrap();
        let chains = drains.iter().filter(|d| !d["filter_chain"].is_null());
        let chains = chains.count();

        let gateway = Gateway::start(&[("manifests.yaml", old)]).await;
        gateway.write("manifests.yaml", &new);
        gateway.settled().await;
        let seen = (
            draining(&gateway, "listeners").await,
            draining(&gateway, "filter_chains").await,
        );
        assert_eq!(
            seen,
            (drains.len() - chains, chains),
            "{}",
            folder.display()
        );
    }
}
