//! Fields that have no effect yet, or none at all: each is an entry, never silence.

use nuncio_api::getambassador::{Host, Mapping, TlsContext};
use nuncio_model::{Reason, Report};

use crate::store::Object;

/// Says that fields which are set are not honoured, with what that means.
struct Fields<'r, T> {
    report: &'r mut Report,
    object: &'r Object<T>,
}

impl<T> Fields<'_, T> {
    fn not_yet(&mut self, field: &str, is_set: bool, consequence: &str) {
        if is_set {
            self.report
                .warning(
                    &self.object.at(format!("spec.{field}")),
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
                    &self.object.at(format!("spec.{field}")),
                    Reason::NoEffect,
                    format!("{field} has no effect: {why}"),
                )
                .help("it can be removed");
        }
    }
}

pub(super) fn mapping(report: &mut Report, object: &Object<Mapping>) {
    let spec = &object.spec;
    let mut fields = Fields { report, object };
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
    let mut fields = Fields { report, object };
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
    if let Some(tls) = &spec.tls {
        fields.never(
            "tls.cert_chain_file",
            tls.cert_chain_file.is_some() || tls.private_key_file.is_some(),
            "TLS is terminated with the certificate of tlsSecret",
        );
        termination(
            &mut fields,
            "tls.",
            tls.redirect_cleartext_from.is_some(),
            tls.sni.is_some(),
        );
    }
}

/// A TLSContext that a Host terminates with.
pub(super) fn downstream_tls_context(report: &mut Report, context: &Object<TlsContext>) {
    let mut fields = Fields {
        report,
        object: context,
    };
    let spec = &context.spec;
    termination(
        &mut fields,
        "",
        spec.redirect_cleartext_from.is_some(),
        spec.sni.is_some(),
    );
}

/// A TLSContext that a Mapping originates with.
pub(super) fn upstream_tls_context(report: &mut Report, context: &Object<TlsContext>) {
    let mut fields = Fields {
        report,
        object: context,
    };
    fields.never(
        "cert_required",
        context.spec.cert_required.is_some(),
        "an upstream always shows a certificate",
    );
}

fn termination<T>(fields: &mut Fields<'_, T>, prefix: &str, redirect: bool, sni: bool) {
    fields.never(
        &format!("{prefix}redirect_cleartext_from"),
        redirect,
        "write requestPolicy.insecure.action: Redirect in the Host",
    );
    fields.never(
        &format!("{prefix}sni"),
        sni,
        "it is for originating TLS, the hostname for terminating it",
    );
}
