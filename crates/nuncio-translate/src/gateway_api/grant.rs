//! ReferenceGrants: which references across namespaces count.

use nuncio_api::gateway_api::GROUP;

use crate::store::Store;

/// Who refers: a kind of the Gateway API.
#[derive(Clone, Copy, Debug)]
pub(super) struct From<'a> {
    pub(super) kind: &'a str,
    pub(super) namespace: &'a str,
}

/// What is referred to.
#[derive(Clone, Copy, Debug)]
pub(super) struct To<'a> {
    pub(super) group: &'a str,
    pub(super) kind: &'a str,
    pub(super) namespace: &'a str,
    pub(super) name: &'a str,
}

/// Whether a reference is permitted: within a namespace always.
pub(super) fn permits(store: &Store, from: From<'_>, to: To<'_>) -> bool {
    if from.namespace == to.namespace {
        return true;
    }
    store
        .reference_grants
        .in_namespace(to.namespace)
        .any(|grant| {
            let grant = &grant.spec;
            let is_from = grant.from.iter().any(|each| {
                each.group == GROUP && each.kind == from.kind && each.namespace == from.namespace
            });
            let is_to = grant.to.iter().any(|each| {
                let named = each.name.as_deref().filter(|name| !name.is_empty());
                each.group == to.group
                    && each.kind == to.kind
                    && named.is_none_or(|name| name == to.name)
            });
            is_from && is_to
        })
}
