//! What an API server is asked while nothing changes: it says so itself, in its audit log.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use kube::Client;
use nuncio::engine::Served;
use nuncio::status::scene;
use nuncio_model::Report;
use nuncio_sources::Cluster;
use nuncio_status::{Candidate, Config, StatusWriter};
use nuncio_testkube::Kubernetes;

use crate::gateway::in_time;

/// Lets nobody do everything: who asks is to be told apart from who writes the objects.
const RIGHTS: &str = "apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: nobody}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: cluster-admin}
subjects: [{apiGroup: rbac.authorization.k8s.io, kind: User, name: nobody}]
";

/// Every request of nobody when it begins, so that watches count that end later.
const POLICY: &str = "apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [ResponseStarted, ResponseComplete, Panic]
rules: [{level: Metadata, users: [nobody]}, {level: None}]
";

/// Between two looks at what has no event here.
const LOOK: Duration = Duration::from_millis(50);

/// An API server that notes what nobody asks.
pub(crate) struct Audited {
    pub(crate) kubernetes: Kubernetes,
    log: PathBuf,
}

impl Audited {
    pub(crate) async fn start(folder: &Path) -> anyhow::Result<Self> {
        let (policy, log) = (folder.join("policy.yaml"), folder.join("audit.log"));
        fs::write(&policy, POLICY)?;
        let options = [
            format!("--audit-policy-file={}", policy.display()),
            format!("--audit-log-path={}", log.display()),
        ];
        let kubernetes = Kubernetes::start_with(&options.each_ref().map(String::as_str)).await?;
        kubernetes.apply(RIGHTS).await?;
        Ok(Self { kubernetes, log })
    }

    fn asked(&self) -> anyhow::Result<usize> {
        let log = fs::read_to_string(&self.log).context("the API server has no audit log")?;
        Ok(log.lines().count())
    }

    /// How often in a minute the API server is asked by who follows a cluster and writes its status, counted
    /// for some time.
    pub(crate) async fn asked_a_minute(
        &self,
        cluster: &Cluster,
        client: Client,
        served: &Served,
        counted: Duration,
    ) -> anyhow::Result<f64> {
        let status = StatusWriter::start(Config {
            client,
            url: self.kubernetes.url(),
            standings: cluster.standings(),
            candidate: Candidate {
                namespace: "default".to_owned(),
                lease: "nuncio-bench".to_owned(),
                identity: "bench".to_owned(),
            },
            writes_per_second: 100,
            mappings: false,
        });
        let scene = scene(served, Report::clone(&served.report));
        status.scenes().send_replace(Arc::new(scene));
        let figures = status.figures();
        in_time(async {
            while figures.writes() == 0 || figures.waiting() > 0 {
                tokio::time::sleep(LOOK).await;
            }
            Ok(())
        })
        .await
        .context("no status was written")?;
        let before = self.asked()?;
        tokio::time::sleep(counted).await;
        let asked = self.asked()? - before;
        status.finish().await;
        Ok(asked as f64 * 60.0 / counted.as_secs_f64())
    }
}
