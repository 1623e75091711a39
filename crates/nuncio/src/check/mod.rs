//! `nuncio check`: every problem of a folder, with file, line and column.

use std::cell::RefCell;
use std::collections::HashMap;
use std::io::{self, Write};
use std::process::ExitCode;

use nuncio_model::Entry;
use nuncio_sources::{ChangeSet, Folder, Position, position};
use nuncio_translate::{Settings, Store};

use crate::cli::CheckArgs;
use crate::environment::Environment;
use crate::files::read_file;
use crate::pod;

/// Everything is in effect.
const FINE: u8 = 0;
/// Something is not.
const PROBLEMS: u8 = 1;
/// The check itself was not possible.
const NOT_CHECKED: u8 = 2;

pub fn run(args: &CheckArgs) -> ExitCode {
    match check(args, &mut io::stdout().lock()) {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            eprintln!("nuncio: {error:#}");
            ExitCode::from(NOT_CHECKED)
        }
    }
}

fn check(args: &CheckArgs, out: &mut impl Write) -> anyhow::Result<u8> {
    for path in &args.paths {
        if let Err(error) = std::fs::metadata(path) {
            anyhow::bail!("cannot read {}: {error}", path.display());
        }
    }
    let environment = Environment::read().map_err(anyhow::Error::msg)?;
    let scope = environment.scope;
    let settings = Settings {
        strict_label_selectors: environment.strict_label_selectors,
        pod_labels: pod::labels(args.pod_labels.as_deref())?,
        ..Settings::new(&scope)
    };

    let ChangeSet {
        upserted, problems, ..
    } = Folder::new(args.paths.clone()).scan().unwrap_or_default();
    let mut store = Store::new(scope);
    let objects = upserted.len();
    store.apply(upserted, &[]);
    let mut report = nuncio_translate::translate(&mut store, &settings, read_file).report;
    report.extend(problems);
    report.sort();

    let files = Files::default();
    let mut counts = [0usize; 3];
    let mut lines: Vec<(Option<Position>, &Entry)> = report
        .entries()
        .iter()
        .map(|entry| (locate(&store, entry, &files), entry))
        .collect();
    lines.sort();
    for (at, entry) in &lines {
        counts[entry.severity as usize] += 1;
        match at {
            Some(at) => writeln!(out, "{at}: {}: {entry}", entry.severity)?,
            None => writeln!(out, "{}: {entry}", entry.severity)?,
        }
    }
    let [notices, warnings, errors] = counts;
    writeln!(
        out,
        "{objects} resources: {errors} errors, {warnings} warnings, {notices} notices"
    )?;
    Ok(if errors > 0 { PROBLEMS } else { FINE })
}

fn locate(store: &Store, entry: &Entry, files: &Files) -> Option<Position> {
    let source = store.source(&entry.resource)?;
    position(source, &entry.field, |path| files.read(path))
}

/// The text of files, read once each.
#[derive(Default)]
struct Files(RefCell<HashMap<String, Option<String>>>);

impl Files {
    fn read(&self, path: &str) -> Option<String> {
        self.0
            .borrow_mut()
            .entry(path.to_owned())
            .or_insert_with(|| std::fs::read_to_string(path).ok())
            .clone()
    }
}
