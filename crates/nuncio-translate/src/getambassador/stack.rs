//! `protocol` and `protocolStack`: the layers of a Listener.

use nuncio_api::getambassador::{Listener as ListenerSpec, Protocol, ProtocolLayer};
use nuncio_model::Reason;
use nuncio_model::listener::{ListenerFilter, Transport};

use super::Context;
use crate::fields::mistake::Mistake;
use crate::store::Object;

use ProtocolLayer::{Http, Proxy, Tcp, Tls, Udp};

/// What a Listener understands, whatever the order in which its layers are written: bytes have only
/// one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stack {
    pub(super) transport: Transport,
    pub(super) proxy: bool,
    pub(super) tls: bool,
    pub(super) http: bool,
}

/// The layers as they are written; `None` without any.
fn layers(spec: &ListenerSpec) -> Option<Vec<ProtocolLayer>> {
    if let Some(stack) = &spec.protocol_stack {
        return Some(stack.clone());
    }
    Some(match spec.protocol? {
        Protocol::Http => vec![Http, Tcp],
        Protocol::Https => vec![Tls, Http, Tcp],
        Protocol::HttpProxy => vec![Proxy, Http, Tcp],
        Protocol::HttpsProxy => vec![Tls, Proxy, Http, Tcp],
        Protocol::Tcp => vec![Tcp],
        Protocol::Tls => vec![Tls, Tcp],
        Protocol::Udp => vec![Udp],
    })
}

/// Whether a Listener, in effect or not, is meant for a port of TCP.
pub(super) fn is_tcp(spec: &ListenerSpec) -> bool {
    layers(spec).is_none_or(|layers| layers.last() != Some(&Udp))
}

impl Stack {
    /// Of a TCPMapping's own Listener.
    pub(super) fn of_tcp_mapping(tls: bool) -> Self {
        Self {
            transport: Transport::Tcp,
            proxy: false,
            tls,
            http: false,
        }
    }

    pub(super) fn read(
        context: &mut Context<'_>,
        object: &Object<ListenerSpec>,
    ) -> Result<Self, Mistake> {
        let spec = &object.spec;
        if spec.protocol.is_some() && spec.protocol_stack.is_some() {
            context
                .report
                .warning(
                    &object.at("spec.protocol"),
                    Reason::Conflict,
                    "protocol and protocolStack may not both be specified; using protocolStack \
                     and ignoring protocol",
                )
                .help("remove one of them");
        }
        let layers = layers(spec).ok_or_else(|| {
            Mistake::because(
                "spec.protocol",
                Reason::MissingField,
                "one of protocol and protocolStack must be specified",
                "write protocol: HTTP, HTTPS, HTTPPROXY, HTTPSPROXY, TCP or TLS",
            )
        })?;
        let field = if spec.protocol_stack.is_some() {
            "spec.protocolStack"
        } else {
            "spec.protocol"
        };
        let has = |layer| layers.contains(&layer);
        let refuse = |message: String, help: &str| Err(Mistake::new(field, message, help));
        let transport = match layers.split_last() {
            Some((Tcp, below)) if !below.contains(&Udp) => Transport::Tcp,
            Some((Udp, _)) if spec.protocol_stack.is_none() => {
                return refuse(
                    "protocol UDP is not valid".to_owned(),
                    "write protocolStack: [TLS, HTTP, UDP] to serve HTTP/3",
                );
            }
            Some((Udp, below)) if !below.contains(&Tcp) => Transport::Quic,
            _ => {
                return refuse(
                    format!(
                        "TCP or UDP should be the last protocol in the protocolStack. Unable to \
                         determine socket protocol for listener {}",
                        object.name()
                    ),
                    "write TCP as the last layer, or UDP for HTTP/3, and not both",
                );
            }
        };
        if transport == Transport::Quic {
            if !has(Http) {
                return refuse(
                    format!(
                        "UDP is only supported with HTTP. Invalid protocolStack for listener {}",
                        object.name()
                    ),
                    "write protocolStack: [TLS, HTTP, UDP] to serve HTTP/3",
                );
            }
            if !has(Tls) {
                return refuse(
                    "HTTP over UDP is HTTP/3, which is always encrypted".to_owned(),
                    "write protocolStack: [TLS, HTTP, UDP]",
                );
            }
            if has(Proxy) {
                return refuse(
                    "the PROXY protocol does not go with UDP".to_owned(),
                    "write protocolStack: [TLS, HTTP, UDP]",
                );
            }
        }
        Ok(Self {
            transport,
            proxy: has(Proxy),
            tls: has(Tls),
            http: has(Http),
        })
    }

    /// What a proxy says comes before anything of the client: the TLS inspector must see what is
    /// behind it. It is there whenever a chain is for TLS (`tls`), also where the stack has none.
    pub(super) fn listener_filters(self, tls: bool) -> Vec<ListenerFilter> {
        let inspects = (self.tls || tls) && self.transport == Transport::Tcp;
        [
            (self.proxy, ListenerFilter::ProxyProtocol),
            (inspects, ListenerFilter::TlsInspector),
        ]
        .into_iter()
        .filter_map(|(is_there, filter)| is_there.then_some(filter))
        .collect()
    }

    /// Emissary's own defaults; its documentation says `-`, dashboards say `_`.
    pub(super) fn default_stats_prefix(self, port: u16) -> String {
        match (self.tls, self.http) {
            (true, true) => "ingress_https".to_owned(),
            (false, true) => "ingress_http".to_owned(),
            (true, false) => format!("ingress_tls_{port}"),
            (false, false) => format!("ingress_tcp_{port}"),
        }
    }

    /// Says which settings of a Listener mean nothing to its layers.
    pub(super) fn without_effect(self, context: &mut Context<'_>, object: &Object<ListenerSpec>) {
        let spec = &object.spec;
        let quic = self.transport == Transport::Quic;
        for (field, is_set, why) in [
            (
                "l7Depth",
                spec.l7_depth.is_some() && !self.http,
                "its stack has no HTTP",
            ),
            (
                "http2MaxConcurrentStreams",
                spec.http2_max_concurrent_streams.is_some() && (!self.http || quic),
                "its stack has no HTTP/2",
            ),
        ] {
            if is_set {
                context
                    .report
                    .notice(
                        &object.at(format!("spec.{field}")),
                        Reason::NoEffect,
                        format!("{field} has no effect: {why}"),
                    )
                    .help("it can be removed");
            }
        }
        if spec.http2_max_concurrent_streams == Some(0) {
            context
                .report
                .warning(
                    &object.at("spec.http2MaxConcurrentStreams"),
                    Reason::InvalidValue,
                    "0 would let no request through: the default holds",
                )
                .help("write a whole number from 1");
        }
    }
}
