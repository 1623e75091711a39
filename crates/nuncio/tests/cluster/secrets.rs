//! Of Secrets those that something refers to, and no others.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::net::Ipv4Addr;

use lz4_flex::frame::FrameDecoder;
use nuncio_echo::certs::{self, Pair};
use nuncio_echo::client::{Client, Protocol, Target};
use nuncio_testkube::{ADMIN, NOBODY};
use serde_json::{Value, json};

use super::limits::rights;
use super::support::{Gateway, free_port, tls_secret};
use super::{Scene, definitions, mapping, service};

/// How many are there that nothing refers to.
const MANY: usize = 2_000;

fn base(port: u16) -> String {
    format!(
        "apiVersion: getambassador.io/v3alpha1\nkind: Listener\nmetadata: {{name: https}}\n\
         spec: {{port: {port}, protocol: HTTPS, securityModel: XFP, \
         hostBinding: {{namespace: {{from: ALL}}}}}}\n---\n"
    )
}

fn host(name: &str, secret: &str) -> String {
    format!(
        "apiVersion: getambassador.io/v3alpha1\nkind: Host\nmetadata: {{name: {name}}}\n\
         spec: {{hostname: {name}.example, tlsSecret: {{name: {secret}}}}}\n---\n"
    )
}

/// A Host `a` with the Secret `mine`, and what it takes to answer.
struct Certified {
    scene: Scene,
    https: u16,
    mine: Pair,
}

impl Certified {
    async fn start() -> Self {
        let scene = Scene::start().await;
        let https = free_port();
        let mine = certs::self_signed(&["a.example"]);
        let parts = [
            definitions(),
            base(https),
            host("a", "mine"),
            mapping("/a/"),
            service(&scene.upstream),
            tls_secret("mine", &mine),
        ];
        scene.apply(&parts.concat()).await;
        Self { scene, https, mine }
    }

    /// Whether a Host answers, with this certificate.
    async fn shows(&self, host: &str, pair: &Pair) -> bool {
        let name = format!("{host}.example");
        let target = Target::tls((Ipv4Addr::LOCALHOST, self.https).into(), &name);
        let Ok(mut client) = Client::connect(&target, Protocol::Http1).await else {
            return false;
        };
        let answer = client.get(&name, "/a/").await;
        answer.is_ok_and(|answer| answer.status == 200)
            && client.certificate() == Some(&pair.cert_der[..])
    }

    async fn until_shown(&self, gateway: &Gateway, host: &str, pair: &Pair) {
        gateway.until(async || self.shows(host, pair).await).await;
    }
}

/// The Secrets that are held: those are kept.
fn held(gateway: &Gateway) -> BTreeSet<String> {
    const CHECKSUM: usize = 16;
    let Ok(kept) = fs::read(gateway.path("state/kept")) else {
        return BTreeSet::new();
    };
    let line = kept.iter().position(|byte| *byte == b'\n').unwrap();
    let frame = &kept[line + 1..kept.len() - CHECKSUM];
    let text = io::read_to_string(FrameDecoder::new(frame)).unwrap();
    let roots: Value = serde_json::from_str(&text).unwrap();
    let files = roots[0]["files"].as_array().unwrap();
    let secrets = files.iter().find(|file| file["name"] == "/Secret").unwrap();
    let objects = secrets["objects"].as_array().unwrap();
    let name = |object: &Value| {
        object["body"]["metadata"]["name"]
            .as_str()
            .map(str::to_owned)
    };
    objects.iter().filter_map(name).collect()
}

async fn until_held(gateway: &Gateway, names: &[&str]) {
    let names = names.iter().map(|name| (*name).to_owned()).collect();
    gateway.until(async || held(gateway) == names).await;
}

async fn until_missing(gateway: &Gateway, name: &str) {
    let missing = format!("there is no Secret {name} in namespace default");
    let said = async || gateway.errors().await.contains(&missing);
    gateway.until(said).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn those_that_nothing_refers_to_are_not_held() {
    let certified = Certified::start().await;
    let scene = &certified.scene;
    let unused = |number| {
        json!({
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": format!("unused-{number}")},
            "type": "kubernetes.io/tls",
            "data": {"tls.crt": "AAAA".repeat(500), "tls.key": "AAAA".repeat(500)},
        })
    };
    let unused = (0..MANY).map(unused);
    scene.kubernetes.create(unused).await.unwrap();
    let mut gateway = scene.gateway(ADMIN);
    gateway.ready().await;
    assert!(certified.shows("a", &certified.mine).await);
    until_held(&gateway, &["mine"]).await;

    // One that is there is referred to, and is another then.
    let [first, second] = [(); 2].map(|()| certs::self_signed(&["b.example"]));
    scene.apply(&tls_secret("later", &first)).await;
    scene.apply(&host("b", "later")).await;
    certified.until_shown(&gateway, "b", &first).await;
    until_held(&gateway, &["later", "mine"]).await;
    scene.apply(&tls_secret("later", &second)).await;
    certified.until_shown(&gateway, "b", &second).await;

    // One that is referred to goes, and comes back.
    let later = tls_secret("later", &second);
    scene.kubernetes.delete(&later).await.unwrap();
    until_missing(&gateway, "later").await;
    let gone = async || !certified.shows("b", &second).await;
    gateway.until(gone).await;
    assert!(certified.shows("a", &certified.mine).await);
    until_held(&gateway, &["mine"]).await;
    scene.apply(&later).await;
    certified.until_shown(&gateway, "b", &second).await;

    // One that is referred to before it is there.
    scene.apply(&host("b", "last")).await;
    until_missing(&gateway, "last").await;
    until_held(&gateway, &["mine"]).await;
    scene.apply(&tls_secret("last", &first)).await;
    certified.until_shown(&gateway, "b", &first).await;
    let gone = host("b", "last");
    scene.kubernetes.delete(&gone).await.unwrap();
    until_held(&gateway, &["mine"]).await;
    gateway.terminate().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_api_server_that_is_away_costs_no_certificate() {
    let mut certified = Certified::start().await;
    let mut gateway = certified.scene.gateway(ADMIN);
    gateway.ready().await;
    until_held(&gateway, &["mine"]).await;
    certified.scene.kubernetes.kill_api_server().await.unwrap();
    gateway.kill9().await;
    gateway.restart().await;
    assert!(certified.shows("a", &certified.mine).await);
    assert!(!gateway.errors().await.contains("there is no Secret"));

    let kubernetes = &mut certified.scene.kubernetes;
    kubernetes.start_api_server().await.unwrap();
    let pair = certs::self_signed(&["b.example"]);
    let more = tls_secret("more", &pair) + &host("b", "more");
    certified.scene.apply(&more).await;
    certified.until_shown(&gateway, "b", &pair).await;
    assert!(certified.shows("a", &certified.mine).await);
    until_held(&gateway, &["mine", "more"]).await;
    gateway.terminate().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn those_that_may_not_be_read_are_missing_until_they_may() {
    let certified = Certified::start().await;
    let scene = &certified.scene;
    scene.apply(&rights("services", "'*'")).await;
    let mut gateway = scene.gateway(NOBODY);
    gateway.ready().await;
    until_missing(&gateway, "mine").await;
    let errors = gateway.errors().await;
    assert!(
        errors.contains("may not list and watch secrets"),
        "{errors}"
    );

    scene.apply(&rights("services, secrets", "'*'")).await;
    certified.until_shown(&gateway, "a", &certified.mine).await;
    until_held(&gateway, &["mine"]).await;
    gateway.terminate().await;
}

/// One that a selector leaves out is not there, whoever asks for it by its name.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn selectors_are_for_secrets_too() {
    let certified = Certified::start().await;
    let scene = &certified.scene;
    let pair = certs::self_signed(&["b.example"]);
    let labelled = |gateway: &str| {
        let labels = format!("{{name: b, labels: {{gateway: {gateway}}}}}");
        tls_secret("b", &pair).replace("{name: b}", &labels)
    };
    scene.apply(&labelled("there")).await;
    let variables = [("AMBASSADOR_LABEL_SELECTOR", "gateway!=there")];
    let mut gateway = scene.gateway_with(ADMIN, &variables);
    gateway.ready().await;
    scene.apply(&host("b", "b")).await;
    until_missing(&gateway, "b").await;
    scene.apply(&labelled("here")).await;
    certified.until_shown(&gateway, "b", &pair).await;
    until_held(&gateway, &["b", "mine"]).await;
    gateway.terminate().await;
}
