//! The cluster as a source: a real API server, a real Envoy, and what happens to both.

#![allow(clippy::unwrap_used)]

#[path = "../support/kubernetes.rs"]
mod kubernetes;
#[path = "../support/mod.rs"]
mod support;

mod limits;
mod pod;
mod secrets;
mod survival;

use std::net::Ipv4Addr;

use kubernetes::upstream;
use nuncio_echo::Running;
use nuncio_echo::client::{Client, Protocol, Target};
use nuncio_testkube::{ADMIN, Kubernetes, NOBODY};
use support::{Gateway, free_port};

/// Lets nobody do everything.
const ALL_RIGHTS: &str = "apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: nobody}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: cluster-admin}
subjects: [{apiGroup: rbac.authorization.k8s.io, kind: User, name: nobody}]
---
";

/// A definition that takes any field, for a kind of one version.
fn definition(kind: &str, plural: &str) -> String {
    format!(
        "apiVersion: apiextensions.k8s.io/v1\nkind: CustomResourceDefinition\n\
         metadata: {{name: {plural}.getambassador.io}}\n\
         spec:\n  group: getambassador.io\n  scope: Namespaced\n\
         \x20 names: {{kind: {kind}, listKind: {kind}List, plural: {plural}, singular: {}}}\n\
         \x20 versions:\n  - name: v3alpha1\n    served: true\n    storage: true\n\
         \x20   schema: {{openAPIV3Schema: {{type: object, \
         x-kubernetes-preserve-unknown-fields: true}}}}\n---\n",
        kind.to_lowercase()
    )
}

fn definitions() -> String {
    [
        ("Listener", "listeners"),
        ("Host", "hosts"),
        ("Mapping", "mappings"),
    ]
    .map(|(kind, plural)| definition(kind, plural))
    .concat()
}

fn base(port: u16) -> String {
    format!(
        "apiVersion: getambassador.io/v3alpha1\nkind: Listener\nmetadata: {{name: http}}\n\
         spec: {{port: {port}, protocol: HTTP, securityModel: XFP, \
         hostBinding: {{namespace: {{from: ALL}}}}}}\n---\n\
         apiVersion: getambassador.io/v3alpha1\nkind: Host\nmetadata: {{name: all}}\n\
         spec: {{hostname: \"*\", requestPolicy: {{insecure: {{action: Route}}}}}}\n---\n"
    )
}

fn mapping(prefix: &str) -> String {
    format!(
        "apiVersion: getambassador.io/v3alpha1\nkind: Mapping\nmetadata: {{name: a}}\n\
         spec: {{hostname: \"*\", prefix: {prefix}, service: web, resolver: endpoint}}\n---\n"
    )
}

fn service(upstream: &Running) -> String {
    kubernetes::service("web", upstream.address(), "TCP")
}

struct Scene {
    kubernetes: Kubernetes,
    upstream: Running,
    port: u16,
    http: Target,
}

impl Scene {
    async fn start() -> Self {
        Self::on(Kubernetes::start().await.unwrap()).await
    }

    async fn on(kubernetes: Kubernetes) -> Self {
        let port = free_port();
        Self {
            kubernetes,
            upstream: upstream("web").await,
            port,
            http: Target::cleartext((Ipv4Addr::LOCALHOST, port).into()),
        }
    }

    /// Everything that it takes to answer below `/a/`.
    fn all(&self) -> String {
        let parts = [
            definitions(),
            base(self.port),
            mapping("/a/"),
            service(&self.upstream),
        ];
        parts.concat()
    }

    async fn apply(&self, manifests: &str) {
        self.kubernetes.apply(manifests).await.unwrap();
    }

    fn gateway(&self, context: &str) -> Gateway {
        self.gateway_with(context, &[])
    }

    fn gateway_with(&self, context: &str, variables: &[(&str, &str)]) -> Gateway {
        Gateway::of_cluster(&self.kubernetes.kubeconfig(), context, variables)
    }

    async fn status(&self, path: &str) -> Option<u16> {
        let mut client = Client::connect(&self.http, Protocol::Http1).await.ok()?;
        let answer = client.get("a.example", path).await.ok()?;
        Some(answer.status.as_u16())
    }

    async fn answers(&self, gateway: &Gateway, path: &str, status: u16) {
        let answers = async || self.status(path).await == Some(status);
        gateway.until(answers).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_in_the_cluster_is_served_and_followed() {
    let scene = Scene::start().await;
    scene.apply(&scene.all()).await;
    let mut gateway = scene.gateway(ADMIN);
    gateway.ready().await;
    assert_eq!(scene.status("/a/").await, Some(200));

    scene.apply(&mapping("/b/")).await;
    scene.answers(&gateway, "/b/", 200).await;
    assert_eq!(scene.status("/a/").await, Some(404));

    // Endpoints that move are followed too.
    let other = upstream("other").await;
    scene.apply(&service(&other)).await;
    let moved = async || {
        scene.status("/b/").await;
        !other.seen().is_empty()
    };
    gateway.until(moved).await;

    scene.kubernetes.delete(&mapping("/b/")).await.unwrap();
    scene.answers(&gateway, "/b/", 404).await;
    gateway.terminate().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kinds_that_are_defined_later_are_picked_up() {
    let scene = Scene::start().await;
    let mut gateway = scene.gateway(ADMIN);
    gateway.ready().await;
    assert_eq!(scene.status("/a/").await, None);

    scene.apply(&scene.all()).await;
    scene.answers(&gateway, "/a/", 200).await;

    // With a definition go its objects.
    let definition = definition("Mapping", "mappings");
    scene.kubernetes.delete(&definition).await.unwrap();
    scene.answers(&gateway, "/a/", 404).await;
    scene.apply(&[definition, mapping("/a/")].concat()).await;
    scene.answers(&gateway, "/a/", 200).await;
    gateway.terminate().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_api_server_forbids_is_said_and_costs_only_itself() {
    let scene = Scene::start().await;
    scene.apply(&scene.all()).await;
    let gateway = scene.gateway(NOBODY);
    let said = async || {
        let errors = gateway.admin_get("/ambassador/v0/diag/?json=true&filter=errors");
        errors.await.is_some_and(|(_, errors)| {
            errors.contains("nuncio may not list and watch services: ")
                && errors.contains("verbs: [get, list, watch]")
        })
    };
    gateway.until(said).await;

    // Everything but Secrets.
    let role = "apiVersion: rbac.authorization.k8s.io/v1\nkind: ClusterRole\n\
         metadata: {name: nuncio}\nrules:\n\
         - {apiGroups: [\"\"], resources: [services], verbs: [get, list, watch]}\n\
         - {apiGroups: [discovery.k8s.io], resources: [endpointslices], verbs: [get, list, watch]}\n\
         - {apiGroups: [networking.k8s.io], resources: [ingresses, ingressclasses], \
         verbs: [get, list, watch]}\n\
         - {apiGroups: [getambassador.io], resources: [\"*\"], verbs: [get, list, watch]}\n---\n\
         apiVersion: rbac.authorization.k8s.io/v1\nkind: ClusterRoleBinding\n\
         metadata: {name: nuncio}\n\
         roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: nuncio}\n\
         subjects: [{apiGroup: rbac.authorization.k8s.io, kind: User, name: nobody}]\n";
    scene.apply(role).await;
    scene.answers(&gateway, "/a/", 200).await;
    let errors = async || gateway.errors().await;
    gateway
        .until(async || !errors().await.contains("may not list and watch services"))
        .await;
    assert!(errors().await.contains("may not list and watch secrets"));
    gateway.terminate().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_api_server_that_goes_away_takes_nothing_with_it() {
    let mut scene = Scene::start().await;
    scene.apply(&scene.all()).await;
    let mut gateway = scene.gateway(ADMIN);
    gateway.ready().await;
    assert_eq!(scene.status("/a/").await, Some(200));
    let kept = gateway.path("state/kept");
    gateway.until(async || kept.exists()).await;

    scene.kubernetes.kill_api_server().await.unwrap();
    let said = async || gateway.errors().await.contains("cannot be reached");
    gateway.until(said).await;
    assert_eq!(scene.status("/a/").await, Some(200));

    // Also over a restart.
    gateway.kill9().await;
    gateway.restart().await;
    let (_, ready) = gateway.check_ready().await.unwrap();
    assert!(
        ready.contains("what was read from it before this start"),
        "{ready}"
    );
    assert_eq!(scene.status("/a/").await, Some(200));

    scene.kubernetes.start_api_server().await.unwrap();
    scene.apply(&mapping("/b/")).await;
    scene.answers(&gateway, "/b/", 200).await;
    gateway
        .until(async || !gateway.errors().await.contains("cannot be reached"))
        .await;
    gateway.terminate().await;
}
