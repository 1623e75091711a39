//! Liveness and readiness, in Emissary's words.

use axum::extract::State as Extract;
use axum::response::Response;
use http::StatusCode;
use nuncio_model::{Reason, Report};

use super::{Admin, text};
use crate::supervisor;

/// Alive while the process answers: an Envoy that ended is started again by the supervisor, which
/// a restart of the pod would only delay.
pub(super) async fn alive() -> Response {
    text(StatusCode::OK, "Ambassador is alive and well\n")
}

/// Ready once Envoy has answered every resource of the first configuration, whatever its answer:
/// a Listener whose port is taken is in the report and does not hold the others back.
///
/// What cannot be read is said, and is no reason not to be ready: what was read of it before is
/// served.
pub(super) async fn ready(Extract(admin): Extract<Admin>) -> Response {
    let unread = unread(&admin.served.borrow().report);
    let ready = match *admin.envoy.borrow() {
        supervisor::State::Running { .. } => admin.xds.borrow().first_config_answered,
        // Whoever comes gets something.
        supervisor::State::Elsewhere => admin.xds.borrow().newest > 0,
        _ => false,
    };
    if ready && !*admin.draining.borrow() {
        text(
            StatusCode::OK,
            format!("Ambassador is ready and waiting\n{unread}"),
        )
    } else {
        text(
            StatusCode::SERVICE_UNAVAILABLE,
            format!("Ambassador is not ready\n\n{unread}"),
        )
    }
}

/// A line for each source that cannot be read.
fn unread(report: &Report) -> String {
    let entries = report.entries().iter();
    entries
        .filter(|entry| entry.reason == Reason::Unreadable)
        .map(|entry| format!("{entry}\n"))
        .collect()
}
