//! Headers of a request, and what routes change in them.

use nuncio_model::route::HeaderEdits;

use crate::arrival::Arrived;
use crate::explanation::HeaderChange;

/// Names whose lines Envoy makes one of, with a comma between them: those that it has a place of
/// their own for (`CustomInlineHeaderRegistry` and `RequestHeaderMapImpl`, as Envoy 1.40 was seen to
/// forward them). Of all others each line stays what it is.
const JOINED: &[&str] = &[
    "accept",
    "accept-encoding",
    "access-control-request-headers",
    "access-control-request-method",
    "access-control-request-private-network",
    "authorization",
    "cache-control",
    "connection",
    "content-encoding",
    "content-type",
    "expect",
    "grpc-accept-encoding",
    "grpc-timeout",
    "if-match",
    "if-modified-since",
    "if-none-match",
    "if-range",
    "if-unmodified-since",
    "origin",
    "pragma",
    "proxy-status",
    "referer",
    "upgrade",
    "user-agent",
    "via",
    "x-client-trace-id",
    "x-envoy-attempt-count",
    "x-envoy-decorator-operation",
    "x-envoy-downstream-service-cluster",
    "x-envoy-downstream-service-node",
    "x-envoy-external-address",
    "x-envoy-force-trace",
    "x-envoy-ip-tags",
    "x-envoy-is-timeout-retry",
    "x-envoy-original-host",
    "x-envoy-original-path",
    "x-envoy-original-url",
    "x-forwarded-for",
    "x-forwarded-host",
    "x-forwarded-port",
    "x-forwarded-proto",
    "x-request-id",
];

#[derive(Clone)]
pub(crate) struct Headers(Vec<(String, String)>);

impl Headers {
    pub(crate) fn new(lines: &[(String, String)]) -> Self {
        let mut headers = Self(Vec::new());
        for (name, value) in lines {
            headers.add(name, value);
        }
        headers
    }

    pub(crate) fn retain(&mut self, keep: impl Fn(&str) -> bool) {
        self.0.retain(|(name, _)| keep(name));
    }

    pub(crate) fn all(&self, name: &str) -> Vec<&str> {
        let named = self.0.iter().filter(|(own, _)| own == name);
        named.map(|(_, value)| value.as_str()).collect()
    }

    pub(crate) fn first(&self, name: &str) -> Option<&str> {
        let mut all = self.0.iter();
        let first = all.find(|(own, _)| own == name);
        first.map(|(_, value)| value.as_str())
    }

    fn add(&mut self, name: &str, value: &str) {
        let mut all = self.0.iter_mut();
        let same = all.find(|(own, _)| own == name);
        match same.filter(|_| JOINED.binary_search(&name).is_ok()) {
            Some((_, all)) => {
                all.push(',');
                all.push_str(value);
            }
            None => self.0.push((name.to_owned(), value.to_owned())),
        }
    }

    pub(crate) fn set(&mut self, name: &str, value: &str) {
        self.retain(|own| own != name);
        self.add(name, value);
    }

    pub(crate) fn change(&mut self, changes: &[HeaderChange]) {
        for change in changes {
            if !change.append {
                self.retain(|own| own != change.name);
            }
            if let Some(value) = &change.value {
                self.add(&change.name, value);
            }
        }
    }
}

/// What edits mean for one request: Envoy takes away first, then sets, then adds. A value of
/// nothing is left out.
pub(crate) fn changes(edits: &HeaderEdits, arrived: &Arrived) -> Vec<HeaderChange> {
    let removed = edits.remove.iter().map(|name| HeaderChange {
        name: name.to_string(),
        value: None,
        append: false,
    });
    let added = |append| {
        let those = edits.add.iter().filter(move |each| each.append == append);
        those.filter_map(move |each| {
            let value = value(each.value.as_str(), arrived);
            (!value.is_empty()).then(|| HeaderChange {
                name: each.name.to_string(),
                value: Some(value),
                append,
            })
        })
    };
    removed.chain(added(false)).chain(added(true)).collect()
}

/// `%%` and `%REQ(name)%` put in place. What the request alone does not say stays as it is written.
fn value(format: &str, request: &Arrived) -> String {
    let mut text = String::new();
    let mut rest = format;
    while let Some(at) = rest.find('%') {
        text.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        if let Some(after) = rest.strip_prefix('%') {
            text.push('%');
            rest = after;
        } else if let Some((found, after)) = of_request(rest, request) {
            text.push_str(found);
            rest = after;
        } else {
            let end = rest.find('%').map_or(rest.len(), |end| end + 1);
            text.push('%');
            text.push_str(&rest[..end]);
            rest = &rest[end..];
        }
    }
    text.push_str(rest);
    text
}

/// `REQ(name?other):length%` and what stands behind it: the first line of a header, or else of the
/// other, up to a length.
fn of_request<'f, 'r>(format: &'f str, request: &'r Arrived) -> Option<(&'r str, &'f str)> {
    let mut names = ["REQ(", "REQUEST_HEADER("].into_iter();
    let format = names.find_map(|name| format.strip_prefix(name))?;
    let (argument, rest) = format.split_once(')')?;
    let (length, rest) = rest.split_once('%')?;
    let length = match length {
        "" => usize::MAX,
        length => length.strip_prefix(':')?.parse().ok()?,
    };
    let mut named = argument.split('?').map(str::to_ascii_lowercase);
    let found = named.find_map(|name| request.header(&name).first().copied());
    let found = found.unwrap_or_default();
    Some((found.get(..length).unwrap_or(found), rest))
}

#[cfg(test)]
mod tests {
    use super::JOINED;

    #[test]
    fn the_names_are_in_order() {
        assert!(JOINED.is_sorted());
    }
}
