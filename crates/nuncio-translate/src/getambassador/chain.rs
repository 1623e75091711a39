//! Filter chains: who gets which connections of a port.

use std::collections::BTreeMap;

use nuncio_model::Reason;
use nuncio_model::listener::{DownstreamTls, FilterChain};
use nuncio_model::tls::{Termination, Version};
use nuncio_model::value::{Domain, ServerName};

use super::Context;
use super::binding::Bound;
use super::host::{Host, alike};
use super::listener::Reported;
use super::tcpmapping::TcpGroup;

/// The chain of Hosts with one server name.
pub(super) struct TlsChain<'h> {
    /// The first of them.
    pub(super) host: &'h Host,
    pub(super) tls: DownstreamTls,
    pub(super) authorities: Vec<Domain>,
}

/// The chains of a port's TCPMappings. One without host takes every connection, so that there can
/// be none of HTTP beside it: the port is HTTP's then, because its Listener says so.
pub(super) fn of_tcp(
    context: &mut Context<'_>,
    groups: &[&TcpGroup],
    cleartext: Option<&Host>,
) -> Vec<FilterChain> {
    let mut chains = Vec::new();
    for group in groups {
        match cleartext {
            Some(host) if group.tls.is_none() => {
                for member in &group.members {
                    context
                        .report
                        .error(
                            &member.field("spec.port"),
                            Reason::Conflict,
                            format!(
                                "TCPMapping {}: discarding because it conflicts with Host {}",
                                member.resource.name, host.name
                            ),
                        )
                        .help(
                            "its port serves HTTP: give it another port, or a host, whose TLS \
                             connections it takes",
                        );
                }
            }
            _ => chains.push(group.chain()),
        }
    }
    chains
}

/// One chain for each server name; Hosts with one certificate and one name share it.
pub(super) fn of_tls_hosts<'h>(
    context: &mut Context<'_>,
    bound: &[Bound<'h>],
    tcp: &[&TcpGroup],
    reported: &mut Reported,
) -> Vec<TlsChain<'h>> {
    let mut chains: BTreeMap<Option<ServerName>, TlsChain<'h>> = BTreeMap::new();
    for Bound { host, .. } in bound {
        let Some(tls) = &host.tls else { continue };
        let owner = tcp.iter().find(|group| {
            let theirs = group.tls.as_ref().map(|tls| &tls.server_name);
            theirs == Some(&tls.server_name)
        });
        let (message, help) = if let Some(group) = owner {
            (
                format!(
                    "TLS Host {}: discarding because it conflicts with TCPMapping {}",
                    host.name, group.name
                ),
                "a TCPMapping with that host takes its TLS connections: give one of them another \
                 port",
            )
        } else {
            let first = chains
                .entry(tls.server_name.clone())
                .or_insert_with(|| TlsChain {
                    host,
                    tls: tls.clone(),
                    authorities: Vec::new(),
                });
            if alike(&first.tls.termination, &tls.termination, &context.gateway) {
                first.authorities.push(host.hostname.clone());
                continue;
            }
            let sni = tls.server_name.as_ref().map_or("*", |name| name.as_str());
            (
                format!(
                    "TLS Host {}: discarding because mismatching TLSContext between Hosts matching \
                     on dns hostname={sni}; {} has another certificate for that name",
                    host.name, first.host.origin.resource
                ),
                "use the same certificate and the same TLS settings in both",
            )
        };
        if reported.without_tls.insert(host.key()) {
            context
                .report
                .error(&host.at("spec.tlsSecret"), Reason::Conflict, message)
                .help(help);
        }
    }
    chains.into_values().collect()
}

/// What of a termination QUIC cannot do.
pub(super) fn why_not_quic(termination: &Termination) -> Option<&'static str> {
    let old = |version: Option<Version>| version.is_some_and(|version| version < Version::V1_3);
    if old(termination.parameters.max_version) {
        return Some("max_tls_version is below v1.3");
    }
    if termination.clients.required && termination.clients.validation.is_none() {
        return Some("cert_required without ca_secret takes any certificate, which QUIC cannot do");
    }
    None
}
