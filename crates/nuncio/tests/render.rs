//! What `nuncio render` writes is served by an Envoy alone.

#![allow(clippy::unwrap_used)]

mod support;

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Output, Stdio};
use std::time::{Duration, Instant};

use nuncio_echo::Echo;
use nuncio_echo::certs;
use nuncio_echo::client::{Client, Protocol, Target};
use support::{envoy, free_port};
use tokio::process::Command;

const DEADLINE: Duration = Duration::from_secs(20);

async fn render(folder: &Path, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_nuncio"))
        .arg("render")
        .arg(folder.join("manifests.yaml"))
        .args(arguments)
        .current_dir(folder)
        .env("AMBASSADOR_READY_PORT", "0")
        .output()
        .await
        .unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn indented(pem: &str) -> String {
    pem.replace('\n', "\n    ")
}

fn manifests(http: u16, https: u16, upstream: SocketAddr) -> String {
    let pair = certs::self_signed(&["a.example"]);
    let (ip, port) = (upstream.ip(), upstream.port());
    let (chain, key) = (indented(&pair.cert_pem), indented(&pair.key_pem));
    format!(
        r#"
apiVersion: getambassador.io/v3alpha1
kind: Listener
metadata: {{name: http}}
spec: {{port: {http}, protocol: HTTP, securityModel: XFP, hostBinding: {{namespace: {{from: ALL}}}}}}
---
apiVersion: getambassador.io/v3alpha1
kind: Listener
metadata: {{name: https}}
spec: {{port: {https}, protocol: HTTPS, securityModel: XFP, hostBinding: {{namespace: {{from: ALL}}}}}}
---
apiVersion: getambassador.io/v3alpha1
kind: Host
metadata: {{name: a}}
spec: {{hostname: a.example, tlsSecret: {{name: a}}, requestPolicy: {{insecure: {{action: Route}}}}}}
---
apiVersion: v1
kind: Secret
metadata: {{name: a}}
type: kubernetes.io/tls
stringData:
  tls.crt: |
    {chain}
  tls.key: |
    {key}
---
apiVersion: getambassador.io/v3alpha1
kind: Module
metadata: {{name: ambassador}}
spec:
  config:
    error_response_overrides: [{{on_status_code: 418, body: {{text_format: none left}}}}]
---
apiVersion: getambassador.io/v3alpha1
kind: Mapping
metadata: {{name: up}}
spec: {{hostname: "*", prefix: /up/, service: up}}
---
apiVersion: getambassador.io/v3alpha1
kind: Mapping
metadata: {{name: admin}}
spec: {{hostname: "*", prefix: /envoy/, service: "127.0.0.1:8001"}}
---
apiVersion: v1
kind: Service
metadata: {{name: up}}
spec: {{ports: [{{port: 80}}]}}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {{name: up-1, labels: {{kubernetes.io/service-name: up}}}}
addressType: IPv4
ports: [{{port: {port}}}]
endpoints: [{{addresses: ["{ip}"]}}]
"#
    )
}

/// The answer, once there is who answers.
async fn get(target: &Target, path: &str) -> (u16, String) {
    let deadline = Instant::now() + DEADLINE;
    loop {
        if let Ok(mut client) = Client::connect(target, Protocol::Http1).await {
            let answer = client.get("a.example", path).await.unwrap();
            return (answer.status.as_u16(), text(&answer.body));
        }
        assert!(Instant::now() < deadline, "nobody listens");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn envoy_alone_serves_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let upstream = Echo::new("up")
        .start(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))
        .await
        .unwrap();
    let [http, https, admin] = [free_port(), free_port(), free_port()];
    let manifests = manifests(http, https, upstream.address());
    fs::write(folder.path().join("manifests.yaml"), manifests).unwrap();
    let admin_port = admin.to_string();
    let loopback = ["--bind", "127.0.0.1", "--admin-port", &admin_port];
    for file in ["envoy.yaml", "envoy.json"] {
        let arguments = [&loopback[..], &["-o", file]].concat();
        let output = render(folder.path(), &arguments).await;
        assert_eq!(text(&output.stderr), "");
        assert_eq!(output.status.code(), Some(0));
        assert_eq!(text(&output.stdout), "");
        let mode = fs::metadata(folder.path().join(file))
            .unwrap()
            .permissions();
        assert_eq!(mode.mode() & 0o777, 0o600, "it has private keys");

        let log = fs::File::create(folder.path().join("log")).unwrap();
        let mut envoy = Command::new(envoy())
            .args([
                "-c",
                file,
                "--use-dynamic-base-id",
                "--concurrency",
                "1",
                "-l",
                "warning",
            ])
            .current_dir(folder.path())
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let local = |port| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        for target in [
            Target::cleartext(local(http)),
            Target::tls(local(https), "a.example"),
        ] {
            let (status, body) = get(&target, "/up/there").await;
            assert_eq!(status, 200, "{file}: {body}");
            assert!(body.contains(r#""path":"/there""#), "{body}");
            let filtered = get(&target, "/up/?x-echo-status=418").await;
            assert_eq!(filtered, (418, "none left".to_owned()));
        }
        let ready = (200, "LIVE\n".to_owned());
        assert_eq!(
            get(&Target::cleartext(local(http)), "/envoy/ready").await,
            ready
        );
        assert_eq!(get(&Target::cleartext(local(admin)), "/ready").await, ready);
        envoy.kill().await.unwrap();
    }
}

#[tokio::test]
async fn what_is_left_out_is_said() {
    let folder = tempfile::tempdir().unwrap();
    let mapping = "apiVersion: getambassador.io/v3alpha1\nkind: Mapping\nmetadata: {name: a}\n\
                   spec: {hostname: \"*\", prefix: /a/, service: a, timeout_ms: soon}\n";
    fs::write(folder.path().join("manifests.yaml"), mapping).unwrap();
    let output = render(folder.path(), &["--format", "json"]).await;
    assert_eq!(output.status.code(), Some(1));
    let said = text(&output.stderr);
    assert!(
        said.contains("manifests.yaml:4:")
            && said.contains("error: Mapping default/a: spec.timeout_ms: "),
        "{said}"
    );
    let written: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert!(written["admin"].is_null() && written["static_resources"].is_object());

    let output = render(folder.path(), &["nowhere.yaml"]).await;
    assert_eq!(output.status.code(), Some(2));
    assert_eq!(text(&output.stdout), "");
    assert!(text(&output.stderr).contains("cannot read nowhere.yaml: No such file"));
}
