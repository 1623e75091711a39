//! What Envoy did beside what `explain` says.

use std::collections::BTreeMap;

use nuncio_echo::client::Answer;
use nuncio_explain::{Arrival, Forward, HeaderChange, Outcome, Share};
use serde_json::Value;

use crate::manifests::OPEN;
use crate::requests::Asked;

/// An answer, and the request as the upstream got it that gave it.
pub(crate) struct Answered {
    pub(crate) status: u16,
    pub(crate) headers: Headers,
    pub(crate) upstream: Option<Upstream>,
}

pub(crate) struct Upstream {
    pub(crate) name: String,
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) host: String,
    pub(crate) headers: Headers,
}

pub(crate) type Headers = Vec<(String, String)>;

/// Of the connection, the time or the body: no route says them.
const RESPONSE_OWN: &[&str] = &[
    "connection",
    "content-length",
    "content-type",
    "date",
    "sec-websocket-accept",
    "server",
    "transfer-encoding",
    "upgrade",
    "x-envoy-upstream-service-time",
    "x-echo-upstream",
];

/// Of the connection or looked at for themselves.
const REQUEST_OWN: &[&str] = &[
    "connection",
    "content-length",
    "host",
    "transfer-encoding",
    "upgrade",
    "x-envoy-expected-rq-timeout-ms",
    "x-envoy-external-address",
    "x-envoy-internal",
    "x-forwarded-for",
    "x-forwarded-proto",
    "x-request-id",
];

impl Answered {
    pub(crate) fn new(answer: &Answer) -> Self {
        let header = |(name, value): (&http::HeaderName, &http::HeaderValue)| {
            let value = String::from_utf8_lossy(value.as_bytes()).into_owned();
            (name.as_str().to_owned(), value)
        };
        Self {
            status: answer.status.as_u16(),
            headers: answer.headers.iter().map(header).collect(),
            upstream: Upstream::of(&answer.json()),
        }
    }

    /// Who says that it answered.
    pub(crate) fn answered_by(&self) -> Option<&str> {
        let mut headers = self.headers.iter();
        let named = headers.find(|(name, _)| name == "x-echo-upstream");
        named.map(|(_, value)| value.as_str())
    }
}

impl Upstream {
    fn of(json: &Value) -> Option<Self> {
        let text = |name: &str| Some(json[name].as_str()?.to_owned());
        Some(Self {
            name: text("upstream")?,
            method: text("method")?,
            path: text("path")?,
            host: text("host")?,
            headers: headers(json["headers"].as_object()?.iter().map(|(name, values)| {
                let values = values.as_array().unwrap().iter();
                let values = values.map(|value| value.as_str().unwrap().to_owned());
                (name.clone(), values.collect())
            })),
        })
    }
}

pub(crate) fn headers(all: impl Iterator<Item = (String, Vec<String>)>) -> Headers {
    all.flat_map(|(name, values)| values.into_iter().map(move |value| (name.clone(), value)))
        .collect()
}

/// What the gateway has beside the explanation.
pub(crate) struct Setting<'a> {
    pub(crate) asked: &'a Asked,
    pub(crate) arrival: Option<&'a Arrival>,
    /// Whether Envoy's own headers are left out.
    pub(crate) suppressed: bool,
    /// Statuses that are answered in other words.
    pub(crate) overridden: &'a [u16],
}

impl Setting<'_> {
    /// What is otherwise than it is said to be; nothing where it is the same.
    pub(crate) fn differences(&self, share: &Share, answered: Option<&Answered>) -> Vec<String> {
        let mut all = Differences::default();
        let Some(answered) = answered else {
            let refused = match &share.outcome {
                Outcome::NotConnected { .. } => true,
                Outcome::Refused { why, .. } => self.asked.http2 && why.contains("reset"),
                _ => false,
            };
            all.check("connected", &!refused, &false);
            return all.0;
        };
        let base = match &share.outcome {
            Outcome::Redirect { location, .. } => {
                vec![("location".to_owned(), location.clone())]
            }
            Outcome::Forward(_) => self.given("x-echo-header"),
            _ => Vec::new(),
        };
        let (status, changes): (u16, &[HeaderChange]) = match &share.outcome {
            Outcome::NotConnected { .. } | Outcome::Tcp { .. } => {
                all.0.push(format!("it answered {}", answered.status));
                return all.0;
            }
            Outcome::Redirect {
                status,
                response_headers,
                ..
            }
            | Outcome::DirectResponse {
                status,
                response_headers,
                ..
            }
            | Outcome::Preflight {
                status,
                response_headers,
            }
            | Outcome::Refused {
                status,
                response_headers,
                ..
            }
            | Outcome::Unavailable {
                status,
                response_headers,
                ..
            } => (*status, response_headers),
            Outcome::Forward(forward) => {
                self.forwarded(forward, answered, &mut all);
                (self.upstream_status(), &forward.response_headers)
            }
        };
        if !matches!(share.outcome, Outcome::Forward(_)) {
            all.check("answered by", &None, &answered.answered_by());
        }
        all.check("status", &status, &answered.status);
        // Other words are another answer, with headers of its own. Envoy gives a path that it does
        // not take the headers of the route that would have had it.
        if !self.overridden.contains(&status) && status != 400 {
            let expected = changed(base, changes);
            all.headers("response", &expected, &answered.headers, RESPONSE_OWN);
        }
        all.0
    }

    fn forwarded(&self, forward: &Forward, answered: &Answered, all: &mut Differences) {
        let Some(upstream) = &answered.upstream else {
            all.0.push("no upstream was asked".to_owned());
            return;
        };
        // The cluster's addresses are all of one upstream, which the caller knows.
        all.check("method", &forward.method, &upstream.method);
        all.check("path", &forward.path, &upstream.path);
        all.check("host", &forward.host, &upstream.host);
        let given = self.asked.headers.iter();
        let given = given.map(|(name, value)| (name.to_ascii_lowercase(), value.clone()));
        let expected = changed(given.collect(), &forward.request_headers);
        all.headers("request", &expected, &upstream.headers, REQUEST_OWN);
        let scheme = self
            .arrival
            .map(|arrival| arrival.x_forwarded_proto.clone());
        let seen = value(&upstream.headers, "x-forwarded-proto");
        all.check("x-forwarded-proto", &scheme, &seen);
        let timeout = forward.timeout_ms.filter(|_| !self.suppressed);
        let seen = value(&upstream.headers, "x-envoy-expected-rq-timeout-ms");
        all.check("timeout", &timeout.map(|ms| ms.to_string()), &seen);
    }

    fn upstream_status(&self) -> u16 {
        let asks = |name: &str| self.asked.headers.iter().find(|(own, _)| *own == name);
        let websocket = asks("upgrade").is_some_and(|(_, to)| to.eq_ignore_ascii_case("websocket"));
        match asks("x-echo-status") {
            _ if websocket => 101,
            Some((_, status)) => status.parse().unwrap(),
            None => 200,
        }
    }

    /// Headers that the upstream is asked to answer with.
    fn given(&self, wish: &str) -> Headers {
        let wishes = self.asked.headers.iter().filter(|(name, _)| *name == wish);
        let pairs = wishes.map(|(_, value)| value.split_once('=').unwrap());
        pairs
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect()
    }
}

fn value(headers: &Headers, name: &str) -> Option<String> {
    let found = headers.iter().find(|(own, _)| own == name);
    found.map(|(_, value)| value.clone())
}

fn changed(mut headers: Headers, changes: &[HeaderChange]) -> Headers {
    for change in changes {
        if !change.append {
            headers.retain(|(name, _)| *name != change.name);
        }
        if let Some(value) = &change.value {
            headers.push((change.name.clone(), value.clone()));
        }
    }
    headers
}

/// Each once: several lines of one name are one list.
fn joined(headers: &Headers, own: &[&str]) -> BTreeMap<String, String> {
    let mut all: BTreeMap<String, String> = BTreeMap::new();
    for (name, value) in headers
        .iter()
        .filter(|(name, _)| !own.contains(&name.as_str()))
    {
        let between = if name == "cookie" { "; " } else { "," };
        all.entry(name.clone())
            .and_modify(|text| *text = format!("{text}{between}{value}"))
            .or_insert_with(|| value.clone());
    }
    all
}

#[derive(Default)]
struct Differences(Vec<String>);

impl Differences {
    fn check<T: PartialEq + std::fmt::Debug>(&mut self, what: &str, said: &T, is: &T) {
        if said != is {
            self.0.push(format!("{what}: said {said:?}, is {is:?}"));
        }
    }

    fn headers(&mut self, of: &str, said: &Headers, is: &Headers, own: &[&str]) {
        let (said, is) = (joined(said, own), joined(is, own));
        let mut names: Vec<&String> = said.keys().chain(is.keys()).collect();
        names.sort();
        names.dedup();
        for name in names {
            let (said, is) = (said.get(name), is.get(name));
            let open = said.is_some_and(|text| text.contains(OPEN));
            if !(open && is.is_some()) {
                self.check(&format!("{of} header {name}"), &said, &is);
            }
        }
    }
}
