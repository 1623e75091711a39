//! The server and a real Envoy.

#![allow(clippy::unwrap_used, unreachable_pub)]

mod resources;
mod support;

use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use nuncio_echo::free_port;
use nuncio_envoy_api::resource::{ResourceType, Snapshot};
use nuncio_xds::{Counters, Options};
use resources::Config;
use serde_json::{Value, json};
use support::{Connection, Fixture, certificate, get, get_tls, upstream};
use tokio::task::JoinSet;

const NO_DELAY: Duration = Duration::ZERO;

/// Accepted when it is read, refused when the cluster is made.
fn refused_cluster() -> Value {
    json!({
        "lb_policy": "RING_HASH",
        "ring_hash_lb_config": { "minimum_ring_size": 100, "maximum_ring_size": 10 }
    })
}

/// A cluster, a listener and a table between them.
fn simple(port: u16, address: SocketAddr) -> Config {
    Config::default()
        .cluster("a", address)
        .listener("l", port, "t")
        .table("t", "a")
}

fn answer(body: &str) -> Option<(u16, String)> {
    Some((200, body.to_owned()))
}

fn count(counts: [u64; ResourceType::ALL.len()], resource_type: ResourceType) -> u64 {
    counts[resource_type as usize]
}

#[tokio::test]
async fn serves_once_everything_is_answered() {
    let fixture = Fixture::start(Options::default());
    let port = free_port();
    let config = simple(port, upstream("a", NO_DELAY).await);
    let status = fixture.server.apply(config.build()).await;
    assert!(status.first_config_answered);
    assert_eq!(status.refused, []);
    assert_eq!(get(port).await, answer("a"));
}

#[tokio::test]
async fn an_empty_configuration_is_ready_too() {
    let fixture = Fixture::start(Options::default());
    let status = fixture.server.apply(Config::default().build()).await;
    assert!(status.first_config_answered);
    assert!(fixture.admin("/ready").await.contains("LIVE"));
}

#[tokio::test]
async fn changes_of_clusters_do_not_stall() {
    let fixture = Fixture::start(Options::default());
    let port = free_port();
    let a = upstream("a", NO_DELAY).await;
    let b = upstream("b", NO_DELAY).await;
    fixture.server.apply(simple(port, a).build()).await;
    for timeout in ["2s", "3s"] {
        let changed = simple(port, a).cluster_with("a", a, json!({ "connect_timeout": timeout }));
        fixture.server.apply(changed.build()).await;
    }
    // Several at once, while an assignment changes.
    fixture
        .server
        .ads
        .set_snapshot(simple(port, b).build().into());
    let changed = simple(port, a).cluster_with("a", b, json!({ "connect_timeout": "4s" }));
    fixture.server.apply(changed.build()).await;
    assert_eq!(get(port).await, answer("b"));
}

#[tokio::test]
async fn a_refused_cluster_holds_back_no_other() {
    let fixture = Fixture::start(Options::default());
    let port = free_port();
    let a = upstream("a", NO_DELAY).await;
    let b = upstream("b", NO_DELAY).await;
    fixture.server.apply(simple(port, a).build()).await;

    // One that was good before, a new one, and a good change, in one response.
    let bad = simple(port, a)
        .cluster_with("a", a, refused_cluster())
        .cluster_with("new", a, refused_cluster())
        .cluster("good", b);
    let status = fixture.server.apply(bad.build()).await;
    let refused: Vec<_> = status
        .refused
        .iter()
        .map(|refusal| &*refusal.name)
        .collect();
    assert_eq!(refused, ["a", "new"]);
    assert!(status.refused[0].detail.contains("ring hash"));
    assert_eq!(get(port).await, answer("a"));

    // Envoy acknowledges what comes after it.
    let more = bad.table("t", "good");
    let status = fixture.server.apply(more.build()).await;
    assert_eq!(status.refused.len(), 2);
    assert_eq!(get(port).await, answer("b"));

    let status = fixture.server.apply(simple(port, a).build()).await;
    assert_eq!(status.refused, []);
}

#[tokio::test]
async fn who_is_refused_is_found_though_envoy_does_not_say() {
    let fixture = Fixture::start(Options::default());
    let port = free_port();
    let a = upstream("a", NO_DELAY).await;
    fixture.server.apply(simple(port, a).build()).await;
    let bad = simple(port, a)
        .cluster_with("negative", a, json!({ "connect_timeout": "-1s" }))
        .cluster("b", a)
        .cluster("c", a)
        .assignment("c", "not an address", 80);
    let status = fixture.server.apply(bad.build()).await;
    let refused: Vec<_> = status
        .refused
        .iter()
        .map(|refusal| (refusal.resource_type, &*refusal.name))
        .collect();
    assert_eq!(
        refused,
        [
            (ResourceType::Cluster, "negative"),
            (ResourceType::ClusterLoadAssignment, "c")
        ]
    );
    let clusters = fixture.admin("/clusters").await;
    assert!(clusters.contains("b::added_via_api::true"));
}

#[tokio::test]
async fn a_refused_table_holds_back_no_other() {
    let fixture = Fixture::start(Options::default());
    let ports = [free_port(), free_port(), free_port()];
    let a = upstream("a", NO_DELAY).await;
    let b = upstream("b", NO_DELAY).await;
    let config = |cluster| {
        ["t0", "t1", "t2"].iter().zip(ports).fold(
            Config::default().cluster("a", a).cluster("b", b),
            |config, (table, port)| {
                config
                    .listener(&format!("l-{table}"), port, table)
                    .table(table, cluster)
            },
        )
    };
    fixture.server.apply(config("a").build()).await;
    let regex = json!({ "match": { "safe_regex": { "regex": "[" } }, "route": { "cluster": "b" } });
    let status = fixture
        .server
        .apply(config("b").table_with("t1", regex).build())
        .await;
    assert_eq!(status.refused.len(), 1);
    assert_eq!(&*status.refused[0].name, "t1");
    for (port, body) in ports.iter().zip(["b", "a", "b"]) {
        assert_eq!(get(*port).await, answer(body));
    }
}

#[tokio::test]
async fn a_port_in_use_holds_back_no_other_and_is_used_when_it_is_free() {
    let fixture = Fixture::start(Options::default());
    let a = upstream("a", NO_DELAY).await;
    let port = free_port();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken_port = taken.local_addr().unwrap().port();
    let config = simple(port, a).listener("blocked", taken_port, "t");
    let status = fixture.server.apply(config.build()).await;
    assert!(status.first_config_answered);
    assert_eq!(status.refused.len(), 1);
    assert!(status.refused[0].detail.contains("Address already in use"));
    assert_eq!(get(port).await, answer("a"));

    drop(taken);
    let other = free_port();
    // Any change among the listeners is a reason to look again.
    fixture
        .server
        .apply(config.listener("other", other, "t").build())
        .await;
    fixture
        .server
        .until("accepted", |status| status.refused.is_empty())
        .await;
    assert_eq!(get(taken_port).await, answer("a"));
    assert_eq!(get(other).await, answer("a"));
}

#[tokio::test]
async fn a_missing_secret_does_not_hold_the_listener() {
    let fixture = Fixture::start(Options::default());
    let ports = [free_port(), free_port()];
    let a = upstream("a", NO_DELAY).await;
    let (chain, key) = certificate();
    let config = simple(ports[0], a)
        .tls_listener("good", ports[1], "t", "present")
        .secret("present", &chain, &key)
        .tls_listener("missing", free_port(), "t", "absent");
    fixture.server.apply(config.build()).await;
    fixture.until_admin("/listeners", "missing::").await;
    assert_eq!(get_tls(ports[1], &chain).await, answer("a"));
    let warming = "listener_manager.total_listeners_warming: 0";
    fixture.until_admin("/stats", warming).await;
}

#[tokio::test]
async fn a_refused_secret_does_not_freeze_its_listener() {
    let fixture = Fixture::start(Options::default());
    let port = free_port();
    let a = upstream("a", NO_DELAY).await;
    let (chain, key) = certificate();
    let tls = |chain: &str, key: &str, fields| {
        let secret = Config::default().cluster("a", a).table("t", "a");
        let secret = secret.secret("s", chain, key);
        secret.tls_listener_with("l", port, "t", "s", fields)
    };
    fixture
        .server
        .apply(tls(&chain, &key, json!({})).build())
        .await;
    let bad = tls(&chain, "no key", json!({ "stat_prefix": "changed" }));
    fixture.server.apply(bad.build()).await;
    let only_the_secret = |status: &nuncio_xds::Status| {
        let refused = status.refused.iter().map(|refusal| refusal.resource_type);
        refused.eq([ResourceType::Secret])
    };
    fixture
        .server
        .until("the listener is changed", only_the_secret)
        .await;
    fixture.until_admin("/config_dump", "changed").await;
    assert_eq!(get_tls(port, &chain).await, answer("a"));
}

#[tokio::test]
async fn another_server_sends_only_what_differs() {
    let mut fixture = Fixture::start(Options::default());
    let port = free_port();
    let a = upstream("a", NO_DELAY).await;
    let b = upstream("b", NO_DELAY).await;
    let config = simple(port, a).cluster("b", b);
    fixture.server.apply(config.build()).await;

    fixture.replace_server(Options::default()).await;
    // Nothing is lost before the new one has a snapshot.
    fixture
        .server
        .until("Envoy is back", |status| status.streams == 1)
        .await;
    assert_eq!(
        fixture.server.ads.counters().responses,
        [0; ResourceType::ALL.len()]
    );
    assert_eq!(get(port).await, answer("a"));
    fixture.server.apply(config.build()).await;
    let Counters {
        resources,
        removals,
        ..
    } = fixture.server.ads.counters();
    assert_eq!(
        (resources, removals),
        ([0; ResourceType::ALL.len()], [0; ResourceType::ALL.len()])
    );

    fixture.replace_server(Options::default()).await;
    fixture.server.apply(config.table("t", "b").build()).await;
    let resources = fixture.server.ads.counters().resources;
    assert_eq!(count(resources, ResourceType::RouteConfiguration), 1);
    assert_eq!(resources.iter().sum::<u64>(), 1);
    assert_eq!(get(port).await, answer("b"));

    // What the new one refuses is mended with what Envoy said that it had.
    let bad = simple(port, a)
        .cluster_with("a", a, refused_cluster())
        .cluster("b", b);
    let status = fixture.server.apply(bad.build()).await;
    assert_eq!(status.refused.len(), 1);
    assert_eq!(get(port).await, answer("a"));
}

#[tokio::test]
async fn a_body_that_is_not_known_is_left_to_envoy() {
    let mut fixture = Fixture::start(Options::default());
    let port = free_port();
    let a = upstream("a", NO_DELAY).await;
    let b = upstream("b", NO_DELAY).await;
    fixture.server.apply(simple(port, a).build()).await;
    fixture.replace_server(Options::default()).await;
    let bad = simple(port, a).cluster_with("a", a, refused_cluster());
    fixture.server.apply(bad.build()).await;
    assert_eq!(get(port).await, answer("a"));
    // Envoy acknowledges no clusters any more, but has them.
    let more = bad.cluster("b", b).table("t", "b");
    fixture.server.apply(more.build()).await;
    fixture.until_answer(port, "b").await;
}

#[tokio::test]
async fn another_envoy_gets_what_the_one_before_had() {
    let mut fixture = Fixture::start(Options::default());
    let port = free_port();
    let a = upstream("a", NO_DELAY).await;
    fixture.server.apply(simple(port, a).build()).await;
    let bad = simple(port, a).cluster_with("a", a, refused_cluster());
    fixture.server.apply(bad.build()).await;

    fixture.replace_envoy();
    fixture.until_answer(port, "a").await;
    let all = |status: &nuncio_xds::Status| status.acknowledged == 2 && !status.refused.is_empty();
    fixture.server.until("acknowledged", all).await;
}

#[tokio::test]
async fn a_renamed_listener_keeps_its_port() {
    let fixture = Fixture::start(Options::default());
    let port = free_port();
    let a = upstream("a", NO_DELAY).await;
    fixture.server.apply(simple(port, a).build()).await;
    let before = fixture.server.ads.counters();
    let renamed = Config::default()
        .cluster("a", a)
        .listener("renamed", port, "t")
        .table("t", "a");
    let status = fixture.server.apply(renamed.build()).await;
    assert_eq!(status.refused, []);
    assert_eq!(get(port).await, answer("a"));
    let after = fixture.server.ads.counters();
    let listeners = |counters: Counters| count(counters.responses, ResourceType::Listener);
    assert_eq!(listeners(after) - listeners(before), 1);
    assert_eq!(after.nacks, [0; ResourceType::ALL.len()]);
}

#[tokio::test]
async fn a_removed_cluster_lingers_for_the_requests_under_way() {
    let fixture = Fixture::start(Options {
        linger: Duration::from_millis(300),
        ..Options::default()
    });
    let port = free_port();
    let slow = upstream("slow", Duration::from_millis(600)).await;
    let b = upstream("b", NO_DELAY).await;
    fixture.server.apply(simple(port, slow).build()).await;

    let mut requests = JoinSet::new();
    for _ in 0..10 {
        requests.spawn(async move { get(port).await });
    }
    let under_way = "cluster.a.upstream_rq_active: 10";
    fixture.until_admin("/stats", under_way).await;
    let moved = Config::default()
        .cluster("b", b)
        .listener("l", port, "t")
        .table("t", "b");
    fixture.server.apply(moved.build()).await;
    assert_eq!(get(port).await, answer("b"));
    let clusters = fixture.admin("/clusters").await;
    assert!(clusters.contains("a::added_via_api"), "it lingers");
    fixture
        .server
        .until("removed", |status| {
            status.types[ResourceType::Cluster as usize].held == 1
        })
        .await;
    let clusters = fixture.admin("/clusters").await;
    assert!(!clusters.contains("a::added_via_api"));
    while let Some(response) = requests.join_next().await {
        assert_eq!(response.unwrap(), answer("slow"));
    }
}

#[tokio::test]
async fn routes_that_wait_for_their_clusters_lose_no_request() {
    let fixture = Fixture::start(Options::default());
    let port = free_port();
    let a = upstream("a", NO_DELAY).await;
    fixture.server.apply(simple(port, a).build()).await;
    let failed = Arc::new(AtomicUsize::new(0));
    let mut clients = JoinSet::new();
    for _ in 0..4 {
        let failed = Arc::clone(&failed);
        clients.spawn(async move {
            loop {
                if get(port).await != answer("a") {
                    failed.fetch_add(1, Ordering::Relaxed);
                }
            }
        });
    }
    for change in 0..50 {
        let name = format!("a{change}");
        let config = Config::default()
            .cluster(&name, a)
            .listener("l", port, "t")
            .table("t", &name);
        fixture.server.apply(config.build()).await;
    }
    clients.shutdown().await;
    assert_eq!(failed.load(Ordering::Relaxed), 0);
}

#[tokio::test]
async fn a_cluster_refused_at_the_start_holds_back_no_other() {
    let fixture = Fixture::start(Options::default());
    let port = free_port();
    let a = upstream("a", NO_DELAY).await;
    let bad = simple(port, a)
        .cluster("good", a)
        .cluster_with("new", a, refused_cluster())
        .cluster("other", a);
    let status = fixture.server.apply(bad.build()).await;
    assert!(status.first_config_answered);
    let refused: Vec<_> = status
        .refused
        .iter()
        .map(|refusal| &*refusal.name)
        .collect();
    assert_eq!(refused, ["new"]);
    assert_eq!(get(port).await, answer("a"));
}

/// A policy that denies everything to a role-based access control filter.
fn policy(header_is: Value) -> Value {
    json!({ "rules": { "action": "DENY", "policies": { "all": {
        "permissions": [{ "header": { "name": ":path", "string_match": header_is } }],
        "principals": [{ "any": true }]
    } } } })
}

fn denies() -> Value {
    policy(json!({ "prefix": "/" }))
}

fn refused_filter() -> Value {
    policy(json!({ "safe_regex": { "regex": "[" } }))
}

#[tokio::test]
async fn a_filter_changes_under_a_live_connection() {
    let fixture = Fixture::start(Options::default());
    let port = free_port();
    let a = upstream("a", NO_DELAY).await;
    let config = simple(port, a).filtered_listener("l", port, "t", "f");
    let allows = config.clone().filter("f", json!({}));
    fixture.server.apply(allows.build()).await;
    let mut connection = Connection::open(port).await;
    assert_eq!(connection.get().await, Some(200));

    let denies = config.filter("f", denies());
    fixture.server.apply(denies.build()).await;
    assert_eq!(connection.get().await, Some(403));
    fixture.server.apply(allows.build()).await;
    assert_eq!(connection.get().await, Some(200));
    let modified = fixture.admin("/stats").await;
    assert!(modified.contains("listener_manager.listener_modified: 0"));
}

#[tokio::test]
async fn a_refused_filter_leaves_the_one_before() {
    let fixture = Fixture::start(Options::default());
    let port = free_port();
    let a = upstream("a", NO_DELAY).await;
    let b = upstream("b", NO_DELAY).await;
    let config = simple(port, a)
        .cluster("b", b)
        .filtered_listener("l", port, "t", "f");
    fixture
        .server
        .apply(config.clone().filter("f", denies()).build())
        .await;
    let before = fixture.server.ads.counters();

    let bad = config.clone().filter("f", refused_filter());
    let status = fixture.server.apply(bad.build()).await;
    let [refusal] = status.refused.as_slice() else {
        panic!("{:?}", status.refused);
    };
    assert_eq!(refusal.resource_type, ResourceType::ExtensionConfig);
    assert!(refusal.detail.contains("missing ]"), "{}", refusal.detail);
    assert_eq!(get(port).await.unwrap().0, 403);
    // It, and what was accepted last in its place.
    let after = fixture.server.ads.counters();
    let sent = |counters: Counters| count(counters.resources, ResourceType::ExtensionConfig);
    assert_eq!(sent(after) - sent(before), 2);

    // Nothing else is held back, the listener included.
    let more = bad
        .table("t", "b")
        .filtered_listener("l2", free_port(), "t", "f");
    let status = fixture.server.apply(more.build()).await;
    assert_eq!(status.refused.len(), 1);
    let good = config.filter("f", json!({})).table("t", "b");
    let status = fixture.server.apply(good.build()).await;
    assert_eq!(status.refused, []);
    assert_eq!(get(port).await, answer("b"));
}

#[tokio::test]
async fn a_listener_waits_for_its_filter() {
    let fixture = Fixture::start(Options::default());
    let port = free_port();
    let a = upstream("a", NO_DELAY).await;
    fixture.server.apply(simple(free_port(), a).build()).await;
    let config = simple(free_port(), a).filtered_listener("waits", port, "t", "f");
    // Envoy is told that there is none. That ends its wait for a secret, but not this one.
    fixture.server.apply(config.build()).await;
    let warming = "listener_manager.total_listeners_warming: 1";
    fixture.until_admin("/stats", warming).await;
    assert_eq!(get(port).await, None);

    let with_filter = config.filter("f", denies());
    fixture.server.apply(with_filter.build()).await;
    assert_eq!(get(port).await.unwrap().0, 403);
}

#[tokio::test]
async fn a_filter_refused_at_the_start_lets_nobody_through() {
    let fixture = Fixture::start(Options::default());
    let ports = [free_port(), free_port()];
    let a = upstream("a", NO_DELAY).await;
    let config = simple(ports[0], a)
        .filtered_listener("filtered", ports[1], "t", "f")
        .filter("f", refused_filter());
    let status = fixture.server.apply(config.build()).await;
    assert!(status.first_config_answered);
    assert_eq!(status.refused.len(), 1);
    assert_eq!(get(ports[0]).await, answer("a"));
    assert_eq!(get(ports[1]).await.unwrap().0, 500);
}

#[tokio::test]
async fn the_runtime_changes_while_envoy_runs() {
    let fixture = Fixture::start(Options::default());
    let port = free_port();
    let config = simple(port, upstream("a", NO_DELAY).await);
    let started = config.clone().runtime(json!({ "some.flag": true }));
    fixture.server.apply(started.build()).await;
    assert_eq!(get(port).await, answer("a"));
    let runtime = fixture.admin("/runtime").await;
    assert!(runtime.contains("\"final_value\": \"true\""), "{runtime}");

    let changed = config.clone().runtime(json!({ "some.number": 7 }));
    fixture.server.apply(changed.build()).await;
    let runtime = fixture.admin("/runtime").await;
    assert!(runtime.contains("\"final_value\": \"7\""), "{runtime}");
    assert!(!runtime.contains("some.flag"), "{runtime}");

    let bad = config.runtime(json!({ "some.number": [7] }));
    let status = fixture.server.apply(bad.build()).await;
    assert_eq!(status.refused.len(), 1);
    let runtime = fixture.admin("/runtime").await;
    assert!(runtime.contains("\"final_value\": \"7\""), "{runtime}");
}

#[tokio::test]
async fn a_missing_runtime_does_not_hold_the_start() {
    let fixture = Fixture::start(Options::default());
    let status = fixture.server.apply(Snapshot::default()).await;
    assert!(status.first_config_answered);
    assert!(fixture.admin("/ready").await.contains("LIVE"));
}
