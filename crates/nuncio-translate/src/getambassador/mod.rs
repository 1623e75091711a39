//! Emissary's resources: Listener, Host, Mapping, TCPMapping, TLSContext, Module.
//!
//! ```text
//!  Mapping ──▶ mapping ──▶ group ──▶ (order) ──┐
//!  (checked values)   (canaries, weights)      ├──▶ listener: which Host has which routes
//!  Host, TLSContext ──▶ host ──────────────────┤       └──▶ Gateway
//!  TCPMapping ──▶ tcpmapping ──────────────────┘
//! ```
//!
//! Hosts and Mappings that are made of Ingresses come in beside those that users write.
//!
//! Each file has one kind or one rule. What a field does is said where it is translated.

mod association;
mod attached;
mod auth;
mod binding;
mod builtin;
mod chain;
mod cluster;
mod clusters;
mod consul;
mod diagnostics;
mod envoy_admin;
mod external;
mod group;
mod groups;
mod host;
mod kept;
mod labels;
mod listener;
mod log_service;
mod made;
mod mapping;
mod module;
mod order;
mod ratelimit;
mod redirect;
mod resolver;
mod security;
mod service;
mod shadow;
mod share;
mod stack;
mod statistics;
mod taken;
mod tcpmapping;
mod tls;
mod tls_module;
mod tracing;
mod unsupported;

use std::collections::BTreeSet;
use std::sync::Arc;

use nuncio_model::consul::ConsulService;
use nuncio_model::external::Asks;
use nuncio_model::listener::Ready;
use nuncio_model::value::Invalid;
use nuncio_model::{Gateway, Report};

pub(crate) use association::selects;
pub use attached::{Attached, Places};
pub use diagnostics::{
    Access, Condition, HostInfo, HttpGroup, Inventory, MemberInfo, PathKind, ResolverInfo,
    ServiceInfo, TcpGroupInfo, Upstream,
};
pub use group::MemberKind;
pub(crate) use kept::Kept;
pub(crate) use made::{Made, MadeMapping};

use crate::fields::error_response;
use crate::fields::values::whole_path;
use crate::gateway_api::{self, Surroundings};
use crate::store::{self, Changed, Store};
use crate::{EndpointReads, Settings, Translation};

/// What every step reads and writes.
pub(crate) struct Context<'a> {
    store: &'a Store,
    made: &'a Made,
    settings: &'a Settings,
    report: Report,
    gateway: Gateway,
    module: module::Module,
    asks: Asks,
    services: Vec<ServiceInfo>,
    /// Files that resources name.
    files: BTreeSet<Arc<str>>,
    endpoint_reads: EndpointReads,
    /// Services in Consul whose endpoints stand among those of another.
    joined_consul: BTreeSet<Arc<ConsulService>>,
}

impl Context<'_> {
    /// One that has nothing yet, for some work of its own.
    fn beside(&self) -> Self {
        Self {
            store: self.store,
            made: self.made,
            settings: self.settings,
            report: Report::default(),
            gateway: Gateway::default(),
            module: self.module.clone(),
            asks: self.asks.clone(),
            services: Vec::new(),
            files: BTreeSet::new(),
            endpoint_reads: EndpointReads::default(),
            joined_consul: BTreeSet::new(),
        }
    }

    /// Whether it is Gateways alone that say where nuncio listens: then it is no surprise that no
    /// Listener does.
    fn only_gateways_listen(&self) -> bool {
        self.store.listeners.is_empty() && !self.store.gateways.is_empty()
    }

    /// The content of a file that a resource names.
    fn file(&mut self, path: &str) -> Result<Arc<str>, Invalid> {
        whole_path(path)?;
        self.files.insert(path.into());
        self.store.content(path)
    }
}

/// What a translation takes.
pub(crate) struct Input<'a> {
    pub(crate) store: &'a Store,
    pub(crate) settings: &'a Settings,
    pub(crate) made: &'a Made,
    /// What is not as it was the last time.
    pub(crate) changed: &'a Changed,
    pub(crate) made_changed: bool,
}

/// Translates everything that a store has of getambassador.io, and what is made of other resources.
/// What has not changed since the last time is taken as it is kept.
///
/// With it comes what all listeners of nuncio have in common.
pub(crate) fn translate(input: &Input<'_>, kept: &mut Kept) -> (Translation, Surroundings) {
    let (store, settings) = (input.store, input.settings);
    let mut context = Context {
        store,
        made: input.made,
        settings,
        report: Report::default(),
        gateway: Gateway::default(),
        module: module::Module::default(),
        asks: Asks::default(),
        services: Vec::new(),
        files: BTreeSet::new(),
        endpoint_reads: EndpointReads::default(),
        joined_consul: BTreeSet::new(),
    };
    let (module, reads) = store::record(|| module::read(&mut context));
    context.module = module;
    kept.module_read(reads, input.changed);
    context.gateway.ready = settings.ready.map(|ready| Ready {
        address: ready.address,
        port: ready.port,
        access_log: (ready.access_log).then(|| context.module.options.access_log.clone()),
    });
    kept.update(&mut context, input.changed, input.made_changed);
    let Kept {
        groups,
        clusters,
        shadows,
        ..
    } = kept;
    let built_in = builtin::groups(&mut context, clusters);
    let groups = order::merge(groups.in_order(), built_in);
    if let Some(origin) = group::own_error_responses(&groups) {
        let (filters, made) = (&mut context.module.filters, &mut context.gateway);
        error_response::with_filter(filters, made, &origin);
    }
    external::filters(&mut context, clusters);
    log_service::read(&mut context, clusters);
    tracing::read(&mut context, clusters);
    let hosts = host::hosts(&mut context);
    tls_module::check(&mut context);
    resolver::check(&mut context);
    let tcp_groups = tcpmapping::groups(&mut context, clusters, &hosts);
    let sites = listener::listeners(&mut context, &hosts, &groups, &tcp_groups, shadows);
    clusters.finish();
    context.gateway.clusters = clusters.made().clone();
    context.gateway.endpoints = clusters.endpoints().clone();
    let surroundings = Surroundings {
        options: Arc::clone(&context.module.options),
        filters: context.module.filters.clone(),
        late_filters: external::FILTERS.map(Into::into).to_vec(),
        asks: context.asks.clone(),
        buffer_limit: context.module.buffer_limit,
        taken: gateway_api::taken(&context.gateway),
    };
    let inventory = diagnostics::inventory(&context, clusters, &groups, &tcp_groups, &hosts);
    let translation = Translation {
        gateway: context.gateway,
        report: context.report,
        inventory,
        files: context.files,
        attached: Attached::new(groups, sites),
        consul: clusters.consul().cloned().collect(),
        joined_consul: context.joined_consul,
        endpoint_reads: context.endpoint_reads,
        ..Translation::default()
    };
    (translation, surroundings)
}
