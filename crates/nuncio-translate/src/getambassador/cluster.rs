//! Clusters: what a Mapping says of its upstream, how the cluster is named, and who shares it.

use std::sync::Arc;
use std::time::Duration;

use nuncio_api::getambassador::{CircuitBreaker as CircuitBreakerSpec, Mapping, TlsContext};
use nuncio_model::cluster::{
    CircuitBreaker, Cluster, Discovery, DnsFamily, DnsLookup, Endpoint, EndpointSet, HealthCheck,
    LbPolicy, UpstreamProtocol,
};
use nuncio_model::consul::ConsulService;
use nuncio_model::listener::HeaderCase;
use nuncio_model::route::Priority;
use nuncio_model::tls::Origination;
use nuncio_model::{Origin, Reason};
use sha1::{Digest, Sha1};

use super::Context;
use super::diagnostics::Upstream;
use super::envoy_admin;
use super::resolver::Finder;
use super::service::{Scheme, ServiceName};
use super::tls::TlsSettings;
use super::{consul, resolver, statistics, unsupported};
use crate::fields::connection::{circuit_breakers, connect_timeout, keepalive};
use crate::fields::health;
use crate::fields::load_balancer::{self, LoadBalancing};
use crate::fields::mistake::Mistake;
use crate::fields::values::milliseconds;
use crate::resolve::{Resolved, Through, resolve};
use crate::store::Object;

/// Emissary's default of `connect_timeout_ms`.
const DEFAULT_CONNECT_TIMEOUT: Duration = Duration::from_millis(3000);

/// The longest name that Emissary gives a cluster as it is.
const LONGEST_NAME: usize = 60;

/// A cluster as one Mapping wants it.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct ClusterSpec {
    /// As Emissary names it, unless another Mapping has that name with other settings.
    pub(super) name: Arc<str>,
    pub(super) upstream: Arc<Upstream>,
    /// Of the Mapping, or of the Module.
    pub(super) load_balancing: Option<LoadBalancing>,
    pub(super) cluster: Arc<Cluster>,
    pub(super) endpoints: Option<Arc<EndpointSet>>,
    /// Whose endpoints a Consul knows.
    pub(super) consul: Option<Arc<ConsulService>>,
}

impl ClusterSpec {
    pub(super) fn of_mapping(
        context: &mut Context<'_>,
        object: &Object<Mapping>,
    ) -> Result<Self, Mistake> {
        let spec = &object.spec;
        let origin = object.origin();
        let own = object.namespace() == context.settings.namespace
            || context.module.defaults.own_namespace;
        let finder = match spec.resolver.as_deref().filter(|name| !name.is_empty()) {
            Some(name) => resolver::find(context, "spec.resolver", name)?,
            None => context.module.defaults.resolver.clone(),
        };
        // Consul knows no namespaces.
        let bare = own || matches!(finder, Finder::Consul(_));
        let service = spec.service.as_deref().unwrap_or_default();
        let name = ServiceName::parse(service, (!bare).then(|| object.namespace()))
            .map_err(Mistake::at("spec.service"))?;
        let at = object.at("spec.service");
        if name.extra {
            context
                .report
                .warning(
                    &at,
                    Reason::NoEffect,
                    format!(
                        "service {service} has extra URL components; ignoring everything but the \
                         host and port"
                    ),
                )
                .help("use rewrite to change the path");
        }
        if let Scheme::Other(scheme) = &name.scheme {
            context
                .report
                .warning(
                    &at,
                    Reason::InvalidValue,
                    format!("service {service} has unknown scheme {scheme}, assuming HTTP"),
                )
                .help("write http:// or https://");
        }

        let tls_context = tls_context(context, object);
        let lacks_context =
            tls_context.is_none() && spec.tls.as_deref().is_some_and(|name| !name.is_empty());
        let tls = match tls_context {
            Some(found) => {
                let at = found.namespace();
                let settings = TlsSettings::of_context(context, found, "spec.tls", at);
                Some(settings.origination(context)?)
            }
            None => (name.scheme == Scheme::Https).then(Origination::default),
        };
        let port = name.port.unwrap_or(if tls.is_some() { 443 } else { 80 });
        let (discovery, endpoints, consul) = if envoy_admin::is_meant(&name.host, port) {
            if tls.is_some() {
                return Err(envoy_admin::without_tls());
            }
            let socket = Arc::clone(&context.settings.envoy_admin);
            (Discovery::Pipe(socket), None, None)
        } else if let Some(consul) = consul::of(&finder, &name) {
            let (discovery, endpoints, service) =
                consul::discovery(context, object, consul, &name)?;
            (discovery, Some(endpoints), Some(service))
        } else {
            let (discovery, endpoints) =
                discovery(context, object, finder.through(), &name.host, port);
            (discovery, endpoints, None)
        };
        let load_balancing = load_balancing(context, object, &finder)?;
        let health_checks = health_checks(context, object, &discovery, &finder);
        let outlier_detection = spec
            .outlier_detection
            .as_deref()
            .map(|spec| health::outlier_detection("spec.outlier_detection", spec))
            .transpose()?;
        let defaults = &context.module.defaults;
        let breakers = spec
            .circuit_breakers
            .as_ref()
            .unwrap_or(&defaults.circuit_breakers);
        let circuit_breakers = circuit_breakers("spec.circuit_breakers", breakers)?;
        let keepalive = match &spec.keepalive {
            Some(spec) => Some(keepalive("spec.keepalive", spec)?),
            None => defaults.keepalive,
        };
        let connect_timeout = connect_timeout("spec.connect_timeout_ms", spec.connect_timeout_ms)?
            .unwrap_or(DEFAULT_CONNECT_TIMEOUT);
        let idle_timeout =
            milliseconds("spec.cluster_idle_timeout_ms", spec.cluster_idle_timeout_ms)?
                .or(defaults.cluster_idle_timeout);
        let max_connection_duration = milliseconds(
            "spec.cluster_max_connection_lifetime_ms",
            spec.cluster_max_connection_lifetime_ms,
        )?
        .or(defaults.cluster_max_connection_lifetime)
        .filter(|duration| !duration.is_zero());

        let full = full_name(
            object,
            &name,
            tls.is_some(),
            tls_context,
            breakers.iter().zip(&circuit_breakers),
            load_balancing.as_ref(),
        );
        let default = defaults.stats_name.clone();
        let own = spec.stats_name.as_deref().map(|name| {
            let at = object.at("spec.stats_name");
            statistics::name(&mut context.report, &at, name)
        });
        let stat_name = own
            .or(default)
            .filter(|name| !name.is_empty())
            .unwrap_or_else(|| sanitize(name.bare()));
        let protocol = if spec.grpc == Some(true) {
            UpstreamProtocol::Http2
        } else {
            UpstreamProtocol::Http1
        };
        let full: Arc<str> = shorten(full).into();
        let mut cluster = Self {
            name: Arc::clone(&full),
            upstream: Arc::new(Upstream {
                service: service.to_owned(),
                host: name.host,
                port,
                resolver: match spec.resolver.as_deref().filter(|name| !name.is_empty()) {
                    Some(name) => name.into(),
                    None => finder.default_name(),
                },
            }),
            cluster: Arc::new(Cluster {
                lb_policy: load_balancing
                    .as_ref()
                    .map(|balancing| balancing.policy)
                    .unwrap_or_default(),
                keepalive,
                health_checks,
                outlier_detection,
                header_case: match protocol {
                    UpstreamProtocol::Http1 => defaults.header_case,
                    UpstreamProtocol::Http2 => HeaderCase::Lower,
                },
                name: full,
                alt_stat_name: Some(stat_name.into()),
                origin,
                discovery,
                connect_timeout,
                circuit_breakers,
                protocol,
                tls,
                idle_timeout,
                max_connection_duration,
            }),
            load_balancing,
            endpoints: endpoints.map(Arc::new),
            consul,
        };
        if lacks_context {
            cluster.without_endpoints();
        }
        Ok(cluster)
    }

    pub(super) fn is_envoy_admin(&self) -> bool {
        matches!(self.cluster.discovery, Discovery::Pipe(_))
    }

    /// Leaves nothing behind it: requests are answered with 503. Its names are its own: those of
    /// the service are for those who reach it.
    pub(super) fn without_endpoints(&mut self) {
        self.name = format!("{}_unavailable", self.name).into();
        let cluster = Arc::make_mut(&mut self.cluster);
        cluster.name = Arc::clone(&self.name);
        let name = cluster.alt_stat_name.as_ref();
        cluster.alt_stat_name = name.map(|name| format!("{name}_unavailable").into());
        cluster.discovery = Discovery::Static(Vec::new());
        self.endpoints = None;
        self.consul = None;
    }
}

/// A TLSContext by name: the Mapping's own namespace first, then all.
///
/// Without the one that it names Emissary sends requests in cleartext, or encrypted to whoever
/// answers. Here none are sent: what was to protect them is not there.
fn tls_context<'s>(
    context: &mut Context<'s>,
    object: &Object<Mapping>,
) -> Option<&'s Object<TlsContext>> {
    let name = object.spec.tls.as_deref().filter(|name| !name.is_empty())?;
    let store = context.store;
    let found = super::host::find_tls_context(store, object.namespace(), name);
    let at = object.at("spec.tls");
    match found {
        Some(found) => {
            unsupported::upstream_tls_context(&mut context.report, found);
            if object
                .spec
                .service
                .as_deref()
                .is_some_and(|service| service.starts_with("http://"))
            {
                context
                    .report
                    .warning(
                        &at,
                        Reason::Conflict,
                        format!(
                            "Originate-TLS context {name} being used even though service {} lists \
                             HTTP",
                            object.spec.service.as_deref().unwrap_or_default()
                        ),
                    )
                    .help("write https:// in service, or remove tls");
            }
        }
        None => context
            .report
            .error(
                &at,
                Reason::RefNotFound,
                format!(
                    "Originate-TLS context {name} is not defined: nothing is sent to the upstream"
                ),
            )
            .help("define the TLSContext, or remove tls: until then no request gets through"),
    }
    found.map(AsRef::as_ref)
}

/// Which endpoint is taken. Where a Service stands for one address there is nothing to choose from;
/// Emissary drops such a Mapping.
fn load_balancing(
    context: &mut Context<'_>,
    object: &Object<Mapping>,
    finder: &Finder,
) -> Result<Option<LoadBalancing>, Mistake> {
    let Some(spec) = &object.spec.load_balancer else {
        return Ok(context.module.defaults.load_balancing.clone());
    };
    let balancing = load_balancer::read("spec.load_balancer", spec)?;
    if !finder.balances() && balancing.policy != LbPolicy::RoundRobin {
        context
            .report
            .warning(
                &object.at("spec.load_balancer"),
                Reason::NoEffect,
                "the service is one address for its resolver, kubernetes-service: there is nothing \
                 to balance",
            )
            .help("write resolver: kubernetes-endpoint");
    }
    Ok(Some(balancing))
}

/// Each that is wrong is left out alone.
fn health_checks(
    context: &mut Context<'_>,
    object: &Object<Mapping>,
    discovery: &Discovery,
    finder: &Finder,
) -> Vec<HealthCheck> {
    let Some(specs) = &object.spec.health_checks else {
        return Vec::new();
    };
    if !finder.balances() || !matches!(discovery, Discovery::Eds(_)) {
        context
            .report
            .warning(
                &object.at("spec.health_checks"),
                Reason::NoEffect,
                "only the endpoints of a Service are checked, and only with a resolver that finds \
                 them",
            )
            .help("write resolver: kubernetes-endpoint");
        return Vec::new();
    }
    let mut checks = Vec::new();
    for (index, spec) in specs.iter().enumerate() {
        match health::health_check(&format!("spec.health_checks[{index}]"), spec) {
            Ok(check) => checks.push(check),
            Err(mistake) => mistake.report(&mut context.report, object),
        }
    }
    checks
}

fn discovery(
    context: &mut Context<'_>,
    object: &Object<Mapping>,
    through: Through,
    host: &str,
    port: u16,
) -> (Discovery, Option<EndpointSet>) {
    let at = object.at("spec.service");
    let namespace = if context.module.defaults.own_namespace {
        context.settings.namespace.as_str()
    } else {
        object.namespace()
    };
    let resolved = resolve(context.store, namespace, through, host, port);
    context.endpoint_reads.record(through, port, &resolved);
    match resolved {
        Resolved::Address(address) => (Discovery::Static(vec![Endpoint { address, port }]), None),
        Resolved::Service {
            id,
            set_name,
            endpoints,
            note,
        } => {
            if let Some(note) = note {
                context
                    .report
                    .warning(
                        &at,
                        Reason::RefInvalid,
                        format!("Service {}/{}: {note}", id.namespace, id.name),
                    )
                    .help("until it has endpoints, requests are answered with 503");
            }
            let set = EndpointSet {
                name: Arc::clone(&set_name),
                origin: Origin::new(id),
                endpoints,
            };
            (Discovery::Eds(set_name), Some(set))
        }
        Resolved::ExternalName(name) => (dns(context, object, &name, port), None),
        Resolved::Unknown => {
            if !host.contains('.') && host != "localhost" {
                context
                    .report
                    .warning(
                        &at,
                        Reason::RefNotFound,
                        format!(
                            "there is no Service {host} in namespace {namespace}; the name is \
                             looked up by DNS"
                        ),
                    )
                    .help("add the Service, or write a full name or an address");
            }
            (dns(context, object, host, port), None)
        }
    }
}

fn dns(context: &mut Context<'_>, object: &Object<Mapping>, host: &str, port: u16) -> Discovery {
    let spec = &object.spec;
    let lookup = match spec
        .dns_type
        .as_deref()
        .map(str::to_ascii_lowercase)
        .as_deref()
    {
        None | Some("strict_dns") => DnsLookup::Strict,
        Some("logical_dns") => DnsLookup::Logical,
        Some(other) => {
            context
                .report
                .warning(
                    &object.at("spec.dns_type"),
                    Reason::InvalidValue,
                    format!("\"{other}\" is not a DNS type; strict_dns is used"),
                )
                .help("write strict_dns or logical_dns");
            DnsLookup::Strict
        }
    };
    let defaults = &context.module.defaults;
    let v4 = spec.enable_ipv4.unwrap_or(defaults.enable_ipv4);
    let v6 = spec.enable_ipv6.unwrap_or(defaults.enable_ipv6);
    Discovery::Dns {
        host: host.into(),
        port,
        lookup,
        family: match (v4, v6) {
            (true, true) => DnsFamily::Auto,
            (false, true) => DnsFamily::V6Only,
            _ => DnsFamily::V4Only,
        },
        respect_ttl: spec.respect_dns_ttl == Some(true),
        others: Vec::new(),
    }
}

/// `cluster`, the tag or `shadow`, the service, what TLS adds, the namespace, the breakers and the
/// load balancer: dashboards know clusters by these names.
fn full_name<'b>(
    object: &Object<Mapping>,
    name: &ServiceName,
    tls: bool,
    tls_context: Option<&Object<TlsContext>>,
    breakers: impl Iterator<Item = (&'b CircuitBreakerSpec, &'b CircuitBreaker)>,
    load_balancing: Option<&LoadBalancing>,
) -> String {
    let spec = &object.spec;
    let mut full = "cluster".to_owned();
    let mut part = |text: &str| {
        full.push('_');
        full.push_str(text);
    };
    if spec.shadow == Some(true) {
        part("shadow");
    } else if let Some(tag) = spec.cluster_tag.as_deref().filter(|tag| !tag.is_empty()) {
        part(tag);
    }
    part(&name.text);
    if tls {
        part("otls");
        if name.scheme == Scheme::None
            && let Some(context) = tls_context
        {
            part(context.name());
        }
        if let Some(host) = spec.host_rewrite.as_deref().filter(|host| !host.is_empty()) {
            part(&format!("hr-{host}"));
        }
    }
    part(object.namespace());
    for (given, breaker) in breakers {
        let priority = match (given.priority.is_some(), breaker.priority) {
            (false, _) => 'n',
            (true, Priority::Default) => 'd',
            (true, Priority::High) => 'h',
        };
        let mut text = format!("cb{priority}");
        for (letter, value) in [
            ('c', breaker.max_connections),
            ('p', breaker.max_pending_requests),
            ('r', breaker.max_requests),
            ('t', breaker.max_retries),
        ] {
            if let Some(value) = value {
                text.push_str(&format!("{letter}{value}"));
            }
        }
        part(&text);
    }
    if let Some(balancing) = load_balancing {
        part(&balancing.name_part);
    }
    sanitize(&full)
}

fn sanitize(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_ascii_alphanumeric() { c } else { '_' })
        .collect()
}

/// Emissary numbers names that share a short form; the hash is of the whole name, so there is one.
fn shorten(full: String) -> String {
    if full.len() <= LONGEST_NAME {
        return full;
    }
    let hash = digest(&full).to_ascii_uppercase();
    format!("{}-{}-0", &full[..40], &hash[..16])
}

pub(super) fn digest(text: &str) -> String {
    let digit = |half: u8| char::from(b"0123456789abcdef"[usize::from(half)]);
    let digest = Sha1::digest(text.as_bytes());
    let digits = digest.iter().flat_map(|byte| [byte >> 4, byte & 15]);
    digits.map(digit).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_names_are_cut_and_hashed() {
        assert_eq!(
            sanitize("cluster_http://quote:8080_default"),
            "cluster_http___quote_8080_default"
        );
        assert_eq!(shorten("cluster_a".to_owned()), "cluster_a");
        let long = format!("cluster_{}", "x".repeat(60));
        let short = shorten(long);
        assert_eq!(short.len(), 40 + 1 + 16 + 2);
        assert!(short.starts_with("cluster_xxx") && short.ends_with("-0"));
    }
}
