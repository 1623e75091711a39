//! Envoy's admin interface as an upstream.
//!
//! In Emissary it is at `127.0.0.1:8001`, and Mappings lead dashboards and scrapes there. Here it is
//! on a Unix socket, and what comes through a Mapping can read and not change: GET and HEAD reach
//! it, and for these Envoy answers 405 on every path that changes something.

use std::sync::Arc;

use nuncio_model::route::{
    Action, HeaderAddition, HeaderEdits, HeaderMatch, Route, RouteMatch, StringMatch,
};
use nuncio_model::value::{FormatString, HeaderName, MatchHeaderName, Regex};
use nuncio_model::{Origin, Reason, Report};

use crate::fields::mistake::Mistake;

const PORT: u16 = 8001;

/// Whether a service is Envoy's admin interface.
pub(super) fn is_meant(host: &str, port: u16) -> bool {
    port == PORT && matches!(host, "127.0.0.1" | "localhost")
}

/// Says what a Mapping has there: on a developer's machine it may have been meant for another.
pub(super) fn note(report: &mut Report, at: &Origin) {
    report
        .notice(
            at,
            Reason::NoEffect,
            "this is Envoy's admin interface: GET and HEAD reach it, other requests are answered 405",
        )
        .help(format!(
            "let an upstream of your own listen on another port than {PORT}"
        ));
}

pub(super) fn without_tls() -> Mistake {
    Mistake::because(
        "spec.service",
        Reason::Conflict,
        "Envoy's admin interface is not reached by TLS",
        format!("write 127.0.0.1:{PORT}, without https:// and without tls"),
    )
}

pub(super) fn no_shadow() -> Mistake {
    Mistake::because(
        "spec.shadow",
        Reason::Conflict,
        "copies of requests are of no use to Envoy's admin interface",
        "remove shadow, or name an upstream of your own",
    )
}

/// What Envoy sends by itself is written, and this is only read.
pub(super) fn no_service() -> Mistake {
    Mistake::because(
        "spec.service",
        Reason::Conflict,
        "Envoy's admin interface takes nothing that is sent to it",
        format!("name a service of your own, on another port than {PORT}"),
    )
}

/// Of a connection that is passed on as it is nobody sees what is asked.
pub(super) fn no_bytes() -> Mistake {
    Mistake::because(
        "spec.service",
        Reason::Conflict,
        "Envoy's admin interface is only read, by requests",
        "write a Mapping, or name an upstream of your own",
    )
}

/// It decides nothing about requests.
pub(super) fn not_asked() -> Mistake {
    Mistake::because(
        "spec.service",
        Reason::Conflict,
        "Envoy's admin interface is not asked about requests",
        "name a service of your own, on another port than 8001",
    )
}

/// In place of a route to the admin interface: one that takes GET and HEAD there, and one that
/// answers the rest of what it matches.
pub(super) fn read_only(route: &Arc<Route>) -> [Arc<Route>; 2] {
    let mut reads = route.matches.headers.clone();
    reads.push(HeaderMatch {
        name: MatchHeaderName::new(":method").expect("invariant: every request has a method"),
        value: StringMatch::Regex(Regex::new("GET|HEAD").expect("invariant: it is a regex")),
    });
    let reads = Route {
        matches: RouteMatch {
            headers: reads,
            ..route.matches.clone()
        },
        ..(**route).clone()
    };
    let rest = Route {
        origin: route.origin.clone(),
        matches: route.matches.clone(),
        action: Action::DirectResponse {
            status: 405,
            body: "Envoy's admin interface is read here, by GET and HEAD\n".into(),
        },
        request_headers: HeaderEdits::default(),
        response_headers: HeaderEdits {
            add: vec![HeaderAddition {
                name: HeaderName::new("allow").expect("invariant: the name is a token"),
                value: FormatString::new("GET, HEAD").expect("invariant: it has no operators"),
                append: false,
            }],
            remove: Vec::new(),
        },
        cors: None,
        authorization: None,
    };
    [Arc::new(reads), Arc::new(rest)]
}
