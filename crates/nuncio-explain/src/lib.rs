//! What becomes of a request, and why: the model evaluated as Envoy does, without Envoy.
//!
//! ```text
//!  Request ─▶ connection ─▶ arrival ─▶ virtual_host ─▶ choice ─▶ action ─▶ Explanation
//!             (listener,    (path,      (domain)       (routes,  (forward,     │
//!              filter        host,                      shares,   redirect,    ├─▶ text
//!              chain)        scheme)                    closest)  upgrade,     └─▶ JSON
//!                                                                 CORS, 503)
//! ```
//!
//! A module for each of Envoy's stages, in its order. Everything is pure. What Envoy does is not in
//! its documentation for the most part, so two tests ask a real one, with random requests.
//! `crates/nuncio/tests/routes.rs` holds to it which of random routes is taken and where they
//! redirect; `crates/nuncio/tests/explain_envoy` holds to a running gateway, on random manifests,
//! whether there is a connection, status and response headers, which cluster is asked, and the
//! method, path, host and headers that the upstream gets, copies and timeouts too; of weights, that
//! all that is said comes up and nothing else.
//!
//! Not said, and so not held to anything: what is of the connection, the time or the body
//! (`x-request-id`, `x-forwarded-for`, `date`, `server`, lengths and types), the words of error
//! responses, and the headers that a route adds to a 400 for the request's path. A request over
//! HTTP/2 is taken to be one over HTTP/1.1: that says no `:scheme` beside `x-forwarded-proto`.

mod action;
mod arrival;
mod checks;
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
mod upgrade;
mod virtual_host;

use nuncio_model::Gateway;

pub use explanation::{
    Arrival, Closest, Cluster, ClusterShare, Difference, Explanation, Filter, FilterChain, Forward,
    HeaderChange, Listener, Outcome, Route, Share, Source, VirtualHost,
};
pub use request::{Request, RequestError, Scheme};
pub use text::Line;

use connection::Connected;
use pattern::Patterns;

/// Says what a gateway does with requests. What the first question takes long for, the next have.
pub struct Explainer<'g> {
    gateway: &'g Gateway,
    patterns: Patterns,
}

impl<'g> Explainer<'g> {
    pub fn new(gateway: &'g Gateway) -> Self {
        Self {
            gateway,
            patterns: Patterns::default(),
        }
    }

    pub fn explain(&self, request: &Request) -> Explanation {
        let mut explanation = Explanation::of(request);
        match connection::connect(self.gateway, request, &mut explanation) {
            Connected::Http { listener, http } => {
                let connection = arrival::Connection { listener, http };
                self.decide(request, &connection, &mut explanation);
            }
            Connected::Ended(outcome) => explanation.end(outcome),
        }
        explanation
    }

    /// What is done with a request that a connection manager has.
    fn decide(
        &self,
        request: &Request,
        connection: &arrival::Connection<'_>,
        explanation: &mut Explanation,
    ) {
        let (gateway, patterns) = (self.gateway, &self.patterns);
        let arrived = match arrival::arrive(request, connection) {
            Ok(arrived) => arrived,
            Err(outcome) => return explanation.end(outcome),
        };
        explanation.arrival = Some(arrived.described());
        let table = &gateway.route_tables[&connection.http.route_table];
        let found = virtual_host::find(table, &arrived.authority);
        explanation.virtual_host = found.as_ref().map(virtual_host::Found::described);
        let choices = match &found {
            Some(found) => choice::choose(gateway, patterns, found.host, &arrived),
            None => Vec::new(),
        };
        let stopped = filters::ask(gateway, request, connection, &arrived, explanation);
        let Some(host) = found.map(|found| found.host) else {
            let refused = checks::of(gateway, connection.http, None, &arrived).refused;
            let without_host = || closest::without_host(table, connection, &arrived);
            return explanation.end(stopped.or(refused).unwrap_or_else(without_host));
        };
        let shared = choices.len() > 1;
        for chosen in &choices {
            let checks = checks::of(gateway, connection.http, chosen.route, &arrived);
            let taken = chosen.route.map(|route| action::Taken {
                gateway,
                patterns,
                options: &connection.http.options,
                host,
                route,
                arrived: &arrived,
            });
            let outcome = match (taken, stopped.as_ref().or(checks.refused.as_ref())) {
                (Some(taken), _) => taken.outcome(stopped.as_ref(), checks.refused.as_ref()),
                (None, Some(refused)) => refused.clone(),
                (None, None) => closest::without_route(
                    patterns,
                    host,
                    connection,
                    &arrived,
                    shared,
                    explanation,
                ),
            };
            explanation.outcomes.push(Share {
                percent: chosen.share,
                route: chosen.described(),
                checks: match stopped {
                    Some(_) => Vec::new(),
                    None => checks.filters,
                },
                outcome,
            });
        }
    }
}
