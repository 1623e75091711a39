//! What the status of a resource is to say. Pure.

use nuncio_api::core::LoadBalancerStatus;
use nuncio_api::getambassador::{self, crd};
use nuncio_api::status::{ACCEPTED, Condition, Status};
use nuncio_api::{gateway_api, ingress};
use nuncio_model::{Entry, Reason, ResourceId, Severity};
use nuncio_translate::getambassador::Places;

use crate::scene::{Index, Scene};

/// The reason where there is nothing to say.
pub(crate) const IN_EFFECT: &str = "Accepted";

/// So many entries are told in one message.
const MOST_TOLD: usize = 3;

/// Longest text of one entry. Envoy's words may be long.
const LONGEST: usize = 1000;

/// The status of a resource as it is to be, without times. `None` where it is none of nuncio's.
pub(crate) fn status(scene: &Scene, index: &Index, id: &ResourceId) -> Option<Status> {
    if (&*id.group, &*id.kind) == (ingress::GROUP, "Ingress") {
        let addresses = scene.ingress.addresses.clone();
        let addresses = addresses.filter(|_| index.is_ingress(id))?;
        let load_balancer = Some(LoadBalancerStatus { ingress: addresses });
        return Some(Status {
            load_balancer,
            ..Status::default()
        });
    }
    if gateway_api::is_group(&id.group) {
        // What was said of a route that is no longer one of a Gateway of nuncio's is taken back.
        let nothing = || Status {
            parents: Some(Vec::new()),
            ..Status::default()
        };
        let says = scene.gateway.get(id).map(|says| Status::clone(says));
        return says.or_else(|| gateway_api::ROUTE_KINDS.contains(&&*id.kind).then(nothing));
    }
    if &*id.group != getambassador::GROUP || crd::KINDS.iter().all(|kind| kind.kind != &*id.kind) {
        return None;
    }
    let facts = Facts {
        generation: scene.elements.generation(id)?,
        entries: scene.entries(id),
        places: match &*id.kind {
            "Mapping" => index.mapping(id),
            _ => scene.attached.listeners(id),
        },
        certificate: index.has_certificate(id),
    };
    Some(of(&id.kind, &facts))
}

/// What is known of one resource.
struct Facts<'a> {
    generation: Option<i64>,
    entries: &'a [Entry],
    places: Option<&'a Places>,
    /// Of a Host.
    certificate: Option<bool>,
}

fn of(kind: &str, facts: &Facts<'_>) -> Status {
    let verdict = Verdict::of(kind, facts);
    let places = facts.places.iter();
    let attached_to = places.flat_map(|places| {
        let named = places.named.iter().map(|id| id.to_string());
        named.chain(places.more.then(|| "and others".to_owned()))
    });
    let mut status = Status {
        observed_generation: facts.generation,
        attached_to: attached_to.collect(),
        ..Status::default()
    };
    match kind {
        "Mapping" => {
            let state = if verdict.in_effect {
                "Running"
            } else {
                "Inactive"
            };
            status.state = Some(state.to_owned());
            // Also where there is none: what Emissary wrote would stay.
            status.reason = Some(match verdict.in_effect {
                true => String::new(),
                false => verdict.brief.clone(),
            });
        }
        "Host" => {
            let state = match (verdict.accepted, verdict.errors) {
                (true, _) => "Ready",
                (false, true) => "Error",
                (false, false) => "Pending",
            };
            status.state = Some(state.to_owned());
            status.error_reason = Some(match verdict.errors {
                true => verdict.message.clone(),
                false => String::new(),
            });
            let certificate = match facts.certificate {
                Some(true) => "Other",
                Some(false) => "None",
                None => "Unknown",
            };
            status.tls_certificate_source = Some(certificate.to_owned());
            status.phase_completed = Some("NA".to_owned());
            status.phase_pending = Some("NA".to_owned());
        }
        _ => {}
    }
    status.conditions = vec![Condition {
        type_: ACCEPTED.to_owned(),
        status: if verdict.accepted { "True" } else { "False" }.to_owned(),
        reason: verdict.reason,
        message: verdict.message,
        observed_generation: facts.generation,
        last_transition_time: None,
    }];
    status
}

/// What is to be said of a resource.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Verdict {
    /// All of it is in effect.
    pub(crate) accepted: bool,
    /// At least some of it is.
    in_effect: bool,
    errors: bool,
    pub(crate) reason: String,
    pub(crate) message: String,
    /// As Emissary says it.
    brief: String,
}

impl Verdict {
    fn of(kind: &str, facts: &Facts<'_>) -> Self {
        let is_placed = matches!(kind, "Host" | "Mapping" | "TCPMapping");
        let in_effect = match facts.places {
            Some(places) => !places.named.is_empty(),
            None => !is_placed,
        };
        let mut verdict = Self::of_entries(facts.entries);
        verdict.in_effect = in_effect;
        if in_effect || !verdict.accepted {
            return verdict;
        }
        verdict.accepted = false;
        let says_why = |entry: &&Entry| match entry.reason {
            Reason::NotBound => true,
            Reason::NoEffect => entry.field.is_empty(),
            _ => false,
        };
        let (reason, message, brief) = match facts.entries.iter().find(says_why) {
            Some(entry) => (entry.reason, text(entry), cut(&entry.message)),
            None => {
                let message = match kind {
                    "Mapping" => "no Host that takes it is served by a Listener",
                    _ => "no Listener serves it",
                };
                (Reason::NotBound, message.to_owned(), message.to_owned())
            }
        };
        verdict.reason = reason.to_string();
        (verdict.message, verdict.brief) = (message, brief);
        verdict
    }

    /// By what is said of a resource alone.
    pub(crate) fn of_entries(entries: &[Entry]) -> Self {
        let of = |severity| {
            let entries = entries
                .iter()
                .filter(move |entry| entry.severity == severity);
            entries.collect::<Vec<_>>()
        };
        let errors = of(Severity::Error);
        let accepted = errors.is_empty();
        let said = if accepted {
            of(Severity::Warning)
        } else {
            errors
        };
        let Some(first) = said.first() else {
            return Self {
                accepted: true,
                in_effect: true,
                errors: false,
                reason: IN_EFFECT.to_owned(),
                message: "it is in effect as it is written".to_owned(),
                brief: String::new(),
            };
        };
        let mut told: Vec<String> = said
            .iter()
            .take(MOST_TOLD)
            .map(|entry| text(entry))
            .collect();
        if said.len() > MOST_TOLD {
            told.push(format!("and {} more", said.len() - MOST_TOLD));
        }
        let more = if said.len() > 1 { " (and more)" } else { "" };
        Self {
            accepted,
            in_effect: accepted,
            errors: !accepted,
            reason: first.reason.to_string(),
            message: told.join("; "),
            brief: format!("{}{more}", cut(&first.message)),
        }
    }
}

/// An entry without its resource.
fn text(entry: &Entry) -> String {
    let mut text = cut(&entry.message);
    if !entry.field.is_empty() {
        text = format!("{}: {text}", entry.field);
    }
    if let Some(help) = &entry.help {
        text = format!("{text}: {help}");
    }
    text
}

pub(crate) fn cut(text: &str) -> String {
    match text.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

/// What Emissary's own CRDs have a place for: only Hosts and Mappings have a status there.
pub(crate) fn as_emissary(status: &Status) -> Status {
    Status {
        conditions: Vec::new(),
        observed_generation: None,
        attached_to: Vec::new(),
        ..status.clone()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use nuncio_model::Origin;

    use super::*;

    fn entry(field: &str, severity: Severity, reason: Reason, message: &str) -> Entry {
        let id = ResourceId::new(getambassador::GROUP, "Mapping", "default", "a");
        let at = Origin::new(Arc::new(id)).field(field);
        Entry::new(&at, severity, reason, message)
    }

    fn places(names: &[&str], more: bool) -> Places {
        let id = |name: &&str| {
            Arc::new(ResourceId::new(
                getambassador::GROUP,
                "Host",
                "default",
                *name,
            ))
        };
        Places {
            named: names.iter().map(id).collect(),
            more,
        }
    }

    fn facts<'a>(entries: &'a [Entry], places: Option<&'a Places>) -> Facts<'a> {
        Facts {
            generation: Some(3),
            entries,
            places,
            certificate: None,
        }
    }

    fn accepted(status: &Status) -> (&str, &str, &str) {
        let condition = status.accepted().unwrap();
        assert_eq!(condition.observed_generation, Some(3));
        (&condition.status, &condition.reason, &condition.message)
    }

    #[test]
    fn a_mapping_in_effect_runs() {
        let at = places(&["a", "b"], true);
        let status = of("Mapping", &facts(&[], Some(&at)));
        let message = "it is in effect as it is written";
        assert_eq!(accepted(&status), ("True", "Accepted", message));
        assert_eq!(status.state.as_deref(), Some("Running"));
        assert_eq!(status.reason.as_deref(), Some(""));
        assert_eq!(
            status.attached_to,
            ["Host default/a", "Host default/b", "and others"]
        );
        assert_eq!(status.observed_generation, Some(3));
    }

    #[test]
    fn what_is_wrong_is_said_in_the_words_of_the_report() {
        let entries = [
            entry("spec.prefix", Severity::Error, Reason::InvalidValue, "one"),
            entry("spec.rewrite", Severity::Warning, Reason::NoEffect, "two"),
            entry(
                "spec.service",
                Severity::Error,
                Reason::MissingField,
                "three",
            ),
        ];
        let status = of("Mapping", &facts(&entries, None));
        let message = "spec.prefix: one; spec.service: three";
        assert_eq!(accepted(&status), ("False", "InvalidValue", message));
        assert_eq!(status.state.as_deref(), Some("Inactive"));
        assert_eq!(status.reason.as_deref(), Some("one (and more)"));

        let at = places(&["a"], false);
        let status = of("Mapping", &facts(&entries[1..2], Some(&at)));
        assert_eq!(accepted(&status), ("True", "NoEffect", "spec.rewrite: two"));
    }

    #[test]
    fn what_nothing_takes_is_not_accepted() {
        let nowhere = Places::default();
        let status = of("Mapping", &facts(&[], Some(&nowhere)));
        let message = "no Host that takes it is served by a Listener";
        assert_eq!(accepted(&status), ("False", "NotBound", message));
        assert_eq!(status.state.as_deref(), Some("Inactive"));

        // Whatever else there is to say.
        let at = "spec.service";
        let entries = [
            entry("", Severity::Warning, Reason::NotBound, "no Host takes it"),
            entry(at, Severity::Warning, Reason::RefNotFound, "no Service"),
        ];
        let status = of("Mapping", &facts(&entries[1..], Some(&nowhere)));
        assert_eq!(accepted(&status).1, "NotBound");
        let status = of("Mapping", &facts(&entries, Some(&nowhere)));
        assert_eq!(accepted(&status), ("False", "NotBound", "no Host takes it"));
        assert_eq!(status.reason.as_deref(), Some("no Host takes it"));

        let status = of("Host", &facts(&[], None));
        assert_eq!(accepted(&status).1, "NotBound");
        assert_eq!(status.state.as_deref(), Some("Pending"));
        assert_eq!(status.error_reason.as_deref(), Some(""));

        // A Module is nowhere in particular.
        assert_eq!(accepted(&of("Module", &facts(&[], None))).0, "True");
    }

    #[test]
    fn a_host_says_what_emissarys_users_read() {
        let entries = [entry(
            "spec.tlsSecret",
            Severity::Error,
            Reason::RefNotFound,
            "none",
        )];
        let status = of("Host", &facts(&entries, None));
        assert_eq!(status.state.as_deref(), Some("Error"));
        assert_eq!(status.error_reason.as_deref(), Some("spec.tlsSecret: none"));
        assert_eq!(status.tls_certificate_source.as_deref(), Some("Unknown"));

        let at = places(&["a"], false);
        let mut facts = facts(&[], Some(&at));
        facts.certificate = Some(true);
        let status = of("Host", &facts);
        assert_eq!(status.state.as_deref(), Some("Ready"));
        assert_eq!(status.tls_certificate_source.as_deref(), Some("Other"));
        assert_eq!(status.phase_pending.as_deref(), Some("NA"));
    }

    #[test]
    fn many_and_long_words_are_cut() {
        let many: Vec<Entry> = (0..5)
            .map(|n| {
                entry(
                    &format!("spec.{n}"),
                    Severity::Error,
                    Reason::InvalidValue,
                    "no",
                )
            })
            .collect();
        let status = of("Module", &facts(&many, None));
        let message = "spec.0: no; spec.1: no; spec.2: no; and 2 more";
        assert_eq!(accepted(&status).2, message);
        let long = [entry(
            "",
            Severity::Error,
            Reason::Refused,
            &"é".repeat(5000),
        )];
        let status = of("Module", &facts(&long, None));
        assert_eq!(accepted(&status).2.chars().count(), LONGEST + 1);
    }
}
