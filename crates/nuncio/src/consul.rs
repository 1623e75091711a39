//! What Consul says of services, and what it said before this start.

use std::collections::BTreeSet;
use std::io::Write;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use std::{fs, io};

use nuncio_model::consul::{ConsulAnswer, ConsulService};
use nuncio_sources::consul::{Access, Consul, News};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::supervisor::write_whole;

/// Answers that follow each other so soon are kept together.
const PAUSE: Duration = Duration::from_millis(500);

/// Longest wait at a start for the first answers: an Envoy that runs has endpoints, and one that is
/// new is to get some.
const PATIENCE: Duration = Duration::from_secs(5);

/// Follows the services that Mappings name, and keeps what becomes known of them.
#[derive(Debug)]
pub(crate) struct Services {
    consul: Consul,
    followed: Arc<BTreeSet<Arc<ConsulService>>>,
    known: watch::Sender<News>,
    keeping: JoinHandle<()>,
}

impl Services {
    /// With what was kept in a file.
    pub(crate) fn start(access: Access, path: PathBuf) -> Self {
        let kept = match read(&path) {
            Ok(kept) => kept,
            Err(error) => {
                tracing::warn!("{} is not used: {error}", path.display());
                News::new()
            }
        };
        let known = watch::Sender::new(News::new());
        let keeping = tokio::spawn(keep(path, known.subscribe()));
        Self {
            consul: Consul::new(access, kept),
            followed: Arc::default(),
            known,
            keeping,
        }
    }

    /// Follows these and no others; returns what is known of those that are new.
    pub(crate) fn follow(&mut self, services: &Arc<BTreeSet<Arc<ConsulService>>>) -> News {
        if Arc::ptr_eq(&self.followed, services) {
            return News::new();
        }
        self.followed = Arc::clone(services);
        let news = self.consul.follow(services);
        let gone = |known: &News| known.keys().any(|service| !services.contains(service));
        if gone(&self.known.borrow()) {
            self.known
                .send_modify(|known| known.retain(|service, _| services.contains(service)));
        }
        self.note(&news);
        news
    }

    /// What is new. Dropping the future loses nothing.
    pub(crate) async fn next(&mut self) -> News {
        let news = self.consul.next().await;
        self.note(&news);
        news
    }

    /// The first answers of all that are followed, as far as they come soon.
    pub(crate) async fn first(&mut self) -> News {
        let mut news = News::new();
        let coming = async {
            while !self.consul.all_answered() {
                news.extend(self.consul.next().await);
            }
        };
        let _ = tokio::time::timeout(PATIENCE, coming).await;
        self.note(&news);
        news
    }

    /// Keeps what is not kept yet, and ends.
    pub(crate) async fn finish(self) {
        drop(self.known);
        let _ = self.keeping.await;
    }

    fn note(&self, news: &News) {
        if !news.is_empty() {
            let news = news.clone();
            self.known.send_modify(|known| known.extend(news));
        }
    }
}

async fn keep(path: PathBuf, mut known: watch::Receiver<News>) {
    while known.changed().await.is_ok() {
        // Ends early when nothing more is to come.
        let _ = tokio::time::timeout(PAUSE, known.wait_for(|_| false)).await;
        let content = known.borrow_and_update().clone();
        let file = path.clone();
        let write = move || write_whole(&file, |file| write(&content, file));
        if let Ok(Err(error)) = tokio::task::spawn_blocking(write).await {
            tracing::warn!("what Consul says cannot be kept: {error}");
        }
    }
}

fn write(news: &News, mut file: impl Write) -> io::Result<()> {
    let known: Vec<(&Arc<ConsulService>, &ConsulAnswer)> = news.iter().collect();
    serde_json::to_writer(&mut file, &known)?;
    file.flush()
}

fn read(path: &PathBuf) -> io::Result<News> {
    let text = match fs::read(path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(News::new()),
        Err(error) => return Err(error),
    };
    let known: Vec<(Arc<ConsulService>, ConsulAnswer)> = serde_json::from_slice(&text)?;
    Ok(known.into_iter().collect())
}
