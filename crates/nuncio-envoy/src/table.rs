//! RDS: [`RouteTable`] → `RouteConfiguration`, as an ordered list of routes.

use nuncio_envoy_api::envoy::config::route::v3 as rds;
use nuncio_envoy_api::resource::Resource;
use nuncio_model::route::{RouteTable, VirtualHost};

use crate::proto::bool_value;
use crate::resource;
use crate::route::{headers_to_add, headers_to_remove, route};
use crate::statistics::virtual_clusters;

/// Encodes a route table.
pub fn route_configuration(table: &RouteTable) -> Resource {
    resource(&rds::RouteConfiguration {
        name: table.name.to_string(),
        virtual_hosts: table.virtual_hosts.iter().map(virtual_host).collect(),
        // A route may come before its cluster: then it answers 503, and the table is not refused.
        validate_clusters: bool_value(false),
        ..Default::default()
    })
}

fn virtual_host(host: &VirtualHost) -> rds::VirtualHost {
    rds::VirtualHost {
        name: host.name.to_string(),
        domains: host.domains.iter().map(ToString::to_string).collect(),
        routes: host.routes.iter().map(|each| route(each)).collect(),
        virtual_clusters: virtual_clusters(&host.domains),
        response_headers_to_add: headers_to_add(&host.response_headers),
        response_headers_to_remove: headers_to_remove(&host.response_headers),
        ..Default::default()
    }
}
