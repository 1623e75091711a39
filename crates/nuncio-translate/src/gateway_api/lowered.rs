//! What a route becomes, with all that comes beside it: it is made again when anything that was read for it
//! changes.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use nuncio_model::cluster::{Cluster, EndpointSet};
use nuncio_model::tls::Secret;
use nuncio_model::{Named, Report};

use super::attach::{Route, Spec};
use super::policy::Policies;
use super::rule::{self, Facts, Lowered};
use super::stream::{self, Stream};
use super::{Context, Fault};
use crate::endpoints::EndpointReads;
use crate::store::{self, Reads};

/// What a route became in one place.
#[derive(Debug)]
pub(super) struct Made {
    pub(super) reads: Reads,
    pub(super) work: Work,
    pub(super) report: Report,
    pub(super) files: BTreeSet<Arc<str>>,
    pub(super) endpoint_reads: EndpointReads,
    clusters: Named<Cluster>,
    endpoints: Named<EndpointSet>,
    secrets: Named<Secret>,
}

#[derive(Debug)]
pub(super) enum Work {
    Http(Arc<Lowered>),
    Stream(Stream),
}

impl Made {
    /// `context` is one that has nothing yet.
    pub(super) fn make(
        mut context: Context<'_>,
        route: &Route<'_>,
        facts: &Facts,
        policies: &Policies,
    ) -> Self {
        let (work, reads) = store::record(|| match route.spec {
            Spec::Http(_) | Spec::Grpc(_) => {
                Work::Http(Arc::new(rule::lower(&mut context, route, facts, policies)))
            }
            Spec::Stream(_) => Work::Stream(stream::read(&mut context, route, facts, policies)),
        });
        // Those of Gateways and policies are noted with the base.
        debug_assert!(!reads.has_secrets(), "{} reads a Secret", route.id);
        Self {
            reads,
            work,
            report: context.report,
            files: context.files,
            endpoint_reads: context.endpoint_reads.shrink(),
            clusters: context.gateway.clusters,
            endpoints: context.gateway.endpoints,
            secrets: context.gateway.secrets,
        }
    }

    pub(super) fn unresolved(&self) -> Option<&Fault> {
        match &self.work {
            Work::Http(lowered) => lowered.unresolved.as_ref(),
            Work::Stream(stream) => stream.unresolved.as_ref(),
        }
    }

    /// A rule that cannot be honoured.
    pub(super) fn unusable(&self) -> Option<&Fault> {
        match &self.work {
            Work::Http(lowered) => lowered.unusable.as_ref(),
            Work::Stream(_) => None,
        }
    }

    /// Whether there is a rule that can.
    pub(super) fn usable(&self) -> bool {
        match &self.work {
            Work::Http(lowered) => lowered.usable,
            Work::Stream(_) => true,
        }
    }
}

/// What routes lead to, for as long as one does.
#[derive(Default)]
pub(super) struct Needs {
    pub(super) clusters: Shared<Cluster>,
    pub(super) endpoints: Shared<EndpointSet>,
    pub(super) secrets: Shared<Secret>,
}

impl Needs {
    pub(super) fn add(&mut self, made: &Made) {
        self.clusters.add(&made.clusters);
        self.endpoints.add(&made.endpoints);
        self.secrets.add(&made.secrets);
    }

    pub(super) fn remove(&mut self, made: &Made) {
        self.clusters.remove(&made.clusters);
        self.endpoints.remove(&made.endpoints);
        self.secrets.remove(&made.secrets);
    }
}

/// Things that are the same for all that have them. Where one changes, all have read what changed: they are
/// removed before one of them is added again.
pub(super) struct Shared<T> {
    pub(super) all: Named<T>,
    users: HashMap<Arc<str>, usize>,
}

impl<T> Default for Shared<T> {
    fn default() -> Self {
        Self {
            all: Named::new(),
            users: HashMap::new(),
        }
    }
}

impl<T> Shared<T> {
    fn add(&mut self, things: &Named<T>) {
        for (name, thing) in things {
            *self.users.entry(Arc::clone(name)).or_default() += 1;
            let entry = self.all.entry(Arc::clone(name));
            entry.or_insert_with(|| Arc::clone(thing));
        }
    }

    fn remove(&mut self, things: &Named<T>) {
        for (name, _) in things {
            let users = self.users.get_mut(name);
            let users = users.expect("invariant: what is removed was added");
            *users -= 1;
            if *users == 0 {
                self.users.remove(name);
                self.all.remove(name);
            }
        }
    }
}
