//! How the API server is reached and who nuncio is there.

use std::path::{Path, PathBuf};
use std::time::Duration;

use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};

use super::trouble::causes;

/// A connection takes longer only to what is not there.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// Why it is not known where the API server is, or who nuncio is there.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    #[error("the kubeconfig {file} cannot be used: {cause}")]
    Kubeconfig { file: PathBuf, cause: String },
    #[error("this is no pod whose service account could be used: {0}")]
    Pod(String),
    #[error("no client for the API server can be made: {0}")]
    Client(String),
}

/// An API server, and nuncio's credentials there. Making one asks nothing of it.
pub struct Connection {
    pub(super) client: Client,
    pub(super) url: String,
    namespace: String,
}

impl Connection {
    pub fn client(&self) -> Client {
        self.client.clone()
    }

    /// Where the API server is.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The namespace of the pod, or of the kubeconfig's context.
    pub fn namespace(&self) -> &str {
        &self.namespace
    }

    /// By a kubeconfig, in its current context or another one.
    ///
    /// # Errors
    ///
    /// The file cannot be read, or lacks something.
    pub async fn by_kubeconfig(file: &Path, context: Option<&str>) -> Result<Self, ConnectError> {
        let wrong = |error: &(dyn std::error::Error + 'static)| ConnectError::Kubeconfig {
            file: file.to_owned(),
            cause: causes(error),
        };
        let kubeconfig = Kubeconfig::read_from(file).map_err(|error| wrong(&error))?;
        let options = KubeConfigOptions {
            context: context.map(str::to_owned),
            ..KubeConfigOptions::default()
        };
        let config = Config::from_custom_kubeconfig(kubeconfig, &options).await;
        Self::new(config.map_err(|error| wrong(&error))?)
    }

    /// By the service account of the pod that nuncio runs in.
    ///
    /// # Errors
    ///
    /// It is none, or has no service account.
    pub fn of_pod() -> Result<Self, ConnectError> {
        let config = Config::incluster().map_err(|error| ConnectError::Pod(causes(&error)))?;
        Self::new(config)
    }

    fn new(mut config: Config) -> Result<Self, ConnectError> {
        config.connect_timeout = Some(CONNECT_TIMEOUT);
        // kube would try again in silence, after pauses of minutes in the end.
        config.default_retry = false;
        let url = config.cluster_url.to_string();
        let namespace = config.default_namespace.clone();
        let client = Client::try_from(config);
        let client = client.map_err(|error| ConnectError::Client(causes(&error)))?;
        Ok(Self {
            client,
            url,
            namespace,
        })
    }
}
