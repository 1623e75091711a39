//! Fields that have no effect yet, or none at all: each is an entry, never silence.

use nuncio_api::getambassador::{Host, HostTls, Mapping, TlsContext};
use nuncio_model::{Origin, Reason, Report};

use crate::store::Object;

/// Says that fields which are set are not honoured, with what that means.
struct Fields<'r> {
    report: &'r mut Report,
    origin: Origin,
}

impl Fields<'_> {
    fn not_yet(&mut self, field: &str, is_set: bool, consequence: &str) {
        if is_set {
            self.report
                .warning(
                    &self.origin.field(format!("spec.{field}")),
                    Reason::NotSupported,
                    format!("nuncio does not honour {field} yet: {consequence}"),
                )
                .help("everything else of the resource is in effect");
        }
    }

    fn never(&mut self, field: &str, is_set: bool, why: &str) {
        if is_set {
            self.report
                .notice(
                    &self.origin.field(format!("spec.{field}")),
                    Reason::NoEffect,
                    format!("{field} has no effect: {why}"),
                )
                .help("it can be removed");
        }
    }
}

pub(super) fn mapping(report: &mut Report, object: &Object<Mapping>) {
    let spec = &object.spec;
    let mut fields = Fields {
        report,
        origin: object.origin(),
    };
    fields.not_yet(
        "resolver",
        spec.resolver
            .as_deref()
            .is_some_and(|resolver| resolver != "kubernetes-service"),
        "the service resolves as with kubernetes-service",
    );
    fields.not_yet(
        "load_balancer",
        spec.load_balancer.is_some(),
        "requests go round robin",
    );
    fields.not_yet(
        "keepalive",
        spec.keepalive.is_some(),
        "the system's defaults hold",
    );
    fields.not_yet(
        "health_checks",
        spec.health_checks.is_some(),
        "endpoints are not checked",
    );
    fields.not_yet(
        "outlier_detection",
        spec.outlier_detection.is_some(),
        "failing endpoints are not ejected",
    );
    fields.not_yet(
        "labels",
        spec.labels.is_some(),
        "requests are not limited by them",
    );
    fields.not_yet(
        "bypass_auth",
        spec.bypass_auth == Some(true),
        "there is no AuthService to bypass",
    );
    fields.not_yet(
        "auth_context_extensions",
        spec.auth_context_extensions.is_some(),
        "there is no AuthService to send them to",
    );
    fields.not_yet(
        "error_response_overrides",
        spec.error_response_overrides.is_some(),
        "error responses stay as they are",
    );
    fields.not_yet(
        "bypass_error_response_overrides",
        spec.bypass_error_response_overrides == Some(true),
        "there is nothing to bypass",
    );
    fields.never(
        "docs",
        spec.docs.is_some(),
        "only a developer portal reads it",
    );
    fields.never(
        "envoy_override",
        spec.envoy_override.is_some(),
        "Emissary ignores it too",
    );
    fields.never("modules", spec.modules.is_some(), "Emissary ignores it too");
}

pub(super) fn host(report: &mut Report, object: &Object<Host>) {
    let spec = &object.spec;
    let mut fields = Fields {
        report,
        origin: object.origin(),
    };
    let acme = spec.acme_provider.as_ref();
    fields.not_yet(
        "acmeProvider",
        acme.is_some_and(|acme| acme.authority.as_deref() != Some("none")),
        "no certificate is obtained",
    );
    fields.never(
        "previewUrl",
        spec.preview_url.is_some(),
        "Emissary ignores it too",
    );
    let insecure = spec
        .request_policy
        .as_ref()
        .and_then(|p| p.insecure.as_ref());
    fields.never(
        "requestPolicy.insecure.additionalPort",
        insecure.is_some_and(|insecure| insecure.additional_port.is_some()),
        "write a Listener for that port",
    );
    fields.never(
        "tls",
        spec.tls.is_some() && spec.tls_secret.is_none(),
        "TLS is terminated only with tlsSecret",
    );
    fields.never(
        "tlsContext",
        spec.tls_context.is_some() && spec.tls_secret.is_none(),
        "TLS is terminated only with tlsSecret",
    );
    if let Some(tls) = spec.tls.as_ref().filter(|_| spec.tls_secret.is_some()) {
        termination(&mut fields, "tls.", &TlsSettings::of_host(tls));
    }
}

/// A TLSContext that a Host terminates with.
pub(super) fn downstream_tls_context(report: &mut Report, context: &Object<TlsContext>) {
    let mut fields = Fields {
        report,
        origin: context.origin(),
    };
    termination(&mut fields, "", &TlsSettings::of_context(&context.spec));
}

/// A TLSContext that a Mapping originates with.
pub(super) fn upstream_tls_context(report: &mut Report, at: &Origin, context: &Object<TlsContext>) {
    let spec = &context.spec;
    let name = context.name();
    let mut not_yet = |field: &str, is_set: bool, consequence: &str| {
        if is_set {
            report
                .warning(
                    at,
                    Reason::NotSupported,
                    format!(
                        "nuncio does not honour {field} of TLSContext {name} yet: {consequence}"
                    ),
                )
                .help("the rest of the TLSContext is in effect");
        }
    };
    let client =
        spec.secret.is_some() || spec.cert_chain_file.is_some() || spec.private_key_file.is_some();
    not_yet("the certificate", client, "none is shown to the upstream");
    let ca =
        spec.ca_secret.is_some() || spec.cacert_chain_file.is_some() || spec.crl_secret.is_some();
    not_yet(
        "ca_secret",
        ca,
        "the upstream's certificate is NOT verified",
    );
    let versions = spec.min_tls_version.is_some() || spec.max_tls_version.is_some();
    not_yet("the TLS versions", versions, "Envoy's hold");
    let ciphers = spec.cipher_suites.is_some() || spec.ecdh_curves.is_some();
    not_yet("the cipher suites and curves", ciphers, "Envoy's hold");
}

struct TlsSettings<'a> {
    versions: bool,
    ciphers: bool,
    curves: bool,
    redirect: bool,
    sni: Option<&'a str>,
}

impl<'a> TlsSettings<'a> {
    fn of_host(tls: &'a HostTls) -> Self {
        Self {
            versions: tls.min_tls_version.is_some() || tls.max_tls_version.is_some(),
            ciphers: tls.cipher_suites.is_some(),
            curves: tls.ecdh_curves.is_some(),
            redirect: tls.redirect_cleartext_from.is_some(),
            sni: tls.sni.as_deref(),
        }
    }

    fn of_context(context: &'a TlsContext) -> Self {
        Self {
            versions: context.min_tls_version.is_some() || context.max_tls_version.is_some(),
            ciphers: context.cipher_suites.is_some(),
            curves: context.ecdh_curves.is_some(),
            redirect: context.redirect_cleartext_from.is_some(),
            sni: context.sni.as_deref(),
        }
    }
}

fn termination(fields: &mut Fields<'_>, prefix: &str, tls: &TlsSettings<'_>) {
    let name = |field: &str| format!("{prefix}{field}");
    fields.not_yet(
        &name("min_tls_version"),
        tls.versions,
        "Envoy's TLS versions hold",
    );
    fields.not_yet(
        &name("cipher_suites"),
        tls.ciphers,
        "Envoy's cipher suites hold",
    );
    fields.not_yet(&name("ecdh_curves"), tls.curves, "Envoy's curves hold");
    fields.never(
        &name("redirect_cleartext_from"),
        tls.redirect,
        "write requestPolicy.insecure.action: Redirect in the Host",
    );
    fields.never(
        &name("sni"),
        tls.sni.is_some(),
        "it is for originating TLS, the hostname for terminating it",
    );
}
