//! `load_balancer`: which endpoint a request goes to.

use nuncio_api::getambassador::LoadBalancer;
use nuncio_model::cluster::LbPolicy;
use nuncio_model::route::HashPolicy;
use nuncio_model::value::HeaderName;

use super::mistake::Mistake;
use super::values::duration;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct LoadBalancing {
    pub(crate) policy: LbPolicy,
    pub(crate) hash: Option<HashPolicy>,
    /// What it adds to a cluster's name.
    pub(crate) name_part: String,
}

const HELP: &str = "write policy: round_robin, least_request, ring_hash or maglev; the latter two \
    with one of header, cookie and source_ip: true";

/// `field` is where it stands.
pub(crate) fn read(field: &str, spec: &LoadBalancer) -> Result<LoadBalancing, Mistake> {
    let wrong = |what: String| {
        Mistake::new(
            field,
            format!("Invalid load_balancer specified: {what}"),
            HELP,
        )
    };
    let policy = match spec.policy.as_str() {
        "round_robin" => LbPolicy::RoundRobin,
        "least_request" => LbPolicy::LeastRequest,
        "ring_hash" => LbPolicy::RingHash,
        "maglev" => LbPolicy::Maglev,
        "" => return Err(wrong("it has no policy".to_owned())),
        other => return Err(wrong(format!("there is no policy {other}"))),
    };
    let mut name_part = format!("er-{}", spec.policy);
    let source_ip = spec.source_ip == Some(true);
    let header = spec.header.as_deref().filter(|name| !name.is_empty());
    let given =
        usize::from(source_ip) + usize::from(header.is_some()) + usize::from(spec.cookie.is_some());
    if matches!(policy, LbPolicy::RoundRobin | LbPolicy::LeastRequest) {
        if given > 0 {
            return Err(wrong(format!(
                "{} goes by no header, cookie or address",
                spec.policy
            )));
        }
        return Ok(LoadBalancing {
            policy,
            hash: None,
            name_part,
        });
    }
    if given != 1 {
        return Err(wrong(format!(
            "{} goes by exactly one of header, cookie and source_ip, not {given}",
            spec.policy
        )));
    }
    let hash = if let Some(header) = header {
        name_part.push_str(&format!("-hdr-{header}"));
        HashPolicy::Header(HeaderName::new(header).map_err(Mistake::at(format!("{field}.header")))?)
    } else if let Some(cookie) = &spec.cookie {
        name_part.push_str(&format!("-cookie-{}", cookie.name));
        let at = |name: &str| format!("{field}.cookie.{name}");
        let ttl = cookie.ttl.as_deref().filter(|ttl| !ttl.is_empty());
        HashPolicy::Cookie {
            name: HeaderName::new(&cookie.name).map_err(Mistake::at(at("name")))?,
            path: cookie.path.as_deref().unwrap_or_default().into(),
            ttl: ttl.map(|ttl| duration(&at("ttl"), ttl)).transpose()?,
        }
    } else {
        name_part.push_str("-srcip");
        HashPolicy::SourceIp
    };
    Ok(LoadBalancing {
        policy,
        hash: Some(hash),
        name_part,
    })
}
