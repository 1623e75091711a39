//! What stays of Gateways and their routes from one translation to the next, so that a route costs the tables
//! that it is in.
//!
//! ```text
//!  what changed ──▶ Gateways, policies ──▶ listeners ──────────────┐
//!             └───▶ routes that read it ──▶ their listeners ──▶ their ports ──▶ tables, listeners
//!                                      └──▶ their clusters, status
//! ```

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use nuncio_api::gateway_api::GROUP;
use nuncio_model::cluster::Endpoint;
use nuncio_model::{Gateway, Report, ResourceId};

use super::attach::{Attached, ListenerKey, Parent, Parents, Route, RouteKey, parents};
use super::base::Base;
use super::listener::Place;
use super::lowered::{Made, Needs};
use super::rule::Facts;
use super::serve::{Port, Served};
use super::status;
use super::{Context, Fragment, Surroundings, backend};
use crate::Settings;
use crate::few::Few;
use crate::store::{self, Changed, Read, ReadId, Reads, Store};

/// The tables of routes, and their kinds.
const ROUTES: [(&str, &str); 5] = [
    ("http_routes", "HTTPRoute"),
    ("grpc_routes", "GRPCRoute"),
    ("tls_routes", "TLSRoute"),
    ("tcp_routes", "TCPRoute"),
    ("udp_routes", "UDPRoute"),
];

/// All of it. What came of the last translation is its `fragment`.
#[derive(Default)]
pub(crate) struct Kept {
    /// `None` before the first translation.
    base: Option<KeptBase>,
    routes: Routes,
    by_id: HashMap<Arc<ResourceId>, Arc<RouteKey>>,
    readers: HashMap<ReadId, Few<Arc<RouteKey>>>,
    listeners: HashMap<ListenerKey, Attached>,
    ports: BTreeMap<Place, Served>,
    needs: Needs,
    /// What is said of routes, and needed for them; most have nothing.
    beside: BTreeMap<Arc<RouteKey>, Beside>,
    /// How many routes of each Gateway use a policy.
    users: BTreeMap<PolicyUser, usize>,
    fragment: Fragment,
}

struct KeptBase {
    base: Arc<Base>,
    surroundings: Arc<Surroundings>,
    reads: Reads,
}

#[derive(Default)]
struct Beside {
    report: Report,
    files: BTreeSet<Arc<str>>,
}

/// A policy and a Gateway.
type PolicyUser = (Arc<ResourceId>, usize);

pub(super) type Routes = BTreeMap<Arc<RouteKey>, KeptRoute>;

/// A route that has a parent which is nuncio's.
pub(super) struct KeptRoute {
    parents: Vec<Parent>,
    /// What there is to say of its hostnames.
    report: Report,
    /// What was read to find its listeners.
    attached_by: Reads,
    /// All that was read for it, as `readers` has it.
    reads: Box<[ReadId]>,
    /// For each place that it is different for, the first being that which its status is about.
    lowered: Lowerings,
    uses: BTreeSet<PolicyUser>,
}

type Lowerings = BTreeMap<Facts, Made>;

impl KeptRoute {
    pub(super) fn lowered(&self, facts: &Facts) -> &Made {
        self.lowered
            .get(facts)
            .expect("invariant: a route is made for all listeners that have it")
    }
}

/// What a translation reads.
#[derive(Clone, Copy)]
struct Input<'a> {
    store: &'a Store,
    settings: &'a Settings,
    surroundings: &'a Surroundings,
}

impl<'a> Input<'a> {
    /// For some work of its own.
    fn context(self) -> Context<'a> {
        Context::new(self.store, self.settings, self.surroundings)
    }
}

/// What is to be made again.
#[derive(Default)]
struct Stale {
    /// Routes that are read again, or are gone.
    routes: BTreeSet<Arc<ResourceId>>,
    /// All routes are attached again.
    attachments: bool,
    /// All ports are served again.
    ports: bool,
    /// What the status of Gateways and policies says.
    statuses: bool,
}

impl Stale {
    fn is_nothing(&self) -> bool {
        self.routes.is_empty() && !self.attachments && !self.ports && !self.statuses
    }
}

/// What routes have changed of listeners and of each other.
#[derive(Default)]
struct Touched {
    routes: BTreeSet<Arc<RouteKey>>,
    listeners: BTreeSet<ListenerKey>,
    policies: BTreeSet<Arc<ResourceId>>,
}

impl Kept {
    /// Takes up what changed; what comes of it is as if all had been made afresh.
    pub(crate) fn update(
        &mut self,
        store: &Store,
        settings: &Settings,
        surroundings: Surroundings,
        changed: &Changed,
    ) -> &Fragment {
        let surroundings = Arc::new(surroundings);
        let input = Input {
            store,
            settings,
            surroundings: &surroundings,
        };
        let mut stale = self.stale(input, changed);
        let base = self.renew_base(input, &surroundings, changed, &mut stale);
        if !stale.is_nothing() {
            self.renew(input, &base, &stale);
        }
        &self.fragment
    }

    /// The routes that changed, or have read what did.
    fn stale(&self, input: Input<'_>, changed: &Changed) -> Stale {
        let mut stale = Stale::default();
        if self.base.is_none() {
            stale.routes = input.store.routes().cloned().collect();
            return stale;
        }
        for (table, kind) in ROUTES {
            let named = changed.named(table).map(|(namespace, name)| {
                Arc::new(ResourceId::new(GROUP, kind, &**namespace, &**name))
            });
            stale.routes.extend(named);
        }
        for read in changed.iter() {
            let readers = self.readers.get(read).into_iter().flat_map(Few::iter);
            stale
                .routes
                .extend(readers.map(|(key, ())| Arc::clone(key.id())));
        }
        stale
    }

    fn renew_base(
        &mut self,
        input: Input<'_>,
        surroundings: &Arc<Surroundings>,
        changed: &Changed,
        stale: &mut Stale,
    ) -> Arc<Base> {
        let around = self
            .base
            .as_ref()
            .is_none_or(|kept| *kept.surroundings != **surroundings);
        if let Some(kept) = &self.base
            && !around
            && !changed.has_any(&kept.reads)
        {
            store::read_again(&kept.reads);
            return Arc::clone(&kept.base);
        }
        let (base, reads) = store::record(|| Base::read(input.context()));
        let base = Arc::new(base);
        stale.statuses = true;
        stale.ports = around;
        let same_filters = |old: &Base| old.filter_names == base.filter_names;
        match &self.base {
            Some(KeptBase { base: old, .. }) => {
                let statuses = Arc::make_mut(&mut self.fragment.status);
                for id in old.ids() {
                    statuses.remove(id);
                }
                stale.ports |= !same_filters(old);
                stale.attachments = old.gateways != base.gateways;
                if old.policies.backend_tls != base.policies.backend_tls {
                    stale.attachments = true;
                    stale.routes.extend(self.by_id.keys().cloned());
                }
                let (policies, before) = (&base.policies.route, &old.policies.route);
                for target in policies.attached_otherwise(before) {
                    // Those of a Gateway or a ListenerSet are of all routes that have it.
                    match self.by_id.get_key_value(target) {
                        Some((id, _)) => {
                            stale.routes.insert(Arc::clone(id));
                        }
                        None => stale.attachments = true,
                    }
                }
            }
            None => stale.attachments = true,
        }
        self.base = Some(KeptBase {
            base: Arc::clone(&base),
            surroundings: Arc::clone(surroundings),
            reads,
        });
        base
    }

    fn renew(&mut self, input: Input<'_>, base: &Base, stale: &Stale) {
        let mut touched = Touched::default();
        self.renew_attachments(input, base, stale, &mut touched);
        for listener in &touched.listeners {
            if let Some(attached) = self.listeners.get_mut(listener) {
                touched.routes.extend(attached.settle());
            }
        }
        for key in &touched.routes {
            let policies = self.finish(input, base, key);
            touched.policies.extend(policies);
        }
        self.serve(input, base, stale, &touched);
        self.say(base, stale, &touched);
        self.put_together(base);
    }

    /// Takes routes from their listeners and puts them to those that they have now.
    fn renew_attachments(
        &mut self,
        input: Input<'_>,
        base: &Base,
        stale: &Stale,
        touched: &mut Touched,
    ) {
        let mut ids: BTreeSet<_> = stale.routes.iter().cloned().collect();
        if stale.attachments {
            ids.extend(self.by_id.keys().cloned());
            // Those that had no parent of nuncio's may have one now.
            ids.extend(input.store.routes().cloned());
        }
        let mut made = HashMap::new();
        for id in &ids {
            if let Some(lowered) = self.take_out(id, touched)
                && !stale.routes.contains(id)
            {
                made.insert(Arc::clone(id), lowered);
            }
        }
        if stale.attachments {
            self.listeners.clear();
            touched.listeners.clear();
        }
        let known = Parents::of(&base.gateways);
        for id in ids {
            let route = Route::find(input.store, &id.kind, &id.namespace, &id.name);
            let Some(route) = route else {
                continue;
            };
            let mut context = input.context();
            let read = || parents(&mut context, &route, &base.gateways, &known);
            let (parents, attached_by) = store::record(read);
            if parents.is_empty() {
                continue;
            }
            let key = Arc::new(route.key());
            for (listener, hostnames) in parents.iter().flat_map(Parent::candidates) {
                let attached = self.listeners.entry(listener).or_default();
                attached.add(&key, hostnames);
                touched.listeners.insert(listener);
            }
            let kept = KeptRoute {
                parents,
                report: context.report,
                attached_by,
                reads: Box::default(),
                lowered: made.remove(&id).unwrap_or_default(),
                uses: BTreeSet::new(),
            };
            for made in kept.lowered.values() {
                self.needs.add(made);
            }
            self.by_id.insert(id, Arc::clone(&key));
            self.routes.insert(Arc::clone(&key), kept);
            touched.routes.insert(key);
        }
    }

    /// Takes a route out of everything; returns what it became.
    fn take_out(&mut self, id: &Arc<ResourceId>, touched: &mut Touched) -> Option<Lowerings> {
        let key = self.by_id.remove(id)?;
        let kept = self.routes.remove(&key)?;
        for (listener, _) in kept.parents.iter().flat_map(Parent::candidates) {
            if let Some(attached) = self.listeners.get_mut(&listener) {
                attached.remove(&key);
            }
            touched.listeners.insert(listener);
        }
        for made in kept.lowered.values() {
            self.needs.remove(made);
        }
        self.forget_reads(&key, &kept.reads);
        self.beside.remove(&key);
        self.forget_uses(&kept.uses);
        let policies = kept.uses.iter().map(|(policy, _)| Arc::clone(policy));
        touched.policies.extend(policies);
        Arc::make_mut(&mut self.fragment.status).remove(id);
        Some(kept.lowered)
    }

    fn forget_reads(&mut self, key: &Arc<RouteKey>, reads: &[ReadId]) {
        for read in reads {
            if let Some(readers) = self.readers.get_mut(read) {
                readers.remove(key);
                if readers.is_empty() {
                    self.readers.remove(read);
                }
            }
        }
    }

    fn forget_uses(&mut self, uses: &BTreeSet<PolicyUser>) {
        for used in uses {
            if let Some(users) = self.users.get_mut(used) {
                *users -= 1;
                if *users == 0 {
                    self.users.remove(used);
                }
            }
        }
    }

    /// Makes of a route what its listeners need, and says what has become of it. Returns the policies that it
    /// uses, or used.
    fn finish(
        &mut self,
        input: Input<'_>,
        base: &Base,
        key: &Arc<RouteKey>,
    ) -> BTreeSet<Arc<ResourceId>> {
        let Some(mut kept) = self.routes.remove(key) else {
            return BTreeSet::new();
        };
        let route = key.find(input.store);
        let route = route.expect("invariant: a route that is gone was taken out");
        let listeners = &self.listeners;
        let has = |listener: &ListenerKey| {
            let attached = listeners.get(listener);
            attached.is_some_and(|attached| attached.has(key))
        };
        let mut facts: BTreeSet<Facts> = kept
            .parents
            .iter()
            .flat_map(Parent::candidates)
            .filter(|(listener, _)| has(listener))
            .filter_map(|(listener, _)| base.facts(listener, key.id()))
            .collect();
        if facts.is_empty() {
            // What is wrong with it is said also while nobody serves it.
            facts.insert(Facts::default());
        }
        let mut old = std::mem::take(&mut kept.lowered);
        for facts in facts {
            let made = old.remove(&facts).unwrap_or_else(|| {
                let made = Made::make(input.context(), &route, &facts, &base.policies);
                self.needs.add(&made);
                made
            });
            kept.lowered.insert(facts, made);
        }
        for made in old.values() {
            self.needs.remove(made);
        }

        let mut context = input.context();
        let parents = kept.parents.iter();
        let parents: Vec<_> = parents
            .map(|parent| {
                (
                    parent,
                    parent.refusal(&mut context, &route, |key| has(&key)),
                )
            })
            .collect();
        let made = kept.lowered.values().next();
        let made = made.expect("invariant: it was made for one place at least");
        let says = status::of_route(&route, &parents, made);
        let served = parents.iter().filter(|(_, refused)| refused.is_none());
        let gateways: BTreeSet<usize> = served.map(|(parent, _)| parent.gateway).collect();
        let mut uses = BTreeSet::new();
        for policy in base.policies.used_by(&route) {
            let users = gateways.iter();
            uses.extend(users.map(|gateway| (Arc::clone(&policy), *gateway)));
        }
        let mut report = kept.report.clone();
        report.extend(context.report.entries().iter().cloned());
        report.extend(made.report.entries().iter().cloned());
        let files = kept.lowered.values().flat_map(|made| &made.files);
        let beside = Beside {
            report,
            files: files.cloned().collect(),
        };

        status::say(&mut self.fragment.status, key.id(), says);
        match beside.report.is_empty() && beside.files.is_empty() {
            true => self.beside.remove(key),
            false => self.beside.insert(Arc::clone(key), beside),
        };
        let before_uses = std::mem::replace(&mut kept.uses, uses);
        for used in &kept.uses {
            *self.users.entry(used.clone()).or_default() += 1;
        }
        self.forget_uses(&before_uses);
        let lowered = kept.lowered.values().flat_map(|made| made.reads.iter());
        let reads: BTreeSet<ReadId> = kept.attached_by.iter().chain(lowered).copied().collect();
        let reads: Box<[ReadId]> = reads.into_iter().collect();
        let before = std::mem::replace(&mut kept.reads, reads);
        self.forget_reads(key, &before);
        for read in &kept.reads {
            let readers = self.readers.entry(*read).or_default();
            readers.insert(Arc::clone(key), ());
        }
        let policies = before_uses.union(&kept.uses);
        let policies = policies.map(|(policy, _)| Arc::clone(policy)).collect();
        self.routes.insert(Arc::clone(key), kept);
        policies
    }

    /// Serves the ports whose listeners have other routes now.
    fn serve(&mut self, input: Input<'_>, base: &Base, stale: &Stale, touched: &Touched) {
        let all = stale.attachments || stale.ports;
        let gateway = &mut self.fragment.gateway;
        let places: BTreeSet<Place> = match all {
            true => {
                self.ports.clear();
                *gateway = Gateway::default();
                base.places.keys().copied().collect()
            }
            false => {
                let listeners = touched.listeners.iter();
                listeners.flat_map(|key| base.places_of(*key)).collect()
            }
        };
        for place in places {
            if let Some(before) = self.ports.remove(&place) {
                before.take_from(gateway);
            }
            let port = Port {
                context: input.context(),
                base,
                listeners: &self.listeners,
                routes: &self.routes,
                place,
                keys: &base.places[&place],
            };
            let served = port.serve();
            served.add_to(gateway);
            self.ports.insert(place, served);
        }
    }

    /// Says what has become of Gateways and policies.
    fn say(&mut self, base: &Base, stale: &Stale, touched: &Touched) {
        let statuses = &mut self.fragment.status;
        let attached = |key: ListenerKey| self.listeners.get(&key).map_or(0, Attached::count);
        let mut gateways: BTreeSet<usize> =
            touched.listeners.iter().map(|key| key.gateway).collect();
        let mut policies = touched.policies.clone();
        if stale.statuses {
            for (id, says) in &base.classes {
                status::say(statuses, id, says.clone());
            }
            gateways = (0..base.gateways.len()).collect();
            policies = base.policies.ids().cloned().collect();
        }
        for index in gateways {
            for (id, says) in status::of_gateway(base, index, attached) {
                status::say(statuses, id, says);
            }
        }
        for id in policies {
            let first = (Arc::clone(&id), 0);
            let users = self.users.range(first..);
            let users = users.take_while(|((policy, _), _)| *policy == id);
            let mut users: BTreeSet<usize> = users.map(|((_, gateway), _)| *gateway).collect();
            let own = base.gateways.iter().enumerate();
            let own = own.filter(|(_, gateway)| base.policies.route.is_of(&id, gateway));
            users.extend(own.map(|(index, _)| index));
            let users = users.iter().map(|gateway| &base.gateways[*gateway]);
            if let Some(says) = status::of_policy(&base.policies, &id, users) {
                status::say(statuses, &id, says);
            }
        }
    }

    fn put_together(&mut self, base: &Base) {
        let fragment = &mut self.fragment;
        let gateway = &mut fragment.gateway;
        gateway.clusters = self.needs.clusters.all.clone();
        gateway.endpoints = self.needs.endpoints.all.clone();
        gateway.filters = base.filters.clone();
        gateway.secrets = base.secrets.clone().union(self.needs.secrets.all.clone());
        fragment.infrastructure = Arc::clone(&base.infrastructure);
        fragment.report = base.report.clone();
        fragment.files = base.files.clone();
        for Beside { report, files } in self.beside.values() {
            fragment.report.extend(report.entries().iter().cloned());
            fragment.files.extend(files.iter().cloned());
        }
    }

    /// See [`crate::Translator::endpoints_of`].
    pub(crate) fn endpoints_of(
        &self,
        store: &Store,
        namespace: &str,
        name: &str,
    ) -> Option<BTreeMap<Arc<str>, Vec<Endpoint>>> {
        let mut sets = BTreeMap::new();
        let Some(kept) = &self.base else {
            return Some(sets);
        };
        let followed = (namespace.to_owned(), name.to_owned());
        if kept.base.follows.contains(&followed) {
            return None;
        }
        let Some(service) = store.services.get(namespace, name) else {
            return Some(sets);
        };
        // Whoever has found its endpoints has read the Service.
        let readers = self.readers.get(&Read::service(namespace, name).id());
        let readers = readers.into_iter().flat_map(Few::iter);
        let routes = readers.filter_map(|(key, ())| self.routes.get(key));
        let through = backend::through(store, service);
        for made in routes.flat_map(|kept| kept.lowered.values()) {
            let reads = &made.endpoint_reads;
            if !reads.all_through(&service.id, through) {
                return None;
            }
            sets.extend(reads.of_service(store, namespace, name)?);
        }
        Some(sets)
    }
}
