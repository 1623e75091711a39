//! Route tables: which routes answer for which hostname of a listener.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use nuncio_model::Origin;
use nuncio_model::route::{
    Action, HeaderEdits, PathMatch, Route, RouteMatch, RouteTable, VirtualHost,
};
use nuncio_model::value::PathLiteral;

use super::Surroundings;
use super::hostname::Hostname;
use super::rule::{Lowered, Match};

/// A listener of a port, as far as requests are told apart by it.
pub(super) struct Site {
    pub(super) hostname: Hostname,
    pub(super) origin: Origin,
    /// The routes that are attached to it, for their hostnames.
    pub(super) routes: Vec<(Vec<Hostname>, Arc<Lowered>)>,
}

/// All of one port.
pub(super) struct Sites {
    pub(super) all: Vec<Site>,
    /// By the keys of their hostnames.
    by_hostname: HashMap<String, usize>,
}

impl Sites {
    pub(super) fn new(all: Vec<Site>) -> Self {
        let sites = all.iter().enumerate();
        let by_hostname = sites.map(|(index, site)| (site.hostname.key().to_owned(), index));
        Self {
            by_hostname: by_hostname.collect(),
            all,
        }
    }

    /// The site that a name belongs to: the most specific.
    fn owner(&self, hostname: &Hostname) -> Option<usize> {
        let mut covering = hostname.covering();
        covering.find_map(|key| self.by_hostname.get(key).copied())
    }

    /// What of a site's hostnames is its own: what a more specific site of the port covers, that has.
    pub(super) fn own<'h>(
        &self,
        index: usize,
        hostnames: impl Iterator<Item = &'h Hostname>,
    ) -> Vec<&'h Hostname> {
        hostnames
            .filter(|hostname| self.owner(hostname) == Some(index))
            .collect()
    }
}

/// The table of all sites of a port without TLS.
pub(super) fn of_cleartext(
    name: &Arc<str>,
    sites: &Sites,
    surroundings: &Surroundings,
) -> RouteTable {
    let hosts = (0..sites.all.len()).flat_map(|index| hosts(sites, index));
    table(name, hosts.collect(), surroundings)
}

/// The table of one site of a port with TLS. Requests for a name of another site came on the wrong
/// connection: 421 has the client make another (RFC 9110, 15.5.20).
pub(super) fn of_tls(
    name: &Arc<str>,
    sites: &Sites,
    index: usize,
    surroundings: &Surroundings,
) -> RouteTable {
    let mut all = hosts(sites, index);
    for (other, site) in sites.all.iter().enumerate() {
        if other != index {
            all.push(Host {
                hostname: site.hostname.clone(),
                origin: site.origin.clone(),
                routes: vec![misdirected(&site.origin)],
            });
        }
    }
    table(name, all, surroundings)
}

/// A hostname with its routes.
struct Host {
    hostname: Hostname,
    origin: Origin,
    routes: Vec<Arc<Route>>,
}

/// The hosts of a site. Its own hostname is one of them, with routes or without: nobody else answers
/// for it.
fn hosts(sites: &Sites, index: usize) -> Vec<Host> {
    let site = &sites.all[index];
    let mut matches: BTreeMap<&Hostname, Vec<&Match>> = BTreeMap::new();
    matches.entry(&site.hostname).or_default();
    for (hostnames, lowered) in &site.routes {
        for hostname in hostnames {
            let of_host = matches.entry(hostname).or_default();
            of_host.extend(&lowered.matches);
        }
    }
    for of_host in matches.values_mut() {
        of_host.sort_by(|one, other| one.precedence.cmp(&other.precedence));
    }
    let by_key = matches.iter();
    let by_key: HashMap<&str, &Vec<&Match>> = by_key
        .map(|(hostname, matches)| (hostname.key(), matches))
        .collect();
    sites
        .own(index, matches.keys().copied())
        .into_iter()
        .map(|hostname| {
            // What a more specific hostname does not take, a less specific one does.
            let covering = hostname.covering().filter_map(|key| by_key.get(key));
            let routes = covering
                .flat_map(|matches| *matches)
                .flat_map(|each| &each.routes);
            Host {
                hostname: hostname.clone(),
                origin: site.origin.clone(),
                routes: routes.cloned().collect(),
            }
        })
        .collect()
}

/// Hosts with the same routes are one virtual host.
fn table(name: &Arc<str>, hosts: Vec<Host>, surroundings: &Surroundings) -> RouteTable {
    let mut index: HashMap<Vec<*const Route>, usize> = HashMap::new();
    let mut virtual_hosts: Vec<VirtualHost> = Vec::new();
    for host in hosts {
        let domain = host.hostname.domain().clone();
        let same: Vec<_> = host.routes.iter().map(Arc::as_ptr).collect();
        if let Some(at) = index.get(&same) {
            virtual_hosts[*at].domains.push(domain);
            virtual_hosts[*at].origins.push(host.origin);
            continue;
        }
        index.insert(same, virtual_hosts.len());
        virtual_hosts.push(VirtualHost {
            // What is before the first dot is all that statistics have of it.
            name: format!("{}.{domain}", name.replace('.', "_")).into(),
            domains: vec![domain],
            origins: vec![host.origin],
            routes: host.routes,
            response_headers: HeaderEdits::default(),
        });
    }
    RouteTable {
        name: Arc::clone(name),
        virtual_hosts,
        ignore_port: true,
        asks: surroundings.asks.clone(),
    }
}

fn misdirected(origin: &Origin) -> Arc<Route> {
    Arc::new(Route {
        origin: origin.clone(),
        matches: RouteMatch {
            path: PathMatch::Prefix(PathLiteral::new("/").expect("invariant: it is one line")),
            case_sensitive: true,
            headers: Vec::new(),
            query_parameters: Vec::new(),
            fraction: None,
        },
        action: Action::DirectResponse {
            status: 421,
            body: "".into(),
        },
        request_headers: HeaderEdits::default(),
        response_headers: HeaderEdits::default(),
        cors: None,
        authorization: None,
    })
}
