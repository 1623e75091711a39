//! Releases of the chart, made and ended by the real helm.

use k8s_openapi::api::networking::v1::IngressClass;
use kube::Api;
use kube::api::ListParams;
use nuncio_api::getambassador::crd::{CrdOptions, WebhookService, crds};
use nuncio_echo::free_port;
use serde_json::json;

use crate::cluster::{apply, cluster, try_release};
use crate::crds::Apiext;
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

/// With older versions the API server asks apiext of objects that are stored in another one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_release_with_resources_ends_where_apiext_converts_them() {
    let kubernetes = cluster().await;
    let chart = chart();
    let chart = chart.to_str().unwrap();
    let module = ["--set", "module.enabled=true"];
    let install = [&["install", "front", chart], &module[..]].concat();
    try_release(&kubernetes, "edge", &install).unwrap();

    // As `nuncio crds` prints them; what they name leads to this machine.
    let webhooks = free_port();
    let mut objects = crds(&CrdOptions {
        conversion: Some(WebhookService {
            namespace: "edge".to_owned(),
            name: "emissary-apiext".to_owned(),
            port: webhooks,
        }),
    });
    objects.push(json!({
        "apiVersion": "v1", "kind": "Service",
        "metadata": {"name": "emissary-apiext", "namespace": "edge"},
        "spec": {"type": "ExternalName", "externalName": "localhost"},
    }));
    apply(&kubernetes, &objects).await;
    let uninstall = || try_release(&kubernetes, "edge", &["uninstall", "front"]);
    let said = uninstall().unwrap_err();
    assert!(said.contains("failed to delete release: front"), "{said}");

    let log = tempfile::NamedTempFile::new().unwrap();
    let service = format!("edge/emissary-apiext:{webhooks}");
    let arguments = ["apiext", service.as_str()].into_iter();
    let kubeconfig = kubernetes.kubeconfig();
    let apiext = Apiext::start(arguments, &kubeconfig, webhooks, log.path());
    let ready = async || apiext.is_ready().await;
    kubernetes.until("apiext is ready", ready).await.unwrap();
    let ends = async || uninstall().is_ok();
    kubernetes.until("the release ends", ends).await.unwrap();
    let modules = kubernetes
        .kubectl()
        .args(["get", "modules", "--all-namespaces", "--output", "name"])
        .output()
        .unwrap();
    assert!(
        modules.status.success() && modules.stdout.is_empty(),
        "{modules:?}"
    );
}
