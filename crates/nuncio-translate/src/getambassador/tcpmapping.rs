//! TCPMappings: connections to a port, passed on as they are or, for a server name, out of TLS.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use nuncio_api::getambassador::{Mapping, NumberOrString, TcpMapping, TlsContext};
use nuncio_model::listener::{DownstreamTls, FilterChain, Proxy, TcpProxy, WeightedCluster};
use nuncio_model::tls::Termination;
use nuncio_model::value::{Domain, ServerName};
use nuncio_model::{Origin, Reason};
use serde_json::{Value, json};

use super::Context;
use super::association::globs_intersect;
use super::cluster::{ClusterSpec, digest};
use super::clusters::Clusters;
use super::diagnostics::{MemberInfo, TcpGroupInfo};
use super::envoy_admin;
use super::group::MemberKind;
use super::host::Host;
use super::tls::TlsSettings;
use super::{log_service, share, unsupported};
use crate::fields::mistake::Mistake;
use crate::fields::values::milliseconds;
use crate::store::Object;

/// TCPMappings of one place, which share its connections.
pub(super) struct TcpGroup {
    /// Emissary's: after the first TCPMapping.
    pub(super) name: String,
    pub(super) members: Vec<Origin>,
    pub(super) address: IpAddr,
    pub(super) port: u16,
    /// TLS of one name, which ends here; `None` takes all that no other chain takes.
    pub(super) tls: Option<DownstreamTls>,
    proxy: TcpProxy,
    shown: Vec<MemberInfo>,
}

impl TcpGroup {
    pub(super) fn info(&self) -> TcpGroupInfo {
        let host = self.tls.as_ref().map(|tls| match &tls.server_name {
            Some(name) => name.to_string(),
            None => "*".to_owned(),
        });
        let criteria = format!("TCP-{}-{}", self.port, host.as_deref().unwrap_or_default());
        TcpGroupInfo {
            id: digest(&criteria),
            name: self.name.clone(),
            address: self.address.to_string(),
            port: self.port,
            host,
            members: self.shown.clone(),
        }
    }

    pub(super) fn origin(&self) -> &Origin {
        &self.members[0]
    }

    pub(super) fn chain(&self) -> FilterChain {
        FilterChain {
            name: format!("tcphost-{}", self.name).into(),
            origin: self.origin().clone(),
            tls: self.tls.clone(),
            passthrough: None,
            proxy: Proxy::Tcp(self.proxy.clone()),
        }
    }
}

/// Which connections a TCPMapping takes.
#[derive(Clone, PartialEq, Eq, Hash)]
struct Place {
    address: IpAddr,
    port: u16,
    takes: Takes,
}

#[derive(Clone, PartialEq, Eq, Hash)]
enum Takes {
    /// Whatever it is.
    All,
    /// TLS for this name; `None` is any.
    Tls(Option<ServerName>),
}

struct Parsed<'a> {
    object: &'a Object<TcpMapping>,
    place: Place,
    idle_timeout: Option<Duration>,
    cluster: Arc<ClusterSpec>,
}

/// Reads all TCPMappings and groups them, in the order in which groups are created.
pub(super) fn groups(
    context: &mut Context<'_>,
    clusters: &mut Clusters,
    hosts: &[Host],
) -> Vec<TcpGroup> {
    let store = context.store;
    let mut building: Vec<Vec<Parsed<'_>>> = Vec::new();
    let mut index: HashMap<Place, usize> = HashMap::new();
    for object in store.tcp_mappings.by_rkey() {
        let parsed = match parse(context, object) {
            Ok(parsed) => parsed,
            Err(mistake) => {
                mistake.report(&mut context.report, object);
                continue;
            }
        };
        match index.get(&parsed.place) {
            Some(&at) => match mismatch(&building[at][0], &parsed) {
                None => building[at].push(parsed),
                Some(mistake) => mistake.report(&mut context.report, object),
            },
            None => {
                index.insert(parsed.place.clone(), building.len());
                building.push(vec![parsed]);
            }
        }
    }
    building
        .into_iter()
        .filter_map(|members| finish(context, clusters, hosts, members))
        .collect()
}

fn parse<'a>(
    context: &mut Context<'_>,
    object: &'a Object<TcpMapping>,
) -> Result<Parsed<'a>, Mistake> {
    let spec = &object.spec;
    let missing =
        |field, help| Mistake::because(field, Reason::MissingField, "it is missing", help);
    let port = match spec.port {
        Some(0) => {
            return Err(Mistake::new(
                "spec.port",
                "0 is not a port to listen on",
                "write a port from 1 to 65535",
            ));
        }
        Some(port) => port,
        None => return Err(missing("spec.port", "write the port of a Listener")),
    };
    if given(&spec.service).is_none() {
        let help = "write the Service that connections go to, such as redis:6379";
        return Err(missing("spec.service", help));
    }
    let address = match given(&spec.address) {
        None => context.settings.bind_address,
        Some(text) => text.parse().map_err(|_| {
            Mistake::new(
                "spec.address",
                format!("\"{text}\" is not an address"),
                "write an IP address of this machine, or remove it to listen on all",
            )
        })?,
    };
    let takes = match given(&spec.host) {
        None => Takes::All,
        Some(text) => {
            let name = Domain::new(text).and_then(|domain| ServerName::of(&domain));
            Takes::Tls(name.map_err(Mistake::at("spec.host"))?)
        }
    };
    if spec.weight.is_some_and(|weight| weight < 0) {
        return Err(Mistake::new(
            "spec.weight",
            "a weight is not negative",
            "write a share of the connections in percent, from 0 to 100",
        ));
    }
    let place = Place {
        address,
        port,
        takes,
    };
    let cluster = Arc::new(ClusterSpec::of_mapping(context, &upstream(object))?);
    if cluster.is_envoy_admin() {
        return Err(envoy_admin::no_bytes());
    }
    Ok(Parsed {
        object,
        place,
        idle_timeout: idle_timeout(spec)?,
        cluster,
    })
}

fn given(text: &Option<String>) -> Option<&str> {
    text.as_deref().filter(|text| !text.is_empty())
}

/// What a TCPMapping says of its upstream. The fields have the names that a Mapping's have, so that
/// one reading serves both, and blames the right place.
fn upstream(object: &Object<TcpMapping>) -> Object<Mapping> {
    let spec = object.spec.clone();
    object.as_if(Mapping {
        service: spec.service,
        tls: spec.tls,
        resolver: spec.resolver,
        enable_ipv4: spec.enable_ipv4,
        enable_ipv6: spec.enable_ipv6,
        circuit_breakers: spec.circuit_breakers,
        cluster_tag: spec.cluster_tag,
        stats_name: spec.stats_name,
        ..Mapping::default()
    })
}

/// Emissary reads it and forgets it. The API has it as text.
fn idle_timeout(spec: &TcpMapping) -> Result<Option<Duration>, Mistake> {
    const FIELD: &str = "spec.idle_timeout_ms";
    let number = match &spec.idle_timeout_ms {
        None => None,
        Some(NumberOrString::Number(number)) => Some(*number),
        Some(NumberOrString::String(text)) => Some(text.parse().map_err(|_| {
            Mistake::new(
                FIELD,
                format!("\"{text}\" is not a number of milliseconds"),
                "write milliseconds as a whole number from 0, such as \"30000\"",
            )
        })?),
    };
    milliseconds(FIELD, number)
}

/// The field in which a TCPMapping differs from the first of its group, in which it may not.
fn mismatch(first: &Parsed<'_>, new: &Parsed<'_>) -> Option<Mistake> {
    let field = |parsed: &Parsed<'_>| {
        let spec = &parsed.object.spec;
        let timeout = parsed.idle_timeout.map(|time| json!(time.as_millis()));
        [
            (
                "circuit_breakers",
                spec.circuit_breakers.as_ref().map(|list| json!(list)),
            ),
            ("enable_ipv4", spec.enable_ipv4.map(Value::from)),
            ("enable_ipv6", spec.enable_ipv6.map(Value::from)),
            ("idle_timeout_ms", timeout),
            ("tls", given(&spec.tls).map(Value::from)),
        ]
    };
    let (name, first_name) = (new.object.name(), first.object.name());
    let pairs = field(new).into_iter().zip(field(first));
    // What is absent is the group's.
    let differing = pairs
        .filter(|((_, new), (_, first))| new.is_some() && new != first)
        .map(|((field, new), (_, first))| (field, new, first));
    let text = |value: Option<Value>| value.map_or("-unset-".to_owned(), |value| value.to_string());
    differing.into_iter().next().map(|(field, new, of_first)| {
        Mistake::because(
            format!("spec.{field}"),
            Reason::Conflict,
            format!(
                "cannot accept new mapping {name} with mismatched {field}: {} != {}",
                text(new),
                text(of_first)
            ),
            format!(
                "it has the port and host of TCPMapping {}/{first_name}: write the same value in \
                 both, or give it a port or host of its own",
                first.object.namespace()
            ),
        )
    })
}

fn finish(
    context: &mut Context<'_>,
    clusters: &mut Clusters,
    hosts: &[Host],
    mut members: Vec<Parsed<'_>>,
) -> Option<TcpGroup> {
    let shares = share::shares(context, &mut members, |parsed| {
        let spec = &parsed.object.spec;
        (spec.weight, parsed.object.at("spec.weight"))
    });
    let first = members.first()?;
    let tls = match &first.place.takes {
        Takes::All => None,
        Takes::Tls(name) => match termination(context, hosts, name.as_ref()) {
            Ok(termination) => Some(DownstreamTls {
                server_name: name.clone(),
                termination,
            }),
            Err(mistake) => {
                mistake.report(&mut context.report, first.object);
                return None;
            }
        },
    };
    // Emissary takes each member's share and those before it for its weight: 10, 20 and the rest
    // become 10, 30 and 100 of 140.
    let weighted: Vec<WeightedCluster> = shares
        .iter()
        .filter(|share| share.percent > 0)
        .map(|share| WeightedCluster {
            cluster: clusters.name_later(&members[share.member].cluster),
            weight: share.percent,
        })
        .collect();
    if weighted.is_empty() {
        context
            .report
            .error(
                &first.object.at("spec.weight"),
                Reason::NoEffect,
                "all TCPMappings of this port and host have the weight 0: none has connections",
            )
            .help("give one of them a weight above 0, or none");
        return None;
    }
    let shown = shares
        .iter()
        .map(|share| {
            let parsed = &members[share.member];
            MemberInfo {
                resource: Arc::clone(&parsed.object.id),
                name: parsed.object.name().to_owned(),
                rkey: parsed.object.rkey.to_string(),
                service: parsed.cluster.upstream.service.clone(),
                cluster: (share.percent > 0).then(|| clusters.name_later(&parsed.cluster)),
                weight: share.percent,
                kind: MemberKind::Route,
                rewrite: String::new(),
            }
        })
        .collect();
    Some(TcpGroup {
        shown,
        name: format!("GROUP: {}", first.object.name()),
        address: first.place.address,
        port: first.place.port,
        tls,
        proxy: TcpProxy {
            clusters: weighted,
            idle_timeout: first.idle_timeout,
            log_services: log_service::of_connections(context),
        },
        members: members
            .iter()
            .map(|parsed| parsed.object.origin())
            .collect(),
    })
}

/// Who terminates TLS for a name: the first Host, by hostname, that terminates it for a name which
/// matches; else the first TLSContext that has the name among its `hosts`, those of the Module `tls`
/// after those that are written as such.
fn termination(
    context: &mut Context<'_>,
    hosts: &[Host],
    name: Option<&ServerName>,
) -> Result<Termination, Mistake> {
    let text = |name: Option<&ServerName>| name.map_or("*", ServerName::as_str).to_owned();
    let wanted = text(name);
    let of_name = |host: &&Host| host.closed && host.hostname.as_str() == wanted;
    if let Some(closed) = hosts.iter().find(of_name) {
        return Err(Mistake::because(
            "spec.host",
            Reason::RefInvalid,
            format!(
                "TLS of {wanted} is up to {}, which is not in effect",
                closed.origin.resource
            ),
            "mend that Host",
        ));
    }
    let of_host = hosts
        .iter()
        .filter_map(|host| host.tls.as_ref())
        .find(|tls| globs_intersect(&text(tls.server_name.as_ref()), &wanted));
    if let Some(tls) = of_host {
        return Ok(tls.termination.clone());
    }
    let store = context.store;
    let written = store.tls_contexts.by_rkey().into_iter();
    for found in written.chain(store.module_tls_contexts()) {
        if !names(found, &wanted) {
            continue;
        }
        let settings = TlsSettings::of_context(context, found, "spec.host", found.namespace());
        if let Some(certificate) = settings.certificate(context)? {
            unsupported::downstream_tls_context(&mut context.report, found);
            return settings.termination(context, certificate);
        }
    }
    Err(Mistake::because(
        "spec.host",
        Reason::RefNotFound,
        "No matching TLSContext found, disabling!",
        format!(
            "with host, TLS ends here: write a Host with hostname {wanted} and tlsSecret, or a \
             TLSContext with a secret and with {wanted} among its hosts. Without host, every \
             connection to the port passes as it is"
        ),
    ))
}

/// Whether a TLSContext has a name among its `hosts`.
pub(super) fn names(context: &Object<TlsContext>, name: &str) -> bool {
    let hosts = context.spec.hosts.as_deref().unwrap_or_default();
    hosts.iter().any(|host| host.eq_ignore_ascii_case(name))
}
