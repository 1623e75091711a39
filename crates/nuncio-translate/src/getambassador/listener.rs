//! Listeners: which Hosts each serves, and with them which routes.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use nuncio_api::getambassador::{
    self, InsecureAction, Listener as ListenerSpec, NamespaceFrom, Protocol, ProtocolLayer,
    SecurityModel,
};
use nuncio_model::listener::{FilterChain, HttpConnectionManager, Listener, ListenerFilter};
use nuncio_model::route::{RouteTable, VirtualHost};
use nuncio_model::tls::Termination;
use nuncio_model::value::Domain;
use nuncio_model::{Origin, Reason, ResourceId};

use super::Context;
use super::association::{globs_intersect, selects, selects_loosely, unknown_operator};
use super::group::Group;
use super::host::Host;
use super::mapping::Association;
use super::security::Variants;
use crate::store::Object;

/// The `server` header of responses.
const SERVER_NAME: &str = "envoy";

pub(super) fn listeners(context: &mut Context<'_>, hosts: &[Host], groups: &[Group]) {
    let mut ports: HashMap<u16, &Object<ListenerSpec>> = HashMap::new();
    let mut names = HashSet::new();
    let mut reported = Reported::default();
    for object in context.store.listeners.by_rkey() {
        let port = object.spec.port;
        let Some(stack) = stack(context, object) else {
            continue;
        };
        if let Some(first) = ports.get(&port) {
            let address = context.settings.bind_address;
            context
                .report
                .error(
                    &object.at("spec.port"),
                    Reason::Conflict,
                    format!(
                        "Duplicate listener {} on tcp://{address}:{port}; keeping definition from \
                         {}/{}",
                        object.name(),
                        first.namespace(),
                        first.name()
                    ),
                )
                .help("give it another port, or remove one of them");
            continue;
        }
        let name = if names.insert(object.name().to_owned()) {
            object.name().to_owned()
        } else {
            format!("{}.{}", object.name(), object.namespace())
        };
        let build = Build {
            name: name.into(),
            object,
            stack,
            groups,
        };
        let Some(bound) = build.bound(context, hosts, &mut reported) else {
            continue;
        };
        ports.insert(port, object);
        build.emit(context, &bound, &mut reported);
    }
    if context.store.listeners.is_empty() {
        let none = ResourceId::new(getambassador::GROUP, "Listener", "", "*");
        context
            .report
            .warning(
                &Origin::new(Arc::new(none)),
                Reason::NotBound,
                "No active listeners at all; check your Listener and Host configuration",
            )
            .help("write a Listener with port, protocol, securityModel and hostBinding");
    } else if !reported.served.is_empty() {
        not_bound(context, groups, &reported.bound);
    }
}

/// What was said already, and what found a place.
#[derive(Default)]
struct Reported {
    /// Hosts whose hostname another has.
    duplicates: HashSet<Arc<ResourceId>>,
    /// Hosts that lost their TLS.
    mismatched: HashSet<Arc<ResourceId>>,
    /// Groups that some Host takes, by index.
    bound: HashSet<usize>,
    /// Hosts on some Listener.
    served: HashSet<Arc<ResourceId>>,
}

fn not_bound(context: &mut Context<'_>, groups: &[Group], bound: &HashSet<usize>) {
    for (_, group) in groups
        .iter()
        .enumerate()
        .filter(|(index, group)| !group.built_in && !bound.contains(index))
    {
        let (message, help) = match &group.association {
            Association::Hostname(hostname) => (
                format!("no Host takes it: none has a hostname that matches {hostname}"),
                "write a Host for that name, or a hostname that a Host has; a Host with a \
                 mappingSelector takes only Mappings with its labels",
            ),
            _ => (
                "no Host takes it: it has no hostname, and no Host selects it by its labels"
                    .to_owned(),
                "write hostname: \"*\" to serve it under every Host",
            ),
        };
        for member in &group.members {
            context
                .report
                .warning(&member.origin, Reason::NotBound, message.clone())
                .help(help);
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Stack {
    tls: bool,
    proxy: bool,
}

/// The layers of an HTTP Listener over TCP; `None` for one that is left out, which is said.
fn stack(context: &mut Context<'_>, object: &Object<ListenerSpec>) -> Option<Stack> {
    use ProtocolLayer::{Http, Proxy, Tcp, Tls, Udp};
    let spec = &object.spec;
    if spec.port == 0 {
        context
            .report
            .error(
                &object.at("spec.port"),
                Reason::InvalidValue,
                "0 is not a port to listen on",
            )
            .help("write a port from 1 to 65535");
        return None;
    }
    if spec.protocol.is_some() && spec.protocol_stack.is_some() {
        context
            .report
            .warning(
                &object.at("spec.protocol"),
                Reason::Conflict,
                "protocol and protocolStack may not both be specified; using protocolStack and \
                 ignoring protocol",
            )
            .help("remove one of them");
    }
    let layers: Vec<ProtocolLayer> = match (&spec.protocol_stack, spec.protocol) {
        (Some(stack), _) => stack.clone(),
        (None, Some(protocol)) => match protocol {
            Protocol::Http => vec![Http, Tcp],
            Protocol::Https => vec![Tls, Http, Tcp],
            Protocol::HttpProxy => vec![Proxy, Http, Tcp],
            Protocol::HttpsProxy => vec![Tls, Proxy, Http, Tcp],
            Protocol::Tcp => vec![Tcp],
            Protocol::Tls => vec![Tls, Tcp],
            Protocol::Udp => vec![Udp],
        },
        (None, None) => {
            context
                .report
                .error(
                    &object.at("spec.protocol"),
                    Reason::MissingField,
                    "one of protocol and protocolStack must be specified",
                )
                .help("write protocol: HTTP, HTTPS, HTTPPROXY or HTTPSPROXY");
            return None;
        }
    };
    let at = object.at(if spec.protocol_stack.is_some() {
        "spec.protocolStack"
    } else {
        "spec.protocol"
    });
    let mut refuse = |reason, message: String, help: &str| {
        context.report.error(&at, reason, message).help(help);
        None
    };
    match layers.last() {
        Some(Tcp) => {}
        Some(Udp) => {
            return refuse(
                Reason::NotSupported,
                "nuncio does not serve UDP yet: the Listener is left out".to_owned(),
                "write protocol: HTTPS",
            );
        }
        _ => {
            return refuse(
                Reason::InvalidValue,
                format!(
                    "TCP or UDP should be the last protocol in the protocolStack. Unable to \
                     determine socket protocol for listener {}",
                    object.name()
                ),
                "write TCP as the last layer",
            );
        }
    }
    if !layers.contains(&Http) {
        return refuse(
            Reason::NotBound,
            "No matching Hosts/TCPMappings found, disabling!".to_owned(),
            "without HTTP a Listener serves TCPMappings, which nuncio does not honour yet",
        );
    }
    Some(Stack {
        tls: layers.contains(&Tls),
        proxy: layers.contains(&Proxy),
    })
}

/// A Host on a Listener.
struct Bound<'h> {
    host: &'h Host,
    /// Indices of the groups that it takes, in order.
    groups: Vec<usize>,
}

struct Build<'a> {
    name: Arc<str>,
    object: &'a Object<ListenerSpec>,
    stack: Stack,
    groups: &'a [Group],
}

impl Build<'_> {
    /// The Hosts that the Listener serves; `None` when its binding cannot be read.
    fn bound<'h>(
        &self,
        context: &mut Context<'_>,
        hosts: &'h [Host],
        reported: &mut Reported,
    ) -> Option<Vec<Bound<'h>>> {
        let mut refuse = |field: &str, reason, message: &str, help: &str| {
            context
                .report
                .error(&self.object.at(field), reason, message)
                .help(help);
        };
        let Some(binding) = &self.object.spec.host_binding else {
            refuse(
                "spec.hostBinding",
                Reason::MissingField,
                "hostBinding is required",
                "write hostBinding: {namespace: {from: ALL}} to serve every Host",
            );
            return None;
        };
        let from = binding
            .namespace
            .as_ref()
            .and_then(|namespace| namespace.from);
        if from.is_none() && binding.selector.is_none() {
            refuse(
                "spec.hostBinding",
                Reason::MissingField,
                "hostBinding must have at least one of namespace or selector",
                "write hostBinding: {namespace: {from: ALL}} to serve every Host",
            );
            return None;
        }
        if from == Some(NamespaceFrom::Selector) {
            refuse(
                "spec.hostBinding.namespace.from",
                Reason::NotSupported,
                "hostBinding.namespace.from=selector is not yet supported; SELF is used",
                "write SELF or ALL",
            );
        }
        if let Some((index, operator)) = binding.selector.as_ref().and_then(unknown_operator) {
            refuse(
                &format!("spec.hostBinding.selector.matchExpressions[{index}].operator"),
                Reason::InvalidValue,
                &format!("\"{operator}\" is not an operator"),
                "write In, NotIn, Exists or DoesNotExist",
            );
            return None;
        }
        let all = from == Some(NamespaceFrom::All);
        let mut taken: HashMap<&Domain, &Host> = HashMap::new();
        let mut bound = Vec::new();
        for host in hosts {
            let near = all || host.namespace == self.object.namespace();
            let selected = binding
                .selector
                .as_ref()
                .is_none_or(|selector| selects(selector, &host.labels));
            if !near || !selected {
                continue;
            }
            // The first counts, for TLS and cleartext alike.
            if let Some(first) = taken.get(&host.hostname) {
                if reported
                    .duplicates
                    .insert(Arc::clone(&host.origin.resource))
                {
                    context
                        .report
                        .error(
                            &host.origin.field("spec.hostname"),
                            Reason::Conflict,
                            format!(
                                "Host {}/{} has the hostname {} too, and counts",
                                first.namespace, first.name, host.hostname
                            ),
                        )
                        .help("give one of them another hostname, or merge them");
                }
                continue;
            }
            taken.insert(&host.hostname, host);
            reported.served.insert(Arc::clone(&host.origin.resource));
            let groups = self.groups_of(context, host);
            reported.bound.extend(&groups);
            bound.push(Bound { host, groups });
        }
        Some(bound)
    }

    fn groups_of(&self, context: &Context<'_>, host: &Host) -> Vec<usize> {
        let strict = context.settings.strict_label_selectors;
        self.groups
            .iter()
            .enumerate()
            .filter(|(_, group)| group.built_in || takes(host, group, strict))
            .map(|(index, _)| index)
            .collect()
    }

    fn emit(&self, context: &mut Context<'_>, bound: &[Bound<'_>], reported: &mut Reported) {
        let spec = &self.object.spec;
        let mut chains = Vec::new();
        if self.stack.tls {
            self.tls_chains(context, bound, reported, &mut chains);
        }
        let rejects = |bound: &&Bound<'_>| {
            spec.security_model == SecurityModel::Insecure
                && bound.host.insecure == InsecureAction::Reject
        };
        if !bound.iter().all(|bound| rejects(&bound)) {
            chains.push(FilterChain {
                name: "httphost-shared".into(),
                origin: self.object.origin(),
                tls: None,
                http: self.connection_manager(None),
            });
        }
        if chains.is_empty() {
            context
                .report
                .error(
                    &self.object.origin(),
                    Reason::NotBound,
                    "No matching Hosts/TCPMappings found, disabling!",
                )
                .help("write a Host that hostBinding takes, and that does not reject all requests");
            return;
        }
        let table = RouteTable {
            name: Arc::clone(&self.name),
            virtual_hosts: self.virtual_hosts(bound),
        };
        let mut listener_filters = Vec::new();
        // What a proxy says comes before anything of the client: the TLS inspector must see what
        // is behind it.
        if self.stack.proxy {
            listener_filters.push(ListenerFilter::ProxyProtocol);
        }
        if self.stack.tls {
            listener_filters.push(ListenerFilter::TlsInspector);
        }
        let default_prefix = if self.stack.tls {
            "ingress_https"
        } else {
            "ingress_http"
        };
        let listener = Listener {
            name: Arc::clone(&self.name),
            origin: self.object.origin(),
            address: context.settings.bind_address,
            port: spec.port,
            listener_filters,
            stat_prefix: spec
                .stats_prefix
                .as_deref()
                .filter(|prefix| !prefix.is_empty())
                .unwrap_or(default_prefix)
                .into(),
            filter_chains: chains,
        };
        let gateway = &mut context.gateway;
        gateway.route_tables.insert(Arc::clone(&self.name), table);
        gateway.listeners.insert(Arc::clone(&self.name), listener);
    }

    /// One chain for each server name; Hosts with one certificate and one name share it.
    fn tls_chains(
        &self,
        context: &mut Context<'_>,
        bound: &[Bound<'_>],
        reported: &mut Reported,
        chains: &mut Vec<FilterChain>,
    ) {
        let mut by_name = BTreeMap::new();
        for Bound { host, .. } in bound {
            let Some(tls) = &host.tls else { continue };
            let first = by_name
                .entry(tls.server_name.clone())
                .or_insert_with(|| (tls.clone(), *host, Vec::new()));
            let secrets = &context.gateway.secrets;
            let content = |name: &Arc<str>| secrets.get(name).map(|secret| &secret.kind);
            let alike = |one: &Termination, other: &Termination| {
                let validation = |tls: &Termination| {
                    let name = tls.clients.validation.clone();
                    name.map(|name| content(&name).cloned())
                };
                content(&one.certificate) == content(&other.certificate)
                    && validation(one) == validation(other)
                    && one.clients.required == other.clients.required
                    && one.alpn == other.alpn
                    && one.parameters == other.parameters
            };
            let same = alike(&first.0.termination, &tls.termination);
            if same {
                first.2.push(host.hostname.clone());
            } else if reported
                .mismatched
                .insert(Arc::clone(&host.origin.resource))
            {
                let sni = tls.server_name.as_ref().map_or("*", |name| name.as_str());
                context
                    .report
                    .error(
                        &host.origin.field("spec.tlsSecret"),
                        Reason::Conflict,
                        format!(
                            "TLS Host {}: discarding because mismatching TLSContext between Hosts \
                             matching on dns hostname={sni}; Host {}/{} has another certificate \
                             for that name",
                            host.name, first.1.namespace, first.1.name
                        ),
                    )
                    .help("use the same certificate and the same TLS settings in both");
            }
        }
        for (tls, host, authorities) in by_name.into_values() {
            chains.push(FilterChain {
                name: format!("httpshost-{}", host.name).into(),
                origin: host.origin.clone(),
                tls: Some(tls),
                http: self.connection_manager(Some(authorities)),
            });
        }
    }

    fn connection_manager(&self, authorities: Option<Vec<Domain>>) -> HttpConnectionManager {
        let spec = &self.object.spec;
        HttpConnectionManager {
            route_table: Arc::clone(&self.name),
            authorities,
            xff_num_trusted_hops: spec.l7_depth.unwrap_or(0),
            max_concurrent_streams: spec.http2_max_concurrent_streams.filter(|n| *n > 0),
            server_name: SERVER_NAME.into(),
        }
    }

    /// Hosts with the same routes and the same say on cleartext are one virtual host.
    fn virtual_hosts(&self, bound: &[Bound<'_>]) -> Vec<VirtualHost> {
        let mut classes: Vec<VirtualHost> = Vec::new();
        let mut index: HashMap<(&[usize], u8), usize> = HashMap::new();
        let mut variants = Variants::new(self.object.spec.security_model);
        for Bound { host, groups } in bound {
            let class = (groups.as_slice(), host.insecure as u8);
            if let Some(at) = index.get(&class) {
                classes[*at].domains.push(host.hostname.clone());
                continue;
            }
            index.insert(class, classes.len());
            let routes = groups
                .iter()
                .flat_map(|group| &self.groups[*group].routes)
                .flat_map(|route| variants.of(route, host.insecure))
                .collect();
            classes.push(VirtualHost {
                name: format!("{}-{}", self.name, host.hostname).into(),
                domains: vec![host.hostname.clone()],
                routes,
            });
        }
        classes.retain(|host| !host.routes.is_empty());
        classes
    }
}

fn takes(host: &Host, group: &Group, strict: bool) -> bool {
    let hostname = match &group.association {
        Association::Hostname(hostname) => Some(globs_intersect(host.hostname.as_str(), hostname)),
        Association::Every => Some(true),
        Association::Labels => None,
    };
    match (&host.selector, hostname) {
        (None, hostname) => hostname.unwrap_or(false),
        (Some(selector), Some(hostname)) if strict => hostname && selects(selector, &group.labels),
        (Some(selector), Some(hostname)) => hostname || selects_loosely(selector, &group.labels),
        (Some(selector), None) if strict => selects(selector, &group.labels),
        (Some(selector), None) => selects_loosely(selector, &group.labels),
    }
}
