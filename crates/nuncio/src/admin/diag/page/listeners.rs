//! Listeners: ports, and what becomes of connections to them.

use maud::{Markup, html};
use nuncio_model::listener::{Listener, Proxy, Transport};

use super::super::scene::Scene;
use super::{notes, table};

pub(super) fn listeners(scene: &Scene) -> Markup {
    let listeners = &scene.served.gateway.listeners;
    let in_effect = |id: &nuncio_model::ResourceId| {
        listeners
            .values()
            .any(|listener| *listener.origin.resource == *id)
    };
    html! {
        h1 { "Listeners" }
        @if listeners.is_empty() { p { "There is none: no port is open." } }
        @for listener in listeners.values() { (one(scene, listener)) }
        @let others = notes(scene, |id| &*id.kind == "Listener" && !in_effect(id));
        @if !others.0.is_empty() {
            h2 { "Not in effect" }
            (others)
        }
    }
}

fn one(scene: &Scene, listener: &Listener) -> Markup {
    let transport = match listener.transport {
        Transport::Tcp => "TCP",
        Transport::Quic => "UDP (HTTP/3)",
    };
    let rows = html! {
        @for chain in &listener.filter_chains {
            tr {
                td {
                    @match &chain.tls {
                        None if listener.filter_chains.len() == 1 => "every connection",
                        None => "every other connection",
                        Some(tls) => {
                            "TLS for "
                            @match &tls.server_name {
                                Some(name) => code { (name) },
                                None => "every other name",
                            }
                        },
                    }
                }
                td {
                    @match &chain.proxy {
                        Proxy::Http(http) => { "HTTP by table " code { (http.route_table) } },
                        Proxy::Tcp(tcp) => {
                            "bytes to "
                            @for to in &tcp.clusters { code { (to.cluster) } " " }
                        },
                    }
                }
                td { (chain.origin.resource) }
            }
        }
    };
    html! {
        section aria-labelledby=(listener.name) {
            h2 id=(listener.name) { (listener.name) " " span.muted { (listener.address) ":" (listener.port) " " (transport) } }
            p.muted { "from " (listener.origin.resource) }
            (notes(scene, |id| *id == *listener.origin.resource))
            (table(&format!("Connections to {}", listener.name), &["Connection", "Becomes", "From"], &rows))
        }
    }
}
