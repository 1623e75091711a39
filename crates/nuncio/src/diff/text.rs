//! Changes as lines: `+` is added, `-` removed, `~` changed, `^` tried at another place.

use std::io::{self, Write};

use anstyle::{AnsiColor, Style};
use serde_json::Value;

use super::{Change, Changes, Drain, Field, Kind};

pub(super) fn write(out: &mut impl Write, changes: &Changes) -> io::Result<()> {
    if changes.is_empty() {
        return Ok(());
    }
    section(out, "listeners", &changes.listeners)?;
    for host in &changes.virtual_hosts {
        let (style, sign) = mark(host.kind);
        let bold = Style::new().bold();
        let (listener, domains) = (&host.listener, host.domains.join(", "));
        writeln!(
            out,
            "{style}{sign}{style:#} {bold}routes of {listener} for {domains}{bold:#}"
        )?;
        fields(out, "    ", &host.fields)?;
        for route in &host.routes {
            change(out, "  ", route)?;
        }
    }
    section(out, "clusters", &changes.clusters)?;
    section(out, "endpoints", &changes.endpoints)?;
    section(out, "certificates", &changes.certificates)?;
    section(out, "filters", &changes.filters)?;
    if !changes.runtime.is_empty() {
        title(out, "runtime")?;
        fields(out, "  ", &changes.runtime)?;
    }
    if changes.drains.is_empty() {
        return writeln!(out, "no connection of a client drains");
    }
    title(out, "connections that drain")?;
    changes.drains.iter().try_for_each(|each| drain(out, each))
}

fn title(out: &mut impl Write, title: &str) -> io::Result<()> {
    let bold = Style::new().bold();
    writeln!(out, "{bold}{title}{bold:#}")
}

fn section(out: &mut impl Write, name: &str, changes: &[Change]) -> io::Result<()> {
    if changes.is_empty() {
        return Ok(());
    }
    title(out, name)?;
    changes.iter().try_for_each(|each| change(out, "  ", each))
}

fn mark(kind: Kind) -> (Style, char) {
    let (color, sign) = match kind {
        Kind::Added => (AnsiColor::Green, '+'),
        Kind::Removed => (AnsiColor::Red, '-'),
        Kind::Changed => (AnsiColor::Yellow, '~'),
        Kind::Moved => (AnsiColor::Cyan, '^'),
    };
    (color.on_default(), sign)
}

fn change(out: &mut impl Write, indent: &str, change: &Change) -> io::Result<()> {
    let (style, sign) = mark(change.kind);
    write!(out, "{indent}{style}{sign} {}{style:#}", change.what)?;
    match &change.resource {
        Some(resource) => writeln!(out, " [{resource}]")?,
        None => writeln!(out)?,
    }
    fields(out, &format!("{indent}    "), &change.fields)
}

fn fields(out: &mut impl Write, indent: &str, fields: &[Field]) -> io::Result<()> {
    for Field { field, from, to } in fields {
        writeln!(out, "{indent}{field}: {} → {}", words(from), words(to))?;
    }
    Ok(())
}

fn words(value: &Value) -> String {
    match value {
        Value::Null => "none".to_owned(),
        Value::String(text) if !text.is_empty() => text.clone(),
        Value::Array(items) if !items.is_empty() && !items.iter().any(Value::is_object) => {
            items.iter().map(words).collect::<Vec<_>>().join(", ")
        }
        other => other.to_string(),
    }
}

fn drain(out: &mut impl Write, drain: &Drain) -> io::Result<()> {
    let red = AnsiColor::Red.on_default();
    let which = match &drain.filter_chain {
        Some(chain) => format!("of filter chain {chain} of {}", drain.listener),
        None => format!("all of {}", drain.listener),
    };
    writeln!(out, "  {red}! {which}{red:#}: {}", drain.why)
}
