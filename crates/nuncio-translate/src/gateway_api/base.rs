//! What Gateways are without their routes, and what those go by.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use nuncio_model::filter::HttpFilter;
use nuncio_model::tls::Secret;
use nuncio_model::{Named, Report, ResourceId};

use super::Context;
use super::attach::ListenerKey;
use super::infrastructure::{self, Infrastructure, Services};
use super::listener::{self, Gateway, Place, Protocol};
use super::policy::Policies;
use super::rule::Facts;
use super::status::{self, Status};
use crate::fields::error_response;

#[derive(Debug, Default)]
pub(super) struct Base {
    /// The oldest first.
    pub(super) gateways: Vec<Gateway>,
    pub(super) policies: Policies,
    /// Of every connection manager, and those of them that are nobody else's.
    pub(super) filter_names: Vec<Arc<str>>,
    pub(super) filters: Named<HttpFilter>,
    /// The listeners of each place that are served, in the order of their Gateways.
    pub(super) places: BTreeMap<Place, Vec<ListenerKey>>,
    pub(super) classes: Vec<(Arc<ResourceId>, Status)>,
    pub(super) infrastructure: Arc<Infrastructure>,
    /// Services of whose endpoints more depends than what is sent to them.
    pub(super) follows: Services,
    pub(super) secrets: Named<Secret>,
    pub(super) report: Report,
    pub(super) files: BTreeSet<Arc<str>>,
}

impl Base {
    pub(super) fn read(mut context: Context<'_>) -> Self {
        let classes = infrastructure::of_classes(&mut context);
        let gateways = listener::gateways(&mut context, &classes);
        let policies = Policies::read(&mut context);
        let mut filter_names = context.surroundings.filters.clone();
        if let Some(origin) = policies.route.own_error_responses() {
            error_response::with_filter(&mut filter_names, &mut context.gateway, &origin);
        }
        let (infrastructure, follows) = infrastructure::generate(&mut context, &gateways);
        Self {
            places: places(&gateways),
            classes: status::of_classes(&context, &classes),
            gateways,
            policies,
            filter_names,
            filters: context.gateway.filters,
            infrastructure: Arc::new(infrastructure),
            follows,
            secrets: context.gateway.secrets,
            report: context.report,
            files: context.files,
        }
    }

    /// The objects that have a status of it.
    pub(super) fn ids(&self) -> impl Iterator<Item = &Arc<ResourceId>> {
        let gateways = self.gateways.iter().flat_map(|gateway| {
            let sets = gateway.sets.iter().map(|set| &set.object.id);
            std::iter::once(&gateway.object.id).chain(sets)
        });
        let policies = self.policies.ids();
        let classes = self.classes.iter().map(|(id, _)| id);
        classes.chain(gateways).chain(policies)
    }

    /// What a route of a listener depends on, if that is served.
    pub(super) fn facts(&self, key: ListenerKey, route: &ResourceId) -> Option<Facts> {
        let gateway = &self.gateways[key.gateway];
        let listener = key.of(&self.gateways);
        let policies = &self.policies.route;
        listener.is_served().then(|| Facts {
            port: listener.spec.port,
            tls: listener.protocol == Some(Protocol::Https),
            client_certificate: gateway.client_certificate.clone(),
            policies: policies.attached_to(gateway, key.set, listener, route),
        })
    }

    /// Where a listener is served.
    pub(super) fn places_of(&self, key: ListenerKey) -> impl Iterator<Item = Place> {
        let listener = key.of(&self.gateways);
        let addresses = &self.gateways[key.gateway].addresses;
        let places = addresses.places(listener.spec.port, listener.is_udp());
        places.filter(|place| self.places.contains_key(place))
    }
}

fn places(gateways: &[Gateway]) -> BTreeMap<Place, Vec<ListenerKey>> {
    let mut places: BTreeMap<Place, Vec<ListenerKey>> = BTreeMap::new();
    for (index, gateway) in gateways.iter().enumerate() {
        if gateway.refused.is_some() {
            continue;
        }
        let own = gateway.listeners.iter().enumerate();
        let own = own.map(|(index, listener)| (None, index, listener));
        let sets = gateway.sets.iter().enumerate();
        let sets = sets.filter(|(_, set)| set.refused.is_none());
        let sets = sets.flat_map(|(of, set)| {
            let listeners = set.listeners.iter().enumerate();
            listeners.map(move |(index, listener)| (Some(of), index, listener))
        });
        for (set, at, listener) in own.chain(sets) {
            if !listener.is_served() {
                continue;
            }
            let key = ListenerKey {
                gateway: index,
                set,
                index: at,
            };
            let own = gateway
                .addresses
                .places(listener.spec.port, listener.is_udp());
            for place in own {
                places.entry(place).or_default().push(key);
            }
        }
    }
    places
}
