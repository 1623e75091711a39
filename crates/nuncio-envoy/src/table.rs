//! RDS: [`RouteTable`] → `RouteConfiguration`.

use nuncio_envoy_api::envoy::config::route::v3 as rds;
use nuncio_envoy_api::resource::Resource;
use nuncio_model::route::{RouteTable, VirtualHost};

use crate::matcher::matcher;
use crate::proto::bool_value;
use crate::resource;
use crate::route::{headers_to_add, headers_to_remove, route};
use crate::statistics::virtual_clusters;

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

/// Encodes a route table.
pub fn route_configuration(table: &RouteTable) -> Resource {
    route_configuration_with(table, RouteSearch::Fastest)
}

/// Encodes a route table to be searched in this way.
pub fn route_configuration_with(table: &RouteTable, search: RouteSearch) -> Resource {
    let virtual_hosts = table.virtual_hosts.iter();
    resource(&rds::RouteConfiguration {
        name: table.name.to_string(),
        virtual_hosts: virtual_hosts
            .map(|host| virtual_host(host, search))
            .collect(),
        // A route may come before its cluster: then it answers 503, and the table is not refused.
        validate_clusters: bool_value(false),
        ..Default::default()
    })
}

fn virtual_host(host: &VirtualHost, search: RouteSearch) -> rds::VirtualHost {
    let as_tree = match search {
        RouteSearch::List => false,
        RouteSearch::Tree => !host.routes.is_empty(),
        RouteSearch::Fastest => host.routes.len() > SHORT,
    };
    let matcher = as_tree.then(|| matcher(&host.routes)).flatten();
    let routes = match &matcher {
        Some(_) => Vec::new(),
        None => host.routes.iter().map(|each| route(each)).collect(),
    };
    rds::VirtualHost {
        name: host.name.to_string(),
        domains: host.domains.iter().map(ToString::to_string).collect(),
        routes,
        matcher,
        virtual_clusters: virtual_clusters(&host.domains),
        response_headers_to_add: headers_to_add(&host.response_headers),
        response_headers_to_remove: headers_to_remove(&host.response_headers),
        ..Default::default()
    }
}
