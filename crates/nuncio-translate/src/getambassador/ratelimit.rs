//! RateLimitServices: who counts requests.

use std::sync::Arc;
use std::time::Duration;

use nuncio_api::getambassador::{Mapping, ProtocolVersion, RateLimitService};
use nuncio_model::Reason;
use nuncio_model::external::RateLimit;
use nuncio_model::filter::{FilterConfig, HttpFilter};

use super::Context;
use super::cluster::ClusterSpec;
use super::clusters::Clusters;
use super::diagnostics::ServiceInfo;
use super::external;
use crate::fields::mistake::Mistake;
use crate::fields::values::milliseconds;
use crate::store::Object;

const KIND: &str = "RateLimitService";

/// Emissary's default of `timeout_ms`.
const DEFAULT_TIMEOUT: Duration = Duration::from_millis(20);

/// The filter of the RateLimitService that counts: the first, where it is right. It says in the context
/// what is asked.
pub(super) fn filter(context: &mut Context<'_>, clusters: &mut Clusters) -> Option<HttpFilter> {
    let mut all = context.store.rate_limit_services.by_rkey().into_iter();
    let Some(first) = all.next() else {
        return within(context, clusters);
    };
    for other in all {
        context
            .report
            .error(
                &other.origin(),
                Reason::Duplicate,
                format!(
                    "only one RateLimitService is supported; {} came first and counts",
                    first.id
                ),
            )
            .help("keep one RateLimitService");
    }
    let (cluster, settings) = match read(context, first) {
        Ok(read) => read,
        Err(mistake) => {
            mistake.report(&mut context.report, first);
            return None;
        }
    };
    context.asks.rate_limit = Some(Arc::clone(&settings.domain));
    Some(asked(context, clusters, first, cluster, settings))
}

/// nuncio itself counts, if it has limits and nobody else was to.
fn within(context: &mut Context<'_>, clusters: &mut Clusters) -> Option<HttpFilter> {
    let store = context.store;
    let meant = store.unread(KIND).next().is_some()
        || store.rate_limit_services.left_out().next().is_some();
    let address = context.settings.rate_limit.filter(|_| !meant)?;
    let namespace = context.settings.namespace.as_str();
    let object = external::internal(KIND, namespace, "nuncio");
    let mapping = Mapping {
        service: Some(address.to_string()),
        grpc: Some(true),
        cluster_tag: Some("ratelimit".to_owned()),
        stats_name: Some("nuncio_ratelimit".to_owned()),
        ..Mapping::default()
    };
    let cluster = external::cluster(context, &object, mapping).ok()?;
    let domain = Arc::clone(&context.module.defaults.label_domain);
    context.asks.rate_limit = Some(Arc::clone(&domain));
    let settings = RateLimit {
        cluster: "".into(),
        domain,
        timeout: DEFAULT_TIMEOUT,
        failure_mode_deny: false,
        resource_exhausted: false,
    };
    Some(asked(context, clusters, &object, cluster, settings))
}

fn asked<T>(
    context: &mut Context<'_>,
    clusters: &mut Clusters,
    object: &Object<T>,
    cluster: ClusterSpec,
    settings: RateLimit,
) -> HttpFilter {
    let upstream = Arc::clone(&cluster.upstream);
    let cluster = clusters.name_later(&Arc::new(cluster));
    context.services.push(ServiceInfo {
        kind: KIND,
        rkey: Arc::clone(&object.rkey),
        upstream,
        cluster: Arc::clone(&cluster),
        of: 1,
    });
    HttpFilter {
        origin: object.origin(),
        config: FilterConfig::RateLimit(RateLimit {
            cluster,
            ..settings
        }),
    }
}

fn read(
    context: &mut Context<'_>,
    object: &Object<RateLimitService>,
) -> Result<(ClusterSpec, RateLimit), Mistake> {
    let spec = &object.spec;
    let given = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
    let Some(service) = given(&spec.service) else {
        return Err(Mistake::because(
            "spec.service",
            Reason::MissingField,
            "service is required in RateLimitService",
            "write who is asked, such as ratelimit.default:8081",
        ));
    };
    if spec.protocol_version != Some(ProtocolVersion::V3) {
        return Err(Mistake::new(
            "spec.protocol_version",
            "RateLimitService: protocol_version v2 is unsupported, protocol_version must be \"v3\"",
            "write protocol_version: v3",
        ));
    }
    let timeout = milliseconds("spec.timeout_ms", spec.timeout_ms)?.unwrap_or(DEFAULT_TIMEOUT);
    let mapping = Mapping {
        service: Some(service),
        tls: spec.tls.clone(),
        grpc: Some(true),
        stats_name: spec.stats_name.clone(),
        ..Mapping::default()
    };
    let cluster = external::cluster(context, object, mapping)?;
    let domain = match given(&spec.domain) {
        Some(domain) => domain.into(),
        None => Arc::clone(&context.module.defaults.label_domain),
    };
    let grpc = spec.grpc.as_ref();
    let settings = RateLimit {
        cluster: "".into(),
        domain,
        timeout,
        failure_mode_deny: spec.failure_mode_deny == Some(true),
        resource_exhausted: grpc.and_then(|grpc| grpc.use_resource_exhausted_code) == Some(true),
    };
    Ok((cluster, settings))
}
