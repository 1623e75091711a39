//! How many instructions a cold translation takes, and a change: figures that do not depend on what
//! else the machine does.

use std::path::Path;
use std::process::Command;

use anyhow::Context;

use crate::figure::{Figure, Figures};
use crate::{change, cold, gateway_api, manifests};

/// How often both changes are made to count one of each.
const ROUNDS: u64 = 4;

/// Runs measurements under valgrind.
pub(crate) fn count(size: usize) -> anyhow::Result<Vec<Figure>> {
    let folder = tempfile::tempdir()?;
    manifests::services(folder.path(), size, 8080)?;
    let count = |measure, rounds| count_of(measure, size, folder.path(), rounds);
    let mut figures = Figures::new("instructions", size);
    figures.add("cold translation", "M", count(cold::NAME, 1)? as f64 / 1e6);
    let [(one, _), (many, _)] = gateway_api::AMONG;
    for (measure, name) in [
        (change::NAME, "a Mapping and an endpoint changed"),
        (one, "an HTTPRoute changed, all on one Gateway"),
        (many, "an HTTPRoute changed, on 50 Gateways"),
    ] {
        // What comes before the first change is the same in both.
        let [once, more] = [count(measure, 1)?, count(measure, 1 + ROUNDS)?];
        let change = more.saturating_sub(once) / ROUNDS;
        figures.add(name, "M", change as f64 / 1e6);
    }
    Ok(figures.finish())
}

fn count_of(measure: &str, size: usize, folder: &Path, rounds: u64) -> anyhow::Result<u64> {
    let result = tempfile::NamedTempFile::new()?;
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .arg(std::env::current_exe()?)
        .args(["measure", measure, "--size", &size.to_string()])
        .args(["--rounds", &rounds.to_string()])
        .arg("--folder")
        .arg(folder)
        .arg("--result")
        .arg(result.path())
        .output()
        .context(
            "cannot run valgrind, which counts instructions: install it (Debian: apt-get install \
             valgrind)",
        )?;
    let said = String::from_utf8_lossy(&output.stderr);
    anyhow::ensure!(output.status.success(), "valgrind failed:\n{said}");
    collected(&said).with_context(|| format!("valgrind gave no count:\n{said}"))
}

/// callgrind's last word: `==123== Collected : 456`.
fn collected(said: &str) -> Option<u64> {
    said.lines().find_map(|line| {
        let (_, count) = line.split_once("Collected :")?;
        count.trim().parse().ok()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_count_is_read_from_what_callgrind_says() {
        let said = "==7== Events    : Ir\n==7== Collected : 708600000\n==7== \n";
        assert_eq!(collected(said), Some(708_600_000));
        assert_eq!(collected("==7== Command: x\n"), None);
    }
}
