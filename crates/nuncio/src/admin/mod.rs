//! The admin server: health, diagnostics, metrics.

mod banner;
mod diag;
mod explain;
mod health;
mod metrics;
mod process;

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::extract::connect_info::IntoMakeServiceWithConnectInfo;
use axum::middleware;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use http::{StatusCode, header};
use nuncio_model::{Entry, Report};
use nuncio_xds::AdsServer;
use tokio::net::TcpListener;
use tokio::sync::watch;

use crate::engine::Served;
use crate::gauges::Gauges;
use crate::identity::Identity;
use crate::overview;
use crate::supervisor::{self, AdminClient};

/// What the handlers look at. Everything is a reading of the moment; nothing waits.
#[derive(Clone)]
pub struct Admin {
    pub identity: Arc<Identity>,
    pub served: watch::Receiver<Arc<Served>>,
    pub xds: watch::Receiver<nuncio_xds::Status>,
    pub counters: AdsServer,
    pub envoy: watch::Receiver<supervisor::State>,
    pub envoy_restarts: watch::Receiver<u32>,
    pub envoy_admin: AdminClient,
    /// What keeps the resources from being kept.
    pub not_kept: watch::Receiver<Option<Entry>>,
    /// What keeps status from being written.
    pub not_written: watch::Receiver<Vec<Entry>>,
    /// Of who writes status, where that is wanted.
    pub status: Option<Arc<nuncio_status::Figures>>,
    pub draining: watch::Receiver<bool>,
    pub gauges: Arc<Gauges>,
    pub banner: Option<Banner>,
    pub patches: Arc<Patches>,
    /// Of the rate limit service within, where there is one.
    pub limits_metrics: Option<Arc<dyn Fn() -> String + Send + Sync>>,
}

impl Admin {
    /// Every entry that stands now.
    pub fn report(&self) -> Report {
        let served = Arc::clone(&self.served.borrow());
        self.report_of(&served)
    }

    /// The same beside what was served at some moment.
    pub fn report_of(&self, served: &Served) -> Report {
        let (xds, envoy) = (self.xds.borrow(), self.envoy.borrow());
        let (not_kept, not_written) = (self.not_kept.borrow(), self.not_written.borrow());
        overview::report(served, &xds, &envoy, not_kept.as_ref(), &not_written)
    }
}

pub use banner::Banner;
pub use diag::Patches;

/// Binds the address, or says what to do when that cannot be.
pub async fn bind(address: SocketAddr) -> anyhow::Result<TcpListener> {
    TcpListener::bind(address).await.map_err(|error| {
        anyhow::anyhow!(
            "cannot listen on {address} for health and diagnostics: {error}; \
             stop what holds the port or give another with --admin"
        )
    })
}

/// Serves until the process ends.
pub async fn serve(listener: TcpListener, admin: Admin) -> std::io::Result<()> {
    let guard = middleware::from_fn_with_state(admin.clone(), diag::guard);
    let app = Router::new()
        .route("/ambassador/v0/diag/", get(diag::overview))
        .route("/ambassador/v0/diag", get(diag::overview))
        .route("/ambassador/v0/diag/explain", get(explain::explain))
        .route("/ambassador/v0/diag/{key}", get(diag::one))
        .route("/ambassador/v0/diag-style.css", get(diag::style))
        .route_layer(guard)
        .route("/ambassador/v0/check_alive", get(health::alive))
        .route("/ambassador/v0/check_ready", get(health::ready))
        .route("/metrics", get(metrics::metrics))
        .fallback(not_found)
        .with_state(admin);
    let app: IntoMakeServiceWithConnectInfo<_, SocketAddr> =
        app.into_make_service_with_connect_info();
    axum::serve(listener, app).await
}

async fn not_found() -> Response {
    text(StatusCode::NOT_FOUND, "Not found\n")
}

fn text(status: StatusCode, body: impl Into<String>) -> Response {
    (
        status,
        [(header::CONTENT_TYPE, "text/plain; charset=utf-8")],
        body.into(),
    )
        .into_response()
}
