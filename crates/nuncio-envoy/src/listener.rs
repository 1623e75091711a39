//! LDS: [`Listener`] → `envoy.config.listener.v3.Listener`.
//!
//! Nothing here depends on routes, clusters or certificates but by their names: what changes in a
//! listener drains connections.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use nuncio_envoy_api::envoy::config::accesslog::v3 as accesslog;
use nuncio_envoy_api::envoy::config::core::v3 as core;
use nuncio_envoy_api::envoy::config::listener::v3 as lds;
use nuncio_envoy_api::envoy::extensions::access_loggers::file::v3 as file_log;
use nuncio_envoy_api::envoy::extensions::access_loggers::filters::cel::v3 as cel;
use nuncio_envoy_api::envoy::extensions::filters::listener::proxy_protocol::v3::ProxyProtocol;
use nuncio_envoy_api::envoy::extensions::filters::listener::tls_inspector::v3::TlsInspector;
use nuncio_envoy_api::envoy::extensions::filters::network::http_connection_manager::v3 as hcm;
use nuncio_envoy_api::envoy::extensions::filters::network::tcp_proxy::v3 as tcp;
use nuncio_envoy_api::google::protobuf::Any;
use nuncio_envoy_api::pack;
use nuncio_envoy_api::resource::{Resource, ResourceType};
use nuncio_model::listener::{
    FilterChain, HttpConnectionManager, Listener, ListenerFilter, Proxy, TcpProxy, Transport,
};

use crate::filter;
use crate::proto::{ads, bool_value, duration, socket_address, uint32};
use crate::{quic, resource, tls};

/// Emissary's text format (Module `envoy_log_format`).
const ACCESS_LOG_FORMAT: &str = "ACCESS [%START_TIME%] \
    \"%REQ(:METHOD)% %REQ(X-ENVOY-ORIGINAL-PATH?:PATH)% %PROTOCOL%\" \
    %RESPONSE_CODE% %RESPONSE_FLAGS% %BYTES_RECEIVED% %BYTES_SENT% %DURATION% \
    %RESP(X-ENVOY-UPSTREAM-SERVICE-TIME)% \"%REQ(X-FORWARDED-FOR)%\" \"%REQ(USER-AGENT)%\" \
    \"%REQ(X-REQUEST-ID)%\" \"%REQ(:AUTHORITY)%\" \"%UPSTREAM_HOST%\"\n";

/// Windows that a client may fill, as Envoy's guide for edge proxies has them: Envoy's defaults
/// (256 MiB) let few clients take all memory.
pub(crate) const INITIAL_STREAM_WINDOW: u32 = 64 * 1024;
pub(crate) const INITIAL_CONNECTION_WINDOW: u32 = 1024 * 1024;
/// Envoy's own default since 1.36, said aloud: what a client may have under way.
const MAX_CONCURRENT_STREAMS: u32 = 1024;
/// Longest wait for the headers of a request.
const REQUEST_HEADERS_TIMEOUT: Duration = Duration::from_secs(60);
/// Longest wait for bytes of a stream that has no `idle_timeout` of its own.
const STREAM_IDLE_TIMEOUT: Duration = Duration::from_secs(300);
/// Longest wait for a request on a connection without any.
const IDLE_TIMEOUT: Duration = Duration::from_secs(3600);
/// Longest wait for a TLS handshake: a client that never finishes one holds nothing.
pub(crate) const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(15);

/// Encodes a listener.
pub fn listener(listener: &Listener) -> Resource {
    let message = lds::Listener {
        name: listener.name.to_string(),
        address: Some(match listener.transport {
            Transport::Tcp => socket_address(listener.address, listener.port),
            Transport::Quic => quic::address(listener.address, listener.port),
        }),
        udp_listener_config: (listener.transport == Transport::Quic).then(quic::listener_config),
        listener_filters: listener
            .listener_filters
            .iter()
            .copied()
            .map(listener_filter)
            .collect(),
        filter_chains: listener
            .filter_chains
            .iter()
            .map(|chain| filter_chain(chain, listener))
            .collect(),
        ..Default::default()
    };
    Resource {
        requires: requires(listener),
        ..resource(&message)
    }
}

/// Each once: chains share tables and secrets.
fn requires(listener: &Listener) -> Vec<(ResourceType, Arc<str>)> {
    let tables = listener
        .filter_chains
        .iter()
        .filter_map(FilterChain::http)
        .map(|http| (ResourceType::RouteConfiguration, &http.route_table));
    let certificates = listener
        .filter_chains
        .iter()
        .filter_map(|chain| chain.tls.as_ref())
        .map(|tls| &tls.termination)
        .flat_map(|tls| std::iter::once(&tls.certificate).chain(&tls.clients.validation))
        .map(|name| (ResourceType::Secret, name));
    certificates
        .chain(tables)
        .map(|(resource_type, name)| (resource_type, Arc::clone(name)))
        .collect::<BTreeSet<_>>()
        .into_iter()
        .collect()
}

fn listener_filter(filter: ListenerFilter) -> lds::ListenerFilter {
    let (name, config) = match filter {
        ListenerFilter::TlsInspector => (
            "envoy.filters.listener.tls_inspector",
            pack(&TlsInspector::default()),
        ),
        ListenerFilter::ProxyProtocol => (
            "envoy.filters.listener.proxy_protocol",
            pack(&ProxyProtocol::default()),
        ),
    };
    lds::ListenerFilter {
        name: name.to_owned(),
        config_type: Some(lds::listener_filter::ConfigType::TypedConfig(config)),
        ..Default::default()
    }
}

fn filter_chain(chain: &FilterChain, listener: &Listener) -> lds::FilterChain {
    let inspected = listener
        .listener_filters
        .contains(&ListenerFilter::TlsInspector);
    let matches = match (&chain.tls, &chain.proxy) {
        (Some(tls), _) => Some(lds::FilterChainMatch {
            server_names: tls.server_name.iter().map(ToString::to_string).collect(),
            transport_protocol: match listener.transport {
                Transport::Tcp => "tls",
                Transport::Quic => "quic",
            }
            .to_owned(),
            ..Default::default()
        }),
        // A handshake for a name that nobody serves is closed, not answered in cleartext.
        (None, Proxy::Http(_)) if inspected => Some(lds::FilterChainMatch {
            transport_protocol: "raw_buffer".to_owned(),
            ..Default::default()
        }),
        (None, _) => None,
    };
    let (name, proxy) = match &chain.proxy {
        Proxy::Http(http) => (
            "envoy.filters.network.http_connection_manager",
            pack(&http_connection_manager(http, listener)),
        ),
        Proxy::Tcp(proxy) => (
            "envoy.filters.network.tcp_proxy",
            tcp_proxy(proxy, listener),
        ),
    };
    let tcp_tls = chain
        .tls
        .as_ref()
        .filter(|_| listener.transport == Transport::Tcp);
    lds::FilterChain {
        name: chain.name.to_string(),
        filter_chain_match: matches,
        filters: vec![lds::Filter {
            name: name.to_owned(),
            config_type: Some(lds::filter::ConfigType::TypedConfig(proxy)),
        }],
        transport_socket: chain.tls.as_ref().map(|tls| match listener.transport {
            Transport::Tcp => tls::downstream(&tls.termination),
            Transport::Quic => quic::transport_socket(&tls.termination),
        }),
        transport_socket_connect_timeout: tcp_tls.and(duration(HANDSHAKE_TIMEOUT)),
        ..Default::default()
    }
}

/// Emissary's TCPMappings have no access log; nor has this.
fn tcp_proxy(proxy: &TcpProxy, listener: &Listener) -> Any {
    use tcp::tcp_proxy::{ClusterSpecifier, WeightedCluster, weighted_cluster::ClusterWeight};
    let weight = |cluster: &nuncio_model::listener::WeightedCluster| ClusterWeight {
        name: cluster.cluster.to_string(),
        weight: cluster.weight,
        ..Default::default()
    };
    pack(&tcp::TcpProxy {
        stat_prefix: listener.stat_prefix.to_string(),
        cluster_specifier: Some(ClusterSpecifier::WeightedClusters(WeightedCluster {
            clusters: proxy.clusters.iter().map(weight).collect(),
        })),
        idle_timeout: proxy.idle_timeout.and_then(duration),
        ..Default::default()
    })
}

fn http_connection_manager(
    http: &HttpConnectionManager,
    listener: &Listener,
) -> hcm::HttpConnectionManager {
    use hcm::http_connection_manager as inner;
    let misdirected = http
        .authorities
        .as_deref()
        .and_then(filter::misdirected_requests);
    hcm::HttpConnectionManager {
        stat_prefix: listener.stat_prefix.to_string(),
        codec_type: match listener.transport {
            Transport::Tcp => inner::CodecType::Auto,
            Transport::Quic => inner::CodecType::Http3,
        }
        .into(),
        route_specifier: Some(inner::RouteSpecifier::Rds(hcm::Rds {
            config_source: Some(ads()),
            route_config_name: http.route_table.to_string(),
        })),
        local_reply_config: misdirected.is_some().then(misdirected_reply),
        http_filters: misdirected
            .into_iter()
            .chain([filter::cors(), filter::router()])
            .collect(),
        access_log: vec![access_log()],
        server_name: http.server_name.to_string(),
        use_remote_address: bool_value(true),
        xff_num_trusted_hops: http.xff_num_trusted_hops,
        internal_address_config: Some(private_addresses()),
        normalize_path: bool_value(true),
        common_http_protocol_options: Some(core::HttpProtocolOptions {
            idle_timeout: duration(IDLE_TIMEOUT),
            ..Default::default()
        }),
        http2_protocol_options: Some(core::Http2ProtocolOptions {
            max_concurrent_streams: uint32(
                http.max_concurrent_streams
                    .unwrap_or(MAX_CONCURRENT_STREAMS),
            ),
            initial_stream_window_size: uint32(INITIAL_STREAM_WINDOW),
            initial_connection_window_size: uint32(INITIAL_CONNECTION_WINDOW),
            ..Default::default()
        }),
        http3_protocol_options: http.http3.then(core::Http3ProtocolOptions::default),
        request_headers_timeout: duration(REQUEST_HEADERS_TIMEOUT),
        stream_idle_timeout: duration(STREAM_IDLE_TIMEOUT),
        ..Default::default()
    }
}

/// The addresses that Envoy took for internal before 1.33 made it a choice; `x-envoy-internal` and
/// what follows from it stay as Emissary's users know them.
fn private_addresses() -> hcm::http_connection_manager::InternalAddressConfig {
    let range = |address: &str, length| core::CidrRange {
        address_prefix: address.to_owned(),
        prefix_len: uint32(length),
    };
    hcm::http_connection_manager::InternalAddressConfig {
        unix_sockets: false,
        cidr_ranges: vec![
            range("10.0.0.0", 8),
            range("172.16.0.0", 12),
            range("192.168.0.0", 16),
            range("127.0.0.0", 8),
            range("fc00::", 7),
            range("::1", 128),
        ],
    }
}

/// A request for a host that its connection was not made for finds no route: 404, as from a route
/// table without that host. No other 403 is touched.
fn misdirected_reply() -> hcm::LocalReplyConfig {
    let expression = format!("response.code_details == '{}'", filter::MISDIRECTED_DETAILS);
    hcm::LocalReplyConfig {
        mappers: vec![hcm::ResponseMapper {
            filter: Some(accesslog::AccessLogFilter {
                filter_specifier: Some(
                    accesslog::access_log_filter::FilterSpecifier::ExtensionFilter(
                        accesslog::ExtensionFilter {
                            name: "envoy.access_loggers.extension_filters.cel".to_owned(),
                            config_type: Some(
                                accesslog::extension_filter::ConfigType::TypedConfig(pack(
                                    &cel::ExpressionFilter {
                                        expression,
                                        ..Default::default()
                                    },
                                )),
                            ),
                        },
                    ),
                ),
            }),
            status_code: uint32(404),
            body: Some(core::DataSource {
                specifier: Some(core::data_source::Specifier::InlineString(String::new())),
                ..Default::default()
            }),
            ..Default::default()
        }],
        ..Default::default()
    }
}

fn access_log() -> accesslog::AccessLog {
    use core::substitution_format_string::Format;
    use file_log::file_access_log::AccessLogFormat;
    let log = file_log::FileAccessLog {
        path: "/dev/fd/1".to_owned(),
        access_log_format: Some(AccessLogFormat::LogFormat(core::SubstitutionFormatString {
            format: Some(Format::TextFormatSource(core::DataSource {
                specifier: Some(core::data_source::Specifier::InlineString(
                    ACCESS_LOG_FORMAT.to_owned(),
                )),
                ..Default::default()
            })),
            ..Default::default()
        })),
    };
    accesslog::AccessLog {
        name: "envoy.access_loggers.file".to_owned(),
        config_type: Some(accesslog::access_log::ConfigType::TypedConfig(pack(&log))),
        ..Default::default()
    }
}
