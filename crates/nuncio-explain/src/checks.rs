//! What services are asked about a request, after CORS and before its route answers.

use nuncio_model::Gateway;
use nuncio_model::external::{AUTHORIZATION, Label, ROUTE_AUTHORIZATION, RouteAuth};
use nuncio_model::filter::{FilterConfig, HttpFilter};
use nuncio_model::listener::HttpConnectionManager;
use nuncio_model::route::{Action, Route};

use crate::action;
use crate::arrival::{Arrived, refused};
use crate::explanation::{Filter, Outcome, Source};

/// Paths that pass where no AuthService is in effect.
const PROBES: [&str; 2] = ["/ambassador/v0/check_alive", "/ambassador/v0/check_ready"];

pub(crate) struct Checks {
    pub(crate) filters: Vec<Filter>,
    /// What is answered in place of what the route says.
    pub(crate) refused: Option<Outcome>,
}

/// What those who are asked answer is not known here: the request is taken to pass.
pub(crate) fn of(
    gateway: &Gateway,
    http: &HttpConnectionManager,
    route: Option<&Route>,
    arrived: &Arrived,
) -> Checks {
    let mut checks = Checks {
        filters: Vec::new(),
        refused: None,
    };
    for name in &http.late_filters {
        if let Some(filter) = gateway.filters.get(name) {
            checks.add(gateway, filter, route, arrived);
        }
        if checks.refused.is_some() {
            break;
        }
        if **name == *AUTHORIZATION {
            checks
                .filters
                .extend(route.and_then(|route| own(gateway, route)));
        }
    }
    checks
}

impl Checks {
    fn add(
        &mut self,
        gateway: &Gateway,
        filter: &HttpFilter,
        route: Option<&Route>,
        arrived: &Arrived,
    ) {
        let says = match &filter.config {
            // Envoy asks about no request that has no route.
            FilterConfig::Authorization(_) if route.is_none() => return,
            FilterConfig::Authorization(asked) => match auth(route) {
                RouteAuth::Bypassed => "is not asked about such requests".to_owned(),
                auth => format!(
                    "asks {} whether the request may pass{}",
                    whom(gateway, &asked.cluster),
                    told(&auth)
                ),
            },
            FilterConfig::Refusal(_) if auth(route) == RouteAuth::Bypassed => {
                "is not asked about such requests".to_owned()
            }
            FilterConfig::Refusal(_) if PROBES.contains(&arrived.path.as_str()) => {
                "lets nothing but the probes pass, because no AuthService is in effect".to_owned()
            }
            FilterConfig::Refusal(_) => {
                self.refused = Some(refused(
                    500,
                    "no AuthService is in effect, so that nothing passes",
                    "mend the AuthService: `nuncio check` says what is wrong with it",
                ));
                "lets nothing pass, because no AuthService is in effect".to_owned()
            }
            FilterConfig::RateLimit(asked) => {
                let descriptors = descriptors(route, &asked.domain);
                if descriptors.is_empty() {
                    return;
                }
                format!(
                    "asks {} whether there are too many requests with {descriptors}",
                    whom(gateway, &asked.cluster)
                )
            }
            _ => return,
        };
        self.filters.push(Filter {
            name: filter.config.name().to_owned(),
            says,
            source: Some(Source::of(&filter.origin)),
        });
    }
}

/// Who is asked about its route alone.
fn own(gateway: &Gateway, route: &Route) -> Option<Filter> {
    let asked = route.authorization.as_ref()?;
    Some(Filter {
        name: ROUTE_AUTHORIZATION.to_owned(),
        says: format!(
            "asks {} whether the request may pass",
            whom(gateway, &asked.cluster)
        ),
        source: Some(Source::of(&route.origin)),
    })
}

/// A redirect comes before.
fn auth(route: Option<&Route>) -> RouteAuth {
    match route.map(|route| &route.action) {
        Some(Action::Redirect(_)) => RouteAuth::Bypassed,
        Some(Action::Forward(forward)) => match &forward.checks {
            Some(checks) => checks.auth.clone(),
            None => RouteAuth::Asked,
        },
        Some(Action::DirectResponse { .. }) | None => RouteAuth::Asked,
    }
}

fn told(auth: &RouteAuth) -> String {
    let RouteAuth::Extended(extensions) = auth else {
        return String::new();
    };
    let pairs: Vec<String> = extensions
        .iter()
        .map(|(name, value)| format!("{name} = {value}"))
        .collect();
    format!(", and tells it {}", pairs.join(", "))
}

fn whom(gateway: &Gateway, cluster: &str) -> String {
    let endpoints = action::cluster(gateway, cluster).endpoints;
    if endpoints.is_empty() {
        return format!("{cluster} (which has no endpoints)");
    }
    endpoints.join(", ")
}

/// Each counts for itself.
fn descriptors(route: Option<&Route>, domain: &str) -> String {
    let Some(Action::Forward(forward)) = route.map(|route| &route.action) else {
        return String::new();
    };
    let checks = forward.checks.as_ref();
    let descriptors = checks.and_then(|checks| checks.labels.get(domain));
    let words = |labels: &Vec<Label>| {
        let labels: Vec<String> = labels.iter().map(label).collect();
        labels.join(" and ")
    };
    let all: Vec<String> = descriptors.into_iter().flatten().map(words).collect();
    all.join(", or ")
}

fn label(label: &Label) -> String {
    match label {
        Label::SourceCluster => "the same source_cluster".to_owned(),
        Label::DestinationCluster => "the same destination_cluster".to_owned(),
        Label::RemoteAddress => "the same remote_address".to_owned(),
        Label::RequestHeader { key, header } => format!("the same {key} (header {header})"),
        Label::GenericKey { key, value } => format!("{key} = {value}"),
    }
}
