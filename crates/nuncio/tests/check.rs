//! `nuncio check` in the forms that people and machines read.

#![allow(clippy::unwrap_used)]

use std::fs;
use std::process::{Command, Output};

use serde_json::{Value, json};
use serde_sarif::sarif::{ResultLevel, Sarif};
use tempfile::TempDir;

const LISTENER: &str = "\
apiVersion: getambassador.io/v3alpha1
kind: Listener
metadata: {name: http}
spec: {port: 8080, protocol: HTTP, securityModel: XFP, hostBinding: {namespace: {from: ALL}}}
---
apiVersion: getambassador.io/v3alpha1
kind: Host
metadata: {name: any}
spec: {hostname: \"*\"}
---
";

/// A prefix that matches more than it seems to, and what it shadows.
const RISKY: &str = "\
apiVersion: getambassador.io/v3alpha1
kind: Mapping
metadata: {name: a}
spec: {hostname: \"*\", prefix: /a, precedence: 1, service: up}
---
apiVersion: getambassador.io/v3alpha1
kind: Mapping
metadata: {name: b}
spec: {hostname: \"*\", prefix: /ab/, service: up}
---
apiVersion: v1
kind: Service
metadata: {name: up}
spec: {clusterIP: 10.0.0.1, ports: [{port: 80}]}
---
";

const WRONG: &str = "\
apiVersion: getambassador.io/v3alpha1
kind: Mapping
metadata: {name: c}
spec:
  hostname: \"*\"
  prefix: /c/
  service: up
  timeout_ms: -1
---
";

/// A folder, and where its parts stand.
fn folder(parts: &[&str]) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("a b.yaml"), parts.concat()).unwrap();
    folder
}

fn check(folder: &TempDir, arguments: &[&str], variables: &[(&str, &str)]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_nuncio"))
        .args(["check", "."])
        .args(arguments)
        .envs(variables.iter().copied())
        .current_dir(folder.path())
        .output()
        .unwrap()
}

fn said(output: &Output) -> String {
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
    String::from_utf8(output.stdout.clone()).unwrap()
}

#[test]
fn exit_codes_say_how_bad_it_is() {
    let code = |parts: &[&str], arguments: &[&str]| {
        let output = check(&folder(parts), arguments, &[]);
        output.status.code().unwrap()
    };
    assert_eq!(code(&[LISTENER], &["--deny", "warnings"]), 0);
    assert_eq!(code(&[LISTENER, RISKY], &[]), 0);
    assert_eq!(code(&[LISTENER, RISKY], &["--deny", "warnings"]), 1);
    assert_eq!(code(&[LISTENER, WRONG], &[]), 1);
    for output in ["json", "sarif", "github"] {
        assert_eq!(code(&[LISTENER, WRONG], &["--output", output]), 1);
    }
    assert_eq!(code(&[LISTENER], &["nowhere"]), 2);
    assert_eq!(code(&[LISTENER], &["--output", "xml"]), 2);
}

const TEXT: &str = "\
./a b.yaml:14:23: notice: Mapping default/a: spec.prefix: it takes every path that begins so, such \
as /a-other; write /a/ for what is below it alone; /a itself then needs a Mapping with \
prefix_exact: true [Surprising]
./a b.yaml:16:1: warning: Mapping default/b: no request reaches it: Mapping default/a, with \
precedence 1, is tried before it and takes all that it would; give it a higher precedence or the \
other one narrower conditions, or remove it [Shadowed]
./a b.yaml:33:3: error: Mapping default/c: spec.timeout_ms: ";

#[test]
fn people_read_lines_in_the_order_of_files() {
    let folder = folder(&[LISTENER, RISKY, WRONG]);
    let plain = said(&check(&folder, &[], &[]));
    assert!(plain.starts_with(TEXT), "{plain}");
    let counts = "\n6 resources: 1 errors, 1 warnings, 1 notices\n";
    assert!(plain.ends_with(counts), "{plain}");

    let colored = said(&check(&folder, &[], &[("CLICOLOR_FORCE", "1")]));
    assert!(
        colored.contains("\u{1b}[1m\u{1b}[31merror\u{1b}[0m: "),
        "{colored}"
    );
    let forbidden = [("CLICOLOR_FORCE", "1"), ("NO_COLOR", "1")];
    assert_eq!(said(&check(&folder, &[], &forbidden)), plain);
}

#[test]
fn scripts_read_json() {
    let folder = folder(&[LISTENER, RISKY, WRONG]);
    let output = said(&check(&folder, &["--output", "json"], &[]));
    let output: Value = serde_json::from_str(&output).unwrap();
    for (key, count) in [
        ("resources", 6),
        ("errors", 1),
        ("warnings", 1),
        ("notices", 1),
    ] {
        assert_eq!(output[key], count, "{key}");
    }
    let shadowed = &output["entries"][1];
    let resource = json!({
        "group": "getambassador.io", "kind": "Mapping", "namespace": "default", "name": "b"
    });
    assert_eq!(shadowed["resource"], resource);
    assert_eq!(shadowed["severity"], "warning");
    assert_eq!(shadowed["reason"], "Shadowed");
    assert_eq!(shadowed["file"], "./a b.yaml");
    assert_eq!(
        (&shadowed["line"], &shadowed["column"]),
        (&json!(16), &json!(1))
    );
}

/// The types are made of the schema: what they read has its structure.
#[test]
fn code_scanning_reads_sarif() {
    let folder = folder(&[LISTENER, RISKY, WRONG]);
    let output = said(&check(&folder, &["--output", "sarif"], &[]));
    let log: Sarif = serde_json::from_str(&output).unwrap();
    let run = &log.runs[0];
    let rules = run.tool.driver.rules.as_ref().unwrap();
    let rules: Vec<_> = rules.iter().map(|rule| rule.id.as_str()).collect();
    assert_eq!(rules, ["InvalidValue", "Shadowed", "Surprising"]);
    let results = run.results.as_ref().unwrap();
    let levels: Vec<_> = results.iter().map(|result| result.level.unwrap()).collect();
    let expected = [ResultLevel::Note, ResultLevel::Warning, ResultLevel::Error];
    assert_eq!(levels, expected);
    let location = &results[1].locations.as_ref().unwrap()[0];
    let place = location.physical_location.as_ref().unwrap();
    let file = place.artifact_location.as_ref().unwrap().uri.as_deref();
    assert_eq!(file, Some("a%20b.yaml"));
    assert_eq!(place.region.as_ref().unwrap().start_line, Some(16));

    let nothing = said(&check(
        &self::folder(&[LISTENER]),
        &["--output", "sarif"],
        &[],
    ));
    let nothing: Sarif = serde_json::from_str(&nothing).unwrap();
    assert_eq!(nothing.runs[0].results, Some(Vec::new()));
}

#[test]
fn workflows_of_github_read_commands() {
    let folder = folder(&[LISTENER, RISKY]);
    let output = said(&check(&folder, &["--output", "github"], &[]));
    let lines: Vec<_> = output.lines().collect();
    let notice = "::notice file=a b.yaml,line=14,col=23,title=nuncio%3A Surprising::\
                  Mapping default/a: spec.prefix: it takes every path";
    assert!(lines[0].starts_with(notice), "{output}");
    let warning = "::warning file=a b.yaml,line=16,col=1,title=nuncio%3A Shadowed::";
    assert!(lines[1].starts_with(warning), "{output}");
    assert_eq!(lines[2], "5 resources: 0 errors, 1 warnings, 1 notices");
}
