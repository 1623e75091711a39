//! Whether a route matches, and what of it does not.

use std::fmt::Write;

use nuncio_model::route::{HeaderMatch, PathMatch, QueryParameterMatch, RouteMatch, StringMatch};

use crate::arrival::Arrived;
use crate::explanation::Difference;
use crate::pattern::Patterns;

/// Whether the request is all that a route asks for; chance is left out.
pub(crate) fn is_match(patterns: &Patterns, matches: &RouteMatch, arrived: &Arrived) -> bool {
    // What costs most comes last.
    let of_regex = matches!(matches.path, PathMatch::Regex(_));
    let path = || path_matches(patterns, matches, arrived);
    let mut headers = matches.headers.iter();
    let mut parameters = matches.query_parameters.iter();
    (of_regex || path())
        && headers.all(|header| header_matches(patterns, header, arrived))
        && parameters.all(|parameter| parameter_matches(patterns, parameter, arrived))
        && (!of_regex || path())
}

/// What a route asks for and the request is not.
pub(crate) fn differences(
    patterns: &Patterns,
    matches: &RouteMatch,
    arrived: &Arrived,
) -> Vec<Difference> {
    let mut differences = Vec::new();
    if !path_matches(patterns, matches, arrived) {
        differences.push(Difference {
            what: "path".to_owned(),
            wanted: path_words(&matches.path),
            found: (!arrived.is_connect()).then(|| arrived.path_alone().to_owned()),
        });
    }
    for header in &matches.headers {
        let values = arrived.header(header.name.as_str());
        if !header_matches(patterns, header, arrived) {
            differences.push(Difference {
                what: format!("header {}", header.name),
                wanted: string_words(&header.value),
                found: (!values.is_empty()).then(|| values.join(", ")),
            });
        }
    }
    for parameter in &matches.query_parameters {
        let value = query_parameter(&arrived.path, &parameter.name);
        if !parameter_matches(patterns, parameter, arrived) {
            differences.push(Difference {
                what: format!("query parameter {}", parameter.name),
                wanted: string_words(&parameter.value),
                found: value.map(str::to_owned),
            });
        }
    }
    differences
}

pub(crate) fn path_matches(patterns: &Patterns, matches: &RouteMatch, arrived: &Arrived) -> bool {
    if arrived.is_connect() {
        return matches.path == PathMatch::Connect;
    }
    let path = arrived.path_alone();
    let is = |start: &str, wanted: &str| match matches.case_sensitive {
        true => start == wanted,
        false => start.eq_ignore_ascii_case(wanted),
    };
    let after = |prefix: &str| {
        let (start, rest) = path.split_at_checked(prefix.len())?;
        is(start, prefix).then_some(rest)
    };
    match &matches.path {
        PathMatch::Prefix(prefix) => after(prefix.as_str()).is_some(),
        PathMatch::Exact(exact) => is(path, exact.as_str()),
        PathMatch::Segments(segments) => {
            after(segments.as_str()).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        }
        PathMatch::Regex(regex) => patterns.is_match(regex, path),
        PathMatch::Connect => false,
    }
}

fn header_matches(patterns: &Patterns, wanted: &HeaderMatch, arrived: &Arrived) -> bool {
    let values = arrived.header(wanted.name.as_str());
    let mut values = values.iter();
    values.any(|value| string_matches(patterns, &wanted.value, value))
}

fn parameter_matches(patterns: &Patterns, wanted: &QueryParameterMatch, arrived: &Arrived) -> bool {
    query_parameter(&arrived.path, &wanted.name)
        .is_some_and(|value| string_matches(patterns, &wanted.value, value))
}

pub(crate) fn string_matches(patterns: &Patterns, wanted: &StringMatch, value: &str) -> bool {
    match wanted {
        StringMatch::Exact(text) => **text == *value,
        StringMatch::Prefix(text) => value.starts_with(&**text),
        StringMatch::Suffix(text) => value.ends_with(&**text),
        StringMatch::Regex(regex) => patterns.is_match(regex, value),
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
        PathMatch::Connect => "CONNECT".to_owned(),
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
