//! What each query of the dashboard must say of the traffic.

use std::collections::BTreeMap;

use crate::scene::OPEN;

/// Values by their labels' values, in the order of the labels' names.
pub(crate) type Values = BTreeMap<String, f64>;

type Holds = Box<dyn Fn(&Values) -> bool>;
type Labels = &'static [&'static str];

const LISTENER: Labels = &["envoy_http_conn_manager_prefix"];
const HOST: Labels = &["nuncio_host"];
const MAPPING: Labels = &["envoy_cluster_name"];

/// So many in the two minutes that a rate is of. Prometheus reckons what was before the first scrape
/// and after the last.
fn counted(per_second: f64, count: u32) -> bool {
    let (counted, count) = (per_second * 120.0, f64::from(count));
    count * 0.99 <= counted && counted <= count * 1.5
}

fn rates(wanted: &'static [(&'static str, u32)]) -> Holds {
    Box::new(move |values| {
        let is = |(key, count): &(&str, u32)| values.get(*key).is_some_and(|v| counted(*v, *count));
        wanted.iter().all(is)
    })
}

/// Within bounds.
fn between(wanted: &'static [(&'static str, f64, f64)]) -> Holds {
    Box::new(move |values| {
        let is = |(key, least, most): &(&str, f64, f64)| {
            values.get(*key).is_some_and(|v| least <= v && v <= most)
        };
        wanted.iter().all(is)
    })
}

/// By panel and query: the labels of every row, and what holds for the values.
pub(crate) fn expected() -> BTreeMap<(&'static str, usize), (Labels, Holds)> {
    let [clear, tls] = OPEN.map(|open| open as f64);
    let open = move |at: &'static str, count: f64| {
        Box::new(move |v: &Values| v.get(at) == Some(&count)) as Holds
    };
    let all: Vec<((&str, usize), Labels, Holds)> = vec![
        (("Requests", 0), &[], rates(&[("", 75)])),
        (("5xx share", 0), &[], between(&[("", 0.119, 0.121)])),
        (("p99", 0), &[], between(&[("", 100.0, 2500.0)])),
        (("Connections", 0), &[], open("", clear + tls)),
        (("Report errors", 0), &[], between(&[("", 3.0, 3.0)])),
        (("Envoy", 0), &[], open("", 1.0)),
        (
            ("Requests by listener", 0),
            LISTENER,
            rates(&[("cleartext", 65), ("tls", 10)]),
        ),
        (
            ("Requests by Host", 0),
            HOST,
            rates(&[("a.example", 59), ("b.example", 10)]),
        ),
        (
            ("Requests by Mapping", 0),
            MAPPING,
            rates(&[("shop", 55), ("gone", 4), ("news", 10)]),
        ),
        (
            ("4xx and 5xx by Host", 0),
            &["nuncio_host", "envoy_response_code_class"],
            rates(&[("4 a.example", 10), ("5 a.example", 9)]),
        ),
        (
            ("4xx and 5xx by Mapping", 0),
            &["envoy_cluster_name", "envoy_response_code_class"],
            rates(&[("shop 4", 10), ("shop 5", 5), ("gone 5", 4)]),
        ),
        (
            ("Requests without a route", 0),
            LISTENER,
            rates(&[("cleartext", 6)]),
        ),
        (
            ("Services not reached", 0),
            MAPPING,
            rates(&[("gone", 8), ("shop", 0)]),
        ),
        (
            ("Services not reached", 1),
            MAPPING,
            rates(&[("gone", 0), ("shop", 0)]),
        ),
        (
            ("Retries by Mapping", 0),
            MAPPING,
            rates(&[("gone", 4), ("shop", 0)]),
        ),
        (
            ("Latency by listener", 0),
            LISTENER,
            between(&[("cleartext", 0.0, 100.0), ("tls", 100.0, 2500.0)]),
        ),
        (
            ("Latency by listener", 1),
            LISTENER,
            between(&[("tls", 100.0, 2500.0)]),
        ),
        (
            ("Latency by listener", 2),
            LISTENER,
            between(&[("tls", 100.0, 2500.0)]),
        ),
        (
            ("Latency by Host", 0),
            HOST,
            between(&[("a.example", 0.0, 100.0), ("b.example", 100.0, 2500.0)]),
        ),
        (
            ("Latency by Host", 1),
            HOST,
            between(&[("b.example", 100.0, 2500.0)]),
        ),
        (
            ("Latency by Host", 2),
            HOST,
            between(&[("b.example", 100.0, 2500.0)]),
        ),
        (
            ("Latency by Mapping", 0),
            MAPPING,
            between(&[("shop", 0.0, 100.0), ("news", 100.0, 2500.0)]),
        ),
        (
            ("Latency by Mapping", 1),
            MAPPING,
            between(&[("news", 100.0, 2500.0)]),
        ),
        (
            ("Latency by Mapping", 2),
            MAPPING,
            between(&[("news", 100.0, 2500.0)]),
        ),
        (
            ("Clients by listener", 0),
            LISTENER,
            open("cleartext", clear),
        ),
        (("Clients by Host", 0), HOST, open("b.example", tls)),
        (("Share of the limit", 0), &[], between(&[("", 0.0, 0.01)])),
        (
            ("Connections to services by Mapping", 0),
            MAPPING,
            between(&[("shop", 1.0, 2.0), ("gone", 0.0, 0.0)]),
        ),
        (
            ("Requests under way by Mapping", 0),
            MAPPING,
            between(&[("shop", 0.0, 0.0)]),
        ),
        (
            ("Healthy endpoints by Mapping", 0),
            MAPPING,
            between(&[("shop", 1.0, 1.0)]),
        ),
        (
            ("From change to served", 0),
            &[],
            between(&[("", 0.0, 10.0)]),
        ),
        (
            ("From change to served", 1),
            &[],
            between(&[("", 0.0, 10.0)]),
        ),
        (
            ("From change to served", 2),
            &[],
            between(&[("", 0.0, 10.0)]),
        ),
        (("Changes", 0), &[], between(&[("", 1.0, 4.0)])),
        (
            ("Time of the last change", 0),
            &[],
            between(&[("", 0.0, 10.0)]),
        ),
        (
            ("Time of the last change", 1),
            &[],
            between(&[("", 1e-9, 10.0)]),
        ),
        (
            ("Time of the last change", 2),
            &[],
            between(&[("", 1e-9, 10.0)]),
        ),
        (
            ("Time of the last change", 3),
            &[],
            between(&[("", 1e-9, 10.0)]),
        ),
        (
            ("Report entries", 0),
            &["severity"],
            between(&[
                ("error", 3.0, 3.0),
                ("notice", 0.0, 9.0),
                ("warning", 0.0, 9.0),
            ]),
        ),
        (
            ("Resources that Envoy refuses", 0),
            &["type"],
            between(&[("Listener", 2.0, 2.0), ("Cluster", 0.0, 0.0)]),
        ),
        (
            ("Refusals", 0),
            &["type"],
            between(&[("Listener", 0.99, 9.0), ("Cluster", 0.0, 0.0)]),
        ),
        (
            ("Envoy's restarts", 0),
            &["instance"],
            Box::new(|v| v.values().copied().eq([0.0])),
        ),
        (
            ("Certificates expire in", 0),
            &["secret"],
            between(&[("default/b", 86_400.0, 1e11)]),
        ),
        (
            ("Memory", 0),
            &["instance"],
            Box::new(|v| v.len() == 1 && v.values().all(|bytes| *bytes > 1e6)),
        ),
        (
            ("Memory", 1),
            &["instance"],
            Box::new(|v| v.len() == 1 && v.values().all(|bytes| *bytes > 1e6)),
        ),
    ];
    let count = all.len();
    let by_query: BTreeMap<_, _> = all
        .into_iter()
        .map(|(at, l, holds)| (at, (l, holds)))
        .collect();
    assert_eq!(by_query.len(), count, "each query once");
    by_query
}
