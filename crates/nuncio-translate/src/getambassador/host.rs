//! Hosts: a hostname, its certificate, and what becomes of cleartext requests for it.

use std::collections::BTreeMap;
use std::sync::Arc;

use nuncio_api::getambassador::{
    self, Host as HostSpec, InsecureAction, LabelSelector, TlsContext,
};
use nuncio_model::listener::DownstreamTls;
use nuncio_model::tls::Termination;
use nuncio_model::value::{Domain, Invalid, ServerName};
use nuncio_model::{Gateway, Origin, Reason, ResourceId};

use super::Context;
use super::association::{given, unknown_operator};
use super::tls::{self, TlsSettings};
use super::{tcpmapping, unsupported};
use crate::fields::mistake::Mistake;
use crate::store::{Object, Store};

/// The Secret that the made-up Host terminates TLS with, where it exists.
const FALLBACK_SECRET: &str = "fallback-self-signed-cert";

/// A Host, in effect or [closed](Host::closed).
#[derive(Clone, Debug)]
pub(super) struct Host {
    pub(super) name: String,
    pub(super) namespace: String,
    pub(super) labels: BTreeMap<String, String>,
    pub(super) origin: Origin,
    pub(super) hostname: Domain,
    pub(super) selector: Option<LabelSelector>,
    pub(super) tls: Option<DownstreamTls>,
    pub(super) insecure: InsecureAction,
    /// Nobody wrote it as a Host.
    pub(super) made: bool,
    /// It has no effect, and nothing but 404 is answered for its name: the Mappings of the name would
    /// be served by another Host, which may ask for no certificate. But challenges are answered
    /// ([`super::security::is_challenge`]): its own certificate may wait for that.
    pub(super) closed: bool,
}

impl Host {
    /// Tells it from others that are made of the same field.
    pub(super) fn key(&self) -> (Origin, Domain) {
        (self.origin.clone(), self.hostname.clone())
    }

    pub(super) fn same_tls(&self, other: &Self, gateway: &Gateway) -> bool {
        match (&self.tls, &other.tls) {
            (Some(one), Some(other)) => alike(&one.termination, &other.termination, gateway),
            (one, other) => one.is_none() && other.is_none(),
        }
    }

    /// The place of a field, or of what the Host is made of.
    pub(super) fn at(&self, field: &str) -> Origin {
        if self.made {
            self.origin.clone()
        } else {
            self.origin.field(field)
        }
    }
}

/// Whether clients notice no difference.
pub(super) fn alike(one: &Termination, other: &Termination, gateway: &Gateway) -> bool {
    let content = |name: &Arc<str>| gateway.secrets.get(name).map(|secret| &secret.kind);
    let validation = |tls: &Termination| tls.clients.validation.as_ref().map(content);
    content(&one.certificate) == content(&other.certificate)
        && validation(one) == validation(other)
        && one.clients.required == other.clients.required
        && one.alpn == other.alpn
        && one.parameters == other.parameters
}

/// All Hosts, by hostname, equal ones in the order of their keys: those that users write before
/// those that are made of other resources. The first of a name counts, in effect or not.
pub(super) fn hosts(context: &mut Context<'_>) -> Vec<Host> {
    let store = context.store;
    // A Host that exists but is not in effect must not open every name to cleartext.
    if !store.has_hosts() && context.made.hosts.is_empty() {
        return vec![default_host(context)];
    }
    let made = context.made;
    let without_effect = store.hosts.left_out().chain(store.unread_hosts());
    let mut written: Vec<(&Object<HostSpec>, bool)> = store
        .hosts
        .iter()
        .map(|object| (object.as_ref(), true))
        .chain(without_effect.map(|object| (object.as_ref(), false)))
        .collect();
    written.sort_by(|(a, _), (b, _)| a.rkey.cmp(&b.rkey));
    let made = made.hosts.iter().map(|object| (object, true));
    let mut hosts: Vec<Host> = written
        .into_iter()
        .chain(made)
        .filter_map(|(object, counts)| match counts {
            true => of(context, object),
            false => closed(object),
        })
        .collect();
    // An Ingress asks nothing of clients: one whose certificate is missing closes no name that
    // another serves.
    hosts.sort_by_key(|host| (host.hostname.clone(), host.made && host.closed));
    hosts
}

/// What a Host that is read becomes.
fn of(context: &mut Context<'_>, object: &Object<HostSpec>) -> Option<Host> {
    unsupported::host(&mut context.report, object);
    match read(context, object) {
        Ok(host) => Some(host),
        Err(mut mistake) => {
            let what = match object.part {
                None => "the Host".to_owned(),
                Some(_) => object.spec.hostname.clone().unwrap_or_default(),
            };
            mistake.what.message = format!("{what} is not in effect: {}", mistake.what.message);
            mistake.report(&mut context.report, object);
            closed(object)
        }
    }
}

/// A Host without effect.
fn closed(object: &Object<HostSpec>) -> Option<Host> {
    Some(Host {
        name: object.name().to_owned(),
        namespace: object.namespace().to_owned(),
        labels: object.meta.labels.clone(),
        origin: object.origin(),
        hostname: hostname(object).ok()?,
        selector: selector(object).1.cloned(),
        tls: None,
        // Of the little that it serves.
        insecure: InsecureAction::Route,
        made: object.part.is_some(),
        closed: true,
    })
}

fn hostname(object: &Object<HostSpec>) -> Result<Domain, Invalid> {
    let hostname = object.spec.hostname.as_deref().filter(|h| !h.is_empty());
    Domain::new(hostname.unwrap_or("*"))
}

/// Which Mappings it takes, and the field that says so.
fn selector(object: &Object<HostSpec>) -> (&'static str, Option<&LabelSelector>) {
    match given(object.spec.mapping_selector.as_ref()) {
        Some(selector) => ("mappingSelector", Some(selector)),
        None => ("selector", given(object.spec.selector.as_ref())),
    }
}

fn read(context: &mut Context<'_>, object: &Object<HostSpec>) -> Result<Host, Mistake> {
    let spec = &object.spec;
    let hostname = hostname(object).map_err(Mistake::at("spec.hostname"))?;
    let (field, selector) = selector(object);
    if let Some((index, operator)) = selector.and_then(unknown_operator) {
        return Err(Mistake::new(
            format!("spec.{field}.matchExpressions[{index}].operator"),
            format!("\"{operator}\" is not an operator"),
            "write In, NotIn, Exists or DoesNotExist",
        ));
    }
    let tls = termination(context, object, &hostname)?;
    acme_key(context, object);
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
        made: object.part.is_some(),
        closed: false,
    })
}

/// The Host is in effect without its ACME key; its certificate will not be for ever.
fn acme_key(context: &mut Context<'_>, object: &Object<HostSpec>) {
    let acme = object.spec.acme_provider.as_ref();
    let Some(key) = acme.and_then(|acme| acme.private_key_secret.as_ref()) else {
        return;
    };
    let secrets = &context.store.secrets;
    if !key.name.is_empty() && secrets.get(object.namespace(), &key.name).is_none() {
        context
            .report
            .warning(
                &object.at("spec.acmeProvider.privateKeySecret"),
                Reason::RefNotFound,
                format!(
                    "continuing with invalid ACME private key secret {}; ACME will not be able to \
                     renew this certificate",
                    key.name
                ),
            )
            .help("create the Secret, or remove acmeProvider");
    }
}

/// How a Host terminates TLS: with the certificate of its `tlsSecret`, or else of its TLSContext
/// (which Emissary does not look at), and the settings of `tls` or of a TLSContext.
fn termination(
    context: &mut Context<'_>,
    object: &Object<HostSpec>,
    hostname: &Domain,
) -> Result<Option<DownstreamTls>, Mistake> {
    let spec = &object.spec;
    let secret = spec.tls_secret.as_ref().filter(|s| !s.name.is_empty());
    let found = tls_context(context, object, secret.is_some())?;
    let settings = match (&spec.tls, found) {
        (Some(tls), _) => Some(TlsSettings::of_host(object, tls, object.namespace())),
        (None, Some((field, found))) => {
            unsupported::downstream_tls_context(&mut context.report, found);
            let settings = TlsSettings::of_context(context, found, field, found.namespace());
            hosts_match(context, object, field, found);
            Some(settings)
        }
        (None, None) => None,
    };
    let own = settings
        .as_ref()
        .filter(|settings| settings.has_certificate());
    if secret.is_none() && own.is_none() {
        if let Some((field, found)) = found {
            context
                .report
                .warning(
                    &object.at(field),
                    Reason::NoEffect,
                    format!(
                        "neither the Host nor TLSContext {} has a certificate: TLS is not terminated",
                        found.name()
                    ),
                )
                .help("write tlsSecret in the Host");
        }
        return Ok(None);
    }
    let server_name = ServerName::of(hostname).map_err(Mistake::at("spec.hostname"))?;
    let certificate = match secret {
        Some(secret) => {
            let namespace = secret.namespace.as_deref().unwrap_or(object.namespace());
            if let Some((field, found)) = found {
                same_secret(context, found, field, (namespace, &secret.name))?;
            }
            tls::keep_certificate(context, namespace, &secret.name).map_err(|(reason, what)| {
                Mistake {
                    field: "spec.tlsSecret".to_owned(),
                    reason,
                    what,
                }
            })?
        }
        None => {
            let certificate = own.map(|own| own.certificate(context)).transpose()?;
            let Some(certificate) = certificate.flatten() else {
                return Ok(None);
            };
            certificate
        }
    };
    let termination = match settings {
        Some(settings) => settings.termination(context, certificate)?,
        None => Termination {
            certificate,
            ..Termination::default()
        },
    };
    Ok(Some(DownstreamTls {
        server_name,
        termination,
    }))
}

/// The TLSContext that a Host names, or that is named after it, with the field to blame.
fn tls_context<'s>(
    context: &Context<'s>,
    object: &Object<HostSpec>,
    has_secret: bool,
) -> Result<Option<(&'static str, &'s Object<TlsContext>)>, Mistake> {
    let spec = &object.spec;
    let named = spec
        .tls_context
        .as_ref()
        .filter(|named| !named.name.is_empty());
    if named.is_some() && spec.tls.is_some() {
        return Err(Mistake::because(
            "spec.tls",
            Reason::Conflict,
            format!(
                "Host {}: both TLSContext name and TLS config specified, ignoring Host...",
                object.name()
            ),
            "remove tls or tlsContext",
        ));
    }
    let store = context.store;
    if let Some(named) = named {
        let found = find_tls_context(store, object.namespace(), &named.name);
        let found = found.ok_or_else(|| {
            Mistake::because(
                "spec.tlsContext.name",
                Reason::RefNotFound,
                format!("Specified TLSContext does not exist: {}", named.name),
                "define it, or remove tlsContext",
            )
        })?;
        return Ok(Some(("spec.tlsContext", found)));
    }
    if !has_secret || spec.tls.is_some() {
        return Ok(None);
    }
    let implicit = format!("{}-context", object.name());
    let found = find_tls_context(store, object.namespace(), &implicit);
    if found.is_none() && may_be_there(store, &implicit) {
        return Err(Mistake::because(
            "spec.tlsSecret",
            Reason::RefNotFound,
            format!(
                "TLSContext {implicit} may be there, and cannot be read: it may ask clients for \
                 certificates"
            ),
            "mend it, or write tlsContext or tls",
        ));
    }
    Ok(found.map(|found| ("spec.tlsSecret", found.as_ref())))
}

/// Whether a TLSContext that is not in effect may have this name.
fn may_be_there(store: &Store, name: &str) -> bool {
    let unread = store.unread("TLSContext").map(|origin| origin.resource);
    let left_out = store.tls_contexts.left_out();
    let left_out = left_out.map(|object| Arc::clone(&object.id));
    let mut written = unread.chain(left_out);
    written.any(|id| *id.name == *name) || store.unseen("TLSContext").next().is_some()
}

/// `hosts` of a TLSContext pairs it with Hosts; a Host that names it uses it all the same.
fn hosts_match(
    context: &mut Context<'_>,
    object: &Object<HostSpec>,
    field: &str,
    found: &Object<TlsContext>,
) {
    // A context that nobody wrote is for every Host that names it.
    if found.part.is_some() {
        return;
    }
    let hosts = found.spec.hosts.as_deref().unwrap_or_default();
    let hostname = object.spec.hostname.as_deref().unwrap_or("*");
    if hosts.is_empty() || hosts.iter().any(|h| h == hostname || h == object.name()) {
        return;
    }
    context
        .report
        .warning(
            &object.at(field),
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

/// A TLSContext with a Secret of its own must mean the same certificate. Its Secret is looked for
/// where the Host's is.
fn same_secret(
    context: &Context<'_>,
    found: &Object<TlsContext>,
    field: &str,
    (namespace, secret): (&str, &str),
) -> Result<(), Mistake> {
    let Some(theirs) = found.spec.secret.as_deref() else {
        return Ok(());
    };
    let settings = TlsSettings::of_context(context, found, field, namespace);
    let other = settings.secret_name(theirs);
    if tls::same_certificate(context.store, (namespace, secret), other) {
        return Ok(());
    }
    Err(Mistake::because(
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

/// A TLSContext by name, of a namespace first, then of the Module `tls`, then of any. Emissary
/// knows only names, and gives a Host the context of another namespace.
pub(super) fn find_tls_context<'s>(
    store: &'s Store,
    namespace: &str,
    name: &str,
) -> Option<&'s Arc<Object<TlsContext>>> {
    store.tls_contexts.get(namespace, name).or_else(|| {
        let all = store.tls_contexts.by_rkey();
        store.module_tls_contexts().chain(all).find(|context| {
            context.name() == name || name == format!("{}.{}", context.name(), context.namespace())
        })
    })
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
    let certificate = tls::keep_certificate(context, &namespace, FALLBACK_SECRET).ok();
    let tls = certificate.map(|certificate| DownstreamTls {
        server_name: None,
        termination: Termination {
            certificate,
            ..Termination::default()
        },
    });
    if tls.is_none() && !context.only_gateways_listen() {
        context
            .report
            .notice(
                &origin,
                Reason::RefNotFound,
                "No TLS termination and no fallback cert -- defaulting to cleartext-only.",
            )
            .help("write a Host for each name that is to be served");
    }
    let store = context.store;
    for ignored in store.tls_contexts.iter().chain(store.module_tls_contexts()) {
        let used = store.tcp_mappings.iter().any(|mapping| {
            let host = mapping.spec.host.as_deref();
            host.is_some_and(|host| tcpmapping::names(ignored, host))
        });
        let hosts = ignored.spec.hosts.as_ref();
        if !used && hosts.is_some_and(|hosts| !hosts.is_empty()) {
            context
                .report
                .error(
                    &ignored.at("spec.hosts"),
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
        made: false,
        closed: false,
    }
}
