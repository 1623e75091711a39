//! Which kinds are watched.

use kube::api::{ApiResource, GroupVersionKind};
use nuncio_api::{gateway_api, policy};

/// A kind, whatever its version: API group and name.
pub(super) type KindId = (Box<str>, Box<str>);

/// A kind that is watched, in one of its versions.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Kind {
    pub(super) resource: ApiResource,
    pub(super) namespaced: bool,
    /// What the kind's objects are selected by, beside what the user says.
    pub(super) fields: Option<&'static str>,
}

impl Kind {
    pub(super) fn id(&self) -> KindId {
        let ApiResource { group, kind, .. } = &self.resource;
        (group.as_str().into(), kind.as_str().into())
    }
}

/// The groups whose custom resources are watched, each kind that they have.
pub(super) const CUSTOM_GROUPS: &[&str] = &[
    "getambassador.io",
    "gateway.getambassador.io",
    gateway_api::GROUP,
    policy::GROUP,
];

/// Versions of a custom resource, the one that is asked for first. All of them are understood; the
/// newest is what the API server has least to convert.
const PREFERRED_VERSIONS: &[&str] = &["v3alpha1", "v2", "v1"];

/// Secrets that hold no certificate and are many or large.
const NOT_FOR_TLS: &str = "type!=helm.sh/release.v1,type!=kubernetes.io/service-account-token,\
                           type!=kubernetes.io/dockercfg,type!=kubernetes.io/dockerconfigjson,\
                           type!=bootstrap.kubernetes.io/token";

/// What the kinds of the Gateway API refer to and nothing else does: followed where there are any.
pub(super) fn for_gateway_api(custom: &[Kind]) -> Vec<Kind> {
    let is_meant = |kind: &Kind| kind.resource.group == gateway_api::GROUP;
    if !custom.iter().any(is_meant) {
        return Vec::new();
    }
    vec![
        core_kind("Namespace", "namespaces", false),
        core_kind("ConfigMap", "configmaps", true),
    ]
}

fn core_kind(kind: &str, plural: &str, namespaced: bool) -> Kind {
    self::kind("", kind, plural, namespaced)
}

fn kind(group: &str, kind: &str, plural: &str, namespaced: bool) -> Kind {
    let gvk = GroupVersionKind::gvk(group, "v1", kind);
    Kind {
        resource: ApiResource::from_gvk_with_plural(&gvk, plural),
        namespaced,
        fields: None,
    }
}

/// Secrets, but for those that can hold no certificate.
pub(super) fn secrets() -> Kind {
    Kind {
        fields: Some(NOT_FOR_TLS),
        ..core_kind("Secret", "secrets", true)
    }
}

/// What every cluster has. Endpoints are not among it: each of them is an EndpointSlice too.
pub(super) fn built_in() -> Vec<Kind> {
    vec![
        secrets(),
        core_kind("Service", "services", true),
        kind("discovery.k8s.io", "EndpointSlice", "endpointslices", true),
        kind("networking.k8s.io", "Ingress", "ingresses", true),
        kind("networking.k8s.io", "IngressClass", "ingressclasses", false),
    ]
}

/// The version to ask for of those that are served.
pub(super) fn preferred<'a>(served: &[&'a str]) -> Option<&'a str> {
    let known = PREFERRED_VERSIONS
        .iter()
        .find_map(|version| served.iter().find(|served| *served == version));
    known.or_else(|| served.first()).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_version_that_is_served_is_asked_for() {
        assert_eq!(preferred(&["v1", "v2", "v3alpha1"]), Some("v3alpha1"));
        assert_eq!(preferred(&["v1", "v2"]), Some("v2"));
        assert_eq!(preferred(&["v1alpha1"]), Some("v1alpha1"));
        assert_eq!(preferred(&[]), None);
    }
}
