//! What is asked before the routes.

use std::net::IpAddr;

use nuncio_model::Gateway;
use nuncio_model::filter::{AccessAction, AddressAccess, AddressOf, CidrRange, FilterConfig};
use nuncio_model::value::Domain;

use crate::arrival::{Arrived, Connection, refused};
use crate::explanation::{Explanation, Filter, Outcome, Source};
use crate::request::Request;

/// Notes each filter, up to the one that ends the request.
pub(crate) fn ask(
    gateway: &Gateway,
    request: &Request,
    connection: &Connection<'_>,
    arrived: &Arrived,
    explanation: &mut Explanation,
) -> Option<Outcome> {
    let served =
        |domains: &Vec<Domain>| domains.iter().any(|domain| is(domain, &arrived.authority));
    if connection
        .http
        .authorities
        .as_ref()
        .is_some_and(|domains| !served(domains))
    {
        return Some(refused(
            404,
            format!("the connection was not made for {}", arrived.authority),
            "the server name of the TLS connection and the Host header must belong together",
        ));
    }
    for name in &connection.http.filters {
        let Some(filter) = gateway.filters.get(name) else {
            continue;
        };
        let allowed = match &filter.config {
            FilterConfig::AddressAccess(access) => allows(access, request.client),
            _ => Some(true),
        };
        explanation.filters.push(Filter {
            name: name.to_string(),
            says: match allowed {
                Some(true) => says(&filter.config).to_owned(),
                Some(false) => "the client's address is refused".to_owned(),
                None => "goes by the client's address: say which with --from".to_owned(),
            },
            source: Some(Source::of(&filter.origin)),
        });
        if allowed == Some(false) {
            return Some(refused(
                403,
                "the client's address may not send requests",
                "see ip_allow and ip_deny of the Module",
            ));
        }
    }
    None
}

fn says(config: &FilterConfig) -> &'static str {
    match config {
        FilterConfig::GrpcHttp1Bridge => "makes gRPC of HTTP/1.1",
        FilterConfig::GrpcWeb => "makes gRPC of gRPC-Web",
        FilterConfig::GrpcStats(_) => "counts calls of gRPC",
        FilterConfig::Lua(_) => "runs a script, which may do something else than is said here",
        FilterConfig::Gzip(_) | FilterConfig::Brotli(_) => "may compress the response",
        FilterConfig::Buffer { .. } => "waits for the whole request, and answers 413 to large ones",
        FilterConfig::ErrorResponses(_) => "may give an error other words",
        FilterConfig::RouteErrorResponses => "may give an error the words of its route",
        FilterConfig::AddressAccess(_) => "the client's address is allowed",
        // Those are asked after CORS.
        FilterConfig::Authorization(_)
        | FilterConfig::Refusal(_)
        | FilterConfig::RateLimit(_)
        | FilterConfig::Off(_) => "does nothing",
    }
}

fn is(domain: &Domain, authority: &str) -> bool {
    let (domain, authority) = (domain.as_str(), authority.to_ascii_lowercase());
    if let Some(suffix) = domain.strip_prefix('*') {
        authority.ends_with(suffix)
    } else if let Some(prefix) = domain.strip_suffix('*') {
        authority.starts_with(prefix)
    } else {
        authority == domain
    }
}

/// `None` where it is not known. The client behind a proxy is not told from the proxy.
fn allows(access: &AddressAccess, client: Option<IpAddr>) -> Option<bool> {
    let client = client?;
    let listed = access
        .principals
        .iter()
        .any(|principal| match principal.whose {
            AddressOf::Peer | AddressOf::Client => contains(principal.range, client),
        });
    Some(listed == (access.action == AccessAction::Allow))
}

fn contains(range: CidrRange, address: IpAddr) -> bool {
    let bits = |address: IpAddr| match address {
        IpAddr::V4(address) => (u128::from(address.to_bits()) << 96, 32),
        IpAddr::V6(address) => (address.to_bits(), 128),
    };
    let ((range_bits, size), (own, own_size)) = (bits(range.address), bits(address));
    let length = u32::from(range.prefix_len).min(size);
    let mask = u128::MAX.checked_shl(128 - length).unwrap_or(0);
    size == own_size && range_bits & mask == own & mask
}
