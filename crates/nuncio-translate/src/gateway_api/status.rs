//! What the status of each object of the Gateway API is to say, in the specification's words.

use std::sync::Arc;

use imbl::OrdMap;

use nuncio_api::ObjectMeta;
use nuncio_api::gateway_api::{CONTROLLER, GROUP, ParentReference, RouteGroupKind};
pub(super) use nuncio_api::status::Status;
use nuncio_api::status::{
    ACCEPTED, AncestorStatus, CONFLICTED, Condition, INSECURE_VALIDATION, ListenerStatus,
    OVERLAPPING_TLS_CONFIG, PARTIALLY_INVALID, PROGRAMMED, ParentStatus, RESOLVED_REFS,
    SupportedFeature,
};
use nuncio_model::ResourceId;

use super::attach::{ListenerKey, Parent, Route};
use super::base::Base;
use super::class;
use super::infrastructure::OfClasses;
use super::listener::{Gateway, Listener, Set};
use super::lowered::Made;
use super::policy::Policies;
use super::{Context, Fault};

/// By object. Two that differ in a few share all others.
pub type Statuses = OrdMap<Arc<ResourceId>, Arc<Status>>;

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

/// Has the status of an object say that; one that says so already stays what it is.
pub(super) fn say(statuses: &mut Arc<Statuses>, id: &Arc<ResourceId>, says: Status) {
    if statuses.get(id).is_none_or(|said| **said != says) {
        Arc::make_mut(statuses).insert(Arc::clone(id), Arc::new(says));
    }
}

pub(super) fn of_classes(
    context: &Context<'_>,
    parameters: &OfClasses,
) -> Vec<(Arc<ResourceId>, Status)> {
    let generated = context.settings.gateway_services.map(|_| &INFRASTRUCTURE);
    let mut features: Vec<&str> = FEATURES.iter().chain(generated).copied().collect();
    features.sort_unstable();
    let feature = |name: &&str| SupportedFeature {
        name: (*name).to_owned(),
    };
    let features: Vec<_> = features.iter().map(feature).collect();
    let classes = class::classes(context.store).into_iter();
    classes
        .map(|class| {
            let says = Says::of(&class.meta);
            let accepted = match parameters.get(class.name()) {
                Some(Err(fault)) => says.fault(ACCEPTED, fault),
                _ => says.yes(ACCEPTED, "Accepted", "nuncio serves its Gateways"),
            };
            let status = Status {
                conditions: vec![accepted],
                supported_features: features.clone(),
                ..Status::default()
            };
            (Arc::clone(&class.id), status)
        })
        .collect()
}

/// Of a Gateway and of its ListenerSets. `attached` says how many routes a listener has.
pub(super) fn of_gateway(
    base: &Base,
    index: usize,
    attached: impl Fn(ListenerKey) -> usize + Copy,
) -> impl Iterator<Item = (&Arc<ResourceId>, Status)> {
    let gateway = &base.gateways[index];
    let attached = move |set, listener| {
        attached(ListenerKey {
            gateway: index,
            set,
            index: listener,
        })
    };
    let own = of_itself(gateway, |listener| attached(None, listener));
    let sets = gateway.sets.iter().enumerate();
    let sets = sets.map(move |(at, set)| {
        let says = of_set(set, gateway, |listener| attached(Some(at), listener));
        (&set.object.id, says)
    });
    std::iter::once((&gateway.object.id, own)).chain(sets)
}

/// `parents` are those of a route that are nuncio's, with why they do not have it.
pub(super) fn of_route(
    route: &Route<'_>,
    parents: &[(&Parent, Option<Fault>)],
    made: &Made,
) -> Status {
    let parents = parents.iter();
    let parents = parents.map(|(parent, refused)| of_parent(route, parent, refused.as_ref(), made));
    Status {
        parents: Some(parents.collect()),
        ..Status::default()
    }
}

/// Of a policy, if there is one of this name. `users` are the Gateways that it is in effect for.
pub(super) fn of_policy<'g>(
    policies: &Policies,
    id: &Arc<ResourceId>,
    users: impl Iterator<Item = &'g Gateway>,
) -> Option<Status> {
    let (conditions, missing) = if let Some(policy) = policies.backend_tls.get(id) {
        let says = Says::of(&policy.object.meta);
        let accepted = says.accepted(policy.refused.as_ref());
        let resolved = says.resolved(policy.unresolved.as_ref());
        (vec![accepted, resolved], Vec::new())
    } else {
        let policy = policies.route.get(id)?;
        let says = Says::of(&policy.object.meta);
        let missing = policy.missing.iter().map(|(reference, fault)| {
            of_ancestor(reference.clone(), vec![says.fault(ACCEPTED, fault)])
        });
        (vec![says.accepted(policy.refused())], missing.collect())
    };
    let served = users.map(|gateway| of_ancestor(ancestor_ref(gateway), conditions.clone()));
    let ancestors = served.chain(missing).take(MOST_ANCESTORS);
    Some(Status {
        ancestors: Some(ancestors.collect()),
        ..Status::default()
    })
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

fn of_itself(gateway: &Gateway, attached_to: impl Fn(usize) -> usize) -> Status {
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
        listeners: Some(of_listeners(&says, listeners, gateway, attached_to)),
        attached_listener_sets: Some(count(attached)),
        conditions: [accepted, programmed, resolved]
            .into_iter()
            .chain(insecure)
            .collect(),
        ..Status::default()
    }
}

fn is_attached(set: &Set) -> bool {
    set.refused.is_none() && set.listeners.iter().any(Listener::is_served)
}

fn of_set(set: &Set, gateway: &Gateway, attached_to: impl Fn(usize) -> usize) -> Status {
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
        listeners: Some(of_listeners(&says, &set.listeners, gateway, attached_to)),
        ..Status::default()
    }
}

fn of_listeners(
    says: &Says,
    listeners: &[Listener],
    gateway: &Gateway,
    attached: impl Fn(usize) -> usize,
) -> Vec<ListenerStatus> {
    let listeners = listeners.iter().enumerate();
    listeners
        .map(|(index, listener)| of_listener(says, listener, gateway, attached(index)))
        .collect()
}

fn of_listener(
    says: &Says,
    listener: &Listener,
    gateway: &Gateway,
    attached: usize,
) -> ListenerStatus {
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
        attached_routes: count(attached),
        conditions: [accepted, programmed, resolved, conflicted]
            .into_iter()
            .chain(overlapping)
            .collect(),
    }
}

fn count(of: usize) -> i32 {
    i32::try_from(of).unwrap_or(i32::MAX)
}

fn of_parent(
    route: &Route<'_>,
    parent: &Parent,
    refused: Option<&Fault>,
    made: &Made,
) -> ParentStatus {
    let says = Says::of(route.meta);
    let accepted = match (refused, made.unusable()) {
        (Some(fault), _) => says.fault(ACCEPTED, fault),
        (None, Some(fault)) if !made.usable() => says.fault(ACCEPTED, fault),
        (None, _) => says.yes(ACCEPTED, "Accepted", "it is in effect"),
    };
    let partially = match (refused, made.unusable()) {
        (None, Some(fault)) if made.usable() => {
            Some(says.yes(PARTIALLY_INVALID, "UnsupportedValue", &fault.message))
        }
        _ => None,
    };
    let resolved = says.resolved(made.unresolved());
    ParentStatus {
        parent_ref: parent.reference.clone(),
        controller_name: CONTROLLER.to_owned(),
        conditions: [accepted, resolved].into_iter().chain(partially).collect(),
    }
}

fn of_ancestor(ancestor_ref: ParentReference, conditions: Vec<Condition>) -> AncestorStatus {
    AncestorStatus {
        ancestor_ref,
        controller_name: CONTROLLER.to_owned(),
        conditions,
    }
}

fn ancestor_ref(gateway: &Gateway) -> ParentReference {
    ParentReference {
        group: Some(GROUP.to_owned()),
        kind: Some("Gateway".to_owned()),
        namespace: Some(gateway.object.namespace().to_owned()),
        name: gateway.object.name().to_owned(),
        ..ParentReference::default()
    }
}
