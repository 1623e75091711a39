//! What the connection manager makes of a request before it looks for a route.

use std::collections::BTreeSet;

use nuncio_model::listener::{HttpConnectionManager, Listener, UnderscoreHeaders};

use crate::explanation::{Arrival, Outcome};
use crate::headers::Headers;
use crate::path;
use crate::request::{self, Request, Scheme};

/// Where the request came in.
pub(crate) struct Connection<'g> {
    pub(crate) listener: &'g Listener,
    pub(crate) http: &'g HttpConnectionManager,
}

/// The request as routes see it.
#[derive(Clone)]
pub(crate) struct Arrived {
    pub(crate) method: String,
    pub(crate) scheme: String,
    pub(crate) authority: String,
    pub(crate) path: String,
    pub(crate) headers: Headers,
    pub(crate) forwarded_proto: String,
    /// Names of headers that were left out.
    pub(crate) dropped: BTreeSet<String>,
    changed: bool,
}

pub(crate) fn arrive(request: &Request, connection: &Connection<'_>) -> Result<Arrived, Outcome> {
    let options = &connection.http.options;
    let mut headers = Headers::new(&request.headers);
    let mut dropped = BTreeSet::new();
    match options.headers_with_underscores {
        UnderscoreHeaders::Allow => {}
        UnderscoreHeaders::DropHeader => {
            let names = request.headers.iter().map(|(name, _)| name.clone());
            dropped = names.filter(|name| name.contains('_')).collect();
            headers.retain(|name| !name.contains('_'));
        }
        UnderscoreHeaders::RejectRequest => {
            if let Some((name, _)) = request.headers.iter().find(|(name, _)| name.contains('_')) {
                return Err(refused(
                    400,
                    format!(
                        "the header {name} has an underscore (of HTTP/2 the stream is reset \
                         instead)"
                    ),
                    "the Module's headers_with_underscores_action refuses these: write ALLOW, or \
                     give the header another name",
                ));
            }
        }
    }
    let path = match request.is_connect() {
        true => Some(String::new()),
        false => path::normalised(&request.path, options),
    };
    let path = path.ok_or_else(|| {
        refused(
            400,
            format!(
                "the path {} cannot be normalised, or has an escaped slash",
                request.path
            ),
            "the Module's reject_requests_with_escaped_slashes refuses %2F and %5C in a path",
        )
    })?;
    let authority = match request.authority.rsplit_once(':') {
        // What CONNECT asks for is a port of its own.
        Some((name, port))
            if options.strip_matching_host_port
                && !request.is_connect()
                && port.parse() == Ok(connection.listener.port) =>
        {
            name.to_owned()
        }
        _ => request.authority.clone(),
    };
    let own = match request.scheme {
        Scheme::Http => "http",
        Scheme::Https => "https",
    };
    let given = headers.first("x-forwarded-proto").map(str::to_owned);
    let trusted = !options.use_remote_address || connection.http.xff_num_trusted_hops > 0;
    let forwarded_proto = given.filter(|_| trusted).unwrap_or_else(|| own.to_owned());
    headers.set("x-forwarded-proto", &forwarded_proto);
    let scheme = match forwarded_proto.as_str() {
        "http" | "https" => forwarded_proto.clone(),
        _ => own.to_owned(),
    };
    let changed = !request.is_connect() && path != request.path || authority != request.authority;
    Ok(Arrived {
        method: request.method.clone(),
        scheme,
        authority,
        path,
        headers,
        forwarded_proto,
        dropped,
        changed,
    })
}

pub(crate) fn refused(status: u16, why: impl Into<String>, help: impl Into<String>) -> Outcome {
    Outcome::Refused {
        status,
        why: why.into(),
        help: help.into(),
        response_headers: Vec::new(),
    }
}

impl Arrived {
    pub(crate) fn path_alone(&self) -> &str {
        self.path.split('?').next().unwrap_or(&self.path)
    }

    /// Whether it asks for a connection to its authority: then it has no path.
    pub(crate) fn is_connect(&self) -> bool {
        self.method == request::CONNECT
    }

    /// The values of a header, pseudo headers too. One is enough for a match.
    pub(crate) fn header(&self, name: &str) -> Vec<&str> {
        match name {
            ":authority" => vec![&self.authority],
            ":method" => vec![&self.method],
            ":path" if self.is_connect() => Vec::new(),
            ":path" => vec![&self.path],
            ":scheme" => vec![&self.scheme],
            name => self.headers.all(name),
        }
    }

    pub(crate) fn described(&self) -> Arrival {
        Arrival {
            host: self.authority.clone(),
            path: self.path.clone(),
            changed: self.changed,
            x_forwarded_proto: self.forwarded_proto.clone(),
        }
    }
}
