//! LDS: [`Ready`] → a listener that Envoy answers by itself.
//!
//! It comes with the other listeners and not with the bootstrap: where the port is taken it costs
//! only itself, and another port restarts nothing.

use nuncio_envoy_api::envoy::config::listener::v3 as lds;
use nuncio_envoy_api::envoy::config::route::v3::RouteConfiguration;
use nuncio_envoy_api::envoy::extensions::filters::network::http_connection_manager::v3 as hcm;
use nuncio_envoy_api::pack;
use nuncio_envoy_api::resource::Resource;
use nuncio_model::listener::Ready;

use crate::proto::socket_address;
use crate::{filter, log, resource};

const PATH: &str = "/ready";
const STAT_PREFIX: &str = "ready_http";

/// Encodes the listener; other paths than `/ready` are a 404.
pub fn ready(ready: &Ready) -> Resource {
    let http = hcm::HttpConnectionManager {
        stat_prefix: STAT_PREFIX.to_owned(),
        route_specifier: Some(hcm::http_connection_manager::RouteSpecifier::RouteConfig(
            RouteConfiguration::default(),
        )),
        http_filters: vec![filter::health_check(PATH), filter::router(false, false)],
        access_log: ready.access_log.iter().map(log::access_log).collect(),
        ..Default::default()
    };
    let http = lds::Filter {
        name: "envoy.filters.network.http_connection_manager".to_owned(),
        config_type: Some(lds::filter::ConfigType::TypedConfig(pack(&http))),
    };
    resource(&lds::Listener {
        name: ready.name(),
        address: Some(socket_address(ready.address, ready.port)),
        filter_chains: vec![lds::FilterChain {
            filters: vec![http],
            ..Default::default()
        }],
        ..Default::default()
    })
}
