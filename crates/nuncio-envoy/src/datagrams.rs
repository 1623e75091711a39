//! LDS: [`DatagramListener`] → `envoy.config.listener.v3.Listener` with a UDP proxy.

use nuncio_envoy_api::envoy::config::listener::v3 as lds;
use nuncio_envoy_api::envoy::extensions::filters::udp::udp_proxy::v3 as udp;
use nuncio_envoy_api::envoy::extensions::matching::common_inputs::network::v3::SourcePortInput;
use nuncio_envoy_api::envoy::extensions::matching::input_matchers::runtime_fraction::v3::RuntimeFraction;
use nuncio_envoy_api::pack;
use nuncio_envoy_api::resource::Resource;
use nuncio_envoy_api::xds::core::v3::TypedExtensionConfig;
use nuncio_envoy_api::xds::r#type::matcher::v3::Matcher;
use nuncio_envoy_api::xds::r#type::matcher::v3::matcher::matcher_list::predicate::{
    MatchType, SinglePredicate, single_predicate,
};
use nuncio_envoy_api::xds::r#type::matcher::v3::matcher::matcher_list::{FieldMatcher, Predicate};
use nuncio_envoy_api::xds::r#type::matcher::v3::matcher::{
    MatcherList, MatcherType, OnMatch, on_match,
};
use nuncio_model::listener::DatagramListener;
use nuncio_model::value::Fraction;

use crate::proto::runtime_fraction;
use crate::{quic, resource};

/// Encodes a listener of datagrams.
pub fn datagram_listener(listener: &DatagramListener) -> Resource {
    let proxy = udp::UdpProxyConfig {
        stat_prefix: listener.stat_prefix.to_string(),
        route_specifier: Some(udp::udp_proxy_config::RouteSpecifier::Matcher(clusters(
            listener,
        ))),
        ..Default::default()
    };
    resource(&lds::Listener {
        name: listener.name.to_string(),
        address: Some(quic::address(listener.address, listener.port)),
        udp_listener_config: Some(lds::UdpListenerConfig::default()),
        listener_filters: vec![lds::ListenerFilter {
            name: "envoy.filters.udp_listener.udp_proxy".to_owned(),
            config_type: Some(lds::listener_filter::ConfigType::TypedConfig(pack(&proxy))),
            ..Default::default()
        }],
        ..Default::default()
    })
}

/// Each cluster has the clients whose port falls into its part. Every one is asked with the same seed:
/// so the parts add up.
fn clusters(listener: &DatagramListener) -> Matcher {
    let clusters = &listener.clusters;
    let whole: u64 = clusters.iter().map(|each| u64::from(each.weight)).sum();
    let (last, others) = clusters.split_last().expect("invariant: at least one");
    let mut reached = 0;
    let matchers: Vec<_> = others
        .iter()
        .map(|each| {
            reached += u64::from(each.weight);
            FieldMatcher {
                predicate: Some(is_below(Fraction::of(reached, whole))),
                on_match: Some(route(&each.cluster)),
            }
        })
        .collect();
    Matcher {
        on_no_match: Some(Box::new(route(&last.cluster))),
        matcher_type: (!matchers.is_empty())
            .then_some(MatcherType::MatcherList(MatcherList { matchers })),
    }
}

fn is_below(share: Fraction) -> Predicate {
    Predicate {
        match_type: Some(MatchType::SinglePredicate(SinglePredicate {
            input: Some(TypedExtensionConfig {
                name: "source_port".to_owned(),
                typed_config: Some(pack(&SourcePortInput {})),
            }),
            matcher: Some(single_predicate::Matcher::CustomMatch(
                TypedExtensionConfig {
                    name: "share".to_owned(),
                    typed_config: Some(pack(&RuntimeFraction {
                        runtime_fraction: Some(runtime_fraction(share, "")),
                        ..Default::default()
                    })),
                },
            )),
        })),
    }
}

fn route(cluster: &str) -> OnMatch {
    OnMatch {
        on_match: Some(on_match::OnMatch::Action(TypedExtensionConfig {
            name: "route".to_owned(),
            typed_config: Some(pack(&udp::Route {
                cluster: cluster.to_owned(),
            })),
        })),
        ..Default::default()
    }
}
