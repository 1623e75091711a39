//! What becomes of a request, and why: the model evaluated as Envoy does, without Envoy.
//!
//! ```text
//!  Request ─▶ connection ─▶ arrival ─▶ virtual_host ─▶ choice ─▶ action ─▶ Explanation
//!             (listener,    (path,      (domain)       (routes,  (forward,     │
//!              filter        host,                      shares,   redirect,    ├─▶ text
//!              chain)        scheme)                    closest)  CORS, 503)   └─▶ JSON
//! ```
//!
//! A module for each of Envoy's stages, in its order. Everything is pure. What Envoy does is not in
//! its documentation for the most part. `crates/nuncio/tests/routes.rs` asks a real one, on random
//! tables and requests, which route it takes and where it redirects; what is forwarded (rewrites,
//! headers, CORS) is not held to Envoy yet.

mod action;
mod arrival;
mod choice;
mod closest;
mod connection;
mod cors;
mod explanation;
mod filters;
mod headers;
mod matching;
mod path;
mod pattern;
mod request;
mod text;
mod virtual_host;

use nuncio_model::Gateway;

pub use explanation::{
    Arrival, Closest, Cluster, ClusterShare, Difference, Explanation, Filter, FilterChain, Forward,
    HeaderChange, Listener, Outcome, Route, Share, Source, VirtualHost,
};
pub use request::{Request, RequestError, Scheme};
pub use text::Line;

use connection::Connected;

/// Says what the gateway does with a request.
pub fn explain(gateway: &Gateway, request: &Request) -> Explanation {
    let mut explanation = Explanation::of(request);
    match connection::connect(gateway, request, &mut explanation) {
        Connected::Http { listener, http } => {
            let connection = arrival::Connection { listener, http };
            decide(gateway, request, &connection, &mut explanation);
        }
        Connected::Ended(outcome) => explanation.end(outcome),
    }
    explanation
}

/// What is done with a request that a connection manager has.
fn decide(
    gateway: &Gateway,
    request: &Request,
    connection: &arrival::Connection<'_>,
    explanation: &mut Explanation,
) {
    let arrived = match arrival::arrive(request, connection) {
        Ok(arrived) => arrived,
        Err(outcome) => return explanation.end(outcome),
    };
    explanation.arrival = Some(arrived.described());
    let table = &gateway.route_tables[&connection.http.route_table];
    let found = virtual_host::find(table, &arrived.authority);
    explanation.virtual_host = found.as_ref().map(virtual_host::Found::described);
    if let Some(outcome) = filters::ask(gateway, request, connection, &arrived, explanation) {
        return explanation.end(outcome);
    }
    let Some(host) = found.map(|found| found.host) else {
        return explanation.end(closest::without_host(table, connection, &arrived));
    };
    let choices = choice::choose(gateway, host, &arrived);
    let shared = choices.len() > 1;
    for chosen in &choices {
        let outcome = match chosen.route {
            Some(route) => action::of(gateway, host, route, &arrived),
            None => closest::without_route(host, connection, &arrived, shared, explanation),
        };
        explanation.outcomes.push(Share {
            percent: chosen.percent,
            route: chosen.described(),
            outcome,
        });
    }
}
