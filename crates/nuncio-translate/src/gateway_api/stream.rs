//! TLSRoutes, TCPRoutes and UDPRoutes: bytes that are passed on.

use std::sync::Arc;

use nuncio_api::gateway_api::GROUP;
use nuncio_model::cluster::{Cluster, Discovery, LbPolicy, UpstreamProtocol};
use nuncio_model::listener::{
    DownstreamTls, FilterChain, HeaderCase, Passthrough, Proxy, TcpProxy, WeightedCluster,
};
use nuncio_model::{Origin, ResourceId};

use super::attach::{Route, Spec};
use super::backend::{Backends, CONNECT_TIMEOUT};
use super::hostname::Hostname;
use super::listener::Tls;
use super::policy::Policies;
use super::policy::settings::BackendSettings;
use super::rule::Facts;
use super::{Context, Fault};

/// The cluster of backends that cannot be resolved: connections are closed.
const NOWHERE: &str = "service/none";

/// Where the connections of a route go.
#[derive(Debug)]
pub(super) struct Stream {
    pub(super) clusters: Vec<WeightedCluster>,
    pub(super) unresolved: Option<Fault>,
}

pub(super) fn read(
    context: &mut Context<'_>,
    route: &Route<'_>,
    facts: &Facts,
    policies: &Policies,
) -> Stream {
    let mut backends = Backends::new(route, facts, policies);
    // A RoutePolicy is for requests.
    let settings = BackendSettings::default();
    let mut clusters = Vec::new();
    let rules = match route.spec {
        Spec::Stream(spec) => &spec.rules[..],
        Spec::Http(_) | Spec::Grpc(_) => &[],
    };
    for (at, rule) in rules.iter().enumerate() {
        for (index, backend) in rule.backend_refs.iter().enumerate() {
            let field = format!("spec.rules[{at}].backendRefs[{index}]");
            let object = backend.object();
            let cluster = backends.resolve(context, &object, &field, &settings);
            let weight = backend.weight.unwrap_or(1);
            if weight > 0 {
                let cluster = cluster.unwrap_or_else(|| nowhere(context));
                clusters.push(WeightedCluster { cluster, weight });
            }
        }
    }
    if clusters.is_empty() {
        clusters.push(WeightedCluster {
            cluster: nowhere(context),
            weight: 1,
        });
    }
    Stream {
        clusters,
        unresolved: backends.unresolved,
    }
}

impl Stream {
    pub(super) fn chain(
        &self,
        context: &Context<'_>,
        origin: Origin,
        hostname: &Hostname,
        tls: &Tls,
    ) -> FilterChain {
        let server_name = hostname.server_name();
        let kind = match tls {
            Tls::None => "tcp",
            Tls::Terminate(_) | Tls::Passthrough => "tls",
        };
        FilterChain {
            name: format!("{kind}/{}", hostname.domain()).into(),
            origin,
            tls: match tls {
                Tls::Terminate(termination) => Some(DownstreamTls {
                    server_name: server_name.clone(),
                    termination: termination.clone(),
                }),
                Tls::None | Tls::Passthrough => None,
            },
            passthrough: match tls {
                Tls::Passthrough => Some(Passthrough { server_name }),
                Tls::None | Tls::Terminate(_) => None,
            },
            proxy: Proxy::Tcp(TcpProxy {
                clusters: self.clusters.clone(),
                idle_timeout: None,
                log_services: Arc::clone(&context.surroundings.options.log_services),
            }),
        }
    }
}

/// The name of that cluster, which is there then.
fn nowhere(context: &mut Context<'_>) -> Arc<str> {
    let name = Arc::<str>::from(NOWHERE);
    let cluster = Cluster {
        name: Arc::clone(&name),
        alt_stat_name: None,
        // Of all that need it.
        origin: Origin::new(Arc::new(ResourceId::new(GROUP, "TCPRoute", "", "*"))),
        discovery: Discovery::Static(Vec::new()),
        connect_timeout: CONNECT_TIMEOUT,
        circuit_breakers: Vec::new(),
        protocol: UpstreamProtocol::Http1,
        tls: None,
        idle_timeout: None,
        max_connection_duration: None,
        lb_policy: LbPolicy::RoundRobin,
        keepalive: None,
        health_checks: Vec::new(),
        outlier_detection: None,
        header_case: HeaderCase::Lower,
    };
    let clusters = &mut context.gateway.clusters;
    clusters.insert(Arc::clone(&name), Arc::new(cluster));
    name
}
