//! LDS: [`Listener`] → `envoy.config.listener.v3.Listener`.
//!
//! Nothing here depends on routes, clusters or certificates but by their names: what changes in a
//! listener drains connections.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use nuncio_envoy_api::envoy::config::accesslog::v3 as accesslog;
use nuncio_envoy_api::envoy::config::core::v3 as core;
use nuncio_envoy_api::envoy::config::core::v3::http_protocol_options::HeadersWithUnderscoresAction;
use nuncio_envoy_api::envoy::config::listener::v3 as lds;
use nuncio_envoy_api::envoy::extensions::access_loggers::filters::cel::v3 as cel;
use nuncio_envoy_api::envoy::extensions::filters::listener::proxy_protocol::v3::ProxyProtocol;
use nuncio_envoy_api::envoy::extensions::filters::listener::tls_inspector::v3::TlsInspector;
use nuncio_envoy_api::envoy::extensions::filters::network::http_connection_manager::v3 as hcm;
use nuncio_envoy_api::envoy::extensions::filters::network::tcp_proxy::v3 as tcp;
use nuncio_envoy_api::google::protobuf::Any;
use nuncio_envoy_api::pack;
use nuncio_envoy_api::resource::{Resource, ResourceType};
use nuncio_model::external::AUTHORIZATION;
use nuncio_model::listener::{
    CertificateDetails, FilterChain, ForwardedCertificate, HttpConnectionManager, HttpOptions,
    Listener, ListenerFilter, Proxy, TcpProxy, Transport, UnderscoreHeaders,
};
use prost::Message;

use crate::proto::{ads, bool_value, duration, header_key_format, socket_address, uint32};
use crate::{
    filter, log, quic, rbac, resource, route_authorization, session, statistics, tls, tracing,
};

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

/// The port of an encoded listener.
pub fn port_of_listener(listener: &Resource) -> Option<u16> {
    let listener = lds::Listener::decode(listener.body.clone()).ok()?;
    let Some(core::address::Address::SocketAddress(address)) = listener.address?.address else {
        return None;
    };
    let Some(core::socket_address::PortSpecifier::PortValue(port)) = address.port_specifier else {
        return None;
    };
    port.try_into().ok()
}

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
        traffic_direction: traffic_direction(listener).into(),
        per_connection_buffer_limit_bytes: listener.per_connection_buffer_limit.and_then(uint32),
        ..Default::default()
    };
    Resource {
        requires: requires(listener),
        ..resource(&message)
    }
}

/// Spans are those of a client, as Emissary's are. Only where there are any: the field is the
/// listener's own, and another value drains TCPMappings too.
fn traffic_direction(listener: &Listener) -> core::TrafficDirection {
    let mut managers = listener.filter_chains.iter().filter_map(FilterChain::http);
    match managers.any(|http| http.options.tracing.is_some()) {
        true => core::TrafficDirection::Outbound,
        false => core::TrafficDirection::Unspecified,
    }
}

/// Each once: chains share tables and secrets.
fn requires(listener: &Listener) -> Vec<(ResourceType, Arc<str>)> {
    let tables = listener
        .filter_chains
        .iter()
        .filter_map(FilterChain::http)
        .map(|http| (ResourceType::RouteConfiguration, &http.route_table));
    let filters = listener
        .filter_chains
        .iter()
        .filter_map(FilterChain::http)
        .flat_map(|http| http.filters.iter().chain(&http.late_filters))
        .map(|name| (ResourceType::ExtensionConfig, name));
    let certificates = listener
        .filter_chains
        .iter()
        .filter_map(|chain| chain.tls.as_ref())
        .map(|tls| &tls.termination)
        .flat_map(|tls| tls.certificates().chain(&tls.clients.validation))
        .map(|name| (ResourceType::Secret, name));
    certificates
        .chain(filters)
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
    let matches = match (chain.server_name(), &chain.proxy) {
        (Some(name), _) => Some(lds::FilterChainMatch {
            server_names: name.iter().map(ToString::to_string).collect(),
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
    // A TCPMapping is of no Host, and QUIC takes no other filter.
    let counted = tcp_tls
        .filter(|_| chain.http().is_some())
        .map(statistics::connections);
    lds::FilterChain {
        name: chain.name.to_string(),
        filter_chain_match: matches,
        filters: counted
            .into_iter()
            .chain([lds::Filter {
                name: name.to_owned(),
                config_type: Some(lds::filter::ConfigType::TypedConfig(proxy)),
            }])
            .collect(),
        transport_socket: chain.tls.as_ref().map(|tls| match listener.transport {
            Transport::Tcp => tls::downstream(&tls.termination),
            Transport::Quic => quic::transport_socket(&tls.termination),
        }),
        transport_socket_connect_timeout: tcp_tls.and(duration(HANDSHAKE_TIMEOUT)),
        ..Default::default()
    }
}

/// Emissary's TCPMappings have no access log; here services that log connections are told.
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
        access_log: log::log_services(&proxy.log_services).collect(),
        ..Default::default()
    })
}

fn http_connection_manager(
    http: &HttpConnectionManager,
    listener: &Listener,
) -> hcm::HttpConnectionManager {
    use hcm::http_connection_manager as inner;
    let options = &http.options;
    let misdirected = http
        .authorities
        .as_deref()
        .and_then(rbac::misdirected_requests);
    let certificate = options.client_certificate.map(forwarded_certificate);
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
            .chain(http.filters.iter().map(filter::discovered))
            .chain([filter::cors()])
            .chain(http.late_filters.iter().flat_map(|name| {
                let own = http.route_filters && **name == *AUTHORIZATION;
                let own = own.then(route_authorization::filters);
                [filter::discovered(name)]
                    .into_iter()
                    .chain(own.into_iter().flatten())
            }))
            .chain(
                http.route_filters
                    .then(|| filter::filter(session::FILTER, &session::filter())),
            )
            .chain([filter::router(
                options.suppress_envoy_headers,
                options.tracing.is_some(),
            )])
            .collect(),
        access_log: log::log_services(&options.log_services)
            .chain([log::access_log(&options.access_log)])
            .collect(),
        tracing: options.tracing.as_ref().map(tracing::tracing),
        server_name: options.server_name.to_string(),
        use_remote_address: bool_value(options.use_remote_address),
        xff_num_trusted_hops: http.xff_num_trusted_hops,
        internal_address_config: Some(private_addresses()),
        normalize_path: bool_value(true),
        merge_slashes: options.merge_slashes,
        path_with_escaped_slashes_action: if options.reject_escaped_slashes {
            inner::PathWithEscapedSlashesAction::RejectRequest
        } else {
            inner::PathWithEscapedSlashesAction::ImplementationSpecificDefault
        }
        .into(),
        strip_matching_host_port: options.strip_matching_host_port,
        preserve_external_request_id: options.preserve_external_request_id,
        max_request_headers_kb: options.max_request_headers_kb.and_then(uint32),
        forward_client_cert_details: certificate.unwrap_or_default().into(),
        set_current_client_cert_details: certificate_details(&options.client_certificate_details),
        common_http_protocol_options: Some(core::HttpProtocolOptions {
            idle_timeout: duration(options.idle_timeout.unwrap_or(IDLE_TIMEOUT)),
            headers_with_underscores_action: match options.headers_with_underscores {
                UnderscoreHeaders::Allow => HeadersWithUnderscoresAction::Allow,
                UnderscoreHeaders::RejectRequest => HeadersWithUnderscoresAction::RejectRequest,
                UnderscoreHeaders::DropHeader => HeadersWithUnderscoresAction::DropHeader,
            }
            .into(),
            ..Default::default()
        }),
        http_protocol_options: http1_options(options),
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

fn http1_options(options: &HttpOptions) -> Option<core::Http1ProtocolOptions> {
    let http1 = core::Http1ProtocolOptions {
        accept_http_10: options.accept_http_10,
        allow_chunked_length: options.allow_chunked_length,
        header_key_format: header_key_format(options.header_case),
        ..Default::default()
    };
    (http1 != core::Http1ProtocolOptions::default()).then_some(http1)
}

fn forwarded_certificate(
    forwarded: ForwardedCertificate,
) -> hcm::http_connection_manager::ForwardClientCertDetails {
    use hcm::http_connection_manager::ForwardClientCertDetails;
    match forwarded {
        ForwardedCertificate::Sanitize => ForwardClientCertDetails::Sanitize,
        ForwardedCertificate::ForwardOnly => ForwardClientCertDetails::ForwardOnly,
        ForwardedCertificate::AppendForward => ForwardClientCertDetails::AppendForward,
        ForwardedCertificate::SanitizeSet => ForwardClientCertDetails::SanitizeSet,
        ForwardedCertificate::AlwaysForwardOnly => ForwardClientCertDetails::AlwaysForwardOnly,
    }
}

fn certificate_details(
    details: &CertificateDetails,
) -> Option<hcm::http_connection_manager::SetCurrentClientCertDetails> {
    (*details != CertificateDetails::default()).then(|| {
        hcm::http_connection_manager::SetCurrentClientCertDetails {
            subject: details.subject.then(|| bool_value(true)).flatten(),
            cert: details.cert,
            chain: details.chain,
            dns: details.dns,
            uri: details.uri,
            ..Default::default()
        }
    })
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
    let expression = format!("response.code_details == '{}'", rbac::MISDIRECTED_DETAILS);
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
