use std::sync::Arc;

use super::{Invalid, checked_string};

/// Text that becomes part of a path or of a `location` header: no line breaks.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct PathLiteral(Arc<str>);

checked_string!(PathLiteral);

impl PathLiteral {
    pub fn new(text: &str) -> Result<Self, Invalid> {
        no_line_breaks(text, "a path")?;
        Ok(Self(text.into()))
    }
}

/// Text that becomes a `:authority` header: not empty, no line breaks or spaces.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct HostLiteral(Arc<str>);

checked_string!(HostLiteral);

impl HostLiteral {
    pub fn new(text: &str) -> Result<Self, Invalid> {
        no_line_breaks(text, "a host")?;
        if text.is_empty() || text.contains(char::is_whitespace) {
            return Err(Invalid::new(
                format!("\"{text}\" is not a host"),
                "write a name or an address, and a port if it needs one",
            ));
        }
        Ok(Self(text.into()))
    }
}

fn no_line_breaks(text: &str, what: &str) -> Result<(), Invalid> {
    match text.chars().find(|c| matches!(c, '\r' | '\n' | '\0')) {
        None => Ok(()),
        Some(c) => Err(Invalid::new(
            format!("{c:?} cannot stand in {what}"),
            "write it on one line",
        )),
    }
}
