//! What a route does with a request.

use std::net::SocketAddr;

use nuncio_model::Gateway;
use nuncio_model::cluster::{Discovery, Endpoint, UpstreamProtocol};
use nuncio_model::listener::HttpOptions;
use nuncio_model::route::{
    self, Action, HostRewrite, PathMatch, PathRewrite, Redirect, RedirectPath, RedirectScheme,
    RedirectStatus, Route, VirtualHost,
};
use nuncio_model::value::Regex;

use crate::arrival::Arrived;
use crate::cors::{self, Told};
use crate::explanation::{Cluster, ClusterShare, Forward, HeaderChange, Outcome, Source};
use crate::pattern::Patterns;
use crate::{headers, upgrade};

/// A route, and the request that it takes.
#[derive(Clone, Copy)]
pub(crate) struct Taken<'a> {
    pub(crate) gateway: &'a Gateway,
    pub(crate) patterns: &'a Patterns,
    pub(crate) options: &'a HttpOptions,
    pub(crate) host: &'a VirtualHost,
    pub(crate) route: &'a Route,
    pub(crate) arrived: &'a Arrived,
}

impl Taken<'_> {
    /// `stopped` is what a filter answers before the route does, `refused` one after CORS.
    pub(crate) fn outcome(&self, stopped: Option<&Outcome>, refused: Option<&Outcome>) -> Outcome {
        // Envoy looks at the route for upgrades before it asks any filter.
        let stopped = upgrade::refused(self.route, self.arrived).or_else(|| stopped.cloned());
        if let Some(stopped) = stopped {
            return self.refusal(stopped, Vec::new());
        }
        let policy = self.route.cors.as_ref();
        let told = policy.and_then(|policy| cors::tell(self.patterns, policy, self.arrived));
        let told = match told {
            Some(Told::Preflight(response_headers)) => {
                return Outcome::Preflight {
                    status: 200,
                    response_headers,
                };
            }
            Some(Told::Beside(headers)) => headers,
            None => Vec::new(),
        };
        if let Some(refused) = refused {
            return self.refusal(refused.clone(), told);
        }
        match &self.route.action {
            Action::Redirect(to) => self.redirect(to, told),
            Action::DirectResponse { status, body } => Outcome::DirectResponse {
                status: *status,
                body: body.to_string(),
                response_headers: self.response_headers(self.arrived, told),
            },
            Action::Forward(to) => self.forward(to, told),
        }
    }

    /// A route that would have gone to an upstream changes every answer.
    fn refusal(&self, mut refused: Outcome, told: Vec<HeaderChange>) -> Outcome {
        if let Outcome::Refused {
            response_headers, ..
        } = &mut refused
            && let Action::Forward(_) = self.route.action
        {
            *response_headers = self.response_headers(self.arrived, told);
        }
        refused
    }

    /// Of the route first, then of the virtual host; what the CORS filter says stands in place of
    /// theirs. `request` is as it left.
    fn response_headers(&self, request: &Arrived, told: Vec<HeaderChange>) -> Vec<HeaderChange> {
        let mut changes = headers::changes(&self.route.response_headers, request);
        changes.extend(headers::changes(&self.host.response_headers, request));
        changes.extend(told);
        changes
    }

    /// Where Envoy keeps what it rewrites.
    fn kept(&self, what: &str, was: &str) -> Option<HeaderChange> {
        (!self.options.suppress_envoy_headers).then(|| HeaderChange {
            name: format!("x-envoy-original-{what}"),
            value: Some(was.to_owned()),
            append: false,
        })
    }

    fn forward(&self, to: &route::Forward, told: Vec<HeaderChange>) -> Outcome {
        let Self {
            gateway, arrived, ..
        } = *self;
        let target = cluster(gateway, &to.cluster);
        let has_endpoints = !target.endpoints.is_empty();
        let path = match &to.path_rewrite {
            PathRewrite::None => None,
            PathRewrite::Prefix(path) if path.as_str().is_empty() => None,
            PathRewrite::Prefix(path) => Some(self.in_place(path.as_str())),
            PathRewrite::Regex {
                pattern,
                substitution,
            } => self.by_regex(pattern, substitution),
        };
        let host = match &to.host_rewrite {
            HostRewrite::None => None,
            HostRewrite::Literal(host) => Some(host.to_string()),
            // Only a name that is looked up is a name.
            HostRewrite::Auto => match gateway.clusters.get(&to.cluster).map(|c| &c.discovery) {
                Some(Discovery::Dns { host, .. }) if has_endpoints => Some(host.to_string()),
                _ => None,
            },
        };
        let mut sent = arrived.clone();
        let edits = &self.route.request_headers;
        sent.headers
            .retain(|name| edits.remove.iter().all(|each| each.as_str() != name));
        let dropped = arrived.dropped.iter().map(|name| HeaderChange {
            name: name.clone(),
            value: None,
            append: false,
        });
        let mut request_headers: Vec<_> = dropped.collect();
        request_headers.extend(headers::changes(edits, &sent));
        let path_was = path.is_some().then_some(("path", &arrived.path));
        let host_was = host.is_some().then_some(("host", &arrived.authority));
        let kept = path_was.into_iter().chain(host_was);
        request_headers.extend(kept.filter_map(|(what, was)| self.kept(what, was)));
        sent.headers.change(&request_headers);
        sent.path = path.unwrap_or(sent.path);
        sent.authority = host.unwrap_or(sent.authority);
        let response_headers = self.response_headers(&sent, told);
        if !has_endpoints {
            return Outcome::Unavailable {
                status: 503,
                why: format!("the cluster {} has no endpoints", target.name),
                help: "see whether the Service has endpoints that are ready".to_owned(),
                cluster: target.name,
                response_headers,
            };
        }
        let mirrors = to.mirrors.iter().map(|mirror| ClusterShare {
            percent: mirror.share,
            cluster: cluster(gateway, &mirror.cluster),
        });
        Outcome::Forward(Box::new(Forward {
            cluster: target,
            method: sent.method,
            path: sent.path,
            host: sent.authority,
            request_headers,
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
    fn in_place(&self, text: &str) -> String {
        let Self { route, arrived, .. } = *self;
        let taken = match &route.matches.path {
            PathMatch::Prefix(path) | PathMatch::Exact(path) => path.as_str().len(),
            PathMatch::Segments(path) => path.as_str().len(),
            PathMatch::Regex(_) | PathMatch::Connect => arrived.path_alone().len(),
        };
        format!("{text}{}", arrived.path.get(taken..).unwrap_or_default())
    }

    /// The query string stays; where nothing is left of the path, so does the path.
    fn by_regex(&self, pattern: &Regex, substitution: &str) -> Option<String> {
        let path = self.arrived.path_alone();
        let query = &self.arrived.path[path.len()..];
        let rewritten = self.patterns.replace_all(pattern, path, substitution);
        (!rewritten.is_empty()).then(|| rewritten + query)
    }

    fn redirect(&self, to: &Redirect, told: Vec<HeaderChange>) -> Outcome {
        let arrived = self.arrived;
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
        let query = &arrived.path[arrived.path_alone().len()..];
        let whole = match &to.path {
            RedirectPath::Full(path) if path.as_str().contains('?') => Some(path.to_string()),
            RedirectPath::Full(path) => Some(format!("{path}{query}")),
            _ => None,
        };
        let rewritten = match &to.path {
            RedirectPath::Prefix(path) => Some(self.in_place(path.as_str())),
            RedirectPath::Regex {
                pattern,
                substitution,
            } => self.by_regex(pattern, substitution),
            RedirectPath::Keep | RedirectPath::Full(_) => None,
        };
        // Envoy rewrites the request that it answers itself, but for a whole path.
        let mut seen = arrived.clone();
        if let Some(rewritten) = rewritten {
            let kept = self.kept("path", &arrived.path);
            seen.headers.change(kept.as_slice());
            seen.path = rewritten;
        }
        let path = whole.as_ref().unwrap_or(&seen.path);
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
                false => match &*self.route.origin.resource.kind {
                    "Mapping" => "the Mapping redirects (host_redirect)",
                    _ => "its filter RequestRedirect",
                },
            }
            .to_owned(),
            response_headers: self.response_headers(&seen, told),
        }
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
