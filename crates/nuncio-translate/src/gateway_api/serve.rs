//! From listeners and what is attached to them to what Envoy listens on.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use nuncio_model::listener::{
    DatagramListener, DownstreamTls, FilterChain, HttpConnectionManager, Listener as EnvoyListener,
    ListenerFilter, Proxy, Transport,
};
use nuncio_model::route::RouteTable;
use nuncio_model::tls::Termination;
use nuncio_model::{Gateway, Origin};

use super::Context;
use super::attach::{Attached, ListenerKey, RouteKey};
use super::base::Base;
use super::hostname::Hostname;
use super::kept::Routes;
use super::listener::{Listener, Place, Protocol, Tls};
use super::lowered::Work;
use super::rule::Lowered;
use super::stream::Stream;
use super::table::{self, Site, Sites};

/// What comes of a port. What it has names of its own for is nobody else's.
#[derive(Debug, Default)]
pub(super) struct Served {
    listener: Option<Arc<EnvoyListener>>,
    datagram_listener: Option<Arc<DatagramListener>>,
    tables: Vec<Arc<RouteTable>>,
}

impl Served {
    pub(super) fn add_to(&self, gateway: &mut Gateway) {
        for table in &self.tables {
            let tables = &mut gateway.route_tables;
            tables.insert(Arc::clone(&table.name), Arc::clone(table));
        }
        if let Some(listener) = &self.listener {
            let listeners = &mut gateway.listeners;
            listeners.insert(Arc::clone(&listener.name), Arc::clone(listener));
        }
        if let Some(listener) = &self.datagram_listener {
            let listeners = &mut gateway.datagram_listeners;
            listeners.insert(Arc::clone(&listener.name), Arc::clone(listener));
        }
    }

    pub(super) fn take_from(&self, gateway: &mut Gateway) {
        for table in &self.tables {
            gateway.route_tables.remove(&table.name);
        }
        if let Some(listener) = &self.listener {
            gateway.listeners.remove(&listener.name);
        }
        if let Some(listener) = &self.datagram_listener {
            gateway.datagram_listeners.remove(&listener.name);
        }
    }
}

/// One address and port.
pub(super) struct Port<'a> {
    pub(super) context: Context<'a>,
    pub(super) base: &'a Base,
    pub(super) listeners: &'a HashMap<ListenerKey, Attached>,
    pub(super) routes: &'a Routes,
    pub(super) place: Place,
    /// Its listeners, in the order of their Gateways.
    pub(super) keys: &'a [ListenerKey],
}

impl<'a> Port<'a> {
    fn listener(&self, key: ListenerKey) -> &'a Listener {
        key.of(&self.base.gateways)
    }

    /// The routes of a listener, the oldest first.
    fn attached(
        &self,
        key: ListenerKey,
    ) -> impl Iterator<Item = (&'a RouteKey, &'a [Hostname])> + use<'a> {
        let attached = self.listeners.get(&key).into_iter();
        let attached = attached.flat_map(Attached::routes);
        attached.map(|(route, hostnames)| (&**route, hostnames))
    }

    /// What a route became for a listener that has it.
    fn work(&self, key: ListenerKey, route: &RouteKey) -> &'a Work {
        let facts = self.base.facts(key, route.id());
        let facts = facts.expect("invariant: a port has only listeners that are served");
        &self.routes[route].lowered(&facts).work
    }

    fn http(&self, key: ListenerKey, route: &RouteKey) -> Option<&'a Arc<Lowered>> {
        match self.work(key, route) {
            Work::Http(lowered) => Some(lowered),
            Work::Stream(_) => None,
        }
    }

    fn stream(&self, key: ListenerKey, route: &RouteKey) -> Option<&'a Stream> {
        match self.work(key, route) {
            Work::Stream(stream) => Some(stream),
            Work::Http(_) => None,
        }
    }

    pub(super) fn serve(&self) -> Served {
        let name = self.name();
        if self.place.udp {
            return self.datagrams(name);
        }
        let sites = self.keys.iter().map(|key| self.site(*key));
        let sites = Sites::new(sites.collect());
        let mut served = Served::default();
        let mut chains = Vec::new();
        let cleartext: Vec<usize> = self.with_protocol(Protocol::Http);
        if let Some(first) = cleartext.first() {
            let table = table::of_cleartext(&name, &sites, self.context.surroundings);
            served.tables.push(Arc::new(table));
            chains.push(FilterChain {
                name: "http".into(),
                origin: sites.all[*first].origin.clone(),
                tls: None,
                passthrough: None,
                proxy: self.connection_manager(&name),
            });
        }
        for (index, key) in self.keys.iter().enumerate() {
            let listener = self.listener(*key);
            match (listener.protocol, &listener.tls) {
                (Some(Protocol::Https), Tls::Terminate(termination)) => {
                    let own = self.own_name(*key);
                    let table: Arc<str> = format!("{name}/{own}").into();
                    let made = table::of_tls(&table, &sites, index, self.context.surroundings);
                    served.tables.push(Arc::new(made));
                    chains.push(self.https(listener, &own, &table, termination));
                }
                (Some(Protocol::Tls | Protocol::Tcp), tls) => {
                    chains.extend(self.streams(*key, index, &sites, tls));
                }
                _ => {}
            }
        }
        if chains.is_empty() {
            return served;
        }
        let tls = chains
            .iter()
            .any(|chain| chain.tls.is_some() || chain.passthrough.is_some());
        let http = chains.iter().any(|chain| chain.http().is_some());
        let port = self.place.port;
        let listener = EnvoyListener {
            name,
            origin: sites.all[0].origin.clone(),
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
        served.listener = Some(Arc::new(listener));
        served
    }

    /// A port of UDP has one listener, and of its routes the oldest counts. Without one it is closed.
    fn datagrams(&self, name: Arc<str>) -> Served {
        let key = self.keys[0];
        let route = self.attached(key).next();
        let Some(stream) = route.and_then(|(route, _)| self.stream(key, route)) else {
            return Served::default();
        };
        let port = self.place.port;
        let listener = DatagramListener {
            name,
            address: self.place.address,
            port,
            stat_prefix: format!("ingress_udp_{port}").into(),
            clusters: stream.clusters.clone(),
            origin: self.listener(key).origin.clone(),
        };
        Served {
            datagram_listener: Some(Arc::new(listener)),
            ..Served::default()
        }
    }

    /// Where Gateways have addresses or ports of their own, a port is one Gateway's.
    fn name(&self) -> Arc<str> {
        let Place { address, udp, .. } = self.place;
        let port = self.listener(self.keys[0]).spec.port;
        let port = match udp {
            true => format!("{port}/udp"),
            false => port.to_string(),
        };
        if !self.context.settings.gateways_are_apart() {
            return format!("gateway/{port}").into();
        }
        let gateway = &self.base.gateways[self.keys[0].gateway];
        let object = &gateway.object;
        let name = format!("gateway/{}/{}/{port}", object.namespace(), object.name());
        match gateway.addresses.bound.first() == Some(&address) {
            true => name.into(),
            false => format!("{name}/{address}").into(),
        }
    }

    fn with_protocol(&self, protocol: Protocol) -> Vec<usize> {
        let keys = self.keys.iter().enumerate();
        let has = |key: &ListenerKey| self.listener(*key).protocol == Some(protocol);
        keys.filter(|(_, key)| has(key))
            .map(|(index, _)| index)
            .collect()
    }

    fn site(&self, key: ListenerKey) -> Site {
        let listener = self.listener(key);
        let routes = self.attached(key).filter_map(|(route, hostnames)| {
            let lowered = self.http(key, route)?;
            Some((hostnames.to_vec(), Arc::clone(lowered)))
        });
        Site {
            hostname: listener.hostname.clone(),
            origin: listener.origin.clone(),
            routes: routes.collect(),
        }
    }

    /// What a listener is called on its port.
    fn own_name(&self, key: ListenerKey) -> String {
        let gateway = &self.base.gateways[key.gateway];
        let section = &self.listener(key).spec.name;
        let own = match key.set {
            None => section.clone(),
            Some(set) => {
                let set = &gateway.sets[set].object;
                format!("{}/{}/{section}", set.namespace(), set.name())
            }
        };
        let object = &gateway.object;
        match self.context.settings.gateways_are_apart() {
            false => format!("{}/{}/{own}", object.namespace(), object.name()),
            true => own,
        }
    }

    fn https(
        &self,
        listener: &Listener,
        own: &str,
        table: &Arc<str>,
        termination: &Termination,
    ) -> FilterChain {
        FilterChain {
            name: format!("https/{own}").into(),
            origin: listener.origin.clone(),
            tls: Some(DownstreamTls {
                server_name: listener.hostname.server_name(),
                termination: termination.clone(),
            }),
            passthrough: None,
            proxy: self.connection_manager(table),
        }
    }

    fn streams(
        &self,
        key: ListenerKey,
        index: usize,
        sites: &Sites,
        tls: &Tls,
    ) -> Vec<FilterChain> {
        let mut by_hostname: BTreeMap<&Hostname, &RouteKey> = BTreeMap::new();
        for (route, hostnames) in self.attached(key) {
            // The oldest comes first.
            for hostname in hostnames {
                by_hostname.entry(hostname).or_insert(route);
            }
        }
        let own = sites.own(index, by_hostname.keys().copied());
        let own = own.into_iter().filter_map(|hostname| {
            let route = by_hostname[hostname];
            let origin = Origin::new(Arc::clone(route.id()));
            let stream = self.stream(key, route)?;
            Some(stream.chain(&self.context, origin, hostname, tls))
        });
        own.collect()
    }

    fn connection_manager(&self, table: &Arc<str>) -> Proxy {
        let surroundings = self.context.surroundings;
        Proxy::Http(HttpConnectionManager {
            route_table: Arc::clone(table),
            authorities: None,
            xff_num_trusted_hops: 0,
            max_concurrent_streams: None,
            http3: false,
            filters: self.base.filter_names.clone(),
            late_filters: surroundings.late_filters.clone(),
            // Also while no route has one: the first would change the listener, and close connections.
            route_filters: true,
            options: Arc::clone(&surroundings.options),
        })
    }
}
