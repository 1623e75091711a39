//! Policies: what objects say of others that refer to nothing themselves (GEP-713).

pub(super) mod backend_tls;
pub(super) mod route;
pub(super) mod settings;

use std::collections::BTreeSet;
use std::sync::Arc;

use nuncio_model::ResourceId;

use super::Context;
use super::attach::Route;
use backend_tls::BackendTlsPolicies;
use route::RoutePolicies;

#[derive(Debug, Default)]
pub(super) struct Policies {
    pub(super) backend_tls: BackendTlsPolicies,
    pub(super) route: RoutePolicies,
}

impl Policies {
    pub(super) fn read(context: &mut Context<'_>) -> Self {
        Self {
            backend_tls: backend_tls::read(context),
            route: route::read(context),
        }
    }

    pub(super) fn ids(&self) -> impl Iterator<Item = &Arc<ResourceId>> {
        let backend_tls = self.backend_tls.all.iter();
        let backend_tls = backend_tls.map(|policy| &policy.object.id);
        let route = self.route.all.iter().map(|policy| &policy.object.id);
        backend_tls.chain(route)
    }

    /// Those that a route uses.
    pub(super) fn used_by(&self, route: &Route<'_>) -> BTreeSet<Arc<ResourceId>> {
        let services = route.services().into_iter();
        let backend_tls = services.flat_map(|(namespace, name)| {
            let naming = self.backend_tls.naming(namespace, name).iter();
            naming.map(|policy| &self.backend_tls.all[*policy].object.id)
        });
        let own = self.route.used_by(route);
        backend_tls.chain(own).cloned().collect()
    }
}
