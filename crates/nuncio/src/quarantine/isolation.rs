//! Inquiries as Envoy refuses: one at a time, beside everything else.

use std::collections::BTreeSet;
use std::sync::Arc;

use nuncio_envoy_api::resource::ResourceType;
use nuncio_xds::{Refusal, Status};
use tokio::task::JoinHandle;

use super::{Found, Validator};
use crate::engine::Engine;

/// Names a refused version.
type Version = (ResourceType, Arc<str>, Arc<str>);

pub struct Isolation {
    envoy: Option<Validator>,
    running: Option<JoinHandle<Found>>,
    /// What was asked about once is not asked about again.
    asked: BTreeSet<Version>,
}

impl Isolation {
    /// Without an Envoy to ask, nothing is ever found.
    pub fn new(envoy: Option<Validator>) -> Self {
        Self {
            envoy,
            running: None,
            asked: BTreeSet::new(),
        }
    }

    /// Begins to look for what is to blame for what Envoy refuses, unless that is under way.
    pub fn look(&mut self, engine: &Engine, status: &Status) {
        let Some(envoy) = self.envoy.clone().filter(|_| self.running.is_none()) else {
            return;
        };
        let refused: BTreeSet<Version> = status.refused.iter().map(version).collect();
        self.asked.retain(|version| refused.contains(version));
        let asked = &self.asked;
        let new = status
            .refused
            .iter()
            .filter(|refusal| !refusal.may_pass && !asked.contains(&version(refusal)));
        let Some(inquiry) = engine.inquiry(new) else {
            return;
        };
        self.asked.extend(inquiry.refusals.iter().map(version));
        self.running = Some(tokio::spawn(async move { inquiry.run(&envoy).await }));
    }

    /// What an inquiry found, once it has. Dropping the future loses nothing.
    pub async fn found(&mut self) -> Found {
        let Some(running) = &mut self.running else {
            return std::future::pending().await;
        };
        let found = running.await;
        self.running = None;
        found.unwrap_or_else(|error| {
            tracing::error!("looking for what Envoy refuses failed: {error}");
            Found::default()
        })
    }
}

impl Drop for Isolation {
    fn drop(&mut self) {
        if let Some(running) = &self.running {
            running.abort();
        }
    }
}

fn version(refusal: &Refusal) -> Version {
    let (name, version) = (&refusal.name, &refusal.version);
    (refusal.resource_type, Arc::clone(name), Arc::clone(version))
}
