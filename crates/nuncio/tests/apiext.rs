//! `nuncio crds` and `nuncio apiext` as they are started in a cluster.

#![allow(clippy::unwrap_used)]

use std::net::Ipv4Addr;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use nuncio_api::getambassador::crd::{CrdOptions, WebhookService, crds};
use nuncio_api::policy;
use nuncio_api::yaml::documents;
use nuncio_echo::client::{Client, Protocol, Target};
use nuncio_echo::free_port;
use nuncio_testkube::Kubernetes;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

fn nuncio(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_nuncio"));
    command.args(arguments).output().unwrap()
}

fn service(namespace: &str, name: &str, port: u16) -> Option<WebhookService> {
    Some(WebhookService {
        namespace: namespace.to_owned(),
        name: name.to_owned(),
        port,
    })
}

#[test]
fn crds_are_printed_as_the_api_server_takes_them() {
    let printed = |arguments: &[&str]| {
        let output = nuncio(&[&["crds"], arguments].concat());
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    let expected = |conversion| {
        let mut all = crds(&CrdOptions { conversion });
        all.extend(policy::crd::crds());
        all
    };
    let all = expected(service("emissary-system", "emissary-apiext", 443));
    assert_eq!(documents(&printed(&[])).unwrap(), all);
    let other = printed(&["--conversion-webhook", "gateway/apiext:9443"]);
    let conversion = service("gateway", "apiext", 9443);
    assert_eq!(documents(&other).unwrap(), expected(conversion));
    let alone = printed(&["--v3alpha1-only", "--format", "json"]);
    let list: Value = serde_json::from_str(&alone).unwrap();
    assert_eq!(list["items"], Value::from(expected(None)));

    // `kubectl apply` without --server-side writes all of it into an annotation, of which the API
    // server takes 256 KiB.
    for crd in all {
        let size = crd.to_string().len();
        assert!(size < 200 << 10, "{}: {size}", crd["metadata"]["name"]);
    }
}

#[test]
fn a_wrong_service_is_said() {
    let output = nuncio(&["crds", "--conversion-webhook", "apiext"]);
    assert_eq!(output.status.code(), Some(2));
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("\"apiext\" names no Service"), "{said}");

    let output = nuncio(&["apiext", "--kubeconfig", "/no/such/file"]);
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("/no/such/file"), "{said}");
}

#[tokio::test]
async fn apiext_is_ready_when_its_crds_trust_it_and_ends_in_order() {
    let kubernetes = Kubernetes::start().await.unwrap();
    let service = service("default", "apiext", 443);
    let manifests: Vec<String> = crds(&CrdOptions {
        conversion: service,
    })
    .iter()
    .map(|crd| format!("---\n{crd}\n"))
    .collect();
    kubernetes.apply(&manifests.concat()).await.unwrap();
    let (webhooks, probes) = (free_port(), free_port());
    let mut apiext = Command::new(env!("CARGO_BIN_EXE_nuncio"))
        .args([
            "apiext",
            "apiext",
            "--namespace",
            "default",
            "--leave-after",
            "0",
        ])
        .args(["--kubeconfig", kubernetes.kubeconfig().to_str().unwrap()])
        .args(["--listen", &format!("127.0.0.1:{webhooks}")])
        .args(["--probes", &format!("127.0.0.1:{probes}")])
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let ready = async || {
        let target = Target::cleartext((Ipv4Addr::LOCALHOST, probes).into());
        let Ok(mut client) = Client::connect(&target, Protocol::Http1).await else {
            return false;
        };
        let answer = client.get("probes", "/probes/ready").await;
        answer.is_ok_and(|answer| answer.body == "Ready!\n")
    };
    kubernetes.until("it is ready", ready).await.unwrap();
    let pid = Pid::from_child(&apiext);
    kill_process(pid, Signal::TERM).unwrap();
    let end = tokio::task::spawn_blocking(move || apiext.wait().unwrap());
    let end = tokio::time::timeout(Duration::from_secs(60), end).await;
    assert!(end.unwrap().unwrap().success());
}
