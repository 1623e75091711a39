//! Certificates: of listeners, of what verifies their clients, and of Gateways towards backends.

use std::collections::BTreeMap;
use std::sync::Arc;

use nuncio_api::gateway_api::{Gateway, ObjectReference};
use nuncio_model::tls::{ClientCertificates, SecretKind, SubjectName, Validation};
use nuncio_model::value::Invalid;
use nuncio_model::{Origin, Reason};

use super::grant::{self, From, To};
use super::listener::Listener;
use super::{Context, Fault};
use crate::certificate;
use crate::store::Object;

/// Where Debian and its like, and nuncio's image, have the certificates of authorities.
const SYSTEM_AUTHORITIES: &str = "/etc/ssl/certs/ca-certificates.crt";

/// The certificates of a listener. One that cannot be read is missed, and costs no other.
pub(super) fn certificates(
    context: &mut Context<'_>,
    owner: &str,
    listener: &Listener,
) -> (Vec<Arc<str>>, Option<Fault>) {
    let tls = listener.spec.tls.as_ref();
    let field = format!("{}.tls.certificateRefs", listener.origin.field);
    let references = tls.map_or(&[][..], |tls| &tls.certificate_refs);
    if references.is_empty() {
        let fault = context.fault(
            &listener.origin.field(field),
            Reason::MissingField,
            "InvalidCertificateRef",
            "it has no certificate",
            "name a Secret with one",
        );
        return (Vec::new(), Some(fault));
    }
    let from = From {
        kind: owner,
        namespace: listener.namespace(),
    };
    let (mut names, mut missing) = (Vec::new(), None);
    for (index, reference) in references.iter().enumerate() {
        let at = listener.origin.field(format!("{field}[{index}]"));
        match secret(context, &at, from, reference) {
            Ok(name) if names.contains(&name) => {}
            Ok(name) => names.push(name),
            Err(fault) => {
                missing.get_or_insert(fault);
            }
        }
    }
    (names, missing)
}

/// What a Gateway shows its backends of itself.
pub(super) fn client_certificate(
    context: &mut Context<'_>,
    gateway: &Object<Gateway>,
) -> (Option<Arc<str>>, Option<Fault>) {
    let backend = gateway
        .spec
        .tls
        .as_ref()
        .and_then(|tls| tls.backend.as_ref());
    let Some(reference) = backend.and_then(|backend| backend.client_certificate_ref.as_ref())
    else {
        return (None, None);
    };
    let at = gateway.at("spec.tls.backend.clientCertificateRef");
    let from = From {
        kind: "Gateway",
        namespace: gateway.namespace(),
    };
    match secret(context, &at, from, reference) {
        Ok(name) => (Some(name), None),
        Err(fault) => {
            let reason = match fault.reason {
                "InvalidCertificateRef" => "InvalidClientCertificateRef",
                reason => reason,
            };
            (None, Some(Fault { reason, ..fault }))
        }
    }
}

/// Reads the certificate of a Secret.
fn secret(
    context: &mut Context<'_>,
    at: &Origin,
    from: From<'_>,
    reference: &ObjectReference,
) -> Result<Arc<str>, Fault> {
    const REASON: &str = "InvalidCertificateRef";
    let group = reference.group.as_deref().unwrap_or_default();
    let kind = reference.kind.as_deref().unwrap_or("Secret");
    if (group, kind) != ("", "Secret") {
        return Err(context.fault(
            at,
            Reason::RefInvalid,
            REASON,
            format!("a certificate is not read from a {}", kind.escape_debug()),
            "name a Secret",
        ));
    }
    let namespace = reference.namespace.as_deref().unwrap_or(from.namespace);
    let to = To {
        group,
        kind,
        namespace,
        name: &reference.name,
    };
    if !grant::permits(context.store, from, to) {
        return Err(context.not_permitted(at, from, to));
    }
    let Some(secret) = context.store.secrets.get(namespace, &reference.name) else {
        return Err(context.fault(
            at,
            Reason::RefNotFound,
            REASON,
            format!(
                "there is no Secret {} in namespace {namespace}",
                reference.name
            ),
            "create it, or name one that exists",
        ));
    };
    let pair = certificate::certificate(&secret.spec).map_err(|what| {
        let message = format!("Secret {namespace}/{}: {}", reference.name, what.message);
        context.invalid(at, REASON, Invalid::new(message, what.help))
    })?;
    let kind = SecretKind::Certificate {
        chain: pair.chain_pem,
        key: pair.key_pem,
        valid_until: pair.valid_until,
    };
    let name = format!("{namespace}/{}", reference.name);
    let origin = secret.origin();
    Ok(context.gateway.keep_secret(name, origin, kind))
}

/// What verifies clients' certificates, by port.
#[derive(Debug, Default)]
pub(super) struct Frontend {
    default: Option<Result<ClientCertificates, Fault>>,
    ports: BTreeMap<u16, Option<Result<ClientCertificates, Fault>>>,
    insecure: bool,
}

impl Frontend {
    pub(super) fn read(context: &mut Context<'_>, gateway: &Object<Gateway>) -> Self {
        let tls = gateway.spec.tls.as_ref();
        let Some(spec) = tls.and_then(|tls| tls.frontend.as_ref()) else {
            return Self::default();
        };
        let mut frontend = Self::default();
        let mut read = |context: &mut Context<'_>,
                        config: &nuncio_api::gateway_api::FrontendTlsConfig,
                        field: &str| {
            let validation = config.validation.as_ref()?;
            let optional = validation.mode.as_deref() == Some("AllowInsecureFallback");
            frontend.insecure |= optional;
            let field = format!("{field}.validation.caCertificateRefs");
            let from = From {
                kind: "Gateway",
                namespace: gateway.namespace(),
            };
            let references = validation.ca_certificate_refs.iter().enumerate();
            let references: Vec<_> = references
                .map(|(index, reference)| (gateway.at(format!("{field}[{index}]")), reference))
                .collect();
            let wanted = Wanted {
                accept_untrusted: optional,
                names: Vec::new(),
            };
            let authorities = authorities(context, &gateway.at(&*field), from, &references, wanted);
            Some(authorities.map(|validation| ClientCertificates {
                validation: Some(validation),
                required: !optional,
            }))
        };
        let default = read(context, &spec.default, "spec.tls.frontend.default");
        let ports = spec.per_port.iter().enumerate();
        let ports = ports
            .map(|(index, port)| {
                let field = format!("spec.tls.frontend.perPort[{index}].tls");
                (port.port, read(context, &port.tls, &field))
            })
            .collect();
        Self {
            default,
            ports,
            ..frontend
        }
    }

    /// What holds for a port.
    pub(super) fn of_port(&self, port: u16) -> Result<ClientCertificates, Fault> {
        let of_port = self.ports.get(&port).unwrap_or(&self.default);
        of_port
            .clone()
            .unwrap_or_else(|| Ok(ClientCertificates::default()))
    }

    pub(super) fn is_insecure(&self) -> bool {
        self.insecure
    }
}

/// What is asked of a certificate beside its authority.
#[derive(Debug, Default)]
pub(super) struct Wanted {
    pub(super) accept_untrusted: bool,
    pub(super) names: Vec<SubjectName>,
}

impl Wanted {
    /// How what verifies that is named.
    fn name(&self) -> String {
        let mut name = match self.accept_untrusted {
            true => "untrusted".to_owned(),
            false => "validation".to_owned(),
        };
        for each in &self.names {
            let (SubjectName::Dns(text) | SubjectName::Uri(text)) = each;
            name.push_str(&format!(":{text}"));
        }
        name
    }
}

/// Reads the certificates of authorities. One that cannot be read is missed.
pub(super) fn authorities(
    context: &mut Context<'_>,
    at: &Origin,
    from: From<'_>,
    references: &[(Origin, &ObjectReference)],
    wanted: Wanted,
) -> Result<Arc<str>, Fault> {
    let mut first = None;
    let mut pem = String::new();
    let mut name = wanted.name();
    let mut origin = None;
    for (at, reference) in references {
        match authority(context, at, from, reference) {
            Ok((its_name, its_origin, text)) => {
                name.push_str(&format!(":{its_name}"));
                origin.get_or_insert(its_origin);
                pem.push_str(&text);
                pem.push('\n');
            }
            Err(fault) => {
                first.get_or_insert(fault);
            }
        }
    }
    let Some(origin) = origin else {
        return Err(first.unwrap_or_else(|| {
            context.fault(
                at,
                Reason::MissingField,
                "InvalidCACertificateRef",
                "it names no certificate of an authority",
                "name a ConfigMap with ca.crt",
            )
        }));
    };
    if let Some(fault) = first {
        return Err(fault);
    }
    Ok(keep_authorities(context, name, origin, pem.into(), wanted))
}

/// The authorities of the system.
pub(super) fn system_authorities(
    context: &mut Context<'_>,
    at: &Origin,
    wanted: Wanted,
) -> Result<Arc<str>, Invalid> {
    let text = context.file(SYSTEM_AUTHORITIES)?;
    let pem = certificate::authorities(SYSTEM_AUTHORITIES, &text)?;
    let name = format!("{}:system", wanted.name());
    Ok(keep_authorities(context, name, at.clone(), pem, wanted))
}

fn keep_authorities(
    context: &mut Context<'_>,
    name: String,
    origin: Origin,
    trusted_ca: Arc<str>,
    wanted: Wanted,
) -> Arc<str> {
    let kind = SecretKind::Validation(Validation {
        trusted_ca,
        crl: None,
        accept_untrusted: wanted.accept_untrusted,
        names: wanted.names,
    });
    context.gateway.keep_secret(name, origin, kind)
}

fn authority(
    context: &mut Context<'_>,
    at: &Origin,
    from: From<'_>,
    reference: &ObjectReference,
) -> Result<(String, Origin, Arc<str>), Fault> {
    const KEY: &str = "ca.crt";
    const REASON: &str = "InvalidCACertificateRef";
    let store = context.store;
    let group = reference.group.as_deref().unwrap_or_default();
    let kind = reference.kind.as_deref().unwrap_or_default();
    if !group.is_empty() || !matches!(kind, "ConfigMap" | "Secret") {
        let message = format!(
            "certificates of authorities are not read from a {}",
            kind.escape_debug()
        );
        let reason = match from.kind {
            "BackendTLSPolicy" => "InvalidKind",
            _ => "InvalidCACertificateKind",
        };
        return Err(context.fault(
            at,
            Reason::RefInvalid,
            reason,
            message,
            "name a ConfigMap or a Secret with ca.crt",
        ));
    }
    let namespace = reference.namespace.as_deref().unwrap_or(from.namespace);
    let name = reference.name.as_str();
    let to = To {
        group,
        kind,
        namespace,
        name,
    };
    if !grant::permits(store, from, to) {
        return Err(context.not_permitted(at, from, to));
    }
    let read = match kind {
        "ConfigMap" => store.config_maps.get(namespace, name).map(|object| {
            let pem = object.spec.data.get(KEY);
            let pem = pem.ok_or_else(|| {
                Invalid::new(
                    format!("it has no {KEY}"),
                    format!("put it under data.{KEY}"),
                )
            });
            let pem = pem.and_then(|pem| certificate::authorities(KEY, pem));
            (object.origin(), pem)
        }),
        _ => store
            .secrets
            .get(namespace, name)
            .map(|object| (object.origin(), certificate::authority(&object.spec))),
    };
    let Some((origin, pem)) = read else {
        return Err(context.fault(
            at,
            Reason::RefNotFound,
            REASON,
            format!("there is no {kind} {name} in namespace {namespace}"),
            "create it, or name one that exists",
        ));
    };
    let pem = pem.map_err(|what| {
        let message = format!("{kind} {namespace}/{name}: {}", what.message);
        context.invalid(at, REASON, Invalid::new(message, what.help))
    })?;
    Ok((format!("{kind}:{namespace}/{name}"), origin, pem))
}
