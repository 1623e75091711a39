//! The Gateway API: what became of Gateways, and the routes of the tables that they have.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use maud::{Markup, html};
use nuncio_api::gateway_api::{GROUP, is_group};
use nuncio_api::status::{Condition, Status};
use nuncio_model::ResourceId;
use nuncio_model::route::{
    Action, Forward, HeaderMatch, PathMatch, Route, RouteMatch, StringMatch,
};
use nuncio_model::value::MatchHeaderName;

use super::super::clusters::Health;
use super::super::scene::Scene;
use super::{Paged, View, notes, search, table};

pub(super) fn gateways(scene: &Scene, view: &View) -> Markup {
    let all = routes(scene);
    let found: Vec<&Shown<'_>> = all.iter().filter(|route| route.is_found(view)).collect();
    let page = Paged::new(&found, view);
    let rows = html! { @for route in page.items { (route.row(scene)) } };
    let statuses = &scene.served.gateway_status;
    let gateways = statuses
        .iter()
        .filter(|(id, _)| matches!(&*id.kind, "Gateway" | "ListenerSet"));
    let gateways = html! { @for (id, status) in gateways { (gateway(scene, id, status)) } };
    html! {
        h1 { "Gateway API" }
        @if gateways.0.is_empty() { p { "There is no Gateway of nuncio's." } }
        @else { (table("Gateways", &["Gateway", "Addresses", "Listeners", "What is not so"], &gateways)) }
        h2 { "Routes" }
        p { "A request takes the first that it matches, of those that its hostname has." }
        (search(view, "Path, hostname, cluster or name"))
        (page.summary("routes"))
        @if !page.items.is_empty() {
            (table("Routes", &["Request", "Goes to", "From"], &rows))
        }
        (page.links(view))
        @let others = notes(scene, |id| has_no_row(id) && !is_shown(&all, id));
        @if !others.0.is_empty() {
            h2 { "Not in effect" }
            (others)
        }
    }
}

fn gateway(scene: &Scene, id: &ResourceId, status: &Status) -> Markup {
    html! {
        tr {
            td { (id) (notes(scene, |noted| *noted == *id)) }
            td { @for address in status.addresses.iter().flatten() { div { code { (address.value) } } } }
            td {
                @for listener in status.listeners.iter().flatten() {
                    div { (listener.name) " " span.muted { (listener.attached_routes) " routes" } }
                }
            }
            td {
                (not_so(&status.conditions))
                @for listener in status.listeners.iter().flatten() { (not_so(&listener.conditions)) }
            }
        }
    }
}

/// The conditions that are not met, each in its words.
fn not_so(conditions: &[Condition]) -> Markup {
    let unmet = conditions
        .iter()
        .filter(|condition| condition.status == "False" && condition.type_ != "Conflicted");
    html! {
        @for condition in unmet {
            div { (condition.type_) ": " span.muted { (condition.message) } }
        }
    }
}

/// A route, with all hostnames that have it.
struct Shown<'a> {
    hostnames: BTreeSet<&'a str>,
    route: &'a Route,
}

/// Each once, in the order of the tables.
fn routes(scene: &Scene) -> Vec<Shown<'_>> {
    let mut places: HashMap<*const Route, usize> = HashMap::new();
    let mut shown: Vec<Shown<'_>> = Vec::new();
    let tables = scene.served.gateway.route_tables.values();
    for host in tables.flat_map(|table| &table.virtual_hosts) {
        let own = host.routes.iter();
        for route in own.filter(|route| is_written(&route.origin.resource)) {
            let place = *places.entry(Arc::as_ptr(route)).or_insert_with(|| {
                shown.push(Shown {
                    hostnames: BTreeSet::new(),
                    route,
                });
                shown.len() - 1
            });
            let names = host.domains.iter().map(|domain| domain.as_str());
            shown[place].hostnames.extend(names);
        }
    }
    shown
}

/// Of a listener there are answers too that nobody wrote.
fn is_written(id: &ResourceId) -> bool {
    &*id.group == GROUP && matches!(&*id.kind, "HTTPRoute" | "GRPCRoute")
}

/// Routes that are in no table, and policies.
fn has_no_row(id: &ResourceId) -> bool {
    is_group(&id.group) && (id.kind.ends_with("Route") || id.kind.ends_with("Policy"))
}

fn is_shown(all: &[Shown<'_>], id: &ResourceId) -> bool {
    all.iter().any(|shown| *shown.route.origin.resource == *id)
}

impl Shown<'_> {
    fn is_found(&self, view: &View) -> bool {
        let path = path(&self.route.matches.path).0;
        let from = self.route.origin.resource.to_string();
        let cluster = match &self.route.action {
            Action::Forward(forward) => &*forward.cluster,
            Action::Redirect(_) | Action::DirectResponse { .. } => "",
        };
        view.finds(&[path, &from, cluster]) || self.hostnames.iter().any(|name| view.finds(&[name]))
    }

    fn row(&self, scene: &Scene) -> Markup {
        let origin = &self.route.origin;
        html! {
            tr {
                td { (request(&self.hostnames, &self.route.matches)) }
                td { (target(scene, self.route)) }
                td {
                    (origin.resource) br; code { (origin.field) }
                    (notes(scene, |id| *id == *origin.resource))
                }
            }
        }
    }
}

fn path(path: &PathMatch) -> (&str, &'static str) {
    match path {
        PathMatch::Prefix(path) => (path.as_str(), ""),
        PathMatch::Segments(path) => (path.as_str(), " and below"),
        PathMatch::Exact(path) => (path.as_str(), " exactly"),
        PathMatch::Regex(regex) => (regex.as_str(), " as an expression"),
        PathMatch::Connect => ("", " a tunnel"),
    }
}

fn request(hostnames: &BTreeSet<&str>, matches: &RouteMatch) -> Markup {
    let is_method = |header: &&HeaderMatch| header.name == MatchHeaderName::method();
    let method = matches.headers.iter().find(is_method);
    let headers = matches.headers.iter().filter(|header| !is_method(header));
    let (path, how) = path(&matches.path);
    html! {
        @if let Some(method) = method { strong { (value(&method.value)) } " " }
        @for hostname in hostnames { code { (hostname) } " " }
        code { (path) } span.muted { (how) }
        @for header in headers { br; "header " code { (header.name) " " (value(&header.value)) } }
        @for parameter in &matches.query_parameters {
            br; "parameter " code { (parameter.name) " " (value(&parameter.value)) }
        }
    }
}

fn value(value: &StringMatch) -> String {
    match value {
        StringMatch::Exact(text) => text.to_string(),
        StringMatch::Prefix(text) => format!("{text}…"),
        StringMatch::Suffix(text) => format!("…{text}"),
        StringMatch::Regex(regex) => format!("~ {}", regex.as_str()),
    }
}

fn target(scene: &Scene, route: &Route) -> Markup {
    html! {
        @match &route.action {
            Action::Forward(forward) => (forwarded(scene, forward)),
            Action::Redirect(_) => "redirected",
            Action::DirectResponse { status, .. } => { "answered with " (status) },
        }
        @if let Some(fraction) = &route.matches.fraction {
            " " span.muted { "up to " (fraction.share) " of requests" }
        }
    }
}

fn forwarded(scene: &Scene, forward: &Forward) -> Markup {
    let cluster = scene.served.gateway.clusters.get(&forward.cluster);
    html! {
        code { (forward.cluster) }
        @if let Some(cluster) = cluster {
            @let health = Health::of(scene, cluster);
            " " span class={ "health " (health.color) } { (health.text) }
        }
    }
}
