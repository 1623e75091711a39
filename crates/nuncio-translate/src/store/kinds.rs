//! Which kinds are read, and what it means that the others are not.

use nuncio_api::RawObject;
use nuncio_api::getambassador::GROUP;
use nuncio_api::ingress;
use nuncio_model::Severity;

use super::schema::nearest;
use crate::ingress::class;

/// The version of getambassador.io that is read.
const VERSION: &str = "v3alpha1";

/// Kinds of getambassador.io that are read.
const HONOURED: &[&str] = &[
    "Host",
    "KubernetesEndpointResolver",
    "KubernetesServiceResolver",
    "Listener",
    "Mapping",
    "Module",
    "TCPMapping",
    "TLSContext",
];

/// Kinds of getambassador.io that nuncio knows but does not honour, and what that means.
const NOT_HONOURED: &[(&str, &str)] = &[
    ("AuthService", "requests are NOT authenticated"),
    ("ConsulResolver", "services in Consul are not found"),
    ("DevPortal", "there is no developer portal"),
    ("Filter", "requests are NOT filtered"),
    ("FilterPolicy", "requests are NOT filtered"),
    ("LogService", "nothing is sent to it"),
    ("RateLimit", "requests are NOT limited"),
    ("RateLimitService", "requests are NOT limited"),
    ("TracingService", "requests are not traced"),
];

/// The group of Edge Stack's newer kinds: all of them decide about requests.
const EDGE_GROUP: &str = "gateway.getambassador.io";

/// The group that only annotations may write, for the sake of old ones.
const OLD_GROUP: &str = "ambassador";

/// The version of Ingress that is read.
pub(super) const INGRESS_VERSION: &str = "v1";

/// The group in which Ingress began.
pub(super) const OLD_INGRESS_GROUP: &str = "extensions";

/// Other groups that say how to route, and are not read.
const OTHER_APIS: &[&str] = &["gateway.networking.k8s.io", "projectcontour.io"];

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

/// Whether a kind of getambassador.io is read.
pub(super) fn check(kind: &str, version: &str) -> Result<(), Refusal> {
    if let Some((_, consequence)) = NOT_HONOURED.iter().find(|(name, _)| *name == kind) {
        return Err(Refusal::new(
            "kind",
            Severity::Error,
            format!("nuncio does not honour {kind} yet: {consequence}"),
            "remove it, or keep another gateway in front until nuncio does".to_owned(),
        ));
    }
    if !HONOURED.contains(&kind) {
        let known = HONOURED
            .iter()
            .copied()
            .chain(NOT_HONOURED.iter().map(|(name, _)| *name));
        return Err(Refusal::new(
            "kind",
            Severity::Error,
            format!("{GROUP} has no kind {kind}"),
            match nearest(kind, known) {
                Some(near) => format!("did you mean {near}?"),
                None => format!("the kinds that are read are {}", HONOURED.join(", ")),
            },
        ));
    }
    if version != VERSION {
        return Err(Refusal::new(
            "apiVersion",
            Severity::Error,
            format!("{kind} is read as {GROUP}/{VERSION} only, not as {version}"),
            format!("write apiVersion: {GROUP}/{VERSION}, with the fields of that version"),
        ));
    }
    Ok(())
}

/// What there is to say of a kind of another group that is not read. Most are none of nuncio's
/// business.
pub(super) fn other(group: &str, version: &str, kind: &str) -> Option<Refusal> {
    if group == OLD_GROUP {
        return Some(Refusal::new(
            "apiVersion",
            Severity::Error,
            format!("{kind} is read as {GROUP}/{VERSION} only, not as {OLD_GROUP}/{version}"),
            format!("write apiVersion: {GROUP}/{VERSION}, with the fields of that version"),
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
        assert!(check("Mapping", "v3alpha1").is_ok());
        assert!(
            said("AuthService", "v2")
                .message
                .ends_with("requests are NOT authenticated")
        );
        let old = said("Mapping", "v1");
        assert_eq!(
            (old.field, old.message.as_str()),
            (
                "apiVersion",
                "Mapping is read as getambassador.io/v3alpha1 only, not as v1"
            )
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
            severity("gateway.networking.k8s.io", "HTTPRoute"),
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
