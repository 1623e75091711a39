//! EDS: [`EndpointSet`] → `ClusterLoadAssignment`.

use nuncio_envoy_api::envoy::config::core::v3::Address;
use nuncio_envoy_api::envoy::config::endpoint::v3::{
    ClusterLoadAssignment, Endpoint, LbEndpoint, LocalityLbEndpoints, lb_endpoint::HostIdentifier,
};
use nuncio_envoy_api::resource::Resource;
use nuncio_model::cluster::{self, EndpointSet};

use crate::proto::socket_address;
use crate::resource;

/// Encodes the endpoints of EDS clusters.
pub fn cluster_load_assignment(set: &EndpointSet) -> Resource {
    resource(&assignment(&set.name, set.endpoints.iter().map(address)))
}

pub(crate) fn address(endpoint: &cluster::Endpoint) -> Address {
    socket_address(endpoint.address, endpoint.port)
}

/// An assignment with all endpoints in one locality; without endpoints, none.
pub(crate) fn assignment(
    name: &str,
    addresses: impl Iterator<Item = Address>,
) -> ClusterLoadAssignment {
    let lb_endpoints: Vec<_> = addresses
        .map(|address| LbEndpoint {
            host_identifier: Some(HostIdentifier::Endpoint(Endpoint {
                address: Some(address),
                ..Default::default()
            })),
            ..Default::default()
        })
        .collect();
    let endpoints = if lb_endpoints.is_empty() {
        Vec::new()
    } else {
        vec![LocalityLbEndpoints {
            lb_endpoints,
            ..Default::default()
        }]
    };
    ClusterLoadAssignment {
        cluster_name: name.to_owned(),
        endpoints,
        ..Default::default()
    }
}
