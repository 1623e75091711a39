//! Which routes a path can meet: a trie over what the paths of the routes begin with.
//!
//! The list of a node has, in the table's order, all that a path can meet which begins with the
//! node's key and with no longer one: its own routes and those of the nodes above, up to the first
//! that no such path gets past. So the first of them that matches is the first of the table that
//! does, and a path needs one look at the trie and one short list.
//!
//! Where a node can say itself which requests are its own routes', and no route above is tried before
//! them, it has those alone: Envoy goes on to the nodes above by itself.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use nuncio_model::route::{HeaderMatch, PathMatch, Route, RouteMatch, StringMatch};

use super::{AUTHORITY, COMMON, MOST_COPIES};

#[derive(Debug)]
pub(super) struct Tree<'a> {
    /// In the order of their keys; the first is the root, whose key is empty.
    pub(super) nodes: Vec<Node<'a>>,
    /// Whether it has all nodes: it is not worth its memory if its lists are too long.
    is_whole: bool,
    /// Indexes of routes for requests without a path, ascending: these meet no node.
    pathless: Vec<usize>,
}

#[derive(Debug)]
pub(super) struct Node<'a> {
    pub(super) key: Cow<'a, str>,
    /// Indexes of routes, ascending.
    pub(super) routes: Vec<usize>,
}

/// A node that the present one's key begins with, and what it has itself.
struct Above {
    node: usize,
    own: Vec<usize>,
    /// The first that is tried of its own and of those above.
    first: usize,
}

impl<'a> Tree<'a> {
    /// Of these routes of a table, given by their indexes, ascending.
    pub(super) fn new<R: AsRef<Route>>(
        table: &'a [R],
        routes: impl Iterator<Item = usize>,
    ) -> Self {
        let mut own: BTreeMap<Cow<'a, str>, Vec<usize>> = BTreeMap::new();
        own.insert("".into(), Vec::new());
        let mut pathless = Vec::new();
        for index in routes {
            match beginning(&table[index].as_ref().matches) {
                Some(key) => own.entry(key).or_default().push(index),
                None => pathless.push(index),
            }
        }
        let mut nodes: Vec<Node<'a>> = Vec::with_capacity(own.len());
        // The longest key last.
        let mut above: Vec<Above> = Vec::new();
        let mut lengths = 0;
        let mut is_whole = true;
        for (key, own) in own {
            if lengths > COMMON * table.len() {
                is_whole = false;
                break;
            }
            while let Some(last) = above.last()
                && !key.starts_with(&*nodes[last.node].key)
            {
                above.pop();
            }
            let first_above = above.last().map_or(usize::MAX, |above| above.first);
            let goes_first = own.last().is_none_or(|last| *last < first_above);
            let mut routes = if goes_first && Lists::new(table, &key, &own).say_all(table, &key) {
                own.clone()
            } else {
                let above = above.iter().flat_map(|above| &above.own).copied();
                let meets = |index: &usize| can_meet(&table[*index].as_ref().matches, &key);
                let mut all: Vec<_> = above.filter(meets).chain(own.iter().copied()).collect();
                all.sort_unstable();
                all
            };
            cut(table, &key, None, &mut routes);
            lengths += routes.len();
            above.push(Above {
                node: nodes.len(),
                first: own.first().map_or(first_above, |own| first_above.min(*own)),
                own,
            });
            nodes.push(Node { key, routes });
        }
        Self {
            nodes,
            is_whole,
            pathless,
        }
    }

    /// The list of what no key leads further: a path that begins with none, and what has no path.
    pub(super) fn otherwise(&self) -> Vec<usize> {
        let mut all = [&*self.nodes[0].routes, &self.pathless].concat();
        all.sort_unstable();
        all
    }

    /// Whether it is worth its memory, if each route stands in so many of its lists.
    pub(super) fn fits(&self, copies: &[usize]) -> bool {
        self.is_whole && copies.iter().sum::<usize>() <= MOST_COPIES * copies.len()
    }

    /// In how many lists each route of a table stands.
    pub(super) fn copies<R: AsRef<Route>>(&self, table: &[R]) -> Vec<usize> {
        let mut copies = vec![0; table.len()];
        for node in &self.nodes {
            let lists = Lists::new(table, &node.key, &node.routes);
            let all = lists.of_hosts.values().chain([&lists.of_others]);
            for &index in all.flatten() {
                copies[index] += 1;
            }
        }
        for &index in &self.pathless {
            copies[index] += 1;
        }
        copies
    }
}

/// A node's routes, apart for each host that one of them asks for.
pub(super) struct Lists<'a> {
    /// With those that ask for no host, or not for one alone.
    pub(super) of_hosts: BTreeMap<&'a Arc<str>, Vec<usize>>,
    pub(super) of_others: Vec<usize>,
}

impl<'a> Lists<'a> {
    pub(super) fn new<R: AsRef<Route>>(table: &'a [R], key: &str, routes: &[usize]) -> Self {
        let mut of_hosts: BTreeMap<&Arc<str>, Vec<usize>> = BTreeMap::new();
        let mut of_others = Vec::new();
        for &index in routes {
            match host(&table[index].as_ref().matches) {
                Some(host) => of_hosts.entry(host).or_default().push(index),
                None => of_others.push(index),
            }
        }
        cut(table, key, None, &mut of_others);
        let mut all = 0;
        for (host, own) in &mut of_hosts {
            let end = cut(table, key, Some(host), own);
            let is_tried = |other: &&usize| {
                let is_before = end.is_none_or(|end| **other < end);
                is_before || has_no_path(&table[**other].as_ref().matches)
            };
            own.extend(of_others.iter().filter(is_tried));
            own.sort_unstable();
            cut(table, key, Some(host), own);
            all += own.len();
            if all > routes.len() * MOST_COPIES {
                return Self {
                    of_hosts: BTreeMap::new(),
                    of_others: routes.to_vec(),
                };
            }
        }
        Self {
            of_hosts,
            of_others,
        }
    }

    /// Whether conditions on host and path say of every request if one of these routes answers it.
    fn say_all<R: AsRef<Route>>(&self, table: &[R], key: &str) -> bool {
        let hosts = self.of_hosts.iter();
        let hosts = hosts.map(|(host, routes)| (Some(&***host), routes));
        hosts
            .chain([(None, &self.of_others)])
            .all(|(host, routes)| {
                let rest = rest(&runs(table, host, routes), routes);
                let closes =
                    |last: &usize| matches_all_below(&table[*last].as_ref().matches, key, host);
                rest.last().is_none_or(closes)
            })
    }
}

/// What a path asks for, if that can be said of `:path`.
#[derive(Clone, Copy)]
pub(super) enum PathCondition<'a> {
    /// This path, with any query string.
    Exact(&'a str),
    /// Those below it too.
    Segments(&'a str),
}

/// Routes of one path, one of which answers whatever has that path.
pub(super) struct Run<'a> {
    pub(super) condition: PathCondition<'a>,
    pub(super) routes: Range<usize>,
}

/// Those runs that come first in a list, of a host if one is given.
pub(super) fn runs<'a, R: AsRef<Route>>(
    table: &'a [R],
    host: Option<&str>,
    routes: &[usize],
) -> Vec<Run<'a>> {
    let mut runs = Vec::new();
    let mut at = 0;
    while let Some(first) = routes.get(at)
        && let first = &table[*first].as_ref().matches
        && let Some(condition) = path_condition(first)
    {
        let same = |index: &&usize| {
            let matches = &table[**index].as_ref().matches;
            matches.path == first.path && matches.case_sensitive
        };
        let run = &routes[at..][..routes[at..].iter().take_while(same).count()];
        let closes = |index: &usize| asks_for_no_more(&table[*index].as_ref().matches, host);
        if !run.iter().any(closes) {
            break;
        }
        runs.push(Run {
            condition,
            routes: at..at + run.len(),
        });
        at += run.len();
    }
    runs
}

/// What of a list is behind its runs.
pub(super) fn rest<'i>(runs: &[Run<'_>], routes: &'i [usize]) -> &'i [usize] {
    &routes[runs.last().map_or(0, |run| run.routes.end)..]
}

fn path_condition(matches: &RouteMatch) -> Option<PathCondition<'_>> {
    match &matches.path {
        _ if !matches.case_sensitive => None,
        PathMatch::Exact(path) if !path.as_str().contains(['?', '#']) => {
            Some(PathCondition::Exact(path.as_str()))
        }
        PathMatch::Segments(path) => Some(PathCondition::Segments(path.as_str())),
        _ => None,
    }
}

/// Leaves out what is behind the first route that answers whatever gets there, and says which that is.
fn cut<R: AsRef<Route>>(
    table: &[R],
    key: &str,
    host: Option<&str>,
    routes: &mut Vec<usize>,
) -> Option<usize> {
    let takes_all = |index: &&usize| matches_all_below(&table[**index].as_ref().matches, key, host);
    let end = *routes.iter().find(takes_all)?;
    // What has no path does not get there.
    routes.retain(|index| *index <= end || has_no_path(&table[*index].as_ref().matches));
    Some(end)
}

fn has_no_path(matches: &RouteMatch) -> bool {
    matches.path == PathMatch::Connect
}

/// What `:path` begins with, whenever this matches; `None` where there is none then.
fn beginning(matches: &RouteMatch) -> Option<Cow<'_, str>> {
    let text = match &matches.path {
        PathMatch::Prefix(path) | PathMatch::Exact(path) => path.as_str(),
        PathMatch::Segments(path) => path.as_str(),
        PathMatch::Regex(regex) => return Some(regex.literal_prefix().into()),
        PathMatch::Connect => return None,
    };
    if matches.case_sensitive {
        return Some(text.into());
    }
    // What has a case may come in the other one.
    let cased = text.find(|c: char| !c.is_ascii() || c.is_ascii_alphabetic());
    Some(text[..cased.unwrap_or(text.len())].into())
}

/// Whether this may match a request whose `:path` begins with a key that begins with its own.
fn can_meet(matches: &RouteMatch, key: &str) -> bool {
    let next = |path: &str| key.as_bytes().get(path.len());
    !matches.case_sensitive
        || match &matches.path {
            PathMatch::Exact(path) => matches!(next(path.as_str()), None | Some(b'?' | b'#')),
            PathMatch::Segments(path) => {
                matches!(next(path.as_str()), None | Some(b'/' | b'?' | b'#'))
            }
            PathMatch::Prefix(_) | PathMatch::Regex(_) => true,
            PathMatch::Connect => false,
        }
}

/// Whether this matches every request, for a host if one is given, whose `:path` begins with a key
/// that begins with its own.
fn matches_all_below(matches: &RouteMatch, key: &str, host: Option<&str>) -> bool {
    asks_for_no_more(matches, host)
        && matches.case_sensitive
        && match &matches.path {
            // It is compared with the path before the query string.
            PathMatch::Prefix(path) => !path.as_str().contains(['?', '#']),
            PathMatch::Segments(path) => {
                matches!(key.as_bytes().get(path.as_str().len()), Some(b'/' | b'?'))
            }
            PathMatch::Exact(_) | PathMatch::Regex(_) | PathMatch::Connect => false,
        }
}

/// Whether nothing but the path decides, and the host if one is given.
pub(super) fn asks_for_no_more(matches: &RouteMatch, host: Option<&str>) -> bool {
    let is_host = |header: &HeaderMatch| {
        header.name.as_str() == AUTHORITY
            && matches!(&header.value, StringMatch::Exact(text) if host == Some(text))
    };
    matches.headers.iter().all(is_host)
        && matches.query_parameters.is_empty()
        && matches.fraction.is_none()
}

/// The one host that this asks for.
fn host(matches: &RouteMatch) -> Option<&Arc<str>> {
    matches
        .headers
        .iter()
        .find_map(|header| match &header.value {
            StringMatch::Exact(text) if header.name.as_str() == AUTHORITY => Some(text),
            _ => None,
        })
}
