//! `cluster_info` and `cluster_stats`: clusters, and how their upstreams do.

use std::collections::BTreeMap;

use nuncio_model::cluster::{Cluster, Discovery, DnsFamily, DnsLookup, Endpoint, LbPolicy};
use nuncio_translate::getambassador::{MemberInfo, MemberKind};
use serde::Serialize;

use super::document::{Document, Index};
use super::live::Counts;
use super::scene::Scene;

/// Keys of the resources that use a cluster, by its name.
pub(super) type References<'a> = Index<'a, Vec<&'a str>>;

pub(super) fn references(scene: &Scene) -> References<'_> {
    let inventory = &scene.served.inventory;
    let http = inventory.groups.iter().flat_map(|group| &group.members);
    let tcp = inventory.tcp_groups.iter().flat_map(|group| &group.members);
    let mut references = References::new();
    for member in http.chain(tcp) {
        let name = member.cluster.as_deref().unwrap_or_default();
        references.entry(name).or_default().push(&member.rkey);
    }
    references
}

/// A cluster as Emissary's `IRCluster`, with its health.
#[derive(Serialize)]
pub(super) struct ClusterInfo<'a> {
    name: &'a str,
    service: &'a str,
    _referenced_by: &'a [&'a str],
    _health: String,
    _hmetric: String,
    _hcolor: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    weight: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    type_label: Option<&'static str>,
    #[serde(flatten)]
    details: Option<Details<'a>>,
}

/// What a redirect does not have.
#[derive(Serialize)]
struct Details<'a> {
    kind: &'static str,
    envoy_name: &'a str,
    stats_name: &'a str,
    namespace: &'a str,
    location: &'a str,
    r#type: &'static str,
    lb_type: &'static str,
    urls: [String; 1],
    targets: Vec<Target>,
    connect_timeout_ms: u128,
    #[serde(skip_serializing_if = "Option::is_none")]
    cluster_idle_timeout_ms: Option<u128>,
    enable_ipv4: bool,
    enable_ipv6: bool,
    enable_endpoints: bool,
    respect_dns_ttl: bool,
    grpc: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    tls_context: Option<TlsInfo<'a>>,
    ignore_cluster: bool,
    _active: bool,
    _errored: bool,
    _hostname: &'a str,
    _port: u16,
    _namespace: &'a str,
    _resolver: &'a str,
    _rkey: &'a str,
}

#[derive(Serialize)]
struct Target {
    ip: String,
    port: u16,
    target_kind: &'static str,
}

/// How TLS is originated: names of secrets, never what is in them.
#[derive(Serialize)]
struct TlsInfo<'a> {
    kind: &'static str,
    sni: Option<&'a str>,
    certificate: Option<&'a str>,
    authorities: Option<&'a str>,
}

/// Clusters by name, with all that use them.
pub(super) fn info<'a>(document: &'a Document<'_>) -> BTreeMap<&'a str, ClusterInfo<'a>> {
    let scene = document.scene;
    let clusters = scene.served.gateway.clusters.iter();
    clusters
        .filter(|(name, _)| document.has_cluster(name))
        .map(|(name, cluster)| {
            let users = document
                .references
                .get(&**name)
                .map_or(&[][..], Vec::as_slice);
            (&**name, of_cluster(scene, cluster, users))
        })
        .collect()
}

/// A cluster as a route has it: `_referenced_by` is left to `cluster_info`, because a cluster that
/// all routes share would have all of them in each.
pub(super) fn of_member<'a>(scene: &'a Scene, member: &'a MemberInfo) -> ClusterInfo<'a> {
    let clusters = &scene.served.gateway.clusters;
    let cluster = member.cluster.as_ref().and_then(|name| clusters.get(name));
    let of = match cluster {
        Some(cluster) => of_cluster(scene, cluster, &[]),
        None => ClusterInfo {
            name: &member.name,
            service: &member.service,
            _referenced_by: &[],
            _health: "unknown cluster!".to_owned(),
            _hmetric: "unknown".to_owned(),
            _hcolor: "orange",
            weight: None,
            type_label: None,
            details: None,
        },
    };
    ClusterInfo {
        weight: Some(member.weight),
        type_label: match member.kind {
            MemberKind::Route => None,
            MemberKind::Shadow => Some("shadow"),
            MemberKind::Redirect => Some("redirect"),
        },
        ..of
    }
}

fn of_cluster<'a>(scene: &'a Scene, cluster: &'a Cluster, users: &'a [&'a str]) -> ClusterInfo<'a> {
    let upstream = scene.served.inventory.upstreams.get(&cluster.name);
    let health = Health::of(scene, cluster);
    let origin = &cluster.origin.resource;
    let first = users.first().copied().unwrap_or(&origin.name);
    let (ipv4, ipv6, respect_dns_ttl) = match &cluster.discovery {
        Discovery::Dns {
            family,
            respect_ttl,
            ..
        } => (
            *family != DnsFamily::V6Only,
            *family != DnsFamily::V4Only,
            *respect_ttl,
        ),
        _ => (true, true, false),
    };
    let (host, port) = upstream.map_or(("", 0), |of| (&*of.host, of.port));
    ClusterInfo {
        name: &cluster.name,
        service: upstream.map_or("", |of| &of.service),
        _referenced_by: users,
        _health: health.text,
        _hmetric: health.metric,
        _hcolor: health.color,
        weight: None,
        type_label: None,
        details: Some(Details {
            kind: "IRCluster",
            envoy_name: &cluster.name,
            stats_name: stats_name(cluster),
            namespace: &origin.namespace,
            location: first,
            r#type: match &cluster.discovery {
                Discovery::Eds(_) => "EDS",
                Discovery::Static(_) | Discovery::Pipe(_) => "static",
                Discovery::Dns { lookup, .. } => match lookup {
                    DnsLookup::Strict => "strict_dns",
                    DnsLookup::Logical => "logical_dns",
                },
            },
            lb_type: match cluster.lb_policy {
                LbPolicy::RoundRobin => "round_robin",
                LbPolicy::LeastRequest => "least_request",
                LbPolicy::RingHash => "ring_hash",
                LbPolicy::Maglev => "maglev",
            },
            urls: [format!("tcp://{host}:{port}")],
            targets: endpoints(scene, cluster)
                .iter()
                .map(|endpoint| Target {
                    ip: endpoint.address.to_string(),
                    port: endpoint.port,
                    target_kind: "IP",
                })
                .collect(),
            connect_timeout_ms: cluster.connect_timeout.as_millis(),
            cluster_idle_timeout_ms: cluster.idle_timeout.map(|time| time.as_millis()),
            enable_ipv4: ipv4,
            enable_ipv6: ipv6,
            enable_endpoints: matches!(cluster.discovery, Discovery::Eds(_)),
            respect_dns_ttl,
            grpc: cluster.protocol == nuncio_model::cluster::UpstreamProtocol::Http2,
            tls_context: cluster.tls.as_ref().map(|tls| TlsInfo {
                kind: "IRTLSContext",
                sni: tls.sni.as_deref(),
                certificate: tls.certificate.as_deref(),
                authorities: tls.validation.as_deref(),
            }),
            ignore_cluster: false,
            _active: true,
            _errored: false,
            _hostname: host,
            _port: port,
            _namespace: &origin.namespace,
            _resolver: upstream.map_or("", |of| &of.resolver),
            _rkey: first,
        }),
    }
}

/// Endpoints that nuncio knows of; those of DNS only Envoy does.
pub(super) fn endpoints<'a>(scene: &'a Scene, cluster: &'a Cluster) -> &'a [Endpoint] {
    match &cluster.discovery {
        Discovery::Eds(set) => scene
            .served
            .gateway
            .endpoints
            .get(set)
            .map_or(&[], |set| &set.endpoints),
        Discovery::Static(endpoints) => endpoints,
        Discovery::Pipe(_) | Discovery::Dns { .. } => &[],
    }
}

pub(super) fn stats_name(cluster: &Cluster) -> &str {
    cluster.alt_stat_name.as_deref().unwrap_or(&cluster.name)
}

/// How the upstreams of a cluster answer, in Emissary's words and colours.
pub(super) struct Health {
    pub(super) text: String,
    metric: String,
    pub(super) color: &'static str,
}

impl Health {
    pub(super) fn of(scene: &Scene, cluster: &Cluster) -> Self {
        let stats = scene.stats.as_ref();
        let counts = stats.map(|stats| stats.get(stats_name(cluster)));
        Self::new(counts)
    }

    /// Of the counts of a cluster; `None` when Envoy gives none at all.
    fn new(counts: Option<Option<&Counts>>) -> Self {
        let said = |text: &str, metric: &str| Self {
            text: text.to_owned(),
            metric: metric.to_owned(),
            color: "grey",
        };
        let Some(counts) = counts else {
            return said("no stats yet", "startup");
        };
        match counts.and_then(healthy_percent) {
            None => said("no requests yet", "waiting"),
            Some(percent) => Self {
                text: format!("{percent}% healthy"),
                metric: percent.to_string(),
                color: match percent {
                    90.. => "green",
                    70.. => "yellow",
                    _ => "red",
                },
            },
        }
    }
}

fn healthy_percent(counts: &Counts) -> Option<u64> {
    let completed = counts.completed.filter(|n| *n > 0)?;
    let failed = counts.server_errors.unwrap_or(0);
    Some(percent(completed.saturating_sub(failed), completed))
}

fn percent(part: u64, whole: u64) -> u64 {
    (part * 100).checked_div(whole).unwrap_or(0)
}

#[derive(Serialize)]
pub(super) struct ClusterStats {
    valid: bool,
    reason: String,
    health: String,
    hmetric: String,
    hcolor: &'static str,
    #[serde(flatten)]
    counted: Option<Counted>,
}

#[derive(Serialize)]
struct Counted {
    healthy_members: Option<u64>,
    total_members: Option<u64>,
    healthy_percent: Option<u64>,
    update_attempts: u64,
    update_successes: u64,
    update_percent: u64,
    upstream_ok: u64,
    upstream_4xx: u64,
    upstream_5xx: u64,
    upstream_bad: u64,
}

impl Counted {
    fn new(counts: &Counts) -> Self {
        let (attempts, successes) = (counts.update_attempts, counts.update_successes);
        let (attempts, successes) = (attempts.unwrap_or(0), successes.unwrap_or(0));
        let bad = counts.server_errors.unwrap_or(0);
        Self {
            healthy_members: counts.healthy,
            total_members: counts.total,
            healthy_percent: healthy_percent(counts),
            update_attempts: attempts,
            update_successes: successes,
            update_percent: percent(successes, attempts),
            upstream_ok: counts.completed.unwrap_or(0).saturating_sub(bad),
            upstream_4xx: counts.client_errors.unwrap_or(0),
            upstream_5xx: bad,
            upstream_bad: bad,
        }
    }
}

/// By the name of the cluster.
pub(super) fn stats(scene: &Scene) -> BTreeMap<&str, ClusterStats> {
    let clusters = scene.served.gateway.clusters.iter();
    clusters
        .map(|(name, cluster)| {
            let health = Health::of(scene, cluster);
            let stats = scene.stats.as_ref();
            let counts = stats.and_then(|stats| stats.get(stats_name(cluster)));
            let stats = ClusterStats {
                valid: stats.is_some(),
                reason: match stats {
                    Some(_) => format!("Cluster {name} is up to date"),
                    None => "No stats updates have succeeded".to_owned(),
                },
                health: health.text,
                hmetric: health.metric,
                hcolor: health.color,
                counted: counts.map(Counted::new),
            };
            (&**name, stats)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn health_is_the_share_of_requests_that_did_not_fail() {
        let of = |completed, server_errors| {
            let counts = Counts {
                completed: Some(completed),
                server_errors: Some(server_errors),
                ..Counts::default()
            };
            let health = Health::new(Some(Some(&counts)));
            format!("{} {} {}", health.text, health.metric, health.color)
        };
        assert_eq!(of(10, 1), "90% healthy 90 green");
        assert_eq!(of(10, 3), "70% healthy 70 yellow");
        assert_eq!(of(10, 4), "60% healthy 60 red");
        assert_eq!(of(0, 0), "no requests yet waiting grey");
        assert_eq!(Health::new(Some(None)).text, "no requests yet");
        assert_eq!(Health::new(None).text, "no stats yet");
    }
}
