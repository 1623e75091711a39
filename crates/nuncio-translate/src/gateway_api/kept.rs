//! What stays of HTTPRoutes and GRPCRoutes from one translation to the next: one that is as it was, and for
//! which nothing was read that is not, becomes what it became.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use nuncio_model::{Gateway, Report, ResourceId};

use super::Context;
use super::attach::{Route, Spec};
use super::policy::Policies;
use super::rule::{self, Facts, Lowered};
use crate::endpoints::EndpointReads;
use crate::store::{self, Changed, Reads};

#[derive(Default)]
pub(crate) struct Kept {
    /// What was read for BackendTLSPolicies, which any route may go by.
    policies: Reads,
    routes: HashMap<(Arc<ResourceId>, Facts), Made>,
}

/// What a route became, and all that came beside it.
struct Made {
    reads: Reads,
    lowered: Arc<Lowered>,
    report: Report,
    gateway: Gateway,
    files: BTreeSet<Arc<str>>,
    endpoint_reads: EndpointReads,
}

impl Kept {
    /// Forgets what has read anything that changed.
    pub(super) fn forget(&mut self, changed: &Changed) {
        match changed.has_any(&self.policies) {
            true => self.routes.clear(),
            false => self.routes.retain(|_, made| !changed.has_any(&made.reads)),
        }
    }

    pub(super) fn policies_read(&mut self, reads: Reads) {
        self.policies = reads;
    }
}

/// What becomes of a route. What is wrong with it is said if that is wanted.
pub(super) fn lower(
    context: &mut Context<'_>,
    route: &Route<'_>,
    facts: &Facts,
    policies: &mut Policies,
    say: bool,
) -> Arc<Lowered> {
    let key = (Arc::clone(route.id), facts.clone());
    let made = match context.before.routes.remove(&key) {
        Some(made) => {
            store::read_again(&made.reads);
            made
        }
        None => make(context, route, facts, policies),
    };
    let lowered = Arc::clone(&made.lowered);
    made.replay(context, say);
    context.after.routes.insert(key, made);
    lowered
}

fn make(context: &Context<'_>, route: &Route<'_>, facts: &Facts, policies: &mut Policies) -> Made {
    let mut own = Context::new(context.store, context.settings, context.surroundings);
    let (lowered, reads) = store::record(|| {
        // The route itself is part of what is read.
        let (namespace, name) = (&*route.id.namespace, &*route.id.name);
        let _ = match route.spec {
            Spec::Http(_) => own.store.http_routes.get(namespace, name).is_some(),
            Spec::Grpc(_) => own.store.grpc_routes.get(namespace, name).is_some(),
            Spec::Stream(_) => false,
        };
        rule::lower(&mut own, route, facts, policies)
    });
    Made {
        reads,
        lowered: Arc::new(lowered),
        report: own.report,
        gateway: own.gateway,
        files: own.files,
        endpoint_reads: own.endpoint_reads.shrink(),
    }
}

impl Made {
    fn replay(&self, context: &mut Context<'_>, say: bool) {
        if say {
            context.report.extend(self.report.entries().iter().cloned());
        }
        context.files.extend(self.files.iter().cloned());
        context.endpoint_reads.extend(&self.endpoint_reads);
        let all = &mut context.gateway;
        for (name, cluster) in &self.gateway.clusters {
            let entry = all.clusters.entry(Arc::clone(name));
            entry.or_insert_with(|| Arc::clone(cluster));
        }
        for (name, endpoints) in &self.gateway.endpoints {
            let entry = all.endpoints.entry(Arc::clone(name));
            entry.or_insert_with(|| Arc::clone(endpoints));
        }
        for (name, secret) in &self.gateway.secrets {
            let entry = all.secrets.entry(Arc::clone(name));
            entry.or_insert_with(|| Arc::clone(secret));
        }
    }
}
