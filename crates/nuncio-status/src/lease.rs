//! Who writes: one of the replicas, by a Lease.
//!
//! As client-go does it: who has the Lease renews it; when nothing of it has changed for as long as it
//! says, whoever sees that takes it. Times are measured by the clock that only goes forward, from when a
//! change was seen, so that a clock that is set makes no second leader.

use std::time::{Duration, Instant};

use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use k8s_openapi::jiff::Timestamp;
use kube::api::{ObjectMeta, PostParams};
use kube::{Api, Client};
use tokio::sync::watch;
use tokio::time::timeout;

/// How long others leave a Lease alone that is not renewed.
const DURATION: Duration = Duration::from_secs(15);

/// How long the leader counts as one without renewing it. Well before others take it.
const DEADLINE: Duration = Duration::from_secs(10);

/// Between two looks or renewals. Few, because a cluster has many of those who ask so.
const PERIOD: Duration = Duration::from_secs(4);

/// Longest wait for one answer.
const PATIENCE: Duration = Duration::from_secs(4);

/// Which Lease, and who wants it.
#[derive(Clone, Debug)]
pub struct Candidate {
    pub namespace: String,
    pub lease: String,
    /// No other process has the same at the same time.
    pub identity: String,
}

/// What came of a try.
#[derive(Debug)]
pub(crate) enum Tried {
    /// It is led until then, whatever happens.
    Leads(Instant),
    Follows,
    Failed(kube::Error),
    TimedOut,
}

pub(crate) struct Election {
    api: Api<Lease>,
    candidate: Candidate,
    /// The Lease as it was seen last to have changed, and when that was.
    seen: Option<(Lease, Instant)>,
}

impl Election {
    pub(crate) fn new(client: Client, candidate: Candidate) -> Self {
        let api = Api::namespaced(client, &candidate.namespace);
        Self {
            api,
            candidate,
            seen: None,
        }
    }

    /// Tries to get the Lease or to keep it.
    pub(crate) async fn try_once(&mut self) -> Tried {
        let started = Instant::now();
        match timeout(PATIENCE, self.get_or_keep()).await {
            Ok(Ok(true)) => Tried::Leads(started + DEADLINE),
            Ok(Ok(false)) => Tried::Follows,
            Ok(Err(error)) => Tried::Failed(error),
            Err(_) => Tried::TimedOut,
        }
    }

    async fn get_or_keep(&mut self) -> kube::Result<bool> {
        let name = &self.candidate.lease.clone();
        let identity = self.candidate.identity.clone();
        let is_mine = |lease: &Lease| holder(lease) == identity;
        let known = self.seen.as_ref().filter(|(lease, _)| is_mine(lease));
        let lease = match known {
            // Whoever took it meanwhile made it another version.
            Some((lease, _)) => lease.clone(),
            None => match self.api.get_opt(name).await? {
                Some(lease) => lease,
                None => {
                    let lease = self.candidate.first();
                    let made = self.api.create(&PostParams::default(), &lease).await;
                    return self.take_up(made);
                }
            },
        };
        let now = Instant::now();
        if !is_mine(&lease) {
            let unchanged = self
                .seen
                .as_ref()
                .filter(|(seen, _)| seen.spec == lease.spec);
            let since = unchanged.map_or(now, |(_, since)| *since);
            if !is_free(&lease, now - since) {
                self.seen = Some((lease, since));
                return Ok(false);
            }
        }
        let renewed = self.candidate.renewed(lease);
        let written = self
            .api
            .replace(name, &PostParams::default(), &renewed)
            .await;
        self.take_up(written)
    }

    /// Whether it was written. Where another was faster, that one leads.
    fn take_up(&mut self, written: kube::Result<Lease>) -> kube::Result<bool> {
        match written {
            Ok(lease) => {
                self.seen = Some((lease, Instant::now()));
                Ok(true)
            }
            Err(kube::Error::Api(status)) if status.code == 409 => {
                self.seen = None;
                Ok(false)
            }
            Err(error) => Err(error),
        }
    }

    /// Gives the Lease up, if it is held, for another to take at once.
    pub(crate) async fn give_up(&mut self) {
        match timeout(PATIENCE, self.try_to_give_up()).await {
            Ok(Ok(true)) => tracing::info!("another replica may write status now"),
            Ok(Ok(false)) => {}
            Ok(Err(error)) => tracing::debug!(%error, "giving the Lease up"),
            Err(_) => tracing::debug!("giving the Lease up takes too long"),
        }
    }

    async fn try_to_give_up(&mut self) -> kube::Result<bool> {
        // A try that was broken off may have been written.
        let found = self.api.get_opt(&self.candidate.lease).await?;
        let Some(mut lease) = found.filter(|lease| holder(lease) == self.candidate.identity) else {
            return Ok(false);
        };
        let spec = lease.spec.get_or_insert_default();
        spec.holder_identity = Some(String::new());
        spec.lease_duration_seconds = Some(1);
        spec.renew_time = Some(MicroTime(Timestamp::now()));
        let name = &self.candidate.lease;
        self.api
            .replace(name, &PostParams::default(), &lease)
            .await?;
        Ok(true)
    }
}

impl Candidate {
    fn first(&self) -> Lease {
        let lease = Lease {
            metadata: ObjectMeta {
                name: Some(self.lease.clone()),
                namespace: Some(self.namespace.clone()),
                ..ObjectMeta::default()
            },
            spec: Some(LeaseSpec::default()),
        };
        let mut lease = self.renewed(lease);
        if let Some(spec) = &mut lease.spec {
            spec.lease_transitions = Some(0);
        }
        lease
    }

    fn renewed(&self, mut lease: Lease) -> Lease {
        let now = MicroTime(Timestamp::now());
        let is_mine = holder(&lease) == self.identity;
        let spec = lease.spec.get_or_insert_default();
        if !is_mine {
            spec.acquire_time = Some(now.clone());
            spec.lease_transitions = Some(spec.lease_transitions.unwrap_or(0).saturating_add(1));
            spec.holder_identity = Some(self.identity.clone());
        }
        spec.lease_duration_seconds = i32::try_from(DURATION.as_secs()).ok();
        spec.renew_time = Some(now);
        lease
    }
}

fn holder(lease: &Lease) -> &str {
    let spec = lease.spec.as_ref();
    let holder = spec.and_then(|spec| spec.holder_identity.as_deref());
    holder.unwrap_or_default()
}

/// Whether a Lease may be taken of which nothing changed for so long.
fn is_free(lease: &Lease, unchanged: Duration) -> bool {
    let spec = lease.spec.as_ref();
    let seconds = spec.and_then(|spec| spec.lease_duration_seconds);
    let seconds = seconds.and_then(|seconds| u64::try_from(seconds).ok());
    let duration = seconds.map_or(DURATION, Duration::from_secs);
    holder(lease).is_empty() || unchanged >= duration
}

/// Takes part until the end, and says until when this process leads. After the end it leads no more.
pub(crate) async fn take_part(
    mut election: Election,
    leads: watch::Sender<Option<Instant>>,
    mut ends: watch::Receiver<bool>,
    mut said: impl FnMut(Option<&kube::Error>),
) {
    loop {
        let tried = tokio::select! {
            tried = election.try_once() => tried,
            _ = ends.wait_for(|ends| *ends) => break,
        };
        match &tried {
            Tried::Leads(until) => {
                leads.send_replace(Some(*until));
                said(None);
            }
            Tried::Follows => {
                leads.send_replace(None);
                said(None);
            }
            // It leads on until its time is over.
            Tried::Failed(error) => said(Some(error)),
            Tried::TimedOut => {}
        }
        // Who asks at the same time again and again meets the same again and again.
        let pause = PERIOD.mul_f64(0.75 + f64::from(jitter()) / 1024.0);
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            _ = ends.wait_for(|ends| *ends) => break,
        }
    }
    leads.send_replace(None);
    election.give_up().await;
}

/// From 0 to 255; nothing depends on its being hard to foresee.
fn jitter() -> u8 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    now.map_or(0, |now| now.subsec_micros().to_le_bytes()[0])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn candidate(identity: &str) -> Candidate {
        Candidate {
            namespace: "default".to_owned(),
            lease: "nuncio".to_owned(),
            identity: identity.to_owned(),
        }
    }

    #[test]
    fn a_lease_is_free_when_nothing_of_it_changed_for_as_long_as_it_says() {
        let lease = candidate("a").first();
        assert_eq!(holder(&lease), "a");
        assert!(!is_free(&lease, DURATION - Duration::from_millis(1)));
        assert!(is_free(&lease, DURATION));
        // What its clock says does not count.
        let mut old = lease.clone();
        old.spec.as_mut().unwrap().renew_time = Some(MicroTime(Timestamp::UNIX_EPOCH));
        assert!(!is_free(&old, Duration::ZERO));
        let given_up = candidate("").first();
        assert!(is_free(&given_up, Duration::ZERO));
        // The leader stops before others may begin.
        assert!(DEADLINE + Duration::from_secs(1) < DURATION);
    }

    #[test]
    fn who_takes_it_is_counted_and_who_keeps_it_is_not() {
        let lease = candidate("a").first();
        let spec = |lease: &Lease| lease.spec.clone().unwrap();
        let kept = candidate("a").renewed(lease.clone());
        assert_eq!(spec(&kept).lease_transitions, Some(0));
        assert_eq!(spec(&kept).acquire_time, spec(&lease).acquire_time);
        let taken = candidate("b").renewed(lease);
        assert_eq!(holder(&taken), "b");
        assert_eq!(spec(&taken).lease_transitions, Some(1));
    }
}
