//! Workflow commands, which GitHub's actions show at the lines of a change.

use std::io::{self, Write};

use nuncio_model::Severity;

use super::Placed;
use super::sarif::message;

pub(super) fn commands(out: &mut impl Write, entries: &[Placed<'_>]) -> io::Result<()> {
    for (at, entry) in entries {
        let command = match entry.severity {
            Severity::Error => "error",
            Severity::Warning => "warning",
            Severity::Notice => "notice",
        };
        write!(out, "::{command} ")?;
        if let Some(at) = at {
            let file = property(at.file.strip_prefix("./").unwrap_or(&at.file));
            write!(out, "file={file},line={},col={},", at.line, at.column)?;
        }
        let title = property(&format!("nuncio: {}", entry.reason));
        writeln!(out, "title={title}::{}", data(&message(entry)))?;
    }
    Ok(())
}

/// A command is one line.
fn data(text: &str) -> String {
    text.replace('%', "%25")
        .replace('\r', "%0D")
        .replace('\n', "%0A")
}

/// Commas and colons end a property.
fn property(text: &str) -> String {
    data(text).replace(':', "%3A").replace(',', "%2C")
}

#[cfg(test)]
mod tests {
    use super::{data, property};

    #[test]
    fn a_command_stays_one_line() {
        assert_eq!(data("100 %\nof: it"), "100 %25%0Aof: it");
        assert_eq!(property("a,b:c"), "a%2Cb%3Ac");
    }
}
