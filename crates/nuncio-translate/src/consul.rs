//! What is made of a Consul's answers, in a translation and without one.

use std::sync::Arc;

use nuncio_model::consul::{ConsulAnswer, ConsulService};

/// What there is to say of a service.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Note {
    pub(crate) message: String,
    pub(crate) help: &'static str,
}

/// The name of its set of endpoints. Emissary's has no address, so that services of one name in two
/// Consuls are one.
pub(crate) fn set_name(service: &ConsulService) -> Arc<str> {
    let ConsulService {
        address,
        datacenter,
        name,
    } = service;
    format!("consul/{address}/{datacenter}/{name}").into()
}

/// Nothing of one that was not asked about, as where manifests are only checked.
pub(crate) fn note(service: &ConsulService, answer: Option<&ConsulAnswer>) -> Option<Note> {
    let ConsulAnswer { endpoints, problem } = answer?;
    let ConsulService { address, name, .. } = service;
    match problem {
        Some(problem) => Some(Note {
            message: format!(
                "Consul at {address} does not say where {name} is: {problem}; what it said last \
                 stays in effect{}",
                if endpoints.is_empty() {
                    ", which is nothing"
                } else {
                    ""
                }
            ),
            help: "it is asked again and again; address and datacenter are those of the \
                ConsulResolver, CONSUL_HTTP_TOKEN and CONSUL_CACERT are variables of nuncio",
        }),
        None if endpoints.is_empty() => Some(Note {
            message: format!(
                "Consul at {address} knows no instance that passes its checks of {name}"
            ),
            help: "until there is one, requests are answered with 503",
        }),
        None => None,
    }
}
