//! What Mappings have that do not say so themselves.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use nuncio_api::getambassador::{CircuitBreaker, MappingDefaults};
use nuncio_model::cluster::Keepalive;
use nuncio_model::external::Label;
use nuncio_model::listener::HeaderCase;
use nuncio_model::route::{Cors, HeaderEdits, RetryPolicy};

use super::{Keys, path};
use crate::fields::connection::{circuit_breakers, keepalive};
use crate::fields::load_balancer::{self, LoadBalancing};
use crate::fields::mistake::Mistake;
use crate::fields::request;
use crate::fields::values::milliseconds;
use crate::getambassador::resolver::Finder;
use crate::getambassador::{resolver, statistics};
use crate::resolve::Through;

#[derive(Clone, Debug)]
pub(in crate::getambassador) struct Defaults {
    pub(in crate::getambassador) timeout: Duration,
    pub(in crate::getambassador) cluster_idle_timeout: Option<Duration>,
    pub(in crate::getambassador) cluster_max_connection_lifetime: Option<Duration>,
    /// As they are written, and known to be right.
    pub(in crate::getambassador) circuit_breakers: Vec<CircuitBreaker>,
    pub(in crate::getambassador) keepalive: Option<Keepalive>,
    pub(in crate::getambassador) load_balancing: Option<LoadBalancing>,
    pub(in crate::getambassador) resolver: Finder,
    pub(in crate::getambassador) enable_ipv4: bool,
    pub(in crate::getambassador) enable_ipv6: bool,
    /// Whether a bare name is one of nuncio's own namespace, and not of the Mapping's.
    pub(in crate::getambassador) own_namespace: bool,
    /// How upstreams of HTTP/1 get header names.
    pub(in crate::getambassador) header_case: HeaderCase,
    pub(in crate::getambassador) cors: Option<Cors>,
    pub(in crate::getambassador) retry: Option<RetryPolicy>,
    pub(in crate::getambassador) linkerd_headers: bool,
    pub(in crate::getambassador) request_headers: HeaderEdits,
    pub(in crate::getambassador) response_headers: HeaderEdits,
    pub(in crate::getambassador) stats_name: Option<String>,
    /// Whose labels a Mapping without any has.
    pub(in crate::getambassador) label_domain: Arc<str>,
    pub(in crate::getambassador) labels: BTreeMap<Arc<str>, Vec<Label>>,
}

impl Default for Defaults {
    /// Emissary's.
    fn default() -> Self {
        Self {
            timeout: Duration::from_millis(3000),
            cluster_idle_timeout: None,
            cluster_max_connection_lifetime: None,
            circuit_breakers: Vec::new(),
            keepalive: None,
            load_balancing: None,
            resolver: Finder::Kubernetes(Through::Service),
            enable_ipv4: true,
            enable_ipv6: false,
            own_namespace: false,
            header_case: HeaderCase::Lower,
            cors: None,
            retry: None,
            linkerd_headers: false,
            request_headers: HeaderEdits::default(),
            response_headers: HeaderEdits::default(),
            stats_name: None,
            label_domain: "ambassador".into(),
            labels: BTreeMap::new(),
        }
    }
}

impl Keys<'_, '_, '_> {
    pub(super) fn defaults(&mut self) -> Defaults {
        let config = self.config;
        let default = Defaults::default();
        let mut time = |key: &str, value| {
            let read = milliseconds(&path(key), value);
            self.take(read).flatten()
        };
        let timeout = time(
            "cluster_request_timeout_ms",
            config.cluster_request_timeout_ms,
        );
        let cluster_idle_timeout = time("cluster_idle_timeout_ms", config.cluster_idle_timeout_ms);
        let cluster_max_connection_lifetime = time(
            "cluster_max_connection_lifetime_ms",
            config.cluster_max_connection_lifetime_ms,
        );
        let breakers = config.circuit_breakers.as_deref().unwrap_or_default();
        let read = circuit_breakers(&path("circuit_breakers"), breakers);
        let circuit_breakers = self.take(read).map(|_| breakers.to_vec());
        let balancer = config.load_balancer.as_ref().map(|spec| {
            let read = load_balancer::read(&path("load_balancer"), spec);
            self.take(read)
        });
        let resolver = config.resolver.as_deref().filter(|name| !name.is_empty());
        let resolver = resolver.and_then(|name| {
            let found = resolver::find(self.context, &path("resolver"), name);
            self.take(found)
        });
        let retry = config.retry_policy.as_ref().and_then(|spec| {
            let read = request::retry_policy(&path("retry_policy"), spec);
            self.take(read)
        });
        let keepalive = config.keepalive.as_ref().and_then(|spec| {
            let read = keepalive(&path("keepalive"), spec);
            self.take(read)
        });
        let (request_headers, response_headers) = self.header_edits();
        Defaults {
            timeout: timeout.unwrap_or(default.timeout),
            cluster_idle_timeout,
            cluster_max_connection_lifetime,
            circuit_breakers: circuit_breakers.unwrap_or_default(),
            keepalive,
            load_balancing: balancer.flatten(),
            resolver: resolver.unwrap_or(default.resolver),
            enable_ipv4: config.enable_ipv4.unwrap_or(default.enable_ipv4),
            enable_ipv6: config.enable_ipv6.unwrap_or(default.enable_ipv6),
            own_namespace: config.use_ambassador_namespace_for_service_resolution == Some(true),
            header_case: if self.overrides_header_case() {
                HeaderCase::Preserved
            } else {
                HeaderCase::Lower
            },
            cors: config.cors.as_ref().map(request::module_cors),
            retry,
            linkerd_headers: config.add_linkerd_headers == Some(true),
            request_headers,
            response_headers,
            stats_name: self.stats_name(),
            label_domain: self.label_domain(&default.label_domain),
            labels: self.default_labels(),
        }
    }

    /// `defaults.httpmapping` counts before `defaults` itself, key by key.
    fn layers(&self) -> Vec<(&'static str, &MappingDefaults)> {
        let Some(defaults) = &self.config.defaults else {
            return Vec::new();
        };
        let own = defaults.httpmapping.as_ref();
        own.map(|own| ("defaults.httpmapping", own))
            .into_iter()
            .chain([("defaults", &defaults.all)])
            .collect()
    }

    fn stats_name(&mut self) -> Option<String> {
        let mut layers = self.layers().into_iter();
        let (layer, name) = layers.find_map(|(layer, defaults)| {
            let name = defaults.stats_name.clone();
            Some((layer, name.filter(|name| !name.is_empty())?))
        })?;
        let at = self.object.at(path(&format!("{layer}.stats_name")));
        Some(statistics::name(&mut self.context.report, &at, &name))
    }

    fn header_edits(&mut self) -> (HeaderEdits, HeaderEdits) {
        let mut request = HeaderEdits::default();
        let mut response = HeaderEdits::default();
        let mut taken = [false; 4];
        let mut results = Vec::new();
        for (layer, defaults) in self.layers() {
            let edits = |what, add, remove| request::header_edits(&path(layer), what, add, remove);
            for (index, given, read) in [
                (
                    0,
                    defaults.add_request_headers.is_some(),
                    edits("request", defaults.add_request_headers.as_ref(), None),
                ),
                (
                    1,
                    defaults.remove_request_headers.is_some(),
                    edits("request", None, defaults.remove_request_headers.as_deref()),
                ),
                (
                    2,
                    defaults.add_response_headers.is_some(),
                    edits("response", defaults.add_response_headers.as_ref(), None),
                ),
                (
                    3,
                    defaults.remove_response_headers.is_some(),
                    edits(
                        "response",
                        None,
                        defaults.remove_response_headers.as_deref(),
                    ),
                ),
            ] {
                if given && !std::mem::replace(&mut taken[index], true) {
                    results.push((index, read));
                }
            }
        }
        for (index, read) in results {
            let Some(edits): Option<HeaderEdits> = self.take::<HeaderEdits>(read) else {
                continue;
            };
            let of = if index < 2 {
                &mut request
            } else {
                &mut response
            };
            of.add.extend(edits.add);
            of.remove.extend(edits.remove);
        }
        (request, response)
    }
}

/// Says what a Mapping's own edits leave to the defaults.
pub(in crate::getambassador) fn fill(
    own: Result<HeaderEdits, Mistake>,
    adds: bool,
    removes: bool,
    defaults: &HeaderEdits,
) -> Result<HeaderEdits, Mistake> {
    let mut edits = own?;
    if !adds {
        edits.add.clone_from(&defaults.add);
    }
    if !removes {
        edits.remove.clone_from(&defaults.remove);
    }
    Ok(edits)
}
