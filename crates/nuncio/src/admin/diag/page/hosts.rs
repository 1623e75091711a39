//! Hosts: names, their certificates, and what becomes of cleartext requests.

use maud::{Markup, html};
use nuncio_api::getambassador::InsecureAction;

use super::super::scene::Scene;
use super::{Paged, View, notes, search, table};

pub(super) fn hosts(scene: &Scene, view: &View) -> Markup {
    let hosts = &scene.served.inventory.hosts;
    let found: Vec<_> = hosts
        .iter()
        .filter(|host| view.finds(&[&host.hostname, &host.name, &host.namespace]))
        .collect();
    let page = Paged::new(&found, view);
    let rows = html! {
        @for host in page.items {
            tr {
                td { code { (host.hostname) } }
                td {
                    @match &host.certificate {
                        None => "no TLS",
                        Some(secret) => {
                            "Secret " code { (secret) }
                            @if host.client_certificate { ", clients must show a certificate" }
                        },
                    }
                }
                td {
                    @match host.insecure {
                        InsecureAction::Redirect => "redirected to HTTPS",
                        InsecureAction::Route => "served",
                        InsecureAction::Reject => "refused",
                    }
                }
                td {
                    (host.origin.resource)
                    @if host.made { " " span.muted { "(made of it)" } }
                    (notes(scene, |id| *id == *host.origin.resource))
                }
            }
        }
    };
    let in_effect =
        |id: &nuncio_model::ResourceId| hosts.iter().any(|host| *host.origin.resource == *id);
    html! {
        h1 { "Hosts" }
        (search(view, "Hostname, name or namespace"))
        (page.summary("hosts"))
        @if !page.items.is_empty() {
            (table("Hosts", &["Hostname", "TLS", "Cleartext requests", "From"], &rows))
        }
        (page.links(view))
        @let others = notes(scene, |id| &*id.kind == "Host" && !in_effect(id));
        @if !others.0.is_empty() {
            h2 { "Not in effect" }
            (others)
        }
    }
}
