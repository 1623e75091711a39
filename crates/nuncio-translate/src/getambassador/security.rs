//! Secure and insecure requests: `securityModel` and `requestPolicy.insecure.action`.

use std::sync::Arc;

use nuncio_api::getambassador::{InsecureAction, SecurityModel};
use nuncio_model::route::{
    Action, HeaderMatch, PathMatch, Redirect, RedirectPath, RedirectScheme, RedirectStatus, Route,
    StringMatch,
};
use nuncio_model::value::MatchHeaderName;

/// Requests for it are routed whatever the Host says of cleartext ones.
const ACME_CHALLENGE: &str = "/.well-known/acme-challenge/";

/// How secure and insecure requests meet a route.
#[derive(Clone, Copy, Debug)]
pub(super) struct Variant {
    pub(super) model: SecurityModel,
    pub(super) action: InsecureAction,
}

impl Variant {
    pub(super) const COUNT: usize = 9;

    pub(super) fn index(self) -> usize {
        self.model as usize * 3 + self.action as usize
    }

    /// Whether requests meet a route as it is.
    pub(super) fn leaves(self, route: &Arc<Route>) -> bool {
        let unchanged = self.model == SecurityModel::Secure || self.action == InsecureAction::Route;
        unchanged && !(self.model == SecurityModel::Xfp && names_scheme(route))
    }

    pub(super) fn of(self, route: &Arc<Route>) -> Vec<Arc<Route>> {
        variants(route, self.model, self.action)
    }
}

fn variants(route: &Arc<Route>, model: SecurityModel, action: InsecureAction) -> Vec<Arc<Route>> {
    let acme = literal(&route.matches.path) == Some(ACME_CHALLENGE);
    let action = if acme { InsecureAction::Route } else { action };
    let insecure = |route: Arc<Route>| match action {
        InsecureAction::Route => Some(route),
        InsecureAction::Redirect => Some(Arc::new(to_https(&route))),
        InsecureAction::Reject => None,
    };
    match model {
        SecurityModel::Secure => vec![Arc::clone(route)],
        SecurityModel::Insecure => insecure(Arc::clone(route)).into_iter().collect(),
        SecurityModel::Xfp => {
            let own = is_scheme;
            let names_it = names_scheme(route);
            if action == InsecureAction::Route && !names_it {
                // Secure or not, the same is done.
                return vec![Arc::clone(route)];
            }
            let mut secure = Route::clone(route);
            secure.matches.headers.retain(|header| !own(header));
            secure.matches.headers.push(HeaderMatch {
                name: MatchHeaderName::forwarded_proto(),
                value: StringMatch::Exact("https".into()),
            });
            let mut rest = Arc::clone(route);
            if names_it && route.matches.headers.len() > 1 {
                let mut without = Route::clone(route);
                without.matches.headers.retain(|header| !own(header));
                rest = Arc::new(without);
            }
            std::iter::once(Arc::new(secure))
                .chain(insecure(rest))
                .collect()
        }
    }
}

/// Whether a route is only for answering an authority that asks who has a name.
pub(super) fn is_challenge(path: &PathMatch) -> bool {
    literal(path).is_some_and(|path| path.starts_with(ACME_CHALLENGE))
}

fn literal(path: &PathMatch) -> Option<&str> {
    match path {
        PathMatch::Prefix(path) | PathMatch::Exact(path) => Some(path.as_str()),
        PathMatch::Segments(_) | PathMatch::Regex(_) | PathMatch::Connect => None,
    }
}

fn is_scheme(header: &HeaderMatch) -> bool {
    header.name == MatchHeaderName::forwarded_proto()
}

/// Whether a route asks by which scheme a request came.
fn names_scheme(route: &Route) -> bool {
    route.matches.headers.iter().any(is_scheme)
}

fn to_https(route: &Route) -> Route {
    Route {
        action: Action::Redirect(Redirect {
            scheme: Some(RedirectScheme::Https),
            host: None,
            port: None,
            path: RedirectPath::Keep,
            status: RedirectStatus::MovedPermanently,
        }),
        // A browser asks again where it is sent.
        cors: None,
        authorization: None,
        ..route.clone()
    }
}
