//! Secrets: of all that a cluster has only those are held that something refers to.
//!
//! At a start it is not known which those are, so all are read, and nobody sees a configuration
//! without its certificates. From then on whoever reads them says which count: of the others the
//! watch tells, and nothing of that is kept. One that begins to count is asked for by its name.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::mpsc::{Sender, channel};

use kube::api::ListParams;
use kube::{Api, Client};
use nuncio_api::core::SecretName;
use nuncio_api::{Body, RawObject};
use tokio::sync::{Semaphore, mpsc};

use super::Limits;
use super::follow::{LONGEST_PAUSE, backoff};
use super::kinds;
use super::object::Object;

/// How many are asked for at a time.
pub(super) const AT_ONCE: usize = 8;

/// Says which Secrets count.
#[derive(Debug)]
pub struct Secrets(mpsc::UnboundedSender<Request>);

/// Which Secrets count from now on, and who is to hear what those are that did not before.
#[derive(Debug)]
pub(super) struct Request {
    pub(super) wanted: BTreeSet<SecretName>,
    pub(super) answer: Sender<Option<Vec<RawObject>>>,
}

impl Secrets {
    pub(super) fn new(requests: mpsc::UnboundedSender<Request>) -> Self {
        Self(requests)
    }

    /// Has these followed from now on, and no others; returns those that are new and there. `None`
    /// before the first change set with objects: then nothing is known of any.
    ///
    /// Blocks until it is known which are there, or it takes too long: those that come later are in
    /// a change set, as all that changes.
    pub fn follow(&self, wanted: &BTreeSet<SecretName>) -> Option<Vec<RawObject>> {
        let (answer, answered) = channel();
        let wanted = wanted.clone();
        // The cluster ends before who follows it only where both end.
        self.0.send(Request { wanted, answer }).ok()?;
        answered.recv().ok()?
    }
}

/// Whether there can be a Secret of this name that may be read.
pub(super) fn is_possible((namespace, name): &SecretName, limits: &Limits) -> bool {
    let is_name = |text: &str| {
        let may = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, b'-' | b'.');
        // Nothing that a path would be shortened by.
        !text.is_empty() && !text.starts_with(['-', '.']) && text.bytes().all(may)
    };
    let within = limits.namespace.as_deref();
    is_name(namespace) && is_name(name) && within.is_none_or(|within| within == &**namespace)
}

/// What the API server has of a Secret. It is asked until it answers.
///
/// A list of one is what selectors apply to, and takes no right that the list of all does not.
pub(super) async fn ask(
    client: Client,
    limits: Arc<Limits>,
    (namespace, name): SecretName,
    room: Arc<Semaphore>,
) -> Option<Body> {
    let kind = kinds::secrets();
    let api: Api<Object> = Api::namespaced_with(client, &namespace, &kind.resource);
    let by_name = format!("metadata.name={name}");
    let fields = kind.fields.into_iter().chain([by_name.as_str()]);
    let params = ListParams {
        label_selector: limits.label_selector.clone(),
        field_selector: limits.field_selector(fields),
        ..ListParams::default()
    };
    let mut pauses = backoff(LONGEST_PAUSE);
    loop {
        let asked = async {
            let _permit = room.acquire().await;
            api.list(&params).await
        };
        match asked.await {
            Ok(found) => {
                let found = found.items.into_iter().next();
                return found.map(|found| found.body(&kind.resource));
            }
            Err(error) => {
                tracing::debug!(%namespace, %name, %error, "asking for a Secret");
                tokio::time::sleep(pauses.next().unwrap_or(LONGEST_PAUSE)).await;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_no_secret_can_have_are_not_asked_for() {
        let possible = |namespace: &str, name: &str, within: Option<&str>| {
            let limits = Limits {
                namespace: within.map(str::to_owned),
                ..Limits::default()
            };
            is_possible(&(namespace.into(), name.into()), &limits)
        };
        assert!(possible("a-1", "b.example", None));
        assert!(possible("a", "b", Some("a")));
        assert!(!possible("a", "b", Some("other")));
        for name in ["", "a,type=b", "a/b", "A", "a b", "..", "-a"] {
            assert!(!possible("a", name, None), "{name}");
            assert!(!possible(name, "a", None), "{name}");
        }
    }
}
