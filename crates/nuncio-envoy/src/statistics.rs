//! Names under which Envoy counts: what makes its statistics say which Host they are of.

use nuncio_envoy_api::envoy::config::listener::v3 as lds;
use nuncio_envoy_api::envoy::config::route::v3 as rds;
use nuncio_envoy_api::envoy::extensions::filters::network::connection_limit::v3::ConnectionLimit;
use nuncio_envoy_api::google::protobuf::UInt64Value;
use nuncio_envoy_api::pack;
use nuncio_model::listener::DownstreamTls;
use nuncio_model::value::Domain;
use serde_json::{Value, json};

use crate::proto::authority_is;

/// Hosts of one virtual host that are counted each for itself. Envoy looks for a request's one by
/// one; those beyond are counted together, as `other`, so that no request pays for thousands.
const COUNTED_HOSTS: usize = 50;

/// The tag that names a Host, a label of Prometheus. Not `host`: Datadog takes that for the machine.
const HOST_TAG: &str = "nuncio.host";

/// How Envoy finds the Host in the name of a statistic. Its own rules end a name at the first dot.
/// The first group is taken out of the name, the second is the Host. Rules that begin with a word
/// and a dot are tried on those statistics alone, which matters: there may be a million others.
pub(crate) fn tags() -> Vec<Value> {
    // vhost.<table>.<domain>.vcluster.<host>.upstream_rq_…
    let requests = r"^vhost\.[^.]+\.(.+\.vcluster\.(.+)\.)upstream_rq";
    // connection_limit.<host>.active_connections
    let connections = r"^connection_limit\.((.+)\.)\w+$";
    [requests, connections]
        .map(|regex| json!({ "tag_name": HOST_TAG, "regex": regex }))
        .into()
}

/// Counts the requests of each domain, in the order in which virtual hosts are chosen: the most
/// exact first.
pub(crate) fn virtual_clusters(domains: &[Domain]) -> Vec<rds::VirtualCluster> {
    let mut domains: Vec<&Domain> = domains.iter().collect();
    domains.sort_by_key(|domain| {
        let text = domain.as_str();
        let kind = (domain.is_any(), text.ends_with('*'), text.starts_with('*'));
        (kind, std::cmp::Reverse(text.len()))
    });
    domains
        .into_iter()
        .take(COUNTED_HOSTS)
        .map(|domain| rds::VirtualCluster {
            headers: vec![authority_is(domain)],
            name: name(domain.as_str()),
        })
        .collect()
}

/// Counts the connections of a chain, and limits nothing. A chain has no statistics of its own, and
/// another prefix of its connection manager would take it out of its listener's.
pub(crate) fn connections(tls: &DownstreamTls) -> lds::Filter {
    let host = tls.server_name.as_ref().map_or("*", |name| name.as_str());
    lds::Filter {
        name: "envoy.filters.network.connection_limit".to_owned(),
        config_type: Some(lds::filter::ConfigType::TypedConfig(pack(
            &ConnectionLimit {
                stat_prefix: name(host),
                max_connections: Some(UInt64Value {
                    value: u32::MAX.into(),
                }),
                ..Default::default()
            },
        ))),
    }
}

/// A colon ends a name in StatsD.
fn name(host: &str) -> String {
    host.replace(':', "_")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(domains: &[&str]) -> Vec<String> {
        let domains: Vec<_> = domains.iter().map(|d| Domain::new(d).unwrap()).collect();
        let counted = virtual_clusters(&domains).into_iter();
        counted.map(|cluster| cluster.name).collect()
    }

    #[test]
    fn the_most_exact_host_is_counted() {
        assert_eq!(
            names(&["*", "a.*", "*.example", "*.a.example", "b.example:8443"]),
            ["b.example_8443", "*.a.example", "*.example", "a.*", "*"]
        );
    }

    #[test]
    fn no_request_pays_for_thousands_of_hosts() {
        let many: Vec<_> = (0..1000).map(|n| format!("h{n}.example")).collect();
        let many: Vec<_> = many.iter().map(String::as_str).collect();
        assert_eq!(names(&many).len(), COUNTED_HOSTS);
    }
}
