//! What is said of a request, as data.

use nuncio_model::value::Fraction;
use nuncio_model::{Origin, ResourceId};
use serde::{Deserialize, Serialize};

use crate::request::Request;

/// Stage by stage, in Envoy's order; a stage that the request does not reach is absent.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Explanation {
    pub method: String,
    pub url: String,
    pub listener: Option<Listener>,
    pub filter_chain: Option<FilterChain>,
    pub arrival: Option<Arrival>,
    /// Filters before the routes, in the order in which they see the request.
    pub filters: Vec<Filter>,
    pub virtual_host: Option<VirtualHost>,
    /// What becomes of it; several where chance decides. Their shares add up to 100.
    pub outcomes: Vec<Share>,
    /// Of the routes that do not match, the one that nearly does.
    pub closest: Option<Closest>,
    /// What else is worth knowing.
    pub notes: Vec<String>,
}

/// The resource, and its field, that something comes from.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Source {
    /// API group, empty for the core group.
    pub group: String,
    pub kind: String,
    pub namespace: String,
    pub name: String,
    /// Empty for the resource as a whole.
    pub field: String,
    /// `file:line:column`, where who asks knows it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Listener {
    pub name: String,
    /// `0.0.0.0:8080`.
    pub address: String,
    /// `TCP` or `UDP`.
    pub transport: String,
    pub source: Source,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FilterChain {
    pub name: String,
    /// Which connections it takes.
    pub takes: String,
    pub source: Source,
}

/// The request as routes see it, after what Envoy makes of its path and host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Arrival {
    pub host: String,
    /// With the query string.
    pub path: String,
    /// Whether path or host are others than the client sent.
    pub changed: bool,
    /// `http` or `https`, as routes ask for it.
    pub x_forwarded_proto: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Filter {
    pub name: String,
    /// What it does with this request.
    pub says: String,
    pub source: Option<Source>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VirtualHost {
    pub name: String,
    /// The one of its domains that matches.
    pub domain: String,
    pub source: Option<Source>,
}

/// A part of the requests that are like this one.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Share {
    pub percent: Fraction,
    pub route: Option<Route>,
    /// Services that are asked about it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub checks: Vec<Filter>,
    pub outcome: Outcome,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Route {
    /// In words: `prefix /backend/, x-a = 1`.
    pub matches: String,
    /// Its place among those of the virtual host, from 1.
    pub place: usize,
    pub of: usize,
    pub source: Source,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Outcome {
    /// There is no connection that a request could be sent on.
    NotConnected {
        why: String,
        help: String,
    },
    /// The bytes are passed on without a look at them.
    Tcp {
        clusters: Vec<ClusterShare>,
    },
    /// Envoy refuses the request, or finds nothing for it.
    Refused {
        status: u16,
        why: String,
        help: String,
        response_headers: Vec<HeaderChange>,
    },
    Redirect {
        status: u16,
        location: String,
        why: String,
        response_headers: Vec<HeaderChange>,
    },
    /// Answered by Envoy itself.
    DirectResponse {
        status: u16,
        body: String,
        response_headers: Vec<HeaderChange>,
    },
    /// A browser asked whether it may ask.
    Preflight {
        status: u16,
        response_headers: Vec<HeaderChange>,
    },
    /// There is a route, and nothing behind it.
    Unavailable {
        status: u16,
        why: String,
        help: String,
        cluster: String,
        response_headers: Vec<HeaderChange>,
    },
    Forward(Box<Forward>),
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClusterShare {
    pub percent: Fraction,
    pub cluster: Cluster,
}

/// Where a request goes, and what it looks like there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Forward {
    pub cluster: Cluster,
    pub method: String,
    pub path: String,
    pub host: String,
    /// In the order in which they are made.
    pub request_headers: Vec<HeaderChange>,
    pub response_headers: Vec<HeaderChange>,
    /// Clusters that get copies.
    pub mirrors: Vec<ClusterShare>,
    /// Until the last byte of the response; absent without end.
    pub timeout_ms: Option<u64>,
    /// When another try is made.
    pub retry_on: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cluster {
    pub name: String,
    /// Addresses, or the name that is looked up.
    pub endpoints: Vec<String>,
    pub tls: bool,
    pub http2: bool,
    pub source: Option<Source>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeaderChange {
    pub name: String,
    /// `None` takes the header away. Operators of Envoy's that say something of the connection
    /// stay as they are written.
    pub value: Option<String>,
    /// Beside what is there already.
    pub append: bool,
}

/// A route that would have matched, but for some of what it asks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Closest {
    pub route: Route,
    pub differences: Vec<Difference>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Difference {
    /// `path`, `header x-a`, `query parameter a`.
    pub what: String,
    /// What the route asks for.
    pub wanted: String,
    /// What the request has; absent when it has nothing.
    pub found: Option<String>,
}

impl Explanation {
    pub(crate) fn of(request: &Request) -> Self {
        Self {
            method: request.method.clone(),
            url: request.url(),
            ..Self::default()
        }
    }

    /// Every request like this one ends so.
    pub(crate) fn end(&mut self, outcome: Outcome) {
        self.outcomes = vec![Share {
            percent: Fraction::ALL,
            route: None,
            checks: Vec::new(),
            outcome,
        }];
    }

    /// Says of each source where it stands.
    pub fn locate(&mut self, place: impl Fn(&Source) -> Option<String>) {
        for source in self.sources() {
            source.at = place(source);
        }
    }

    fn sources(&mut self) -> Vec<&mut Source> {
        let mut sources: Vec<&mut Source> = Vec::new();
        sources.extend(self.listener.as_mut().map(|listener| &mut listener.source));
        sources.extend(self.filter_chain.as_mut().map(|chain| &mut chain.source));
        let filters = self.filters.iter_mut();
        sources.extend(filters.filter_map(|filter| filter.source.as_mut()));
        let host = self.virtual_host.as_mut();
        sources.extend(host.and_then(|host| host.source.as_mut()));
        sources.extend(
            self.closest
                .as_mut()
                .map(|closest| &mut closest.route.source),
        );
        for share in &mut self.outcomes {
            sources.extend(share.route.as_mut().map(|route| &mut route.source));
            let checks = share.checks.iter_mut();
            sources.extend(checks.filter_map(|filter| filter.source.as_mut()));
            let clusters: Vec<&mut Cluster> = match &mut share.outcome {
                Outcome::Tcp { clusters } => clusters.iter_mut().map(|c| &mut c.cluster).collect(),
                Outcome::Forward(forward) => {
                    let mirrors = forward.mirrors.iter_mut().map(|mirror| &mut mirror.cluster);
                    std::iter::once(&mut forward.cluster)
                        .chain(mirrors)
                        .collect()
                }
                _ => Vec::new(),
            };
            sources.extend(clusters.into_iter().filter_map(|c| c.source.as_mut()));
        }
        sources
    }
}

impl Source {
    pub(crate) fn of(origin: &Origin) -> Self {
        let id = &origin.resource;
        Self {
            group: id.group.to_string(),
            kind: id.kind.to_string(),
            namespace: id.namespace.to_string(),
            name: id.name.to_string(),
            field: origin.field.to_string(),
            at: None,
        }
    }

    /// The resource's name for the rest of nuncio.
    pub fn resource(&self) -> ResourceId {
        ResourceId::new(
            self.group.as_str(),
            self.kind.as_str(),
            self.namespace.as_str(),
            self.name.as_str(),
        )
    }
}
