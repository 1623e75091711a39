//! The server: webhooks over TLS, probes over plain HTTP.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::Router;
use axum::extract::{DefaultBodyLimit, Json, State};
use axum::routing::{get, post};
use http::StatusCode;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use kube::core::conversion::ConversionReview;
use nuncio_api::getambassador::crd::CONVERT_PATH;
use serde_json::Value;
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use crate::convert;
use crate::validate::{self, AdmissionReview};

/// Where the API server asks whether objects are valid.
pub(crate) const VALIDATE_PATH: &str = "/webhooks/validate";

/// How long a client may take to say who it is.
const PATIENCE: Duration = Duration::from_secs(10);

/// How long a connection may be without a request. The API server closes its own after 90 s; closed
/// here, a request could be on its way.
const IDLE: Duration = Duration::from_secs(300);

/// How long requests under way are waited for at the end.
const DRAIN: Duration = Duration::from_secs(5);

/// The largest review. The API server asks about one object at a time, or a list of them.
const MOST_BYTES: usize = 64 << 20;

/// The webhooks.
pub(crate) fn webhooks() -> Router {
    Router::new()
        .route(CONVERT_PATH, post(convert))
        .route(VALIDATE_PATH, post(validate))
        .layer(DefaultBodyLimit::max(MOST_BYTES))
}

async fn convert(Json(review): Json<ConversionReview>) -> Json<ConversionReview> {
    Json(convert::review(review))
}

async fn validate(Json(review): Json<AdmissionReview>) -> Json<Value> {
    Json(validate::review(review))
}

/// What Emissary's Deployment and its users ask; `ready` is set where it is found out.
pub(crate) fn probes(ready: Arc<AtomicBool>) -> Router {
    Router::new()
        .route("/probes/live", get(async || "Living!\n"))
        .route("/probes/ready", get(is_ready))
        .with_state(ready)
}

async fn is_ready(State(ready): State<Arc<AtomicBool>>) -> Result<&'static str, StatusCode> {
    match ready.load(Ordering::Relaxed) {
        true => Ok("Ready!\n"),
        false => Err(StatusCode::INTERNAL_SERVER_ERROR),
    }
}

/// Serves until `stop`, then finishes what is under way. A slow or wrong client holds up none of
/// the others.
pub(crate) async fn serve(
    listener: TcpListener,
    tls: TlsAcceptor,
    routes: Router,
    stop: impl Future<Output = ()>,
) {
    let connections = GracefulShutdown::new();
    tokio::pin!(stop);
    loop {
        let (stream, from) = tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    // Out of descriptors, say: the next try would fail as fast.
                    tracing::warn!("cannot take a connection: {error}");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                    continue;
                }
            },
            () = &mut stop => break,
        };
        let (tls, routes, watcher) = (tls.clone(), routes.clone(), connections.watcher());
        tokio::spawn(async move {
            let stream = match tokio::time::timeout(PATIENCE, tls.accept(stream)).await {
                Ok(Ok(stream)) => stream,
                // The API server sees it too, and says it to whom it concerns.
                Ok(Err(error)) => return tracing::warn!(%from, "no TLS with a client: {error}"),
                Err(_) => return,
            };
            let connection = hyper::server::conn::http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(Some(IDLE))
                .serve_connection(TokioIo::new(stream), TowerToHyperService::new(routes));
            if let Err(error) = watcher.watch(connection).await {
                tracing::debug!(%from, "a connection broke: {error}");
            }
        });
    }
    drop(listener);
    let _ = tokio::time::timeout(DRAIN, connections.shutdown()).await;
}
