//! `ambassador_services`, `ambassador_resolvers` and `tlscontexts`.

use std::collections::BTreeMap;

use nuncio_translate::Element;
use serde::Serialize;
use serde_json::{Value, json};

use super::scene::Scene;

/// Services that all requests meet.
pub(super) fn services(scene: &Scene) -> Vec<Value> {
    let services = scene.served.inventory.services.iter();
    services
        .map(|service| {
            let weight = 100.0 / f64::from(u32::try_from(service.of).unwrap_or(1));
            json!({
                "type": service.kind,
                "_source": service.rkey,
                "name": format!("tcp://{}:{}", service.upstream.host, service.upstream.port),
                "cluster": service.cluster,
                "_service_weight": weight,
            })
        })
        .collect()
}

#[derive(Serialize)]
pub(super) struct ResolverInfo<'a> {
    kind: &'static str,
    _source: &'a str,
    name: &'a str,
    groups: Vec<&'a str>,
}

/// Those that are used, with the keys of the groups that use them.
pub(super) fn resolvers(scene: &Scene) -> Vec<ResolverInfo<'_>> {
    let inventory = &scene.served.inventory;
    let mut groups: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    let http = inventory.groups.iter().map(|group| &group.members);
    let tcp = inventory.tcp_groups.iter().map(|group| &group.members);
    for members in http.chain(tcp) {
        let resolvers = members.iter().filter_map(|member| {
            let upstream = inventory.upstreams.get(member.cluster.as_ref()?)?;
            Some(&*upstream.resolver)
        });
        for resolver in resolvers {
            let keys = groups.entry(resolver).or_default();
            let key = members[0].rkey.as_str();
            if keys.last() != Some(&key) {
                keys.push(key);
            }
        }
    }
    let resolvers = inventory.resolvers.iter();
    resolvers
        .map(|resolver| ResolverInfo {
            kind: resolver.kind,
            _source: resolver.rkey.as_deref().unwrap_or("--internal--"),
            name: &resolver.name,
            groups: groups.remove(&*resolver.name).unwrap_or_default(),
        })
        .collect()
}

/// Names of secrets, never what is in them.
pub(super) fn tls_contexts(scene: &Scene) -> Vec<Value> {
    let contexts = scene.served.inventory.tls_contexts.iter();
    contexts
        .map(|context| {
            let manifest = context.manifest();
            let spec = &manifest["spec"];
            let mut secrets = BTreeMap::new();
            for key in [
                "secret",
                "ca_secret",
                "crl_secret",
                "cert_chain_file",
                "private_key_file",
                "cacert_chain_file",
            ] {
                if let Some(value) = spec.get(key) {
                    secrets.insert(key, value);
                }
            }
            let mut info = json!({
                "kind": "IRTLSContext",
                "name": context.name(),
                "namespace": context.namespace(),
                "location": context.rkey,
                "_rkey": context.rkey,
                "_active": true,
                "_errored": false,
                "_ambassador_enabled": false,
                "is_fallback": false,
                "secret_info": secrets,
            });
            if let (Some(info), Some(spec)) = (info.as_object_mut(), spec.as_object()) {
                let others = spec
                    .iter()
                    .filter(|(key, _)| !secrets.contains_key(&***key));
                info.extend(others.map(|(key, value)| (key.clone(), value.clone())));
            }
            info
        })
        .collect()
}
