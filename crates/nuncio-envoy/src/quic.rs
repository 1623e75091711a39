//! What is particular to listeners of QUIC.

use std::net::IpAddr;

use nuncio_envoy_api::envoy::config::core::v3 as core;
use nuncio_envoy_api::envoy::config::listener::v3 as lds;
use nuncio_envoy_api::envoy::extensions::transport_sockets::quic::v3::QuicDownstreamTransport;
use nuncio_envoy_api::pack;
use nuncio_model::tls::Termination;

use crate::listener::{HANDSHAKE_TIMEOUT, INITIAL_CONNECTION_WINDOW, INITIAL_STREAM_WINDOW};
use crate::proto::{bool_value, duration, socket_address, uint32};
use crate::tls;

pub(crate) fn address(address: IpAddr, port: u16) -> core::Address {
    let mut message = socket_address(address, port);
    if let Some(core::address::Address::SocketAddress(socket)) = &mut message.address {
        socket.protocol = core::socket_address::Protocol::Udp.into();
    }
    message
}

/// The windows are those of HTTP/2: QUIC's defaults are as generous.
pub(crate) fn listener_config() -> lds::UdpListenerConfig {
    lds::UdpListenerConfig {
        quic_options: Some(lds::QuicProtocolOptions {
            quic_protocol_options: Some(core::QuicProtocolOptions {
                initial_stream_window_size: uint32(INITIAL_STREAM_WINDOW),
                initial_connection_window_size: uint32(INITIAL_CONNECTION_WINDOW),
                ..Default::default()
            }),
            crypto_handshake_timeout: duration(HANDSHAKE_TIMEOUT),
            ..Default::default()
        }),
        downstream_socket_config: Some(core::UdpSocketConfig {
            prefer_gro: bool_value(true),
            ..Default::default()
        }),
        ..Default::default()
    }
}

/// HTTP/3 has an ALPN of its own, which is Envoy's default; what TCP offers would leave it out. Early
/// data is off: a request in it can be sent again by whoever saw it pass.
pub(crate) fn transport_socket(termination: &Termination) -> core::TransportSocket {
    let termination = Termination {
        alpn: Vec::new(),
        ..termination.clone()
    };
    let context = QuicDownstreamTransport {
        downstream_tls_context: Some(tls::downstream_context(&termination)),
        enable_early_data: bool_value(false),
        ..Default::default()
    };
    core::TransportSocket {
        name: "envoy.transport_sockets.quic".to_owned(),
        config_type: Some(core::transport_socket::ConfigType::TypedConfig(pack(
            &context,
        ))),
    }
}
