//! Releases of the chart, made and ended by the real helm.

use k8s_openapi::api::networking::v1::IngressClass;
use kube::Api;
use kube::api::ListParams;
use nuncio_api::getambassador::crd::{CrdOptions, WebhookService, crds};

use crate::cluster::{apply, cluster, try_release};
use crate::render::chart;

/// What is in no namespace can be of one release only.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_release_is_told_what_it_must_call_otherwise() {
    let kubernetes = cluster().await;
    let chart = chart();
    let chart = chart.to_str().unwrap();
    let install = |namespace: &str, options: &[&str]| {
        let arguments = [&["install", "front", chart], options].concat();
        try_release(&kubernetes, namespace, &arguments)
    };
    install("edge", &[]).unwrap();
    let said = install("gateway", &["--set", "ingressClassResource.enabled=false"]).unwrap_err();
    for part in [
        "ClusterRole \"front-emissary-ingress\" belongs to the release front in namespace edge",
        "rbac.nameOverride",
    ] {
        assert!(said.contains(part), "{part}: {said}");
    }
    let other_name = ["--set", "fullnameOverride=second"];
    let said = install("gateway", &other_name).unwrap_err();
    for part in [
        "IngressClass \"ambassador\" belongs to the release front in namespace edge",
        "ingressClassResource.name",
        "ingressClassResource.enabled=false",
    ] {
        assert!(said.contains(part), "{part}: {said}");
    }
    let with_own = [
        &other_name[..],
        &["--set", "ingressClassResource.name=second"],
    ]
    .concat();
    install("gateway", &with_own).unwrap();
    // Those that it has are no obstacle to an upgrade.
    let upgrade = [&["upgrade", "front", chart], &with_own[..]].concat();
    try_release(&kubernetes, "gateway", &upgrade).unwrap();
    let classes: Api<IngressClass> = Api::all(kubernetes.client().await.unwrap());
    let found = classes.list(&ListParams::default()).await.unwrap();
    let mut names: Vec<_> = found
        .into_iter()
        .filter_map(|class| class.metadata.name)
        .collect();
    names.sort();
    assert_eq!(names, ["ambassador", "second"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reproduce_uninstall() {
    let kubernetes = cluster().await;
    let chart = chart();
    let chart = chart.to_str().unwrap();
    let listeners = ["--set", "createDefaultListeners=true,module.enabled=true"];
    let install = [&["install", "front", chart], &listeners[..]].concat();
    try_release(&kubernetes, "edge", &install).unwrap();
    let conversion = WebhookService {
        namespace: "emissary-system".to_owned(),
        name: "emissary-apiext".to_owned(),
        port: 443,
    };
    let converted = crds(&CrdOptions {
        conversion: Some(conversion),
    });
    apply(&kubernetes, &converted).await;
    println!(
        "{:?}",
        try_release(&kubernetes, "edge", &["uninstall", "front"])
    );
    println!(
        "{:?}",
        try_release(&kubernetes, "edge", &["uninstall", "front"])
    );
    println!(
        "{:?}",
        kubernetes
            .kubectl()
            .args(["get", "listeners,modules", "-A"])
            .output()
    );
    println!(
        "{:?}",
        kubernetes
            .kubectl()
            .args(["delete", "listeners,modules", "-A", "--all"])
            .output()
    );
}
