//! What is made of the command line: `docs/cli.md`, completions, manual pages.
//!
//! `NUNCIO_UPDATE_CASES=1` writes `docs/cli.md` anew.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use clap::CommandFactory;
use nuncio::cli::Cli;
use nuncio::reference;

fn nuncio(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_nuncio"))
        .args(arguments)
        .output()
        .unwrap()
}

fn commands() -> BTreeSet<String> {
    let command = Cli::command();
    let names = command.get_subcommands().map(|c| c.get_name().to_owned());
    names.collect()
}

#[test]
fn the_documentation_is_the_command_line_s() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/cli.md");
    let text = reference::markdown();
    if std::env::var_os("NUNCIO_UPDATE_CASES").is_some() {
        fs::write(&path, &text).unwrap();
    }
    assert!(
        fs::read_to_string(&path).unwrap_or_default() == text,
        "docs/cli.md is not what --help says: NUNCIO_UPDATE_CASES=1 make test"
    );
}

#[test]
fn every_command_says_its_exit_codes() {
    for command in commands() {
        let output = nuncio(&[&command, "--help"]);
        assert!(output.status.success(), "{command}");
        let help = String::from_utf8(output.stdout).unwrap();
        assert!(help.contains("Exit codes: 0"), "{command}\n{help}");
        assert_eq!(nuncio(&[&command, "--nonsense"]).status.code(), Some(2));
    }
}

#[test]
fn shells_complete_every_command() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let output = nuncio(&["completions", shell]);
        assert!(output.status.success());
        let script = String::from_utf8(output.stdout).unwrap();
        for command in commands() {
            assert!(script.contains(&command), "{shell}: {command}");
        }
        assert!(script.contains("admin-port"), "{shell}");
    }
    assert_eq!(nuncio(&["completions", "basic"]).status.code(), Some(2));
}

/// Bash itself takes them and offers what begins so.
#[test]
fn bash_completes_a_command() {
    let script = r#"
        source <("$1" completions bash)
        COMP_WORDS=(nuncio ren) COMP_CWORD=1
        _nuncio nuncio ren nuncio
        echo "${COMPREPLY[@]}""#;
    let output = Command::new("bash")
        .args(["-c", script, "bash", env!("CARGO_BIN_EXE_nuncio")])
        .output()
        .unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout), "render\n");
}

#[test]
fn every_command_has_a_manual_page() {
    let folder = tempfile::tempdir().unwrap();
    let pages = folder.path().join("man");
    let output = nuncio(&["man", pages.to_str().unwrap()]);
    assert!(output.status.success());
    let found: BTreeSet<String> = fs::read_dir(&pages)
        .unwrap()
        .map(|page| page.unwrap().file_name().to_string_lossy().into_owned())
        .collect();
    let mut expected: BTreeSet<String> = commands()
        .iter()
        .map(|command| format!("nuncio-{command}.1"))
        .collect();
    expected.insert("nuncio.1".to_owned());
    assert_eq!(found, expected);
    let page = fs::read_to_string(pages.join("nuncio-diff.1")).unwrap();
    assert!(page.contains(".TH nuncio-diff 1"), "{page}");
    assert!(
        page.contains("Exit codes: 0 when nothing would change"),
        "{page}"
    );

    fs::write(folder.path().join("file"), "").unwrap();
    let below_a_file = folder.path().join("file/man");
    let output = nuncio(&["man", below_a_file.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(1));
}
