//! Upgrades: whether a route lets a connection become one of another protocol.

use nuncio_model::route::{Action, Route};

use crate::arrival::{Arrived, refused as answer};
use crate::explanation::Outcome;

/// Of any route that does not say that it allows it, also of one that Envoy answers itself.
pub(crate) fn refused(route: &Route, arrived: &Arrived) -> Option<Outcome> {
    let upgrade = asked_for(arrived)?;
    let allowed = match &route.action {
        Action::Forward(to) => to.upgrades.iter().any(|allowed| **allowed == *upgrade),
        Action::Redirect(_) | Action::DirectResponse { .. } => false,
    };
    let help = match &route.action {
        Action::Forward(_) => format!("write allow_upgrade: [{upgrade}] into the Mapping"),
        _ if arrived.is_connect() => {
            "no upstream is asked: a redirect is no answer to CONNECT".to_owned()
        }
        _ => "it is answered without an upstream: ask without the header upgrade".to_owned(),
    };
    (!allowed).then(|| answer(403, format!("an upgrade to {upgrade} is not allowed"), help))
}

/// The protocol that the client asks for, in lower case. Envoy has CONNECT for one.
fn asked_for(arrived: &Arrived) -> Option<String> {
    if arrived.is_connect() {
        return Some("connect".to_owned());
    }
    let connection = arrived.headers.first("connection")?.to_ascii_lowercase();
    let asks = connection.split(',').any(|token| token.trim() == "upgrade");
    let upgrade = arrived.headers.first("upgrade").filter(|_| asks)?;
    Some(upgrade.to_ascii_lowercase())
}
