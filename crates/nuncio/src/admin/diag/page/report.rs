//! The whole report.

use maud::{Markup, html};
use nuncio_model::Entry;

use super::super::scene::Scene;
use super::{Paged, View, note, search};

pub(super) fn report(scene: &Scene, view: &View) -> Markup {
    let mut found: Vec<&Entry> = scene
        .report
        .entries()
        .iter()
        .filter(|entry| view.finds(&[&entry.to_string(), &entry.severity.to_string()]))
        .collect();
    found.sort_by_key(|entry| std::cmp::Reverse(entry.severity));
    let page = Paged::new(&found, view);
    html! {
        h1 { "Report" }
        p { "What is wrong with a resource, and what to write instead; errors first." }
        (search(view, "Resource, field, text or severity"))
        (page.summary("entries"))
        @if !page.items.is_empty() {
            ul.notes { @for entry in page.items { li { (note(entry, true)) } } }
        }
        (page.links(view))
    }
}
