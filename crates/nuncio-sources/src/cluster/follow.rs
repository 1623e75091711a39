//! Follows the objects of one kind.
//!
//! kube's watcher lists and watches, goes on after a watch that broke from where it was, and lists
//! anew where the API server has forgotten that place. What it cannot get over begins again with a
//! list: so a list that was taken up is always a whole one, and that it is there says that the
//! trouble is over.

use std::sync::Arc;
use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBackoff, ExponentialBuilder};
use futures::{Stream, StreamExt};
use kube::runtime::utils::{Backoff, ResetTimerBackoff, StreamBackoff};
use kube::runtime::watcher::{self, watcher};
use kube::{Api, Client};
use nuncio_api::Body;
use tokio::sync::mpsc;

use super::Limits;
use super::kinds::{Kind, KindId};
use super::object::Object;
use super::standing::KindStandings;
use super::trouble::Trouble;

/// Between two tries, the first time and at most. An API server that is back is not to be waited
/// for: what it has to say may be that endpoints are gone.
const FIRST_PAUSE: Duration = Duration::from_millis(200);
pub(super) const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// After so long without trouble, the next is the first again.
const FORGOTTEN: Duration = Duration::from_secs(60);

/// What becomes known of a kind.
#[derive(Debug)]
pub(super) struct News {
    pub(super) kind: KindId,
    /// Which follower of the kind says so.
    pub(super) follower: u64,
    pub(super) what: What,
}

#[derive(Debug)]
pub(super) enum What {
    /// An object of a list.
    Listed(Name, Body),
    /// The list is whole.
    Complete,
    Changed(Name, Body),
    Deleted(Name),
    Trouble(Trouble),
}

/// Namespace, empty where there is none, and name.
pub(super) type Name = (Box<str>, Box<str>);

/// Pauses that grow up to the longest, until there was no trouble for a while.
pub(super) fn backoff(longest: Duration) -> ResetTimerBackoff<Pauses> {
    let builder = ExponentialBuilder::new()
        .with_min_delay(FIRST_PAUSE)
        .with_max_delay(longest)
        .with_factor(2.0)
        .with_jitter()
        .without_max_times();
    let pauses = Pauses {
        builder,
        next: builder.build(),
    };
    ResetTimerBackoff::new(pauses, FORGOTTEN)
}

/// kube has its own only with the pauses of client-go.
pub(super) struct Pauses {
    builder: ExponentialBuilder,
    next: ExponentialBackoff,
}

impl Iterator for Pauses {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        self.next.next()
    }
}

impl Backoff for Pauses {
    fn reset(&mut self) {
        self.next = self.builder.build();
    }
}

/// Follows a kind for as long as anybody listens.
pub(super) async fn follow(
    client: Client,
    kind: Kind,
    limits: Arc<Limits>,
    follower: u64,
    news: mpsc::Sender<News>,
    mut standings: Option<KindStandings>,
) {
    let listener = Listener {
        news,
        kind: kind.id(),
        follower,
    };
    let api: Api<Object> = match &limits.namespace {
        Some(namespace) if kind.namespaced => {
            Api::namespaced_with(client, namespace, &kind.resource)
        }
        _ => Api::all_with(client, &kind.resource),
    };
    let config = limits.watcher_config(kind.fields);
    let mut pauses = backoff(LONGEST_PAUSE);
    loop {
        let objects = watcher(api.clone(), config.clone());
        let objects = StreamBackoff::new(objects, backoff(LONGEST_PAUSE));
        let Some(trouble) = until_trouble(objects, &kind, &listener, &mut standings).await else {
            return;
        };
        if !listener.hears(What::Trouble(trouble)).await {
            return;
        }
        tokio::time::sleep(pauses.next().unwrap_or(LONGEST_PAUSE)).await;
    }
}

/// Who is told what becomes known of one kind.
struct Listener {
    news: mpsc::Sender<News>,
    kind: KindId,
    follower: u64,
}

impl Listener {
    /// Whether there is still somebody who listens.
    async fn hears(&self, what: What) -> bool {
        let news = News {
            kind: self.kind.clone(),
            follower: self.follower,
            what,
        };
        self.news.send(news).await.is_ok()
    }
}

/// Passes on what a watcher says, until there is trouble that it does not get over by itself;
/// `None` when nobody listens any more.
async fn until_trouble(
    objects: impl Stream<Item = watcher::Result<watcher::Event<Object>>>,
    kind: &Kind,
    listener: &Listener,
    standings: &mut Option<KindStandings>,
) -> Option<Trouble> {
    let mut objects = std::pin::pin!(objects);
    let mut listing = true;
    while let Some(event) = objects.next().await {
        let told = |object: Object| (object.name(), object.body(&kind.resource));
        let what = match event {
            Ok(watcher::Event::Init) => {
                listing = true;
                if let Some(standings) = standings {
                    standings.begin();
                }
                continue;
            }
            Ok(watcher::Event::InitApply(object)) => {
                if let Some(standings) = standings {
                    standings.listed(object.name(), object.standing());
                }
                let (name, text) = told(object);
                What::Listed(name, text)
            }
            Ok(watcher::Event::InitDone) => {
                listing = false;
                if let Some(standings) = standings {
                    standings.complete();
                }
                What::Complete
            }
            Ok(watcher::Event::Apply(object)) => {
                if let Some(standings) = standings {
                    standings.changed(object.name(), object.standing());
                }
                let (name, text) = told(object);
                What::Changed(name, text)
            }
            Ok(watcher::Event::Delete(object)) => {
                let name = object.name();
                if let Some(standings) = standings {
                    standings.deleted(&name);
                }
                What::Deleted(name)
            }
            Err(error) => {
                let trouble = Trouble::of_watcher(&error);
                tracing::debug!(kind = kind.resource.kind, %error, listing, "following objects");
                let passing = matches!(trouble, Trouble::Unreachable(_) | Trouble::Refused(_));
                if listing || !passing {
                    return Some(trouble);
                }
                // A watch that broke is no news, unless none can be had in its place.
                match error {
                    watcher::Error::WatchStartFailed(_) => What::Trouble(trouble),
                    _ => continue,
                }
            }
        };
        if !listener.hears(what).await {
            return None;
        }
    }
    None
}
