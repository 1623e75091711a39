//! A start at which the manifests cannot be read: what was kept of them is served.

#![allow(clippy::unwrap_used)]

mod support;

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::fs::PermissionsExt;

use nuncio_echo::client::{Client, Protocol, Target};
use nuncio_echo::{Echo, Running};
use support::{Gateway, free_port};

struct Scene {
    gateway: Gateway,
    upstream: Running,
    http: Target,
}

impl Scene {
    async fn start() -> Self {
        let any_port = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let upstream = Echo::new("quote").start(any_port).await.unwrap();
        let port = free_port();
        let base = format!(
            "apiVersion: getambassador.io/v3alpha1\nkind: Listener\nmetadata: {{name: http}}\n\
             spec: {{port: {port}, protocol: HTTP, securityModel: XFP, \
             hostBinding: {{namespace: {{from: ALL}}}}}}\n"
        );
        let files = [
            ("base.yaml", base),
            ("mapping.yaml", mapping("/a/", &upstream)),
        ];
        let gateway = Gateway::start(&files).await;
        Self {
            gateway,
            upstream,
            http: Target::cleartext((Ipv4Addr::LOCALHOST, port).into()),
        }
    }

    async fn status(&self, path: &str) -> Option<u16> {
        let mut client = Client::connect(&self.http, Protocol::Http1).await.ok()?;
        let answer = client.get("a.example", path).await.ok()?;
        Some(answer.status.as_u16())
    }

    /// Waits until what is there now is kept.
    async fn kept(&self) {
        let kept = self.gateway.path("state/kept");
        let newer = || {
            let modified = |path| fs::metadata(path).and_then(|found| found.modified()).ok();
            modified(kept.clone()) > modified(self.gateway.manifest("mapping.yaml"))
        };
        self.gateway.until(async || newer()).await;
    }

    fn hide(&self) {
        fs::rename(self.gateway.path("manifests"), self.gateway.path("away")).unwrap();
    }

    fn show(&self) {
        fs::rename(self.gateway.path("away"), self.gateway.path("manifests")).unwrap();
    }
}

fn mapping(prefix: &str, upstream: &Running) -> String {
    format!(
        "apiVersion: getambassador.io/v3alpha1\nkind: Mapping\nmetadata: {{name: a}}\n\
         spec: {{hostname: \"*\", prefix: {prefix}, service: \"{}\"}}\n",
        upstream.address()
    )
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_kept_is_served_until_the_folder_is_back() {
    let mut scene = Scene::start().await;
    scene.kept().await;
    let kept = scene.gateway.path("state/kept");
    let mode = fs::metadata(&kept).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600, "there may be Secrets in it");
    let envoy = scene.gateway.envoy_pid().await;
    scene.gateway.kill9().await;
    scene.hide();
    scene.gateway.restart().await;

    let (status, body) = scene.gateway.check_ready().await.unwrap();
    let said = "cannot be read: No such file or directory (os error 2); what was read from it \
                before this start (2 objects, ";
    assert!(
        status == 200 && body.starts_with("Ambassador is ready") && body.contains(said),
        "{body}"
    );
    assert!(scene.gateway.errors().await.contains(said));
    let (_, page) = scene
        .gateway
        .admin_get("/ambassador/v0/diag/")
        .await
        .unwrap();
    assert!(page.contains("what was read from it before this start"));
    assert_eq!(scene.gateway.envoy_pid().await, envoy);
    assert_eq!(scene.status("/a/").await, Some(200));

    // An Envoy that knows nothing gets all of it too.
    scene.gateway.kill_envoy().await;
    let serves = async || scene.status("/a/").await == Some(200);
    scene.gateway.until(serves).await;

    let upstream = &scene.upstream;
    fs::write(
        scene.gateway.path("away/mapping.yaml"),
        mapping("/b/", upstream),
    )
    .unwrap();
    scene.show();
    let caught_up = async || scene.status("/b/").await == Some(200);
    scene.gateway.until(caught_up).await;
    assert_eq!(scene.status("/a/").await, Some(404));
    // Envoy serves a little before it has answered everything.
    let waiting = async || {
        let answer = scene.gateway.check_ready().await;
        answer.is_some_and(|(_, body)| body == "Ambassador is ready and waiting\n")
    };
    scene.gateway.until(waiting).await;
    scene.gateway.terminate().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_damaged_is_refused_and_a_running_envoy_left_alone() {
    let mut scene = Scene::start().await;
    scene.kept().await;
    scene.gateway.kill9().await;
    scene.hide();
    let kept = scene.gateway.path("state/kept");
    let mut bytes = fs::read(&kept).unwrap();
    bytes.truncate(bytes.len() / 2);
    fs::write(&kept, bytes).unwrap();
    scene.gateway.start_again();

    let said = async || {
        let ready = scene.gateway.check_ready().await;
        ready.is_some_and(|(status, body)| {
            status == 503 && body.contains("kept: is damaged or not whole")
        })
    };
    scene.gateway.until(said).await;
    assert!(
        scene
            .gateway
            .errors()
            .await
            .contains("nothing of it is used")
    );
    assert!(scene.gateway.log().contains("is damaged or not whole"));
    assert_eq!(scene.status("/a/").await, Some(200));

    scene.show();
    scene.gateway.ready().await;
    assert!(!scene.gateway.errors().await.contains("damaged"));
    assert_eq!(scene.status("/a/").await, Some(200));
    scene.gateway.terminate().await;
}

/// Also of an Envoy that has something.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_empty_folder_means_that_nothing_is_configured() {
    let mut scene = Scene::start().await;
    scene.kept().await;
    scene.gateway.kill9().await;
    for file in fs::read_dir(scene.gateway.path("manifests")).unwrap() {
        fs::remove_file(file.unwrap().path()).unwrap();
    }
    scene.gateway.restart().await;
    let refused = async || scene.status("/a/").await.is_none();
    scene.gateway.until(refused).await;
    scene.gateway.terminate().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_kept_is_reported_and_hurts_nothing() {
    let scene = Scene::start().await;
    scene.kept().await;
    let before = fs::read(scene.gateway.path("state/kept")).unwrap();
    // Nothing can be written where a folder is.
    let obstacle = scene.gateway.path("state/kept.new");
    fs::create_dir(&obstacle).unwrap();
    scene
        .gateway
        .write("mapping.yaml", &mapping("/b/", &scene.upstream));
    let said = async || scene.gateway.notices().await.contains("cannot be kept");
    scene.gateway.until(said).await;
    assert_eq!(scene.status("/b/").await, Some(200));
    assert_eq!(
        fs::read(scene.gateway.path("state/kept")).unwrap(),
        before,
        "what was kept before is whole"
    );

    fs::remove_dir(&obstacle).unwrap();
    scene.gateway.until(async || !said().await).await;
    scene.kept().await;
    scene.gateway.terminate().await;
}
