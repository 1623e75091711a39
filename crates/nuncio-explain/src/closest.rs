//! Why nothing takes a request, and which route nearly does.

use nuncio_model::route::{PathMatch, RouteTable, VirtualHost};

use crate::arrival::{Arrived, Connection, refused};
use crate::choice;
use crate::explanation::{Closest, Difference, Explanation, Outcome};
use crate::pattern::Patterns;
use crate::{matching, virtual_host};

/// No virtual host has the host.
pub(crate) fn without_host(
    table: &RouteTable,
    connection: &Connection<'_>,
    arrived: &Arrived,
) -> Outcome {
    let domains: Vec<&str> = table
        .virtual_hosts
        .iter()
        .flat_map(|host| &host.domains)
        .map(|domain| domain.as_str())
        .take(10)
        .collect();
    let help = port_help(connection, arrived)
        .filter(|_| virtual_host::find(table, without_port(&arrived.authority)).is_some())
        .unwrap_or_else(|| match domains.is_empty() {
            true => "no Host has a Mapping: write one with a hostname that they share".to_owned(),
            false => format!("write a Host for it; there are {}", domains.join(", ")),
        });
    let why = format!("no Host has the hostname {}", arrived.authority);
    refused(404, why, help)
}

/// No route of the virtual host takes the request, or none takes what shares leave.
pub(crate) fn without_route(
    patterns: &Patterns,
    host: &VirtualHost,
    connection: &Connection<'_>,
    arrived: &Arrived,
    shared: bool,
    explanation: &mut Explanation,
) -> Outcome {
    if shared {
        return refused(
            404,
            "the weights of the routes that match add up to less than 100, and no later one matches",
            "write weights that add up to 100, or leave one out: it has the rest",
        );
    }
    let closest = closest(patterns, host, arrived);
    let host_differs = |closest: &Closest| {
        let mut all = closest.differences.iter();
        all.any(|each| each.what == "header :authority")
    };
    let cleartext = |closest: &Closest| {
        let [Difference { what, .. }] = closest.differences.as_slice() else {
            return false;
        };
        what == "header x-forwarded-proto"
    };
    let help = match &closest {
        Some(closest) if cleartext(closest) => {
            "only secure requests are routed: ask by https://, or write \
             requestPolicy.insecure.action: Route in the Host"
                .to_owned()
        }
        Some(closest) if host_differs(closest) => port_help(connection, arrived)
            .unwrap_or_else(|| "the hostname of the Mapping is another".to_owned()),
        Some(_) => "see the closest route, and what differs".to_owned(),
        None => {
            "write a Mapping, or the rule of a route, with a path that it begins with".to_owned()
        }
    };
    explanation.closest = closest;
    let why = format!(
        "none of the {} routes of {} matches {} {}",
        host.routes.len(),
        arrived.authority,
        arrived.method,
        arrived.path
    );
    refused(404, why, help)
}

pub(crate) fn without_port(authority: &str) -> &str {
    authority
        .rsplit_once(':')
        .map_or(authority, |(name, _)| name)
}

/// A name with a port is another name, unless the Module says otherwise.
fn port_help(connection: &Connection<'_>, arrived: &Arrived) -> Option<String> {
    let (_, port) = arrived.authority.rsplit_once(':')?;
    let same = port.parse() == Ok(connection.listener.port);
    (same && !connection.http.options.strip_matching_host_port).then(|| {
        "the Host header has the port: write strip_matching_host_port: true into the Module, or \
         the port into the hostname"
            .to_owned()
    })
}

/// The one with the fewest differences; of several, the one whose path is most alike, then the one
/// tried first. One that has nothing in common is not close.
fn closest(patterns: &Patterns, host: &VirtualHost, arrived: &Arrived) -> Option<Closest> {
    let path = arrived.path_alone();
    let candidates = host.routes.iter().enumerate().filter_map(|(index, route)| {
        let of_path = !matching::path_matches(patterns, &route.matches, arrived);
        let common = match &route.matches.path {
            PathMatch::Prefix(wanted) | PathMatch::Exact(wanted) => common(wanted.as_str(), path),
            PathMatch::Segments(wanted) => common(wanted.as_str(), path),
            PathMatch::Regex(wanted) => common(wanted.as_str(), path),
            PathMatch::Connect => 0,
        };
        if of_path && common <= 1 {
            return None;
        }
        let differences = matching::differences(patterns, &route.matches, arrived);
        let close = !differences.is_empty();
        close.then_some((
            of_path,
            differences.len(),
            usize::MAX - common,
            index,
            differences,
        ))
    });
    let (.., index, differences) =
        candidates.min_by_key(|each| (each.0, each.1, each.2, each.3))?;
    Some(Closest {
        route: choice::described(&host.routes[index], index + 1, host.routes.len()),
        differences,
    })
}

fn common(one: &str, other: &str) -> usize {
    let pairs = one.bytes().zip(other.bytes());
    pairs.take_while(|(a, b)| a.eq_ignore_ascii_case(b)).count()
}
