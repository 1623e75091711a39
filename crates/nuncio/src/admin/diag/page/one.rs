//! All that is known of one group, cluster or resource.

use axum::response::Response;
use maud::{Markup, html};

use super::super::document::{About, Document};
use super::super::elements;
use super::super::scene::Scene;
use super::{clusters, notes, routes, table, whole};

pub(in crate::admin::diag) fn one(document: &Document<'_>, key: &str) -> Response {
    let scene = document.scene;
    let inventory = &scene.served.inventory;
    let body = html! {
        @match &document.about {
            About::Group(index) => (group(scene, *index)),
            About::Cluster(name) => (cluster(scene, name)),
            _ => h1 { (key) },
        }
        @if matches!(&document.about, About::TcpGroup) {
            @for group in inventory.tcp_groups.iter().filter(|group| key == format!("grp-{}", group.id)) {
                p { "Connections to port " (group.port) }
            }
        }
        (resources(document))
        p { a href={ "./" (key) "?json=true" } { "The same as JSON" } }
    };
    whole(scene, key, &body)
}

fn group(scene: &Scene, index: usize) -> Markup {
    let group = &scene.served.inventory.groups[index];
    html! {
        h1 { "Route " (index + 1) }
        p { (routes::request(group)) }
        h2 { "Goes to" }
        @for member in &group.members { (routes::target(scene, member)) }
        @if !group.rewrite.is_empty() { p { "The prefix becomes " code { (group.rewrite) } } }
        (notes(scene, |id| group.members.iter().any(|member| *member.resource == *id)))
    }
}

fn cluster(scene: &Scene, name: &str) -> Markup {
    html! {
        @if let Some(cluster) = scene.served.gateway.clusters.get(name) {
            @let row = html! { tr { td { (clusters::health(scene, cluster)) } td { (clusters::members(scene, cluster)) } } };
            h1 { "Cluster " code { (name) } }
            (table("Cluster", &["Health", "Endpoints"], &row))
        }
    }
}

/// What the resources say that it came of, and what Envoy was told.
fn resources(document: &Document<'_>) -> Markup {
    let envoy = elements::envoy_resources(document);
    html! {
        @for (key, text) in elements::serializations(document) {
            h2 { (key) }
            pre tabindex="0" { (text) }
            @if let Some(kinds) = envoy.get(key) {
                details {
                    summary { "What Envoy is told of it" }
                    @for (kind, values) in kinds {
                        @for value in values { h3 { (kind) } pre tabindex="0" { (format!("{value:#}")) } }
                    }
                }
            }
        }
    }
}
