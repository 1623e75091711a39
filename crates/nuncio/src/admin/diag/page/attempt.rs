//! A request to try: what would become of it, and why. Nothing is sent.

use maud::{Markup, html};
use nuncio_explain::{Explainer, Line, Request};

use super::super::scene::Scene;
use super::View;
use crate::explain::not_in_effect;

const METHODS: [&str; 7] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"];

pub(super) fn attempt(scene: &Scene, view: &View) -> Markup {
    html! {
        h1 { "Try a request" }
        p { "What the gateway would do with it, and why. Nothing is sent." }
        (form(view))
        @if !view.url.is_empty() {
            section aria-labelledby="answer" {
                h2 #answer { "What becomes of it" }
                @match explain(scene, view) {
                    Ok(lines) => (answer(&lines)),
                    Err(what) => p role="alert" { span.badge.error { "error" } " " (what) },
                }
            }
        }
    }
}

fn form(view: &View) -> Markup {
    let method = view.method.as_str();
    html! {
        form.try method="get" action="./" {
            input type="hidden" name="show" value="try";
            label for="method" { "Method" }
            select #method name="method" {
                @for each in METHODS { option selected[each == method] { (each) } }
                @if !method.is_empty() && !METHODS.contains(&method) {
                    option selected { (method) }
                }
            }
            label for="url" { "URL" }
            input #url type="text" name="url" required value=(view.url)
                placeholder="http://shop.example:8080/cart?id=1" spellcheck="false" autocapitalize="off";
            label for="headers" { "Headers, one a line" }
            textarea #headers name="headers" rows="3" placeholder="x-version: 2" spellcheck="false" autocapitalize="off" {
                // The first line break of a textarea is not part of it.
                "\n" (view.headers)
            }
            button type="submit" { "Explain" }
        }
    }
}

fn explain(scene: &Scene, view: &View) -> Result<Vec<Line>, String> {
    let method = Some(view.method.as_str()).filter(|method| !method.is_empty());
    let headers = view.headers.lines().filter(|line| !line.trim().is_empty());
    let request = Request::parse(method.unwrap_or("GET"), view.url.trim(), headers);
    let request = request.map_err(|error| error.to_string())?;
    let mut explanation = Explainer::new(&scene.served.gateway).explain(&request);
    explanation.notes.extend(not_in_effect(&scene.report));
    Ok(explanation.lines())
}

/// Lines without a label of their own go on with the one before.
fn answer(lines: &[Line]) -> Markup {
    html! {
        dl.answer {
            @for line in lines {
                @if !line.label.is_empty() { dt { (line.label) } }
                dd { (line.text) }
            }
        }
    }
}
