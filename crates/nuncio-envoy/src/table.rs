//! RDS: [`RouteTable`] → `RouteConfiguration`.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use nuncio_envoy_api::envoy::config::route::v3 as rds;
use nuncio_envoy_api::resource::Resource;
use nuncio_model::external::Asks;
use nuncio_model::route::{RouteTable, VirtualHost};

use crate::encoded::{Encoded, put_field};
use crate::proto::bool_value;
use crate::route::{headers_to_add, headers_to_remove};
use crate::statistics::virtual_clusters;
use crate::{external, matcher};

/// How Envoy finds a route. The answers are the same.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum RouteSearch {
    /// One after the other.
    List,
    /// By a tree over the paths, where that can be made.
    Tree,
    /// The faster one.
    Fastest,
}

/// Up to here a list is as fast as a tree, and easier to read.
const SHORT: usize = 32;

/// What was encoded of a route table the last time.
#[derive(Default)]
pub(crate) struct Memory {
    /// Routes are encoded for what is asked about their table.
    asks: Asks,
    /// By the names of the virtual hosts.
    hosts: BTreeMap<Arc<str>, matcher::Memory>,
}

/// Encodes a route table to be searched in this way.
pub fn route_configuration_with(table: &RouteTable, search: RouteSearch) -> Resource {
    remembering(&mut Memory::default(), table, search)
}

/// Encodes a route table, as far as it is another than the last.
pub(crate) fn route_configuration(memory: &mut Memory, table: &RouteTable) -> Resource {
    let hosts = table.virtual_hosts.iter();
    let names: HashSet<&Arc<str>> = hosts.map(|host| &host.name).collect();
    memory.hosts.retain(|name, _| names.contains(name));
    remembering(memory, table, RouteSearch::Fastest)
}

fn remembering(memory: &mut Memory, table: &RouteTable, search: RouteSearch) -> Resource {
    if memory.asks != table.asks {
        *memory = Memory {
            asks: table.asks.clone(),
            hosts: BTreeMap::new(),
        };
    }
    let mut configuration = Encoded::of(&rds::RouteConfiguration {
        name: table.name.to_string(),
        ignore_port_in_host_matching: table.ignore_port,
        typed_per_filter_config: external::of_table(&table.asks),
        // A route may come before its cluster: then it answers 503, and the table is not refused.
        validate_clusters: bool_value(false),
        ..Default::default()
    });
    for host in &table.virtual_hosts {
        let memory = memory
            .hosts
            .entry(Arc::clone(&host.name))
            .or_insert_with(|| matcher::Memory::new(table.asks.clone()));
        configuration.field(
            CONFIGURATION_VIRTUAL_HOSTS,
            virtual_host(memory, host, search),
        );
    }
    Resource::new(configuration.into_bytes())
}

// Fields of `config.route.v3`, by their numbers.
const CONFIGURATION_VIRTUAL_HOSTS: u32 = 2;
const HOST_ROUTES: u32 = 3;
const HOST_MATCHER: u32 = 21;

fn virtual_host(memory: &mut matcher::Memory, host: &VirtualHost, search: RouteSearch) -> Encoded {
    let mut encoded = Encoded::of(&rds::VirtualHost {
        name: host.name.to_string(),
        domains: host.domains.iter().map(ToString::to_string).collect(),
        virtual_clusters: virtual_clusters(&host.domains),
        response_headers_to_add: headers_to_add(&host.response_headers),
        response_headers_to_remove: headers_to_remove(&host.response_headers),
        ..Default::default()
    });
    let as_tree = match search {
        RouteSearch::List => false,
        RouteSearch::Tree => !host.routes.is_empty(),
        RouteSearch::Fastest => host.routes.len() > SHORT,
    };
    let matcher = as_tree.then(|| matcher::matcher(memory, &host.routes));
    match matcher.flatten() {
        Some(matcher) => encoded.field(HOST_MATCHER, matcher),
        None => {
            for route in memory.list(&host.routes) {
                let mut field = Vec::with_capacity(route.len() + 8);
                put_field(HOST_ROUTES, route, &mut field);
                encoded.push(field.into());
            }
        }
    }
    encoded
}
