//! Conditions that are true whenever a route could match, and else as rarely as can be.
//!
//! They need not be exact: what they let through goes through the whole list. They cannot be, either:
//! a matcher sees all values of a header as one, and a path with its query string.

use nuncio_envoy_api::xds::r#type::matcher::v3::matcher::matcher_list::Predicate;
use nuncio_model::route::{HeaderMatch, PathMatch, Route, RouteMatch, StringMatch};

use super::tree::asks_for_no_more;
use super::{PATH, Pattern, all, regex, string, string_of_case};

const METHOD: &str = ":method";

/// Whether a request on its path may get past a route.
pub(super) fn is_conditional(route: &Route) -> bool {
    !asks_for_no_more(&route.matches, None)
        || !route.matches.case_sensitive
        || matches!(route.matches.path, PathMatch::Regex(_))
}

/// `None` if a route can match more or less any request.
pub(super) fn condition(matches: &RouteMatch) -> Option<Predicate> {
    let mut conditions: Vec<Predicate> = matches.headers.iter().map(header).collect();
    if !matches.query_parameters.is_empty() {
        conditions.push(string(PATH, Pattern::Contains("?".to_owned())));
    }
    match &matches.path {
        PathMatch::Regex(path) => {
            if let Some(path) = path.with_query() {
                conditions.push(string(PATH, regex(path.as_str())));
            }
        }
        PathMatch::Prefix(path) | PathMatch::Exact(path) => {
            conditions.extend(prefix(path.as_str(), matches.case_sensitive));
        }
        PathMatch::Segments(path) => {
            conditions.extend(prefix(path.as_str(), matches.case_sensitive));
        }
        PathMatch::Connect => {
            conditions.push(string(METHOD, Pattern::Exact("CONNECT".to_owned())));
        }
    }
    (!conditions.is_empty()).then(|| all(conditions))
}

/// `None` if every path begins so.
fn prefix(path: &str, case_sensitive: bool) -> Option<Predicate> {
    (path.len() > 1).then(|| {
        let pattern = Pattern::Prefix(path.to_owned());
        string_of_case(PATH, pattern, case_sensitive)
    })
}

fn header(header: &HeaderMatch) -> Predicate {
    let pattern = match &header.value {
        StringMatch::Exact(text) | StringMatch::Prefix(text) | StringMatch::Suffix(text)
            if !text.is_empty() =>
        {
            Pattern::Contains(text.to_string())
        }
        // That it is there.
        _ => regex("(?s:.*)"),
    };
    string(header.name.as_str(), pattern)
}
