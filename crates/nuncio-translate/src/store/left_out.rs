//! What is left out: there, readable, and without effect.

use std::borrow::Cow;
use std::collections::BTreeSet;

use nuncio_api::ObjectKey;
use nuncio_model::Origin;
use serde_json::Value;

use super::{Object, Read, Store, key_of};

/// Where the keys of a Module stand.
const CONFIG: &str = "spec.config.";

impl Store {
    /// Leaves these out, and nothing else: a resource as a whole, or with a field
    /// `spec.config.<key>` one key of a Module. The same resources with the same left out are the
    /// same store, in whatever order it came about.
    pub fn leave_out(&mut self, left_out: BTreeSet<Origin>) {
        let before = std::mem::replace(&mut self.left_out, left_out);
        for (counts, changed) in [
            (true, &before - &self.left_out),
            (false, &self.left_out - &before),
        ] {
            for at in changed.iter().filter(|at| at.field.is_empty()) {
                self.count(&key_of(&at.resource), counts);
            }
            if changed.iter().any(|at| !at.field.is_empty()) {
                self.tracker.change(Read::Table("modules"));
            }
        }
    }

    /// An object that was read again stays left out.
    pub(super) fn keep_left_out(&mut self, key: &ObjectKey) {
        if self.left_out.is_empty() {
            return;
        }
        let mut whole = self.left_out.iter().filter(|at| at.field.is_empty());
        if whole.any(|at| key_of(&at.resource) == *key) {
            self.count(key, false);
        }
    }

    /// A Module without those of its keys that are left out.
    pub(super) fn without_left_out<'o>(&self, module: &'o Object<Value>) -> Cow<'o, Object<Value>> {
        let mut module = Cow::Borrowed(module);
        for at in &self.left_out {
            if let Some(key) = at.field.strip_prefix(CONFIG)
                && at.resource == module.id
                && let Some(config) = module.to_mut().spec.get_mut("config")
                && let Some(config) = config.as_object_mut()
            {
                config.remove(key);
            }
        }
        module
    }
}
