//! The routes of a virtual host as Envoy's matcher tree, in which the last of many is found as fast
//! as the first (`VirtualHost.matcher`, `xds.type.matcher.v3`).
//!
//! ```text
//!  one of the rare (see below)? ──▶ all routes as a list
//!      │ no
//!  prefix_match_map on :path: the longest key ──▶ the routes that such a path can meet, as a list
//!      │                          or, where they ask for hosts,
//!      │                          exact_match_map on :authority ──▶ those that such a host can meet
//!      ▼ none of them
//!  the next shorter key, at last none: what any path can meet, and CONNECT, which has none
//! ```
//!
//! Each list is a part of the table, in its order, and each route keeps its whole match. So a tree
//! answers what the list would, if every list has all that a path can meet: see [`tree`].
//!
//! A route that is tried before many others and can be met on most paths (a regular expression that
//! begins with no text, a header asked for on `/` with a high precedence) would stand in most lists.
//! These rare ones are left out of the tree, and stand behind a condition that is true whenever one
//! of them could match: then, and only then, the whole list is gone through.

mod rare;
mod tree;

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use nuncio_envoy_api::envoy::config::route::v3 as rds;
use nuncio_envoy_api::envoy::r#type::matcher::v3::HttpRequestHeaderMatchInput;
use nuncio_envoy_api::google::protobuf::Any;
use nuncio_envoy_api::pack;
use nuncio_envoy_api::xds::core::v3::TypedExtensionConfig;
use nuncio_envoy_api::xds::r#type::matcher::v3 as xds;
use nuncio_envoy_api::xds::r#type::matcher::v3::matcher::matcher_list::predicate::{
    MatchType, PredicateList, SinglePredicate, single_predicate,
};
use nuncio_envoy_api::xds::r#type::matcher::v3::matcher::matcher_list::{FieldMatcher, Predicate};
use nuncio_envoy_api::xds::r#type::matcher::v3::matcher::matcher_tree::{MatchMap, TreeType};
use nuncio_envoy_api::xds::r#type::matcher::v3::matcher::{
    MatcherList, MatcherTree, MatcherType, OnMatch, on_match,
};
use nuncio_envoy_api::xds::r#type::matcher::v3::{Matcher, RegexMatcher, StringMatcher};
use nuncio_model::external::Asks;
use nuncio_model::route::Route;
use prost::Message;

use crate::encoded::{Encoded, field_length, put_field, put_head};
use crate::route::route;
use tree::{Lists, PathCondition, Tree};

/// The path as the client asked for it, its query string included.
const PATH: &str = ":path";

const AUTHORITY: &str = ":authority";

/// How many routes a tree may hold for each of the table. What is beyond is no longer worth its
/// memory.
const MOST_COPIES: usize = 4;

/// A route in more lists than this is a rare one, if the tree is too large with it.
const COMMON: usize = 64;

/// What was encoded of a virtual host's routes the last time.
pub(crate) struct Memory {
    asks: Asks,
    routes: Vec<Arc<Route>>,
    encoded: Vec<Bytes>,
    /// In the order of their keys.
    nodes: Vec<EncodedNode>,
    /// The list of the root, if all routes were in one tree.
    root: Option<Vec<usize>>,
}

struct EncodedNode {
    key: Box<str>,
    routes: Vec<usize>,
    /// Its entry in the map.
    entry: Bytes,
}

impl Memory {
    pub(crate) fn new(asks: Asks) -> Self {
        Self {
            asks,
            routes: Vec::new(),
            encoded: Vec::new(),
            nodes: Vec::new(),
            root: None,
        }
    }

    /// Encodes those routes that are new, and says of each where it stood before.
    fn take(&mut self, routes: &[Arc<Route>]) -> Former {
        let former = Former::new(&self.routes, routes);
        let encoded = routes
            .iter()
            .enumerate()
            .map(|(at, each)| match former.of(at) {
                Some(before) => self.encoded[before].clone(),
                None => route(each, &self.asks).encode_to_vec().into(),
            });
        self.encoded = encoded.collect();
        self.routes = routes.to_vec();
        former
    }

    /// Which routes are others now, if they match what those matched that stood there: then the tree
    /// is the one that it was.
    fn replaced(&self, routes: &[Arc<Route>]) -> Option<Vec<usize>> {
        if routes.len() != self.routes.len() {
            return None;
        }
        let pairs = self.routes.iter().zip(routes).enumerate();
        let others = pairs.filter(|(_, (old, new))| !Arc::ptr_eq(old, new));
        others
            .map(|(at, (old, new))| (old.matches == new.matches).then_some(at))
            .collect()
    }

    /// Encodes the nodes again that have one of these routes.
    fn replace(&mut self, replaced: &[usize]) {
        for node in &mut self.nodes {
            let is_replaced = |route: &usize| replaced.binary_search(route).is_ok();
            if node.routes.iter().any(is_replaced) {
                node.entry = entry(&node.key, &node.routes, &self.routes, &self.encoded);
            }
        }
    }

    /// The tree of the nodes. `None` if it would have but one list.
    fn tree(&self, root: &[usize]) -> Option<Encoded> {
        let otherwise = on_match("", root, &self.routes, &self.encoded);
        if self.nodes.is_empty() {
            let matcher = match otherwise.on_match? {
                on_match::OnMatch::Matcher(matcher) => Some(matcher),
                _ => None,
            };
            return matcher.as_deref().map(Encoded::of);
        }
        let mut map = Encoded::default();
        for node in &self.nodes {
            map.push(node.entry.clone());
        }
        let mut by_path = Encoded::of(&MatcherTree {
            input: Some(header_input(PATH)),
            tree_type: None,
        });
        by_path.field(TREE_PREFIX_MATCH_MAP, map);
        let mut matcher = Encoded::default();
        matcher.field(MATCHER_TREE, by_path);
        if !root.is_empty() {
            matcher.field(MATCHER_ON_NO_MATCH, Encoded::of(&otherwise));
        }
        Some(matcher)
    }

    /// The routes as a list.
    pub(crate) fn list(&mut self, routes: &[Arc<Route>]) -> &[Bytes] {
        self.take(routes);
        self.nodes.clear();
        self.root = None;
        &self.encoded
    }
}

/// Where each of some routes stood in a former list. Most stand where they stood, or all a few places
/// further.
struct Former {
    same_before: usize,
    same_after: usize,
    lengths: (usize, usize),
    between: HashMap<*const Route, usize>,
    pointers: Vec<*const Route>,
}

impl Former {
    fn new(old: &[Arc<Route>], new: &[Arc<Route>]) -> Self {
        let same = |(old, new): &(&Arc<Route>, &Arc<Route>)| Arc::ptr_eq(old, new);
        let same_before = old.iter().zip(new).take_while(same).count();
        let (old_rest, new_rest) = (&old[same_before..], &new[same_before..]);
        let both = old_rest.iter().rev().zip(new_rest.iter().rev());
        let same_after = both.take_while(same).count();
        let old_middle = &old_rest[..old_rest.len() - same_after];
        let new_middle = &new_rest[..new_rest.len() - same_after];
        let places = old_middle.iter().enumerate();
        Self {
            same_before,
            same_after,
            lengths: (old.len(), new.len()),
            between: places
                .map(|(at, route)| (Arc::as_ptr(route), same_before + at))
                .collect(),
            pointers: new_middle.iter().map(Arc::as_ptr).collect(),
        }
    }

    fn of(&self, at: usize) -> Option<usize> {
        let (old, new) = self.lengths;
        if at < self.same_before {
            Some(at)
        } else if at >= new - self.same_after {
            Some(at + old - new)
        } else {
            let pointer = self.pointers[at - self.same_before];
            self.between.get(&pointer).copied()
        }
    }
}

/// The matcher tree of a virtual host's routes. `None` where that would be too large, or be a list
/// all the same.
pub(crate) fn matcher(memory: &mut Memory, routes: &[Arc<Route>]) -> Option<Encoded> {
    let replaced = memory.replaced(routes);
    let former = memory.take(routes);
    if let (Some(root), Some(replaced)) = (memory.root.take(), replaced) {
        memory.replace(&replaced);
        let tree = memory.tree(&root);
        memory.root = Some(root);
        return tree;
    }
    let whole = Tree::new(routes, 0..routes.len());
    let copies = whole.copies(routes);
    if whole.fits(&copies) {
        let tree = encode(memory, &former, &whole)?;
        memory.root = Some(whole.otherwise());
        return Some(tree);
    }
    let is_rare = |index: &usize| copies[*index] > COMMON && rare::is_conditional(&routes[*index]);
    let tree = Tree::new(routes, (0..routes.len()).filter(|index| !is_rare(index)));
    if !tree.fits(&tree.copies(routes)) {
        return None;
    }
    let conditions = (0..routes.len())
        .filter(is_rare)
        .map(|index| rare::condition(&routes[index].matches))
        .collect::<Option<Vec<_>>>()?;
    let all: Vec<usize> = (0..routes.len()).collect();
    let nested = encode(memory, &former, &tree)?;
    let rare = list(
        vec![field(any(conditions), action(&all, &memory.encoded))],
        None,
    );
    let mut matcher = Encoded::of(&rare);
    let mut otherwise = Encoded::default();
    otherwise.field(ON_MATCH_MATCHER, nested);
    matcher.field(MATCHER_ON_NO_MATCH, otherwise);
    Some(matcher)
}

// Fields of `xds.type.matcher.v3`, by their numbers.
const MATCHER_TREE: u32 = 2;
const MATCHER_ON_NO_MATCH: u32 = 3;
const TREE_PREFIX_MATCH_MAP: u32 = 3;
const MATCH_MAP_ENTRY: u32 = 1;
const ON_MATCH_MATCHER: u32 = 1;
const ENTRY_KEY: u32 = 1;
const ENTRY_VALUE: u32 = 2;

/// `None` if the paths of the routes begin with nothing in particular.
fn encode(memory: &mut Memory, former: &Former, tree: &Tree<'_>) -> Option<Encoded> {
    let (_, nodes) = tree.nodes.split_first().expect("invariant: a root");
    let Memory {
        routes,
        encoded,
        nodes: known,
        ..
    } = memory;
    let mut old = std::mem::take(known).into_iter().peekable();
    known.reserve(nodes.len());
    for node in nodes {
        while old.next_if(|old| *old.key < *node.key).is_some() {}
        let same = |before: &[usize]| {
            let mut pairs = node.routes.iter().zip(before);
            node.routes.len() == before.len()
                && pairs.all(|(now, before)| former.of(*now) == Some(*before))
        };
        let entry = match old.next_if(|old| *old.key == *node.key) {
            Some(old) if same(&old.routes) => old.entry,
            _ => entry(&node.key, &node.routes, routes, encoded),
        };
        known.push(EncodedNode {
            key: (*node.key).into(),
            routes: node.routes.clone(),
            entry,
        });
    }
    memory.tree(&tree.otherwise())
}

/// A node's entry in the map of all.
fn entry(key: &str, indexes: &[usize], routes: &[Arc<Route>], encoded: &[Bytes]) -> Bytes {
    let on_match = on_match(key, indexes, routes, encoded).encode_to_vec();
    let length = field_length(ENTRY_KEY, key.len()) + field_length(ENTRY_VALUE, on_match.len());
    // It is kept: no longer than it is.
    let mut entry = Vec::with_capacity(field_length(MATCH_MAP_ENTRY, length));
    put_head(MATCH_MAP_ENTRY, length, &mut entry);
    put_field(ENTRY_KEY, key.as_bytes(), &mut entry);
    put_field(ENTRY_VALUE, &on_match, &mut entry);
    entry.into()
}

/// A node's list, or one for each host that its routes ask for. The others are for other hosts, and
/// for those whose own find nothing: Envoy goes on to them as to a shorter key.
fn on_match(key: &str, indexes: &[usize], routes: &[Arc<Route>], encoded: &[Bytes]) -> OnMatch {
    let lists = Lists::new(routes, key, indexes);
    let sequence = |host, indexes: &[usize]| sequence(host, indexes, routes, encoded);
    if lists.of_hosts.is_empty() {
        return sequence(None, &lists.of_others);
    }
    let hosts = lists.of_hosts.iter();
    let of_hosts = hosts.map(|(host, own)| (host.to_string(), sequence(Some(host), own)));
    let others = (!lists.of_others.is_empty()).then(|| sequence(None, &lists.of_others));
    nested(Matcher {
        matcher_type: Some(MatcherType::MatcherTree(MatcherTree {
            input: Some(header_input(AUTHORITY)),
            tree_type: Some(TreeType::ExactMatchMap(MatchMap {
                map: of_hosts.collect(),
            })),
        })),
        on_no_match: others.map(Box::new),
    })
}

/// A list, of a host if one is given. Routes of a whole path, or of a path and those below it, become
/// conditions, so that other paths go on to the node above instead of having its routes here again.
fn sequence(
    host: Option<&str>,
    indexes: &[usize],
    routes: &[Arc<Route>],
    encoded: &[Bytes],
) -> OnMatch {
    let runs = tree::runs(routes, host, indexes);
    let rest = tree::rest(&runs, indexes);
    let fields: Vec<_> = runs
        .into_iter()
        .map(|run| {
            field(
                path_condition(run.condition),
                action(&indexes[run.routes], encoded),
            )
        })
        .collect();
    if fields.is_empty() {
        return action(rest, encoded);
    }
    let otherwise = (!rest.is_empty()).then(|| action(rest, encoded));
    nested(list(fields, otherwise))
}

fn path_condition(condition: PathCondition<'_>) -> Predicate {
    let path = match condition {
        PathCondition::Exact(path) | PathCondition::Segments(path) => path,
    };
    let mut conditions = vec![
        string(PATH, Pattern::Exact(path.to_owned())),
        string(PATH, Pattern::Prefix(format!("{path}?"))),
    ];
    if matches!(condition, PathCondition::Segments(_)) {
        conditions.push(string(PATH, Pattern::Prefix(format!("{path}/"))));
    }
    any(conditions)
}

type Pattern = xds::string_matcher::MatchPattern;

fn regex(regex: &str) -> Pattern {
    Pattern::SafeRegex(RegexMatcher {
        regex: regex.to_owned(),
        engine_type: Some(xds::regex_matcher::EngineType::GoogleRe2(
            xds::regex_matcher::GoogleRe2::default(),
        )),
    })
}

/// True if a header's value, all its values joined, is of a pattern.
fn string(header: &str, pattern: Pattern) -> Predicate {
    string_of_case(header, pattern, true)
}

fn string_of_case(header: &str, pattern: Pattern, case_sensitive: bool) -> Predicate {
    predicate(MatchType::SinglePredicate(SinglePredicate {
        input: Some(header_input(header)),
        matcher: Some(single_predicate::Matcher::ValueMatch(StringMatcher {
            ignore_case: !case_sensitive,
            match_pattern: Some(pattern),
        })),
    }))
}

fn any(conditions: Vec<Predicate>) -> Predicate {
    joined(conditions, MatchType::OrMatcher)
}

fn all(conditions: Vec<Predicate>) -> Predicate {
    joined(conditions, MatchType::AndMatcher)
}

/// A list of conditions must have two at least.
fn joined(mut conditions: Vec<Predicate>, by: fn(PredicateList) -> MatchType) -> Predicate {
    if conditions.len() == 1 {
        return conditions.remove(0);
    }
    predicate(by(PredicateList {
        predicate: conditions,
    }))
}

fn predicate(match_type: MatchType) -> Predicate {
    Predicate {
        match_type: Some(match_type),
    }
}

fn header_input(name: &str) -> TypedExtensionConfig {
    TypedExtensionConfig {
        name: "header".to_owned(),
        typed_config: Some(pack(&HttpRequestHeaderMatchInput {
            header_name: name.to_owned(),
        })),
    }
}

fn field(condition: Predicate, then: OnMatch) -> FieldMatcher {
    FieldMatcher {
        predicate: Some(condition),
        on_match: Some(then),
    }
}

fn list(matchers: Vec<FieldMatcher>, otherwise: Option<OnMatch>) -> Matcher {
    Matcher {
        on_no_match: otherwise.map(Box::new),
        matcher_type: Some(MatcherType::MatcherList(MatcherList { matchers })),
    }
}

fn nested(matcher: Matcher) -> OnMatch {
    OnMatch {
        on_match: Some(on_match::OnMatch::Matcher(Box::new(matcher))),
        ..Default::default()
    }
}

/// Tries these routes in their order.
fn action(indexes: &[usize], encoded: &[Bytes]) -> OnMatch {
    let (name, typed_config) = match indexes {
        [one] => ("route", any_of::<rds::Route>(encoded[*one].clone())),
        several => {
            let mut value = Vec::new();
            for index in several {
                // RouteList.routes, of bytes that are made once.
                put_field(1, &encoded[*index], &mut value);
            }
            ("routes", any_of::<rds::RouteList>(value.into()))
        }
    };
    OnMatch {
        on_match: Some(on_match::OnMatch::Action(TypedExtensionConfig {
            name: name.to_owned(),
            typed_config: Some(typed_config),
        })),
        ..Default::default()
    }
}

fn any_of<M: prost::Name>(value: Bytes) -> Any {
    Any {
        type_url: M::type_url(),
        value,
    }
}
