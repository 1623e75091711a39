//! From listeners and what is attached to them to what Envoy listens on.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use nuncio_model::listener::{
    DatagramListener, DownstreamTls, FilterChain, HttpConnectionManager, Listener as EnvoyListener,
    ListenerFilter, Proxy, Transport,
};
use nuncio_model::tls::Termination;

use super::attach::{ListenerKey, Route, Spec};
use super::hostname::Hostname;
use super::listener::{Gateway, Place, Protocol, Tls};
use super::policy::Policies;
use super::rule::{Facts, Lowered};
use super::stream::{self, Stream};
use super::table::{self, Site};
use super::{Context, Fault, kept};

/// What became of a route.
#[derive(Debug, Default)]
pub(super) struct Outcome {
    pub(super) unresolved: Option<Fault>,
    /// A rule that cannot be honoured.
    pub(super) unusable: Option<Fault>,
    /// Whether there is a rule that can.
    pub(super) usable: bool,
}

/// Makes the routes of each route once for each place that they are different for.
struct Routes<'r, 's> {
    routes: &'r [Route<'s>],
    lowered: HashMap<(usize, Facts), Arc<Lowered>>,
    streams: HashMap<(usize, Facts), Arc<Stream>>,
    outcomes: Vec<Option<Outcome>>,
}

/// Serves the listeners that can be, and says of each route what became of it.
pub(super) fn serve<'s>(
    context: &mut Context<'s>,
    gateways: &[Gateway<'s>],
    routes: &[Route<'_>],
    policies: &mut Policies,
) -> Vec<Outcome> {
    let mut attached: HashMap<ListenerKey, Vec<(usize, &[Hostname])>> = HashMap::new();
    for (index, route) in routes.iter().enumerate() {
        for attachment in route.parents.iter().flat_map(|parent| &parent.attached) {
            let of_listener = attached.entry(attachment.listener).or_default();
            // Two references to one listener are one.
            if of_listener.last().is_none_or(|(last, _)| *last != index) {
                of_listener.push((index, &attachment.hostnames));
            }
        }
    }
    let mut all = Routes {
        routes,
        lowered: HashMap::new(),
        streams: HashMap::new(),
        outcomes: routes.iter().map(|_| None).collect(),
    };
    for (place, keys) in places(gateways) {
        let port = Port {
            context,
            gateways,
            attached: &attached,
            place,
            keys: &keys,
        };
        port.serve(&mut all, policies);
    }
    for index in 0..routes.len() {
        if all.outcomes[index].is_none() {
            all.make(context, index, &Facts::default(), policies);
        }
    }
    policies.note_users(gateways, routes);
    let outcomes = all.outcomes.into_iter();
    outcomes.map(Option::unwrap_or_default).collect()
}

/// The listeners of each place, in the order of their Gateways.
fn places(gateways: &[Gateway<'_>]) -> BTreeMap<Place, Vec<ListenerKey>> {
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

impl Routes<'_, '_> {
    fn note(&mut self, index: usize, outcome: impl FnOnce() -> Outcome) {
        self.outcomes[index].get_or_insert_with(outcome);
    }

    fn make(
        &mut self,
        context: &mut Context<'_>,
        index: usize,
        facts: &Facts,
        policies: &mut Policies,
    ) {
        match self.routes[index].spec {
            Spec::Http(_) | Spec::Grpc(_) => {
                self.http(context, index, facts, policies);
            }
            Spec::Stream(_) => {
                self.stream(context, index, facts, policies);
            }
        }
    }

    fn http(
        &mut self,
        context: &mut Context<'_>,
        index: usize,
        facts: &Facts,
        policies: &mut Policies,
    ) -> Arc<Lowered> {
        let key = (index, facts.clone());
        if let Some(lowered) = self.lowered.get(&key) {
            return Arc::clone(lowered);
        }
        let route = &self.routes[index];
        // What is wrong with a route is wrong everywhere.
        let say = self.outcomes[index].is_none();
        let lowered = kept::lower(context, route, facts, policies, say);
        self.lowered.insert(key, Arc::clone(&lowered));
        self.note(index, || Outcome {
            unresolved: lowered.unresolved.clone(),
            unusable: lowered.unusable.clone(),
            usable: lowered.usable,
        });
        lowered
    }

    fn stream(
        &mut self,
        context: &mut Context<'_>,
        index: usize,
        facts: &Facts,
        policies: &mut Policies,
    ) -> Arc<Stream> {
        let key = (index, facts.clone());
        if let Some(stream) = self.streams.get(&key) {
            return Arc::clone(stream);
        }
        let route = &self.routes[index];
        let make = |context: &mut Context<'_>| stream::read(context, route, facts, policies);
        let stream = Arc::new(said_once(context, self.outcomes[index].is_some(), make));
        self.streams.insert(key, Arc::clone(&stream));
        self.note(index, || Outcome {
            unresolved: stream.unresolved.clone(),
            unusable: None,
            usable: true,
        });
        stream
    }
}

/// What is wrong with a route is wrong everywhere.
fn said_once<T>(
    context: &mut Context<'_>,
    said: bool,
    work: impl FnOnce(&mut Context<'_>) -> T,
) -> T {
    if !said {
        return work(context);
    }
    let report = std::mem::take(&mut context.report);
    let result = work(context);
    context.report = report;
    result
}

/// One address and port.
struct Port<'c, 's, 'g> {
    context: &'c mut Context<'s>,
    gateways: &'g [Gateway<'s>],
    attached: &'g HashMap<ListenerKey, Vec<(usize, &'g [Hostname])>>,
    place: Place,
    keys: &'g [ListenerKey],
}

impl Port<'_, '_, '_> {
    fn serve(mut self, routes: &mut Routes<'_, '_>, policies: &mut Policies) {
        let name = self.name();
        if self.place.udp {
            return self.datagrams(name, routes, policies);
        }
        let sites: Vec<Site> = self
            .keys
            .iter()
            .map(|key| self.site(*key, routes, policies))
            .collect();
        let mut chains = Vec::new();
        let cleartext: Vec<usize> = self.with_protocol(Protocol::Http);
        if let Some(first) = cleartext.first() {
            let table = table::of_cleartext(&name, &sites, self.context.surroundings);
            let tables = &mut self.context.gateway.route_tables;
            tables.insert(Arc::clone(&name), Arc::new(table));
            chains.push(FilterChain {
                name: "http".into(),
                origin: sites[*first].origin.clone(),
                tls: None,
                passthrough: None,
                proxy: self.connection_manager(&name),
            });
        }
        for (index, key) in self.keys.iter().enumerate() {
            let listener = key.of(self.gateways);
            match (listener.protocol, &listener.tls) {
                (Some(Protocol::Https), Tls::Terminate(termination)) => {
                    let chain = self.https(*key, index, &name, &sites, termination);
                    chains.push(chain);
                }
                (Some(Protocol::Tls | Protocol::Tcp), tls) => {
                    let made = self.streams(*key, index, &sites, tls, routes, policies);
                    chains.extend(made);
                }
                _ => {}
            }
        }
        if chains.is_empty() {
            return;
        }
        let tls = chains
            .iter()
            .any(|chain| chain.tls.is_some() || chain.passthrough.is_some());
        let http = chains.iter().any(|chain| chain.http().is_some());
        let port = self.place.port;
        let listener = EnvoyListener {
            name: Arc::clone(&name),
            origin: sites[0].origin.clone(),
            transport: Transport::Tcp,
            address: self.place.address,
            port,
            listener_filters: tls
                .then_some(ListenerFilter::TlsInspector)
                .into_iter()
                .collect(),
            stat_prefix: match (tls, http) {
                (true, true) => "ingress_https".into(),
                (false, true) => "ingress_http".into(),
                (true, false) => format!("ingress_tls_{port}").into(),
                (false, false) => format!("ingress_tcp_{port}").into(),
            },
            per_connection_buffer_limit: self.context.surroundings.buffer_limit,
            filter_chains: chains,
        };
        let listeners = &mut self.context.gateway.listeners;
        listeners.insert(name, Arc::new(listener));
    }

    /// A port of UDP has one listener, and of its routes the oldest counts. Without one it is closed.
    fn datagrams(self, name: Arc<str>, routes: &mut Routes<'_, '_>, policies: &mut Policies) {
        let key = self.keys[0];
        let facts = self.facts(key, policies);
        let attached = self.attached.get(&key).and_then(|routes| routes.first());
        let Some((route, _)) = attached else {
            return;
        };
        let stream = routes.stream(self.context, *route, &facts, policies);
        let port = self.place.port;
        let origin = key.of(self.gateways).origin.clone();
        let listener = DatagramListener {
            name: Arc::clone(&name),
            address: self.place.address,
            port,
            stat_prefix: format!("ingress_udp_{port}").into(),
            clusters: stream.clusters(self.context, &origin),
            origin,
        };
        let listeners = &mut self.context.gateway.datagram_listeners;
        listeners.insert(name, Arc::new(listener));
    }

    /// Where Gateways have addresses or ports of their own, a port is one Gateway's.
    fn name(&self) -> Arc<str> {
        let Place { address, udp, .. } = self.place;
        let port = self.keys[0].of(self.gateways).spec.port;
        let port = match udp {
            true => format!("{port}/udp"),
            false => port.to_string(),
        };
        if !self.context.settings.gateways_are_apart() {
            return format!("gateway/{port}").into();
        }
        let gateway = &self.gateways[self.keys[0].gateway];
        let object = gateway.object;
        let name = format!("gateway/{}/{}/{port}", object.namespace(), object.name());
        match gateway.addresses.bound.first() == Some(&address) {
            true => name.into(),
            false => format!("{name}/{address}").into(),
        }
    }

    fn with_protocol(&self, protocol: Protocol) -> Vec<usize> {
        let keys = self.keys.iter().enumerate();
        let has = |key: &ListenerKey| key.of(self.gateways).protocol == Some(protocol);
        keys.filter(|(_, key)| has(key))
            .map(|(index, _)| index)
            .collect()
    }

    fn facts(&self, key: ListenerKey, policies: &Policies) -> Facts {
        let listener = key.of(self.gateways);
        let gateway = &self.gateways[key.gateway];
        Facts {
            port: listener.spec.port,
            tls: listener.protocol == Some(Protocol::Https),
            client_certificate: gateway.client_certificate.clone(),
            policies: policies.route.of_listener(gateway, key.set, listener),
        }
    }

    fn site(
        &mut self,
        key: ListenerKey,
        routes: &mut Routes<'_, '_>,
        policies: &mut Policies,
    ) -> Site {
        let listener = key.of(self.gateways);
        let around = self.facts(key, policies);
        let mut site = Site {
            hostname: listener.hostname.clone(),
            origin: listener.origin.clone(),
            routes: Vec::new(),
        };
        if matches!(listener.protocol, Some(Protocol::Http | Protocol::Https)) {
            for (index, hostnames) in self.attached.get(&key).into_iter().flatten() {
                let route = &routes.routes[*index];
                let facts = Facts {
                    policies: policies.route.of_route(&around.policies, route),
                    ..around.clone()
                };
                let lowered = routes.http(self.context, *index, &facts, policies);
                site.routes.push((hostnames.to_vec(), lowered));
            }
        }
        site
    }

    fn https(
        &mut self,
        key: ListenerKey,
        index: usize,
        name: &str,
        sites: &[Site],
        termination: &Termination,
    ) -> FilterChain {
        let listener = key.of(self.gateways);
        let section = &listener.spec.name;
        let own = match key.set {
            None => section.clone(),
            Some(set) => {
                let set = self.gateways[key.gateway].sets[set].object;
                format!("{}/{}/{section}", set.namespace(), set.name())
            }
        };
        let gateway = self.gateways[key.gateway].object;
        let own = match self.context.settings.gateways_are_apart() {
            false => format!("{}/{}/{own}", gateway.namespace(), gateway.name()),
            true => own,
        };
        let table: Arc<str> = format!("{name}/{own}").into();
        let made = table::of_tls(&table, sites, index, self.context.surroundings);
        let tables = &mut self.context.gateway.route_tables;
        tables.insert(Arc::clone(&table), Arc::new(made));
        FilterChain {
            name: format!("https/{own}").into(),
            origin: listener.origin.clone(),
            tls: Some(DownstreamTls {
                server_name: listener.hostname.server_name(),
                termination: termination.clone(),
            }),
            passthrough: None,
            proxy: self.connection_manager(&table),
        }
    }

    fn streams(
        &mut self,
        key: ListenerKey,
        index: usize,
        sites: &[Site],
        tls: &Tls,
        routes: &mut Routes<'_, '_>,
        policies: &mut Policies,
    ) -> Vec<FilterChain> {
        let facts = self.facts(key, policies);
        let attached = self.attached.get(&key);
        let mut by_hostname: BTreeMap<&Hostname, usize> = BTreeMap::new();
        for (route, hostnames) in attached.into_iter().flatten() {
            // The oldest comes first.
            for hostname in *hostnames {
                by_hostname.entry(hostname).or_insert(*route);
            }
        }
        let own = table::own(sites, index, by_hostname.keys().copied());
        let mut chains = Vec::new();
        for hostname in own {
            let route = by_hostname[hostname];
            let stream = routes.stream(self.context, route, &facts, policies);
            let origin = routes.routes[route].origin();
            chains.push(stream.chain(self.context, origin, hostname, tls));
        }
        chains
    }

    fn connection_manager(&self, table: &Arc<str>) -> Proxy {
        let surroundings = self.context.surroundings;
        Proxy::Http(HttpConnectionManager {
            route_table: Arc::clone(table),
            authorities: None,
            xff_num_trusted_hops: 0,
            max_concurrent_streams: None,
            http3: false,
            filters: self.context.filters.clone(),
            late_filters: surroundings.late_filters.clone(),
            // Also while no route has one: the first would change the listener, and close connections.
            sessions: true,
            options: Arc::clone(&surroundings.options),
        })
    }
}
