//! Session persistence of a rule (GEP-1619): which clients are sent back to the endpoint that answered them
//! before.
//!
//! Each of several backends has a cookie of its own, and a route for who brings it: so a session stays with
//! its backend whatever the weights.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use nuncio_api::gateway_api::SessionPersistence;
use nuncio_model::route::{HeaderMatch, PathMatch, RouteMatch, Session, StringMatch};
use nuncio_model::value::{CookieName, HeaderName, Invalid, MatchHeaderName, Regex};

use super::rule::{Facts, duration};

/// What is known of the rule that has it.
pub(super) struct Of<'r> {
    /// Tells it from other rules, by something that stays.
    pub(super) name: &'r str,
    pub(super) matches: &'r [RouteMatch],
    pub(super) several_backends: bool,
    pub(super) facts: &'r Facts,
}

/// The sessions of a rule. What is wrong is said with its field.
pub(super) fn read(
    spec: &SessionPersistence,
    of: &Of<'_>,
) -> Result<Session, (&'static str, Invalid)> {
    let made = || format!("session-{:08x}", hash(of.name));
    let given = spec.session_name.clone();
    let name = given.filter(|name| !name.is_empty()).unwrap_or_else(made);
    if spec.idle_timeout.is_some() {
        return Err(refused(
            "idleTimeout",
            "when a session was used last is not known",
            "remove it",
        ));
    }
    let absolute = spec.absolute_timeout.as_deref().map(duration);
    let absolute = absolute
        .transpose()
        .map_err(|what| ("absoluteTimeout", what))?;
    match spec.type_.as_deref().unwrap_or("Cookie") {
        "Cookie" => {
            let config = spec.cookie_config.as_ref();
            let lifetime = config.and_then(|config| config.lifetime_type.as_deref());
            let ttl = match (lifetime.unwrap_or("Session"), absolute) {
                ("Permanent", Some(ttl)) if !ttl.is_zero() => Some(ttl),
                ("Permanent", _) => {
                    return Err(refused(
                        "absoluteTimeout",
                        "a permanent cookie needs a time to live",
                        "write one such as 1h",
                    ));
                }
                ("Session", None) => None,
                ("Session", Some(_)) => {
                    return Err(refused(
                        "absoluteTimeout",
                        "how old a session is that the browser ends is not known",
                        "remove it, or write cookieConfig: {lifetimeType: Permanent}",
                    ));
                }
                _ => {
                    return Err(refused(
                        "cookieConfig.lifetimeType",
                        "there is no such cookie",
                        "write Session or Permanent",
                    ));
                }
            };
            Ok(Session::Cookie {
                name: CookieName::new(&name).map_err(|what| ("sessionName", what))?,
                path: path(of.matches),
                ttl,
                secure: of.facts.tls,
            })
        }
        "Header" if absolute.is_some() => Err(refused(
            "absoluteTimeout",
            "how old a session is that a header names is not known",
            "remove it, or write type: Cookie",
        )),
        "Header" if of.several_backends => Err(refused(
            "type",
            "a header does not say which of several backends has a session",
            "write type: Cookie, or one backend",
        )),
        "Header" => {
            let name = HeaderName::new(&name).map_err(|what| ("sessionName", what))?;
            Ok(Session::Header(name))
        }
        _ => Err(refused(
            "type",
            "there are no such sessions",
            "write Cookie or Header",
        )),
    }
}

fn refused(field: &'static str, what: &str, help: &str) -> (&'static str, Invalid) {
    (field, Invalid::new(what, help))
}

/// A cookie is for the path of its rule, if all matches have the same.
fn path(matches: &[RouteMatch]) -> Arc<str> {
    let mut paths = matches.iter().map(|each| match &each.path {
        PathMatch::Exact(path) => path.as_str(),
        PathMatch::Segments(path) => path.as_str(),
        PathMatch::Prefix(_) | PathMatch::Regex(_) | PathMatch::Connect => "/",
    });
    let first = paths.next().unwrap_or("/");
    match paths.all(|path| path == first) {
        true => first.into(),
        false => "/".into(),
    }
}

/// The session of one of several backends.
pub(super) fn of_backend(session: &Session, cluster: &str) -> Session {
    match session {
        Session::Cookie {
            name,
            path,
            ttl,
            secure,
        } => Session::Cookie {
            name: CookieName::new(&format!("{name}-{:08x}", hash(cluster)))
                .expect("invariant: digits are in tokens"),
            path: Arc::clone(path),
            ttl: *ttl,
            secure: *secure,
        },
        Session::Header(_) => session.clone(),
    }
}

/// What the requests of a match have that bring a session.
pub(super) fn brings(session: &Session, matches: &RouteMatch) -> RouteMatch {
    let (name, value) = match session {
        Session::Cookie { name, .. } => {
            let name = Regex::literal(name.as_str());
            let pattern = format!("(?:.*; ?)?{name}=.*");
            let pattern = Regex::new(&pattern).expect("invariant: RE2 takes it");
            ("cookie", StringMatch::Regex(pattern))
        }
        Session::Header(name) => (name.as_str(), super::filter::some_value()),
    };
    let mut matches = matches.clone();
    matches.headers.push(HeaderMatch {
        name: MatchHeaderName::new(name).expect("invariant: it is a token"),
        value,
    });
    matches
}

fn hash(value: impl Hash) -> u32 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    u32::try_from(hasher.finish() >> 32).expect("invariant: half as many bits")
}
