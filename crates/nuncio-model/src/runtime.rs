//! Envoy's runtime: flags and numbers that change how it works, read at each use.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::Serialize;

use crate::value::{FiniteNumber, RuntimeKey};

/// Overrides what the bootstrap sets. Empty, Envoy's own values hold.
pub type Runtime = BTreeMap<RuntimeKey, RuntimeValue>;

#[derive(Clone, PartialEq, Debug, Serialize)]
#[serde(untagged)]
pub enum RuntimeValue {
    Bool(bool),
    Number(FiniteNumber),
    Text(Arc<str>),
}
