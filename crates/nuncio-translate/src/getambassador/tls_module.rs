//! What there is to say of the TLSContexts that a Module `tls` is.

use nuncio_model::Reason;

use super::{Context, tcpmapping};

pub(super) fn check(context: &mut Context<'_>) {
    let store = context.store;
    let Some(module) = store.tls_module() else {
        return;
    };
    let report = &mut context.report;
    let modules = store.modules.by_rkey();
    for other in modules
        .into_iter()
        .filter(|other| other.name() == module.name() && other.namespace() != module.namespace())
    {
        report
            .warning(
                &other.origin(),
                Reason::Duplicate,
                format!("another Module {} came first and counts", module.name()),
            )
            .help("keep one Module");
    }
    for made in store.module_tls_contexts() {
        let name = made.name();
        if store.tls_contexts.get(made.namespace(), name).is_some() {
            report
                .warning(
                    &made.origin(),
                    Reason::Conflict,
                    format!("there is a TLSContext {name}, which counts"),
                )
                .help("remove one of them");
            continue;
        }
        let terminates = made.spec.hosts.is_some();
        let by_host = store.hosts.iter().any(|host| {
            let context = host.spec.tls_context.as_ref();
            context.is_some_and(|context| context.name == name)
        });
        let by_tcp = store.tcp_mappings.iter().any(|mapping| {
            let host = mapping.spec.host.as_deref();
            host.is_some_and(|host| tcpmapping::names(made, host))
        });
        if terminates && !by_host && !by_tcp && store.has_hosts() {
            report
                .warning(
                    &made.origin(),
                    Reason::NoEffect,
                    format!("no Host terminates TLS with {name}"),
                )
                .help(format!(
                    "write tlsContext: {{name: {name}}} in the Hosts that shall"
                ));
        }
    }
}
