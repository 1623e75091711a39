//! `resolver`: how the name of a service becomes addresses.

use std::sync::{Arc, LazyLock};

use nuncio_api::getambassador::ConsulResolver;
use nuncio_model::{Reason, ResourceId};

use super::Context;
use super::diagnostics::ResolverInfo;
use crate::fields::mistake::Mistake;
use crate::resolve::Through;
use crate::store::{Object, Store};

/// Names under which Emissary brings resolvers along; of two that mean the same, one that is defined
/// stands for both.
const SERVICE: &str = "kubernetes-service";
const ENDPOINTS: [&str; 2] = ["kubernetes-endpoint", "endpoint"];
const CONSUL: [&str; 2] = ["consul", "consul-endpoint"];

static DEFAULT_SERVICE: LazyLock<Arc<str>> = LazyLock::new(|| SERVICE.into());
static DEFAULT_ENDPOINTS: LazyLock<Arc<str>> = LazyLock::new(|| ENDPOINTS[0].into());

/// What makes addresses of names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Finder {
    Kubernetes(Through),
    Consul(Arc<Consul>),
}

/// A Consul in which names are looked up.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Consul {
    pub(super) resolver: Arc<ResourceId>,
    pub(super) address: Arc<str>,
    pub(super) datacenter: Arc<str>,
}

impl Finder {
    /// Whether there may be several endpoints to choose from.
    pub(super) fn balances(&self) -> bool {
        *self != Self::Kubernetes(Through::Service)
    }

    /// What Services of Kubernetes stand for, also those that another finder cannot find.
    pub(super) fn through(&self) -> Through {
        match self {
            Self::Kubernetes(through) => *through,
            Self::Consul(_) => Through::Service,
        }
    }

    /// The name of the resolver that is meant where none is named.
    pub(super) fn default_name(&self) -> Arc<str> {
        match self {
            Self::Kubernetes(Through::Service) => Arc::clone(&DEFAULT_SERVICE),
            Self::Kubernetes(Through::Endpoints) => Arc::clone(&DEFAULT_ENDPOINTS),
            Self::Consul(consul) => Arc::clone(&consul.resolver.name),
        }
    }
}

/// What a name of a resolver means. Resolvers are known by their names in all namespaces; those
/// that Emissary brings along may be defined anew.
pub(super) fn find(context: &Context<'_>, field: &str, name: &str) -> Result<Finder, Mistake> {
    let store = context.store;
    if store.service_resolvers.iter().any(|r| r.name() == name) {
        return Ok(Finder::Kubernetes(Through::Service));
    }
    if store.endpoint_resolvers.iter().any(|r| r.name() == name) {
        return Ok(Finder::Kubernetes(Through::Endpoints));
    }
    if let Some(object) = consul_resolver(store, name) {
        let consul = consul(object).map_err(|mistake| {
            Mistake::because(
                field,
                Reason::RefInvalid,
                format!(
                    "ConsulResolver {name} cannot be used: {}: {}",
                    mistake.field, mistake.what.message
                ),
                "mend that ConsulResolver",
            )
        })?;
        return Ok(Finder::Consul(Arc::new(consul)));
    }
    match name {
        SERVICE => Ok(Finder::Kubernetes(Through::Service)),
        _ if ENDPOINTS.contains(&name) => Ok(Finder::Kubernetes(Through::Endpoints)),
        _ if CONSUL.contains(&name) => Err(Mistake::because(
            field,
            Reason::RefNotFound,
            format!("resolver {name} has no address of a Consul"),
            format!("write a ConsulResolver {name} with address and datacenter"),
        )),
        _ => Err(Mistake::because(
            field,
            Reason::RefNotFound,
            format!("resolver {name} is unknown!"),
            "write kubernetes-service or kubernetes-endpoint, or define a resolver of that name",
        )),
    }
}

/// Says what is wrong with ConsulResolvers, whether anybody names them or not.
pub(super) fn check(context: &mut Context<'_>) {
    for object in context.store.consul_resolvers.by_rkey() {
        if let Err(mistake) = consul(object) {
            mistake.report(&mut context.report, object);
        }
    }
}

/// What a name that [`find`] knows stands for.
pub(super) fn info(store: &Store, name: &Arc<str>) -> ResolverInfo {
    let service = store.service_resolvers.iter().find(|r| r.name() == &**name);
    let endpoint = store
        .endpoint_resolvers
        .iter()
        .find(|r| r.name() == &**name);
    let consul = consul_resolver(store, name);
    let (kind, rkey) = match (service, endpoint, consul) {
        (Some(resolver), _, _) => ("KubernetesServiceResolver", Some(&resolver.rkey)),
        (None, Some(resolver), _) => ("KubernetesEndpointResolver", Some(&resolver.rkey)),
        (None, None, Some(resolver)) => ("ConsulResolver", Some(&resolver.rkey)),
        (None, None, None) if &**name == SERVICE => ("KubernetesServiceResolver", None),
        (None, None, None) => ("KubernetesEndpointResolver", None),
    };
    ResolverInfo {
        kind,
        name: Arc::clone(name),
        rkey: rkey.map(ToString::to_string),
    }
}

/// The first of a name, or of the other name that means the same.
fn consul_resolver<'s>(store: &'s Store, name: &str) -> Option<&'s Arc<Object<ConsulResolver>>> {
    let all = store.consul_resolvers.by_rkey();
    let of_name = |name: &str| all.iter().find(|object| object.name() == name).copied();
    of_name(name).or_else(|| {
        let same = CONSUL.contains(&name);
        let mut others = CONSUL.iter().filter(|_| same);
        others.find_map(|other| of_name(other))
    })
}

fn consul(object: &Object<ConsulResolver>) -> Result<Consul, Mistake> {
    let spec = &object.spec;
    let given = |field: &str, value: &Option<String>, message: &str, help: &str| {
        let value = value.as_deref().filter(|value| !value.is_empty());
        let missing = || Mistake::because(field, Reason::MissingField, message, help);
        value.map(Arc::from).ok_or_else(missing)
    };
    Ok(Consul {
        resolver: Arc::clone(&object.id),
        datacenter: given(
            "spec.datacenter",
            &spec.datacenter,
            "ConsulResolver is required to have a datacenter",
            "write the name of the datacenter, such as dc1",
        )?,
        address: given(
            "spec.address",
            &spec.address,
            "it is missing",
            "write the address of a Consul agent, such as consul.default:8500",
        )?,
    })
}
