//! Which routes take the request, and how large a share of those like it.

use nuncio_model::Gateway;
use nuncio_model::route::{self, RuntimeFraction, VirtualHost};
use nuncio_model::runtime::RuntimeValue;
use nuncio_model::value::Fraction;

use crate::arrival::Arrived;
use crate::explanation::{Route, Source};
use crate::matching;
use crate::pattern::Patterns;

pub(crate) struct Chosen<'g> {
    pub(crate) share: Fraction,
    /// The route with its index; none is for the rest, which nothing takes.
    pub(crate) route: Option<&'g route::Route>,
    place: usize,
    of: usize,
}

/// Envoy draws one number a request: a route takes those below its share that none before took.
pub(crate) fn choose<'g>(
    gateway: &Gateway,
    patterns: &Patterns,
    host: &'g VirtualHost,
    arrived: &Arrived,
) -> Vec<Chosen<'g>> {
    let mut chosen = Vec::new();
    let mut taken = Fraction::NONE;
    let of = host.routes.len();
    for (index, route) in host.routes.iter().enumerate() {
        let fraction = route.matches.fraction.as_ref();
        let below = fraction.map_or(Fraction::ALL, |fraction| share(gateway, fraction));
        if below <= taken || !matching::is_match(patterns, &route.matches, arrived) {
            continue;
        }
        chosen.push(Chosen {
            share: below.without(taken),
            route: Some(route),
            place: index + 1,
            of,
        });
        taken = below;
        if taken == Fraction::ALL {
            return chosen;
        }
    }
    chosen.push(Chosen {
        share: Fraction::ALL.without(taken),
        route: None,
        place: 0,
        of,
    });
    chosen
}

/// The runtime may say another share than the route.
fn share(gateway: &Gateway, fraction: &RuntimeFraction) -> Fraction {
    let runtime = gateway.runtime.iter().find_map(|(key, value)| {
        let is_its = fraction.runtime_key.as_deref() == Some(key.as_str());
        match value {
            RuntimeValue::Number(number) if is_its => Some(Fraction::percent(*number)),
            _ => None,
        }
    });
    runtime.unwrap_or(fraction.share)
}

impl Chosen<'_> {
    pub(crate) fn described(&self) -> Option<Route> {
        self.route
            .map(|route| described(route, self.place, self.of))
    }
}

pub(crate) fn described(route: &route::Route, place: usize, of: usize) -> Route {
    Route {
        matches: matching::words(&route.matches),
        place,
        of,
        source: Source::of(&route.origin),
    }
}
