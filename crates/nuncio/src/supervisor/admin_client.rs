//! Envoy's admin interface, over its Unix socket.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use tokio::net::UnixStream;

/// Why Envoy's admin interface gave no answer.
#[derive(Debug, thiserror::Error)]
pub enum AdminError {
    #[error("cannot reach Envoy's admin interface at {}: {source}", socket.display())]
    Connect {
        socket: PathBuf,
        source: std::io::Error,
    },
    #[error("Envoy's admin interface broke off: {0}")]
    Http(#[from] hyper::Error),
    #[error("\"{0}\" is no path of Envoy's admin interface")]
    Path(String),
    #[error(
        "Envoy's admin interface did not answer within {0:?}: its main thread is busy or stuck"
    )]
    Timeout(Duration),
}

/// Asks Envoy's admin interface. Each request is a connection of its own, so a client stays good
/// when Envoy is restarted.
#[derive(Clone, Debug)]
pub struct AdminClient {
    socket: Arc<Path>,
    timeout: Duration,
}

impl AdminClient {
    /// A client of the admin interface at this socket.
    pub fn new(socket: PathBuf) -> Self {
        Self {
            socket: socket.into(),
            timeout: Duration::from_secs(30),
        }
    }

    pub(super) fn with_timeout(&self, timeout: Duration) -> Self {
        Self {
            timeout,
            ..self.clone()
        }
    }

    /// `GET` of a path with its query, such as `/stats/prometheus?usedonly`.
    pub async fn get(&self, path: &str) -> Result<(StatusCode, Bytes), AdminError> {
        self.request(Method::GET, path).await
    }

    /// `POST` of a path with its query, such as `/logging?level=debug`.
    pub async fn post(&self, path: &str) -> Result<(StatusCode, Bytes), AdminError> {
        self.request(Method::POST, path).await
    }

    async fn request(&self, method: Method, path: &str) -> Result<(StatusCode, Bytes), AdminError> {
        tokio::time::timeout(self.timeout, self.exchange(method, path))
            .await
            .unwrap_or(Err(AdminError::Timeout(self.timeout)))
    }

    async fn exchange(
        &self,
        method: Method,
        path: &str,
    ) -> Result<(StatusCode, Bytes), AdminError> {
        let response = self.send(method, path).await?;
        let status = response.status();
        Ok((status, response.into_body().collect().await?.to_bytes()))
    }

    /// `GET` of an answer that may be large: its body is still to come.
    pub async fn stream(&self, path: &str) -> Result<Response<Incoming>, AdminError> {
        tokio::time::timeout(self.timeout, self.send(Method::GET, path))
            .await
            .unwrap_or(Err(AdminError::Timeout(self.timeout)))
    }

    async fn send(&self, method: Method, path: &str) -> Result<Response<Incoming>, AdminError> {
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header(header::HOST, "envoy")
            .body(Empty::<Bytes>::new())
            .map_err(|_| AdminError::Path(path.to_owned()))?;
        let stream =
            UnixStream::connect(&*self.socket)
                .await
                .map_err(|source| AdminError::Connect {
                    socket: self.socket.to_path_buf(),
                    source,
                })?;
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
        // It ends with the exchange; what goes wrong shows there.
        tokio::spawn(connection);
        Ok(sender.send_request(request).await?)
    }
}
