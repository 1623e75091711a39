//! Which listener takes the connection, and which of its filter chains.

use std::net::SocketAddr;

use nuncio_model::Gateway;
use nuncio_model::listener::{
    self, HttpConnectionManager, ListenerFilter, Proxy, TcpProxy, Transport,
};

use nuncio_model::value::Fraction;

use crate::action::cluster;
use crate::explanation::{ClusterShare, Explanation, FilterChain, Listener, Outcome, Source};
use crate::request::{Request, Scheme};

/// What became of the connection.
pub(crate) enum Connected<'g> {
    Http {
        listener: &'g listener::Listener,
        http: &'g HttpConnectionManager,
    },
    Ended(Outcome),
}

pub(crate) fn connect<'g>(
    gateway: &'g Gateway,
    request: &Request,
    explanation: &mut Explanation,
) -> Connected<'g> {
    let Some(listener) = listener_of(gateway, request, explanation) else {
        return Connected::Ended(nothing_listens(gateway, request));
    };
    explanation.listener = Some(Listener {
        name: listener.name.to_string(),
        address: SocketAddr::new(listener.address, listener.port).to_string(),
        transport: match listener.transport {
            Transport::Tcp => "TCP",
            Transport::Quic => "UDP",
        }
        .to_owned(),
        source: Source::of(&listener.origin),
    });
    let Some(chain) = chain_of(listener, request) else {
        return Connected::Ended(no_chain(listener, request));
    };
    explanation.filter_chain = Some(FilterChain {
        name: chain.name.to_string(),
        takes: takes(chain),
        source: Source::of(&chain.origin),
    });
    match &chain.proxy {
        Proxy::Http(http) if chain.tls.is_none() && request.scheme == Scheme::Https => {
            let _ = http;
            Connected::Ended(no_chain(listener, request))
        }
        Proxy::Http(http) => Connected::Http { listener, http },
        Proxy::Tcp(proxy) => Connected::Ended(tcp(gateway, proxy)),
    }
}

fn listener_of<'g>(
    gateway: &'g Gateway,
    request: &Request,
    explanation: &mut Explanation,
) -> Option<&'g listener::Listener> {
    let given = request.listener_port.or(request.port);
    let port = given.unwrap_or(request.scheme.default_port());
    // HTTP/3 is asked for by clients that know of it; the same routes are behind both.
    let mut all: Vec<_> = gateway.listeners.values().map(AsRef::as_ref).collect();
    all.sort_by_key(|listener| (listener.transport == Transport::Quic, listener.port));
    let of_port = |listener: &&&listener::Listener| {
        listener.port == port
            && (listener.transport == Transport::Tcp || request.scheme == Scheme::Https)
    };
    if let Some(found) = all.iter().find(of_port) {
        return Some(found);
    }
    if given.is_some() {
        return None;
    }
    // Behind a Service or a load balancer the port is another.
    let takes = |listener: &&&listener::Listener| {
        chain_of(listener, request).is_some_and(|chain| {
            chain.http().is_some() && chain.tls.is_some() == (request.scheme == Scheme::Https)
        })
    };
    let found = all.iter().find(takes)?;
    explanation.notes.push(format!(
        "nothing listens on port {port}: port {} is taken, as if a load balancer led there; \
         --port names another",
        found.port
    ));
    Some(found)
}

fn nothing_listens(gateway: &Gateway, request: &Request) -> Outcome {
    let given = request.listener_port.or(request.port);
    let port = given.unwrap_or(request.scheme.default_port());
    let ports: Vec<String> = gateway
        .listeners
        .values()
        .map(|listener| listener.port.to_string())
        .collect();
    Outcome::NotConnected {
        why: format!("nothing listens on port {port}"),
        help: match ports.is_empty() {
            true => "there is no Listener in effect: write one".to_owned(),
            false => format!(
                "there are listeners on {}: write one of these ports into the URL, or --port, \
                 or a Listener with port {port}",
                ports.join(", ")
            ),
        },
    }
}

/// Envoy goes by the server name first, then by whether there is TLS.
fn chain_of<'g>(
    listener: &'g listener::Listener,
    request: &Request,
) -> Option<&'g listener::FilterChain> {
    let tls = request.scheme == Scheme::Https;
    let inspected = listener
        .listener_filters
        .contains(&ListenerFilter::TlsInspector);
    let chains = &listener.filter_chains;
    let name = request.server_name().filter(|_| tls);
    let named = name.and_then(|name| {
        let exact = chains
            .iter()
            .find(|chain| server_name(chain) == Some(&*name));
        exact.or_else(|| {
            let below = chains.iter().filter(|chain| {
                let suffix = server_name(chain).and_then(|wanted| wanted.strip_prefix('*'));
                suffix.is_some_and(|suffix| name.ends_with(suffix))
            });
            below.max_by_key(|chain| server_name(chain).map_or(0, str::len))
        })
    });
    if named.is_some() {
        return named;
    }
    let any = |wanted: bool| {
        let mut chains = chains.iter();
        chains.find(|chain| wanted && chain.server_name() == Some(None))
    };
    any(tls).or_else(|| {
        chains.iter().find(|chain| {
            let takes_tls = !inspected || chain.http().is_none();
            chain.server_name().is_none() && (!tls || takes_tls)
        })
    })
}

fn server_name(chain: &listener::FilterChain) -> Option<&str> {
    chain.server_name()?.map(|name| name.as_str())
}

fn takes(chain: &listener::FilterChain) -> String {
    if let Some(passed) = &chain.passthrough {
        return match &passed.server_name {
            Some(name) => format!("TLS for {name}, as it is"),
            None => "TLS for any name, as it is".to_owned(),
        };
    }
    match (&chain.tls, &chain.proxy) {
        (Some(tls), _) => {
            let certificate = match tls.termination.clients.required {
                true => ", with a client certificate",
                false => "",
            };
            match &tls.server_name {
                Some(name) => format!("TLS for {name}{certificate}"),
                None => format!("TLS for any name{certificate}"),
            }
        }
        (None, Proxy::Http(_)) => "cleartext HTTP".to_owned(),
        (None, Proxy::Tcp(_)) => "all bytes".to_owned(),
    }
}

fn no_chain(listener: &listener::Listener, request: &Request) -> Outcome {
    let port = listener.port;
    let has_tls = listener
        .filter_chains
        .iter()
        .any(|chain| chain.tls.is_some());
    let (why, help) = match request.scheme {
        Scheme::Http => (
            format!("port {port} takes no cleartext: the connection is closed"),
            "ask by https://, or serve cleartext with protocol: HTTPS or HTTP in the Listener"
                .to_owned(),
        ),
        Scheme::Https if has_tls => (
            format!(
                "no certificate is for {}: the TLS handshake is broken off",
                request.host
            ),
            "write a Host with this hostname and a tlsSecret".to_owned(),
        ),
        Scheme::Https => (
            format!("port {port} takes no TLS: the handshake fails"),
            "write protocol: HTTPS in the Listener, and a Host with a tlsSecret".to_owned(),
        ),
    };
    Outcome::NotConnected { why, help }
}

fn tcp(gateway: &Gateway, proxy: &TcpProxy) -> Outcome {
    let weights = proxy.clusters.iter().map(|each| u64::from(each.weight));
    let total: u64 = weights.sum();
    Outcome::Tcp {
        clusters: proxy
            .clusters
            .iter()
            .map(|each| ClusterShare {
                percent: Fraction::of(each.weight.into(), total),
                cluster: cluster(gateway, &each.cluster),
            })
            .collect(),
    }
}
