//! Policies: what objects say of others that refer to nothing themselves (GEP-713).

pub(super) mod backend_tls;
pub(super) mod route;
pub(super) mod settings;

use super::attach::Route;
use super::listener::Gateway;
use backend_tls::BackendTlsPolicies;
use route::RoutePolicies;

pub(super) struct Policies {
    pub(super) backend_tls: BackendTlsPolicies,
    pub(super) route: RoutePolicies,
}

impl Policies {
    /// Notes which Gateways each is in effect for.
    pub(super) fn note_users(&mut self, gateways: &[Gateway<'_>], routes: &[Route<'_>]) {
        self.backend_tls.note_users(routes);
        self.route.note_users(gateways, routes);
    }
}
