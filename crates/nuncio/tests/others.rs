//! An Envoy elsewhere: a real one that `nuncio bootstrap` configures, over mutual TLS.

#![allow(clippy::unwrap_used)]

mod support;

use std::fs::{self, File};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use nuncio_echo::Echo;
use nuncio_echo::certs::{Authority, Pair};
use nuncio_echo::client::{Client, Protocol, Target};
use support::{Gateway, envoy, free_port};

/// An Envoy that nuncio did not start. Ended when dropped.
struct Elsewhere(Child);

impl Elsewhere {
    /// With certificates of its own, in a folder of its own.
    fn start(folder: &Path, xds: u16, trusts: &Pair, is: &Pair) -> Self {
        fs::create_dir(folder).unwrap();
        let path = |name: &str| folder.join(name).to_str().unwrap().to_owned();
        fs::write(path("ca"), &trusts.cert_pem).unwrap();
        fs::write(path("cert"), &is.cert_pem).unwrap();
        fs::write(path("key"), &is.key_pem).unwrap();
        let printed = Command::new(env!("CARGO_BIN_EXE_nuncio"))
            .arg("bootstrap")
            .args(["--xds", &format!("127.0.0.1:{xds}")])
            .args(["--node-id", "elsewhere"])
            .args(["--ca", &path("ca")])
            .args(["--cert", &path("cert")])
            .args(["--key", &path("key")])
            .output()
            .unwrap();
        assert!(printed.status.success());
        fs::write(path("bootstrap.json"), printed.stdout).unwrap();
        let log = File::create(path("log")).unwrap();
        let envoy = Command::new(envoy())
            .args(["-c", &path("bootstrap.json")])
            .args([
                "--concurrency",
                "1",
                "--disable-hot-restart",
                "-l",
                "warning",
            ])
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        Self(envoy)
    }
}

impl Drop for Elsewhere {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_envoy_elsewhere_serves_and_a_stranger_gets_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let authority = Authority::new("authority");
    let server = authority.issue(1, &["127.0.0.1"]);
    fs::write(path("ca"), &authority.pair().cert_pem).unwrap();
    fs::write(path("cert"), &server.cert_pem).unwrap();
    fs::write(path("key"), &server.key_pem).unwrap();

    let any_port = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let upstream = Echo::new("quote").start(any_port).await.unwrap();
    let (port, xds) = (free_port(), free_port());
    let base = format!(
        "apiVersion: getambassador.io/v3alpha1\nkind: Listener\nmetadata: {{name: http}}\n\
         spec: {{port: {port}, protocol: HTTP, securityModel: XFP, \
         hostBinding: {{namespace: {{from: ALL}}}}}}\n"
    );
    let mapping = |prefix: &str| {
        format!(
            "apiVersion: getambassador.io/v3alpha1\nkind: Mapping\nmetadata: {{name: a}}\n\
             spec: {{hostname: \"*\", prefix: {prefix}, service: \"{}\"}}\n",
            upstream.address()
        )
    };
    // Ready at once: whoever comes gets something.
    let gateway = Gateway::start_with(
        &[("base.yaml", base), ("mapping.yaml", mapping("/a/"))],
        &[
            ("NUNCIO_XDS_LISTEN", &format!("127.0.0.1:{xds}")),
            ("NUNCIO_XDS_CERT", &path("cert")),
            ("NUNCIO_XDS_KEY", &path("key")),
            ("NUNCIO_XDS_CLIENT_CA", &path("ca")),
            ("NUNCIO_NO_ENVOY", "true"),
        ],
    )
    .await;
    let http = Target::cleartext((Ipv4Addr::LOCALHOST, port).into());
    let status = async |path: &str| {
        let mut client = Client::connect(&http, Protocol::Http1).await.ok()?;
        let answer = client.get("a.example", path).await.ok()?;
        Some(answer.status.as_u16())
    };

    let stranger = Authority::new("stranger").issue(2, &["envoy"]);
    let strange_folder = folder.path().join("stranger");
    let _stranger = Elsewhere::start(&strange_folder, xds, authority.pair(), &stranger);
    let refused = || gateway.log().contains("an Envoy is refused");
    gateway.until(async || refused()).await;
    assert_eq!(status("/a/").await, None);
    assert_eq!(gateway.metric("nuncio_other_envoys").await, 0);

    let known = authority.issue(3, &["envoy"]);
    let known_folder = folder.path().join("known");
    let _known = Elsewhere::start(&known_folder, xds, authority.pair(), &known);
    gateway
        .until(async || status("/a/").await == Some(200))
        .await;
    assert_eq!(gateway.metric("nuncio_other_envoys").await, 1);
    gateway.write("mapping.yaml", &mapping("/b/"));
    gateway.settled().await;
    assert_eq!(status("/b/").await, Some(200));
    assert_eq!(status("/a/").await, Some(404));
    gateway.terminate_with(0).await;
}
