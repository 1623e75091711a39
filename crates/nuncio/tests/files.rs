//! Files that resources name are followed as the resources are.

#![allow(clippy::unwrap_used)]

mod support;

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};

use nuncio_echo::certs::{Pair, self_signed};
use nuncio_echo::client::{Client, Protocol, Target};
use support::{Gateway, free_port};
use tempfile::TempDir;

fn manifests(http: u16, https: u16, files: &TempDir) -> String {
    let files = files.path().display();
    format!(
        "
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
spec: {{hostname: a.example, tlsContext: {{name: a}}, requestPolicy: {{insecure: {{action: Route}}}}}}
---
apiVersion: getambassador.io/v3alpha1
kind: TLSContext
metadata: {{name: a}}
spec: {{cert_chain_file: {files}/cert.pem, private_key_file: {files}/key.pem}}
---
apiVersion: getambassador.io/v3alpha1
kind: Module
metadata: {{name: ambassador}}
spec:
  config:
    error_response_overrides:
    - {{on_status_code: 404, body: {{text_format_source: {{filename: {files}/404.html}}}}}}
"
    )
}

fn replace(files: &TempDir, name: &str, content: &str) {
    let new = files.path().join(format!("{name}.new"));
    fs::write(&new, content).unwrap();
    fs::rename(new, files.path().join(name)).unwrap();
}

fn write_pair(files: &TempDir, pair: &Pair) {
    replace(files, "cert.pem", &pair.cert_pem);
    replace(files, "key.pem", &pair.key_pem);
}

fn at(port: u16) -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, port))
}

async fn page(port: u16) -> Option<String> {
    let target = Target::cleartext(at(port));
    let mut client = Client::connect(&target, Protocol::Http1).await.ok()?;
    let answer = client.get("a.example", "/nowhere").await.ok()?;
    Some(String::from_utf8_lossy(&answer.body).into_owned())
}

async fn shows(port: u16, pair: &Pair) -> bool {
    let target = Target::tls(at(port), "a.example");
    let client = Client::connect(&target, Protocol::Http1).await;
    client.is_ok_and(|client| client.certificate() == Some(&pair.cert_der[..]))
}

#[tokio::test]
async fn files_that_change_are_read_again() {
    let files = tempfile::tempdir().unwrap();
    let (first, second) = (self_signed(&["a.example"]), self_signed(&["a.example"]));
    write_pair(&files, &first);
    let (http, https) = (free_port(), free_port());
    let manifests = manifests(http, https, &files);
    let gateway = Gateway::start(&[("all.yaml", manifests)]).await;
    assert!(shows(https, &first).await);
    let errors = gateway.errors().await;
    assert!(errors.contains("404.html cannot be read"), "{errors}");

    // It comes, it changes, and a certificate is another.
    replace(&files, "404.html", "one");
    let is = async |text: &str| page(http).await.as_deref() == Some(text);
    gateway.until(async || is("one").await).await;
    assert_eq!(gateway.errors().await, "[]");
    replace(&files, "404.html", "two");
    write_pair(&files, &second);
    gateway
        .until(async || is("two").await && shows(https, &second).await)
        .await;
    gateway.terminate().await;
}
