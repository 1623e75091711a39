//! TLS settings: of a Host's `tls` and of a TLSContext, for terminating and for originating.

use std::sync::Arc;

use nuncio_api::core;
use nuncio_api::getambassador::{Host, HostTls, TlsContext};
use nuncio_model::tls::{
    ClientCertificates, Origination, Parameters, SecretKind, Termination, Validation, Version,
};
use nuncio_model::value::{CipherSuites, Curve, Invalid};
use nuncio_model::{Origin, Reason};

use super::Context;
use crate::certificate;
use crate::fields::mistake::Mistake;
use crate::store::{Object, Store};

/// The settings that a Host's `tls` and a TLSContext have in common.
pub(super) struct TlsSettings<'a> {
    place: Place<'a>,
    origin: Origin,
    /// Of the Secrets that are named without one.
    namespace: &'a str,
    /// Whether the dots of a Secret's name separate a namespace.
    namespacing: bool,
    secret: Option<&'a str>,
    cert_chain_file: Option<&'a str>,
    private_key_file: Option<&'a str>,
    ca_secret: Option<&'a str>,
    cacert_chain_file: Option<&'a str>,
    crl_secret: Option<&'a str>,
    cert_required: Option<bool>,
    alpn_protocols: Option<&'a str>,
    min_tls_version: Option<&'a str>,
    max_tls_version: Option<&'a str>,
    cipher_suites: Option<&'a [String]>,
    ecdh_curves: Option<&'a [String]>,
    sni: Option<&'a str>,
}

/// What the user has to look at.
#[derive(Clone, Copy)]
enum Place<'a> {
    /// `spec.tls` of a Host.
    Host,
    /// A TLSContext that is named by a field.
    Context { field: &'a str, name: &'a str },
}

impl<'a> TlsSettings<'a> {
    pub(super) fn of_host(host: &'a Object<Host>, tls: &'a HostTls, namespace: &'a str) -> Self {
        Self {
            place: Place::Host,
            origin: host.at("spec.tls"),
            namespace,
            namespacing: true,
            secret: None,
            cert_chain_file: None,
            private_key_file: None,
            ca_secret: given(&tls.ca_secret),
            cacert_chain_file: given(&tls.cacert_chain_file),
            crl_secret: given(&tls.crl_secret),
            cert_required: tls.cert_required,
            alpn_protocols: given(&tls.alpn_protocols),
            min_tls_version: given(&tls.min_tls_version),
            max_tls_version: given(&tls.max_tls_version),
            cipher_suites: tls.cipher_suites.as_deref(),
            ecdh_curves: tls.ecdh_curves.as_deref(),
            sni: given(&tls.sni),
        }
    }

    /// A TLSContext; `field` names it. Its Secrets are those of `namespace`: that of the Host that
    /// terminates with it, or its own.
    pub(super) fn of_context(
        context: &Context<'_>,
        object: &'a Object<TlsContext>,
        field: &'a str,
        namespace: &'a str,
    ) -> Self {
        let spec = &object.spec;
        Self {
            place: Place::Context {
                field,
                name: object.name(),
            },
            origin: object.origin(),
            namespace,
            namespacing: spec
                .secret_namespacing
                .unwrap_or(context.module.tls_secret_namespacing),
            secret: given(&spec.secret),
            cert_chain_file: given(&spec.cert_chain_file),
            private_key_file: given(&spec.private_key_file),
            ca_secret: given(&spec.ca_secret),
            cacert_chain_file: given(&spec.cacert_chain_file),
            crl_secret: given(&spec.crl_secret),
            cert_required: spec.cert_required,
            alpn_protocols: given(&spec.alpn_protocols),
            min_tls_version: given(&spec.min_tls_version),
            max_tls_version: given(&spec.max_tls_version),
            cipher_suites: spec.cipher_suites.as_deref(),
            ecdh_curves: spec.ecdh_curves.as_deref(),
            sni: given(&spec.sni),
        }
    }

    pub(super) fn has_certificate(&self) -> bool {
        self.secret.is_some() || self.cert_chain_file.is_some()
    }

    /// Terminates TLS with a certificate of the gateway.
    pub(super) fn termination(
        &self,
        context: &mut Context<'_>,
        certificate: Arc<str>,
    ) -> Result<Termination, Mistake> {
        let by_secret = self.ca_secret.is_some_and(|name| {
            let (namespace, name) = self.secret_name(name);
            let secret = context.store.secrets.get(namespace, name);
            secret.is_some_and(|secret| certificate::requires_certificates(&secret.spec))
        });
        Ok(Termination {
            certificate,
            other_certificates: Vec::new(),
            clients: ClientCertificates {
                validation: self.validation(context)?,
                required: by_secret || self.cert_required == Some(true),
            },
            alpn: self.alpn(),
            parameters: self.parameters()?,
        })
    }

    /// Originates TLS. An authority that is named and missing is a mistake: without it nothing
    /// would be verified.
    pub(super) fn origination(&self, context: &mut Context<'_>) -> Result<Origination, Mistake> {
        Ok(Origination {
            sni: self.sni.map(Into::into),
            certificate: self.certificate(context)?,
            validation: self.validation(context)?,
            alpn: self.alpn(),
            parameters: self.parameters()?,
        })
    }

    /// The certificate of the settings themselves.
    pub(super) fn certificate(
        &self,
        context: &mut Context<'_>,
    ) -> Result<Option<Arc<str>>, Mistake> {
        let (chain, key) = match (self.secret, self.cert_chain_file, self.private_key_file) {
            (Some(_), Some(_), _) => {
                return Err(self.mistake(
                    "secret",
                    Reason::Conflict,
                    Invalid::new(
                        "exactly one of 'secret' and 'cert_chain_file' must be present",
                        "remove one of them",
                    ),
                ));
            }
            (Some(secret), ..) => {
                let (namespace, name) = self.secret_name(secret);
                return keep_certificate(context, namespace, name)
                    .map(Some)
                    .map_err(|(reason, what)| self.mistake("secret", reason, what));
            }
            (None, Some(chain), Some(key)) => (chain, key),
            (None, Some(_), None) => {
                return Err(self.mistake(
                    "private_key_file",
                    Reason::MissingField,
                    Invalid::new(
                        "'cert_chain_file' requires 'private_key_file' as well",
                        "write the path of the key that belongs to it",
                    ),
                ));
            }
            (None, None, _) => return Ok(None),
        };
        let of_file = |field| move |what| self.mistake(field, Reason::InvalidValue, what);
        let chain_pem = context.file(chain).map_err(of_file("cert_chain_file"))?;
        let key_pem = context.file(key).map_err(of_file("private_key_file"))?;
        let pair = certificate::pair((chain, &chain_pem), (key, &key_pem));
        let pair = pair.map_err(of_file("cert_chain_file"))?;
        let kind = SecretKind::Certificate {
            chain: pair.chain_pem,
            key: pair.key_pem,
            valid_until: pair.valid_until,
        };
        let name = format!("file:{chain}:{key}");
        let origin = self.origin.clone();
        Ok(Some(context.gateway.keep_secret(name, origin, kind)))
    }

    /// What certificates of the other side must come from.
    fn validation(&self, context: &mut Context<'_>) -> Result<Option<Arc<str>>, Mistake> {
        let store = context.store;
        let mut name = "validation".to_owned();
        let mut origin = self.origin.clone();
        let mut read = |field: &str,
                        text: &str,
                        read: fn(&core::Secret) -> Result<Arc<str>, Invalid>|
         -> Result<Arc<str>, Mistake> {
            let (namespace, secret) = self.secret_name(text);
            name.push_str(&format!(":{namespace}/{secret}"));
            let (at, pem) = load(store, namespace, secret, read)
                .map_err(|(reason, what)| self.mistake(field, reason, what))?;
            origin = at;
            Ok(pem)
        };
        let crl = self
            .crl_secret
            .map(|secret| read("crl_secret", secret, certificate::revocations))
            .transpose()?;
        let trusted_ca = match (self.ca_secret, self.cacert_chain_file) {
            (Some(secret), _) => read("ca_secret", secret, certificate::authority)?,
            (None, Some(path)) => {
                name.push_str(&format!(":file:{path}"));
                let wrong = |what| self.mistake("cacert_chain_file", Reason::InvalidValue, what);
                let text = context.file(path).map_err(wrong)?;
                certificate::authorities(path, &text).map_err(wrong)?
            }
            (None, None) if crl.is_some() => {
                return Err(self.mistake(
                    "crl_secret",
                    Reason::MissingField,
                    Invalid::new(
                        "certificates are revoked, but nothing says whose are taken",
                        "write ca_secret beside crl_secret",
                    ),
                ));
            }
            (None, None) => return Ok(None),
        };
        let kind = SecretKind::Validation(Validation {
            trusted_ca,
            crl,
            accept_untrusted: false,
            names: Vec::new(),
        });
        Ok(Some(context.gateway.keep_secret(name, origin, kind)))
    }

    fn alpn(&self) -> Vec<Arc<str>> {
        alpn(self.alpn_protocols)
    }

    fn parameters(&self) -> Result<Parameters, Mistake> {
        let version = |field: &str, text: Option<&str>| match text {
            None => Ok(None),
            Some("v1.0") => Ok(Some(Version::V1_0)),
            Some("v1.1") => Ok(Some(Version::V1_1)),
            Some("v1.2") => Ok(Some(Version::V1_2)),
            Some("v1.3") => Ok(Some(Version::V1_3)),
            Some(other) => Err(self.mistake(
                field,
                Reason::InvalidValue,
                Invalid::new(
                    format!("\"{other}\" is not a version of TLS"),
                    "write v1.0, v1.1, v1.2 or v1.3",
                ),
            )),
        };
        let invalid =
            |field: String| move |what: Invalid| self.mistake(&field, Reason::InvalidValue, what);
        let suites = self.cipher_suites.unwrap_or_default().iter().enumerate();
        let curves = self.ecdh_curves.unwrap_or_default().iter().enumerate();
        Ok(Parameters {
            min_version: version("min_tls_version", self.min_tls_version)?,
            max_version: version("max_tls_version", self.max_tls_version)?,
            cipher_suites: suites
                .map(|(n, text)| {
                    CipherSuites::new(text).map_err(invalid(format!("cipher_suites[{n}]")))
                })
                .collect::<Result<_, _>>()?,
            curves: curves
                .map(|(n, text)| Curve::new(text).map_err(invalid(format!("ecdh_curves[{n}]"))))
                .collect::<Result<_, _>>()?,
        })
    }

    /// `name`, or `name.namespace` where dots separate one.
    pub(super) fn secret_name(&self, text: &'a str) -> (&'a str, &'a str) {
        match text.rsplit_once('.') {
            Some((name, namespace)) if self.namespacing => (namespace, name),
            _ => (self.namespace, text),
        }
    }

    fn mistake(&self, name: &str, reason: Reason, what: Invalid) -> Mistake {
        match self.place {
            Place::Host => {
                Mistake::because(format!("spec.tls.{name}"), reason, what.message, what.help)
            }
            Place::Context { field, name: of } => Mistake::because(
                field,
                reason,
                format!("{name} of TLSContext {of}: {}", what.message),
                what.help,
            ),
        }
    }
}

fn given(text: &Option<String>) -> Option<&str> {
    text.as_deref().filter(|text| !text.is_empty())
}

/// A list in one string, as Envoy splits it too.
fn alpn(text: Option<&str>) -> Vec<Arc<str>> {
    text.unwrap_or_default()
        .split(',')
        .map(str::trim)
        .filter(|protocol| !protocol.is_empty())
        .map(Into::into)
        .collect()
}

/// What is read from a Secret, and where that stands.
fn load<T>(
    store: &Store,
    namespace: &str,
    name: &str,
    read: impl Fn(&core::Secret) -> Result<T, Invalid>,
) -> Result<(Origin, T), (Reason, Invalid)> {
    let Some(secret) = store.secrets.get(namespace, name) else {
        return Err((
            Reason::RefNotFound,
            Invalid::new(
                format!("there is no Secret {name} in namespace {namespace}"),
                "create it, or name one that exists",
            ),
        ));
    };
    match read(&secret.spec) {
        Ok(read) => Ok((secret.origin(), read)),
        Err(what) => {
            let message = format!("Secret {namespace}/{name}: {}", what.message);
            Err((Reason::RefInvalid, Invalid::new(message, what.help)))
        }
    }
}

/// Reads the certificate of a Secret into the gateway.
pub(super) fn keep_certificate(
    context: &mut Context<'_>,
    namespace: &str,
    name: &str,
) -> Result<Arc<str>, (Reason, Invalid)> {
    let (origin, pair) = load(context.store, namespace, name, certificate::certificate)?;
    let kind = SecretKind::Certificate {
        chain: pair.chain_pem,
        key: pair.key_pem,
        valid_until: pair.valid_until,
    };
    let name = format!("{namespace}/{name}");
    Ok(context.gateway.keep_secret(name, origin, kind))
}

/// Whether two Secrets hold the same certificate.
pub(super) fn same_certificate(store: &Store, one: (&str, &str), other: (&str, &str)) -> bool {
    let pair = |(namespace, name)| {
        let loaded = load(store, namespace, name, certificate::certificate).ok();
        loaded.map(|(_, pair)| pair)
    };
    pair(one) == pair(other)
}
