//! Hostnames of listeners and routes: which names each stands for, and which is the more specific.

use nuncio_model::value::{Domain, Invalid, ServerName};

/// `*` for every name, `*.` and a name for all names below it, or one name.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(super) struct Hostname(Domain);

impl Hostname {
    pub(super) fn any() -> Self {
        Self(Domain::any())
    }

    pub(super) fn parse(text: &str) -> Result<Self, Invalid> {
        let name = text.strip_prefix("*.").unwrap_or(text);
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-');
        if name.is_empty() || !name.chars().all(plain) || name.starts_with('.') {
            return Err(Invalid::new(
                format!("\"{}\" is not a hostname", text.escape_debug()),
                "write a name such as a.example, or *.example for every name below example, \
                 without a port",
            ));
        }
        Domain::new(text).map(Self)
    }

    pub(super) fn domain(&self) -> &Domain {
        &self.0
    }

    /// What a TLS connection for it names; `None` is any.
    pub(super) fn server_name(&self) -> Option<ServerName> {
        ServerName::of(&self.0).expect("invariant: a star stands before a dot or alone")
    }

    /// Whether it stands for every name that the other stands for.
    pub(super) fn covers(&self, other: &Self) -> bool {
        let (own, other) = (self.0.as_str(), other.0.as_str());
        if own == "*" || own == other {
            return true;
        }
        match own.strip_prefix('*') {
            // A wildcard below another is longer than it; a name is not the bare suffix.
            Some(suffix) => other != "*" && other.ends_with(suffix) && other.len() > suffix.len(),
            None => false,
        }
    }

    /// What stands after the star, or the name: no two have the same, because no name begins with a dot.
    pub(super) fn key(&self) -> &str {
        let text = self.0.as_str();
        text.strip_prefix('*').unwrap_or(text)
    }

    /// The keys of all that cover it, the most specific first.
    pub(super) fn covering(&self) -> impl Iterator<Item = &str> {
        let key = self.key();
        let dots = key.match_indices('.').map(|(at, _)| at);
        let wildcards = dots.filter(|at| *at > 0).map(|at| &key[at..]);
        let any = (!key.is_empty()).then_some("");
        std::iter::once(key).chain(wildcards).chain(any)
    }

    /// The names that both stand for.
    pub(super) fn intersection<'h>(&'h self, other: &'h Self) -> Option<&'h Self> {
        if self.covers(other) {
            Some(other)
        } else {
            other.covers(self).then_some(self)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(text: &str) -> Hostname {
        match text {
            "*" => Hostname::any(),
            text => Hostname::parse(text).unwrap(),
        }
    }

    #[test]
    fn what_two_have_in_common() {
        for (a, b, both) in [
            ("*", "*", Some("*")),
            ("*", "a.example", Some("a.example")),
            ("*.example", "a.example", Some("a.example")),
            ("*.example", "b.a.example", Some("b.a.example")),
            ("*.example", "*.a.example", Some("*.a.example")),
            ("*.example", "example", None),
            ("*.example", "*.sample", None),
            ("*.a.example", "*.ba.example", None),
            ("A.example", "a.example", Some("a.example")),
            ("a.example", "b.example", None),
        ] {
            let (a, b) = (host(a), host(b));
            let both = both.map(host);
            assert_eq!(a.intersection(&b), both.as_ref(), "{a:?} {b:?}");
            assert_eq!(b.intersection(&a), both.as_ref(), "{b:?} {a:?}");
        }
    }

    #[test]
    fn a_name_comes_before_a_wildcard_and_the_longer_wildcard_before_the_shorter() {
        for (text, covering) in [
            ("*", &["*"][..]),
            ("example", &["example", "*"]),
            ("*.example", &["*.example", "*"]),
            (
                "a.b.example",
                &["a.b.example", "*.b.example", "*.example", "*"],
            ),
            ("*.b.example", &["*.b.example", "*.example", "*"]),
        ] {
            let keys: Vec<String> = host(text).covering().map(str::to_owned).collect();
            let expected: Vec<String> = covering
                .iter()
                .map(|text| host(text).key().to_owned())
                .collect();
            assert_eq!(keys, expected, "{text}");
            for other in covering {
                assert!(host(other).covers(&host(text)), "{other} {text}");
            }
        }
    }

    #[test]
    fn what_is_no_hostname_is_refused() {
        for bad in ["", "*", "*.", "a b", "a:80", "a.*", "*.*.a", ".a"] {
            assert!(Hostname::parse(bad).is_err(), "{bad}");
        }
    }
}
