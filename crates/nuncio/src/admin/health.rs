//! Liveness and readiness, in Emissary's words.

use axum::extract::State as Extract;
use axum::response::Response;
use http::StatusCode;

use super::{Admin, text};
use crate::supervisor;

/// Alive while the process answers: an Envoy that ended is started again by the supervisor, which
/// a restart of the pod would only delay.
pub(super) async fn alive() -> Response {
    text(StatusCode::OK, "Ambassador is alive and well\n")
}

/// Ready once Envoy has answered every resource of the first configuration, whatever its answer:
/// a Listener whose port is taken is in the report and does not hold the others back.
pub(super) async fn ready(Extract(admin): Extract<Admin>) -> Response {
    let running = matches!(*admin.envoy.borrow(), supervisor::State::Running { .. });
    if running && admin.xds.borrow().first_config_answered && !*admin.draining.borrow() {
        text(StatusCode::OK, "Ambassador is ready and waiting\n")
    } else {
        text(
            StatusCode::SERVICE_UNAVAILABLE,
            "Ambassador is not ready\n\n",
        )
    }
}
