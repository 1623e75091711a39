//! The request that is asked about.

use std::net::IpAddr;

use thiserror::Error;

/// A request as a client such as curl sends it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    pub method: String,
    pub scheme: Scheme,
    /// What is connected to, and named in the TLS handshake: the URL's.
    pub host: String,
    /// The URL's, where it has one.
    pub port: Option<u16>,
    /// With the query string, as it is sent.
    pub path: String,
    /// Names in lower case, without `host`.
    pub headers: Vec<(String, String)>,
    /// The `Host` header.
    pub authority: String,
    /// The port of the listener, where it is not the URL's, as behind a load balancer.
    pub listener_port: Option<u16>,
    /// Who connects; without, what depends on it is left open.
    pub client: Option<IpAddr>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme {
    Http,
    Https,
}

impl Scheme {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
        }
    }

    pub(crate) fn default_port(self) -> u16 {
        match self {
            Self::Http => 80,
            Self::Https => 443,
        }
    }
}

/// Why a request cannot be asked about: what is wrong, and what to write instead.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{message}; {help}")]
pub struct RequestError {
    pub message: String,
    pub help: String,
}

impl RequestError {
    fn new(message: impl Into<String>, help: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            help: help.into(),
        }
    }
}

/// The method that asks for a connection to its authority, and for no path there.
pub(crate) const CONNECT: &str = "CONNECT";

const EXAMPLE: &str = "write a URL such as http://shop.example:8080/cart?id=1";

impl Request {
    /// A request from a method, a URL and headers such as `x-a: 1`.
    pub fn parse<H: AsRef<str>>(
        method: &str,
        url: &str,
        headers: impl IntoIterator<Item = H>,
    ) -> Result<Self, RequestError> {
        if method.is_empty() || !method.bytes().all(is_token) {
            return Err(RequestError::new(
                format!("\"{}\" is not a method", method.escape_debug()),
                "write one such as GET or POST",
            ));
        }
        let (scheme, authority, path) = split(url)?;
        let (host, port) = host_and_port(authority)?;
        let connect = method == CONNECT;
        if connect && path != "/" {
            return Err(RequestError::new(
                "CONNECT has no path",
                "write the host and the port that are asked for, such as http://shop.example:443",
            ));
        }
        let mut request = Self {
            method: method.to_owned(),
            scheme,
            host: host.to_owned(),
            port,
            path,
            headers: Vec::new(),
            // Clients leave the port away that goes without saying.
            authority: match port {
                // CONNECT always names it.
                None if connect => format!("{host}:{}", scheme.default_port()),
                Some(port) if !connect && port == scheme.default_port() => host.to_owned(),
                _ => authority.to_owned(),
            },
            listener_port: None,
            client: None,
        };
        for line in headers {
            request.add_header(line.as_ref())?;
        }
        Ok(request)
    }

    fn add_header(&mut self, line: &str) -> Result<(), RequestError> {
        const HELP: &str = "write a name, a colon and a value, such as 'x-version: 2'";
        let Some((name, value)) = line.split_once(':').filter(|(name, _)| !name.is_empty()) else {
            return Err(RequestError::new(
                format!("\"{}\" is not a header", line.escape_debug()),
                HELP,
            ));
        };
        if let Some(c) = name.chars().find(|c| !c.is_ascii() || !is_token(*c as u8)) {
            let name = name.escape_debug();
            let message = format!("{c:?} cannot stand in the header name \"{name}\"");
            return Err(RequestError::new(message, HELP));
        }
        let value = value.trim_matches([' ', '\t']);
        if let Some(c) = value.chars().find(|c| c.is_control() && *c != '\t') {
            let message = format!("{c:?} cannot stand in the value of the header \"{name}\"");
            return Err(RequestError::new(message, HELP));
        }
        let name = name.to_ascii_lowercase();
        if name == "host" {
            host_and_port(value)?;
            self.authority = value.to_owned();
        } else {
            self.headers.push((name, value.to_owned()));
        }
        Ok(())
    }

    pub(crate) fn is_connect(&self) -> bool {
        self.method == CONNECT
    }

    /// The URL again.
    pub fn url(&self) -> String {
        let port = self.port.map(|port| format!(":{port}")).unwrap_or_default();
        format!(
            "{}://{}{port}{}",
            self.scheme.as_str(),
            self.host,
            self.path
        )
    }

    /// The server name of the TLS handshake; addresses are not named in one.
    pub(crate) fn server_name(&self) -> Option<String> {
        let bare = self.host.trim_start_matches('[').trim_end_matches(']');
        let name = bare.parse::<IpAddr>().is_err();
        name.then(|| self.host.to_ascii_lowercase())
    }
}

fn split(url: &str) -> Result<(Scheme, &str, String), RequestError> {
    if let Some(c) = url.chars().find(|c| !c.is_ascii_graphic()) {
        return Err(RequestError::new(
            format!("{c:?} cannot stand in a URL"),
            "write it percent-encoded: a space is %20",
        ));
    }
    let Some((scheme, rest)) = url.split_once("://") else {
        return Err(RequestError::new(
            format!("\"{url}\" does not begin with http:// or https://"),
            EXAMPLE,
        ));
    };
    let scheme = match scheme.to_ascii_lowercase().as_str() {
        "http" => Scheme::Http,
        "https" => Scheme::Https,
        _ => {
            return Err(RequestError::new(
                format!("\"{scheme}\" is not a scheme that is explained"),
                "write http:// or https://; a WebSocket is asked for by the headers \
                 'connection: upgrade' and 'upgrade: websocket'",
            ));
        }
    };
    // A fragment is never sent.
    let rest = rest.split('#').next().unwrap_or(rest);
    let end = rest.find(['/', '?']).unwrap_or(rest.len());
    let (authority, path) = rest.split_at(end);
    let path = match path.starts_with('/') {
        true => path.to_owned(),
        false => format!("/{path}"),
    };
    Ok((scheme, authority, path))
}

fn host_and_port(authority: &str) -> Result<(&str, Option<u16>), RequestError> {
    if authority.contains('@') {
        return Err(RequestError::new(
            "a URL with a user is not explained",
            "write the header 'authorization: Basic …' instead",
        ));
    }
    let (host, port) = match authority.rsplit_once(':') {
        // The colons of an IPv6 address.
        Some((_, after)) if after.contains(']') => (authority, None),
        Some((host, port)) => match port.parse() {
            Ok(0) | Err(_) => {
                return Err(RequestError::new(
                    format!("\"{port}\" is not a port"),
                    "write a number from 1 to 65535",
                ));
            }
            Ok(port) => (host, Some(port)),
        },
        None => (authority, None),
    };
    let bracketed = host.starts_with('[') && host.ends_with(']');
    if host.is_empty() || (host.contains([':', '[', ']']) && !bracketed) {
        return Err(RequestError::new(
            format!("\"{authority}\" is not a host"),
            EXAMPLE,
        ));
    }
    if let Some(c) = host
        .chars()
        .find(|c| "\"<>\\^`{|}".contains(*c) || !c.is_ascii_graphic())
    {
        return Err(RequestError::new(
            format!("{c:?} cannot stand in the host \"{}\"", host.escape_debug()),
            EXAMPLE,
        ));
    }
    Ok((host, port))
}

fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn parse(url: &str) -> Request {
        Request::parse("GET", url, [""; 0]).unwrap()
    }

    #[test]
    fn a_url_says_where_to_connect_and_what_to_ask_for() {
        let request = parse("HTTP://A.example:8080/x?y=1#z");
        assert_eq!(request.scheme, Scheme::Http);
        assert_eq!(
            (request.host.as_str(), request.port),
            ("A.example", Some(8080))
        );
        assert_eq!(request.authority, "A.example:8080");
        assert_eq!(request.path, "/x?y=1");
        assert_eq!(request.url(), "http://A.example:8080/x?y=1");
        assert_eq!(request.server_name().as_deref(), Some("a.example"));
        assert_eq!(parse("https://a:443").authority, "a");
        assert_eq!(parse("http://a?b").path, "/?b");
        assert_eq!(parse("https://[::1]:8443/").host, "[::1]");
        assert_eq!(parse("https://[::1]/").server_name(), None);
        let connect = Request::parse("CONNECT", "http://a.example", [""; 0]).unwrap();
        assert_eq!(connect.authority, "a.example:80");
    }

    #[test]
    fn the_host_header_is_the_authority() {
        let request = Request::parse("GET", "http://10.0.0.1/", ["Host: a.example", "X-A:  1 "]);
        let request = request.unwrap();
        assert_eq!(request.authority, "a.example");
        assert_eq!(request.headers, [("x-a".to_owned(), "1".to_owned())]);
    }

    #[test]
    fn mistakes_say_what_to_write() {
        for (method, url, header, part) in [
            ("G T", "http://a/", "x: 1", "is not a method"),
            ("CONNECT", "http://a:443/x", "x: 1", "has no path"),
            ("GET", "a.example/x", "x: 1", "does not begin with http://"),
            ("GET", "ftp://a/", "x: 1", "not a scheme"),
            ("GET", "http://a/b c", "x: 1", "percent-encoded"),
            ("GET", "http://a:b/", "x: 1", "is not a port"),
            ("GET", "http://a:0/", "x: 1", "is not a port"),
            ("GET", "http:///x", "x: 1", "is not a host"),
            ("GET", "http://::1/", "x: 1", "is not a"),
            ("GET", "http://u@a/", "x: 1", "authorization"),
            ("GET", "http://a/", "x", "is not a header"),
            (
                "GET",
                "http://a/",
                "x y: 1",
                "cannot stand in the header name",
            ),
            ("GET", "http://a/", "x: a\nb", "cannot stand in the value"),
            ("GET", "http://a/", "host: a b", "cannot stand in the host"),
        ] {
            let error = Request::parse(method, url, [header])
                .unwrap_err()
                .to_string();
            assert!(error.contains(part), "{url} {header}: {error}");
        }
    }
}
