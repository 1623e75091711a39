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

/// A path that stands for itself and for what is below it: it begins with `/`, does not end with
/// one, and has neither query nor fragment (`RouteMatch.path_separated_prefix`).
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct PathSegments(Arc<str>);

checked_string!(PathSegments);

impl PathSegments {
    /// Slashes at the end do not count. `None` for the root, below which every path is.
    pub fn new(text: &str) -> Result<Option<Self>, Invalid> {
        no_line_breaks(text, "a path")?;
        if let Some(c) = text.chars().find(|c| matches!(c, '?' | '#')) {
            return Err(Invalid::new(
                format!("{c:?} cannot stand in a path that is matched by its segments"),
                "write the path alone, without query and fragment",
            ));
        }
        if !text.starts_with('/') {
            return Err(Invalid::new(
                format!("\"{text}\" does not begin with a slash"),
                "write a path such as /shop",
            ));
        }
        let path = text.trim_end_matches('/');
        Ok((!path.is_empty()).then(|| Self(path.into())))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn segments_have_no_slash_at_their_end() {
        let of = |text| PathSegments::new(text).map(|path| path.map(|path| path.to_string()));
        assert_eq!(of("/a"), Ok(Some("/a".to_owned())));
        assert_eq!(of("/a/b//"), Ok(Some("/a/b".to_owned())));
        assert_eq!(of("/"), Ok(None));
        assert_eq!(of("//"), Ok(None));
        for bad in ["", "a", "/a?b", "/a#", "/a\nb"] {
            assert!(of(bad).is_err(), "{bad}");
        }
    }
}
