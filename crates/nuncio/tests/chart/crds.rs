//! The chart of the CRDs and of apiext, as it is rendered and in a real API server.
//!
//! `NUNCIO_UPDATE_CASES=1` writes `charts/nuncio-crds/files` anew.

use std::fs::{self, File};
use std::net::Ipv4Addr;
use std::path::Path;
use std::process::{Child, Command};

use k8s_openapi::api::admissionregistration::v1::ValidatingWebhookConfiguration;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{
    Api, ApiResource, DeleteParams, DynamicObject, GroupVersionKind, ListParams, Patch, PatchParams,
};
use nuncio_api::getambassador::GROUP;
use nuncio_api::getambassador::crd::{CrdOptions, KINDS, WebhookService, crds};
use nuncio_api::policy;
use nuncio_echo::client::{Client, Protocol, Target};
use nuncio_echo::free_port;
use nuncio_testkube::Kubernetes;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::cluster::{apply, kubeconfig_of, namespace, try_release};
use crate::render::{Rendered, crds_chart, helm, root};

const LEGACY: &[&str] = &["--set", "enableLegacyVersions=true"];

fn rendered(options: &[&str]) -> Rendered {
    Rendered::of_chart(&crds_chart(), "crds", options)
}

/// What the program prints.
fn expected(conversion: Option<&str>) -> Vec<Value> {
    let conversion = conversion.map(|namespace| WebhookService {
        namespace: namespace.to_owned(),
        name: "emissary-apiext".to_owned(),
        port: 443,
    });
    let mut crds = crds(&CrdOptions { conversion });
    crds.extend(policy::crd::crds());
    crds.sort_by_key(|crd| crd["metadata"]["name"].to_string());
    for crd in &mut crds {
        crd["metadata"]["annotations"] = json!({"helm.sh/resource-policy": "keep"});
    }
    crds
}

#[test]
fn the_files_are_what_the_program_prints() {
    for (name, options) in [
        ("crds", &["crds"][..]),
        ("crds-v3alpha1", &["crds", "--v3alpha1-only"]),
    ] {
        let output = Command::new(env!("CARGO_BIN_EXE_nuncio"))
            .args(options)
            .output()
            .unwrap();
        assert!(output.status.success(), "{output:?}");
        let printed = String::from_utf8(output.stdout).unwrap();
        let file = crds_chart().join(format!("files/{name}.yaml"));
        if std::env::var_os("NUNCIO_UPDATE_CASES").is_some() {
            fs::write(&file, &printed).unwrap();
        }
        assert!(
            fs::read_to_string(&file).unwrap() == printed,
            "{} is not what nuncio prints: NUNCIO_UPDATE_CASES=1 make test",
            file.display()
        );
    }
}

#[test]
fn helm_finds_nothing_wrong() {
    for options in [&[][..], LEGACY, &["--set", "apiext.enabled=true"]] {
        let chart = crds_chart();
        let mut arguments = vec!["lint", "--strict", chart.to_str().unwrap()];
        arguments.extend(options);
        let output = helm(&arguments);
        assert!(output.status.success(), "{options:?}: {output:?}");
    }
    for wrong in ["enableLegacyVersion=true", "apiext.replicas=2"] {
        let chart = crds_chart();
        let output = helm(&["template", "crds", chart.to_str().unwrap(), "--set", wrong]);
        let said = String::from_utf8_lossy(&output.stderr);
        let name = wrong.split(['.', '=']).find(|part| said.contains(part));
        assert!(
            !output.status.success() && name.is_some(),
            "{wrong}: {said}"
        );
    }
}

#[test]
fn the_crds_are_those_of_the_program() {
    let of = |rendered: &Rendered| -> Vec<Value> {
        let mut found: Vec<_> = rendered
            .0
            .iter()
            .filter(|object| object["kind"] == "CustomResourceDefinition")
            .cloned()
            .collect();
        found.sort_by_key(|crd| crd["metadata"]["name"].to_string());
        found
    };
    let plain = rendered(&[]);
    assert!(of(&plain) == expected(None));
    // v3alpha1 alone needs nobody who converts.
    assert_eq!(plain.0.len(), expected(None).len());
    let validated = rendered(&["--set", "apiext.enabled=true"]);
    assert!(of(&validated) == expected(None));
    validated.get("Deployment", "emissary-apiext");
    // The release's namespace, in which the tests render.
    assert!(of(&rendered(LEGACY)) == expected(Some("edge")));
}

#[test]
fn apiext_has_what_it_needs() {
    let values = [
        "enableLegacyVersions=true",
        "enableV1=true",
        "emissary.namespace=shop",
        "apiext.repository=registry.example/nuncio",
        "apiext.tag=next",
        "apiext.pullPolicy=Always",
        "apiext.replicaCount=2",
        "apiext.nodeSelector.edge=north",
        "apiext.tolerations[0].key=edge",
        "apiext.resources.limits.memory=1Gi",
    ];
    let rendered = rendered(&["--set", &values.join(",")]);
    let deployment = rendered.get("Deployment", "emissary-apiext");
    let (labels, spec) = (&deployment["metadata"]["labels"], &deployment["spec"]);
    let pod = &spec["template"]["spec"];
    let container = &pod["containers"][0];
    for (found, value) in [
        (
            &labels["emissary-ingress.dev/control-plane-ns"],
            json!("shop"),
        ),
        (&spec["replicas"], json!(2)),
        (&pod["nodeSelector"], json!({"edge": "north"})),
        (&pod["tolerations"], json!([{"key": "edge"}])),
        (&container["image"], json!("registry.example/nuncio:next")),
        (&container["imagePullPolicy"], json!("Always")),
        (&container["resources"]["limits"]["memory"], json!("1Gi")),
        (
            &container["readinessProbe"]["httpGet"]["path"],
            json!("/probes/ready"),
        ),
        (
            &container["livenessProbe"]["httpGet"]["path"],
            json!("/probes/live"),
        ),
    ] {
        assert_eq!(*found, value);
    }
    let plain = Rendered::of_chart(&crds_chart(), "crds", LEGACY);
    let deployment = plain.get("Deployment", "emissary-apiext");
    let image = &deployment["spec"]["template"]["spec"]["containers"][0]["image"];
    assert_eq!(*image, format!("nuncio:{}", env!("CARGO_PKG_VERSION")));

    // It may change the CRDs of which it converts objects, and no others.
    let role = plain.get("ClusterRole", "emissary-apiext");
    let rules = role["rules"].as_array().unwrap();
    let names = |resource: &str| {
        let mut rules = rules.iter().filter(|rule| {
            rule["resources"] == json!([resource]) && rule["verbs"] == json!(["patch"])
        });
        rules.next().unwrap()["resourceNames"].clone()
    };
    let crds: Vec<_> = KINDS
        .iter()
        .map(|kind| format!("{}.getambassador.io", kind.plural))
        .collect();
    assert_eq!(names("customresourcedefinitions"), Value::from(crds));
    let own = json!(["nuncio-apiext"]);
    assert_eq!(names("validatingwebhookconfigurations"), own);
}

/// A cluster with the namespace in which there are releases.
async fn cluster() -> Kubernetes {
    let kubernetes = Kubernetes::start().await.unwrap();
    apply(&kubernetes, &[namespace("edge")]).await;
    kubernetes
}

fn release(kubernetes: &Kubernetes, arguments: &[&str]) {
    let released = try_release(kubernetes, "edge", arguments);
    released.unwrap_or_else(|said| panic!("{arguments:?}: {said}"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn older_versions_come_with_an_upgrade_and_crds_stay_after_the_release() {
    let kubernetes = cluster().await;
    let chart = crds_chart();
    let chart = chart.to_str().unwrap();
    release(&kubernetes, &["install", "crds", chart]);
    let crds: Api<CustomResourceDefinition> = Api::all(kubernetes.client().await.unwrap());
    let versions = async || {
        let found = crds.get("mappings.getambassador.io").await.unwrap();
        found.spec.versions.len()
    };
    assert_eq!(versions().await, 1);
    release(&kubernetes, &[&["upgrade", "crds", chart], LEGACY].concat());
    assert_eq!(versions().await, 3);
    // From here on objects may be stored as v2.
    let without = [
        "upgrade",
        "crds",
        chart,
        "--set",
        "enableLegacyVersions=false",
    ];
    let said = try_release(&kubernetes, "edge", &without).unwrap_err();
    assert!(said.contains("set it to true"), "{said}");
    assert_eq!(versions().await, 3);
    release(&kubernetes, &["uninstall", "crds"]);
    let found = crds.list(&ListParams::default()).await.unwrap();
    assert_eq!(found.items.len(), expected(None).len());
    // They become those of the release again.
    release(&kubernetes, &[&["install", "crds", chart], LEGACY].concat());
}

/// A chart with what Emissary's chart `emissary-crds` 4.1 makes that stays when it is upgraded.
fn emissarys_chart() -> TempDir {
    let chart = tempfile::tempdir().unwrap();
    let crds = root().join("crates/nuncio-apiext/tests/emissary/crds.yaml");
    let crds = fs::read_to_string(crds).unwrap();
    let crds = crds
        .replace("namespace: emissary-system", "namespace: edge")
        .replace("part-of: emissary-ingress", "part-of: emissary-apiext");
    let labels = json!({
        "app.kubernetes.io/instance": "emissary-apiext",
        "app.kubernetes.io/name": "emissary-apiext",
        "app.kubernetes.io/part-of": "emissary-apiext",
    });
    let deployment = json!({
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": {"name": "emissary-apiext", "labels": labels},
        "spec": {
            "replicas": 3,
            "selector": {"matchLabels": labels},
            "template": {
                "metadata": {"labels": labels},
                "spec": {
                    "containers": [{
                        "name": "emissary-apiext",
                        "image": "ghcr.io/emissary-ingress/apiext:4.1.0",
                        "command": ["apiext", "emissary-apiext"],
                        "args": [
                            "--crd-label-selector",
                            "app.kubernetes.io/part-of=emissary-apiext",
                        ],
                    }],
                },
            },
        },
    });
    let write = |path: &str, text: &str| fs::write(chart.path().join(path), text).unwrap();
    write(
        "Chart.yaml",
        "apiVersion: v2\nname: emissary-crds\nversion: 4.1.0\n",
    );
    fs::create_dir(chart.path().join("templates")).unwrap();
    write("templates/crds.yaml", &crds);
    write("templates/apiext.yaml", &deployment.to_string());
    chart
}

/// `nuncio apiext` as a Deployment starts it, on this machine.
pub(crate) struct Apiext {
    child: Child,
    probes: u16,
}

impl Apiext {
    pub(crate) fn start<'a>(
        arguments: impl Iterator<Item = &'a str>,
        kubeconfig: &Path,
        webhooks: u16,
        log: &Path,
    ) -> Self {
        let probes = free_port();
        let child = Command::new(env!("CARGO_BIN_EXE_nuncio"))
            .args(arguments)
            .arg("--kubeconfig")
            .arg(kubeconfig)
            .args(["--listen", &format!("127.0.0.1:{webhooks}")])
            .args(["--probes", &format!("127.0.0.1:{probes}")])
            // What the container has of its Pod.
            .env("POD_NAMESPACE", "edge")
            .stderr(File::create(log).unwrap())
            .spawn()
            .unwrap();
        Self { child, probes }
    }

    pub(crate) async fn is_ready(&self) -> bool {
        let target = Target::cleartext((Ipv4Addr::LOCALHOST, self.probes).into());
        let Ok(mut client) = Client::connect(&target, Protocol::Http1).await else {
            return false;
        };
        let answer = client.get("probes", "/probes/ready").await;
        answer.is_ok_and(|answer| answer.body == "Ready!\n")
    }
}

impl Drop for Apiext {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Emissary's release becomes nuncio's with its objects, and apiext does its work with the rights of
/// the ServiceAccount that the chart makes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_release_of_emissarys_is_taken_over() {
    let kubernetes = cluster().await;
    let client = kubernetes.client().await.unwrap();
    let emissarys = emissarys_chart();
    let path = emissarys.path().to_str().unwrap();
    release(&kubernetes, &["install", "emissary-crds", path]);
    let mapping = json!({
        "apiVersion": "getambassador.io/v2", "kind": "Mapping",
        "metadata": {"name": "quote", "namespace": "edge"},
        "spec": {"prefix": "/quote/", "service": "quote"},
    });
    let crds: Api<CustomResourceDefinition> = Api::all(client.clone());
    let uids = async || {
        let mut found = crds.list(&ListParams::default()).await.unwrap();
        found.items.retain(|crd| crd.spec.group == GROUP);
        let uid = |crd: CustomResourceDefinition| (crd.metadata.name, crd.metadata.uid);
        found.items.into_iter().map(uid).collect::<Vec<_>>()
    };
    apply(&kubernetes, std::slice::from_ref(&mapping)).await;
    let before = uids().await;
    assert_eq!(before.len(), KINDS.len());

    let chart = crds_chart();
    let upgrade = ["upgrade", "emissary-crds", chart.to_str().unwrap()];
    release(&kubernetes, &[&upgrade, LEGACY].concat());
    assert_eq!(uids().await, before);
    let deployments: Api<Deployment> = Api::namespaced(client.clone(), "edge");
    let deployment = deployments.get("emissary-apiext").await.unwrap();
    let deployment = serde_json::to_value(deployment).unwrap();
    let containers = deployment["spec"]["template"]["spec"]["containers"].clone();
    assert_eq!(containers.as_array().unwrap().len(), 1, "{containers}");
    let container = &containers[0];
    assert_eq!(container.get("command"), None);

    let folder = tempfile::tempdir().unwrap();
    let (kubeconfig, log) = (folder.path().join("kubeconfig"), folder.path().join("log"));
    let account = kubeconfig_of(&kubernetes, "emissary-apiext").await;
    fs::write(&kubeconfig, account.to_string()).unwrap();
    let arguments = container["args"].as_array().unwrap().iter();
    let arguments = arguments.map(|argument| argument.as_str().unwrap());
    let apiext = Apiext::start(arguments, &kubeconfig, free_port(), &log);
    let said = || fs::read_to_string(&log).unwrap();
    kubernetes
        .until("apiext is ready", async || apiext.is_ready().await)
        .await
        .unwrap_or_else(|error| panic!("{error}: {}", said()));
    let converted_are_told = async || {
        for crd in crds.list(&ListParams::default()).await.unwrap().items {
            let crd = serde_json::to_value(crd).unwrap();
            let client = &crd["spec"]["conversion"]["webhook"]["clientConfig"];
            let is_converted = crd["spec"]["versions"].as_array().unwrap().len() > 1;
            assert_eq!(client["caBundle"].is_string(), is_converted, "{crd}");
        }
    };
    converted_are_told().await;
    let webhooks: Api<ValidatingWebhookConfiguration> = Api::all(client.clone());
    let validates = async || {
        let found = webhooks.get_opt("nuncio-apiext").await.unwrap();
        found.is_some_and(|found| found.webhooks.is_some_and(|webhooks| webhooks.len() == 1))
    };
    kubernetes
        .until("objects are validated", validates)
        .await
        .unwrap_or_else(|error| panic!("{error}: {}", said()));

    // An upgrade leaves what apiext wrote.
    release(&kubernetes, &[&upgrade, LEGACY].concat());
    converted_are_told().await;
    assert!(validates().await && apiext.is_ready().await);

    // What it lost it makes anew: an authority that can be used, and the webhook that trusts it.
    let params = DeleteParams::default();
    webhooks.delete("nuncio-apiext", &params).await.unwrap();
    let secrets: Api<Secret> = Api::namespaced(client.clone(), "edge");
    let garbage = json!({"stringData": {"tls.crt": "garbage"}});
    let (name, params) = ("emissary-ingress-webhook-ca", PatchParams::default());
    secrets
        .patch(name, &params, &Patch::Merge(garbage))
        .await
        .unwrap();
    kubernetes
        .until("objects are validated again", validates)
        .await
        .unwrap_or_else(|error| panic!("{error}: {}", said()));
    assert!(!said().contains("forbidden"), "{}", said());
    drop(apiext);

    // Helm deletes only what has its labels; the next upgrade gives them to the webhook again.
    release(&kubernetes, &[&upgrade, LEGACY].concat());
    // With the release goes what is asked, and nothing of the users'.
    release(&kubernetes, &["uninstall", "emissary-crds"]);
    assert!(webhooks.get_opt("nuncio-apiext").await.unwrap().is_none());
    assert_eq!(uids().await, before);
    let kind = GroupVersionKind::gvk("getambassador.io", "v2", "Mapping");
    let resource = ApiResource::from_gvk_with_plural(&kind, "mappings");
    let mappings: Api<DynamicObject> = Api::namespaced_with(client, "edge", &resource);
    let stored = mappings.get("quote").await.unwrap();
    assert_eq!(stored.data["spec"], mapping["spec"]);
}
