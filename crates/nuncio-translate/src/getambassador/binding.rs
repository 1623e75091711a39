//! Which Hosts a Listener serves (`hostBinding`), and which Mappings each of them takes.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use nuncio_api::getambassador::{Listener, NamespaceFrom};
use nuncio_model::Reason;
use nuncio_model::listener::Transport;
use nuncio_model::value::Domain;

use super::Context;
use super::association::{selects, unknown_operator};
use super::chain;
use super::group::Group;
use super::host::Host;
use super::listener::Reported;
use super::mapping::Association;
use super::stack::Stack;
use super::taken::{self, Taken};
use crate::fields::mistake::Mistake;
use crate::store::Object;

/// A Host on a Listener.
pub(super) struct Bound<'h> {
    pub(super) host: &'h Host,
    /// Indices of the groups that may answer its requests, in order.
    pub(super) groups: Arc<[usize]>,
    /// What it takes of itself.
    pub(super) taken: Taken,
}

/// Whether a binding can be read.
pub(super) fn check(context: &mut Context<'_>, object: &Object<Listener>) -> Result<(), Mistake> {
    let missing = |message: &str| {
        Mistake::because(
            "spec.hostBinding",
            Reason::MissingField,
            message,
            "write hostBinding: {namespace: {from: ALL}} to serve every Host",
        )
    };
    let binding = object.spec.host_binding.as_ref();
    let binding = binding.ok_or_else(|| missing("hostBinding is required"))?;
    let namespace = binding.namespace.as_ref();
    let from = namespace.and_then(|namespace| namespace.from);
    if from.is_none() && binding.selector.is_none() {
        return Err(missing(
            "hostBinding must have at least one of namespace or selector",
        ));
    }
    if from == Some(NamespaceFrom::Selector) {
        context
            .report
            .error(
                &object.at("spec.hostBinding.namespace.from"),
                Reason::NotSupported,
                "hostBinding.namespace.from=selector is not yet supported; SELF is used",
            )
            .help("write SELF or ALL");
    }
    if from != Some(NamespaceFrom::Selector) && namespace.is_some_and(|n| n.selector.is_some()) {
        context
            .report
            .notice(
                &object.at("spec.hostBinding.namespace.selector"),
                Reason::NoEffect,
                "hostBinding.namespace.selector has no effect: Hosts are taken by their own labels",
            )
            .help("write hostBinding.selector, or remove it");
    }
    if let Some((index, operator)) = binding.selector.as_ref().and_then(unknown_operator) {
        return Err(Mistake::new(
            format!("spec.hostBinding.selector.matchExpressions[{index}].operator"),
            format!("\"{operator}\" is not an operator"),
            "write In, NotIn, Exists or DoesNotExist",
        ));
    }
    Ok(())
}

/// The Hosts that the Listener serves.
pub(super) fn bound<'h>(
    context: &mut Context<'_>,
    object: &Object<Listener>,
    stack: Stack,
    hosts: &'h [Host],
    index: &mut taken::Index<'_>,
    reported: &mut Reported,
) -> Vec<Bound<'h>> {
    let Some(binding) = object.spec.host_binding.as_ref() else {
        return Vec::new();
    };
    let namespace = binding.namespace.as_ref();
    let all = namespace.and_then(|namespace| namespace.from) == Some(NamespaceFrom::All);
    let mut taken: HashMap<&Domain, usize> = HashMap::new();
    let mut bound: Vec<(&'h Host, Taken)> = Vec::new();
    for host in hosts.iter().filter(|_| stack.http) {
        let near = all || host.namespace == object.namespace();
        let selected = binding
            .selector
            .as_ref()
            .is_none_or(|selector| selects(selector, &host.labels));
        if !near || !selected || !can_serve(context, stack, host, reported) {
            continue;
        }
        // The first counts, for TLS and cleartext alike.
        if let Some(at) = taken.get(&host.hostname) {
            // Why it has no effect is said.
            if host.closed {
                continue;
            }
            let first = bound[*at].0;
            let same = host.made && first.same_tls(host, &context.gateway);
            if !same && reported.duplicates.insert(host.key()) {
                let (whose, hostname) = (&first.origin.resource, &host.hostname);
                let (message, help) = if host.made && first.made {
                    (
                        format!("{whose} has another certificate for {hostname}, which counts"),
                        "use the same certificate in both",
                    )
                } else if first.closed {
                    (
                        format!(
                            "{whose} has the hostname {hostname} too, and counts, though it is not \
                             in effect: another must not answer for what it may protect"
                        ),
                        "mend it, or remove one of them",
                    )
                } else {
                    (
                        format!("{whose} has the hostname {hostname} too, and counts"),
                        "give one of them another hostname, or merge them",
                    )
                };
                context
                    .report
                    .error(&host.at("spec.hostname"), Reason::Conflict, message)
                    .help(help);
            }
            if host.made && first.made {
                // A hostname may stand in the rules of several.
                bound[*at].1.add(index.taken(host));
            }
            continue;
        }
        taken.insert(&host.hostname, bound.len());
        if !host.closed {
            reported.served.insert(Arc::clone(&host.origin.resource));
        }
        bound.push((host, index.taken(host)));
    }
    let lists = index.lists(&bound);
    let bound = bound.into_iter().zip(lists);
    bound
        .map(|((host, taken), groups)| Bound {
            host,
            groups,
            taken,
        })
        .collect()
}

/// QUIC is TLS 1.3, and nothing else.
fn can_serve(
    context: &mut Context<'_>,
    stack: Stack,
    host: &Host,
    reported: &mut Reported,
) -> bool {
    if stack.transport == Transport::Tcp || host.closed {
        return true;
    }
    let Some(tls) = &host.tls else { return false };
    let Some(why) = chain::why_not_quic(&tls.termination) else {
        return true;
    };
    if reported.without_http3.insert(host.key()) {
        context
            .report
            .warning(
                &host.origin,
                Reason::NotSupported,
                format!("it is not served over HTTP/3: {why}"),
            )
            .help("over TCP it is in effect as it is written");
    }
    false
}

/// Says which Mappings no Host takes.
pub(super) fn not_bound(context: &mut Context<'_>, groups: &[Arc<Group>], bound: &HashSet<usize>) {
    for (_, group) in groups
        .iter()
        .enumerate()
        .filter(|(index, group)| !group.built_in && !bound.contains(index))
    {
        let (message, help) = match &group.association {
            Association::Hostname(hostname) => (
                format!("no Host takes it: none has a hostname that matches {hostname}"),
                "write a Host for that name, or a hostname that a Host has; a Host with a \
                 mappingSelector takes only Mappings with its labels",
            ),
            _ => (
                "no Host takes it: it has no hostname, and no Host selects it by its labels"
                    .to_owned(),
                "write hostname: \"*\" to serve it under every Host",
            ),
        };
        for member in &group.members {
            context
                .report
                .warning(&member.object.origin(), Reason::NotBound, message.clone())
                .help(help);
        }
    }
}
