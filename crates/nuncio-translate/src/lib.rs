//! From resources to the model: the store, and one front end for each API.
//!
//! ```text
//!  RawObject ──▶ store ──▶ ingress ──▶ getambassador ──▶ Gateway
//!                  │          │              │              + routes, as the diagnostics list them
//!                  └────── report ◀──────────┘
//! ```
//!
//! Everything here is pure: no I/O, no clock, no async. Nothing here fails: what is wrong with a
//! resource is an entry of the report.

pub mod certificate;
pub mod getambassador;
pub mod ingress;
pub mod resolve;
mod settings;
pub mod store;

use nuncio_model::{Gateway, Report};

use getambassador::RouteInfo;
pub use settings::Settings;
pub use store::{Object, Scope, Store, Table};

/// What came of the resources.
#[derive(Clone, Debug, Default)]
pub struct Translation {
    pub gateway: Gateway,
    /// In an order that depends only on what it says.
    pub report: Report,
    /// The routes as the diagnostics list them, in the order in which they match.
    pub routes: Vec<RouteInfo>,
    pub ingress_status: ingress::Status,
}

/// Turns everything in a store into one gateway.
pub fn translate(store: &Store, settings: &Settings) -> Translation {
    let ingresses = ingress::translate(store, settings);
    let mut translation = getambassador::translate(store, settings, &ingresses.made);
    translation.ingress_status = ingresses.status;
    translation
        .report
        .extend(ingresses.report.entries().iter().cloned());
    translation.report.extend(store.report());
    translation.report.sort();
    translation
}
