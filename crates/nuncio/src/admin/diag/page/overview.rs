//! How everything is, at a glance.

use maud::{Markup, html};
use nuncio_model::Severity;

use super::super::scene::Scene;
use super::super::system::{human, is_alive, since_update};
use super::{count, note};

/// Entries of the report that the overview has.
const FIRST: usize = 10;

pub(super) fn overview(scene: &Scene) -> Markup {
    let inventory = &scene.served.inventory;
    let gateway = &scene.served.gateway;
    let alive = is_alive(&scene.envoy);
    let serves = alive && scene.xds.first_config_answered;
    let (errors, warnings) = (
        count(scene, Severity::Error),
        count(scene, Severity::Warning),
    );
    let identity = &scene.identity;
    let counts = [
        ("listeners", "listeners", gateway.listeners.len()),
        ("hosts", "hosts", inventory.hosts.len()),
        ("routes", "routes", inventory.groups.len()),
        ("clusters", "clusters", gateway.clusters.len()),
        ("report", "errors", errors),
        ("report", "warnings", warnings),
    ];
    html! {
        h1 { "Overview" }
        p {
            @if serves { span.badge.good { "serving" } " Envoy serves this configuration." }
            @else if alive { span.badge.warning { "starting" } " Envoy runs and has not taken the first configuration yet." }
            @else { span.badge.error { "down" } " Envoy does not run." }
        }
        ul.tiles {
            @for (section, what, n) in counts {
                li { a href={ "./?show=" (section) } { strong { (n) } " " (what) } }
            }
        }
        @if errors + warnings > 0 {
            section aria-labelledby="report" {
                h2 #report { "What is not as it is written" }
                ul.notes {
                    @let mut entries: Vec<_> = scene.report.entries().iter()
                        .filter(|entry| entry.severity != Severity::Notice).collect();
                    ({ entries.sort_by_key(|entry| std::cmp::Reverse(entry.severity)); "" })
                    @for entry in entries.iter().take(FIRST) { li { (note(entry, true)) } }
                }
                @if errors + warnings > FIRST { p { a href="./?show=report" { "All of the report" } } }
            }
        } @else {
            p { "Everything is in effect as it is written." }
        }
        section aria-labelledby="system" {
            h2 #system { "System" }
            dl {
                dt { "Version" } dd { (crate::identity::VERSION) }
                dt { "Running for" } dd { (human(identity.started.elapsed())) }
                dt { "Last change in effect" } dd { (since_update(scene)) }
                dt { "ambassador_id" } dd { (identity.scope.ambassador_id) }
                dt { "Namespace" } dd { (identity.scope.namespace) }
                dt { "Cluster id" } dd { code { (identity.cluster_id) } }
                dt { "Log level of Envoy" } dd {
                    @if scene.log_levels.is_empty() { "unknown" }
                    @for (level, loggers) in &scene.log_levels {
                        (level) @if scene.log_levels.len() > 1 { " (" (loggers.len()) " loggers) " }
                    }
                }
            }
            p { a href="./?json=true" { "The same as JSON" } }
        }
    }
}
