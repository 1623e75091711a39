//! The routes that every Host has: liveness, readiness, diagnostics. They are Mappings that nobody
//! wrote.

use std::sync::Arc;

use nuncio_api::getambassador::{self, Mapping};
use nuncio_api::{ObjectMeta, SourceRef};
use nuncio_model::ResourceId;

use super::Context;
use super::clusters::Clusters;
use super::group::{self, Group};
use super::mapping;
use super::module::Probe;
use super::order::{Created, Place};
use crate::store::Object;

const TIMEOUT_MS: i64 = 10_000;

pub(super) fn groups(context: &mut Context<'_>, clusters: &mut Clusters) -> Vec<(Place, Group)> {
    let built_in = context.module.built_in.clone();
    let routes = [
        ("internal_liveness_probe_mapping", built_in.liveness_probe),
        ("internal_readiness_probe_mapping", built_in.readiness_probe),
        ("internal_diagnostics_probe_mapping", built_in.diagnostics),
    ];
    let mut groups = Vec::new();
    for (name, probe) in routes {
        if !probe.enabled {
            continue;
        }
        let object = Arc::new(object(context, name, &probe));
        let parsed = mapping::parse(context, &object);
        let group = parsed.and_then(|parsed| group::built_in(context, clusters, parsed));
        groups.extend(group.map(|group| {
            let created = Created::BuiltIn(groups.len());
            (Place::new(&group.criteria, created), group)
        }));
    }
    groups
}

fn object(context: &Context<'_>, name: &str, probe: &Probe) -> Object<Mapping> {
    let namespace = context.settings.namespace.as_str();
    let service = match &probe.service {
        Some(service) => service.clone(),
        None => context.settings.admin.to_string(),
    };
    Object {
        id: Arc::new(ResourceId::new(
            getambassador::GROUP,
            "Mapping",
            namespace,
            name,
        )),
        meta: Arc::new(ObjectMeta {
            name: name.to_owned(),
            namespace: namespace.to_owned(),
            ..ObjectMeta::default()
        }),
        source: SourceRef::File {
            path: "".into(),
            document: 0,
            item: None,
        },
        rkey: "--internal--".into(),
        part: None,
        spec: Mapping {
            hostname: Some("*".to_owned()),
            prefix: Some(probe.prefix.to_string()),
            // The path is left alone where nothing else is to stand in its place.
            rewrite: Some(match probe.rewrite == probe.prefix {
                true => String::new(),
                false => probe.rewrite.to_string(),
            }),
            service: Some(service),
            timeout_ms: Some(TIMEOUT_MS),
            ..Mapping::default()
        },
    }
}
