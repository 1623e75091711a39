//! What the chart installs, in a real API server.

use std::fs;

use k8s_openapi::api::authentication::v1::{TokenRequest, TokenRequestSpec};
use k8s_openapi::api::core::v1::{Service, ServiceAccount};
use k8s_openapi::api::events::v1::Event;
use k8s_openapi::api::networking::v1::Ingress;
use kube::Api;
use kube::api::{DeleteParams, ListParams, Patch, PatchParams, PostParams};
use nuncio_api::getambassador::crd::{CrdOptions, crds};
use nuncio_api::policy;
use nuncio_testkube::Kubernetes;
use serde_json::{Value, json};

use crate::render::{Rendered, all_values, helm};
use crate::support::Gateway;

/// A definition that takes any field, for a kind of one version.
pub(crate) fn definition(group: &str, version: &str, kind: &str, plural: &str) -> Value {
    json!({
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": format!("{plural}.{group}")},
        "spec": {
            "group": group,
            "scope": "Namespaced",
            "names": {
                "kind": kind, "listKind": format!("{kind}List"),
                "plural": plural, "singular": kind.to_lowercase(),
            },
            "versions": [{
                "name": version, "served": true, "storage": true,
                "schema": {"openAPIV3Schema": {
                    "type": "object", "x-kubernetes-preserve-unknown-fields": true,
                }},
            }],
        },
    })
}

pub(crate) fn namespace(name: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
}

/// A cluster with the kinds of which the chart makes objects, and the namespaces of the tests.
pub(crate) async fn cluster() -> Kubernetes {
    cluster_of(Kubernetes::start().await.unwrap()).await
}

pub(crate) async fn cluster_of(kubernetes: Kubernetes) -> Kubernetes {
    let mut objects = vec![namespace("edge"), namespace("gateway")];
    objects.extend(crds(&CrdOptions { conversion: None }));
    objects.extend(policy::crd::crds());
    let monitors = ("ServiceMonitor", "servicemonitors");
    objects.push(definition(
        "monitoring.coreos.com",
        "v1",
        monitors.0,
        monitors.1,
    ));
    // A controller makes it; the chart's Pods of tests run as it.
    objects.push(json!({
        "apiVersion": "v1", "kind": "ServiceAccount",
        "metadata": {"name": "default", "namespace": "gateway"},
    }));
    apply(&kubernetes, &objects).await;
    kubernetes
}

/// Has helm do something in a namespace: what it said when it refused.
pub(crate) fn try_release(
    kubernetes: &Kubernetes,
    namespace: &str,
    arguments: &[&str],
) -> Result<(), String> {
    let kubeconfig = kubernetes.kubeconfig();
    let mut all = arguments.to_vec();
    all.extend(["--kubeconfig", kubeconfig.to_str().unwrap()]);
    all.extend(["--namespace", namespace]);
    let output = helm(&all);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    output.status.success().then_some(()).ok_or(said)
}

pub(crate) async fn apply(kubernetes: &Kubernetes, objects: &[Value]) {
    for object in objects {
        let applied = kubernetes.apply(&object.to_string()).await;
        applied.unwrap_or_else(|error| panic!("{error:#}: {object}"));
    }
}

#[tokio::test]
async fn an_api_server_takes_every_object() {
    let kubernetes = cluster().await;
    let mut releases = vec![Rendered::of("plain", &[])];
    releases.push(Rendered::of("bare", &["--set", "barePod=true"]));
    for (number, file) in all_values().iter().enumerate() {
        let release = format!("gw-{number}");
        let options = ["--values", file.to_str().unwrap()];
        releases.push(Rendered::of(&release, &options));
    }
    for release in releases {
        apply(&kubernetes, &release.0).await;
    }
}

/// What is to be written of: a Mapping that is refused, which has an Event too, and an Ingress.
const WRITTEN: &str = "apiVersion: getambassador.io/v3alpha1\nkind: Mapping\n\
    metadata: {name: wrong, namespace: edge}\n\
    spec: {hostname: \"*\", prefix: \"(\", prefix_regex: true, service: web}\n---\n\
    apiVersion: v1\nkind: Service\n\
    metadata: {name: own, namespace: edge, \
    labels: {app.kubernetes.io/component: ambassador-service}}\n\
    spec: {type: LoadBalancer, selector: {app: rights}, ports: [{port: 80}]}\n---\n\
    apiVersion: networking.k8s.io/v1\nkind: Ingress\n\
    metadata: {name: web, namespace: edge, \
    annotations: {kubernetes.io/ingress.class: ambassador}}\n\
    spec: {defaultBackend: {service: {name: web, port: {number: 80}}}}\n";

/// nuncio reads and writes what it would, and lacks nothing, as the ServiceAccount that the chart makes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_rights_are_enough() {
    let kubernetes = cluster().await;
    let client = kubernetes.client().await.unwrap();
    let services: Api<Service> = Api::namespaced(client.clone(), "edge");
    let ingresses: Api<Ingress> = Api::namespaced(client.clone(), "edge");
    let events: Api<Event> = Api::namespaced(client, "edge");
    let labels = tempfile::NamedTempFile::new().unwrap();
    fs::write(labels.path(), "app=\"rights\"\n").unwrap();
    let labels = ("NUNCIO_POD_LABELS_FILE", labels.path().to_str().unwrap());
    let namespace = ("AMBASSADOR_NAMESPACE", "edge");
    for (number, (release, options, variables)) in [
        (
            "everywhere",
            "scope.singleNamespace=false",
            &[namespace, labels][..],
        ),
        (
            "single",
            "scope.singleNamespace=true",
            &[namespace, labels, ("AMBASSADOR_SINGLE_NAMESPACE", "YES")][..],
        ),
    ]
    .into_iter()
    .enumerate()
    {
        let rendered = Rendered::of(release, &["--set", options]);
        apply(&kubernetes, &rendered.0).await;
        let account = format!("{release}-emissary-ingress");
        let file = tempfile::NamedTempFile::new().unwrap();
        let kubeconfig = kubeconfig_of(&kubernetes, &account).await;
        fs::write(file.path(), kubeconfig.to_string()).unwrap();

        let mut gateway = Gateway::of_cluster(file.path(), &account, variables);
        gateway.ready().await;
        kubernetes.apply(WRITTEN).await.unwrap();
        let address = format!("192.0.2.{number}");
        let status = json!({"status": {"loadBalancer": {"ingress": [{"ip": address}]}}});
        let patch = Patch::Merge(&status);
        let params = PatchParams::default();
        services.patch_status("own", &params, &patch).await.unwrap();
        let written = async || {
            let ingress = ingresses.get("web").await.unwrap();
            let addresses = ingress.status.and_then(|status| status.load_balancer);
            let addresses = addresses
                .and_then(|balancer| balancer.ingress)
                .unwrap_or_default();
            addresses
                .iter()
                .any(|has| has.ip.as_ref() == Some(&address))
        };
        kubernetes
            .until("status is written", written)
            .await
            .unwrap();
        let said = async || {
            !events
                .list(&ListParams::default())
                .await
                .unwrap()
                .items
                .is_empty()
        };
        kubernetes.until("an Event is made", said).await.unwrap();
        let said = [gateway.errors().await, gateway.notices().await].concat();
        assert!(!said.to_lowercase().contains("forbidden"), "{said}");
        assert!(gateway.metric("nuncio_status_writes_total").await >= 1);
        gateway.terminate().await;
        kubernetes.delete(WRITTEN).await.unwrap();
        events
            .delete_collection(&DeleteParams::default(), &ListParams::default())
            .await
            .unwrap();
    }
}

/// The kubeconfig of the tests with one more context, that of a ServiceAccount.
pub(crate) async fn kubeconfig_of(kubernetes: &Kubernetes, account: &str) -> Value {
    let accounts: Api<ServiceAccount> = Api::namespaced(kubernetes.client().await.unwrap(), "edge");
    let request = TokenRequest {
        spec: TokenRequestSpec {
            audiences: vec!["https://kubernetes.default.svc".to_owned()],
            ..Default::default()
        },
        ..Default::default()
    };
    let issued = accounts
        .create_token_request(account, &PostParams::default(), &request)
        .await
        .unwrap();
    let token = issued.status.unwrap().token;
    let text = fs::read_to_string(kubernetes.kubeconfig()).unwrap();
    let mut kubeconfig: Value = serde_json::from_str(&text).unwrap();
    let cluster = kubeconfig["clusters"][0]["name"].clone();
    kubeconfig["users"] = json!([{"name": account, "user": {"token": token}}]);
    kubeconfig["contexts"] =
        json!([{"name": account, "context": {"cluster": cluster, "user": account}}]);
    kubeconfig["current-context"] = account.into();
    kubeconfig
}
