//! Diagnostics: in Emissary's JSON for scripts, and as a page for people.
//!
//! ```text
//!  Scene: a reading of everything ──▶ document: JSON, key by key
//!   (served, report, live)       └──▶ page: HTML
//! ```

mod clusters;
mod document;
mod elements;
mod groups;
mod live;
mod page;
mod patch;
mod report;
mod scene;
mod services;
mod system;
mod webui;

use std::net::{IpAddr, SocketAddr};

use axum::extract::{ConnectInfo, OriginalUri, Path, Query, Request, State as Extract};
use axum::middleware::Next;
use axum::response::{IntoResponse, Redirect, Response};
use http::{HeaderMap, StatusCode, header};
use nuncio_translate::getambassador::Access;
use serde::Deserialize;
use serde_json::value::RawValue;

pub(super) use page::style;
pub use patch::Patches;
pub(super) use system::is_alive;

use super::{Admin, not_found, text};
use document::Document;
use page::View;
use scene::{Needs, Scene};

#[derive(Default, Deserialize)]
#[serde(default)]
pub(in crate::admin) struct Params {
    /// Anything but empty asks for JSON.
    json: String,
    /// Only this key of the answer.
    filter: Option<String>,
    /// Only what changed since this client asked last.
    patch_client: Option<String>,
    /// Sets the level of Envoy's log.
    loglevel: Option<String>,
    /// Echoed in the answer about one key.
    method: Option<String>,
    resource: Option<String>,
}

/// `/ambassador/v0/diag/`.
pub(super) async fn overview(
    Extract(admin): Extract<Admin>,
    Query(params): Query<Params>,
    Query(view): Query<View>,
    OriginalUri(uri): OriginalUri,
    headers: HeaderMap,
) -> Response {
    let level_refused = set_log_level(&admin, params.loglevel.as_deref()).await;
    if params.json.is_empty() {
        if !uri.path().ends_with('/') {
            return Redirect::permanent("diag/").into_response();
        }
        let scene = Scene::read(&admin, &headers, Needs::PAGE).await;
        return page::page(&scene, &view);
    }
    let filter = params.filter.as_deref().filter(|key| !key.is_empty());
    let mut scene = Scene::read(&admin, &headers, Needs::of(filter)).await;
    scene.level_refused = level_refused;
    let document = Document::new(&scene);
    match (filter, &params.patch_client) {
        (Some("webui"), _) => json(&webui::trimmed(&document)),
        (Some(key), _) => json(&document.part(key)),
        (None, None) => json(&document),
        (None, Some(client)) => admin.patches.answer(client, &document),
    }
}

/// `/ambassador/v0/diag/<key>`.
pub(super) async fn one(
    Extract(admin): Extract<Admin>,
    Path(key): Path<String>,
    Query(params): Query<Params>,
    headers: HeaderMap,
) -> Response {
    let filter = params.filter.as_deref().filter(|key| !key.is_empty());
    let needs = match params.json.is_empty() {
        true => Needs::PAGE,
        false => Needs::of(filter),
    };
    let scene = Scene::read(&admin, &headers, needs).await;
    let Some(mut document) = Document::of_key(&scene, &key) else {
        let unknown = format!(
            "there is no group (grp-…), cluster or resource (name.namespace) \"{key}\" in effect\n"
        );
        return text(StatusCode::NOT_FOUND, unknown);
    };
    if params.json.is_empty() {
        return page::one(&document, &key);
    }
    document.method = params.method;
    document.resource = params.resource;
    match filter {
        Some(key) => json(&document.part(key)),
        None => json(&document),
    }
}

/// Says who may look: the address of who connects counts, and no header.
pub(super) async fn guard(
    Extract(admin): Extract<Admin>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    request: Request,
    next: Next,
) -> Response {
    let access = admin.served.borrow().inventory.access;
    if !may_look(access, peer.ip()) {
        return not_found().await;
    }
    next.run(request).await
}

fn may_look(access: Access, peer: IpAddr) -> bool {
    access == Access::Everybody || peer.to_canonical().is_loopback()
}

/// Sets the level of Envoy's log; whether that was wanted and not possible.
async fn set_log_level(admin: &Admin, level: Option<&str>) -> bool {
    const LEVELS: [&str; 7] = [
        "trace", "debug", "info", "warning", "error", "critical", "off",
    ];
    let Some(level) = level.filter(|level| !level.is_empty()) else {
        return false;
    };
    let set = LEVELS.contains(&level) && {
        let path = format!("/logging?level={level}");
        matches!(admin.envoy_admin.post(&path).await, Ok((StatusCode::OK, _)))
    };
    if set {
        admin.gauges.set_log_level(level);
    }
    !set
}

fn json<T: serde::Serialize>(answer: &T) -> Response {
    let body = serde_json::to_vec(answer).expect("invariant: keys of maps are strings");
    ([(header::CONTENT_TYPE, "application/json")], body).into_response()
}

/// What stands in a [`Document`] under a key.
fn raw<T: serde::Serialize + ?Sized>(value: &T) -> Box<RawValue> {
    serde_json::value::to_raw_value(value).expect("invariant: keys of maps are strings")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn local_diagnostics_are_for_the_same_machine() {
        let local = |peer: &str| may_look(Access::Local, peer.parse().unwrap());
        assert!(local("127.0.0.1") && local("::1") && local("::ffff:127.0.0.2"));
        assert!(!local("10.0.0.1") && !local("::ffff:10.0.0.1"));
        assert!(may_look(Access::Everybody, "10.0.0.1".parse().unwrap()));
    }
}
