//! Compares two gateways, object by object.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use nuncio_model::cluster::{Cluster, EndpointSet};
use nuncio_model::listener::{FilterChain, Listener};
use nuncio_model::tls::{Secret, SecretKind};
use nuncio_model::{Gateway, Named, Origin};
use serde_json::Value;

use super::fields::{Field, fields, value};
use super::{Change, Changes, Kind, drain, routes, words};

/// What is different for traffic. Where an object comes from is not.
pub fn compare(old: &Gateway, new: &Gateway) -> Changes {
    let runtime = |gateway: &Gateway| value(&gateway.runtime, &[]);
    Changes {
        listeners: listeners(old, new),
        virtual_hosts: routes::virtual_hosts(old, new),
        clusters: clusters(old, new),
        endpoints: endpoints(old, new),
        certificates: certificates(old, new),
        filters: objects(
            (&old.filters, &new.filters),
            |name, _| name.to_owned(),
            |filter| Some(&filter.origin),
            |old, new| fields(&value(old, &[]), &value(new, &[])),
        ),
        runtime: fields(&runtime(old), &runtime(new)),
        drains: drain::drains(old, new),
    }
}

/// Compares objects by their names.
fn objects<T>(
    (old, new): (&Named<T>, &Named<T>),
    what: impl Fn(&str, &T) -> String,
    origin: impl Fn(&T) -> Option<&Origin>,
    differences: impl Fn(&T, &T) -> Vec<Field>,
) -> Vec<Change> {
    let names: BTreeSet<_> = old.keys().chain(new.keys()).collect();
    let change = |name: &Arc<str>| {
        let (kind, object, fields) = match (old.get(name), new.get(name)) {
            (None, None) => return None,
            (None, Some(new)) => (Kind::Added, new, Vec::new()),
            (Some(old), None) => (Kind::Removed, old, Vec::new()),
            (Some(old), Some(new)) => (Kind::Changed, new, differences(old, new)),
        };
        let resource = origin(object).map(|origin| origin.resource.to_string());
        (kind != Kind::Changed || !fields.is_empty()).then(|| Change {
            kind,
            what: what(name, object),
            resource,
            fields,
        })
    };
    names.into_iter().filter_map(change).collect()
}

fn listeners(old: &Gateway, new: &Gateway) -> Vec<Change> {
    let mut changes = objects(
        (&old.listeners, &new.listeners),
        |_, listener| words::listener(listener),
        |listener| Some(&listener.origin),
        |old, new| {
            let mut found = listener_fields(old, new);
            for chain in chains(old, new) {
                found.extend(chain.fields());
            }
            found
        },
    );
    let found = ready_fields(old, new);
    if !found.is_empty() {
        changes.push(Change {
            kind: Kind::Changed,
            what: "ready".to_owned(),
            resource: None,
            fields: found,
        });
    }
    changes
}

/// Fields of the port for probes.
pub(super) fn ready_fields(old: &Gateway, new: &Gateway) -> Vec<Field> {
    let ready = |gateway: &Gateway| value(&gateway.ready, &[]);
    fields(&ready(old), &ready(new))
}

/// Fields of the listener itself.
pub(super) fn listener_fields(old: &Listener, new: &Listener) -> Vec<Field> {
    let own = |listener| value(listener, &["filter_chains", "name"]);
    fields(&own(old), &own(new))
}

/// A filter chain that is not on both sides as it is.
pub(super) struct ChainChange<'g> {
    pub(super) name: &'g str,
    pub(super) kind: Kind,
    differences: Vec<Field>,
}

impl ChainChange<'_> {
    /// As fields of its listener.
    pub(super) fn fields(self) -> Vec<Field> {
        let place = format!("filter_chains[{}]", self.name);
        let there = || Value::from("there");
        match self.kind {
            Kind::Added => vec![Field::new(place, Value::Null, there())],
            Kind::Removed => vec![Field::new(place, there(), Value::Null)],
            Kind::Changed | Kind::Moved => {
                let name = |field: Field| Field {
                    field: format!("{place}.{}", field.field),
                    ..field
                };
                self.differences.into_iter().map(name).collect()
            }
        }
    }

    pub(super) fn changed_fields(&self) -> &[Field] {
        &self.differences
    }
}

/// Filter chains by name, in the order of the names.
pub(super) fn chains<'g>(old: &'g Listener, new: &'g Listener) -> Vec<ChainChange<'g>> {
    type Sides<'g> = (Option<&'g FilterChain>, Option<&'g FilterChain>);
    let mut by_name: BTreeMap<&str, Sides<'g>> = BTreeMap::new();
    for chain in &old.filter_chains {
        by_name.entry(&chain.name).or_default().0 = Some(chain);
    }
    for chain in &new.filter_chains {
        by_name.entry(&chain.name).or_default().1 = Some(chain);
    }
    let change = |(name, sides): (&'g str, Sides<'g>)| {
        let (kind, differences) = match sides {
            (Some(old), Some(new)) => {
                let own = |chain: &FilterChain| value(chain, &["name"]);
                (Kind::Changed, fields(&own(old), &own(new)))
            }
            (None, _) => (Kind::Added, Vec::new()),
            (_, None) => (Kind::Removed, Vec::new()),
        };
        (kind != Kind::Changed || !differences.is_empty()).then_some(ChainChange {
            name,
            kind,
            differences,
        })
    };
    by_name.into_iter().filter_map(change).collect()
}

fn clusters(old: &Gateway, new: &Gateway) -> Vec<Change> {
    objects(
        (&old.clusters, &new.clusters),
        |name, cluster: &Cluster| format!("{name} ({})", words::upstream(cluster)),
        |cluster| Some(&cluster.origin),
        |old, new| {
            let own = |cluster| value(cluster, &["name"]);
            fields(&own(old), &own(new))
        },
    )
}

fn endpoints(old: &Gateway, new: &Gateway) -> Vec<Change> {
    let places = |set: &EndpointSet| -> Value {
        let place = |e: &nuncio_model::cluster::Endpoint| {
            std::net::SocketAddr::new(e.address, e.port).to_string()
        };
        set.endpoints.iter().map(place).collect::<Vec<_>>().into()
    };
    objects(
        (&old.endpoints, &new.endpoints),
        |name, _| name.to_owned(),
        |set| Some(&set.origin),
        |old, new| {
            let (from, to) = (places(old), places(new));
            match from == to {
                true => Vec::new(),
                false => vec![Field::new("addresses", from, to)],
            }
        },
    )
}

fn certificates(old: &Gateway, new: &Gateway) -> Vec<Change> {
    objects(
        (&old.secrets, &new.secrets),
        |name, _| name.to_owned(),
        |secret| Some(&secret.origin),
        secret_differences,
    )
}

/// What is in a secret is nobody's to read: only that it is another.
fn secret_differences(old: &Secret, new: &Secret) -> Vec<Field> {
    let another = |field: &str| Field::new(field, "this", "another");
    let mut found = Vec::new();
    match (&old.kind, &new.kind) {
        (
            SecretKind::Certificate { chain, key, .. },
            SecretKind::Certificate {
                chain: new_chain,
                key: new_key,
                ..
            },
        ) => {
            found.extend((chain != new_chain).then(|| another("certificate")));
            found.extend((key != new_key).then(|| another("key")));
        }
        (SecretKind::Validation(old), SecretKind::Validation(new)) => {
            found.extend((old.trusted_ca != new.trusted_ca).then(|| another("authorities")));
            found.extend((old.crl != new.crl).then(|| another("revoked certificates")));
        }
        _ => found.push(another("kind")),
    }
    found
}
