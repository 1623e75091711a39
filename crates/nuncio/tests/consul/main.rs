//! Services in a real Consul: requests go to the instances that pass their checks, and what it said
//! last stays while it is away.

#![allow(clippy::unwrap_used)]

mod agent;
#[path = "../support/mod.rs"]
mod support;

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, SocketAddr};

use agent::{Agent, Asks};
use nuncio_echo::certs::Authority;
use nuncio_echo::client::{Client, Protocol, Target};
use nuncio_echo::{Echo, Running};
use support::{Gateway, free_port};

async fn upstream(name: &str) -> Running {
    let any_port = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    Echo::new(name).start(any_port).await.unwrap()
}

fn resolver(name: &str, address: &str, datacenter: &str) -> String {
    format!(
        "---\napiVersion: getambassador.io/v3alpha1\nkind: ConsulResolver\nmetadata: {{name: {name}}}\n\
         spec: {{address: \"{address}\", datacenter: {datacenter}}}\n"
    )
}

fn mapping(prefix: &str, resolver: &str) -> String {
    format!(
        "---\napiVersion: getambassador.io/v3alpha1\nkind: Mapping\nmetadata: {{name: {prefix}}}\n\
         spec: {{hostname: \"*\", prefix: /{prefix}/, service: web, resolver: {resolver}}}\n"
    )
}

struct Scene {
    gateway: Gateway,
    http: Target,
}

impl Scene {
    async fn start(resolvers_and_mappings: &str) -> Self {
        Self::start_with(resolvers_and_mappings, &[]).await
    }

    async fn start_with(resolvers_and_mappings: &str, variables: &[(&str, &str)]) -> Self {
        let port = free_port();
        let manifests = format!(
            "apiVersion: getambassador.io/v3alpha1\nkind: Listener\nmetadata: {{name: http}}\n\
             spec: {{port: {port}, protocol: HTTP, securityModel: XFP, \
             hostBinding: {{namespace: {{from: ALL}}}}}}\n\
             ---\napiVersion: getambassador.io/v3alpha1\nkind: Host\nmetadata: {{name: any}}\n\
             spec: {{hostname: \"*\", requestPolicy: {{insecure: {{action: Route}}}}}}\n\
             {resolvers_and_mappings}"
        );
        Self {
            gateway: Gateway::start_with(&[("all.yaml", manifests)], variables).await,
            http: Target::cleartext(SocketAddr::from((Ipv4Addr::LOCALHOST, port))),
        }
    }

    /// Who answers a request, or its status; `None` where nothing listens.
    async fn ask(&self, path: &str) -> Option<String> {
        let mut client = Client::connect(&self.http, Protocol::Http1).await.ok()?;
        let answer = client.get("a.example", path).await.ok()?;
        let said = answer.json();
        let upstream = said["upstream"].as_str().map(str::to_owned);
        Some(upstream.unwrap_or_else(|| answer.status.as_str().to_owned()))
    }

    /// Waits until these answer, and nobody else.
    async fn until_answered_by(&self, path: &str, expected: &[&str]) {
        let expected = expected.iter().map(|who| Some((*who).to_owned()));
        let expected: BTreeSet<_> = expected.collect();
        let answer = async || {
            let mut who = BTreeSet::new();
            for _ in 0..4 {
                who.insert(self.ask(path).await);
            }
            who == expected
        };
        self.gateway.until(answer).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_go_to_instances_that_pass_their_checks() {
    let (one, other) = (upstream("one").await, upstream("other").await);
    let agent = Agent::start("dc1").await;
    agent.register("web", "one", one.address(), true).await;
    agent.register("web", "other", other.address(), false).await;
    let scene = Scene::start(&format!(
        "{}{}",
        resolver("consul-dc1", &agent.address(), "dc1"),
        mapping("web", "consul-dc1")
    ))
    .await;
    // What Consul said is there before the gateway is ready.
    assert_eq!(scene.ask("/web/").await.as_deref(), Some("one"));
    scene.until_answered_by("/web/", &["one"]).await;
    agent.check("other", true).await;
    scene.until_answered_by("/web/", &["one", "other"]).await;
    agent.check("one", false).await;
    scene.until_answered_by("/web/", &["other"]).await;
    agent.check("one", true).await;
    scene.until_answered_by("/web/", &["one", "other"]).await;
    // One that registers anew at another address.
    let moved = upstream("moved").await;
    agent.register("web", "one", moved.address(), true).await;
    scene.until_answered_by("/web/", &["moved", "other"]).await;
    agent.deregister("one").await;
    scene.until_answered_by("/web/", &["other"]).await;
    assert_eq!(scene.gateway.errors().await, "[]");
    agent.deregister("other").await;
    scene.until_answered_by("/web/", &["503"]).await;
    let notices = scene.gateway.notices().await;
    assert!(notices.contains("no instance that passes"), "{notices}");
    scene.gateway.terminate().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_consul_said_last_stays_while_it_is_away() {
    let (one, other) = (upstream("one").await, upstream("other").await);
    let mut agent = Agent::start("dc1").await;
    agent.register("web", "one", one.address(), true).await;
    let mut scene = Scene::start(&format!(
        "{}{}",
        resolver("consul", &agent.address(), "dc1"),
        mapping("web", "consul")
    ))
    .await;
    scene.until_answered_by("/web/", &["one"]).await;
    let kept = scene.gateway.path("state/kept-consul");
    let is_kept = async || std::fs::read_to_string(&kept).is_ok_and(|text| text.contains("web"));
    scene.gateway.until(is_kept).await;

    agent.stop().await;
    let said = "what it said last stays";
    let is_said = async |scene: &Scene| scene.gateway.notices().await.contains(said);
    scene.gateway.until(async || is_said(&scene).await).await;
    assert_eq!(scene.ask("/web/").await.as_deref(), Some("one"));

    // Also for a nuncio that never saw it, and an Envoy that knows nothing.
    scene.gateway.kill9().await;
    scene.gateway.restart().await;
    assert_eq!(scene.ask("/web/").await.as_deref(), Some("one"));
    assert!(is_said(&scene).await);
    let envoy = scene.gateway.envoy_pid().await;
    scene.gateway.kill_envoy().await;
    let another = async || {
        scene
            .gateway
            .try_envoy_pid()
            .is_some_and(|pid| pid != envoy)
    };
    scene.gateway.until(another).await;
    scene.until_answered_by("/web/", &["one"]).await;

    agent.start_again().await;
    agent.register("web", "other", other.address(), true).await;
    scene.until_answered_by("/web/", &["other"]).await;
    assert!(!is_said(&scene).await);
    scene.gateway.terminate().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_service_of_another_datacenter_is_another() {
    let (one, other) = (upstream("one").await, upstream("other").await);
    let (east, west) = (Agent::start("east").await, Agent::start("west").await);
    east.register("web", "one", one.address(), true).await;
    west.register("web", "other", other.address(), true).await;
    let scene = Scene::start(&format!(
        "{}{}{}{}{}{}",
        resolver("east", &east.address(), "east"),
        resolver("west", &west.address(), "west"),
        resolver("nowhere", &west.address(), "nowhere"),
        mapping("east", "east"),
        mapping("west", "west"),
        mapping("nowhere", "nowhere"),
    ))
    .await;
    scene.until_answered_by("/east/", &["one"]).await;
    scene.until_answered_by("/west/", &["other"]).await;
    scene.until_answered_by("/nowhere/", &["503"]).await;
    let notices = scene.gateway.notices().await;
    assert!(notices.contains("No path to datacenter"), "{notices}");
    scene.gateway.terminate().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_agent_gets_the_token_that_it_asks_for() {
    const TOKEN: &str = "8cbb2ae6-5b62-4a1a-9b1c-6e0a2f0c1d11";
    let one = upstream("one").await;
    let asks = Asks {
        token: Some(TOKEN.to_owned()),
        tls: None,
    };
    let agent = Agent::start_asking("dc1", asks).await;
    agent.register("web", "one", one.address(), true).await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("token");
    std::fs::write(&file, "00000000-0000-0000-0000-000000000001\n").unwrap();
    let manifests = resolver("consul", &agent.address(), "dc1") + &mapping("web", "consul");
    let variables = [("CONSUL_HTTP_TOKEN_FILE", file.to_str().unwrap())];
    let scene = Scene::start_with(&manifests, &variables).await;
    scene.until_answered_by("/web/", &["503"]).await;
    let notices = scene.gateway.notices().await;
    assert!(
        notices.contains("it answers 403 Forbidden") && notices.contains("which is nothing"),
        "{notices}"
    );
    std::fs::write(&file, format!("{TOKEN}\n")).unwrap();
    scene.until_answered_by("/web/", &["one"]).await;
    let said = async || scene.gateway.notices().await.contains("403");
    scene.gateway.until(async || !said().await).await;
    scene.gateway.terminate().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_agent_is_asked_over_tls_with_a_certificate() {
    let one = upstream("one").await;
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, pem: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, pem).unwrap();
        path
    };
    let authority = Authority::new("consul");
    let other = Authority::new("other");
    let (own, client) = (
        authority.issue(1, &["localhost"]),
        authority.issue(2, &["nuncio"]),
    );
    let ca = write("ca.crt", &authority.pair().cert_pem);
    let files = [
        ca.clone(),
        write("own.crt", &own.cert_pem),
        write("own.key", &own.key_pem),
    ];
    let port = free_port();
    let asks = Asks {
        token: None,
        tls: Some((port, files)),
    };
    let agent = Agent::start_asking("dc1", asks).await;
    agent.register("web", "one", one.address(), true).await;
    let address = format!("https://localhost:{port}");
    let manifests = resolver("consul", &address, "dc1") + &mapping("web", "consul");
    let certificate = write("nuncio.crt", &client.cert_pem);
    let key = write("nuncio.key", &client.key_pem);
    let other = write("other.crt", &other.pair().cert_pem);
    let shown = [
        ("CONSUL_CLIENT_CERT", certificate.to_str().unwrap()),
        ("CONSUL_CLIENT_KEY", key.to_str().unwrap()),
    ];
    let with_ca = [("CONSUL_CACERT", ca.to_str().unwrap())];
    let with_other = [("CONSUL_CACERT", other.to_str().unwrap())];
    for (variables, who) in [
        ([&with_ca[..], &shown].concat(), "one"),
        // It shows no certificate, or trusts another authority.
        (with_ca.to_vec(), "503"),
        ([&with_other[..], &shown].concat(), "503"),
    ] {
        let scene = Scene::start_with(&manifests, &variables).await;
        scene.until_answered_by("/web/", &[who]).await;
        let notices = scene.gateway.notices().await;
        let said = notices.contains("does not say where web is");
        assert_eq!(said, who == "503", "{notices}");
        scene.gateway.terminate().await;
    }
}

/// Both are asked, and what Consul says of either is followed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn auth_services_in_consul_take_turns() {
    let web = upstream("web").await;
    let auth = async |name: &str| {
        let echo = Echo::new(name).statuses(vec![http::StatusCode::UNAUTHORIZED]);
        echo.start(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))
            .await
            .unwrap()
    };
    let (one, other, later) = (auth("one").await, auth("other").await, auth("later").await);
    let agent = Agent::start("dc1").await;
    agent.register("one", "1", one.address(), true).await;
    agent.register("other", "2", other.address(), true).await;
    let service = |name: &str| {
        format!(
            "---\napiVersion: getambassador.io/v3alpha1\nkind: AuthService\n\
             metadata: {{name: {name}}}\nspec: {{auth_service: {name}}}\n"
        )
    };
    let module = "---\napiVersion: getambassador.io/v3alpha1\nkind: Module\n\
                  metadata: {name: ambassador}\nspec: {config: {resolver: consul}}\n";
    let mapping = format!(
        "---\napiVersion: getambassador.io/v3alpha1\nkind: Mapping\nmetadata: {{name: web}}\n\
         spec: {{hostname: \"*\", prefix: /web/, service: \"{}\"}}\n",
        web.address()
    );
    let resolver = resolver("consul", &agent.address(), "dc1");
    let services = service("one") + &service("other");
    let scene = Scene::start(&[&resolver, module, &mapping, &services].concat()).await;
    scene.until_answered_by("/web/", &["one", "other"]).await;
    agent.register("other", "2", later.address(), true).await;
    scene.until_answered_by("/web/", &["later", "one"]).await;
    scene.gateway.terminate().await;
}
