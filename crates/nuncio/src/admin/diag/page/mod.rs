//! The diagnostics as a page: rendered here, without scripts, so that it works wherever it is looked
//! at. Links are relative: the page is also served through the gateway, below other prefixes.

mod attempt;
mod clusters;
mod gateways;
mod hosts;
mod listeners;
mod one;
mod overview;
mod report;
mod routes;

use axum::response::{IntoResponse, Response};
use http::header;
use maud::{DOCTYPE, Markup, html};
use nuncio_model::{Entry, ResourceId, Severity};
use serde::Deserialize;

pub(super) use one::one;

use super::scene::Scene;

const STYLE: &str = include_str!("style.css");

/// How many routes, clusters, … a page has.
const PER_PAGE: usize = 50;

/// Nothing but the page's own stylesheet is loaded, and nothing runs.
const POLICY: &str = "default-src 'none'; style-src 'self'; img-src data:; form-action 'self'; \
                      base-uri 'none'; frame-ancestors 'none'";

#[derive(Default, Deserialize)]
#[serde(default)]
pub(in crate::admin) struct View {
    show: Section,
    /// What is searched for.
    q: String,
    /// From 1.
    page: usize,
    /// Of the request to try.
    method: String,
    url: String,
    headers: String,
}

#[derive(Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Section {
    #[default]
    Overview,
    Listeners,
    Hosts,
    Routes,
    Gateways,
    Clusters,
    Report,
    Try,
}

const SECTIONS: [(Section, &str, &str); 8] = [
    (Section::Overview, "overview", "Overview"),
    (Section::Listeners, "listeners", "Listeners"),
    (Section::Hosts, "hosts", "Hosts"),
    (Section::Routes, "routes", "Routes"),
    (Section::Gateways, "gateways", "Gateway API"),
    (Section::Clusters, "clusters", "Clusters"),
    (Section::Report, "report", "Report"),
    (Section::Try, "try", "Try a request"),
];

impl View {
    fn name(&self) -> &'static str {
        let section = SECTIONS.iter().find(|section| section.0 == self.show);
        section.map_or("", |section| section.1)
    }

    /// Whether something has what is searched for, in upper or lower case.
    fn finds(&self, texts: &[&str]) -> bool {
        let wanted = self.q.trim().to_lowercase();
        wanted.is_empty()
            || texts
                .iter()
                .any(|text| text.to_lowercase().contains(&wanted))
    }
}

pub(super) fn page(scene: &Scene, view: &View) -> Response {
    let body = match view.show {
        Section::Overview => overview::overview(scene),
        Section::Listeners => listeners::listeners(scene),
        Section::Hosts => hosts::hosts(scene, view),
        Section::Routes => routes::routes(scene, view),
        Section::Gateways => gateways::gateways(scene, view),
        Section::Clusters => clusters::clusters(scene, view),
        Section::Report => report::report(scene, view),
        Section::Try => attempt::attempt(scene, view),
    };
    whole(scene, view.name(), &body)
}

fn whole(scene: &Scene, section: &str, body: &Markup) -> Response {
    let errors = count(scene, Severity::Error);
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                title { "nuncio: " (section) }
                link rel="stylesheet" href="../diag-style.css";
                link rel="icon" href="data:,";
            }
            body {
                header {
                    a.skip href="#main" { "Skip to the content" }
                    a.brand href="./" { "nuncio" }
                    nav aria-label="Sections" {
                        @for (_, name, title) in SECTIONS {
                            a href={ "./?show=" (name) } aria-current=[(name == section).then_some("page")] {
                                (title)
                                @if name == "report" && errors > 0 {
                                    " " span.badge.error { (errors) }
                                }
                            }
                        }
                    }
                }
                @if let Some(banner) = &scene.banner {
                    p.banner role="note" { (banner) }
                }
                main #main { (body) }
                footer { "nuncio " (crate::identity::VERSION) " on " (scene.identity.hostname) }
            }
        }
    };
    let headers = [
        (header::CONTENT_TYPE, "text/html; charset=utf-8"),
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::CACHE_CONTROL, "no-store"),
    ];
    (headers, page.into_string()).into_response()
}

/// `/ambassador/v0/diag-style.css`.
pub(in crate::admin) async fn style() -> Response {
    let headers = [
        (header::CONTENT_TYPE, "text/css; charset=utf-8"),
        (header::CACHE_CONTROL, "no-cache"),
    ];
    (headers, STYLE).into_response()
}

fn count(scene: &Scene, severity: Severity) -> usize {
    let entries = scene.report.entries().iter();
    entries.filter(|entry| entry.severity == severity).count()
}

/// What the report says of some resources, beside them.
fn notes(scene: &Scene, of: impl Fn(&ResourceId) -> bool) -> Markup {
    let entries: Vec<&Entry> = scene
        .report
        .entries()
        .iter()
        .filter(|entry| of(&entry.resource))
        .collect();
    html! {
        @if !entries.is_empty() {
            ul.notes { @for entry in entries { li { (note(entry, false)) } } }
        }
    }
}

fn note(entry: &Entry, with_resource: bool) -> Markup {
    html! {
        span class={ "badge " (entry.severity) } { (entry.severity) } " "
        @if with_resource { strong { (entry.resource) } " " }
        @if !entry.field.is_empty() { code { (entry.field) } " " }
        (entry.message)
        @if let Some(help) = &entry.help { " — " em { (help) } }
        " " span.muted { "[" (entry.reason) "]" }
    }
}

/// The form to search a section with.
fn search(view: &View, label: &str) -> Markup {
    html! {
        form.search method="get" action="./" role="search" {
            input type="hidden" name="show" value=(view.name());
            label for="q" { (label) }
            input #q type="search" name="q" value=(view.q);
            button type="submit" { "Search" }
            @if !view.q.is_empty() {
                a href={ "./?show=" (view.name()) } { "Show all" }
            }
        }
    }
}

/// One page of what was found.
struct Paged<'a, T> {
    items: &'a [T],
    page: usize,
    pages: usize,
    found: usize,
}

impl<'a, T> Paged<'a, T> {
    fn new(found: &'a [T], view: &View) -> Self {
        let pages = found.len().div_ceil(PER_PAGE).max(1);
        let page = view.page.clamp(1, pages);
        let from = (page - 1) * PER_PAGE;
        let to = found.len().min(from + PER_PAGE);
        Self {
            items: &found[from..to],
            page,
            pages,
            found: found.len(),
        }
    }

    fn summary(&self, what: &str) -> Markup {
        html! {
            p.muted role="status" {
                (self.found) " " (what)
                @if self.pages > 1 { ", page " (self.page) " of " (self.pages) }
            }
        }
    }

    fn links(&self, view: &View) -> Markup {
        let to = |page: usize| {
            let q = encoded(&view.q);
            format!("./?show={}&q={q}&page={page}", view.name())
        };
        html! {
            @if self.pages > 1 {
                nav.pages aria-label="Pages" {
                    @if self.page > 1 {
                        a href=(to(1)) { "First" }
                        a rel="prev" href=(to(self.page - 1)) { "Previous" }
                    }
                    span { (self.page) " of " (self.pages) }
                    @if self.page < self.pages {
                        a rel="next" href=(to(self.page + 1)) { "Next" }
                        a href=(to(self.pages)) { "Last" }
                    }
                }
            }
        }
    }
}

/// For a query.
fn encoded(text: &str) -> String {
    text.bytes()
        .map(|byte| match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' => {
                char::from(byte).to_string()
            }
            _ => format!("%{byte:02X}"),
        })
        .collect()
}

/// A table that scrolls by itself where the screen is narrow.
fn table(label: &str, heads: &[&str], rows: &Markup) -> Markup {
    html! {
        div.scroll role="region" aria-label=(label) tabindex="0" {
            table {
                thead { tr { @for head in heads { th scope="col" { (head) } } } }
                tbody { (rows) }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_are_within_what_was_found() {
        let found: Vec<usize> = (0..120).collect();
        let page = |page| {
            let view = View {
                page,
                ..View::default()
            };
            Paged::new(&found, &view).items.to_vec()
        };
        assert_eq!(page(0), (0..50).collect::<Vec<_>>());
        assert_eq!(page(3), (100..120).collect::<Vec<_>>());
        assert_eq!(page(99), page(3));
        assert!(Paged::<usize>::new(&[], &View::default()).items.is_empty());
    }

    #[test]
    fn a_search_stays_one_value_of_a_query() {
        assert_eq!(encoded("a&b=ü/"), "a%26b%3D%C3%BC%2F");
    }
}
