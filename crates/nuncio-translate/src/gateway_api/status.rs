//! What the status of each object of the Gateway API is to say, in the specification's words.

use std::collections::BTreeMap;
use std::sync::Arc;

use nuncio_api::ObjectMeta;
use nuncio_api::gateway_api::{self as api, CONTROLLER, GROUP, ParentReference, RouteGroupKind};
use nuncio_api::status::{
    ACCEPTED, AncestorStatus, CONFLICTED, Condition, INSECURE_VALIDATION, ListenerStatus,
    OVERLAPPING_TLS_CONFIG, PARTIALLY_INVALID, PROGRAMMED, ParentStatus, RESOLVED_REFS, Status,
    SupportedFeature,
};
use nuncio_model::ResourceId;

use super::attach::{Parent, Route};
use super::class;
use super::infrastructure::OfClasses;
use super::listener::{Gateway, Listener, Set};
use super::policy::Policies;
use super::serve::Outcome;
use super::{Context, Fault};
use crate::store::Object;

/// By object.
pub type Statuses = BTreeMap<Arc<ResourceId>, Status>;

/// So many Gateways are named in the status of a policy.
const MOST_ANCESTORS: usize = 16;

/// What nuncio can do beyond each kind's core, by the names of the specification, sorted.
const FEATURES: &[&str] = &[
    "BackendTLSPolicy",
    "BackendTLSPolicySANValidation",
    "GRPCRoute",
    "GRPCRouteNamedRouteRule",
    "Gateway",
    "GatewayAddressEmpty",
    "GatewayBackendClientCertificate",
    "GatewayFrontendClientCertificateValidation",
    "GatewayFrontendClientCertificateValidationInsecureFallback",
    "GatewayHTTPListenerIsolation",
    "GatewayHTTPSListenerDetectMisdirectedRequests",
    "GatewayPort8080",
    "GatewayStaticAddresses",
    "HTTPRoute",
    "HTTPRoute303RedirectStatusCode",
    "HTTPRoute307RedirectStatusCode",
    "HTTPRoute308RedirectStatusCode",
    "HTTPRouteBackendProtocolH2C",
    "HTTPRouteBackendProtocolWebSocket",
    "HTTPRouteBackendRequestHeaderModification",
    "HTTPRouteBackendTimeout",
    "HTTPRouteCORS",
    "HTTPRouteDestinationPortMatching",
    "HTTPRouteHostRewrite",
    "HTTPRouteMethodMatching",
    "HTTPRouteNamedRouteRule",
    "HTTPRouteParentRefPort",
    "HTTPRoutePathRedirect",
    "HTTPRoutePathRewrite",
    "HTTPRoutePortRedirect",
    "HTTPRouteQueryParamMatching",
    "HTTPRouteRequestMirror",
    "HTTPRouteRequestMultipleMirrors",
    "HTTPRouteRequestPercentageMirror",
    "HTTPRouteRequestTimeout",
    "HTTPRouteResponseHeaderModification",
    "HTTPRouteRetry",
    "HTTPRouteRetryBackendTimeout",
    "HTTPRouteRetryConnectionError",
    "HTTPRouteSchemeRedirect",
    "ListenerSet",
    "ReferenceGrant",
    "TCPRoute",
    "TLSRoute",
    "TLSRouteModeMixed",
    "TLSRouteModeTerminate",
    "UDPRoute",
];

/// What it can where Gateways have Services.
const INFRASTRUCTURE: &str = "GatewayInfrastructure";

pub(super) fn statuses(
    context: &Context<'_>,
    classes: &OfClasses,
    gateways: &[Gateway<'_>],
    routes: &[Route<'_>],
    outcomes: &[Outcome],
    policies: &Policies,
) -> Statuses {
    let mut statuses = Statuses::new();
    for class in class::classes(context.store) {
        let says = Says::of(&class.meta);
        let accepted = match classes.get(class.name()) {
            Some(Err(fault)) => says.fault(ACCEPTED, fault),
            _ => says.yes(ACCEPTED, "Accepted", "nuncio serves its Gateways"),
        };
        let generated = context.settings.gateway_services.map(|_| &INFRASTRUCTURE);
        let mut features: Vec<&str> = FEATURES.iter().chain(generated).copied().collect();
        features.sort_unstable();
        let feature = |name: &str| SupportedFeature {
            name: name.to_owned(),
        };
        let status = Status {
            conditions: vec![accepted],
            supported_features: features.into_iter().map(feature).collect(),
            ..Status::default()
        };
        statuses.insert(Arc::clone(&class.id), status);
    }
    for gateway in gateways {
        statuses.insert(Arc::clone(&gateway.object.id), of_gateway(gateway));
        for set in &gateway.sets {
            statuses.insert(Arc::clone(&set.object.id), of_set(set, gateway));
        }
    }
    for (route, outcome) in routes.iter().zip(outcomes) {
        let parents = route.parents.iter();
        let parents = parents.map(|parent| of_parent(route, parent, outcome));
        let status = Status {
            parents: Some(parents.collect()),
            ..Status::default()
        };
        statuses.insert(Arc::clone(route.id), status);
    }
    for policy in &policies.backend_tls.all {
        let says = Says::of(&policy.object.meta);
        let conditions = vec![
            says.accepted(policy.refused.as_ref()),
            says.resolved(policy.unresolved.as_ref()),
        ];
        let ancestors = policy.used_by.iter().map(|gateway| {
            let ancestor = gateways[*gateway].object;
            of_ancestor(ancestor_ref(ancestor), conditions.clone())
        });
        statuses.insert(Arc::clone(&policy.object.id), of_policy(ancestors));
    }
    for policy in &policies.route.all {
        let says = Says::of(&policy.object.meta);
        let accepted = says.accepted(policy.refused());
        let served = policy.used_by.iter().map(|gateway| {
            let ancestor = gateways[*gateway].object;
            of_ancestor(ancestor_ref(ancestor), vec![accepted.clone()])
        });
        let missing = policy.missing.iter().map(|(reference, fault)| {
            of_ancestor(reference.clone(), vec![says.fault(ACCEPTED, fault)])
        });
        statuses.insert(
            Arc::clone(&policy.object.id),
            of_policy(served.chain(missing)),
        );
    }
    statuses
}

/// Makes the conditions of one generation of an object.
struct Says(Option<i64>);

impl Says {
    fn of(meta: &ObjectMeta) -> Self {
        Self(meta.generation)
    }

    fn condition(&self, type_: &str, status: bool, reason: &str, message: &str) -> Condition {
        Condition {
            type_: type_.to_owned(),
            status: if status { "True" } else { "False" }.to_owned(),
            reason: reason.to_owned(),
            message: message.to_owned(),
            observed_generation: self.0,
            last_transition_time: None,
        }
    }

    fn yes(&self, type_: &str, reason: &str, message: &str) -> Condition {
        self.condition(type_, true, reason, message)
    }

    fn no(&self, type_: &str, reason: &str, message: &str) -> Condition {
        self.condition(type_, false, reason, message)
    }

    fn fault(&self, type_: &str, fault: &Fault) -> Condition {
        self.no(type_, fault.reason, &fault.message)
    }

    fn accepted(&self, refused: Option<&Fault>) -> Condition {
        match refused {
            None => self.yes(ACCEPTED, "Accepted", "it is in effect"),
            Some(fault) => self.fault(ACCEPTED, fault),
        }
    }

    fn resolved(&self, unresolved: Option<&Fault>) -> Condition {
        match unresolved {
            None => self.yes(
                RESOLVED_REFS,
                "ResolvedRefs",
                "all that it refers to is there",
            ),
            Some(fault) => self.fault(RESOLVED_REFS, fault),
        }
    }
}

fn of_gateway(gateway: &Gateway<'_>) -> Status {
    let says = Says::of(&gateway.object.meta);
    let listeners = &gateway.listeners;
    let some = gateway.all().any(Listener::is_accepted);
    let all = listeners.iter().all(Listener::is_accepted);
    let accepted = match (&gateway.refused, some, all) {
        (Some(fault), ..) => says.fault(ACCEPTED, fault),
        (None, true, true) => says.yes(ACCEPTED, "Accepted", "it is in effect"),
        (None, true, false) => says.yes(
            ACCEPTED,
            "ListenersNotValid",
            "some listeners are not in effect",
        ),
        (None, false, _) => says.no(ACCEPTED, "ListenersNotValid", "no listener is in effect"),
    };
    let addresses = &gateway.addresses;
    let served = gateway.refused.is_none() && gateway.all().any(Listener::is_served);
    let programmed = match &addresses.unusable {
        _ if !served => says.no(PROGRAMMED, "Invalid", "no listener is served"),
        Some(fault) => says.fault(PROGRAMMED, fault),
        None if addresses.shown.is_empty() => says.no(
            PROGRAMMED,
            "AddressNotAssigned",
            "it is not known at which address clients reach nuncio",
        ),
        None => says.yes(PROGRAMMED, "Programmed", "its listeners are served"),
    };
    let resolved = match &gateway.unresolved {
        Some(fault) => says.fault(RESOLVED_REFS, fault),
        None if listeners
            .iter()
            .any(|listener| listener.unresolved.is_some()) =>
        {
            says.no(
                RESOLVED_REFS,
                "ListenersNotResolved",
                "what a listener refers to is not there",
            )
        }
        None => says.resolved(None),
    };
    let insecure = gateway.insecure_validation.then(|| {
        says.yes(
            INSECURE_VALIDATION,
            "ConfigurationChanged",
            "connections are taken of clients whose certificate is not valid",
        )
    });
    let attached = gateway.sets.iter().filter(|set| is_attached(set)).count();
    Status {
        addresses: Some(addresses.shown.clone()),
        listeners: Some(of_listeners(&says, listeners, gateway)),
        attached_listener_sets: Some(count(attached)),
        conditions: [accepted, programmed, resolved]
            .into_iter()
            .chain(insecure)
            .collect(),
        ..Status::default()
    }
}

fn is_attached(set: &Set<'_>) -> bool {
    set.refused.is_none() && set.listeners.iter().any(Listener::is_served)
}

fn of_set(set: &Set<'_>, gateway: &Gateway<'_>) -> Status {
    let says = Says::of(&set.object.meta);
    if let Some(fault) = &set.refused {
        return Status {
            conditions: vec![says.fault(ACCEPTED, fault), says.fault(PROGRAMMED, fault)],
            ..Status::default()
        };
    }
    const NOT_VALID: &str = "ListenersNotValid";
    let all = set.listeners.iter().all(Listener::is_served);
    let accepted = match (is_attached(set), all) {
        (true, true) => says.yes(ACCEPTED, "Accepted", "it is in effect"),
        (true, false) => says.yes(ACCEPTED, NOT_VALID, "some listeners are not in effect"),
        (false, _) => says.no(ACCEPTED, NOT_VALID, "no listener is in effect"),
    };
    let programmed = match is_attached(set) {
        true => says.yes(PROGRAMMED, "Programmed", "its listeners are served"),
        false => says.no(PROGRAMMED, NOT_VALID, "no listener is served"),
    };
    Status {
        conditions: vec![accepted, programmed],
        listeners: Some(of_listeners(&says, &set.listeners, gateway)),
        ..Status::default()
    }
}

fn of_listeners(
    says: &Says,
    listeners: &[Listener<'_>],
    gateway: &Gateway<'_>,
) -> Vec<ListenerStatus> {
    let listeners = listeners.iter();
    listeners
        .map(|listener| of_listener(says, listener, gateway))
        .collect()
}

fn of_listener(says: &Says, listener: &Listener<'_>, gateway: &Gateway<'_>) -> ListenerStatus {
    let refused = listener.conflicted.as_ref().or(listener.refused.as_ref());
    let accepted = match refused {
        Some(fault) => says.fault(ACCEPTED, fault),
        None => says.yes(ACCEPTED, "Accepted", "it is in effect"),
    };
    let programmed = match (&listener.conflicted, &gateway.refused) {
        (Some(fault), _) => says.fault(PROGRAMMED, fault),
        (None, None) if listener.is_served() => says.yes(PROGRAMMED, "Programmed", "it is served"),
        (None, _) => says.no(PROGRAMMED, "Invalid", "it is not served"),
    };
    let conflicted = match &listener.conflicted {
        Some(fault) => says.yes(CONFLICTED, fault.reason, &fault.message),
        None => says.no(
            CONFLICTED,
            "NoConflicts",
            "no other listener wants the same",
        ),
    };
    let resolved = says.resolved(listener.unresolved.as_ref());
    let others = gateway
        .all()
        .filter(|other| !std::ptr::eq(*other, listener));
    let mut overlapping = others.filter(|other| listener.overlaps(other));
    let overlapping = overlapping.next().map(|other| {
        let other = &other.spec.name;
        let message = format!("its hostname and that of listener {other} have names in common");
        says.yes(OVERLAPPING_TLS_CONFIG, "OverlappingHostnames", &message)
    });
    let kind = |kind: &&str| RouteGroupKind {
        group: Some(GROUP.to_owned()),
        kind: (*kind).to_owned(),
    };
    ListenerStatus {
        name: listener.spec.name.clone(),
        supported_kinds: listener.kinds.iter().map(kind).collect(),
        attached_routes: count(listener.attached),
        conditions: [accepted, programmed, resolved, conflicted]
            .into_iter()
            .chain(overlapping)
            .collect(),
    }
}

fn count(of: usize) -> i32 {
    i32::try_from(of).unwrap_or(i32::MAX)
}

fn of_parent(route: &Route<'_>, parent: &Parent<'_>, outcome: &Outcome) -> ParentStatus {
    let says = Says::of(route.meta);
    let accepted = match (&parent.refused, &outcome.unusable) {
        (Some(fault), _) => says.fault(ACCEPTED, fault),
        (None, Some(fault)) if !outcome.usable => says.fault(ACCEPTED, fault),
        (None, _) => says.yes(ACCEPTED, "Accepted", "it is in effect"),
    };
    let partially = match (&parent.refused, &outcome.unusable) {
        (None, Some(fault)) if outcome.usable => {
            Some(says.yes(PARTIALLY_INVALID, "UnsupportedValue", &fault.message))
        }
        _ => None,
    };
    let resolved = says.resolved(outcome.unresolved.as_ref());
    ParentStatus {
        parent_ref: parent.reference.clone(),
        controller_name: CONTROLLER.to_owned(),
        conditions: [accepted, resolved].into_iter().chain(partially).collect(),
    }
}

fn of_policy(ancestors: impl Iterator<Item = AncestorStatus>) -> Status {
    Status {
        ancestors: Some(ancestors.take(MOST_ANCESTORS).collect()),
        ..Status::default()
    }
}

fn of_ancestor(ancestor_ref: ParentReference, conditions: Vec<Condition>) -> AncestorStatus {
    AncestorStatus {
        ancestor_ref,
        controller_name: CONTROLLER.to_owned(),
        conditions,
    }
}

fn ancestor_ref(gateway: &Object<api::Gateway>) -> ParentReference {
    ParentReference {
        group: Some(GROUP.to_owned()),
        kind: Some("Gateway".to_owned()),
        namespace: Some(gateway.namespace().to_owned()),
        name: gateway.name().to_owned(),
        ..ParentReference::default()
    }
}
