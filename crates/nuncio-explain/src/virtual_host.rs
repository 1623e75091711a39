//! Which virtual host a host belongs to: an exact name, the longest suffix, the longest prefix,
//! `*`.

use nuncio_model::route::{self, RouteTable};

use crate::closest::without_port;
use crate::explanation::{Source, VirtualHost};

pub(crate) struct Found<'g> {
    pub(crate) host: &'g route::VirtualHost,
    domain: usize,
}

impl Found<'_> {
    pub(crate) fn described(&self) -> VirtualHost {
        VirtualHost {
            name: self.host.name.to_string(),
            domain: self.host.domains[self.domain].to_string(),
            source: self.host.origins.get(self.domain).map(Source::of),
        }
    }
}

pub(crate) fn find<'g>(table: &'g RouteTable, authority: &str) -> Option<Found<'g>> {
    let name = authority.to_ascii_lowercase();
    let name = match table.ignore_port {
        true => without_port(&name),
        false => &name,
    };
    let domains = table.virtual_hosts.iter().flat_map(|host| {
        let domains = host.domains.iter().enumerate();
        domains.map(move |(at, domain)| (rank(domain.as_str(), name), host, at))
    });
    let (rank, host, domain) = domains.max_by_key(|(rank, _, _)| *rank)?;
    rank.map(|_| Found { host, domain })
}

/// How well a domain fits; `None` where it does not. A wildcard stands for one character at least.
fn rank(domain: &str, name: &str) -> Option<(u8, usize)> {
    let longer = name.len() > domain.len() - usize::from(domain.contains('*'));
    if domain == "*" {
        Some((0, 0))
    } else if let Some(suffix) = domain.strip_prefix('*') {
        (longer && name.ends_with(suffix)).then_some((2, suffix.len()))
    } else if let Some(prefix) = domain.strip_suffix('*') {
        (longer && name.starts_with(prefix)).then_some((1, prefix.len()))
    } else {
        (domain == name).then_some((3, 0))
    }
}

#[cfg(test)]
mod tests {
    use super::rank;

    #[test]
    fn the_best_domain_counts() {
        let best = |name: &str| {
            let domains = ["*", "a.*", "*.example", "*.b.example", "a.b.example"];
            domains.into_iter().max_by_key(|domain| rank(domain, name))
        };
        assert_eq!(best("a.b.example"), Some("a.b.example"));
        assert_eq!(best("x.b.example"), Some("*.b.example"));
        assert_eq!(best("a.example"), Some("*.example"));
        assert_eq!(best("a.test"), Some("a.*"));
        assert_eq!(best("b.test"), Some("*"));
        assert_eq!(rank("*.example", ".example"), None);
    }
}
