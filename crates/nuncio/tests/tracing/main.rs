//! Spans: a real Zipkin and a real OpenTelemetry collector get those of requests through a gateway,
//! and one that is slow or away means nothing for the requests. What each field does is in
//! `tests/traffic/tracing`, where an upstream that keeps what it is sent stands in for the collector;
//! so it does for Datadog's agent.

#![allow(clippy::unwrap_used)]

mod collector;
#[path = "../support/mod.rs"]
mod support;
mod zipkin;

use std::net::{Ipv4Addr, SocketAddr};

use collector::Collector;
use nuncio_echo::client::{Answer, Client, Protocol, Target};
use nuncio_echo::{Echo, Running};
use serde_json::Value;
use support::{Gateway, free_port};
use zipkin::Zipkin;

const TRACING: &str = "tracing.yaml";

/// A gateway with tracing, and an upstream that says what reached it.
struct Scene {
    gateway: Gateway,
    http: SocketAddr,
    _web: Running,
}

impl Scene {
    async fn start(spec: &str) -> Self {
        let any_port = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let web = Echo::new("web").start(any_port).await.unwrap();
        let port = free_port();
        let manifests = format!(
            "apiVersion: getambassador.io/v3alpha1
kind: Listener
metadata: {{name: http}}
spec: {{port: {port}, protocol: HTTP, securityModel: XFP, hostBinding: {{namespace: {{from: ALL}}}}}}
---
apiVersion: getambassador.io/v3alpha1
kind: Host
metadata: {{name: any}}
spec: {{hostname: \"*\", requestPolicy: {{insecure: {{action: Route}}}}}}
---
apiVersion: getambassador.io/v3alpha1
kind: Mapping
metadata: {{name: web}}
spec: {{hostname: \"*\", prefix: /, rewrite: \"\", service: \"{}\"}}
",
            web.address()
        );
        let files = [("base.yaml", manifests), (TRACING, tracing(spec))];
        Self {
            gateway: Gateway::start(&files).await,
            http: SocketAddr::from((Ipv4Addr::LOCALHOST, port)),
            _web: web,
        }
    }

    async fn client(&self) -> Client {
        let target = Target::cleartext(self.http);
        Client::connect(&target, Protocol::Http1).await.unwrap()
    }
}

fn tracing(spec: &str) -> String {
    format!(
        "apiVersion: getambassador.io/v3alpha1\nkind: TracingService\n\
         metadata: {{name: tracing}}\nspec: {{{spec}}}\n"
    )
}

/// Sends a request, which is answered whatever becomes of its spans.
async fn ask(client: &mut Client) -> Answer {
    let answer = client.get("a.example", "/traced").await.unwrap();
    assert_eq!(answer.status, 200);
    answer
}

/// A header as it reached the upstream.
fn reached(answer: &Answer, header: &str) -> String {
    let value = &answer.json()["headers"][header][0];
    let value = value.as_str().unwrap_or_else(|| panic!("no {header}"));
    value.to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn zipkin_gets_spans_once_it_is_there() {
    let port = free_port();
    let scene = Scene::start(&format!(
        "driver: zipkin, service: \"127.0.0.1:{port}\", \
         custom_tags: [{{tag: gateway, literal: {{value: nuncio}}}}]"
    ))
    .await;
    let mut client = scene.client().await;
    // While nobody listens there.
    for _ in 0..20 {
        ask(&mut client).await;
    }
    let zipkin = Zipkin::start(port).await;
    let answer = ask(&mut client).await;
    let id = reached(&answer, "x-b3-traceid");
    assert_eq!(id.len(), 32, "128 bits");
    // Envoy sends what it has every five seconds.
    scene
        .gateway
        .until(async || zipkin.trace(&id).await.len() == 2)
        .await;
    let spans = zipkin.trace(&id).await;
    let (upstream, request): (Vec<&Value>, Vec<&Value>) =
        spans.iter().partition(|span| span["parentId"].is_string());
    let (upstream, request) = (upstream[0], request[0]);
    assert_eq!(upstream["parentId"], request["id"]);
    // Where the upstream would go on.
    let span = reached(&answer, "x-b3-spanid");
    assert_eq!(upstream["id"], Value::from(span));
    assert_eq!(request["kind"], "CLIENT");
    assert_eq!(request["tags"]["gateway"], "nuncio");
    assert_eq!(request["tags"]["http.status_code"], "200");
    drop(zipkin);
    for _ in 0..20 {
        ask(&mut client).await;
    }
    scene.gateway.terminate().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_collector_gets_spans_once_it_is_there() {
    let port = free_port();
    let scene = Scene::start(&format!(
        "driver: opentelemetry, service: \"127.0.0.1:{port}\", config: {{service_name: the-edge}}, \
         custom_tags: [{{tag: gateway, literal: {{value: nuncio}}}}]"
    ))
    .await;
    let mut client = scene.client().await;
    for _ in 0..20 {
        ask(&mut client).await;
    }
    let collector = Collector::start(port);
    // What was sent before it listened is lost.
    let mut id = String::new();
    scene
        .gateway
        .until(async || collector.log().contains("Everything is ready"))
        .await;
    for _ in 0..5 {
        let answer = ask(&mut client).await;
        // Version, trace, span, flags.
        let traceparent = reached(&answer, "traceparent");
        id = traceparent.split('-').nth(1).unwrap().to_owned();
    }
    scene
        .gateway
        .until(async || collector.log().contains(&id))
        .await;
    let log = collector.log();
    for part in [
        "service.name: Str(the-edge)",
        "gateway: Str(nuncio)",
        "http.status_code: Str(200)",
    ] {
        assert!(log.contains(part), "{part} is missing: {log}");
    }
    drop(collector);
    for _ in 0..20 {
        ask(&mut client).await;
    }
    scene.gateway.terminate().await;
}

/// One that takes connections and never answers.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_collector_that_says_nothing_costs_no_request() {
    let any_port = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let collector = Echo::new("spans").silent().start(any_port).await.unwrap();
    for driver in ["zipkin", "opentelemetry", "datadog"] {
        let address = collector.address();
        let spec = format!("driver: {driver}, service: \"{address}\"");
        let scene = Scene::start(&spec).await;
        let mut client = scene.client().await;
        for _ in 0..200 {
            ask(&mut client).await;
        }
        scene.gateway.terminate().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_share_of_requests_closes_no_connection() {
    let any_port = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let spans = Echo::new("spans").start(any_port).await.unwrap();
    let share = |percent: u32| {
        let service = spans.address();
        format!("driver: zipkin, service: \"{service}\", sampling: {{random: {percent}}}")
    };
    let scene = Scene::start(&share(100)).await;
    let mut client = scene.client().await;
    for percent in [100, 0, 100] {
        scene.gateway.write(TRACING, &tracing(&share(percent)));
        scene.gateway.settled().await;
        let answer = ask(&mut client).await;
        let sampled = if percent == 0 { "0" } else { "1" };
        assert_eq!(reached(&answer, "x-b3-sampled"), sampled);
        // A connection that drains is told.
        assert_eq!(answer.headers.get("connection"), None);
    }
    scene.gateway.terminate().await;
}
