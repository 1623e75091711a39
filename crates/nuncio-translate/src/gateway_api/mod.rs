//! The Gateway API: Gateways, ListenerSets and their routes.
//!
//! ```text
//!  GatewayClass ──▶ class ──▶ listener (conflicts, certificates, addresses) ──▶ base
//!                                │
//!                                ├──▶ infrastructure (what stands in a cluster for each Gateway)
//!                                │
//!  HTTPRoute, GRPCRoute ──▶ attach (parentRefs, hostnames) ──▶ table ──▶ route tables
//!                    └──▶ rule (matches, filter, backend) ──┘    │
//!  TLSRoute, TCPRoute, UDPRoute ─▶ attach ─▶ stream ─────────────┴──▶ serve ──▶ listeners
//!                                                             all ──▶ status
//!
//!  kept says what of that is made again
//! ```
//!
//! Nothing is lowered to Hosts and Mappings: what comes first, what a prefix is and what an invalid
//! backend answers are the specification's. A rule's backends are routes with shares, as a Mapping's
//! canaries are: so each has its own filters, and those that cannot be resolved answer 500 for exactly
//! their share.

mod address;
mod attach;
mod backend;
mod base;
mod class;
mod external_auth;
mod filter;
mod grant;
mod hostname;
mod infrastructure;
mod kept;
mod listener;
mod lowered;
mod policy;
mod rule;
mod serve;
mod session;
mod status;
mod stream;
mod table;
mod tls;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use nuncio_model::external::Asks;
use nuncio_model::listener::{HttpOptions, Transport};
use nuncio_model::value::Invalid;
use nuncio_model::{Gateway, Origin, Reason, Report, ResourceId};

pub use class::CLASS;
pub use infrastructure::{Generated, Infrastructure, is_generated};
pub(crate) use kept::Kept;
pub use status::Statuses;

use crate::Settings;
use crate::endpoints::EndpointReads;
use crate::fields::values::whole_path;
use crate::store::Store;
use grant::{From, To};
pub(crate) use listener::Place;

/// What all that nuncio serves has in common, and what of it is taken already.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Surroundings {
    pub(crate) options: Arc<HttpOptions>,
    pub(crate) filters: Vec<Arc<str>>,
    pub(crate) late_filters: Vec<Arc<str>>,
    pub(crate) asks: Asks,
    pub(crate) buffer_limit: Option<u32>,
    pub(crate) taken: Taken,
}

/// Which ports others listen on.
pub(crate) type Taken = BTreeMap<Place, Arc<ResourceId>>;

pub(crate) fn taken(gateway: &Gateway) -> Taken {
    let listeners = gateway.listeners.values();
    listeners
        .map(|listener| {
            let place = Place {
                address: listener.address,
                udp: listener.transport == Transport::Quic,
                port: listener.port,
            };
            (place, Arc::clone(&listener.origin.resource))
        })
        .collect()
}

/// What comes of the Gateways.
#[derive(Debug, Default)]
pub(crate) struct Fragment {
    pub(crate) gateway: Gateway,
    pub(crate) report: Report,
    pub(crate) status: Arc<Statuses>,
    pub(crate) infrastructure: Arc<Infrastructure>,
    pub(crate) files: BTreeSet<Arc<str>>,
}

impl Fragment {
    /// Puts it beside what others have made. What both have is the same.
    pub(crate) fn add_to(&self, gateway: &mut Gateway) {
        let own = &self.gateway;
        let all = &mut *gateway;
        all.listeners = own
            .listeners
            .clone()
            .union(std::mem::take(&mut all.listeners));
        let datagrams = own.datagram_listeners.clone();
        all.datagram_listeners = datagrams.union(std::mem::take(&mut all.datagram_listeners));
        all.route_tables = own
            .route_tables
            .clone()
            .union(std::mem::take(&mut all.route_tables));
        all.clusters = own
            .clusters
            .clone()
            .union(std::mem::take(&mut all.clusters));
        all.endpoints = own
            .endpoints
            .clone()
            .union(std::mem::take(&mut all.endpoints));
        all.filters = std::mem::take(&mut all.filters).union(own.filters.clone());
        all.secrets = own.secrets.clone().union(std::mem::take(&mut all.secrets));
    }
}

/// A problem, in the words of a condition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Fault {
    /// As the specification names it.
    reason: &'static str,
    message: String,
}

/// What every step reads and writes.
struct Context<'s> {
    store: &'s Store,
    settings: &'s Settings,
    surroundings: &'s Surroundings,
    report: Report,
    gateway: Gateway,
    files: BTreeSet<Arc<str>>,
    endpoint_reads: EndpointReads,
}

impl<'s> Context<'s> {
    fn new(store: &'s Store, settings: &'s Settings, surroundings: &'s Surroundings) -> Self {
        Self {
            store,
            settings,
            surroundings,
            report: Report::default(),
            gateway: Gateway::default(),
            files: BTreeSet::new(),
            endpoint_reads: EndpointReads::default(),
        }
    }
}

impl Context<'_> {
    /// Reports an error, and has it for a status.
    fn fault(
        &mut self,
        at: &Origin,
        code: Reason,
        reason: &'static str,
        message: impl Into<String>,
        help: impl Into<String>,
    ) -> Fault {
        let message = message.into();
        self.report.error(at, code, message.clone()).help(help);
        Fault { reason, message }
    }

    fn invalid(&mut self, at: &Origin, reason: &'static str, what: Invalid) -> Fault {
        self.fault(at, Reason::InvalidValue, reason, what.message, what.help)
    }

    fn not_permitted(&mut self, at: &Origin, from: From<'_>, to: To<'_>) -> Fault {
        self.fault(
            at,
            Reason::RefInvalid,
            "RefNotPermitted",
            format!(
                "no ReferenceGrant in namespace {} lets kind {} of namespace {} refer to {} {}",
                to.namespace, from.kind, from.namespace, to.kind, to.name
            ),
            format!(
                "write one in namespace {}, or name a {} here",
                to.namespace, to.kind
            ),
        )
    }

    /// The content of a file.
    fn file(&mut self, path: &str) -> Result<Arc<str>, Invalid> {
        whole_path(path)?;
        self.files.insert(path.into());
        self.store.content(path)
    }
}
