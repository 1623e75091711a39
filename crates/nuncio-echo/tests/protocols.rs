//! Each protocol, from the crate's own clients to its own upstream.

#![allow(clippy::unwrap_used)]

use std::net::{Ipv4Addr, SocketAddr};

use http::{HeaderValue, Request};
use http_body_util::Full;
use nuncio_echo::client::{Client, Load, Protocol, RequestSpec, Target, WebSocket};
use nuncio_echo::{Echo, Running, certs};

fn any_port() -> SocketAddr {
    (Ipv4Addr::LOCALHOST, 0).into()
}

async fn start() -> (Running, Target) {
    let running = Echo::new("quote").start(any_port()).await.unwrap();
    let target = Target::cleartext(running.address());
    (running, target)
}

#[tokio::test]
async fn http_says_what_was_asked() {
    let (running, target) = start().await;
    for (protocol, name) in [(Protocol::Http1, "HTTP/1.1"), (Protocol::Http2, "HTTP/2")] {
        let mut client = Client::connect(&target, protocol).await.unwrap();
        let mut request = Request::new(Full::from("hello"));
        *request.uri_mut() = "/a/b?c=d".parse().unwrap();
        request
            .headers_mut()
            .insert("x-y", HeaderValue::from_static("z"));
        let answer = client.send("a.example", request).await.unwrap();
        let json = answer.json();
        assert_eq!(json["upstream"], "quote");
        assert_eq!(json["path"], "/a/b?c=d");
        assert_eq!(json["host"], "a.example");
        assert_eq!(json["protocol"], name);
        assert_eq!(json["headers"]["x-y"][0], "z");
        assert_eq!(json["body"], "hello");
        assert!(client.is_open());
    }
    assert_eq!(running.seen().len(), 2);
    running.wait_for(|seen| seen.host == "a.example").await;
}

#[tokio::test]
async fn a_request_can_ask_for_statuses_headers_and_sizes() {
    let (_running, target) = start().await;
    let mut client = Client::connect(&target, Protocol::Http1).await.unwrap();
    let mut statuses = Vec::new();
    for _ in 0..3 {
        let path = "/?x-echo-status=503,200&x-echo-key=k";
        statuses.push(client.get("a", path).await.unwrap().status.as_u16());
    }
    assert_eq!(statuses, [503, 200, 200]);
    let answer = client
        .get("a", "/?x-echo-header=x-a=b&x-echo-size=10&x-echo-delay=1")
        .await
        .unwrap();
    assert_eq!(answer.headers["x-a"], "b");
    assert_eq!(answer.body.len(), 10);
}

#[tokio::test]
async fn tls_shows_its_certificate_and_says_the_server_name() {
    let pair = certs::self_signed(&["a.example"]);
    let running = Echo::new("quote")
        .tls(&pair.cert_pem, &pair.key_pem)
        .start(any_port())
        .await
        .unwrap();
    let target = Target::tls(running.address(), "a.example");
    let mut client = Client::connect(&target, Protocol::Http2).await.unwrap();
    assert_eq!(client.alpn(), Some("h2"));
    assert!(client.certificate().is_some());
    let json = client.get("a.example", "/").await.unwrap().json();
    assert_eq!(json["tls"]["sni"], "a.example");
}

#[tokio::test]
async fn websocket_messages_come_back() {
    let (_running, target) = start().await;
    let mut socket = WebSocket::connect(&target, "a.example", "/ws")
        .await
        .unwrap();
    for text in ["one", "two"] {
        assert_eq!(socket.echo(text).await.unwrap(), text);
    }
}

#[tokio::test]
async fn grpc_messages_come_back_with_a_status() {
    let (_running, target) = start().await;
    let mut client = Client::connect(&target, Protocol::Http2).await.unwrap();
    let unary = client.grpc("a", "/echo.Echo/Unary", b"hi").await.unwrap();
    assert_eq!(unary.grpc_status.as_deref(), Some("0"));
    assert_eq!(unary.messages, ["hi"]);
    let stream = client.grpc("a", "/echo.Echo/Stream", b"hi").await.unwrap();
    assert_eq!(stream.messages.len(), 3);
    let health = client
        .grpc("a", "/grpc.health.v1.Health/Check", b"")
        .await
        .unwrap();
    assert_eq!(&health.messages[0][..], [0x08, 0x01]);
    let unknown = client
        .grpc("a", "/grpc.health.v1.Health/Check", b"\x0a\x05other")
        .await
        .unwrap();
    assert_eq!(unknown.grpc_status.as_deref(), Some("5"));
    let failed = client
        .grpc("a", "/echo.Echo/Unary?x-echo-grpc-status=7", b"")
        .await
        .unwrap();
    assert_eq!(failed.grpc_status.as_deref(), Some("7"));
}

#[tokio::test]
async fn load_counts_answers_and_failures() {
    let (running, target) = start().await;
    let requests = vec![
        RequestSpec::get("a", "/"),
        RequestSpec::get("a", "/?x-echo-status=500"),
    ];
    let load = Load::start(&target, requests, 2, 1000);
    running.wait_for(|_| running.seen().len() >= 20).await;
    let report = load.stop().await;
    assert!(report.failed.is_empty(), "{:?}", report.failed);
    assert_eq!(report.connections, 2);
    assert!(report.by_status[&200] > 0 && report.by_status[&500] > 0);
    assert_eq!(report.not_ok(), report.by_status[&500]);
}
