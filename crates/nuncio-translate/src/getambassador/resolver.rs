//! `resolver`: how the name of a service becomes addresses.

use std::sync::{Arc, LazyLock};

use nuncio_model::Reason;

use super::Context;
use super::diagnostics::ResolverInfo;
use super::mistake::Mistake;
use crate::resolve::Through;
use crate::store::Store;

/// What a name of a resolver means. Resolvers are known by their names in all namespaces; those
/// that Emissary brings along may be defined anew.
pub(super) fn find(context: &Context<'_>, field: &str, name: &str) -> Result<Through, Mistake> {
    let store = context.store;
    if store.service_resolvers.iter().any(|r| r.name() == name) {
        return Ok(Through::Service);
    }
    if store.endpoint_resolvers.iter().any(|r| r.name() == name) {
        return Ok(Through::Endpoints);
    }
    match name {
        "kubernetes-service" => Ok(Through::Service),
        "endpoint" | "kubernetes-endpoint" => Ok(Through::Endpoints),
        "consul" | "consul-endpoint" => Err(Mistake::because(
            field,
            Reason::NotSupported,
            "nuncio does not honour ConsulResolver yet: services in Consul are not found",
            "use a resolver of Kubernetes",
        )),
        _ => Err(Mistake::because(
            field,
            Reason::RefNotFound,
            format!("resolver {name} is unknown!"),
            "write kubernetes-service or kubernetes-endpoint, or define a resolver of that name",
        )),
    }
}

/// The name of the resolver that is meant where none is named.
pub(super) fn default_name(through: Through) -> Arc<str> {
    static SERVICE: LazyLock<Arc<str>> = LazyLock::new(|| "kubernetes-service".into());
    static ENDPOINTS: LazyLock<Arc<str>> = LazyLock::new(|| "kubernetes-endpoint".into());
    Arc::clone(match through {
        Through::Service => &SERVICE,
        Through::Endpoints => &ENDPOINTS,
    })
}

/// What a name that [`find`] knows stands for.
pub(super) fn info(store: &Store, name: &Arc<str>) -> ResolverInfo {
    let service = store.service_resolvers.iter().find(|r| r.name() == &**name);
    let endpoint = store
        .endpoint_resolvers
        .iter()
        .find(|r| r.name() == &**name);
    let by_service = service.is_some() || endpoint.is_none() && &**name == "kubernetes-service";
    ResolverInfo {
        kind: if by_service {
            "KubernetesServiceResolver"
        } else {
            "KubernetesEndpointResolver"
        },
        name: Arc::clone(name),
        rkey: service
            .or(endpoint)
            .map(|resolver| resolver.rkey.to_string()),
    }
}
