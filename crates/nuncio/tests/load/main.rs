//! Changes and crashes under load: no request fails, no connection closes.

#![allow(clippy::unwrap_used)]

#[path = "../support/mod.rs"]
mod support;

mod soak;

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use nuncio_echo::certs;
use nuncio_echo::client::{Client, Load, Protocol, RequestSpec, Target, WebSocket};
use nuncio_echo::{Echo, Running};
use support::{DEADLINE, Gateway, free_port, tls_secret};

async fn echo(name: &str) -> Running {
    let any_port: SocketAddr = (Ipv4Addr::LOCALHOST, 0).into();
    Echo::new(name).start(any_port).await.unwrap()
}

fn listener(name: &str, port: u16, stack: &str) -> String {
    format!(
        "apiVersion: getambassador.io/v3alpha1\nkind: Listener\nmetadata: {{name: {name}}}\n\
         spec: {{port: {port}, protocolStack: [{stack}], securityModel: XFP, \
         hostBinding: {{namespace: {{from: ALL}}}}}}\n---\n"
    )
}

fn host(name: &str, hostname: &str, secret: Option<&str>) -> String {
    let tls = secret.map_or(String::new(), |secret| {
        format!("tlsSecret: {{name: {secret}}}, ")
    });
    format!(
        "apiVersion: getambassador.io/v3alpha1\nkind: Host\nmetadata: {{name: {name}}}\n\
         spec: {{hostname: \"{hostname}\", {tls}requestPolicy: {{insecure: {{action: Route}}}}}}\n---\n"
    )
}

fn mapping(name: &str, prefix: &str, upstream: &Running, more: &str) -> String {
    format!(
        "apiVersion: getambassador.io/v3alpha1\nkind: Mapping\nmetadata: {{name: {name}}}\n\
         spec: {{hostname: \"*\", prefix: {prefix}, service: \"{}\"{more}}}\n---\n",
        upstream.address()
    )
}

/// A gateway with listeners for cleartext, TLS and HTTP/3, and two upstreams.
struct Scene {
    gateway: Gateway,
    quote: Running,
    hello: Running,
    http: Target,
    https: Target,
}

impl Scene {
    async fn start() -> Self {
        let (quote, hello) = (echo("quote").await, echo("hello").await);
        let (http, https) = (free_port(), free_port());
        let manifests = [
            listener("http", http, "HTTP, TCP"),
            listener("https", https, "TLS, HTTP, TCP"),
            listener("http3", https, "TLS, HTTP, UDP"),
            host("any", "*", None),
            host("a", "a.example", Some("a")),
            mapping("steady", "/steady/", &quote, ""),
            mapping("ws", "/ws/", &quote, ", allow_upgrade: [websocket]"),
        ]
        .concat();
        let gateway = Gateway::start(&[
            ("base.yaml", manifests),
            (
                "secret.yaml",
                tls_secret("a", &certs::self_signed(&["a.example"])),
            ),
            ("flip.yaml", mapping("flip", "/flip/", &quote, "")),
        ])
        .await;
        let address = |port| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        Self {
            gateway,
            quote,
            hello,
            http: Target::cleartext(address(http)),
            https: Target::tls(address(https), "a.example"),
        }
    }

    /// Requests on both listeners, to what changes and to what does not.
    fn load(&self) -> [Load; 2] {
        let requests = vec![
            RequestSpec::get("a.example", "/steady/"),
            RequestSpec::get("a.example", "/flip/"),
        ];
        [&self.http, &self.https].map(|target| Load::start(target, requests.clone(), 4, 200))
    }

    /// The upstream that answers below `/flip/`.
    async fn flipped(&self) -> String {
        let mut client = Client::connect(&self.http, Protocol::Http1).await.unwrap();
        let answer = client.get("a.example", "/flip/").await.unwrap();
        answer.json()["upstream"]
            .as_str()
            .unwrap_or_default()
            .to_owned()
    }

    fn flip(&self, to: &Running) -> String {
        mapping("flip", "/flip/", to, "")
    }
}

async fn nothing_failed(loads: [Load; 2]) {
    for load in loads {
        let report = load.stop().await;
        assert!(report.sent > 100, "only {} requests were sent", report.sent);
        assert!(
            report.failed.is_empty() && report.not_ok() == 0,
            "{} of {} requests failed: {:?} {:?}",
            report.not_ok(),
            report.sent,
            report.by_status,
            report.failed.iter().take(10).collect::<Vec<_>>()
        );
    }
}

/// 200 changes of Mappings, Hosts and Secrets.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn changes_drop_no_request_and_close_no_connection() {
    let scene = Scene::start().await;
    let mut socket = WebSocket::connect(&scene.http, "a.example", "/ws/")
        .await
        .unwrap();
    let mut http2 = Client::connect(&scene.http, Protocol::Http2).await.unwrap();
    let mut tls = Client::connect(&scene.https, Protocol::Http1)
        .await
        .unwrap();
    let mut http3 = Client::connect(&scene.https, Protocol::Http3)
        .await
        .unwrap();
    for client in [&mut http2, &mut http3, &mut tls] {
        client.get("a.example", "/steady/").await.unwrap();
    }
    let first_certificate = tls.certificate().unwrap().to_vec();
    let loads = scene.load();

    for change in 0..200 {
        let gateway = &scene.gateway;
        let odd = change / 8 % 2 == 1;
        match change % 8 {
            0 => gateway.write(
                "flip.yaml",
                &scene.flip(if odd { &scene.quote } else { &scene.hello }),
            ),
            1 if odd => gateway.remove("extra.yaml"),
            1 => gateway.write("extra.yaml", &mapping("extra", "/extra/", &scene.hello, "")),
            2 => {
                let more = format!(
                    ", timeout_ms: {}, add_response_headers: {{x-change: {{value: \"{change}\"}}}}",
                    1000 + change
                );
                gateway.write(
                    "settings.yaml",
                    &mapping("settings", "/settings/", &scene.quote, &more),
                );
            }
            // A Host in cleartext: another virtual host.
            3 if odd => gateway.remove("host.yaml"),
            3 => gateway.write("host.yaml", &host("c", "c.example", None)),
            // A Host with TLS: another filter chain on the listener of the held connection.
            4 if odd => gateway.remove("tls-host.yaml"),
            4 => {
                let pair = certs::self_signed(&["d.example"]);
                let both = [tls_secret("d", &pair), host("d", "d.example", Some("d"))].concat();
                gateway.write("tls-host.yaml", &both);
            }
            // The certificate of the held connection.
            5 => gateway.write(
                "secret.yaml",
                &tls_secret("a", &certs::self_signed(&["a.example"])),
            ),
            // A canary comes and goes.
            6 if odd => gateway.remove("canary.yaml"),
            6 => gateway.write(
                "canary.yaml",
                &mapping("canary", "/steady/", &scene.hello, ", weight: 50"),
            ),
            // Something wrong beside all that works.
            _ if odd => gateway.remove("wrong.yaml"),
            _ => gateway.write(
                "wrong.yaml",
                &mapping("wrong", "\"/[\"", &scene.hello, ", prefix_regex: true"),
            ),
        }
        gateway.settled().await;
        if change % 8 == 0 {
            assert_eq!(scene.flipped().await, if odd { "quote" } else { "hello" });
        }
        if change % 20 == 0 {
            assert_eq!(socket.echo("still here").await.unwrap(), "still here");
        }
    }

    nothing_failed(loads).await;
    assert_eq!(socket.echo("to the end").await.unwrap(), "to the end");
    for client in [&mut http2, &mut http3, &mut tls] {
        assert!(client.is_open());
        let answer = client.get("a.example", "/steady/").await.unwrap();
        assert_eq!(answer.status, 200);
        assert!(client.is_open());
    }
    // New connections get the certificate of now.
    for protocol in [Protocol::Http1, Protocol::Http3] {
        let renewed = Client::connect(&scene.https, protocol).await.unwrap();
        assert_ne!(renewed.certificate().unwrap(), first_certificate);
    }
    scene.gateway.terminate().await;
}

/// 300 Mappings change again and again, faster than Envoy takes them up: another change does not wait
/// for that to end, no request fails, and in the end the newest is served.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_storm_of_changes_holds_nothing_up_and_its_newest_counts() {
    const STORM: usize = 300;
    let scene = Scene::start().await;
    let write_round = |round: usize| {
        let more = format!(", add_response_headers: {{x-round: {{value: \"{round}\"}}}}");
        let mappings = (0..STORM).map(|number| {
            let name = format!("storm-{number}");
            mapping(&name, &format!("/{name}/"), &scene.quote, &more)
        });
        scene
            .gateway
            .write("storm.yaml", &mappings.collect::<String>());
    };
    let loads = scene.load();
    let mut round = 0;
    for change in 0..6 {
        let (to, name) = match change % 2 {
            0 => (&scene.hello, "hello"),
            _ => (&scene.quote, "quote"),
        };
        scene.gateway.write("flip.yaml", &scene.flip(to));
        let served = async { while scene.flipped().await != name {} };
        let storm = async {
            loop {
                round += 1;
                write_round(round);
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        let both = async {
            tokio::select! { () = served => (), () = storm => () }
        };
        let in_time = tokio::time::timeout(DEADLINE, both).await;
        in_time.unwrap_or_else(|_| panic!("{name} is not served while others change"));
    }
    scene.gateway.settled().await;
    let mut client = Client::connect(&scene.http, Protocol::Http1).await.unwrap();
    for number in [0, STORM / 2, STORM - 1] {
        let path = format!("/storm-{number}/");
        let answer = client.get("a.example", &path).await.unwrap();
        assert_eq!(answer.headers["x-round"], round.to_string(), "{path}");
    }
    nothing_failed(loads).await;
    scene.gateway.terminate().await;
}

/// SIGKILL, ten times: the next nuncio takes the same Envoy over, and a change is served.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killing_nuncio_drops_no_request() {
    let mut scene = Scene::start().await;
    let envoy = scene.gateway.envoy_pid().await;
    let mut socket = WebSocket::connect(&scene.http, "a.example", "/ws/")
        .await
        .unwrap();
    let loads = scene.load();
    for kill in 0..10 {
        scene.gateway.kill9().await;
        // What is written meanwhile counts when the next one is there.
        let (to, name) = match kill % 2 {
            0 => (&scene.hello, "hello"),
            _ => (&scene.quote, "quote"),
        };
        scene.gateway.write("flip.yaml", &scene.flip(to));
        scene.gateway.restart().await;
        scene.gateway.settled().await;
        assert_eq!(scene.flipped().await, name);
        assert_eq!(scene.gateway.envoy_pid().await, envoy);
    }
    nothing_failed(loads).await;
    assert_eq!(socket.echo("survived").await.unwrap(), "survived");
    scene.gateway.terminate().await;
}
