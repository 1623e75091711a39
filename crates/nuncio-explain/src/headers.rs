//! Headers of a request, and what routes change in them.

use nuncio_model::route::HeaderEdits;

use crate::arrival::Arrived;
use crate::explanation::HeaderChange;

#[derive(Clone)]
pub(crate) struct Headers(Vec<(String, String)>);

impl Headers {
    pub(crate) fn new(headers: &[(String, String)]) -> Self {
        Self(headers.to_vec())
    }

    pub(crate) fn retain(&mut self, keep: impl Fn(&str) -> bool) {
        self.0.retain(|(name, _)| keep(name));
    }

    pub(crate) fn all(&self, name: &str) -> Vec<&str> {
        let named = self.0.iter().filter(|(own, _)| own == name);
        named.map(|(_, value)| value.as_str()).collect()
    }

    /// Several values as one, as Envoy keeps the headers that it knows.
    pub(crate) fn joined(&self, name: &str) -> Option<String> {
        let all = self.all(name);
        (!all.is_empty()).then(|| all.join(","))
    }

    pub(crate) fn set(&mut self, name: &str, value: &str) {
        self.retain(|own| own != name);
        self.0.push((name.to_owned(), value.to_owned()));
    }

    pub(crate) fn change(&mut self, changes: &[HeaderChange]) {
        for change in changes {
            if !change.append {
                self.retain(|own| own != change.name);
            }
            if let Some(value) = &change.value {
                self.0.push((change.name.clone(), value.clone()));
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
