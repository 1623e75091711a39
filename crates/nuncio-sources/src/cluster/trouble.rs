//! What keeps a kind from being read, told apart by what can be done about it.

use std::sync::Arc;

use kube::api::ApiResource;
use kube::core::Status;
use kube::runtime::watcher;
use nuncio_model::{Entry, Origin, Reason, ResourceId, Severity};

/// Why something could not be read from the API server.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Trouble {
    /// No answer, or one that no API server gives.
    Unreachable(String),
    /// The API server does not know who asks.
    Unauthorized(String),
    /// The API server does not let nuncio read this.
    Forbidden(String),
    /// The API server does not serve this, or not yet.
    Missing,
    /// The API server has something else against it.
    Refused(String),
}

impl Trouble {
    pub(super) fn of(error: &kube::Error) -> Self {
        match error {
            kube::Error::Api(status) => Self::of_status(status),
            error => Self::Unreachable(causes(error)),
        }
    }

    pub(super) fn of_watcher(error: &watcher::Error) -> Self {
        match error {
            watcher::Error::InitialListFailed(error)
            | watcher::Error::WatchStartFailed(error)
            | watcher::Error::WatchFailed(error) => Self::of(error),
            watcher::Error::WatchError(status) => Self::of_status(status),
            watcher::Error::NoResourceVersion => Self::Refused(error.to_string()),
        }
    }

    fn of_status(status: &Status) -> Self {
        let message = status.message.clone();
        match status.code {
            401 => Self::Unauthorized(message),
            403 => Self::Forbidden(message),
            404 => Self::Missing,
            _ => Self::Refused(message),
        }
    }

    /// In the words of whoever said so.
    pub(super) fn message(&self) -> &str {
        match self {
            Self::Unreachable(message)
            | Self::Unauthorized(message)
            | Self::Forbidden(message)
            | Self::Refused(message) => message,
            Self::Missing => "it is not served",
        }
    }

    /// What there is to say of a kind that cannot be read; `None` where it is not about the kind.
    pub(super) fn of_kind(&self, resource: &ApiResource, consequence: &str) -> Option<Entry> {
        let ApiResource { group, plural, .. } = resource;
        let origin = self::resource(resource);
        let (reason, message, help) = match self {
            Self::Unreachable(_) | Self::Unauthorized(_) => return None,
            Self::Forbidden(message) => (
                Reason::Forbidden,
                format!(
                    "nuncio may not list and watch {}: {message}; {consequence}",
                    name(resource)
                ),
                format!(
                    "add to nuncio's ClusterRole: {{apiGroups: [\"{group}\"], resources: \
                     [{plural}], verbs: [get, list, watch]}}"
                ),
            ),
            Self::Refused(_) | Self::Missing => (
                Reason::Unreadable,
                format!(
                    "cannot be listed and watched: {}; {consequence}",
                    self.message()
                ),
                "it is tried again and again; the API server's log says more".to_owned(),
            ),
        };
        let mut entry = Entry::new(&origin, Severity::Error, reason, message);
        entry.help(help);
        Some(entry)
    }

    /// What there is to say of the API server as a whole; `None` where it answers.
    pub(super) fn of_server(&self, url: &str, consequence: &str) -> Option<Entry> {
        let (message, help) = match self {
            Self::Unreachable(message) => (
                format!("cannot be reached: {message}; {consequence}"),
                "it is tried again and again; see whether the address is right and the API server \
                 runs",
            ),
            Self::Unauthorized(message) => (
                format!("does not accept nuncio's credentials: {message}; {consequence}"),
                "renew the token or certificate of the kubeconfig and start nuncio again; a pod's \
                 token is renewed by the kubelet",
            ),
            _ => return None,
        };
        let mut entry = Entry::new(&server(url), Severity::Error, Reason::Unreadable, message);
        entry.help(help);
        Some(entry)
    }
}

/// The API server in the report.
pub(super) fn server(url: &str) -> Origin {
    Origin::new(Arc::new(ResourceId::new("", "APIServer", "", url)))
}

/// A resource of the API server in the report.
pub(super) fn resource(resource: &ApiResource) -> Origin {
    let group = resource.group.as_str();
    Origin::new(Arc::new(ResourceId::new(
        group,
        "APIResource",
        "",
        name(resource),
    )))
}

/// A resource as the API server calls it: `mappings.getambassador.io`.
pub(super) fn name(resource: &ApiResource) -> String {
    match resource.group.as_str() {
        "" => resource.plural.clone(),
        group => format!("{}.{group}", resource.plural),
    }
}

/// An error with what caused it, each said once.
pub(super) fn causes(error: &(dyn std::error::Error + 'static)) -> String {
    let mut said = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let more = error.to_string();
        if !said.contains(&more) {
            said.push_str(": ");
            said.push_str(&more);
        }
        cause = error.source();
    }
    said
}
