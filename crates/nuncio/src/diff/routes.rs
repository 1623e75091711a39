//! Route by route, virtual host by virtual host.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use nuncio_model::Gateway;
use nuncio_model::route::{Action, Mirror, Route, RouteTable, VirtualHost};
use nuncio_model::value::Fraction;
use serde_json::{Value, json};
use similar::{Algorithm, DiffOp, capture_diff_slices};

use super::fields::{Field, fields, value};
use super::{Change, Kind, VirtualHostChange, words};

/// Compares the route tables of two gateways.
pub(super) fn virtual_hosts(old: &Gateway, new: &Gateway) -> Vec<VirtualHostChange> {
    let mut changes: Vec<VirtualHostChange> = Vec::new();
    // Where the changes stand that are alike.
    let mut said: HashMap<String, usize> = HashMap::new();
    let mut seen = Seen::default();
    let (mut old_routes, mut new_routes) = (Routes::new(old), Routes::new(new));
    let names = old.route_tables.keys().chain(new.route_tables.keys());
    let names: BTreeSet<_> = names.collect();
    for name in names {
        let old = old.route_tables.get(name).map(AsRef::as_ref);
        let new = new.route_tables.get(name).map(AsRef::as_ref);
        for pair in pairs(old, new) {
            let of = |host: Option<&VirtualHost>, routes: &mut Routes<'_>, seen: &mut Seen| {
                host.map(|host| routes.of(host, seen)).unwrap_or_default()
            };
            let before = of(pair.old, &mut old_routes, &mut seen);
            let after = of(pair.new, &mut new_routes, &mut seen);
            let headers = |host: Option<&VirtualHost>| match host {
                Some(host) => value(&json!({ "response_headers": host.response_headers }), &[]),
                None => json!({}),
            };
            let (kind, fields) = match (pair.old, pair.new) {
                (None, _) => (Kind::Added, Vec::new()),
                (_, None) => (Kind::Removed, Vec::new()),
                _ => (
                    Kind::Changed,
                    fields(&headers(pair.old), &headers(pair.new)),
                ),
            };
            let routes = entries(&before, &after);
            if kind != Kind::Changed || !routes.is_empty() || !fields.is_empty() {
                let alike = json!([name, kind, fields, routes]).to_string();
                let at = *said.entry(alike).or_insert_with(|| {
                    changes.push(VirtualHostChange {
                        kind,
                        listener: name.to_string(),
                        domains: Vec::new(),
                        fields,
                        routes,
                    });
                    changes.len() - 1
                });
                changes[at].domains.extend(pair.domains);
            }
        }
    }
    changes
}

/// Domains that one virtual host has now, and one had.
struct Pair<'g> {
    domains: Vec<String>,
    old: Option<&'g VirtualHost>,
    new: Option<&'g VirtualHost>,
}

fn pairs<'g>(old: Option<&'g RouteTable>, new: Option<&'g RouteTable>) -> Vec<Pair<'g>> {
    type Hosts<'g> = (Option<&'g VirtualHost>, Option<&'g VirtualHost>);
    let mut by_domain: BTreeMap<&str, Hosts<'g>> = BTreeMap::new();
    let hosts = |table: Option<&'g RouteTable>| table.into_iter().flat_map(|t| &t.virtual_hosts);
    for host in hosts(old) {
        for domain in &host.domains {
            by_domain.entry(domain.as_str()).or_default().0 = Some(host);
        }
    }
    for host in hosts(new) {
        for domain in &host.domains {
            by_domain.entry(domain.as_str()).or_default().1 = Some(host);
        }
    }
    let mut pairs: Vec<Pair<'g>> = Vec::new();
    let mut index = HashMap::new();
    for (domain, (old, new)) in by_domain {
        let names = (old.map(|host| &host.name), new.map(|host| &host.name));
        let at = *index.entry(names).or_insert_with(|| {
            let domains = Vec::new();
            pairs.push(Pair { domains, old, new });
            pairs.len() - 1
        });
        pairs[at].domains.push(domain.to_owned());
    }
    pairs
}

/// Numbers of contents: equal for entries that do the same.
#[derive(Default)]
struct Seen(HashMap<String, usize>);

/// The routes of a gateway as they are compared, each looked at once.
struct Routes<'g> {
    gateway: &'g Gateway,
    known: HashMap<*const Route, Arc<Entry>>,
}

/// A route, or a part of those that share requests.
struct Entry {
    matches: String,
    target: String,
    resource: String,
    share: Fraction,
    content: Value,
    number: usize,
}

impl<'g> Routes<'g> {
    fn new(gateway: &'g Gateway) -> Self {
        let known = HashMap::new();
        Self { gateway, known }
    }

    fn of(&mut self, host: &VirtualHost, seen: &mut Seen) -> Vec<Arc<Entry>> {
        let routes = host.routes.iter();
        let entry = |route: &Arc<Route>| {
            let gateway = self.gateway;
            let known = self.known.entry(Arc::as_ptr(route));
            Arc::clone(known.or_insert_with(|| Arc::new(Entry::new(gateway, route, seen))))
        };
        routes.map(entry).collect()
    }
}

impl Entry {
    fn new(gateway: &Gateway, route: &Route, seen: &mut Seen) -> Self {
        let matches = words::matches(&route.matches);
        let target = words::target(gateway, route);
        let share = route
            .matches
            .fraction
            .as_ref()
            .map_or(Fraction::ALL, |f| f.share);
        let mut content = value(route, &["matches"]);
        if let Action::Forward(forward) = &route.action {
            // Clusters are told by what is behind them.
            let forwarded = &mut content["action"]["Forward"];
            forwarded["cluster"] = target.as_str().into();
            let mirror = |mirror: &Mirror| {
                let service = words::service(gateway, &mirror.cluster);
                format!("{}% {service}", mirror.share)
            };
            let mirrors: Vec<String> = forward.mirrors.iter().map(mirror).collect();
            forwarded["mirrors"] = mirrors.into();
        }
        let whole = json!([matches, share, content]).to_string();
        let next = seen.0.len();
        Self {
            number: *seen.0.entry(whole).or_insert(next),
            resource: route.origin.resource.to_string(),
            matches,
            target,
            share,
            content,
        }
    }
}

/// Entries with one match, with the share that each has.
fn shares(entries: &[Arc<Entry>]) -> Vec<(&str, Vec<(Fraction, &Entry)>)> {
    let mut order: Vec<(&str, Vec<(Fraction, &Entry)>)> = Vec::new();
    let mut index = HashMap::new();
    for entry in entries {
        let at = *index.entry(entry.matches.as_str()).or_insert_with(|| {
            order.push((entry.matches.as_str(), Vec::new()));
            order.len() - 1
        });
        let parts = &mut order[at].1;
        // Each has what is left of the part below its own number.
        let taken = parts
            .iter()
            .fold(Fraction::NONE, |taken, (share, _)| taken.with(*share));
        parts.push((entry.share.without(taken), entry));
    }
    order
}

fn entries(old: &[Arc<Entry>], new: &[Arc<Entry>]) -> Vec<Change> {
    let numbers = |entries: &[Arc<Entry>]| -> Vec<usize> {
        entries.iter().map(|entry| entry.number).collect()
    };
    if numbers(old) == numbers(new) {
        return Vec::new();
    }
    let (old, new) = (shares(old), shares(new));
    let before: HashMap<&str, &Vec<(Fraction, &Entry)>> = old
        .iter()
        .map(|(matches, parts)| (*matches, parts))
        .collect();
    let after: HashSet<&str> = new.iter().map(|(matches, _)| *matches).collect();
    let moved = moved(&old, &new, &before, &after);
    let mut changes = Vec::new();
    for (matches, parts) in &new {
        let change = match before.get(matches) {
            None => Some(change(Kind::Added, matches, parts)),
            Some(earlier) => {
                let fields = parts_changed(earlier, parts);
                let kind = match (fields.is_empty(), moved.contains(matches)) {
                    (true, true) => Some(Kind::Moved),
                    (true, false) => None,
                    (false, _) => Some(Kind::Changed),
                };
                kind.map(|kind| Change {
                    kind,
                    what: (*matches).to_owned(),
                    resource: resources(parts),
                    fields,
                })
            }
        };
        changes.extend(change);
    }
    for (matches, parts) in old.iter().filter(|(matches, _)| !after.contains(matches)) {
        changes.push(change(Kind::Removed, matches, parts));
    }
    changes
}

/// What is on both sides and at another place among those: as few as explain the order.
fn moved<'e>(
    old: &[(&'e str, Vec<(Fraction, &Entry)>)],
    new: &[(&'e str, Vec<(Fraction, &Entry)>)],
    before: &HashMap<&str, &Vec<(Fraction, &Entry)>>,
    after: &HashSet<&str>,
) -> HashSet<&'e str> {
    let order = |of: &[(&'e str, Vec<(Fraction, &Entry)>)]| -> Vec<&'e str> {
        let names = of.iter().map(|(matches, _)| *matches);
        names
            .filter(|matches| before.contains_key(matches) && after.contains(matches))
            .collect()
    };
    let (from, to) = (order(old), order(new));
    if from == to {
        return HashSet::new();
    }
    let inserted = |op: &DiffOp| match op {
        DiffOp::Insert { .. } | DiffOp::Replace { .. } => op.new_range(),
        _ => 0..0,
    };
    let ops = capture_diff_slices(Algorithm::Myers, &from, &to);
    ops.iter().flat_map(inserted).map(|at| to[at]).collect()
}

fn change(kind: Kind, matches: &str, parts: &[(Fraction, &Entry)]) -> Change {
    let targets: Vec<String> = match parts {
        [(share, only)] if *share == Fraction::ALL => vec![only.target.clone()],
        parts => parts
            .iter()
            .map(|(share, entry)| format!("{share}% {}", entry.target))
            .collect(),
    };
    Change {
        kind,
        what: format!("{matches} → {}", targets.join(", ")),
        resource: resources(parts),
        fields: Vec::new(),
    }
}

fn resources(parts: &[(Fraction, &Entry)]) -> Option<String> {
    let mut names: Vec<&str> = parts.iter().map(|(_, entry)| &*entry.resource).collect();
    names.dedup();
    (!names.is_empty()).then(|| names.join(", "))
}

fn parts_changed(old: &[(Fraction, &Entry)], new: &[(Fraction, &Entry)]) -> Vec<Field> {
    if let ([(before, from)], [(after, to)]) = (old, new) {
        let mut found = content_changed("", from, to);
        if before != after {
            found.insert(0, Field::new("share", percent(*before), percent(*after)));
        }
        return found;
    }
    let mut found = Vec::new();
    let mut left: Vec<&(Fraction, &Entry)> = old.iter().collect();
    for (after, to) in new {
        let share = format!("share of {}", to.target);
        let same = left.iter().position(|(_, from)| from.target == to.target);
        match same.map(|at| left.remove(at)) {
            None => found.push(Field::new(share, Value::Null, percent(*after))),
            Some((before, from)) => {
                if before != after {
                    found.push(Field::new(share, percent(*before), percent(*after)));
                }
                found.extend(content_changed(&format!("{}: ", to.target), from, to));
            }
        }
    }
    for (before, from) in left {
        let share = format!("share of {}", from.target);
        found.push(Field::new(share, percent(*before), Value::Null));
    }
    found
}

fn percent(share: Fraction) -> String {
    format!("{share}%")
}

fn content_changed(whose: &str, from: &Entry, to: &Entry) -> Vec<Field> {
    let mut found = fields(&from.content, &to.content);
    for field in &mut found {
        let name = field.field.strip_prefix("action.").unwrap_or(&field.field);
        let name = if name == "cluster" { "service" } else { name };
        if name == "action" {
            (field.from, field.to) = (from.target.as_str().into(), to.target.as_str().into());
        }
        field.field = format!("{whose}{name}");
    }
    found
}
