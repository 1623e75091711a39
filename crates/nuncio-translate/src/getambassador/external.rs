//! Services that are asked about requests, of AuthService and RateLimitService.

use std::sync::Arc;

use nuncio_api::getambassador::{self, Mapping};
use nuncio_api::{ObjectMeta, SourceRef};
use nuncio_model::external::{AUTHORIZATION, RATE_LIMIT};
use nuncio_model::filter::{FilterConfig, HttpFilter};
use nuncio_model::{Origin, Reason, ResourceId};

use super::Context;
use super::auth;
use super::cluster::ClusterSpec;
use super::clusters::Clusters;
use super::envoy_admin;
use super::host::find_tls_context;
use super::module::Defaults;
use super::ratelimit;
use crate::fields::mistake::Mistake;
use crate::store::Object;

/// What every connection manager has after CORS, in this order: headers that an authorization adds
/// may be labels.
pub(super) const FILTERS: [&str; 2] = [AUTHORIZATION, RATE_LIMIT];

/// Makes both filters, in effect or not.
pub(super) fn filters(context: &mut Context<'_>, clusters: &mut Clusters) {
    let authorization = auth::filter(context, clusters);
    let rate_limit = ratelimit::filter(context, clusters);
    for (name, kind, filter) in [
        (AUTHORIZATION, "AuthService", authorization),
        (RATE_LIMIT, "RateLimitService", rate_limit),
    ] {
        let filter = filter.unwrap_or_else(|| HttpFilter {
            origin: Origin::new(Arc::new(ResourceId::new(
                getambassador::GROUP,
                kind,
                "",
                "*",
            ))),
            config: FilterConfig::Off(name),
        });
        let filters = &mut context.gateway.filters;
        filters.insert(name.into(), Arc::new(filter));
    }
}

/// The cluster of a service that the gateway itself asks. `mapping` says what a Mapping for it would
/// say. Of the Module's defaults only those count that are about how a service is found.
pub(super) fn cluster<T>(
    context: &mut Context<'_>,
    object: &Object<T>,
    mapping: Mapping,
) -> Result<ClusterSpec, Mistake> {
    if let Some(name) = mapping.tls.as_deref().filter(|name| !name.is_empty())
        && find_tls_context(context.store, object.namespace(), name).is_none()
    {
        return Err(Mistake::because(
            "spec.tls",
            Reason::RefNotFound,
            format!("Originate-TLS context {name} is not defined"),
            "define the TLSContext, or remove tls",
        ));
    }
    let object = Object {
        id: Arc::clone(&object.id),
        meta: Arc::clone(&object.meta),
        source: object.source.clone(),
        rkey: Arc::clone(&object.rkey),
        part: object.part.clone(),
        spec: mapping,
    };
    let defaults = context.module.defaults.clone();
    context.module.defaults = Defaults {
        circuit_breakers: defaults.circuit_breakers.clone(),
        resolver: defaults.resolver.clone(),
        enable_ipv4: defaults.enable_ipv4,
        enable_ipv6: defaults.enable_ipv6,
        own_namespace: defaults.own_namespace,
        header_case: defaults.header_case,
        ..Defaults::default()
    };
    let cluster = ClusterSpec::of_mapping(context, &object);
    context.module.defaults = defaults;
    let cluster = cluster?;
    if cluster.is_envoy_admin() {
        return Err(envoy_admin::not_asked());
    }
    Ok(cluster)
}

/// What stands for a service that nobody wrote.
pub(super) fn internal(kind: &'static str, namespace: &str, name: &str) -> Object<()> {
    Object {
        id: Arc::new(ResourceId::new(getambassador::GROUP, kind, namespace, name)),
        meta: Arc::new(ObjectMeta {
            name: name.to_owned(),
            namespace: namespace.to_owned(),
            ..ObjectMeta::default()
        }),
        source: SourceRef::File {
            path: "".into(),
            document: 0,
            item: None,
        },
        rkey: "--internal--".into(),
        part: None,
        spec: (),
    }
}

/// Does some work that says what is wrong with a resource, and has it name the fields as they are
/// written.
pub(super) fn renaming<T>(
    context: &mut Context<'_>,
    rename: impl Fn(&str) -> Option<String>,
    work: impl FnOnce(&mut Context<'_>) -> T,
) -> T {
    let before = std::mem::take(&mut context.report);
    let result = work(context);
    let mut said = std::mem::replace(&mut context.report, before);
    for entry in said.entries_mut() {
        if let Some(field) = rename(&entry.field) {
            entry.field = field.into();
        }
    }
    context.report.extend(said.entries().iter().cloned());
    result
}
