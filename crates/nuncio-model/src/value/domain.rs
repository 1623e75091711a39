use std::sync::Arc;

use super::{Invalid, checked_string};

/// A virtual host's domain (`config.route.v3.VirtualHost.domains`): `*`, an exact name, `*suffix`
/// or `prefix*`, in lower case; a port may follow.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Domain(Arc<str>);

checked_string!(Domain);

impl Domain {
    pub fn new(text: &str) -> Result<Self, Invalid> {
        if text.is_empty() {
            return Err(Invalid::new(
                "a hostname must not be empty",
                "write a name such as \"example.com\", or \"*\" for every name",
            ));
        }
        check_characters(text)?;
        let stars = text.matches('*').count();
        if stars > 1 || (stars == 1 && !text.starts_with('*') && !text.ends_with('*')) {
            return Err(Invalid::new(
                format!("\"{text}\" has a wildcard where none can be"),
                "a hostname may have one \"*\", as its first or its last character",
            ));
        }
        Ok(Self(text.to_ascii_lowercase().into()))
    }

    /// Every name.
    pub fn any() -> Self {
        Self("*".into())
    }

    pub fn is_any(&self) -> bool {
        &*self.0 == "*"
    }

    /// The name before the last `:`, in which no port is left.
    pub fn without_port(&self) -> &str {
        match self.0.rsplit_once(':') {
            Some((name, port)) if port.bytes().all(|b| b.is_ascii_digit()) => name,
            _ => &self.0,
        }
    }
}

/// A name that a filter chain matches on in the TLS ClientHello
/// (`FilterChainMatch.server_names`): exact, or `*.suffix` for every name below one.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct ServerName(Arc<str>);

checked_string!(ServerName);

impl ServerName {
    /// The server name of a domain; `None` for `*`, which every connection matches.
    pub fn of(domain: &Domain) -> Result<Option<Self>, Invalid> {
        let name = domain.without_port();
        if name == "*" {
            return Ok(None);
        }
        let rest = name.strip_prefix("*.").unwrap_or(name);
        if rest.contains('*') {
            return Err(Invalid::new(
                format!("\"{name}\" cannot be matched against the server name of a TLS connection"),
                "with TLS a hostname is \"*\", an exact name, or \"*.\" followed by a name",
            ));
        }
        Ok(Some(Self(name.into())))
    }
}

fn check_characters(text: &str) -> Result<(), Invalid> {
    match text
        .chars()
        .find(|c| !c.is_ascii_graphic() || matches!(c, '/' | '?' | '#' | '@' | '"' | '\\'))
    {
        None => Ok(()),
        Some(c) => Err(Invalid::new(
            format!(
                "{c:?} cannot stand in the hostname \"{}\"",
                text.escape_debug()
            ),
            "write the bare name, without scheme or path, international names in their ASCII form",
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn domains_are_lower_case_and_have_one_wildcard_at_an_end() {
        assert_eq!(Domain::new("A.com:8443").unwrap().as_str(), "a.com:8443");
        assert_eq!(Domain::new("a.com:8443").unwrap().without_port(), "a.com");
        for good in ["*", "*.a.com", "*a.com", "a.*"] {
            assert!(Domain::new(good).is_ok(), "{good}");
        }
        for bad in ["", "a.*.com", "*.*", "http://a.com", "a b"] {
            assert!(Domain::new(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn server_names_take_whole_label_wildcards_only() {
        let of = |text| ServerName::of(&Domain::new(text).unwrap());
        assert_eq!(of("*"), Ok(None));
        assert_eq!(of("a.com:8500").unwrap().unwrap().as_str(), "a.com");
        assert_eq!(of("*.a.com").unwrap().unwrap().as_str(), "*.a.com");
        assert!(of("*a.com").is_err());
        assert!(of("a.*").is_err());
    }
}
