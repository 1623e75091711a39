//! RoutePolicies: what each is attached to, and which of them a rule goes by.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use nuncio_api::gateway_api::{GROUP, HttpFilter, ObjectReference, ParentReference, PolicyTarget};
use nuncio_api::policy::{self, RoutePolicy};
use nuncio_model::route::ErrorResponses;
use nuncio_model::value::Invalid;
use nuncio_model::{Origin, Reason, ResourceId};

use super::settings::{self, Settings};
use crate::gateway_api::attach::{Route, Spec};
use crate::gateway_api::class::age;
use crate::gateway_api::listener::{Gateway, Listener};
use crate::gateway_api::{Context, Fault};
use crate::store::{self, Object, Reads, Store};

/// All of them, and what became of each.
pub(in crate::gateway_api) struct RoutePolicies {
    pub(in crate::gateway_api) all: Vec<Policy>,
    /// By namespace and name.
    by_name: HashMap<(String, String), usize>,
    /// By what they are attached to, the whole of it or a section.
    attached: HashMap<ResourceId, BTreeMap<Option<String>, usize>>,
}

pub(in crate::gateway_api) struct Policy {
    pub(in crate::gateway_api) object: Arc<Object<RoutePolicy>>,
    settings: Result<Settings, Fault>,
    /// What was read for that.
    reads: Reads,
    /// Why it is not attached to what it names.
    unattached: Option<Fault>,
    /// What it names that is not there.
    pub(in crate::gateway_api) missing: Vec<(ParentReference, Fault)>,
    /// The Gateways that it is in effect for.
    pub(in crate::gateway_api) used_by: BTreeSet<usize>,
}

impl Policy {
    /// Why it is not in effect.
    pub(in crate::gateway_api) fn refused(&self) -> Option<&Fault> {
        self.settings.as_ref().err().or(self.unattached.as_ref())
    }
}

/// The policies that a rule goes by, by name alone.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(in crate::gateway_api) struct Attached {
    /// Of all rules of a route, the nearer after the farther.
    all: Vec<Arc<ResourceId>>,
    /// Of single rules.
    of_rules: BTreeMap<String, Arc<ResourceId>>,
}

/// Reads the policies, the oldest first: of two for the same the older counts.
pub(in crate::gateway_api) fn read(context: &mut Context<'_>) -> RoutePolicies {
    let mut objects: Vec<_> = context.store.route_policies.iter().collect();
    objects.sort_by_cached_key(|object| age(object));
    let mut policies = RoutePolicies {
        all: Vec::new(),
        by_name: HashMap::new(),
        attached: HashMap::new(),
    };
    for object in objects {
        let name = (object.namespace().to_owned(), object.name().to_owned());
        policies.by_name.insert(name, policies.all.len());
        policies.add(context, object);
    }
    policies
}

/// What is to be attached to, and the names of its sections.
fn sections<'s>(store: &'s Store, target: &ResourceId) -> Option<Vec<&'s str>> {
    fn named<'s>(names: impl Iterator<Item = &'s Option<String>>) -> Vec<&'s str> {
        names.flatten().map(String::as_str).collect()
    }
    let (namespace, name) = (&*target.namespace, &*target.name);
    Some(match &*target.kind {
        "Gateway" => {
            let listeners = &store.gateways.get(namespace, name)?.spec.listeners;
            listeners.iter().map(|each| each.name.as_str()).collect()
        }
        "ListenerSet" => {
            let listeners = &store.listener_sets.get(namespace, name)?.spec.listeners;
            listeners.iter().map(|each| each.name.as_str()).collect()
        }
        "HTTPRoute" => {
            let rules = &store.http_routes.get(namespace, name)?.spec.rules;
            named(rules.iter().flatten().map(|rule| &rule.name))
        }
        _ => {
            let rules = &store.grpc_routes.get(namespace, name)?.spec.rules;
            named(rules.iter().map(|rule| &rule.name))
        }
    })
}

/// What a policy refers to, as a status names it.
fn reference(target: &PolicyTarget, namespace: &str) -> ParentReference {
    ParentReference {
        group: Some(target.group.clone()),
        kind: Some(target.kind.clone()),
        namespace: Some(namespace.to_owned()),
        name: target.name.clone(),
        section_name: target.section_name.clone(),
        ..ParentReference::default()
    }
}

impl RoutePolicies {
    fn add(&mut self, context: &mut Context<'_>, object: &Arc<Object<RoutePolicy>>) {
        let (settings, reads) = store::record(|| {
            // The policy itself is part of what is read.
            let (namespace, name) = (object.namespace(), object.name());
            let _ = context.store.route_policies.get(namespace, name);
            settings::read(context, object)
        });
        let settings = settings.map_err(|mistakes| {
            let faults: Vec<Fault> = mistakes
                .into_iter()
                .map(|mistake| {
                    let message = format!("{}: {}", mistake.field, mistake.what.message);
                    mistake.report(&mut context.report, object);
                    Fault {
                        reason: "Invalid",
                        message,
                    }
                })
                .collect();
            let mut faults = faults.into_iter();
            faults
                .next()
                .expect("invariant: a mistake is why it failed")
        });
        let mut policy = Policy {
            object: Arc::clone(object),
            settings,
            reads,
            unattached: None,
            missing: Vec::new(),
            used_by: BTreeSet::new(),
        };
        let mut attached = false;
        for (index, target) in object.spec.target_refs.iter().enumerate() {
            match self.attach(context, object, index, target) {
                Ok(()) => attached = true,
                Err(fault) => {
                    if fault.reason == "TargetNotFound" {
                        let reference = reference(target, object.namespace());
                        policy.missing.push((reference, fault.clone()));
                    }
                    policy.unattached.get_or_insert(fault);
                }
            }
        }
        if attached {
            policy.unattached = None;
        }
        self.all.push(policy);
    }

    fn attach(
        &mut self,
        context: &mut Context<'_>,
        object: &Object<RoutePolicy>,
        index: usize,
        target: &PolicyTarget,
    ) -> Result<(), Fault> {
        let at = |name: &str| object.at(format!("spec.targetRefs[{index}]{name}"));
        let kind = target.kind.as_str();
        let is_known = ["Gateway", "ListenerSet", "HTTPRoute", "GRPCRoute"].contains(&kind);
        if target.group != GROUP || !is_known {
            return Err(context.fault(
                &at(""),
                Reason::RefInvalid,
                "Invalid",
                format!(
                    "a RoutePolicy is not for kind {} of group \"{}\"",
                    kind.escape_debug(),
                    target.group.escape_debug()
                ),
                format!("name a Gateway, a ListenerSet, an HTTPRoute or a GRPCRoute of {GROUP}"),
            ));
        }
        let namespace = object.namespace();
        let id = ResourceId::new(GROUP, kind, namespace, target.name.as_str());
        let Some(sections) = sections(context.store, &id) else {
            return Err(context.fault(
                &at(".name"),
                Reason::RefNotFound,
                "TargetNotFound",
                format!(
                    "there is no {kind} {} in namespace {namespace}",
                    target.name
                ),
                "create it, or name one that exists",
            ));
        };
        let section = target.section_name.clone();
        let section = section.filter(|section| !section.is_empty());
        if let Some(section) = &section
            && !sections.contains(&section.as_str())
        {
            let help = match sections.is_empty() {
                true => {
                    "give the rule that is meant this name, or leave sectionName out".to_owned()
                }
                false => format!("write one of {}", sections.join(", ")),
            };
            return Err(context.fault(
                &at(".sectionName"),
                Reason::RefNotFound,
                "TargetNotFound",
                format!("{kind} {} has no {}", target.name, section.escape_debug()),
                help,
            ));
        }
        let own = self.all.len();
        let of_target = self.attached.entry(id).or_default();
        match of_target.get(&section) {
            // One that names a target twice has it once.
            Some(first) if *first != own => {
                let first = &self.all[*first].object;
                let message = format!(
                    "RoutePolicy {} came first for {kind} {}",
                    first.name(),
                    target.name
                );
                Err(context.fault(
                    &at(""),
                    Reason::Conflict,
                    "Conflicted",
                    message,
                    "write what both say into one of them",
                ))
            }
            _ => {
                of_target.insert(section, own);
                Ok(())
            }
        }
    }

    fn id(&self, policy: usize) -> Arc<ResourceId> {
        Arc::clone(&self.all[policy].object.id)
    }

    /// Those of a target, then those of a section of it.
    fn around(&self, target: &ResourceId, section: &str) -> impl Iterator<Item = Arc<ResourceId>> {
        let of_target = self.attached.get(target);
        let section = Some(section.to_owned());
        let both = of_target.map(|of| [of.get(&None), of.get(&section)]);
        both.into_iter()
            .flatten()
            .flatten()
            .map(|policy| self.id(*policy))
    }

    /// The policies of a listener.
    pub(in crate::gateway_api) fn of_listener(
        &self,
        gateway: &Gateway<'_>,
        set: Option<usize>,
        listener: &Listener<'_>,
    ) -> Attached {
        let name = listener.spec.name.as_str();
        let all = match set {
            None => self.around(&gateway.object.id, name).collect(),
            Some(set) => {
                let of_gateway = self.attached.get(&*gateway.object.id);
                let of_gateway = of_gateway.and_then(|of| of.get(&None));
                let of_gateway = of_gateway.map(|policy| self.id(*policy));
                let of_set = self.around(&gateway.sets[set].object.id, name);
                of_gateway.into_iter().chain(of_set).collect()
            }
        };
        Attached {
            all,
            of_rules: BTreeMap::new(),
        }
    }

    /// The same, with those of a route.
    pub(in crate::gateway_api) fn of_route(
        &self,
        around: &Attached,
        route: &Route<'_>,
    ) -> Attached {
        let mut attached = around.clone();
        for (section, policy) in self.attached.get(&**route.id).into_iter().flatten() {
            match section {
                None => attached.all.push(self.id(*policy)),
                Some(rule) => {
                    attached.of_rules.insert(rule.clone(), self.id(*policy));
                }
            }
        }
        attached
    }

    /// What they say of a rule.
    pub(in crate::gateway_api) fn settings(
        &self,
        attached: &Attached,
        rule: Option<&str>,
    ) -> Settings {
        let mut settings = Settings::default();
        let of_rule = rule.and_then(|rule| attached.of_rules.get(rule));
        for id in attached.all.iter().chain(of_rule) {
            let name = (id.namespace.to_string(), id.name.to_string());
            let Some(index) = self.by_name.get(&name) else {
                continue;
            };
            let policy = &self.all[*index];
            store::read_again(&policy.reads);
            if let Ok(nearer) = &policy.settings {
                settings.overlay(nearer);
            }
        }
        settings
    }

    /// What a filter refers to.
    pub(in crate::gateway_api) fn referred(
        &self,
        store: &Store,
        namespace: &str,
        reference: &ObjectReference,
    ) -> Result<&Settings, Invalid> {
        let kind = reference.kind.as_deref().unwrap_or_default();
        let name = &reference.name;
        if reference.group.as_deref() != Some(policy::GROUP) || kind != "RoutePolicy" {
            return Err(Invalid::new(
                format!("nuncio has no filter of kind {}", kind.escape_debug()),
                format!("name a RoutePolicy of {}", policy::GROUP),
            ));
        }
        let key = (namespace.to_owned(), name.clone());
        let Some(index) = self.by_name.get(&key) else {
            // Who refers to one that is not there is to hear when it comes.
            let _ = store.route_policies.get(namespace, name);
            return Err(Invalid::new(
                format!("there is no RoutePolicy {name} in namespace {namespace}"),
                "create it, or name one that exists",
            ));
        };
        let policy = &self.all[*index];
        store::read_again(&policy.reads);
        policy.settings.as_ref().map_err(|fault| {
            Invalid::new(
                format!("RoutePolicy {name} is wrong: {}", fault.message),
                "mend it",
            )
        })
    }

    /// One that says what is answered in place of errors.
    pub(in crate::gateway_api) fn own_error_responses(&self) -> Option<Origin> {
        let own = |policy: &&Policy| {
            let settings = policy.settings.as_ref();
            let responses = settings.map(|settings| &settings.error_responses);
            matches!(responses, Ok(Some(ErrorResponses::Own(_))))
        };
        let first = self.all.iter().find(own)?;
        Some(first.object.at("spec.error_response_overrides"))
    }

    /// Notes which Gateways each is in effect for.
    pub(in crate::gateway_api) fn note_users(
        &mut self,
        gateways: &[Gateway<'_>],
        routes: &[Route<'_>],
    ) {
        let mut used = Vec::new();
        let of = |id: &ResourceId| {
            let of_target = self.attached.get(id);
            of_target.into_iter().flat_map(|of| of.values().copied())
        };
        for (index, gateway) in gateways.iter().enumerate() {
            let sets = gateway.sets.iter().map(|set| &set.object.id);
            for id in std::iter::once(&gateway.object.id).chain(sets) {
                used.extend(of(id).map(|policy| (policy, index)));
            }
        }
        for route in routes {
            let attached = route.parents.iter();
            let attached = attached.filter(|parent| parent.refused.is_none());
            let gateways: BTreeSet<usize> = attached.map(|parent| parent.gateway).collect();
            let referred = references(route).filter_map(|reference| {
                let key = (route.meta.namespace.clone(), reference.name.clone());
                self.by_name.get(&key).copied()
            });
            for policy in of(route.id).chain(referred) {
                used.extend(gateways.iter().map(|gateway| (policy, *gateway)));
            }
        }
        for (policy, gateway) in used {
            self.all[policy].used_by.insert(gateway);
        }
    }
}

/// The RoutePolicies that a route's filters refer to.
fn references<'r>(route: &'r Route<'_>) -> impl Iterator<Item = &'r ObjectReference> {
    let mut filters: Vec<&HttpFilter> = Vec::new();
    match route.spec {
        Spec::Http(spec) => {
            for rule in spec.rules.iter().flatten() {
                filters.extend(&rule.filters);
                filters.extend(rule.backend_refs.iter().flat_map(|each| &each.filters));
            }
        }
        Spec::Grpc(spec) => {
            for rule in &spec.rules {
                filters.extend(&rule.filters);
                filters.extend(rule.backend_refs.iter().flat_map(|each| &each.filters));
            }
        }
        Spec::Stream(_) => {}
    }
    let references = filters
        .into_iter()
        .filter_map(|filter| filter.extension_ref.as_ref());
    references.filter(|reference| reference.group.as_deref() == Some(policy::GROUP))
}
