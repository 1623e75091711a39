//! AuthServices: who is asked whether a request may pass.
//!
//! ```text
//!  Module authentication, AuthServices ──▶ read ──▶ those in effect, merged ──▶ Authorization
//!                                            └──▶ all wrong ──▶ Refusal
//! ```
//!
//! It fails closed: where AuthServices are written and none of them is in effect, nothing passes but
//! what is not to be asked about. Where they cannot be read, some may be written. Emissary lets everything through without an `auth_service`, and
//! asks in cleartext without the TLSContext that is named.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use nuncio_api::getambassador::{self as api, AuthService, Mapping, ProtocolVersion};
use nuncio_model::cluster::{Discovery, Endpoint, EndpointSet};
use nuncio_model::external::{
    AuthFilter, AuthProtocol, Authorization, HttpAuthorization, SentBody,
};
use nuncio_model::filter::{FilterConfig, HttpFilter, Refusal};
use nuncio_model::value::{FormatString, HeaderName, HttpStatus, PathLiteral};
use nuncio_model::{Origin, Reason};

use super::Context;
use super::cluster::ClusterSpec;
use super::clusters::Clusters;
use super::diagnostics::{ServiceInfo, Upstream};
use super::external;
use crate::fields::mistake::Mistake;
use crate::fields::values::{field_of, milliseconds};
use crate::store::{AUTH_MODULE, Object, module_auth_service};

/// Emissary's default of `timeout_ms`.
const DEFAULT_TIMEOUT: Duration = Duration::from_millis(5000);

/// What `allow_request_body` stands for.
const REQUEST_BODY: SentBody = SentBody {
    max_bytes: 4096,
    allow_partial: true,
};

/// Headers of requests that are sent along always.
const REQUEST_HEADERS: [&str; 8] = [
    "authorization",
    "cookie",
    "from",
    "proxy-authorization",
    "user-agent",
    "x-forwarded-for",
    "x-forwarded-host",
    "x-forwarded-proto",
];

/// Headers of answers that count always.
const RESPONSE_HEADERS: [&str; 5] = [
    "authorization",
    "location",
    "proxy-authenticate",
    "set-cookie",
    "www-authenticate",
];

/// One AuthService that is right for itself.
struct Parsed {
    object: Arc<Object<AuthService>>,
    of_module: bool,
    cluster: ClusterSpec,
    settings: Authorization,
    /// AuthServices that are one with it.
    joined: Vec<(Arc<str>, Arc<Upstream>)>,
}

/// One that is not in effect.
struct Failed {
    origin: Origin,
    key: Arc<str>,
    /// Or none at all: nothing could be read of what there is.
    unread: bool,
}

/// The filter of all AuthServices; `None` where nobody wrote any. It says in the context what is
/// asked.
pub(super) fn filter(context: &mut Context<'_>, clusters: &mut Clusters) -> Option<HttpFilter> {
    let (right, failed) = read_all(context);
    if let Some(parsed) = merge(context, right) {
        context.asks.authorization = AuthFilter::Asks;
        let own = &parsed.cluster;
        let own = (Arc::clone(&parsed.object.rkey), Arc::clone(&own.upstream));
        let cluster = clusters.name_later(&Arc::new(parsed.cluster));
        let of = 1 + parsed.joined.len();
        let all = std::iter::once(own).chain(parsed.joined);
        context
            .services
            .extend(all.map(|(rkey, upstream)| ServiceInfo {
                kind: "AuthService",
                rkey,
                upstream,
                cluster: Arc::clone(&cluster),
                of,
            }));
        return Some(HttpFilter {
            origin: parsed.object.origin(),
            config: FilterConfig::Authorization(Authorization {
                cluster,
                ..parsed.settings
            }),
        });
    }
    let first = failed.into_iter().next()?;
    context.asks.authorization = AuthFilter::Refuses;
    let (message, help) = match first.unread {
        false => (
            "no AuthService is in effect: requests are answered with 500",
            "mend it, or remove it; redirects and Mappings with bypass_auth are as ever",
        ),
        true => (
            "an AuthService may be there that cannot be read, and none is in effect: requests are \
             answered with 500",
            "see what keeps it from being read; redirects and Mappings with bypass_auth are as ever",
        ),
    };
    context
        .report
        .error(&first.origin, Reason::NotBound, message)
        .help(help);
    Some(HttpFilter {
        origin: first.origin,
        config: FilterConfig::Refusal(Refusal { key: first.key }),
    })
}

/// In the order in which they count, and those that are wrong, in theirs.
fn read_all(context: &mut Context<'_>) -> (Vec<Parsed>, Vec<Failed>) {
    let store = context.store;
    let mut right = Vec::new();
    let mut failed = Vec::new();
    for module in store.modules.by_rkey() {
        if module.name() != AUTH_MODULE {
            continue;
        }
        let read = module_auth_service(module, &mut context.report);
        let read = read.and_then(|object| parse(context, Arc::new(object), true));
        match read {
            Some(parsed) => right.push(parsed),
            None => failed.push(Failed {
                origin: module.origin(),
                key: Arc::clone(&module.rkey),
                unread: false,
            }),
        }
    }
    for object in store.auth_services.by_rkey() {
        match parse(context, Arc::clone(object), false) {
            Some(parsed) => right.push(parsed),
            None => failed.push(Failed {
                origin: object.origin(),
                key: Arc::clone(&object.rkey),
                unread: false,
            }),
        }
    }
    let unread = store.unread("AuthService");
    let left_out = store.auth_services.left_out().map(|object| object.origin());
    for origin in unread.chain(left_out) {
        let id = &origin.resource;
        let key = format!("{}.{}.1", id.name, id.namespace).into();
        failed.push(Failed {
            origin,
            key,
            unread: false,
        });
    }
    failed.extend(store.unseen("AuthService").map(|origin| Failed {
        origin: origin.clone(),
        key: Arc::clone(&origin.resource.name),
        unread: true,
    }));
    (right, failed)
}

/// Reads one; `None` when it is wrong, which the report then says.
fn parse(
    context: &mut Context<'_>,
    object: Arc<Object<AuthService>>,
    of_module: bool,
) -> Option<Parsed> {
    external::renaming(
        context,
        |field| written(field, of_module),
        |context| match read(context, &object) {
            Ok((cluster, settings)) => Some(Parsed {
                object,
                of_module,
                cluster,
                settings,
                joined: Vec::new(),
            }),
            Err(mistake) => {
                mistake.report(&mut context.report, &object);
                None
            }
        },
    )
}

/// Where a field stands.
fn written(field: &str, of_module: bool) -> Option<String> {
    let rest = field.strip_prefix("spec.")?;
    let rest = if rest == "service" {
        "auth_service"
    } else {
        rest
    };
    let root = if of_module { "spec.config" } else { "spec" };
    Some(format!("{root}.{rest}"))
}

fn read(
    context: &mut Context<'_>,
    object: &Object<AuthService>,
) -> Result<(ClusterSpec, Authorization), Mistake> {
    let spec = &object.spec;
    let given = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
    let Some(service) = given(&spec.auth_service) else {
        return Err(Mistake::because(
            "spec.auth_service",
            Reason::MissingField,
            "it is missing",
            "write who is asked, such as auth.default:8080",
        ));
    };
    let grpc = spec.proto == Some(api::AuthProtocol::Grpc);
    if grpc && spec.protocol_version != Some(ProtocolVersion::V3) {
        return Err(Mistake::new(
            "spec.protocol_version",
            "AuthService: protocol_version v2 is unsupported, protocol_version must be \"v3\"",
            "write protocol_version: v3",
        ));
    }
    let body = body(context, object)?;
    let status_on_error = spec.status_on_error.as_ref().and_then(|on| on.code);
    let status_on_error = status_on_error
        .map(HttpStatus::new)
        .transpose()
        .map_err(Mistake::at("spec.status_on_error.code"))?;
    let timeout = milliseconds("spec.timeout_ms", spec.timeout_ms)?.unwrap_or(DEFAULT_TIMEOUT);
    let cluster = external::cluster(
        context,
        object,
        Mapping {
            service: Some(service),
            tls: spec.tls.clone(),
            grpc: Some(grpc),
            circuit_breakers: spec.circuit_breakers.clone(),
            stats_name: spec.stats_name.clone(),
            // Emissary has it in the names of these clusters.
            cluster_tag: Some("extauth".to_owned()),
            ..Mapping::default()
        },
    )?;
    let protocol = if grpc {
        only_http(context, object);
        AuthProtocol::Grpc
    } else {
        AuthProtocol::Http(http(context, object, &cluster)?)
    };
    let settings = Authorization {
        cluster: "".into(),
        protocol,
        timeout,
        body,
        failure_mode_allow: spec.failure_mode_allow == Some(true),
        status_on_error,
    };
    Ok((cluster, settings))
}

/// Emissary answers everything with 500 where both fields are there.
fn body(
    context: &mut Context<'_>,
    object: &Object<AuthService>,
) -> Result<Option<SentBody>, Mistake> {
    let spec = &object.spec;
    let deprecated = spec.allow_request_body == Some(true);
    let Some(include) = &spec.include_body else {
        return Ok(deprecated.then_some(REQUEST_BODY));
    };
    if deprecated {
        context
            .report
            .warning(
                &object.at("spec.allow_request_body"),
                Reason::Conflict,
                "AuthService ignoring allow_request_body since include_body is present",
            )
            .help("remove allow_request_body");
    }
    match u32::try_from(include.max_bytes) {
        Ok(max_bytes) if max_bytes > 0 => Ok(Some(SentBody {
            max_bytes,
            allow_partial: include.allow_partial,
        })),
        _ => Err(Mistake::new(
            "spec.include_body.max_bytes",
            format!("{} is out of range", include.max_bytes),
            "write a whole number from 1 to 4294967295",
        )),
    }
}

fn http(
    context: &mut Context<'_>,
    object: &Object<AuthService>,
    cluster: &ClusterSpec,
) -> Result<HttpAuthorization, Mistake> {
    let spec = &object.spec;
    let prefix = spec.path_prefix.as_deref();
    let path_prefix = match prefix.filter(|prefix| !prefix.is_empty()) {
        None => None,
        Some(prefix) if prefix.starts_with('/') => {
            Some(PathLiteral::new(prefix).map_err(Mistake::at("spec.path_prefix"))?)
        }
        Some(prefix) => {
            return Err(Mistake::new(
                "spec.path_prefix",
                format!("\"{prefix}\" does not begin with /"),
                format!("write \"/{prefix}\""),
            ));
        }
    };
    let request_headers = headers(
        context,
        object,
        "spec.allowed_request_headers",
        spec.allowed_request_headers.as_deref(),
        &REQUEST_HEADERS,
    );
    let response_headers = headers(
        context,
        object,
        "spec.allowed_authorization_headers",
        spec.allowed_authorization_headers.as_deref(),
        &RESPONSE_HEADERS,
    );
    let mut add_headers = Vec::new();
    for (name, value) in spec.add_auth_headers.iter().flatten() {
        let field = field_of("spec.add_auth_headers", name);
        let header = HeaderName::new(name).map_err(Mistake::at(field.clone()))?;
        let value = FormatString::new(value).map_err(Mistake::at(field))?;
        add_headers.push((header, value));
    }
    let linkerd = spec.add_linkerd_headers;
    if linkerd.unwrap_or(context.module.defaults.linkerd_headers) {
        add_headers.push(super::mapping::linkerd_destination(cluster));
    }
    Ok(HttpAuthorization {
        path_prefix,
        request_headers,
        response_headers,
        add_headers,
    })
}

/// Names in lower case, sorted. One that is none is left out alone: nothing is opened by it.
fn headers(
    context: &mut Context<'_>,
    object: &Object<AuthService>,
    field: &str,
    names: Option<&[String]>,
    always: &[&str],
) -> Vec<Arc<str>> {
    let mut all: BTreeSet<Arc<str>> = always.iter().copied().map(Into::into).collect();
    for (index, name) in names.unwrap_or_default().iter().enumerate() {
        // A request's host is sent along as such.
        if name.eq_ignore_ascii_case("host") {
            continue;
        }
        match HeaderName::new(name) {
            Ok(name) => {
                all.insert(name.as_str().into());
            }
            Err(what) => context
                .report
                .warning(
                    &object.at(format!("{field}[{index}]")),
                    Reason::InvalidValue,
                    what.message,
                )
                .help(what.help),
        }
    }
    all.into_iter().collect()
}

/// gRPC has every header, and its own way to answer.
fn only_http(context: &mut Context<'_>, object: &Object<AuthService>) {
    let spec = &object.spec;
    for (field, given) in [
        (
            "add_auth_headers",
            spec.add_auth_headers
                .as_ref()
                .is_some_and(|h| !h.is_empty()),
        ),
        (
            "add_linkerd_headers",
            spec.add_linkerd_headers == Some(true),
        ),
        (
            "allowed_authorization_headers",
            spec.allowed_authorization_headers
                .as_ref()
                .is_some_and(|h| !h.is_empty()),
        ),
        (
            "allowed_request_headers",
            spec.allowed_request_headers
                .as_ref()
                .is_some_and(|h| !h.is_empty()),
        ),
        (
            "path_prefix",
            spec.path_prefix.as_ref().is_some_and(|p| !p.is_empty()),
        ),
    ] {
        if given {
            context
                .report
                .notice(
                    &object.at(format!("spec.{field}")),
                    Reason::NoEffect,
                    format!("{field} has no effect: it is for proto: http"),
                )
                .help("it can be removed");
        }
    }
}

/// All are one service: its endpoints are those of each, and its headers too. One that does not fit
/// costs itself.
fn merge(context: &mut Context<'_>, all: Vec<Parsed>) -> Option<Parsed> {
    let mut all = all.into_iter();
    let mut first = all.next()?;
    for other in all {
        let fits = external::renaming(
            context,
            |field| written(field, other.of_module),
            |context| match mismatch(&first, &other) {
                None => true,
                Some(mistake) => {
                    mistake.report(&mut context.report, &other.object);
                    false
                }
            },
        );
        if fits {
            let clusters = [&first.cluster, &other.cluster];
            let in_consul = clusters
                .into_iter()
                .flat_map(|cluster| cluster.consul.clone());
            context.joined_consul.extend(in_consul);
            join(&mut first, other);
            context.endpoint_reads.are_joined();
        }
    }
    Some(first)
}

/// What of another AuthService is not as it is in the first. What it does not set is the first's.
fn mismatch(first: &Parsed, other: &Parsed) -> Option<Mistake> {
    let spec = &other.object.spec;
    let (settings, theirs) = (&first.settings, &other.settings);
    let (cluster, their_cluster) = (&first.cluster.cluster, &other.cluster.cluster);
    let (http, their_http) = (http_of(settings), http_of(theirs));
    let body = spec.include_body.is_some() || spec.allow_request_body.is_some();
    let field = [
        ("proto", http.is_some() == their_http.is_some()),
        ("tls", cluster.tls == their_cluster.tls),
        (
            "path_prefix",
            spec.path_prefix.is_none()
                || http.map(|h| &h.path_prefix) == their_http.map(|h| &h.path_prefix),
        ),
        (
            "timeout_ms",
            spec.timeout_ms.is_none() || settings.timeout == theirs.timeout,
        ),
        (
            match spec.include_body.is_some() {
                true => "include_body",
                false => "allow_request_body",
            },
            !body || settings.body == theirs.body,
        ),
        (
            "failure_mode_allow",
            spec.failure_mode_allow.is_none()
                || settings.failure_mode_allow == theirs.failure_mode_allow,
        ),
        (
            "status_on_error",
            spec.status_on_error.is_none() || settings.status_on_error == theirs.status_on_error,
        ),
        (
            "add_auth_headers",
            spec.add_auth_headers.is_none()
                || spec.add_auth_headers == first.object.spec.add_auth_headers,
        ),
        (
            "circuit_breakers",
            spec.circuit_breakers.is_none()
                || cluster.circuit_breakers == their_cluster.circuit_breakers,
        ),
        (
            "stats_name",
            spec.stats_name.is_none() || cluster.alt_stat_name == their_cluster.alt_stat_name,
        ),
    ]
    .into_iter()
    .find_map(|(field, fits)| (!fits).then_some(field))?;
    let of_first = &first.object.id;
    Some(Mistake::because(
        format!("spec.{field}"),
        Reason::Conflict,
        format!("AuthService cannot support multiple {field} values; using that of {of_first}"),
        "it is not asked: write the same in both, or remove one of them",
    ))
}

fn http_of(settings: &Authorization) -> Option<&HttpAuthorization> {
    match &settings.protocol {
        AuthProtocol::Http(http) => Some(http),
        AuthProtocol::Grpc => None,
    }
}

fn join(first: &mut Parsed, other: Parsed) {
    let upstream = Arc::clone(&other.cluster.upstream);
    first
        .joined
        .push((Arc::clone(&other.object.rkey), upstream));
    if let (AuthProtocol::Http(http), AuthProtocol::Http(theirs)) =
        (&mut first.settings.protocol, other.settings.protocol)
    {
        for (names, more) in [
            (&mut http.request_headers, theirs.request_headers),
            (&mut http.response_headers, theirs.response_headers),
        ] {
            let both: BTreeSet<_> = names.drain(..).chain(more).collect();
            names.extend(both);
        }
    }
    let cluster = Arc::make_mut(&mut first.cluster.cluster);
    let ours = std::mem::replace(&mut cluster.discovery, Discovery::Static(Vec::new()));
    let theirs = other.cluster.cluster.discovery.clone();
    cluster.discovery = both(
        known(ours, first.cluster.endpoints.take()),
        known(theirs, other.cluster.endpoints),
    );
}

/// The endpoints of a set are known.
fn known(discovery: Discovery, set: Option<Arc<EndpointSet>>) -> Discovery {
    match set {
        Some(set) => Discovery::Static(set.endpoints.clone()),
        None => discovery,
    }
}

/// Where names are looked up, addresses are names like others.
fn both(ours: Discovery, theirs: Discovery) -> Discovery {
    let names = |endpoints: Vec<Endpoint>| {
        let name = |endpoint: Endpoint| (endpoint.address.to_string().into(), endpoint.port);
        endpoints.into_iter().map(name).collect::<Vec<_>>()
    };
    match (ours, theirs) {
        (Discovery::Static(mut all), Discovery::Static(more)) => {
            all.extend(more);
            Discovery::Static(all)
        }
        (mut dns @ Discovery::Dns { .. }, other) | (other, mut dns @ Discovery::Dns { .. }) => {
            if let Discovery::Dns { others, .. } = &mut dns {
                match other {
                    Discovery::Static(endpoints) => others.extend(names(endpoints)),
                    Discovery::Dns {
                        host,
                        port,
                        others: more,
                        ..
                    } => {
                        others.push((host, port));
                        others.extend(more);
                    }
                    Discovery::Eds(_) | Discovery::Pipe(_) => {}
                }
            }
            dns
        }
        (ours, _) => ours,
    }
}
