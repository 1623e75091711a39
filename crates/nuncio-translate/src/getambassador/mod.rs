//! Emissary's resources: Listener, Host, Mapping, TCPMapping, TLSContext, Module.
//!
//! ```text
//!  Mapping ──▶ mapping ──▶ group ──▶ (order) ──┐
//!  (checked values)   (canaries, weights)      ├──▶ listener: which Host has which routes
//!  Host, TLSContext ──▶ host ──────────────────┤       └──▶ Gateway
//!  TCPMapping ──▶ tcpmapping ──────────────────┘
//! ```
//!
//! Each file has one kind or one rule. What a field does is said where it is translated.

mod association;
mod binding;
mod builtin;
mod chain;
mod cluster;
mod diagnostics;
mod group;
mod host;
mod listener;
mod mapping;
mod mistake;
mod module;
mod order;
mod redirect;
mod security;
mod service;
mod stack;
mod tcpmapping;
mod tls;
mod unsupported;
mod weight;

use nuncio_model::{Gateway, Report};

pub use diagnostics::{HeaderInfo, MappingInfo, RouteCluster, RouteInfo};

use crate::store::Store;
use crate::{Settings, Translation};

/// What every step reads and writes.
pub(crate) struct Context<'a> {
    store: &'a Store,
    settings: &'a Settings,
    report: Report,
    gateway: Gateway,
    module: module::Module,
}

/// Translates everything that a store has of getambassador.io.
pub fn translate(store: &Store, settings: &Settings) -> Translation {
    let mut context = Context {
        store,
        settings,
        report: Report::default(),
        gateway: Gateway::default(),
        module: module::Module::default(),
    };
    context.module = module::read(&mut context);
    let mut clusters = cluster::Clusters::default();
    let mut groups = group::groups(&mut context, &mut clusters);
    groups.extend(builtin::groups(&mut context, &mut clusters));
    order::sort(&mut groups);
    let hosts = host::hosts(&mut context);
    let tcp_groups = tcpmapping::groups(&mut context, &mut clusters, &hosts);
    listener::listeners(&mut context, &hosts, &groups, &tcp_groups);
    let routes = groups.iter().map(diagnostics::route_info).collect();
    clusters.finish(&mut context);
    Translation {
        gateway: context.gateway,
        report: context.report,
        routes,
    }
}
