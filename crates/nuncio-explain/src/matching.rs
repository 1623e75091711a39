//! Whether a route matches, and what of it does not.

use std::fmt::Write;

use nuncio_model::route::{PathMatch, RouteMatch, StringMatch};

use crate::arrival::Arrived;
use crate::explanation::Difference;
use crate::pattern;

/// What a route asks for and the request is not; chance is left out.
pub(crate) fn differences(matches: &RouteMatch, arrived: &Arrived) -> Vec<Difference> {
    let mut differences = Vec::new();
    if !path_matches(matches, arrived.path_alone()) {
        differences.push(Difference {
            what: "path".to_owned(),
            wanted: path_words(&matches.path),
            found: Some(arrived.path_alone().to_owned()),
        });
    }
    for header in &matches.headers {
        let values = arrived.header(header.name.as_str());
        if !values
            .iter()
            .any(|value| string_matches(&header.value, value))
        {
            differences.push(Difference {
                what: format!("header {}", header.name),
                wanted: string_words(&header.value),
                found: (!values.is_empty()).then(|| values.join(", ")),
            });
        }
    }
    for parameter in &matches.query_parameters {
        let value = query_parameter(&arrived.path, &parameter.name);
        if !value.is_some_and(|value| string_matches(&parameter.value, value)) {
            differences.push(Difference {
                what: format!("query parameter {}", parameter.name),
                wanted: string_words(&parameter.value),
                found: value.map(str::to_owned),
            });
        }
    }
    differences
}

fn path_matches(matches: &RouteMatch, path: &str) -> bool {
    let fold = |text: &str| match matches.case_sensitive {
        true => text.to_owned(),
        false => text.to_ascii_lowercase(),
    };
    match &matches.path {
        PathMatch::Prefix(prefix) => fold(path).starts_with(&fold(prefix.as_str())),
        PathMatch::Exact(exact) => fold(path) == fold(exact.as_str()),
        PathMatch::Segments(segments) => fold(path)
            .strip_prefix(&fold(segments.as_str()))
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('/')),
        PathMatch::Regex(regex) => pattern::is_match(regex, path),
    }
}

pub(crate) fn string_matches(wanted: &StringMatch, value: &str) -> bool {
    match wanted {
        StringMatch::Exact(text) => **text == *value,
        StringMatch::Prefix(text) => value.starts_with(&**text),
        StringMatch::Suffix(text) => value.ends_with(&**text),
        StringMatch::Regex(regex) => pattern::is_match(regex, value),
    }
}

/// The first of its name, as it is written.
fn query_parameter<'r>(path: &'r str, name: &str) -> Option<&'r str> {
    let (_, query) = path.split_once('?')?;
    let pairs = query
        .split('&')
        .map(|pair| pair.split_once('=').unwrap_or((pair, "")));
    let mut named = pairs.filter(|(own, _)| *own == name);
    named.next().map(|(_, value)| value)
}

/// What a route matches, in words.
pub(crate) fn words(matches: &RouteMatch) -> String {
    let mut words = path_words(&matches.path);
    if !matches.case_sensitive {
        words.push_str(" in any case");
    }
    for header in &matches.headers {
        let _ = write!(words, ", {} {}", header.name, string_words(&header.value));
    }
    for parameter in &matches.query_parameters {
        let value = string_words(&parameter.value);
        let _ = write!(words, ", query {} {value}", parameter.name);
    }
    words
}

fn path_words(path: &PathMatch) -> String {
    match path {
        PathMatch::Prefix(path) => format!("prefix {path}"),
        PathMatch::Segments(path) => format!("path {path} and below"),
        PathMatch::Exact(path) => format!("path {path}"),
        PathMatch::Regex(regex) => format!("regex {regex}"),
    }
}

fn string_words(value: &StringMatch) -> String {
    match value {
        StringMatch::Exact(text) => format!("= {text}"),
        StringMatch::Prefix(text) => format!("= {text}*"),
        StringMatch::Suffix(text) => format!("= *{text}"),
        StringMatch::Regex(regex) => format!("~ {regex}"),
    }
}
