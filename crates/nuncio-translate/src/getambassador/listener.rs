//! Listeners: which Hosts and TCPMappings each serves, and with the Hosts which routes.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use nuncio_api::getambassador::{self, InsecureAction, Listener as ListenerSpec, SecurityModel};
use nuncio_model::listener::{FilterChain, HttpConnectionManager, Listener, Proxy, Transport};
use nuncio_model::route::{
    Action, HeaderAddition, HeaderEdits, PathMatch, Route, RouteMatch, RouteTable, VirtualHost,
};
use nuncio_model::value::{Domain, FormatString, HeaderName, PathLiteral};
use nuncio_model::{Origin, Reason, ResourceId};

use super::Context;
use super::attached::Sites;
use super::binding::{self, Bound};
use super::chain;
use super::external;
use super::group::Group;
use super::host::Host;
use super::security::Variant;
use super::shadow::{self, Shadows};
use super::stack::{self, Stack};
use super::statistics;
use super::taken;
use super::tcpmapping::TcpGroup;
use crate::fields::mistake::Mistake;
use crate::store::Object;

/// Tells clients that HTTP/3 is served. The port is Emissary's, whatever the Listener's: most are
/// reached through a load balancer's 443.
const ALT_SVC: &str = r#"h3=":443"; ma=86400, h3-29=":443"; ma=86400"#;

pub(super) fn listeners(
    context: &mut Context<'_>,
    hosts: &[Host],
    groups: &[Arc<Group>],
    tcp: &[TcpGroup],
    shadows: &mut Shadows,
) -> Sites {
    let mut reported = Reported::default();
    let mut index = taken::Index::new(groups, context.settings);
    let mut names = HashSet::new();
    let mut builds: Vec<Build<'_>> = Vec::new();
    // Listeners for a port of TCP, by port, that are not in effect.
    let mut idle: HashMap<u16, &Object<ListenerSpec>> = HashMap::new();
    for object in context.store.listeners.by_rkey() {
        let wanted = object.spec.port;
        let port = context.store.kept_port(object).unwrap_or(wanted);
        if port != wanted && stack::is_tcp(&object.spec) {
            idle.insert(wanted, object);
        }
        match read(context, object, port, &builds) {
            Ok(Some(stack)) => {
                let tcp = tcp.iter().filter(|group| {
                    stack.transport == Transport::Tcp
                        && group.port == port
                        && group.address == context.settings.bind_address
                });
                builds.push(Build {
                    name: unique(&mut names, object.name(), object.namespace()),
                    object,
                    port,
                    stack,
                    groups,
                    bound: binding::bound(context, object, stack, hosts, &mut index, &mut reported),
                    tcp: tcp.collect(),
                    http3: stack.transport == Transport::Quic,
                });
            }
            // Another has its port.
            Ok(None) => {}
            Err(mistake) => {
                mistake.report(&mut context.report, object);
                if stack::is_tcp(&object.spec) {
                    idle.insert(wanted, object);
                }
            }
        }
    }
    // What is served over QUIC is said on the same port of TCP.
    builds.sort_by_key(|build| build.stack.transport == Transport::Tcp);
    let mut quic = HashSet::new();
    let mut sites = Sites::default();
    for build in &mut builds {
        build.http3 |= quic.contains(&build.port);
        if !build.emit(context, &mut reported) {
            continue;
        }
        if build.stack.transport == Transport::Quic {
            quic.insert(build.port);
        }
        sites.hosts(&build.object.id, std::mem::take(&mut build.bound));
        for group in &build.tcp {
            sites.tcp(&build.object.id, group);
        }
    }
    let listened = |group: &&TcpGroup| {
        let mut tcp = builds.iter().flat_map(|build| &build.tcp);
        tcp.any(|served| (served.address, served.port) == (group.address, group.port))
    };
    let left: Vec<&TcpGroup> = tcp.iter().filter(|group| !listened(group)).collect();
    of_tcp_mappings(context, &left, &idle, &mut names, &mut sites);
    sites.everyone = index.everyone().to_vec();
    shadow::report(context, groups, index.distinct(), shadows);
    let serves_http = builds.iter().any(|build| build.stack.http);
    if context.store.listeners.is_empty() || !serves_http && idle.is_empty() {
        no_listener(context, groups);
    } else if !reported.served.is_empty() {
        let bound = index.distinct().flatten().copied().collect();
        binding::not_bound(context, groups, &bound);
    }
    sites
}

/// A name for Envoy's listener: the object's own, unless another came first.
fn unique(names: &mut HashSet<String>, name: &str, namespace: &str) -> Arc<str> {
    let mut unique = name.to_owned();
    while !names.insert(unique.clone()) {
        unique = format!("{unique}.{namespace}");
    }
    unique.into()
}

/// What a Listener serves; `None` when another has its port, which is said.
fn read(
    context: &mut Context<'_>,
    object: &Object<ListenerSpec>,
    port: u16,
    earlier: &[Build<'_>],
) -> Result<Option<Stack>, Mistake> {
    if port == 0 {
        return Err(Mistake::new(
            "spec.port",
            "0 is not a port to listen on",
            "write a port from 1 to 65535",
        ));
    }
    let stack = Stack::read(context, object)?;
    let same = |build: &&Build<'_>| build.port == port && build.stack.transport == stack.transport;
    let wanted = object.spec.port;
    if port != wanted {
        // Whoever wants the port it keeps is to have it.
        let wants = |other: &&Arc<Object<ListenerSpec>>| {
            other.spec.port == port && stack::is_tcp(&other.spec) == stack::is_tcp(&object.spec)
        };
        if let Some(other) = context.store.listeners.by_rkey().into_iter().find(wants) {
            return Err(Mistake::because(
                "spec.port",
                Reason::NotBound,
                format!(
                    "it is not in effect: port {wanted} is taken by another program, and {port}, \
                     which it had, is that of Listener {}/{}",
                    other.namespace(),
                    other.name()
                ),
                "free the port, or write another",
            ));
        }
    }
    if let Some(first) = earlier.iter().find(same) {
        let scheme = match stack.transport {
            Transport::Tcp => "tcp",
            Transport::Quic => "udp",
        };
        let message = format!(
            "Duplicate listener {} on {scheme}://{}:{port}; keeping definition from {}/{}",
            object.name(),
            context.settings.bind_address,
            first.object.namespace(),
            first.object.name()
        );
        context
            .report
            .error(&object.at("spec.port"), Reason::Conflict, message)
            .help("give it another port, or remove one of them");
        return Ok(None);
    }
    binding::check(context, object)?;
    stack.without_effect(context, object);
    Ok(Some(stack))
}

/// Listeners for TCPMappings whose port none has. A port whose Listener is not in effect stays
/// closed: what it was to understand, such as the PROXY protocol, is not known.
fn of_tcp_mappings(
    context: &mut Context<'_>,
    groups: &[&TcpGroup],
    idle: &HashMap<u16, &Object<ListenerSpec>>,
    names: &mut HashSet<String>,
    sites: &mut Sites,
) {
    let mut made: Vec<(Stack, Vec<&TcpGroup>)> = Vec::new();
    for group in groups {
        let waits = idle
            .get(&group.port)
            .filter(|_| group.address == context.settings.bind_address);
        if let Some(object) = waits {
            for member in &group.members {
                context
                    .report
                    .error(
                        &member.field("spec.port"),
                        Reason::NotBound,
                        format!(
                            "port {} is that of Listener {}/{}, which is not in effect",
                            group.port,
                            object.namespace(),
                            object.name()
                        ),
                    )
                    .help("mend that Listener; or remove it, and the port is listened on as TCP");
            }
            continue;
        }
        let place = (group.address, group.port);
        let same = |(_, groups): &&mut (Stack, Vec<&TcpGroup>)| {
            (groups[0].address, groups[0].port) == place
        };
        match made.iter_mut().find(same) {
            Some((_, groups)) => groups.push(group),
            None => {
                let stack = Stack::of_tcp_mapping(group.tls.is_some());
                made.push((stack, vec![group]));
            }
        }
    }
    for (stack, groups) in made {
        let first = groups[0];
        let namespace = &first.origin().resource.namespace;
        let name = format!("listener-{}-{}", first.address, first.port);
        let name = unique(names, &name, namespace);
        let tls = groups.iter().any(|group| group.tls.is_some());
        let listener = Listener {
            name: Arc::clone(&name),
            origin: first.origin().clone(),
            transport: Transport::Tcp,
            address: first.address,
            port: first.port,
            listener_filters: stack.listener_filters(tls),
            stat_prefix: stack.default_stats_prefix(first.port).into(),
            per_connection_buffer_limit: context.module.buffer_limit,
            filter_chains: groups.iter().map(|group| group.chain()).collect(),
        };
        let id = Arc::new(ResourceId::new(
            getambassador::GROUP,
            "Listener",
            "",
            &*name,
        ));
        for group in groups {
            sites.tcp(&id, group);
        }
        context.gateway.listeners.insert(name, Arc::new(listener));
    }
}

/// What was said already, and what found a place.
#[derive(Default)]
pub(super) struct Reported {
    /// Hosts whose hostname another has.
    pub(super) duplicates: HashSet<(Origin, Domain)>,
    /// Hosts that lost their TLS.
    pub(super) without_tls: HashSet<(Origin, Domain)>,
    /// Hosts that HTTP/3 cannot serve.
    pub(super) without_http3: HashSet<(Origin, Domain)>,
    /// Hosts in effect on some Listener.
    pub(super) served: HashSet<Arc<ResourceId>>,
}

fn no_listener(context: &mut Context<'_>, groups: &[Arc<Group>]) {
    if context.only_gateways_listen() {
        return;
    }
    let mapped = groups.iter().any(|group| !group.built_in);
    let message = if context.gateway.listeners.is_empty() {
        "No active listeners at all; check your Listener and Host configuration"
    } else if mapped {
        "no Listener serves HTTP: Hosts and Mappings are not in effect"
    } else {
        return;
    };
    let none = ResourceId::new(getambassador::GROUP, "Listener", "", "*");
    context
        .report
        .warning(&Origin::new(Arc::new(none)), Reason::NotBound, message)
        .help("write a Listener with port, protocol, securityModel and hostBinding");
}

struct Build<'a> {
    name: Arc<str>,
    object: &'a Object<ListenerSpec>,
    /// Its own, or the one that it keeps because it cannot have its own.
    port: u16,
    stack: Stack,
    groups: &'a [Arc<Group>],
    bound: Vec<Bound<'a>>,
    /// TCPMappings of its port.
    tcp: Vec<&'a TcpGroup>,
    /// HTTP/3 is served on its port.
    http3: bool,
}

impl Build<'_> {
    /// Whether anything is served.
    fn emit(&self, context: &mut Context<'_>, reported: &mut Reported) -> bool {
        let spec = &self.object.spec;
        let rejects = |bound: &&Bound<'_>| {
            spec.security_model == SecurityModel::Insecure
                && bound.host.insecure == InsecureAction::Reject
        };
        let cleartext = match self.stack.transport {
            Transport::Tcp => self.bound.iter().find(|bound| !rejects(bound)),
            Transport::Quic => None,
        };
        let mut chains = chain::of_tcp(context, &self.tcp, cleartext.map(|bound| bound.host));
        if self.stack.tls {
            chains.extend(
                chain::of_tls_hosts(context, &self.bound, &self.tcp, reported)
                    .into_iter()
                    .map(|chain| FilterChain {
                        name: format!("httpshost-{}", chain.host.name).into(),
                        origin: chain.host.origin.clone(),
                        tls: Some(chain.tls),
                        passthrough: None,
                        proxy: self.connection_manager(context, Some(chain.authorities)),
                    }),
            );
        }
        if cleartext.is_some() {
            chains.push(FilterChain {
                name: "httphost-shared".into(),
                origin: self.object.origin(),
                tls: None,
                passthrough: None,
                proxy: self.connection_manager(context, None),
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
                .help(match (self.stack.transport, self.stack.http) {
                    (Transport::Tcp, true) => {
                        "write a Host that hostBinding takes, and that does not reject all requests"
                    }
                    (Transport::Tcp, false) => "write a TCPMapping with its port",
                    (Transport::Quic, _) => "write a Host with tlsSecret that hostBinding takes",
                });
            return false;
        }
        self.say_what_is_secure(context, &chains);
        let tls = chains.iter().any(|chain| chain.tls.is_some());
        let http = chains.iter().any(|chain| chain.http().is_some());
        let default_prefix = self.stack.default_stats_prefix(self.port);
        let listener = Listener {
            name: Arc::clone(&self.name),
            origin: self.object.origin(),
            transport: self.stack.transport,
            address: context.settings.bind_address,
            port: self.port,
            listener_filters: self.stack.listener_filters(tls),
            stat_prefix: spec
                .stats_prefix
                .as_deref()
                .filter(|prefix| !prefix.is_empty())
                .map(|prefix| {
                    let at = self.object.at("spec.statsPrefix");
                    statistics::name(&mut context.report, &at, prefix)
                })
                .unwrap_or(default_prefix)
                .into(),
            per_connection_buffer_limit: context.module.buffer_limit,
            filter_chains: chains,
        };
        let gateway = &mut context.gateway;
        if http {
            let table = RouteTable {
                name: Arc::clone(&self.name),
                virtual_hosts: self.virtual_hosts(),
                ignore_port: false,
                asks: context.asks.clone(),
            };
            gateway
                .route_tables
                .insert(Arc::clone(&self.name), Arc::new(table));
        }
        gateway
            .listeners
            .insert(Arc::clone(&self.name), Arc::new(listener));
        true
    }

    /// SECURE and INSECURE do not look at the connection. Where that is not what a Host with TLS
    /// says, it is worth knowing.
    fn say_what_is_secure(&self, context: &mut Context<'_>, chains: &[FilterChain]) {
        let has = |tls: bool| {
            let mut http = chains.iter().filter(|chain| chain.http().is_some());
            http.any(|chain| chain.tls.is_some() == tls)
        };
        if !has(true) {
            return;
        }
        let mut with_tls = self.bound.iter().filter(|bound| bound.host.tls.is_some());
        let (host, message) = match self.object.spec.security_model {
            SecurityModel::Secure if has(false) => (
                with_tls.find(|bound| bound.host.insecure != InsecureAction::Route),
                "cleartext requests are taken for secure ones: requestPolicy.insecure has no effect",
            ),
            SecurityModel::Insecure => (
                with_tls.find(|bound| bound.host.insecure == InsecureAction::Redirect),
                "requests over TLS are taken for insecure ones: they are redirected to where they \
                 are, for ever",
            ),
            _ => return,
        };
        if let Some(Bound { host, .. }) = host {
            context
                .report
                .warning(
                    &self.object.at("spec.securityModel"),
                    Reason::Conflict,
                    format!("{message} ({})", host.origin.resource),
                )
                .help("write securityModel: XFP, which asks how each request came");
        }
    }

    fn connection_manager(&self, context: &Context<'_>, authorities: Option<Vec<Domain>>) -> Proxy {
        let spec = &self.object.spec;
        Proxy::Http(HttpConnectionManager {
            route_table: Arc::clone(&self.name),
            authorities,
            xff_num_trusted_hops: spec.l7_depth.unwrap_or(0),
            max_concurrent_streams: spec
                .http2_max_concurrent_streams
                .filter(|n| *n > 0 && self.stack.transport == Transport::Tcp),
            http3: self.http3,
            filters: context.module.filters.clone(),
            late_filters: external::FILTERS.map(Into::into).to_vec(),
            route_filters: false,
            options: Arc::clone(&context.module.options),
        })
    }

    /// Hosts with the same routes and the same say on cleartext are one virtual host.
    fn virtual_hosts(&self) -> Vec<VirtualHost> {
        let mut classes: Vec<VirtualHost> = Vec::new();
        let mut index: HashMap<(*const usize, u8, bool), usize> = HashMap::new();
        let response_headers = self.response_headers();
        for Bound { host, groups, .. } in &self.bound {
            // Equal lists are one.
            let class = (groups.as_ptr(), host.insecure as u8, host.closed);
            if let Some(at) = index.get(&class) {
                classes[*at].domains.push(host.hostname.clone());
                classes[*at].origins.push(host.origin.clone());
                continue;
            }
            index.insert(class, classes.len());
            let variant = Variant {
                model: self.object.spec.security_model,
                action: host.insecure,
            };
            let routes = groups
                .iter()
                .flat_map(|group| self.groups[*group].variants(variant))
                .cloned()
                .chain(host.closed.then(|| not_found(host)))
                .collect();
            classes.push(VirtualHost {
                // Envoy's statistics take what is before the first dot for the name of a virtual
                // host; so they are of the listener, and each Host has its own within.
                name: format!("{}.{}", self.name.replace('.', "_"), host.hostname).into(),
                domains: vec![host.hostname.clone()],
                origins: vec![host.origin.clone()],
                routes,
                response_headers: response_headers.clone(),
            });
        }
        classes.retain(|host| !host.routes.is_empty());
        classes
    }

    fn response_headers(&self) -> HeaderEdits {
        let mut edits = HeaderEdits::default();
        if self.http3 && self.stack.transport == Transport::Tcp {
            edits.add.push(HeaderAddition {
                name: HeaderName::new("alt-svc").expect("invariant: the name is a token"),
                value: FormatString::new(ALT_SVC).expect("invariant: it has no percent sign"),
                append: true,
            });
        }
        edits
    }
}

/// The last route of a Host without effect.
fn not_found(host: &Host) -> Arc<Route> {
    Arc::new(Route {
        origin: host.origin.clone(),
        matches: RouteMatch {
            path: PathMatch::Prefix(
                PathLiteral::new("/").expect("invariant: the prefix is one line"),
            ),
            case_sensitive: true,
            headers: Vec::new(),
            query_parameters: Vec::new(),
            fraction: None,
        },
        action: Action::DirectResponse {
            status: 404,
            body: "".into(),
        },
        request_headers: HeaderEdits::default(),
        response_headers: HeaderEdits::default(),
        cors: None,
        authorization: None,
    })
}
