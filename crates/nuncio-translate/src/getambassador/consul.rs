//! Services that a Consul knows.

use std::net::IpAddr;
use std::sync::Arc;

use nuncio_api::getambassador::Mapping;
use nuncio_model::cluster::{Discovery, EndpointSet};
use nuncio_model::consul::ConsulService;
use nuncio_model::{Origin, Reason};

use super::Context;
use super::resolver::{Consul, Finder};
use super::service::ServiceName;
use crate::consul::{note, set_name};
use crate::fields::mistake::Mistake;
use crate::store::Object;

/// The Consul that a name is looked up in; an address is one for every resolver.
pub(super) fn of<'f>(finder: &'f Finder, name: &ServiceName) -> Option<&'f Consul> {
    match finder {
        Finder::Consul(consul) if name.host.parse::<IpAddr>().is_err() => Some(consul),
        _ => None,
    }
}

/// Where its endpoints are: what the Consul said of it last.
pub(super) fn discovery(
    context: &mut Context<'_>,
    object: &Object<Mapping>,
    consul: &Consul,
    name: &ServiceName,
) -> Result<(Discovery, EndpointSet, Arc<ConsulService>), Mistake> {
    let at = object.at("spec.service");
    if name.host.contains('.') {
        return Err(Mistake::new(
            "spec.service",
            "The Consul resolver does not allow dots in service names",
            "write the name that the service has in Consul, without a namespace",
        ));
    }
    if name.port.is_some() {
        context
            .report
            .notice(
                &at,
                Reason::NoEffect,
                "the port has no effect: each instance has the port that Consul says",
            )
            .help("write the name alone");
    }
    let service = Arc::new(ConsulService {
        address: Arc::clone(&consul.address),
        datacenter: Arc::clone(&consul.datacenter),
        name: name.host.as_str().into(),
    });
    let answer = context.store.consul(&service);
    if let Some(note) = note(&service, answer) {
        context
            .report
            .warning(&at, Reason::RefInvalid, note.message)
            .help(note.help);
    }
    let set = EndpointSet {
        name: set_name(&service),
        origin: Origin::new(Arc::clone(&consul.resolver)),
        endpoints: answer.map_or_else(Vec::new, |answer| answer.endpoints.clone()),
    };
    Ok((Discovery::Eds(Arc::clone(&set.name)), set, service))
}
