//! CORS: what pages of other origins are told.

use nuncio_model::route::Cors;

use crate::arrival::Arrived;
use crate::explanation::HeaderChange;
use crate::matching::string_matches;
use crate::pattern::Patterns;

/// What a page is told that the policy allows.
pub(crate) enum Told {
    /// By Envoy itself, in place of an answer.
    Preflight(Vec<HeaderChange>),
    /// Beside the answer.
    Beside(Vec<HeaderChange>),
}

pub(crate) fn tell(patterns: &Patterns, policy: &Cors, arrived: &Arrived) -> Option<Told> {
    let origin = arrived
        .headers
        .first("origin")
        .filter(|origin| !origin.is_empty())?;
    let is_allowed = |allowed: &_| string_matches(patterns, allowed, origin) || *allowed == any();
    let asked = arrived.headers.first("access-control-request-method");
    let preflight = arrived.method == "OPTIONS" && asked.is_some_and(|asked| !asked.is_empty());
    if !policy.allow_origins.iter().any(is_allowed) {
        let answered = preflight && policy.answers_others;
        return answered.then(|| Told::Preflight(Vec::new()));
    }
    let credentials = policy.allow_credentials.then(|| "true".to_owned());
    let list = |items: &[std::sync::Arc<str>]| (!items.is_empty()).then(|| items.join(", "));
    let mut headers = vec![
        ("access-control-allow-origin", Some(origin.to_owned())),
        ("access-control-allow-credentials", credentials),
    ];
    if preflight {
        headers.extend([
            ("access-control-allow-methods", list(&policy.allow_methods)),
            ("access-control-allow-headers", list(&policy.allow_headers)),
            (
                "access-control-max-age",
                policy.max_age.as_deref().map(str::to_owned),
            ),
        ]);
    }
    headers.push((
        "access-control-expose-headers",
        list(&policy.expose_headers),
    ));
    let changes = headers.into_iter().filter_map(|(name, value)| {
        Some(HeaderChange {
            name: name.to_owned(),
            value: Some(value?),
            append: false,
        })
    });
    Some(match preflight {
        true => Told::Preflight(changes.collect()),
        false => Told::Beside(changes.collect()),
    })
}

/// Envoy takes `*` for every origin.
fn any() -> nuncio_model::route::StringMatch {
    nuncio_model::route::StringMatch::Exact("*".into())
}
