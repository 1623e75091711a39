//! `nuncio check`: every problem of a folder, with file, line and column.

mod github;
mod sarif;

use std::io::{self, Write};
use std::process::ExitCode;

use anstyle::{AnsiColor, Style};
use nuncio_model::{Entry, Severity};
use nuncio_sources::Position;
use nuncio_translate::Settings;
use serde_json::{Value, json};

use crate::cli::{CheckArgs, CheckOutput, Denied};
use crate::environment::Environment;
use crate::resources::{self, Resources};

/// Everything is in effect.
const FINE: u8 = 0;
/// Something is not.
const PROBLEMS: u8 = 1;
/// The check itself was not possible.
const NOT_CHECKED: u8 = 2;

pub fn run(args: &CheckArgs) -> ExitCode {
    match check(args, &mut anstream::stdout().lock()) {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            eprintln!("nuncio: {error:#}");
            ExitCode::from(NOT_CHECKED)
        }
    }
}

fn check(args: &CheckArgs, out: &mut impl Write) -> anyhow::Result<u8> {
    let environment = Environment::read().map_err(anyhow::Error::msg)?;
    let settings = Settings {
        hints: true,
        ..resources::settings(&args.scope, &environment)?
    };
    let resources = Resources::read(&args.paths, &environment, &settings)?;
    let entries = resources.entries();
    match args.output {
        CheckOutput::Text => text(out, &entries)?,
        CheckOutput::Json => writeln!(out, "{:#}", json(&resources, &entries))?,
        CheckOutput::Sarif => writeln!(out, "{:#}", sarif::log(&entries))?,
        CheckOutput::Github => github::commands(out, &entries)?,
    }
    if matches!(args.output, CheckOutput::Text | CheckOutput::Github) {
        writeln!(
            out,
            "{} resources: {} errors, {} warnings, {} notices",
            resources.objects,
            resources.count(Severity::Error),
            resources.count(Severity::Warning),
            resources.count(Severity::Notice),
        )?;
    }
    let denied = match args.deny {
        Some(Denied::Warnings) => Severity::Warning,
        None => Severity::Error,
    };
    let worst = entries.iter().map(|(_, entry)| entry.severity).max();
    Ok(if worst >= Some(denied) {
        PROBLEMS
    } else {
        FINE
    })
}

/// An entry, and where it stands.
type Placed<'a> = (Option<Position>, &'a Entry);

fn text(out: &mut impl Write, entries: &[Placed<'_>]) -> io::Result<()> {
    for (at, entry) in entries {
        if let Some(at) = at {
            write!(out, "{at}: ")?;
        }
        let style = style(entry.severity);
        writeln!(out, "{style}{}{style:#}: {entry}", entry.severity)?;
    }
    Ok(())
}

fn style(severity: Severity) -> Style {
    let color = match severity {
        Severity::Error => AnsiColor::Red,
        Severity::Warning => AnsiColor::Yellow,
        Severity::Notice => AnsiColor::Cyan,
    };
    color.on_default().bold()
}

fn json(resources: &Resources, entries: &[Placed<'_>]) -> Value {
    let entry = |(at, entry): &Placed<'_>| {
        let mut value = json!({
            "resource": {
                "group": entry.resource.group,
                "kind": entry.resource.kind,
                "namespace": entry.resource.namespace,
                "name": entry.resource.name,
            },
            "field": entry.field,
            "severity": entry.severity,
            "reason": entry.reason,
            "message": entry.message,
            "help": entry.help,
        });
        if let Some(at) = at {
            value["file"] = at.file.as_ref().into();
            value["line"] = at.line.into();
            value["column"] = at.column.into();
        }
        value
    };
    json!({
        "resources": resources.objects,
        "errors": resources.count(Severity::Error),
        "warnings": resources.count(Severity::Warning),
        "notices": resources.count(Severity::Notice),
        "entries": entries.iter().map(entry).collect::<Vec<_>>(),
    })
}
