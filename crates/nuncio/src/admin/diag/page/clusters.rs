//! Clusters, with the endpoints that Envoy has and how they do.

use maud::{Markup, html};
use nuncio_model::cluster::{Cluster, Discovery};

use super::super::clusters::{Health, endpoints, references, stats_name};
use super::super::scene::Scene;
use super::{Paged, View, notes, search, table};

/// Endpoints that are shown of one cluster.
const ENDPOINTS: usize = 20;

pub(super) fn clusters(scene: &Scene, view: &View) -> Markup {
    let upstreams = &scene.served.inventory.upstreams;
    let service = |cluster: &Cluster| upstreams.get(&cluster.name).map_or("", |of| &of.service);
    let clusters = scene.served.gateway.clusters.values();
    let found: Vec<&Cluster> = clusters
        .map(AsRef::as_ref)
        .filter(|cluster| view.finds(&[&cluster.name, service(cluster), stats_name(cluster)]))
        .collect();
    let page = Paged::new(&found, view);
    let users = references(scene);
    let rows = html! {
        @for cluster in page.items {
            tr {
                td { a href={ "./" (cluster.name) } { (service(cluster)) } br; span.muted { (cluster.name) } }
                td { (health(scene, cluster)) }
                td { (members(scene, cluster)) }
                td {
                    @let count = users.get(&*cluster.name).map_or(0, Vec::len);
                    (count) @if count == 1 { " Mapping" } @else { " Mappings" }
                    (notes(scene, |id| *id == *cluster.origin.resource))
                }
            }
        }
    };
    html! {
        h1 { "Clusters" }
        @if scene.stats.is_none() { p { span.badge.warning { "no answer" } " Envoy does not say how its upstreams do." } }
        (search(view, "Service or name"))
        (page.summary("clusters"))
        @if !page.items.is_empty() {
            (table("Clusters", &["Service", "Health", "Endpoints", "Used by"], &rows))
        }
        (page.links(view))
    }
}

pub(super) fn health(scene: &Scene, cluster: &Cluster) -> Markup {
    let health = Health::of(scene, cluster);
    let counts = scene
        .stats
        .as_ref()
        .and_then(|stats| stats.get(stats_name(cluster)));
    html! {
        span class={ "health " (health.color) } { (health.text) }
        @if let Some(counts) = counts {
            @if let (Some(healthy), Some(total)) = (counts.healthy, counts.total) {
                br; (healthy) " of " (total) " endpoints healthy"
            }
            @if let Some(completed) = counts.completed {
                br; (completed) " requests, " (counts.server_errors.unwrap_or(0)) " failed"
            }
        }
    }
}

pub(super) fn members(scene: &Scene, cluster: &Cluster) -> Markup {
    let live = scene
        .endpoints
        .as_ref()
        .and_then(|all| all.get(&*cluster.name));
    let known = endpoints(scene, cluster);
    html! {
        @match live {
            Some(live) if !live.is_empty() => {
                @for endpoint in live.iter().take(ENDPOINTS) {
                    div {
                        code { (endpoint.address) } " "
                        @if endpoint.problems.is_empty() { span.health.green { "healthy" } }
                        @else { span.health.red { (endpoint.problems.join(", ")) } }
                    }
                }
                @if live.len() > ENDPOINTS { div.muted { "and " (live.len() - ENDPOINTS) " more" } }
            },
            _ => {
                @match &cluster.discovery {
                    Discovery::Dns { host, port, .. } => { "DNS " code { (host) ":" (port) } },
                    Discovery::Pipe(_) => "Envoy's admin interface",
                    Discovery::Eds(_) | Discovery::Static(_) if known.is_empty() => "none: requests are answered with 503",
                    _ => {
                        @for endpoint in known.iter().take(ENDPOINTS) {
                            div { code { (endpoint.address) ":" (endpoint.port) } }
                        }
                        @if known.len() > ENDPOINTS { div.muted { "and " (known.len() - ENDPOINTS) " more" } }
                    },
                }
            },
        }
    }
}
