//! What a route does with a request.

use std::net::SocketAddr;

use nuncio_model::Gateway;
use nuncio_model::cluster::{Discovery, Endpoint, UpstreamProtocol};
use nuncio_model::route::{
    self, Action, HostRewrite, PathMatch, PathRewrite, Redirect, RedirectPath, RedirectScheme,
    RedirectStatus, Route, VirtualHost,
};

use crate::arrival::{Arrived, refused};
use crate::cors::{self, Told};
use crate::explanation::{Cluster, ClusterShare, Forward, HeaderChange, Outcome, Source};
use crate::{headers, pattern};

pub(crate) fn of(
    gateway: &Gateway,
    host: &VirtualHost,
    route: &Route,
    arrived: &Arrived,
) -> Outcome {
    let told = route
        .cors
        .as_ref()
        .and_then(|policy| cors::tell(policy, arrived));
    let mut response_headers = match told {
        Some(Told::Preflight(response_headers)) => {
            return Outcome::Preflight {
                status: 200,
                response_headers,
            };
        }
        Some(Told::Beside(headers)) => headers,
        None => Vec::new(),
    };
    response_headers.extend(headers::changes(&route.response_headers, arrived));
    response_headers.extend(headers::changes(&host.response_headers, arrived));
    match &route.action {
        Action::Redirect(to) => redirect(route, to, arrived, response_headers),
        Action::DirectResponse { status, body } => Outcome::DirectResponse {
            status: *status,
            body: body.to_string(),
            response_headers,
        },
        Action::Forward(to) => {
            if let Some(upgrade) = refused_upgrade(to, arrived) {
                return refused(
                    403,
                    format!("an upgrade to {upgrade} is not allowed"),
                    format!("write allow_upgrade: [{upgrade}] into the Mapping"),
                );
            }
            forward(gateway, route, to, arrived, response_headers)
        }
    }
}

fn refused_upgrade(to: &route::Forward, arrived: &Arrived) -> Option<String> {
    let connection = arrived.headers.joined("connection")?.to_ascii_lowercase();
    let asks = connection.split(',').any(|token| token.trim() == "upgrade");
    let upgrade = arrived
        .headers
        .joined("upgrade")
        .filter(|_| asks)?
        .to_ascii_lowercase();
    (!to.upgrades.iter().any(|allowed| **allowed == *upgrade)).then_some(upgrade)
}

fn forward(
    gateway: &Gateway,
    route: &Route,
    to: &route::Forward,
    arrived: &Arrived,
    response_headers: Vec<HeaderChange>,
) -> Outcome {
    let target = cluster(gateway, &to.cluster);
    if target.endpoints.is_empty() {
        return Outcome::Unavailable {
            status: 503,
            why: format!("the cluster {} has no endpoints", target.name),
            help: "see whether the Service has endpoints that are ready".to_owned(),
            cluster: target.name,
        };
    }
    let path = match &to.path_rewrite {
        PathRewrite::None => arrived.path.clone(),
        PathRewrite::Prefix(path) if path.as_str().is_empty() => arrived.path.clone(),
        PathRewrite::Prefix(path) => in_place(route, arrived, path.as_str()),
        PathRewrite::Regex {
            pattern,
            substitution,
        } => by_regex(pattern, substitution, arrived),
    };
    let host = match &to.host_rewrite {
        HostRewrite::None => arrived.authority.clone(),
        HostRewrite::Literal(host) => host.to_string(),
        // Only a name that is looked up is a name.
        HostRewrite::Auto => match gateway.clusters.get(&to.cluster).map(|c| &c.discovery) {
            Some(Discovery::Dns { host, .. }) => host.to_string(),
            _ => arrived.authority.clone(),
        },
    };
    let mirrors = to.mirrors.iter().map(|mirror| ClusterShare {
        percent: mirror.percent,
        cluster: cluster(gateway, &mirror.cluster),
    });
    Outcome::Forward(Box::new(Forward {
        cluster: target,
        method: arrived.method.clone(),
        path,
        host,
        request_headers: headers::changes(&route.request_headers, arrived),
        response_headers,
        mirrors: mirrors.collect(),
        timeout_ms: u64::try_from(to.timeout.as_millis())
            .ok()
            .filter(|ms| *ms > 0),
        retry_on: to
            .retry
            .iter()
            .flat_map(|retry| &retry.retry_on)
            .map(ToString::to_string)
            .collect(),
    }))
}

/// A text in place of what the match took of the path.
fn in_place(route: &Route, arrived: &Arrived, text: &str) -> String {
    let taken = match &route.matches.path {
        PathMatch::Prefix(path) | PathMatch::Exact(path) => path.as_str().len(),
        PathMatch::Segments(path) => path.as_str().len(),
        PathMatch::Regex(_) => arrived.path_alone().len(),
    };
    format!("{text}{}", arrived.path.get(taken..).unwrap_or_default())
}

/// The query string stays; a path of nothing leaves the path as it was.
fn by_regex(pattern: &nuncio_model::value::Regex, substitution: &str, arrived: &Arrived) -> String {
    let path = arrived.path_alone();
    let query = &arrived.path[path.len()..];
    let rewritten = pattern::replace_all(pattern, path, substitution) + query;
    match rewritten.is_empty() {
        true => arrived.path.clone(),
        false => rewritten,
    }
}

fn redirect(
    route: &Route,
    to: &Redirect,
    arrived: &Arrived,
    response_headers: Vec<HeaderChange>,
) -> Outcome {
    let scheme = match to.scheme {
        Some(RedirectScheme::Http) => "http",
        Some(RedirectScheme::Https) => "https",
        None => &arrived.scheme,
    };
    let host = match &to.host {
        Some(host) => host.as_str(),
        None => host_for(to, scheme, arrived),
    };
    let port = to.port.map(|port| format!(":{port}")).unwrap_or_default();
    let path = match &to.path {
        RedirectPath::Keep => arrived.path.clone(),
        RedirectPath::Full(path) if path.as_str().contains('?') => path.to_string(),
        RedirectPath::Full(path) => {
            let query = &arrived.path[arrived.path_alone().len()..];
            format!("{path}{query}")
        }
        RedirectPath::Prefix(path) => in_place(route, arrived, path.as_str()),
        RedirectPath::Regex {
            pattern,
            substitution,
        } => by_regex(pattern, substitution, arrived),
    };
    let slash = if path.starts_with('/') { "" } else { "/" };
    let insecure = to.scheme == Some(RedirectScheme::Https)
        && to.host.is_none()
        && arrived.forwarded_proto != "https";
    Outcome::Redirect {
        status: match to.status {
            RedirectStatus::MovedPermanently => 301,
            RedirectStatus::Found => 302,
            RedirectStatus::SeeOther => 303,
            RedirectStatus::TemporaryRedirect => 307,
            RedirectStatus::PermanentRedirect => 308,
        },
        location: format!("{scheme}://{host}{port}{slash}{path}"),
        why: match insecure {
            true => {
                "the request is insecure, and the Host sends those to https \
                 (requestPolicy.insecure.action)"
            }
            false => "the Mapping redirects (host_redirect)",
        }
        .to_owned(),
        response_headers,
    }
}

/// The request's host, without a port that would not fit the new scheme.
fn host_for<'r>(to: &Redirect, scheme: &str, arrived: &'r Arrived) -> &'r str {
    let Some((name, port)) = arrived.authority.rsplit_once(':') else {
        return &arrived.authority;
    };
    let default = matches!(
        (arrived.forwarded_proto.as_str(), port),
        ("https", "443") | ("http", "80")
    );
    let drop = to.port.is_some() || (scheme != arrived.forwarded_proto && default);
    if drop && !port.contains(']') {
        name
    } else {
        &arrived.authority
    }
}

/// A cluster by its name, which routes may have before it is there.
pub(crate) fn cluster(gateway: &Gateway, name: &str) -> Cluster {
    let Some(cluster) = gateway.clusters.get(name) else {
        return Cluster {
            name: name.to_owned(),
            endpoints: Vec::new(),
            tls: false,
            http2: false,
            source: None,
        };
    };
    let addresses = |endpoints: &[Endpoint]| {
        let endpoints = endpoints.iter();
        endpoints
            .map(|each| SocketAddr::new(each.address, each.port).to_string())
            .collect()
    };
    Cluster {
        name: name.to_owned(),
        endpoints: match &cluster.discovery {
            Discovery::Eds(set) => gateway
                .endpoints
                .get(set)
                .map(|set| addresses(&set.endpoints))
                .unwrap_or_default(),
            Discovery::Static(endpoints) => addresses(endpoints),
            Discovery::Pipe(path) => vec![format!("socket {path}")],
            Discovery::Dns { host, port, .. } => vec![format!("{host}:{port} (looked up)")],
        },
        tls: cluster.tls.is_some(),
        http2: cluster.protocol == UpstreamProtocol::Http2,
        source: Some(Source::of(&cluster.origin)),
    }
}
