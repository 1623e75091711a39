//! The routes that every Host has: liveness, readiness, diagnostics.

use std::sync::Arc;
use std::time::Duration;

use nuncio_api::getambassador;
use nuncio_model::route::{
    Action, Forward, HeaderEdits, HostRewrite, PathMatch, PathRewrite, Priority, Route, RouteMatch,
};
use nuncio_model::value::PathLiteral;
use nuncio_model::{Origin, ResourceId};

use super::Context;
use super::cluster::{ClusterSpec, Clusters};
use super::group::{self, Group};

const TIMEOUT: Duration = Duration::from_secs(10);

pub(super) fn groups(context: &mut Context<'_>, clusters: &mut Clusters) -> Vec<Group> {
    let module = context.module;
    let routes = [
        (
            "internal_liveness_probe_mapping",
            "/ambassador/v0/check_alive",
            module.liveness_probe,
        ),
        (
            "internal_readiness_probe_mapping",
            "/ambassador/v0/check_ready",
            module.readiness_probe,
        ),
        (
            "internal_diagnostics_probe_mapping",
            "/ambassador/v0/",
            module.diagnostics,
        ),
    ];
    routes
        .into_iter()
        .filter(|(_, _, enabled)| *enabled)
        .map(|(name, prefix, _)| {
            let namespace = context.settings.namespace.as_str();
            let origin = Origin::new(Arc::new(ResourceId::new(
                getambassador::GROUP,
                "Mapping",
                namespace,
                name,
            )));
            let cluster = ClusterSpec::of_address(&origin, context.settings.admin, namespace);
            let route = Route {
                origin: origin.clone(),
                matches: RouteMatch {
                    path: PathMatch::Prefix(
                        PathLiteral::new(prefix).expect("invariant: the prefix is one line"),
                    ),
                    case_sensitive: true,
                    headers: Vec::new(),
                    query_parameters: Vec::new(),
                    fraction: None,
                },
                action: Action::Forward(Box::new(Forward {
                    cluster: clusters.name(&cluster),
                    timeout: TIMEOUT,
                    idle_timeout: None,
                    path_rewrite: PathRewrite::None,
                    host_rewrite: HostRewrite::None,
                    retry: None,
                    cors: None,
                    mirrors: Vec::new(),
                    upgrades: Vec::new(),
                    priority: Priority::Default,
                })),
                request_headers: HeaderEdits::default(),
                response_headers: HeaderEdits::default(),
            };
            group::built_in(clusters, &origin, name, &cluster, route)
        })
        .collect()
}
