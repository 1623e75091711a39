//! `service`: `[scheme://]host[.namespace[.…]][:port]`, in every spelling that Emissary takes.

use nuncio_model::value::Invalid;

/// A service as it is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ServiceName {
    pub(super) scheme: Scheme,
    /// In lower case, an IPv6 address without brackets.
    pub(super) host: String,
    pub(super) port: Option<u16>,
    /// The text from which names are made: without path, query and user.
    pub(super) text: String,
    /// Something was left out of it.
    pub(super) extra: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Scheme {
    None,
    Http,
    Https,
    /// Taken for HTTP.
    Other(String),
}

const HELP: &str = "write a name, a name with namespace or an address, and a port if it is \
    not 80: quote, quote.default:8080, https://10.0.0.1";

impl ServiceName {
    /// Reads `service`. `namespace` is that of the Mapping where it is not nuncio's own: a bare
    /// name is one of that namespace.
    pub(super) fn parse(service: &str, namespace: Option<&str>) -> Result<Self, Invalid> {
        let malformed =
            |why: &str| Invalid::new(format!("\"{service}\" is not a service: {why}"), HELP);
        let (scheme_text, rest) = match service.split_once("://") {
            Some((scheme, rest)) => (scheme, rest),
            None => ("", service.strip_prefix("//").unwrap_or(service)),
        };
        let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        let (authority, tail) = rest.split_at(end);
        let (user, authority) = match authority.rsplit_once('@') {
            Some((user, authority)) => (user, authority),
            None => ("", authority),
        };
        let (host, port) = split_port(authority).map_err(malformed)?;
        if host.is_empty() {
            return Err(malformed("it has no host"));
        }
        if let Some(c) = host
            .chars()
            .find(|c| !(c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | ':')))
        {
            return Err(malformed(&format!("{c:?} cannot stand in a host")));
        }
        let port = match port {
            None | Some("") => None,
            Some(text) => match text.parse::<u16>() {
                Ok(0) => None,
                Ok(port) => Some(port),
                Err(_) => {
                    return Err(malformed(&format!(
                        "\"{text}\" is not a port between 1 and 65535"
                    )));
                }
            },
        };
        let mut host = host.to_ascii_lowercase();
        if let Some(namespace) = namespace
            && !host.contains(['.', ':'])
            && host != "localhost"
        {
            host = format!("{host}.{namespace}");
        }
        let scheme = match scheme_text.to_ascii_lowercase().as_str() {
            "" => Scheme::None,
            "http" => Scheme::Http,
            "https" => Scheme::Https,
            other => Scheme::Other(other.to_owned()),
        };
        let mut text = match &scheme {
            Scheme::None | Scheme::Other(_) => String::new(),
            Scheme::Http => "http://".to_owned(),
            Scheme::Https => "https://".to_owned(),
        };
        if host.contains(':') {
            text.push_str(&format!("[{host}]"));
        } else {
            text.push_str(&host);
        }
        if let Some(port) = port {
            text.push_str(&format!(":{port}"));
        }
        Ok(Self {
            scheme,
            host,
            port,
            text,
            extra: !user.is_empty() || !matches!(tail, "" | "/"),
        })
    }

    /// The text without its scheme.
    pub(super) fn bare(&self) -> &str {
        self.text
            .split_once("://")
            .map_or(&self.text, |(_, rest)| rest)
    }
}

fn split_port(authority: &str) -> Result<(&str, Option<&str>), &'static str> {
    if let Some(rest) = authority.strip_prefix('[') {
        let (host, after) = rest.split_once(']').ok_or("the bracket does not end")?;
        if host.parse::<std::net::Ipv6Addr>().is_err() {
            return Err("what is in brackets is not an IPv6 address");
        }
        return match after.strip_prefix(':') {
            Some(port) => Ok((host, Some(port))),
            None if after.is_empty() => Ok((host, None)),
            None => Err("after the bracket only a port can follow"),
        };
    }
    if authority.parse::<std::net::Ipv6Addr>().is_ok() {
        return Ok((authority, None));
    }
    match authority.split_once(':') {
        Some((host, port)) => Ok((host, Some(port))),
        None => Ok((authority, None)),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parse(text: &str) -> (Scheme, String, Option<u16>, String) {
        let name = ServiceName::parse(text, None).unwrap();
        (name.scheme, name.host, name.port, name.text)
    }

    #[test]
    fn every_spelling() {
        let s = str::to_owned;
        assert_eq!(parse("quote"), (Scheme::None, s("quote"), None, s("quote")));
        assert_eq!(
            parse("http://Quote.ns:8080/x?y#z"),
            (
                Scheme::Http,
                s("quote.ns"),
                Some(8080),
                s("http://quote.ns:8080")
            )
        );
        assert_eq!(
            parse("HTTPS://u:p@a.com"),
            (Scheme::Https, s("a.com"), None, s("https://a.com"))
        );
        assert_eq!(parse("//a:1"), (Scheme::None, s("a"), Some(1), s("a:1")));
        assert_eq!(
            parse("[::1]:80"),
            (Scheme::None, s("::1"), Some(80), s("[::1]:80"))
        );
        assert_eq!(parse("fd00::1").1, "fd00::1");
        assert_eq!(parse("tcp://a").0, Scheme::Other(s("tcp")));
        assert_eq!(parse("a:0").2, None);
        for bad in [
            "", "http://", ":80", "a:b", "a:99999", "[::1", "[x]:1", "a b", "a%2", "[::1]x",
        ] {
            assert!(ServiceName::parse(bad, None).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_bare_name_is_one_of_the_mapping_s_namespace() {
        let host = |text| ServiceName::parse(text, Some("team")).unwrap().host;
        assert_eq!(host("quote:80"), "quote.team");
        assert_eq!(host("quote.other"), "quote.other");
        assert_eq!(host("localhost"), "localhost");
        assert_eq!(host("::1"), "::1");
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in "\\PC{0,30}") {
            let _ = ServiceName::parse(&text, Some("ns"));
        }
    }
}
