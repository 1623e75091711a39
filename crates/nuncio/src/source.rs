//! Where `nuncio run` has resources from: folders, or a cluster.

use std::path::PathBuf;

use anyhow::Context;
use kube::Client;
use nuncio_sources::cluster::{Connection, Limits, Secrets, Standings};
use nuncio_sources::{ChangeSet, Cluster, Contents, Watcher};

use crate::cli::RunArgs;
use crate::environment::Environment;

/// A variable that Kubernetes sets in every pod.
const IN_POD: &str = "KUBERNETES_SERVICE_HOST";

pub(crate) enum Source {
    Folder(Watcher),
    Cluster(Box<FollowedCluster>),
}

/// A cluster that is followed, and how it is reached.
pub(crate) struct FollowedCluster {
    pub(crate) client: Client,
    pub(crate) url: String,
    cluster: Cluster,
}

impl FollowedCluster {
    /// What the status of its objects says.
    pub(crate) fn standings(&self) -> Standings {
        self.cluster.standings()
    }

    /// Where to say which Secrets count.
    pub(crate) fn secrets(&self) -> Secrets {
        self.cluster.secrets()
    }
}

impl Source {
    /// Starts to follow what the command line names, with what was kept in a file.
    pub(crate) async fn start(
        args: &RunArgs,
        environment: &Environment,
        kept: PathBuf,
    ) -> anyhow::Result<Self> {
        if !args.manifests.is_empty() {
            let watcher = Watcher::with_kept(args.manifests.clone(), kept);
            return watcher
                .map(Self::Folder)
                .context("cannot watch the manifests");
        }
        let connection = match &args.kubeconfig {
            Some(file) => Connection::by_kubeconfig(file, args.context.as_deref()).await?,
            None if std::env::var_os(IN_POD).is_some() => Connection::of_pod()?,
            None => anyhow::bail!(
                "there is nothing to serve: give a folder with --manifests, or a cluster with \
                 --kubeconfig; in a pod nuncio serves its own cluster"
            ),
        };
        let scope = &environment.scope;
        let limits = Limits {
            namespace: scope.single_namespace.then(|| scope.namespace.clone()),
            label_selector: environment.label_selector.clone(),
            field_selector: environment.field_selector.clone(),
        };
        let (client, url) = (connection.client(), connection.url().to_owned());
        Ok(Self::Cluster(Box::new(FollowedCluster {
            client,
            url,
            cluster: Cluster::start(connection, limits, kept),
        })))
    }

    /// The cluster that it is, if it is one.
    pub(crate) fn cluster(&self) -> Option<&FollowedCluster> {
        match self {
            Self::Folder(_) => None,
            Self::Cluster(cluster) => Some(cluster),
        }
    }

    /// The next change set; the first one is what there is at the start. Dropping the future loses
    /// nothing.
    pub(crate) async fn next(&mut self) -> ChangeSet {
        match self {
            Self::Folder(watcher) => watcher.next().await,
            Self::Cluster(followed) => followed.cluster.next().await,
        }
    }

    /// Where to ask for what there is to keep.
    pub(crate) fn contents(&self) -> Contents {
        match self {
            Self::Folder(watcher) => watcher.contents(),
            Self::Cluster(followed) => followed.cluster.contents(),
        }
    }
}
