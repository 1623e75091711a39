//! Which kinds are read, and what it means that the others are not.

use nuncio_api::RawObject;
use nuncio_api::getambassador::GROUP;
use nuncio_api::getambassador::conversion::{Version, versions};
use nuncio_api::{gateway_api, ingress, policy};
use nuncio_model::Severity;

use super::schema::nearest;
use crate::ingress::class;

/// Kinds of getambassador.io that are read.
const READ: &[&str] = &[
    "AuthService",
    "ConsulResolver",
    "DevPortal",
    "Host",
    "KubernetesEndpointResolver",
    "KubernetesServiceResolver",
    "Listener",
    "LogService",
    "Mapping",
    "Module",
    "RateLimitService",
    "TCPMapping",
    "TLSContext",
    "TracingService",
];

/// Kinds of getambassador.io that are not honoured, and what that means. Those that are read are
/// checked all the same.
const NOT_HONOURED: &[(&str, &str)] = &[
    ("DevPortal", "there is no developer portal"),
    ("Filter", "requests are NOT filtered"),
    ("FilterPolicy", "requests are NOT filtered"),
    ("RateLimit", "requests are NOT limited"),
];

/// Kinds that only v0 had, what their absence means, and what to write instead.
const GONE: &[(&str, &str, &str)] = &[
    (
        "CircuitBreaker",
        "no limit holds",
        "write its limits in each Mapping: circuit_breakers: [{max_connections: …}]",
    ),
    (
        "OutlierDetection",
        "failing endpoints are not ejected",
        "write health_checks in each Mapping, or remove it",
    ),
];

/// The group of Edge Stack's newer kinds: all of them decide about requests.
const EDGE_GROUP: &str = "gateway.getambassador.io";

/// The group that only annotations may write, for the sake of old ones.
const OLD_GROUP: &str = "ambassador";

/// The version of Ingress that is read.
pub(super) const INGRESS_VERSION: &str = "v1";

/// The group in which Ingress began.
pub(super) const OLD_INGRESS_GROUP: &str = "extensions";

/// Other groups that say how to route, of which a kind that comes here is not read.
const OTHER_APIS: &[&str] = &[gateway_api::GROUP, "projectcontour.io"];

/// Why an object is not read.
#[derive(Debug)]
pub(super) struct Refusal {
    pub(super) field: &'static str,
    pub(super) severity: Severity,
    pub(super) message: String,
    pub(super) help: String,
}

impl Refusal {
    fn new(field: &'static str, severity: Severity, message: String, help: String) -> Self {
        Self {
            field,
            severity,
            message,
            help,
        }
    }
}

/// The version in which a kind of getambassador.io is read.
pub(super) fn check(kind: &str, version: &str) -> Result<Version, Refusal> {
    if !READ.contains(&kind) {
        return Err(unread(kind));
    }
    let versions = versions(kind);
    match Version::parse(version).filter(|version| versions.contains(version)) {
        Some(version) => Ok(version),
        None => {
            let known: Vec<&str> = versions.iter().map(|version| version.as_str()).collect();
            Err(Refusal::new(
                "apiVersion",
                Severity::Error,
                format!("{kind} is read as {}, not as {version}", known.join(", ")),
                format!("write apiVersion: {GROUP}/v3alpha1, with the fields of that version"),
            ))
        }
    }
}

/// What there is to say of a kind of getambassador.io that has no effect.
pub(super) fn not_honoured(kind: &str) -> Option<Refusal> {
    let (_, consequence) = NOT_HONOURED.iter().find(|(name, _)| *name == kind)?;
    Some(Refusal::new(
        "kind",
        Severity::Error,
        format!("nuncio does not honour {kind} yet: {consequence}"),
        "remove it, or keep another gateway in front until nuncio does".to_owned(),
    ))
}

fn unread(kind: &str) -> Refusal {
    if let Some(refusal) = not_honoured(kind) {
        return refusal;
    }
    if let Some((_, consequence, help)) = GONE.iter().find(|(name, ..)| *name == kind) {
        return Refusal::new(
            "kind",
            Severity::Error,
            format!("no version of {GROUP} after v0 has {kind}: {consequence}"),
            (*help).to_owned(),
        );
    }
    let honoured = READ
        .iter()
        .copied()
        .filter(|kind| not_honoured(kind).is_none());
    let known = READ
        .iter()
        .copied()
        .chain(NOT_HONOURED.iter().map(|(name, _)| *name));
    Refusal::new(
        "kind",
        Severity::Error,
        format!("{GROUP} has no kind {kind}"),
        match nearest(kind, known) {
            Some(near) => format!("did you mean {near}?"),
            None => {
                let honoured: Vec<&str> = honoured.collect();
                format!("the kinds that are read are {}", honoured.join(", "))
            }
        },
    )
}

/// What there is to say of a kind of another group that is not read. Most are none of nuncio's
/// business.
pub(super) fn other(group: &str, version: &str, kind: &str) -> Option<Refusal> {
    if group == OLD_GROUP {
        return Some(Refusal::new(
            "apiVersion",
            Severity::Error,
            format!("{kind} is read as {OLD_GROUP}/{version} only in annotations"),
            format!("write apiVersion: {GROUP}/{version}"),
        ));
    }
    if group == EDGE_GROUP {
        return Some(Refusal::new(
            "kind",
            Severity::Error,
            format!("nuncio does not honour {kind} of {group} yet: requests are NOT filtered"),
            "remove it, or keep another gateway in front until nuncio does".to_owned(),
        ));
    }
    if group == policy::GROUP {
        return Some(Refusal::new(
            "kind",
            Severity::Error,
            format!("{group} has no kind {kind}"),
            "write kind: RoutePolicy".to_owned(),
        ));
    }
    OTHER_APIS.contains(&group).then(|| {
        Refusal::new(
            "kind",
            Severity::Warning,
            format!("nuncio does not read {kind} of {group} yet: it has no effect"),
            "write a Mapping".to_owned(),
        )
    })
}

/// What there is to say of an Ingress of a version that Kubernetes no longer has. One that names
/// another class is none of nuncio's business; of one that names none in an annotation it is not
/// sure.
pub(super) fn old_ingress(object: &RawObject) -> Option<Refusal> {
    let severity = match class::annotated(&object.meta) {
        Some(true) => Severity::Error,
        Some(false) => return None,
        None => Severity::Warning,
    };
    Some(Refusal::new(
        "apiVersion",
        severity,
        format!(
            "Ingress is read as {}/{INGRESS_VERSION} only, not as {}: it has no effect",
            ingress::GROUP,
            object.api_version
        ),
        format!(
            "write apiVersion: {}/{INGRESS_VERSION}, in each path pathType and backend.service with \
             name and port, and defaultBackend for backend; `kubectl convert` does it",
            ingress::GROUP
        ),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_read_says_what_that_means() {
        let said = |kind, version| check(kind, version).unwrap_err();
        assert_eq!(check("Mapping", "v3alpha1").unwrap(), Version::V3alpha1);
        assert_eq!(check("AuthService", "v0").unwrap(), Version::V0);
        let consequence = |kind| not_honoured(kind).unwrap().message;
        assert!(consequence("Filter").ends_with("requests are NOT filtered"));
        assert!(
            said("Filter", "v1")
                .message
                .ends_with("requests are NOT filtered")
        );
        let old = said("Host", "v1");
        assert_eq!(
            (old.field, old.message.as_str()),
            ("apiVersion", "Host is read as v2, v3alpha1, not as v1")
        );
        assert!(
            said("CircuitBreaker", "v0")
                .help
                .contains("circuit_breakers")
        );
        assert_eq!(said("Maping", "v3alpha1").help, "did you mean Mapping?");
        assert_eq!(
            said("TlsContext", "v3alpha1").help,
            "did you mean TLSContext?"
        );
        assert!(said("Xyzzy", "v3alpha1").help.contains("Host, Kubernetes"));
    }

    #[test]
    fn other_groups_matter_only_where_they_say_how_to_route() {
        let severity = |group, kind| other(group, "v1", kind).map(|refusal| refusal.severity);
        assert_eq!(severity("apps", "Deployment"), None);
        assert_eq!(severity("networking.k8s.io", "NetworkPolicy"), None);
        assert_eq!(
            severity("gateway.networking.k8s.io", "MeshRoute"),
            Some(Severity::Warning)
        );
        assert_eq!(
            severity("projectcontour.io", "HTTPProxy"),
            Some(Severity::Warning)
        );
        assert_eq!(severity("ambassador", "Mapping"), Some(Severity::Error));
        assert_eq!(
            severity("gateway.getambassador.io", "WebApplicationFirewall"),
            Some(Severity::Error)
        );
    }
}
