//! Hosts: a hostname, its certificate, and what becomes of cleartext requests for it.

use std::collections::BTreeMap;
use std::sync::Arc;

use nuncio_api::getambassador::{
    self, Host as HostSpec, HostTls, InsecureAction, LabelSelector, TlsContext,
};
use nuncio_model::cluster::Certificate;
use nuncio_model::value::{Domain, Invalid, ServerName};
use nuncio_model::{Origin, Reason, ResourceId};

use super::Context;
use super::association::{given, unknown_operator};
use super::unsupported;
use crate::certificate::{self, Pair};
use crate::store::{Object, Store};

/// The Secret that the made-up Host terminates TLS with, where it exists.
const FALLBACK_SECRET: &str = "fallback-self-signed-cert";

/// A Host that is in effect.
#[derive(Clone, Debug)]
pub(super) struct Host {
    pub(super) name: String,
    pub(super) namespace: String,
    pub(super) labels: BTreeMap<String, String>,
    pub(super) origin: Origin,
    pub(super) hostname: Domain,
    pub(super) selector: Option<LabelSelector>,
    pub(super) tls: Option<Termination>,
    pub(super) insecure: InsecureAction,
}

/// How a Host terminates TLS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Termination {
    /// `None` for every name.
    pub(super) server_name: Option<ServerName>,
    /// Name of a certificate of the gateway.
    pub(super) certificate: Arc<str>,
    pub(super) alpn: Vec<Arc<str>>,
}

/// All Hosts in effect, by hostname, equal ones in the order of their keys.
pub(super) fn hosts(context: &mut Context<'_>) -> Vec<Host> {
    let store = context.store;
    // A Host that exists but is not in effect must not open every name to cleartext.
    if !store.has_hosts() {
        return vec![default_host(context)];
    }
    let mut hosts: Vec<Host> = store
        .hosts
        .by_rkey()
        .into_iter()
        .filter_map(|object| {
            unsupported::host(&mut context.report, object);
            match read(context, object) {
                Ok(host) => Some(host),
                Err(mistake) => {
                    context
                        .report
                        .error(
                            &object.origin().field(mistake.field),
                            mistake.reason,
                            format!("the Host is not in effect: {}", mistake.what.message),
                        )
                        .help(mistake.what.help);
                    None
                }
            }
        })
        .collect();
    hosts.sort_by(|a, b| a.hostname.cmp(&b.hostname));
    hosts
}

struct Mistake {
    field: String,
    reason: Reason,
    what: Invalid,
}

impl Mistake {
    fn new(
        field: &str,
        reason: Reason,
        message: impl Into<String>,
        help: impl Into<String>,
    ) -> Self {
        Self {
            field: field.to_owned(),
            reason,
            what: Invalid::new(message, help),
        }
    }
}

fn read(context: &mut Context<'_>, object: &Object<HostSpec>) -> Result<Host, Mistake> {
    let spec = &object.spec;
    let invalid = |field: &'static str| {
        move |what| Mistake {
            field: field.to_owned(),
            reason: Reason::InvalidValue,
            what,
        }
    };
    let hostname = Domain::new(
        spec.hostname
            .as_deref()
            .filter(|h| !h.is_empty())
            .unwrap_or("*"),
    )
    .map_err(invalid("spec.hostname"))?;
    let (field, selector) = match given(spec.mapping_selector.as_ref()) {
        Some(selector) => ("mappingSelector", Some(selector)),
        None => ("selector", given(spec.selector.as_ref())),
    };
    if let Some((index, operator)) = selector.and_then(unknown_operator) {
        return Err(Mistake::new(
            &format!("spec.{field}.matchExpressions[{index}].operator"),
            Reason::InvalidValue,
            format!("\"{operator}\" is not an operator"),
            "write In, NotIn, Exists or DoesNotExist",
        ));
    }
    let tls = match spec
        .tls_secret
        .as_ref()
        .filter(|secret| !secret.name.is_empty())
    {
        None => None,
        Some(secret) => {
            let namespace = secret.namespace.as_deref().unwrap_or(object.namespace());
            let server_name = ServerName::of(&hostname).map_err(invalid("spec.hostname"))?;
            let (name, pair) =
                load(context.store, namespace, &secret.name).map_err(|(reason, what)| Mistake {
                    field: "spec.tlsSecret".to_owned(),
                    reason,
                    what,
                })?;
            let alpn = settings(context, object, namespace, &secret.name)?;
            let certificate = keep(context, name, pair);
            Some(Termination {
                server_name,
                certificate,
                alpn,
            })
        }
    };
    let insecure = spec
        .request_policy
        .as_ref()
        .and_then(|p| p.insecure.as_ref());
    Ok(Host {
        name: object.name().to_owned(),
        namespace: object.namespace().to_owned(),
        labels: object.meta.labels.clone(),
        origin: object.origin(),
        hostname,
        selector: selector.cloned(),
        tls,
        insecure: insecure
            .and_then(|insecure| insecure.action)
            .unwrap_or(InsecureAction::Redirect),
    })
}

/// The certificate of a Secret, and the name under which the gateway keeps it.
fn load(
    store: &Store,
    namespace: &str,
    name: &str,
) -> Result<((String, Origin), Pair), (Reason, Invalid)> {
    let Some(secret) = store.secrets.get(namespace, name) else {
        return Err((
            Reason::RefNotFound,
            Invalid::new(
                format!("there is no Secret {name} in namespace {namespace}"),
                "create it with tls.crt and tls.key, or name one that exists",
            ),
        ));
    };
    let pair = certificate::certificate(&secret.spec).map_err(|what| {
        let what = Invalid::new(
            format!("Secret {namespace}/{name}: {}", what.message),
            what.help,
        );
        (Reason::RefInvalid, what)
    })?;
    Ok(((format!("{namespace}/{name}"), secret.origin()), pair))
}

fn keep(context: &mut Context<'_>, (name, origin): (String, Origin), pair: Pair) -> Arc<str> {
    let name: Arc<str> = name.into();
    context
        .gateway
        .certificates
        .entry(Arc::clone(&name))
        .or_insert_with(|| Certificate {
            name: Arc::clone(&name),
            origin,
            chain_pem: pair.chain_pem,
            key_pem: pair.key_pem,
        });
    name
}

/// What a Host's `tls` or its TLSContext adds to the Secret: the ALPN protocols. Settings that
/// verify clients are not honoured yet; a Host with them fails closed.
fn settings(
    context: &mut Context<'_>,
    object: &Object<HostSpec>,
    namespace: &str,
    secret: &str,
) -> Result<Vec<Arc<str>>, Mistake> {
    let spec = &object.spec;
    let named = spec
        .tls_context
        .as_ref()
        .filter(|named| !named.name.is_empty());
    if named.is_some() && spec.tls.is_some() {
        return Err(Mistake::new(
            "spec.tls",
            Reason::Conflict,
            format!(
                "Host {}: both TLSContext name and TLS config specified, ignoring Host...",
                object.name()
            ),
            "remove tls or tlsContext",
        ));
    }
    if let Some(tls) = &spec.tls {
        verifies_clients("spec.tls", verification_of_host(tls))?;
        return Ok(alpn(tls.alpn_protocols.as_deref()));
    }
    let store = context.store;
    let implicit = format!("{}-context", object.name());
    let (field, found) = match named {
        Some(named) => {
            let found = find_tls_context(store, object.namespace(), &named.name);
            let found = found.ok_or_else(|| {
                Mistake::new(
                    "spec.tlsContext.name",
                    Reason::RefNotFound,
                    format!("Specified TLSContext does not exist: {}", named.name),
                    "define it, or remove tlsContext",
                )
            })?;
            ("spec.tlsContext", found)
        }
        None => match find_tls_context(store, object.namespace(), &implicit) {
            Some(found) => ("spec.tlsSecret", found),
            None => return Ok(Vec::new()),
        },
    };
    unsupported::downstream_tls_context(&mut context.report, found);
    verifies_clients(field, verification_of_context(&found.spec))?;
    same_secret(store, found, field, namespace, secret)?;
    let hosts = found.spec.hosts.as_deref().unwrap_or_default();
    let hostname = spec.hostname.as_deref().unwrap_or("*");
    if !hosts.is_empty() && !hosts.iter().any(|h| h == hostname || h == object.name()) {
        context
            .report
            .warning(
                &object.origin().field(field),
                Reason::Conflict,
                format!(
                    "Hosts mismatch between Host {} (accepted hosts: ['{hostname}', '{}']) and \
                     TLSContext {} (hosts: {hosts:?}); it is used all the same",
                    object.name(),
                    object.name(),
                    found.name()
                ),
            )
            .help("add the hostname to the TLSContext's hosts, or remove its hosts");
    }
    Ok(alpn(found.spec.alpn_protocols.as_deref()))
}

/// A TLSContext with a Secret of its own must mean the same certificate.
fn same_secret(
    store: &Store,
    found: &Object<TlsContext>,
    field: &str,
    namespace: &str,
    secret: &str,
) -> Result<(), Mistake> {
    let Some(theirs) = found.spec.secret.as_deref() else {
        return Ok(());
    };
    let (name, of) = match theirs.rsplit_once('.') {
        Some((name, of)) if found.spec.secret_namespacing != Some(false) => (name, of),
        _ => (theirs, namespace),
    };
    let ours = load(store, namespace, secret).ok().map(|(_, pair)| pair);
    let other = load(store, of, name).ok().map(|(_, pair)| pair);
    if ours == other {
        return Ok(());
    }
    Err(Mistake::new(
        field,
        Reason::Conflict,
        format!(
            "Secret info mismatch between the Host (secret: {secret}) and TLSContext {} (secret: \
             {theirs})",
            found.name()
        ),
        "remove the TLSContext's secret",
    ))
}

fn verification_of_host(tls: &HostTls) -> [(&'static str, bool); 4] {
    [
        ("ca_secret", tls.ca_secret.is_some()),
        ("cacert_chain_file", tls.cacert_chain_file.is_some()),
        ("crl_secret", tls.crl_secret.is_some()),
        ("cert_required", tls.cert_required == Some(true)),
    ]
}

fn verification_of_context(context: &TlsContext) -> [(&'static str, bool); 4] {
    [
        ("ca_secret", context.ca_secret.is_some()),
        ("cacert_chain_file", context.cacert_chain_file.is_some()),
        ("crl_secret", context.crl_secret.is_some()),
        ("cert_required", context.cert_required == Some(true)),
    ]
}

fn verifies_clients(field: &str, fields: [(&str, bool); 4]) -> Result<(), Mistake> {
    match fields.into_iter().find(|(_, is_set)| *is_set) {
        None => Ok(()),
        Some((name, _)) => Err(Mistake::new(
            field,
            Reason::NotSupported,
            format!("nuncio does not verify client certificates yet ({name})"),
            "it is not served rather than served to everybody; remove the field to do that",
        )),
    }
}

/// A TLSContext by name, of a namespace first, then of any. Emissary knows only names, and gives a
/// Host the context of another namespace.
pub(super) fn find_tls_context<'s>(
    store: &'s Store,
    namespace: &str,
    name: &str,
) -> Option<&'s Arc<Object<TlsContext>>> {
    store.tls_contexts.get(namespace, name).or_else(|| {
        let mut all = store.tls_contexts.by_rkey().into_iter();
        all.find(|context| {
            context.name() == name || name == format!("{}.{}", context.name(), context.namespace())
        })
    })
}

/// A list in one string, as Envoy splits it too.
pub(super) fn alpn(text: Option<&str>) -> Vec<Arc<str>> {
    text.unwrap_or_default()
        .split(',')
        .map(str::trim)
        .filter(|protocol| !protocol.is_empty())
        .map(Into::into)
        .collect()
}

/// Without any Host every name is served: in cleartext, or with TLS where a certificate is there.
fn default_host(context: &mut Context<'_>) -> Host {
    let namespace = context.settings.namespace.clone();
    let origin = Origin::new(Arc::new(ResourceId::new(
        getambassador::GROUP,
        "Host",
        namespace.as_str(),
        "default-host",
    )));
    let store = context.store;
    let tls = load(store, &namespace, FALLBACK_SECRET)
        .ok()
        .map(|(name, pair)| Termination {
            server_name: None,
            certificate: keep(context, name, pair),
            alpn: Vec::new(),
        });
    if tls.is_none() {
        context
            .report
            .notice(
                &origin,
                Reason::RefNotFound,
                "No TLS termination and no fallback cert -- defaulting to cleartext-only.",
            )
            .help("write a Host for each name that is to be served");
    }
    for ignored in context.store.tls_contexts.iter() {
        if ignored
            .spec
            .hosts
            .as_ref()
            .is_some_and(|hosts| !hosts.is_empty())
        {
            context
                .report
                .error(
                    &ignored.origin().field("spec.hosts"),
                    Reason::NotBound,
                    "No Hosts defined, but TLSContexts exist that terminate TLS. The TLSContexts \
                     are being ignored.",
                )
                .help("write a Host with that hostname, tlsSecret and tlsContext");
        }
    }
    Host {
        name: "default-host".to_owned(),
        namespace,
        labels: BTreeMap::new(),
        origin,
        hostname: Domain::any(),
        selector: None,
        insecure: if tls.is_some() {
            InsecureAction::Redirect
        } else {
            InsecureAction::Route
        },
        tls,
    }
}
