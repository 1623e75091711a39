//! Envoy's runtime: flags and numbers that change how it works, read at each use.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::value::RuntimeKey;

/// Overrides what the bootstrap sets. Empty, Envoy's own values hold.
pub type Runtime = BTreeMap<RuntimeKey, RuntimeValue>;

#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(untagged)]
pub enum RuntimeValue {
    Bool(bool),
    Number(u32),
}
