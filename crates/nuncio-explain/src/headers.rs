//! Headers of a request, and what routes change in them.

use nuncio_model::route::HeaderEdits;

use crate::arrival::Arrived;
use crate::explanation::HeaderChange;

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
fn value(format: &str, arrived: &Arrived) -> String {
    let mut text = String::new();
    let mut rest = format;
    while let Some(at) = rest.find('%') {
        text.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        if let Some(after) = rest.strip_prefix('%') {
            text.push('%');
            rest = after;
            continue;
        }
        let name = rest
            .strip_prefix("REQ(")
            .and_then(|rest| rest.split_once(")%"));
        match name {
            Some((name, after)) if !name.contains('?') => {
                let name = name.to_ascii_lowercase();
                text.push_str(arrived.header(&name).first().copied().unwrap_or_default());
                rest = after;
            }
            _ => {
                let end = rest.find('%').map_or(rest.len(), |end| end + 1);
                text.push('%');
                text.push_str(&rest[..end]);
                rest = &rest[end..];
            }
        }
    }
    text.push_str(rest);
    text
}
