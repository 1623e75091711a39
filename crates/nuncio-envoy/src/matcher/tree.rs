//! Which routes a path can meet: a trie over what the paths of the routes begin with.
//!
//! The list of a node has, in the table's order, all that a path can meet which begins with the
//! node's key and with no longer one: its own routes and those of the nodes above, up to the first
//! that no such path gets past. So the first of them that matches is the first of the table that
//! does, and a path needs one look at the trie and one short list.

use std::borrow::Cow;
use std::collections::BTreeMap;

use nuncio_model::route::{PathMatch, Route, RouteMatch};

#[derive(Debug)]
pub(super) struct Tree<'a> {
    /// In the order of their keys; the first is the root, whose key is empty.
    pub(super) nodes: Vec<Node<'a>>,
}

#[derive(Debug)]
pub(super) struct Node<'a> {
    pub(super) key: Cow<'a, str>,
    /// The node with the longest key that this one's begins with; the root is its own.
    pub(super) parent: usize,
    /// Indexes of routes, ascending.
    pub(super) routes: Vec<usize>,
}

impl<'a> Tree<'a> {
    /// Of these routes of a table, given by their indexes, ascending.
    pub(super) fn new<R: AsRef<Route>>(
        table: &'a [R],
        routes: impl Iterator<Item = usize>,
    ) -> Self {
        let mut own: BTreeMap<Cow<'a, str>, Vec<usize>> = BTreeMap::new();
        own.insert("".into(), Vec::new());
        for index in routes {
            let key = beginning(&table[index].as_ref().matches);
            own.entry(key).or_default().push(index);
        }
        let mut nodes: Vec<Node<'a>> = Vec::with_capacity(own.len());
        // The nodes whose keys the present one begins with, the longest last.
        let mut above: Vec<usize> = Vec::new();
        for (key, own) in own {
            while let Some(&last) = above.last()
                && !key.starts_with(&*nodes[last].key)
            {
                above.pop();
            }
            let parent = above.last().copied().unwrap_or_default();
            let inherited = nodes.get(parent).map(|node| &*node.routes);
            let mut routes = merge(&own, inherited.unwrap_or_default());
            let takes_all =
                |index: &usize| matches_all_below(&table[*index].as_ref().matches, &key);
            if let Some(last) = routes.iter().position(takes_all) {
                routes.truncate(last + 1);
            }
            above.push(nodes.len());
            nodes.push(Node {
                key,
                parent,
                routes,
            });
        }
        Self { nodes }
    }

    /// In how many lists each route of a table of this length stands.
    pub(super) fn copies(&self, length: usize) -> Vec<usize> {
        let mut copies = vec![0; length];
        for &index in self.nodes.iter().flat_map(|node| &node.routes) {
            copies[index] += 1;
        }
        copies
    }
}

/// Both in ascending order, and so the result.
fn merge(one: &[usize], other: &[usize]) -> Vec<usize> {
    let mut all = [one, other].concat();
    all.sort_unstable();
    all
}

/// What `:path` begins with, whenever this matches.
fn beginning(matches: &RouteMatch) -> Cow<'_, str> {
    let text = match &matches.path {
        PathMatch::Prefix(path) | PathMatch::Exact(path) => path.as_str(),
        PathMatch::Segments(path) => path.as_str(),
        PathMatch::Regex(regex) => return regex.literal_prefix().into(),
    };
    if matches.case_sensitive {
        return text.into();
    }
    // What has a case may come in the other one.
    let cased = text.find(|c: char| !c.is_ascii() || c.is_ascii_alphabetic());
    text[..cased.unwrap_or(text.len())].into()
}

/// Whether this matches every request whose `:path` begins with a key that begins with its own.
fn matches_all_below(matches: &RouteMatch, key: &str) -> bool {
    is_of_path_alone(matches)
        && matches.case_sensitive
        && match &matches.path {
            // It is compared with the path before the query string.
            PathMatch::Prefix(path) => !path.as_str().contains(['?', '#']),
            PathMatch::Segments(path) => {
                matches!(key.as_bytes().get(path.as_str().len()), Some(b'/' | b'?'))
            }
            PathMatch::Exact(_) | PathMatch::Regex(_) => false,
        }
}

/// Whether nothing but the path decides.
pub(super) fn is_of_path_alone(matches: &RouteMatch) -> bool {
    matches.headers.is_empty() && matches.query_parameters.is_empty() && matches.fraction.is_none()
}
