//! Which groups no request reaches, because an earlier one takes all of theirs.

use std::borrow::Cow;
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use nuncio_model::Reason;
use nuncio_model::route::{HeaderMatch, PathMatch, QueryParameterMatch, Route};

use super::Context;
use super::group::Group;

/// Of more conditions than these, not every part is looked for.
const MANY_CONDITIONS: usize = 6;

/// Reports the groups that are shadowed under every Host. `lists` are the groups that Hosts take,
/// each in order and each once; they matter only for the few groups that are shadowed by their
/// criteria.
pub(super) fn report<'l>(
    context: &mut Context<'_>,
    groups: &[Arc<Group>],
    lists: impl Iterator<Item = &'l [usize]>,
    kept: &mut Shadows,
) {
    kept.update(groups);
    let candidates = &kept.candidates;
    if candidates.is_empty() {
        return;
    }
    let later = candidates.iter().map(|candidate| candidate.later);
    let mut holding: HashMap<usize, Vec<&[usize]>> = later.map(|at| (at, Vec::new())).collect();
    for list in lists {
        for group in list {
            if let Some(holding) = holding.get_mut(group) {
                holding.push(list);
            }
        }
    }
    for Candidate { later, earlier } in candidates {
        let mut shadowing = None;
        let shadowed = holding[later].iter().all(|list| {
            earlier.iter().all(|wider| {
                let taken = |group: &&usize| list.binary_search(group).is_ok();
                shadowing = wider.iter().find(taken).or(shadowing);
                wider.iter().any(|group| taken(&group))
            })
        });
        let (true, Some(shadowing)) = (shadowed, shadowing) else {
            continue;
        };
        let (later, earlier) = (&groups[*later], &groups[*shadowing]);
        let Some(first) = earlier.members.first() else {
            continue;
        };
        let precedence = match earlier.criteria.precedence {
            precedence if precedence != later.criteria.precedence => {
                format!(", with precedence {precedence},")
            }
            _ => String::new(),
        };
        let message = format!(
            "no request reaches it: {}{precedence} is tried before it and takes all that it would",
            first.object.id
        );
        for member in &later.members {
            context
                .report
                .warning(&member.object.origin(), Reason::Shadowed, message.clone())
                .help("give it a higher precedence or the other one narrower conditions, or remove it");
        }
    }
}

/// What was found of groups that match as these do.
#[derive(Default)]
pub(super) struct Shadows {
    /// And which of them are built in.
    shapes: Vec<(u64, bool)>,
    candidates: Vec<Candidate>,
}

impl Shadows {
    /// Goes through the groups, unless they match what they did, in the same order.
    fn update(&mut self, groups: &[Arc<Group>]) {
        let shapes = groups.iter().map(|group| (group.shape, group.built_in));
        let shapes: Vec<_> = shapes.collect();
        if shapes != self.shapes {
            self.shapes = shapes;
            self.candidates = candidates(groups);
        }
    }
}

/// A group each of whose routes an earlier one takes everything from, as far as Hosts take both.
struct Candidate {
    later: usize,
    /// By route.
    earlier: Vec<Vec<usize>>,
}

/// Goes through the groups once. What an earlier route takes is found by the beginnings of a later
/// one's path and the parts of its conditions, never by looking at all earlier ones.
fn candidates(groups: &[Arc<Group>]) -> Vec<Candidate> {
    let mut seen = Seen::default();
    let mut candidates = Vec::new();
    for (index, group) in groups.iter().enumerate() {
        let wider = group.routes.iter().map(|route| wider(&seen, route));
        let earlier: Vec<Vec<usize>> = wider.collect();
        if !group.built_in && earlier.iter().all(|wider| !wider.is_empty()) {
            candidates.push(Candidate {
                later: index,
                earlier,
            });
        }
        let whole = group.routes.iter();
        for route in whole.filter(|route| route.matches.fraction.is_none()) {
            let conditions = conditions(route);
            let reach = Reach::of(route);
            let lengths = seen
                .lengths
                .entry((reach.form, reach.any_case))
                .or_default();
            lengths.insert(reach.text.len());
            let place = seen.places.entry((reach, conditions)).or_default();
            place.push(index);
        }
    }
    candidates
}

/// The routes of earlier groups.
#[derive(Default)]
struct Seen<'g> {
    places: HashMap<(Reach<'g>, Vec<Condition<'g>>), Vec<usize>>,
    /// How long the texts of the places are: most are of a few lengths.
    lengths: HashMap<(Form, bool), BTreeSet<usize>>,
}

/// Which paths a route takes.
#[derive(Clone, PartialEq, Eq, Hash)]
struct Reach<'g> {
    form: Form,
    /// In lower case when case does not count.
    text: Cow<'g, str>,
    any_case: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Form {
    Prefix,
    Segments,
    Exact,
    Regex,
    Connect,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Condition<'g> {
    Header(&'g HeaderMatch),
    QueryParameter(&'g QueryParameterMatch),
}

impl<'g> Reach<'g> {
    fn of(route: &'g Route) -> Self {
        let (form, text) = match &route.matches.path {
            PathMatch::Prefix(path) => (Form::Prefix, path.as_str()),
            PathMatch::Segments(path) => (Form::Segments, path.as_str()),
            PathMatch::Exact(path) => (Form::Exact, path.as_str()),
            PathMatch::Regex(regex) => match regex.as_str().strip_suffix(".*") {
                Some(prefix) if literal_prefix(prefix) == prefix => (Form::Prefix, prefix),
                _ => (Form::Regex, regex.as_str()),
            },
            PathMatch::Connect => (Form::Connect, ""),
        };
        let cased = !matches!(form, Form::Regex | Form::Connect);
        let any_case = cased && !route.matches.case_sensitive;
        let text = match any_case {
            true => Cow::Owned(text.to_lowercase()),
            false => Cow::Borrowed(text),
        };
        Self {
            form,
            text,
            any_case,
        }
    }
}

/// What every path that a regular expression matches begins with, as far as it is plain to see.
fn literal_prefix(regex: &str) -> &str {
    if regex.contains(['|', '(']) {
        return "";
    }
    match regex.find(|c: char| !c.is_ascii_alphanumeric() && !"/-_~".contains(c)) {
        None => regex,
        // It may say that what is before it need not be there.
        Some(end) if regex[end..].starts_with(['*', '?', '{']) => regex[..end]
            .char_indices()
            .last()
            .map_or("", |(at, _)| &regex[..at]),
        Some(end) => &regex[..end],
    }
}

fn conditions(route: &Route) -> Vec<Condition<'_>> {
    let headers = route.matches.headers.iter().map(Condition::Header);
    let query = route.matches.query_parameters.iter();
    let mut conditions: Vec<_> = headers
        .chain(query.map(Condition::QueryParameter))
        .collect();
    conditions.sort();
    conditions.dedup();
    conditions
}

/// The earlier groups that take everything that a route would.
fn wider(seen: &Seen<'_>, route: &Route) -> Vec<usize> {
    let conditions = conditions(route);
    let all = (1usize << conditions.len().min(MANY_CONDITIONS)) - 1;
    let parts = (0..=all).map(|chosen| -> Vec<_> {
        let conditions = conditions.iter().enumerate();
        let chosen = conditions.filter(|(at, _)| chosen >> at & 1 == 1);
        chosen.map(|(_, condition)| *condition).collect()
    });
    let whole = (conditions.len() > MANY_CONDITIONS).then(|| conditions.clone());
    let parts: Vec<_> = parts.chain(whole).collect();
    let mut found = Vec::new();
    reaches(seen, route, |reach| {
        for part in &parts {
            let place = seen.places.get(&(reach.clone(), part.clone()));
            found.extend(place.into_iter().flatten());
        }
    });
    found.sort_unstable();
    found.dedup();
    found
}

/// Calls with each reach that holds all of a route's, and may be among the places.
fn reaches(seen: &Seen<'_>, route: &Route, mut with: impl FnMut(Reach<'_>)) {
    let own = Reach::of(route);
    if own.form == Form::Connect {
        return with(own);
    }
    // Every path that the route takes begins with this, and goes on as it likes.
    let beginning = match own.form {
        Form::Regex => literal_prefix(&own.text),
        _ => &*own.text,
    };
    let folded = beginning.to_lowercase();
    let cases = [(false, beginning), (true, &*folded)];
    for (any_case, text) in cases.into_iter().filter(|case| case.0 || !own.any_case) {
        let lengths = |form| {
            let lengths = seen.lengths.get(&(form, any_case)).into_iter().flatten();
            lengths.copied().take_while(|length| *length <= text.len())
        };
        let reach = |form, text| Reach {
            form,
            text: Cow::Borrowed(text),
            any_case,
        };
        for end in lengths(Form::Prefix).filter(|end| text.is_char_boundary(*end)) {
            with(reach(Form::Prefix, &text[..end]));
        }
        for end in lengths(Form::Segments).filter(|end| text.is_char_boundary(*end)) {
            let whole = end == text.len() && matches!(own.form, Form::Segments | Form::Exact);
            if whole || text[end..].starts_with('/') {
                with(reach(Form::Segments, &text[..end]));
            }
        }
        match own.form {
            Form::Exact => with(reach(Form::Exact, text)),
            Form::Regex => with(Reach {
                form: Form::Regex,
                text: Cow::Borrowed(&own.text),
                any_case: false,
            }),
            Form::Prefix | Form::Segments | Form::Connect => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::literal_prefix;

    #[test]
    fn only_what_must_be_there_is_literal() {
        let examples = [
            ("/a/b", "/a/b"),
            ("/a/.*", "/a/"),
            ("/ab*", "/a"),
            ("/ab+c", "/ab"),
            ("/a|/b", ""),
            ("(?i)/a", ""),
            ("/a[0-9]?", "/a"),
            (".*", ""),
            ("*", ""),
        ];
        for (regex, prefix) in examples {
            assert_eq!(literal_prefix(regex), prefix, "{regex}");
        }
    }
}
