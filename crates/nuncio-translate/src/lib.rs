//! From resources to the model: the store, and one front end for each API.
//!
//! ```text
//!  RawObject ──▶ store ──▶ ingress ──▶ getambassador ──▶ Gateway
//!                  │          │              │              + inventory, for the diagnostics
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

use std::collections::BTreeSet;
use std::sync::Arc;

use nuncio_model::{Gateway, Report};

use getambassador::Inventory;
pub use settings::{ReadyPort, Settings};
pub use store::{Element, Object, Scope, Store, Table};

/// What came of the resources.
#[derive(Clone, Debug, Default)]
pub struct Translation {
    pub gateway: Gateway,
    /// In an order that depends only on what it says.
    pub report: Report,
    /// What is in effect, as the diagnostics show it.
    pub inventory: Inventory,
    /// Files that resources name, read or not.
    pub files: BTreeSet<Arc<str>>,
    pub ingress_status: ingress::Status,
}

/// Turns everything in a store into one gateway, with the files that resources name as `read` gives
/// them. The store keeps those until [`Store::forget_files`].
pub fn translate(
    store: &mut Store,
    settings: &Settings,
    read: impl Fn(&str) -> Result<String, String>,
) -> Translation {
    loop {
        let translation = translate_once(store, settings);
        if !store.read_files(&translation.files, &read) {
            return translation;
        }
    }
}

fn translate_once(store: &Store, settings: &Settings) -> Translation {
    let ingresses = ingress::translate(store, settings);
    let mut translation = getambassador::translate(store, settings, &ingresses.made);
    translation.ingress_status = ingresses.status;
    store.as_written(&mut translation.report);
    translation
        .report
        .extend(ingresses.report.entries().iter().cloned());
    translation.report.extend(store.report());
    translation.report.sort();
    translation
}
