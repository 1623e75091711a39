//! RoutePolicies: what each is attached to, and which of them a rule goes by.

use std::collections::{BTreeMap, HashMap};
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
#[derive(Debug, Default)]
pub(in crate::gateway_api) struct RoutePolicies {
    pub(in crate::gateway_api) all: Vec<Policy>,
    by_id: HashMap<Arc<ResourceId>, usize>,
    targets: Targets,
}

/// By what is attached to, the whole of it or a section.
type Targets = HashMap<ResourceId, BTreeMap<Option<String>, Arc<ResourceId>>>;

#[derive(Debug)]
pub(in crate::gateway_api) struct Policy {
    pub(in crate::gateway_api) object: Arc<Object<RoutePolicy>>,
    settings: Result<Settings, Fault>,
    /// What was read for that.
    reads: Reads,
    /// Why it is not attached to what it names.
    unattached: Option<Fault>,
    /// What it names that is not there.
    pub(in crate::gateway_api) missing: Vec<(ParentReference, Fault)>,
}

impl Policy {
    /// Why it is not in effect.
    pub(in crate::gateway_api) fn refused(&self) -> Option<&Fault> {
        self.settings.as_ref().err().or(self.unattached.as_ref())
    }
}

/// The policies that a rule goes by, by name alone.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
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
    let mut policies = RoutePolicies::default();
    for object in objects {
        let index = policies.all.len();
        policies.by_id.insert(Arc::clone(&object.id), index);
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
        let own = &object.id;
        let of_target = self.targets.entry(id).or_default();
        match of_target.get(&section) {
            // One that names a target twice has it once.
            Some(first) if first != own => {
                let message = format!(
                    "RoutePolicy {} came first for {kind} {}",
                    first.name, target.name
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
                of_target.insert(section, Arc::clone(own));
                Ok(())
            }
        }
    }

    pub(in crate::gateway_api) fn get(&self, id: &ResourceId) -> Option<&Policy> {
        self.by_id.get(id).map(|index| &self.all[*index])
    }

    /// The targets that have other policies than before.
    pub(in crate::gateway_api) fn attached_otherwise<'p>(
        &'p self,
        before: &'p Self,
    ) -> impl Iterator<Item = &'p ResourceId> {
        let own = self.targets.iter();
        let own = own.filter(|(target, of)| before.targets.get(*target) != Some(of));
        let gone = before.targets.keys();
        let gone = gone.filter(|target| !self.targets.contains_key(*target));
        own.map(|(target, _)| target).chain(gone)
    }

    /// The policies of a route of a listener.
    pub(in crate::gateway_api) fn attached_to(
        &self,
        gateway: &Gateway,
        set: Option<usize>,
        listener: &Listener,
        route: &ResourceId,
    ) -> Attached {
        let mut attached = Attached::default();
        if self.targets.is_empty() {
            return attached;
        }
        let section = Some(listener.spec.name.clone());
        let mut add = |target: &ResourceId, sections: &[&Option<String>]| {
            let of_target = self.targets.get(target).into_iter();
            let of_sections =
                of_target.flat_map(|of| sections.iter().filter_map(|section| of.get(*section)));
            attached.all.extend(of_sections.cloned());
        };
        match set {
            None => add(&gateway.object.id, &[&None, &section]),
            Some(set) => {
                add(&gateway.object.id, &[&None]);
                add(&gateway.sets[set].object.id, &[&None, &section]);
            }
        }
        add(route, &[&None]);
        for (section, policy) in self.targets.get(route).into_iter().flatten() {
            if let Some(rule) = section {
                attached.of_rules.insert(rule.clone(), Arc::clone(policy));
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
        for policy in attached.all.iter().chain(of_rule) {
            let Some(policy) = self.get(policy) else {
                continue;
            };
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
        let id = ResourceId::new(policy::GROUP, kind, namespace, name.as_str());
        let Some(policy) = self.get(&id) else {
            // Who refers to one that is not there is to hear when it comes.
            let _ = store.route_policies.get(namespace, name);
            return Err(Invalid::new(
                format!("there is no RoutePolicy {name} in namespace {namespace}"),
                "create it, or name one that exists",
            ));
        };
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

    /// Those that are attached to a route, or that its filters refer to.
    pub(in crate::gateway_api) fn used_by<'p>(
        &'p self,
        route: &Route<'_>,
    ) -> impl Iterator<Item = &'p Arc<ResourceId>> + use<'p> {
        let attached = self.targets.get(&**route.id).into_iter();
        let attached = attached.flat_map(BTreeMap::values);
        let referred = references(route).filter_map(|reference| {
            let namespace = route.meta.namespace.as_str();
            let name = reference.name.as_str();
            let id = ResourceId::new(policy::GROUP, "RoutePolicy", namespace, name);
            self.get(&id).map(|policy| &policy.object.id)
        });
        attached.chain(referred.collect::<Vec<_>>())
    }

    /// Whether it is attached to a Gateway, or to a ListenerSet of it.
    pub(in crate::gateway_api) fn is_of(&self, policy: &ResourceId, gateway: &Gateway) -> bool {
        let sets = gateway.sets.iter().map(|set| &set.object.id);
        let mut targets = std::iter::once(&gateway.object.id).chain(sets);
        targets.any(|target| {
            let of_target = self.targets.get(&**target).into_iter();
            let mut of_target = of_target.flat_map(BTreeMap::values);
            of_target.any(|attached| **attached == *policy)
        })
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
