//! Which connections of clients Envoy ends, by its own rules: a filter chain that is another drains
//! its connections, a field of the listener all of them. A route, a cluster, a filter's settings or a
//! certificate drain nothing.

use nuncio_model::Gateway;
use nuncio_model::listener::Listener;

use super::compare::{chains, listener_fields, ready_fields};
use super::{Drain, Field, Kind};

pub(super) fn drains(old: &Gateway, new: &Gateway) -> Vec<Drain> {
    let mut drains = Vec::new();
    for (name, before) in &old.listeners {
        match new.listeners.get(name) {
            Some(after) => drains.extend(of_listener(before, after)),
            None => drains.push(Drain {
                listener: name.to_string(),
                filter_chain: None,
                why: gone(before, new),
            }),
        }
    }
    if let Some(before) = &old.ready {
        let changed = ready_fields(old, new);
        drains.extend((!changed.is_empty()).then(|| Drain {
            listener: before.name(),
            filter_chain: None,
            why: names(&changed),
        }));
    }
    drains
}

/// To Envoy a listener with another name is another listener, also on the same port.
fn gone(listener: &Listener, new: &Gateway) -> String {
    let place = |listener: &Listener| (listener.transport, listener.address, listener.port);
    let mut others = new.listeners.values();
    match others.find(|other| place(other) == place(listener)) {
        Some(other) => format!("{} has its port", other.name),
        None => "it is removed".to_owned(),
    }
}

fn of_listener(old: &Listener, new: &Listener) -> Vec<Drain> {
    let drain = |filter_chain: Option<&str>, why| Drain {
        listener: old.name.to_string(),
        filter_chain: filter_chain.map(str::to_owned),
        why,
    };
    let own = listener_fields(old, new);
    if !own.is_empty() {
        return vec![drain(None, names(&own))];
    }
    let chains = chains(old, new).into_iter();
    chains
        .filter_map(|chain| match chain.kind {
            Kind::Removed => Some(drain(Some(chain.name), "it is removed".to_owned())),
            Kind::Changed => Some(drain(Some(chain.name), names(chain.changed_fields()))),
            Kind::Added | Kind::Moved => None,
        })
        .collect()
}

fn names(fields: &[Field]) -> String {
    let names: Vec<&str> = fields.iter().map(|field| field.field.as_str()).collect();
    format!("{} changes", names.join(", "))
}
