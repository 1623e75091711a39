use std::sync::Arc;

use super::{Invalid, checked_string};

/// The name of a header that a route adds or removes: an HTTP token in lower case.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct HeaderName(Arc<str>);

checked_string!(HeaderName);

impl HeaderName {
    pub fn new(text: &str) -> Result<Self, Invalid> {
        if text.starts_with(':') || text.eq_ignore_ascii_case("host") {
            return Err(Invalid::new(
                format!("\"{text}\" cannot be added or removed as a header"),
                "use the fields that rewrite the host or the path",
            ));
        }
        check_token(text)?;
        Ok(Self(text.to_ascii_lowercase().into()))
    }
}

/// The name of a cookie: an HTTP token, whose case counts (RFC 6265, 4.1.1).
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct CookieName(Arc<str>);

checked_string!(CookieName);

impl CookieName {
    pub fn new(text: &str) -> Result<Self, Invalid> {
        match check_token(text) {
            Ok(()) => Ok(Self(text.into())),
            Err(_) => Err(Invalid::new(
                format!("\"{}\" is not the name of a cookie", text.escape_debug()),
                "write letters, digits and any of !#$%&'*+-.^_`|~",
            )),
        }
    }
}

/// The name of a header that a route matches on: also `:authority`, `:method`, `:path` and
/// `:scheme`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct MatchHeaderName(Arc<str>);

checked_string!(MatchHeaderName);

impl MatchHeaderName {
    pub fn new(text: &str) -> Result<Self, Invalid> {
        let lower = text.to_ascii_lowercase();
        if !matches!(&*lower, ":authority" | ":method" | ":path" | ":scheme") {
            check_token(text)?;
        }
        // Envoy keeps Host as `:authority`.
        let name = if lower == "host" {
            ":authority"
        } else {
            &lower
        };
        Ok(Self(name.into()))
    }

    pub fn authority() -> Self {
        Self(":authority".into())
    }

    pub fn method() -> Self {
        Self(":method".into())
    }

    pub fn forwarded_proto() -> Self {
        Self("x-forwarded-proto".into())
    }
}

fn check_token(text: &str) -> Result<(), Invalid> {
    const HELP: &str = "a header name has letters, digits and any of !#$%&'*+-.^_`|~";
    if text.is_empty() {
        return Err(Invalid::new("a header name must not be empty", HELP));
    }
    match text
        .chars()
        .find(|c| !c.is_ascii_alphanumeric() && !"!#$%&'*+-.^_`|~".contains(*c))
    {
        None => Ok(()),
        Some(c) => Err(Invalid::new(
            format!(
                "{c:?} cannot stand in the header name \"{}\"",
                text.escape_debug()
            ),
            HELP,
        )),
    }
}
