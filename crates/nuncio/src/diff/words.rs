//! Model objects in the words of people.

use std::fmt::Write;

use nuncio_model::Gateway;
use nuncio_model::cluster::{Cluster, Discovery};
use nuncio_model::listener::{Listener, Transport};
use nuncio_model::route::{
    Action, PathMatch, Redirect, RedirectPath, RedirectScheme, Route, RouteMatch, StringMatch,
};

/// What a route matches; equal for routes that share their requests.
pub(super) fn matches(matches: &RouteMatch) -> String {
    let mut words = match &matches.path {
        PathMatch::Prefix(path) => format!("prefix {path}"),
        PathMatch::Segments(path) => format!("path {path} and below"),
        PathMatch::Exact(path) => format!("path {path}"),
        PathMatch::Regex(regex) => format!("regex {regex}"),
        PathMatch::Connect => "CONNECT".to_owned(),
    };
    if !matches.case_sensitive {
        words.push_str(" in any case");
    }
    for header in &matches.headers {
        let _ = write!(words, ", {} {}", header.name, condition(&header.value));
    }
    for parameter in &matches.query_parameters {
        let condition = condition(&parameter.value);
        let _ = write!(words, ", query {} {condition}", parameter.name);
    }
    words
}

fn condition(value: &StringMatch) -> String {
    match value {
        StringMatch::Exact(text) => format!("= {text}"),
        StringMatch::Prefix(text) => format!("= {text}*"),
        StringMatch::Suffix(text) => format!("= *{text}"),
        StringMatch::Regex(regex) => format!("~ {regex}"),
    }
}

/// Where requests go, or what they are answered with.
pub(super) fn target(gateway: &Gateway, route: &Route) -> String {
    match &route.action {
        Action::Forward(forward) => service(gateway, &forward.cluster),
        Action::Redirect(to) => redirect(to),
        Action::DirectResponse { status, .. } => format!("answer {status}"),
    }
}

/// What is behind a cluster, whatever the cluster is called.
pub(super) fn service(gateway: &Gateway, cluster: &str) -> String {
    match gateway.clusters.get(cluster) {
        Some(cluster) => upstream(cluster),
        None => cluster.to_owned(),
    }
}

pub(super) fn upstream(cluster: &Cluster) -> String {
    let tls = if cluster.tls.is_some() { " (TLS)" } else { "" };
    let place = match &cluster.discovery {
        Discovery::Eds(name) => name.to_string(),
        Discovery::Static(endpoints) if endpoints.is_empty() => "nothing".to_owned(),
        Discovery::Static(endpoints) => {
            let endpoints = endpoints.iter();
            let places =
                endpoints.map(|e| std::net::SocketAddr::new(e.address, e.port).to_string());
            places.collect::<Vec<_>>().join(", ")
        }
        Discovery::Pipe(path) => format!("socket {path}"),
        Discovery::Dns { host, port, .. } => format!("{host}:{port}"),
    };
    format!("{place}{tls}")
}

fn redirect(to: &Redirect) -> String {
    let mut words = String::from("redirect");
    if let Some(scheme) = to.scheme {
        words.push_str(match scheme {
            RedirectScheme::Http => " to http",
            RedirectScheme::Https => " to https",
        });
    }
    if let Some(host) = &to.host {
        let _ = write!(words, " to host {host}");
    }
    match &to.path {
        RedirectPath::Keep | RedirectPath::Regex { .. } => {}
        RedirectPath::Full(path) => {
            let _ = write!(words, " to path {path}");
        }
        RedirectPath::Prefix(path) => {
            let _ = write!(words, " to prefix {path}");
        }
    }
    words
}

pub(super) fn listener(listener: &Listener) -> String {
    let transport = match listener.transport {
        Transport::Tcp => "TCP",
        Transport::Quic => "UDP",
    };
    let address = std::net::SocketAddr::new(listener.address, listener.port);
    format!("{} on {address} ({transport})", listener.name)
}
