//! Routes in the order in which they match.

use maud::{Markup, html};
use nuncio_translate::getambassador::{Condition, HttpGroup, MemberInfo, MemberKind, PathKind};

use super::super::clusters::Health;
use super::super::scene::Scene;
use super::{Paged, View, notes, search, table};

pub(super) fn routes(scene: &Scene, view: &View) -> Markup {
    let groups = &scene.served.inventory.groups;
    let found: Vec<(usize, &HttpGroup)> = groups
        .iter()
        .enumerate()
        .filter(|(_, group)| found(group, view))
        .collect();
    let page = Paged::new(&found, view);
    let rows = html! {
        @for (index, group) in page.items { (row(scene, *index, group)) }
    };
    html! {
        h1 { "Routes" }
        p { "A request takes the first that it matches, of those that its Host has." }
        (search(view, "Path, host, service or name"))
        (page.summary("routes"))
        @if !page.items.is_empty() {
            (table("Routes", &["#", "Request", "Goes to", "From"], &rows))
        }
        (page.links(view))
    }
}

fn found(group: &HttpGroup, view: &View) -> bool {
    let mut members = group.members.iter();
    view.finds(&[&group.prefix, &group.host])
        || members.any(|member| {
            let namespace = &member.resource.namespace;
            view.finds(&[&member.service, &format!("{namespace}/{}", member.name)])
        })
}

fn row(scene: &Scene, index: usize, group: &HttpGroup) -> Markup {
    html! {
        tr {
            td { (index + 1) }
            td { (request(group)) }
            td { @for member in &group.members { (target(scene, member)) } }
            td {
                @if group.built_in { "built in" } @else {
                    a href={ "./grp-" (group.id) } { (group.first().resource) }
                    @for member in group.members.iter().filter(|m| m.rkey != group.first().rkey) {
                        br; (member.resource)
                    }
                    (notes(scene, |id| group.members.iter().any(|m| *m.resource == *id)))
                }
            }
        }
    }
}

pub(super) fn request(group: &HttpGroup) -> Markup {
    html! {
        @if group.method != "*" { strong { (group.method) } " " }
        code { (group.host) (group.prefix) }
        @match group.path {
            PathKind::Prefix => {},
            PathKind::Segments => span.muted { " and below" },
            PathKind::Exact => span.muted { " exactly" },
            PathKind::Regex => span.muted { " as an expression" },
        }
        @if !group.case_sensitive { span.muted { " in any case" } }
        @for header in group.conditions() { br; "header " (condition(header)) }
        @for parameter in &group.query_parameters { br; "parameter " (condition(parameter)) }
        @if group.precedence != 0 { br; span.muted { "precedence " (group.precedence) } }
    }
}

fn condition(condition: &Condition) -> Markup {
    html! {
        code {
            (condition.name)
            @if !condition.value.is_empty() {
                @if condition.regex { " ~ " } @else { ": " } (condition.value)
            }
        }
    }
}

pub(super) fn target(scene: &Scene, member: &MemberInfo) -> Markup {
    let clusters = &scene.served.gateway.clusters;
    let cluster = member.cluster.as_ref().and_then(|name| clusters.get(name));
    html! {
        div {
            @match member.kind {
                MemberKind::Redirect => "redirected to ",
                MemberKind::Shadow => "copies to ",
                MemberKind::Route => {},
            }
            @match cluster {
                None => code { (member.service) },
                Some(cluster) => {
                    a href={ "./" (cluster.name) } { (member.service) }
                    @let health = Health::of(scene, cluster);
                    " " span class={ "health " (health.color) } { (health.text) }
                },
            }
            @if member.weight != 100 { " " span.muted { (member.weight) "%" } }
        }
    }
}
