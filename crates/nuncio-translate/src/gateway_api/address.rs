//! Which addresses each Gateway has.
//!
//! Where nuncio has been given addresses for Gateways, each gets one of its own, or those that it asks
//! for. Which it has is written into its status and read from there: so it keeps it whatever becomes of
//! others. Where nuncio has been given none, all Gateways listen on the one address that nuncio binds,
//! and are reached where nuncio's Service is, or each where its own is.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::net::IpAddr;
use std::sync::Arc;

use nuncio_api::core::LoadBalancerIngress;
use nuncio_api::gateway_api::{Gateway, GatewayAddress};
use nuncio_model::Reason;

use super::infrastructure::Service;
use super::listener::Place;
use super::{Context, Fault};
use crate::ingress::own_addresses;
use crate::store::Object;

const IP: &str = "IPAddress";
const HOSTNAME: &str = "Hostname";

/// What a Gateway has.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Addresses {
    /// Where it listens.
    pub(super) bound: Vec<IpAddr>,
    /// On which ports, by port and whether it is one of UDP; `None` is as they are written.
    pub(super) ports: Option<BTreeMap<(u16, bool), u16>>,
    /// Where clients reach it.
    pub(super) shown: Vec<GatewayAddress>,
    /// It asks for something that no Gateway can have.
    pub(super) unsupported: Option<Fault>,
    /// It asks for something that it cannot have, or there is nothing for it.
    pub(super) unusable: Option<Fault>,
}

impl Addresses {
    /// Where a port of its is.
    pub(super) fn places(&self, port: u16, udp: bool) -> impl Iterator<Item = Place> {
        let port = match &self.ports {
            None => Some(port),
            Some(ports) => ports.get(&(port, udp)).copied(),
        };
        let addresses = self.bound.iter();
        addresses.filter_map(move |address| {
            Some(Place {
                address: *address,
                udp,
                port: port?,
            })
        })
    }

    fn give(&mut self, address: IpAddr) {
        self.bound.push(address);
        self.shown.push(ip(address));
    }
}

pub(super) fn ip(address: IpAddr) -> GatewayAddress {
    GatewayAddress {
        type_: Some(IP.to_owned()),
        value: address.to_string(),
    }
}

pub(super) fn of_load_balancer(address: &LoadBalancerIngress) -> Option<GatewayAddress> {
    let name = || Some((HOSTNAME, address.hostname.clone()?));
    let (type_, value) = address.ip.clone().map(|ip| (IP, ip)).or_else(name)?;
    Some(GatewayAddress {
        type_: Some(type_.to_owned()),
        value,
    })
}

/// The addresses of Gateways, the oldest first.
pub(super) fn assign(
    context: &mut Context<'_>,
    gateways: &[&Arc<Object<Gateway>>],
    services: &[Option<Service>],
) -> Vec<Addresses> {
    let mut all: Vec<Addresses> = gateways.iter().map(|_| Addresses::default()).collect();
    for (gateway, addresses) in gateways.iter().zip(&mut all) {
        addresses.unsupported = unsupported(context, gateway);
    }
    if context.settings.gateway_addresses.is_empty() {
        share(context, gateways, services, &mut all);
    } else {
        give(context, gateways, &mut all);
    }
    for (service, addresses) in services.iter().zip(&mut all) {
        let blocked = service.as_ref().and_then(|service| service.blocked.clone());
        addresses.unusable = blocked.or(addresses.unusable.take());
    }
    all
}

/// What is asked for by its value.
fn wanted(gateway: &Gateway) -> impl Iterator<Item = (usize, &GatewayAddress)> {
    let wanted = gateway.addresses.iter().enumerate();
    wanted.filter(|(_, address)| !address.value.is_empty())
}

fn type_of(address: &GatewayAddress) -> &str {
    address.type_.as_deref().unwrap_or(IP)
}

fn unsupported(context: &mut Context<'_>, gateway: &Object<Gateway>) -> Option<Fault> {
    let addresses = gateway.spec.addresses.iter().enumerate();
    let (index, address) = addresses
        .into_iter()
        .find(|(_, address)| !matches!(type_of(address), IP | HOSTNAME))?;
    Some(context.fault(
        &gateway.at(format!("spec.addresses[{index}].type")),
        Reason::NotSupported,
        "UnsupportedAddress",
        format!(
            "no Gateway can have an address of type {}",
            type_of(address)
        ),
        "write type: IPAddress, or leave addresses out",
    ))
}

/// All on the address that nuncio binds.
fn share(
    context: &mut Context<'_>,
    gateways: &[&Arc<Object<Gateway>>],
    services: &[Option<Service>],
    all: &mut [Addresses],
) {
    let bound = context.settings.bind_address;
    let own = own_addresses(context.store, context.settings);
    let shown: Vec<GatewayAddress> = match own {
        Some(own) => own.iter().filter_map(of_load_balancer).collect(),
        None if bound.is_unspecified() => Vec::new(),
        None => vec![ip(bound)],
    };
    for ((gateway, addresses), service) in gateways.iter().zip(all).zip(services) {
        addresses.bound = vec![bound];
        addresses.shown = match service {
            Some(service) => service.addresses(context.store, gateway),
            None => shown.clone(),
        };
        let has = |asked: &GatewayAddress| {
            let mut known = addresses.shown.iter();
            known.any(|known| type_of(known) == type_of(asked) && known.value == asked.value)
        };
        let missing = wanted(&gateway.spec).find(|(_, asked)| !has(asked));
        if let Some((index, asked)) = missing {
            addresses.unusable = Some(not_usable(context, gateway, index, &asked.value));
        }
    }
}

fn not_usable(
    context: &mut Context<'_>,
    gateway: &Object<Gateway>,
    index: usize,
    value: &str,
) -> Fault {
    context.fault(
        &gateway.at(format!("spec.addresses[{index}].value")),
        Reason::RefInvalid,
        "AddressNotUsable",
        format!("nuncio cannot give it the address {value}"),
        "name an address that nuncio has for Gateways and no other Gateway has, or leave \
         addresses out",
    )
}

/// One each of those that nuncio has for Gateways.
fn give(context: &mut Context<'_>, gateways: &[&Arc<Object<Gateway>>], all: &mut [Addresses]) {
    let pool = Arc::clone(&context.settings.gateway_addresses);
    let mut free: BTreeSet<IpAddr> = pool.iter().copied().collect();
    // First who asks for some, then who has one, then the others: none of them loses what it has.
    for (gateway, addresses) in gateways.iter().zip(&mut *all) {
        for (index, asked) in wanted(&gateway.spec) {
            let address = asked.value.parse().ok().filter(|_| type_of(asked) == IP);
            match address.filter(|address| free.remove(address)) {
                Some(address) => addresses.give(address),
                None => {
                    let fault = not_usable(context, gateway, index, &asked.value);
                    addresses.unusable.get_or_insert(fault);
                }
            }
        }
    }
    let waiting = |gateway: &Object<Gateway>| wanted(&gateway.spec).next().is_none();
    let mut others: BTreeMap<usize, &Object<Gateway>> = gateways
        .iter()
        .enumerate()
        .filter(|(_, gateway)| waiting(gateway))
        .map(|(index, gateway)| (index, &***gateway))
        .collect();
    others.retain(|index, gateway| {
        let assigned = gateway.spec.assigned.iter();
        let assigned = assigned.filter_map(|address| address.value.parse().ok());
        match assigned.into_iter().find(|address| free.remove(address)) {
            Some(address) => {
                all[*index].give(address);
                false
            }
            None => true,
        }
    });
    for (index, gateway) in others {
        // Where it would be whoever else is there, so that most keep theirs also in a folder.
        let start = usize::try_from(hash(gateway) % pool.len() as u64)
            .expect("invariant: less than a length");
        let (before, after) = pool.split_at(start);
        let next = after
            .iter()
            .chain(before)
            .find(|address| free.remove(*address));
        match next {
            Some(address) => all[index].give(*address),
            None => {
                let fault = context.fault(
                    &gateway.at("spec.addresses"),
                    Reason::NotBound,
                    "AddressNotAssigned",
                    "nuncio has no address left for it",
                    "give nuncio more addresses for Gateways, or remove a Gateway",
                );
                all[index].unusable = Some(fault);
            }
        }
    }
}

fn hash(gateway: &Object<Gateway>) -> u64 {
    let mut hasher = DefaultHasher::new();
    (gateway.namespace(), gateway.name()).hash(&mut hasher);
    hasher.finish()
}
