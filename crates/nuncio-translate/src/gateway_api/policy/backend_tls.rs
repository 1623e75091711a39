//! BackendTLSPolicies: how connections to Services are encrypted.

use std::collections::HashMap;
use std::sync::Arc;

use nuncio_api::core::{ServicePort, ServiceSpec};
use nuncio_api::gateway_api::BackendTlsPolicy;
use nuncio_model::tls::{Origination, SubjectName};
use nuncio_model::value::Invalid;
use nuncio_model::{Reason, ResourceId};

use crate::gateway_api::class::age;
use crate::gateway_api::grant::From;
use crate::gateway_api::rule::Facts;
use crate::gateway_api::tls::{Wanted, authorities, system_authorities};
use crate::gateway_api::{Context, Fault};
use crate::store::Object;

/// All of them, and what became of each.
#[derive(Debug, Default, PartialEq)]
pub(in crate::gateway_api) struct BackendTlsPolicies {
    pub(in crate::gateway_api) all: Vec<Policy>,
    /// By namespace and name of a Service and, where it is for one, the name of a port.
    of: HashMap<(String, String, Option<String>), usize>,
    /// By namespace and name of a Service, all that name it.
    naming: HashMap<(String, String), Vec<usize>>,
}

#[derive(Debug, PartialEq)]
pub(in crate::gateway_api) struct Policy {
    pub(in crate::gateway_api) object: Arc<Object<BackendTlsPolicy>>,
    origination: Option<Origination>,
    /// Why it is not in effect.
    pub(in crate::gateway_api) refused: Option<Fault>,
    pub(in crate::gateway_api) unresolved: Option<Fault>,
}

/// Reads the policies, the oldest first: of two for one port the older counts.
pub(in crate::gateway_api) fn read(context: &mut Context<'_>) -> BackendTlsPolicies {
    let mut objects: Vec<_> = context.store.backend_tls_policies.iter().collect();
    objects.sort_by_cached_key(|object| age(object));
    let mut policies = BackendTlsPolicies::default();
    for object in objects {
        let index = policies.all.len();
        let mut policy = Policy {
            object: Arc::clone(object),
            origination: None,
            refused: None,
            unresolved: None,
        };
        let mut won = false;
        for (at, target) in object.spec.target_refs.iter().enumerate() {
            let field = object.at(format!("spec.targetRefs[{at}]"));
            if !target.group.is_empty() || target.kind != "Service" {
                policy.refused = Some(context.fault(
                    &field,
                    Reason::RefInvalid,
                    "Invalid",
                    format!(
                        "a BackendTLSPolicy is not for a {}",
                        target.kind.escape_debug()
                    ),
                    "name a Service",
                ));
                continue;
            }
            let (namespace, name) = (object.namespace().to_owned(), target.name.clone());
            let service = (namespace.clone(), name.clone());
            policies.naming.entry(service).or_default().push(index);
            let section = target.section_name.clone();
            let key = (namespace, name, section.filter(|name| !name.is_empty()));
            match policies.of.get(&key) {
                None => {
                    policies.of.insert(key, index);
                    won = true;
                }
                Some(other) => {
                    let other = &policies.all[*other].object;
                    let message = format!(
                        "BackendTLSPolicy {}/{} came first for Service {}",
                        other.namespace(),
                        other.name(),
                        target.name
                    );
                    let fault = context.fault(
                        &field,
                        Reason::Conflict,
                        "Conflicted",
                        message,
                        "keep one of them",
                    );
                    policy.refused.get_or_insert(fault);
                }
            }
        }
        if won {
            policy.refused = None;
        }
        match origination(context, object) {
            Ok(origination) => policy.origination = Some(origination),
            Err(fault) => {
                let refused = Fault {
                    reason: match fault.reason {
                        "Invalid" => "Invalid",
                        _ => "NoValidCACertificate",
                    },
                    ..fault.clone()
                };
                policy.refused.get_or_insert(refused);
                policy.unresolved = (fault.reason != "Invalid").then_some(fault);
            }
        }
        policies.all.push(policy);
    }
    policies
}

fn origination(
    context: &mut Context<'_>,
    object: &Object<BackendTlsPolicy>,
) -> Result<Origination, Fault> {
    let validation = &object.spec.validation;
    let hostname = validation.hostname.as_str();
    if hostname.is_empty() {
        return Err(context.invalid(
            &object.at("spec.validation.hostname"),
            "Invalid",
            Invalid::new(
                "it names no hostname",
                "write the name that the certificate is for",
            ),
        ));
    }
    let mut names = Vec::new();
    for (index, name) in validation.subject_alt_names.iter().enumerate() {
        match (name.type_.as_str(), &name.hostname, &name.uri) {
            ("Hostname", Some(hostname), _) => {
                names.push(SubjectName::Dns(hostname.as_str().into()))
            }
            ("URI", _, Some(uri)) => names.push(SubjectName::Uri(uri.as_str().into())),
            _ => {
                return Err(context.invalid(
                    &object.at(format!("spec.validation.subjectAltNames[{index}]")),
                    "Invalid",
                    Invalid::new(
                        "it is not a name in a certificate",
                        "write type: Hostname with hostname, or type: URI with uri",
                    ),
                ));
            }
        }
    }
    if names.is_empty() {
        names.push(SubjectName::Dns(hostname.into()));
    }
    let wanted = Wanted {
        accept_untrusted: false,
        names,
    };
    let validation = match validation.well_known_ca_certificates.as_deref() {
        Some("System") => {
            let at = object.at("spec.validation.wellKnownCACertificates");
            let read = system_authorities(context, &at, wanted);
            read.map_err(|what| context.invalid(&at, "InvalidCACertificateRef", what))?
        }
        Some(other) if !other.is_empty() => {
            return Err(context.invalid(
                &object.at("spec.validation.wellKnownCACertificates"),
                "Invalid",
                Invalid::new(
                    format!(
                        "there are no well-known authorities {}",
                        other.escape_debug()
                    ),
                    "write System, or caCertificateRefs",
                ),
            ));
        }
        _ => {
            let field = "spec.validation.caCertificateRefs";
            let from = From {
                kind: "BackendTLSPolicy",
                namespace: object.namespace(),
            };
            let references = validation.ca_certificate_refs.iter().enumerate();
            let references: Vec<_> = references
                .map(|(index, reference)| (object.at(format!("{field}[{index}]")), reference))
                .collect();
            authorities(context, &object.at(field), from, &references, wanted)?
        }
    };
    Ok(Origination {
        sni: Some(hostname.into()),
        validation: Some(validation),
        ..Origination::default()
    })
}

impl BackendTlsPolicies {
    /// How connections to a port of a Service are encrypted; `Err` where they were to be and cannot.
    pub(in crate::gateway_api) fn of_service(
        &self,
        service: &Object<ServiceSpec>,
        port: &ServicePort,
        facts: &Facts,
    ) -> Option<Result<Origination, ()>> {
        let key = |section: Option<String>| {
            let (namespace, name) = (service.namespace(), service.name());
            (namespace.to_owned(), name.to_owned(), section)
        };
        let of_port = port.name.clone().filter(|name| !name.is_empty());
        let of_port = of_port.and_then(|name| self.of.get(&key(Some(name))));
        let index = *of_port.or_else(|| self.of.get(&key(None)))?;
        let policy = &self.all[index];
        Some(match (&policy.refused, &policy.origination) {
            (None, Some(origination)) => Ok(Origination {
                certificate: facts.client_certificate.clone(),
                ..origination.clone()
            }),
            _ => Err(()),
        })
    }

    pub(in crate::gateway_api) fn get(&self, id: &ResourceId) -> Option<&Policy> {
        self.all.iter().find(|policy| *policy.object.id == *id)
    }

    /// Those that name a Service, whether they count for it or not.
    pub(in crate::gateway_api) fn naming(&self, namespace: &str, name: &str) -> &[usize] {
        if self.naming.is_empty() {
            return &[];
        }
        let key = (namespace.to_owned(), name.to_owned());
        self.naming.get(&key).map_or(&[], Vec::as_slice)
    }
}
