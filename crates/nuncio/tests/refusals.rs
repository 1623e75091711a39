//! What Envoy refuses for a reason that nobody could foresee costs the resource that it came of, and
//! nothing else: not even a request.

#![allow(clippy::unwrap_used)]

mod support;

use std::net::{Ipv4Addr, SocketAddr, TcpListener};

use nuncio_echo::certs::{self, Pair};
use nuncio_echo::client::{Client, Load, Protocol, RequestSpec, Target};
use nuncio_echo::{Echo, Running};
use support::{Gateway, free_port, tls_secret};

/// As regular expressions go it is valid; its program has more than 20,000 instructions.
fn too_large() -> String {
    format!("/large/{}", ".{1000}".repeat(21))
}

fn listener(name: &str, port: u16, protocol: &str) -> String {
    format!(
        "apiVersion: getambassador.io/v3alpha1\nkind: Listener\nmetadata: {{name: {name}}}\n\
         spec: {{port: {port}, protocol: {protocol}, securityModel: XFP, \
         hostBinding: {{namespace: {{from: ALL}}}}}}\n---\n"
    )
}

fn host(name: &str, hostname: &str, more: &str) -> String {
    format!(
        "apiVersion: getambassador.io/v3alpha1\nkind: Host\nmetadata: {{name: {name}}}\n\
         spec: {{hostname: \"{hostname}\", {more}requestPolicy: {{insecure: {{action: Route}}}}}}\n---\n"
    )
}

fn mapping(name: &str, prefix: &str, upstream: &Running, more: &str) -> String {
    format!(
        "apiVersion: getambassador.io/v3alpha1\nkind: Mapping\nmetadata: {{name: {name}}}\n\
         spec: {{hostname: \"*\", prefix: \"{prefix}\", service: \"{}\"{more}}}\n---\n",
        upstream.address()
    )
}

fn module(config: &str) -> String {
    format!(
        "apiVersion: getambassador.io/v3alpha1\nkind: Module\nmetadata: {{name: ambassador}}\n\
         spec: {{config: {{{config}}}}}\n---\n"
    )
}

fn at(port: u16) -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, port))
}

struct Scene {
    gateway: Gateway,
    upstream: Running,
    http: u16,
    https: u16,
    load: Option<Load>,
    changes: u32,
}

impl Scene {
    /// A gateway that serves, with these files beside, under load.
    async fn start(files: &[(&str, String)]) -> Self {
        let upstream = Echo::new("echo").start(at(0)).await.unwrap();
        let (http, https) = (free_port(), free_port());
        let base = [
            listener("http", http, "HTTP"),
            listener("https", https, "HTTPS"),
            host("any", "*", ""),
            host("a", "a.example", "tlsSecret: {name: a}, "),
            tls_secret("a", &certs::self_signed(&["a.example"])),
            mapping("steady", "/steady/", &upstream, ""),
        ]
        .concat();
        let mut all = vec![("base.yaml", base)];
        all.extend(files.iter().cloned());
        let gateway = Gateway::start(&all).await;
        let mut scene = Self {
            gateway,
            upstream,
            http,
            https,
            load: None,
            changes: 0,
        };
        scene.until_status("/steady/", 200).await;
        let requests = vec![RequestSpec::get("a.example", "/steady/")];
        scene.load = Some(Load::start(&Target::cleartext(at(http)), requests, 2, 100));
        scene
    }

    async fn status(&self, path: &str) -> Option<u16> {
        self.status_of("a.example", path).await
    }

    async fn status_of(&self, host: &str, path: &str) -> Option<u16> {
        let target = Target::cleartext(at(self.http));
        let mut client = Client::connect(&target, Protocol::Http1).await.ok()?;
        let answer = client.get(host, path).await.ok()?;
        Some(answer.status.as_u16())
    }

    async fn until_status(&self, path: &str, status: u16) {
        let is = async || self.status(path).await == Some(status);
        self.gateway.until(is).await;
    }

    async fn until_error(&self, parts: &[&str]) {
        let said = async || {
            let errors = self.gateway.errors().await;
            parts.iter().all(|part| errors.contains(part))
        };
        self.gateway.until(said).await;
    }

    async fn shows(&self, name: &str, pair: &Pair) -> bool {
        let target = Target::tls(at(self.https), name);
        let client = Client::connect(&target, Protocol::Http1).await;
        client.is_ok_and(|client| client.certificate() == Some(&pair.cert_der[..]))
    }

    async fn answers_over_tls(&self, port: u16) -> bool {
        let target = Target::tls(at(port), "a.example");
        let Ok(mut client) = Client::connect(&target, Protocol::Http1).await else {
            return false;
        };
        let answer = client.get("a.example", "/steady/").await;
        answer.is_ok_and(|answer| answer.status == 200)
    }

    /// A route, a Host, its chain of the listener and its certificate come and go.
    async fn changes_go_on(&mut self) {
        self.changes += 1;
        let name = format!("n{}.example", self.changes);
        let pair = certs::self_signed(&[&name]);
        let new = [
            mapping("new", "/new/", &self.upstream, ""),
            tls_secret("new", &pair),
            host("new", &name, "tlsSecret: {name: new}, "),
        ];
        self.gateway.write("new.yaml", &new.concat());
        self.until_status("/new/", 200).await;
        let shown = async || self.shows(&name, &pair).await;
        self.gateway.until(shown).await;
        self.gateway.remove("new.yaml");
        self.until_status("/new/", 404).await;
    }

    async fn nothing_failed(self) {
        let load = self.load.unwrap();
        self.gateway.until(async || load.sent() > 50).await;
        let report = load.stop().await;
        assert!(
            report.failed.is_empty() && report.not_ok() == 0,
            "{:?} {:?}",
            report.by_status,
            report.failed
        );
        self.gateway.terminate().await;
    }

    /// Something bad comes, is left out, and comes back once it is mended.
    async fn isolates(mut self, file: &str, bad: &str, good: &str, said: &[&str]) -> Self {
        self.gateway.write(file, bad);
        self.until_error(said).await;
        self.changes_go_on().await;
        self.until_error(said).await;
        self.gateway.write(file, good);
        let mended = async || self.gateway.errors().await == "[]";
        self.gateway.until(mended).await;
        self
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_regular_expression_too_large_for_envoy() {
    let scene = Scene::start(&[]).await;
    let regex = |prefix: &str| mapping("large", prefix, &scene.upstream, ", prefix_regex: true");
    let (bad, good) = (regex(&too_large()), regex("/large/[a-z]+"));
    let said = ["Mapping default/large", "LeftOut", "RE2 program size"];
    let scene = scene.isolates("large.yaml", &bad, &good, &said).await;
    scene.until_status("/large/abc", 200).await;
    scene.nothing_failed().await;
}

/// Two at once, while Envoy has nothing that it accepted before.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn regular_expressions_too_large_at_the_start() {
    let upstream = Echo::new("other").start(at(0)).await.unwrap();
    let mut mappings = String::new();
    for n in 0..40 {
        let (prefix, regex) = match n {
            7 | 23 => (too_large(), ", prefix_regex: true"),
            n => (format!("/{n}/"), ""),
        };
        mappings += &mapping(&format!("m{n}"), &prefix, &upstream, regex);
    }
    let mut scene = Scene::start(&[("mappings.yaml", mappings)]).await;
    let said = [
        "Mapping default/m7",
        "Mapping default/m23",
        "RE2 program size",
    ];
    scene.until_error(&said).await;
    let errors = scene.gateway.errors().await;
    assert_eq!(errors.matches("LeftOut").count(), 2, "{errors}");
    scene.until_status("/39/", 200).await;
    scene.changes_go_on().await;
    scene.nothing_failed().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_in_a_folder_that_is_not_there() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();
    let bad = module(&format!("envoy_log_path: {}", path("missing/log")));
    let good = module(&format!("envoy_log_path: {}", path("log")));
    let scene = Scene::start(&[]).await;
    let said = [
        "Module default/ambassador",
        "envoy_log_path is left out",
        "LeftOut",
        "unable to open file",
    ];
    let scene = scene.isolates("module.yaml", &bad, &good, &said).await;
    let log = folder.path().join("log");
    scene.gateway.until(async || log.exists()).await;
    scene.nothing_failed().await;
}

/// nuncio does not look for the extension, and Envoy has no proof to show with it. While the Host is
/// not in effect, the one for every name does not answer in its place: it asks for less.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_certificate_that_envoy_alone_refuses() {
    let first = certs::self_signed(&["b.example"]);
    let good = certs::self_signed(&["b.example"]);
    let b = host("b", "b.example", "tlsSecret: {name: b}, ");
    let files = [("b.yaml", b), ("secret.yaml", tls_secret("b", &first))];
    let mut scene = Scene::start(&files).await;
    let shown = async || scene.shows("b.example", &first).await;
    scene.gateway.until(shown).await;
    assert_eq!(scene.status_of("b.example", "/steady/").await, Some(200));

    let bad = tls_secret("b", &certs::must_staple(&["b.example"]));
    scene.gateway.write("secret.yaml", &bad);
    scene
        .until_error(&["Secret default/b", "LeftOut", "OCSP"])
        .await;
    let closed = async || scene.status_of("b.example", "/steady/").await == Some(404);
    scene.gateway.until(closed).await;
    assert_eq!(
        scene.status_of("other.example", "/steady/").await,
        Some(200)
    );
    // Its renewal is tried with the next change of a Secret, and is no better.
    scene.changes_go_on().await;
    scene
        .until_error(&["Secret default/b", "LeftOut", "OCSP"])
        .await;

    scene.gateway.write("secret.yaml", &tls_secret("b", &good));
    let shown = async || scene.shows("b.example", &good).await;
    scene.gateway.until(shown).await;
    assert_eq!(scene.gateway.errors().await, "[]");
    scene.nothing_failed().await;
}

/// It may pass by itself, so the Listener is tried again instead of being left out.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_port_that_somebody_else_has() {
    let holder = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = holder.local_addr().unwrap().port();
    let scene = Scene::start(&[]).await;
    let (bad, good) = (
        listener("taken", port, "HTTP"),
        listener("taken", free_port(), "HTTP"),
    );
    let said = ["Listener default/taken", "in use"];
    let scene = scene.isolates("taken.yaml", &bad, &good, &said).await;
    scene.nothing_failed().await;
}

/// Everything of a scene's start, with its HTTPS Listener on another port.
fn moved(scene: &Scene, port: u16) -> String {
    [
        listener("http", scene.http, "HTTP"),
        listener("https", port, "HTTPS"),
        host("any", "*", ""),
        host("a", "a.example", "tlsSecret: {name: a}, "),
        tls_secret("a", &certs::self_signed(&["a.example"])),
        mapping("steady", "/steady/", &scene.upstream, ""),
    ]
    .concat()
}

/// All else of the Listener goes on with the port that it had, until its own is free.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_listener_moved_to_a_port_that_somebody_else_has() {
    let holder = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = holder.local_addr().unwrap().port();
    let mut scene = Scene::start(&[]).await;
    scene.gateway.write("base.yaml", &moved(&scene, port));
    let keeps = format!("the Listener keeps port {}", scene.https);
    let said = ["Listener default/https: spec.port", "in use", &keeps];
    scene.until_error(&said).await;
    // A Host of it, its chain and its certificate come and go, on the old port.
    scene.changes_go_on().await;
    scene.until_error(&said).await;

    drop(holder);
    scene.https = port;
    let mended = async || scene.gateway.errors().await == "[]";
    scene.gateway.until(mended).await;
    scene.changes_go_on().await;
    scene.nothing_failed().await;
}

/// The next nuncio does not know the port that the Listener had; Envoy does, and keeps it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_listener_moved_to_a_taken_port_survives_the_end_of_nuncio() {
    let holder = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = holder.local_addr().unwrap().port();
    let mut scene = Scene::start(&[]).await;
    let before = scene.https;
    scene.gateway.write("base.yaml", &moved(&scene, port));
    let said = ["Listener default/https: spec.port", "in use", "keeps port"];
    scene.until_error(&said).await;

    scene.gateway.kill9().await;
    scene.gateway.restart().await;
    let said = ["Listener default/https", "in use"];
    scene.until_error(&said).await;
    for _ in 0..3 {
        let answers = async || scene.answers_over_tls(before).await;
        scene.gateway.until(answers).await;
        let new = mapping("new", "/new/", &scene.upstream, "");
        scene.gateway.write("new.yaml", &new);
        scene.until_status("/new/", 200).await;
        scene.gateway.remove("new.yaml");
        scene.until_status("/new/", 404).await;
    }

    drop(holder);
    scene.https = port;
    let mended = async || scene.gateway.errors().await == "[]";
    scene.gateway.until(mended).await;
    scene.changes_go_on().await;
    scene.nothing_failed().await;
}

/// Whoever else writes the old port has it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_listener_moved_to_a_taken_port_and_another_to_its_own() {
    let holder = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = holder.local_addr().unwrap().port();
    let scene = Scene::start(&[]).await;
    scene.gateway.write("base.yaml", &moved(&scene, port));
    scene
        .until_error(&["Listener default/https: spec.port", "in use", "keeps port"])
        .await;
    let other = listener("other", scene.https, "HTTP");
    scene.gateway.write("other.yaml", &other);
    let said = [
        "Listener default/https: spec.port",
        "which it had, is that of Listener default/other",
    ];
    scene.until_error(&said).await;
    let served = async || {
        let target = Target::cleartext(at(scene.https));
        let Ok(mut client) = Client::connect(&target, Protocol::Http1).await else {
            return false;
        };
        let answer = client.get("a.example", "/steady/").await;
        answer.is_ok_and(|answer| answer.status == 200)
    };
    scene.gateway.until(served).await;

    let mut scene = scene;
    let https = free_port();
    scene.gateway.write("base.yaml", &moved(&scene, https));
    scene.https = https;
    let mended = async || scene.gateway.errors().await == "[]";
    scene.gateway.until(mended).await;
    scene.changes_go_on().await;
    scene.nothing_failed().await;
}

/// Each is in the way of the other.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_listeners_that_swap_their_ports() {
    let (one, other) = (free_port(), free_port());
    let pair = |plain, tls| listener("east", plain, "HTTP") + &listener("west", tls, "HTTPS");
    let scene = Scene::start(&[("pair.yaml", pair(one, other))]).await;
    let serve = async |plain, tls| {
        for target in [
            Target::cleartext(at(plain)),
            Target::tls(at(tls), "a.example"),
        ] {
            let answers = async || {
                let Ok(mut client) = Client::connect(&target, Protocol::Http1).await else {
                    return false;
                };
                let answer = client.get("a.example", "/steady/").await;
                answer.is_ok_and(|answer| answer.status == 200)
            };
            scene.gateway.until(answers).await;
        }
    };
    serve(one, other).await;
    scene.gateway.write("pair.yaml", &pair(other, one));
    serve(other, one).await;
    let quiet = async || scene.gateway.errors().await == "[]";
    scene.gateway.until(quiet).await;
    scene.nothing_failed().await;
}
