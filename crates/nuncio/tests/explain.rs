//! Cases of `nuncio explain`, see `tests/explain/README.md`; and a running gateway that is asked.
//!
//! `NUNCIO_UPDATE_CASES=1` writes `explain.txt` anew.

#![allow(clippy::unwrap_used)]

mod support;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use support::{Gateway, free_port};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/explain")
}

fn explain(folder: &Path, arguments: &[String]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_nuncio"))
        .arg("explain")
        .args(arguments)
        .current_dir(folder)
        .output()
        .unwrap()
}

/// Words at spaces; single quotes hold words together.
fn words(line: &str) -> Vec<String> {
    let quoted = line.split('\'').enumerate();
    quoted
        .flat_map(|(at, part)| match at % 2 {
            1 => vec![part.to_owned()],
            _ => part.split_whitespace().map(str::to_owned).collect(),
        })
        .collect()
}

#[test]
fn every_case() {
    let mut folders: Vec<_> = fs::read_dir(root())
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.is_dir())
        .collect();
    folders.sort();
    for folder in folders {
        let mut actual = String::new();
        let requests = fs::read_to_string(folder.join("requests.txt")).unwrap();
        for line in requests.lines() {
            let mut arguments = words(line);
            let at = arguments.len() - 1;
            arguments.insert(at, "input.yaml".to_owned());
            let output = explain(&folder, &arguments);
            let error = String::from_utf8_lossy(&output.stderr);
            assert!(output.status.success(), "{line}: {error}");
            let text = String::from_utf8_lossy(&output.stdout);
            actual.push_str(&format!("$ {line}\n{text}\n"));
        }
        let path = folder.join("explain.txt");
        if std::env::var_os("NUNCIO_UPDATE_CASES").is_some() {
            fs::write(&path, &actual).unwrap();
        }
        let expected = fs::read_to_string(&path).unwrap_or_default();
        let difference = similar::TextDiff::from_lines(&expected, &actual);
        let difference = difference.unified_diff().to_string();
        assert!(difference.is_empty(), "{}\n{difference}", path.display());
    }
}

#[test]
fn mistakes_are_said() {
    for (arguments, part) in [
        (["routes/input.yaml", "a.example"], "http://"),
        (["nowhere", "http://a.example/"], "cannot read nowhere"),
        (
            ["--header=x: 1", "http://a.example/"],
            "--admin and the address",
        ),
        (["--admin=127.0.0.1:1", "http://a.example/"], "cannot ask"),
    ] {
        let output = explain(&root(), &arguments.map(str::to_owned));
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(error.contains(part), "{error}");
    }
}

/// The served model is asked, and says the same as the folder.
#[tokio::test(flavor = "multi_thread")]
async fn a_running_gateway_explains() {
    let case = fs::read_to_string(root().join("routes/input.yaml")).unwrap();
    let port = free_port();
    let manifests = case.replace("8080", &port.to_string());
    let gateway = Gateway::start(&[("case.yaml", manifests)]).await;
    let url = format!("http://shop.example:{port}/cart/x?y=1");
    let ask = |folder: &str| {
        let arguments = [
            folder,
            "-H",
            "host: shop.example",
            "-H",
            "x-version: 2",
            "--output=json",
            &url,
        ];
        let arguments: Vec<String> = arguments.map(str::to_owned).into();
        let output = explain(&root(), &arguments);
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        let json: Result<serde_json::Value, _> = serde_json::from_slice(&output.stdout);
        json.unwrap_or_else(|_| panic!("{error}"))
    };
    let running = ask(&format!("--admin={}", gateway.admin()));
    let folder = ask(gateway.manifest("case.yaml").to_str().unwrap());
    assert_eq!(running["outcomes"][0]["outcome"]["path"], "/v1/x?y=1");
    assert_eq!(
        running["outcomes"][0]["outcome"]["host"],
        folder["outcomes"][0]["outcome"]["host"]
    );
    assert_eq!(
        running["virtual_host"]["name"],
        folder["virtual_host"]["name"]
    );
    gateway.terminate().await;
}
