//! Where a keeper gets what there is to keep.

use std::sync::mpsc::Sender;

use tokio::sync::{mpsc, oneshot};

use crate::kept::Content;
use crate::watch::Message;

/// Gives what there is to keep.
#[derive(Clone, Debug)]
pub struct Contents(Source);

#[derive(Clone, Debug)]
enum Source {
    Folder(Sender<Message>),
    Cluster(mpsc::Sender<oneshot::Sender<Content>>),
}

impl Contents {
    pub(crate) fn of_folder(source: Sender<Message>) -> Self {
        Self(Source::Folder(source))
    }

    pub(crate) fn of_cluster(source: mpsc::Sender<oneshot::Sender<Content>>) -> Self {
        Self(Source::Cluster(source))
    }

    /// As of now; `None` when the source is gone.
    pub async fn get(&self) -> Option<Content> {
        let (answer, content) = oneshot::channel();
        match &self.0 {
            Source::Folder(source) => source.send(Message::Content(answer)).ok()?,
            Source::Cluster(source) => source.send(answer).await.ok()?,
        }
        content.await.ok()
    }
}
