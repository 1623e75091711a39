//! What nuncio is to see, and what it is let see.

use std::net::Ipv4Addr;

use k8s_openapi::api::core::v1::ConfigMap;
use kube::Api;
use kube::api::{ApiResource, DynamicObject, GroupVersionKind, ListParams, PostParams};
use nuncio_testkube::{ADMIN, Kubernetes, NOBODY};
use serde_json::json;
use tokio::net::TcpListener;

use super::{ALL_RIGHTS, Scene, base, definition, definitions, service};

/// What nobody may do, in one namespace.
const IN_TEAM: &str = "apiVersion: v1
kind: Namespace
metadata: {name: team}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {name: nuncio, namespace: team}
rules:
- {apiGroups: [''], resources: [services, secrets], verbs: [get, list, watch]}
- {apiGroups: [discovery.k8s.io], resources: [endpointslices], verbs: [get, list, watch]}
- {apiGroups: [networking.k8s.io], resources: [ingresses], verbs: [get, list, watch]}
- {apiGroups: [getambassador.io], resources: ['*'], verbs: [get, list, watch]}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: nuncio, namespace: team}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: nuncio}
subjects: [{apiGroup: rbac.authorization.k8s.io, kind: User, name: nobody}]
---
";

/// The same objects, in a namespace and with a label.
fn in_team(manifests: &str) -> String {
    manifests.replace("metadata: {", "metadata: {namespace: team, ")
}

fn mapping(name: &str, labels: &str) -> String {
    format!(
        "apiVersion: getambassador.io/v3alpha1\nkind: Mapping\n\
         metadata: {{name: {name}, labels: {{{labels}}}}}\n\
         spec: {{hostname: \"*\", prefix: /{name}/, service: web, resolver: endpoint}}\n---\n"
    )
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn in_one_namespace_its_own_rights_are_enough() {
    let scene = Scene::start().await;
    scene.apply(&(definitions() + IN_TEAM)).await;
    let outside = base(scene.port) + &mapping("outside", "") + &service(&scene.upstream);
    scene.apply(&outside).await;
    let inside = base(scene.port) + &mapping("inside", "") + &service(&scene.upstream);
    scene.apply(&in_team(&inside)).await;
    let variables = [
        ("AMBASSADOR_NAMESPACE", "team"),
        ("AMBASSADOR_SINGLE_NAMESPACE", "true"),
    ];
    let mut gateway = scene.gateway_with(NOBODY, &variables);
    gateway.ready().await;
    assert_eq!(scene.status("/inside/").await, Some(200));
    assert_eq!(scene.status("/outside/").await, Some(404));
    let errors = gateway.errors().await;
    assert!(!errors.contains("may not"), "{errors}");
    gateway.terminate().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_selector_leaves_out_is_not_there() {
    let scene = Scene::start().await;
    scene.apply(&definitions()).await;
    let labelled = |manifests: &str| {
        manifests.replace(
            "metadata: {name",
            "metadata: {labels: {gateway: here}, name",
        )
    };
    let slices = service(&scene.upstream).replace("labels: {", "labels: {gateway: here, ");
    let (head, tail) = slices.split_once("---\n").unwrap();
    let common = labelled(&(base(scene.port) + head)) + "---\n" + tail;
    let mappings = mapping("here", "gateway: here") + &mapping("there", "gateway: there");
    scene.apply(&(common + &mappings)).await;
    let variables = [("AMBASSADOR_LABEL_SELECTOR", "gateway=here")];
    let mut gateway = scene.gateway_with(ADMIN, &variables);
    gateway.ready().await;
    assert_eq!(scene.status("/here/").await, Some(200));
    assert_eq!(scene.status("/there/").await, Some(404));

    // Labels that change are followed.
    let moved = mapping("here", "gateway: there") + &mapping("there", "gateway: here");
    scene.apply(&moved).await;
    scene.answers(&gateway, "/there/", 200).await;
    scene.answers(&gateway, "/here/", 404).await;
    gateway.terminate().await;

    let variables = [("AMBASSADOR_FIELD_SELECTOR", "metadata.namespace=nowhere")];
    let mut gateway = scene.gateway_with(ADMIN, &variables);
    gateway.ready().await;
    assert_eq!(scene.status("/there/").await, None);
    gateway.terminate().await;
}

/// What nobody may read, of getambassador.io only these.
fn role(resources: &str) -> String {
    rights("services, secrets", resources)
}

/// Lets nobody read these kinds of the core group and of getambassador.io, and where requests go.
pub(super) fn rights(core: &str, own: &str) -> String {
    format!(
        "apiVersion: rbac.authorization.k8s.io/v1\nkind: ClusterRole\n\
         metadata: {{name: nuncio}}\nrules:\n\
         - {{apiGroups: [''], resources: [{core}], verbs: [get, list, watch]}}\n\
         - {{apiGroups: [discovery.k8s.io], resources: [endpointslices], verbs: [get, list, watch]}}\n\
         - {{apiGroups: [networking.k8s.io], resources: [ingresses, ingressclasses], \
         verbs: [get, list, watch]}}\n\
         - {{apiGroups: [getambassador.io], resources: [{own}], verbs: [get, list, watch]}}\n\
         ---\napiVersion: rbac.authorization.k8s.io/v1\nkind: ClusterRoleBinding\n\
         metadata: {{name: nuncio}}\n\
         roleRef: {{apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: nuncio}}\n\
         subjects: [{{apiGroup: rbac.authorization.k8s.io, kind: User, name: nobody}}]\n---\n"
    )
}

/// Waits until nobody may list AuthServices, or no longer.
async fn until_auth_services_are_listed(kubernetes: &Kubernetes, listed: bool) {
    let client = kubernetes.client_of(NOBODY).await.unwrap();
    let kind = GroupVersionKind::gvk("getambassador.io", "v3alpha1", "AuthService");
    let api: Api<DynamicObject> = Api::all_with(client, &ApiResource::from_gvk(&kind));
    let is = async || api.list(&ListParams::default()).await.is_ok() == listed;
    kubernetes.until("the right has changed", is).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn auth_services_that_may_not_be_read_open_nothing() {
    const WITHOUT: &str = "listeners, hosts, mappings";
    let scene = Scene::start().await;
    let defined = definition("AuthService", "authservices");
    scene
        .apply(&[scene.all(), defined, role(WITHOUT)].concat())
        .await;
    let mut gateway = scene.gateway(NOBODY);
    gateway.ready().await;
    scene.answers(&gateway, "/a/", 500).await;
    let errors = gateway.errors().await;
    for said in [
        "nuncio may not list and watch authservices.getambassador.io: ",
        "an AuthService may be there that cannot be read, and none is in effect: requests are \
         answered with 500",
    ] {
        assert!(errors.contains(said), "{said}: {errors}");
    }
    // Nor after another start: that nothing was ever read is no list without objects.
    gateway.kill9().await;
    gateway.restart().await;
    scene.answers(&gateway, "/a/", 500).await;

    scene.apply(&role("'*'")).await;
    scene.answers(&gateway, "/a/", 200).await;
    let errors = async || gateway.errors().await;
    gateway
        .until(async || !errors().await.contains("AuthService may be there"))
        .await;

    // What was read once stays in effect: here, that there is none.
    scene.apply(&role(WITHOUT)).await;
    until_auth_services_are_listed(&scene.kubernetes, false).await;
    // An end in order keeps it.
    gateway.ask_to_end();
    gateway.ended().await;
    gateway.restart().await;
    let said = async || {
        let errors = gateway.errors().await;
        errors.contains("may not list and watch authservices")
    };
    gateway.until(said).await;
    assert_eq!(scene.status("/a/").await, Some(200));
    gateway.terminate().await;
}

/// Without any Host everything is served in cleartext, and a Module may say who is let in.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hosts_and_modules_that_may_not_be_read_open_nothing() {
    let scene = Scene::start().await;
    let module = definition("Module", "modules");
    let without = role("listeners, mappings");
    scene.apply(&[scene.all(), module, without].concat()).await;
    let mut gateway = scene.gateway(NOBODY);
    gateway.ready().await;
    assert_eq!(scene.status("/a/").await, None);
    scene.apply(&role("listeners, mappings, hosts")).await;
    scene.answers(&gateway, "/a/", 403).await;
    let errors = gateway.errors().await;
    let said = "a Module may be there that cannot be read, and none is in effect";
    assert!(errors.contains(said), "{errors}");
    scene.apply(&role("'*'")).await;
    scene.answers(&gateway, "/a/", 200).await;
    gateway.terminate().await;
}

/// Lets nobody ask one thing at a time, and refuses what comes beside it.
const THROTTLE: &str = "apiVersion: flowcontrol.apiserver.k8s.io/v1
kind: PriorityLevelConfiguration
metadata: {name: one}
spec: {type: Limited, limited: {nominalConcurrencyShares: 0, lendablePercent: 0, \
       borrowingLimitPercent: 0, limitResponse: {type: Reject}}}
---
apiVersion: flowcontrol.apiserver.k8s.io/v1
kind: FlowSchema
metadata: {name: nobody}
spec:
  matchingPrecedence: 2
  priorityLevelConfiguration: {name: one}
  rules:
  - subjects: [{kind: User, user: {name: nobody}}]
    resourceRules: [{apiGroups: ['*'], resources: ['*'], verbs: ['*'], clusterScope: true, namespaces: ['*']}]
    nonResourceRules: [{nonResourceURLs: ['*'], verbs: ['*']}]
---
";

/// Has the API server ask this port before it takes a ConfigMap.
fn webhook(port: u16) -> String {
    format!(
        "apiVersion: admissionregistration.k8s.io/v1\nkind: ValidatingWebhookConfiguration\n\
         metadata: {{name: slow}}\nwebhooks:\n- name: slow.nuncio.test\n\
         \x20 clientConfig: {{url: \"https://127.0.0.1:{port}\"}}\n\
         \x20 rules: [{{apiGroups: [''], apiVersions: [v1], resources: [configmaps], \
         operations: [CREATE]}}]\n\
         \x20 sideEffects: None\n  admissionReviewVersions: [v1]\n  timeoutSeconds: 30\n---\n"
    )
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_api_server_that_throttles_is_asked_again() {
    let fair = ["--enable-priority-and-fairness=true"];
    let scene = Scene::on(Kubernetes::start_with(&fair).await.unwrap()).await;
    let kubernetes = &scene.kubernetes;
    let silent = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let webhook = webhook(silent.local_addr().unwrap().port());
    scene
        .apply(&[&scene.all(), ALL_RIGHTS, THROTTLE, &webhook].concat())
        .await;
    // The webhook takes effect some time; from then on the request is not answered.
    let nobody = kubernetes.client_of(NOBODY).await.unwrap();
    let (connection, slow) = loop {
        let maps: Api<ConfigMap> = Api::default_namespaced(nobody.clone());
        let map = serde_json::from_value(json!({"metadata": {"generateName": "slow-"}})).unwrap();
        let mut slow =
            tokio::spawn(async move { maps.create(&PostParams::default(), &map).await.map(drop) });
        tokio::select! {
            accepted = silent.accept() => break (accepted.unwrap(), slow),
            created = &mut slow => created.unwrap().unwrap(),
        }
    };
    let asked = nobody.apiserver_version().await;
    assert!(
        matches!(&asked, Err(kube::Error::Api(status)) if status.code == 429),
        "{asked:?}"
    );

    let mut gateway = scene.gateway(NOBODY);
    let errors = async || {
        let errors = gateway.admin_get("/ambassador/v0/diag/?json=true&filter=errors");
        errors.await.map_or(String::new(), |(_, errors)| errors)
    };
    gateway
        .until(async || errors().await.contains("oo many requests"))
        .await;
    assert_eq!(scene.status("/a/").await, None);

    kubernetes
        .delete(&(THROTTLE.to_owned() + &webhook))
        .await
        .unwrap();
    drop((connection, silent));
    // Refused or not: it has ended.
    let _ = slow.await.unwrap();
    gateway.ready().await;
    scene.answers(&gateway, "/a/", 200).await;
    gateway
        .until(async || !gateway.errors().await.contains("oo many requests"))
        .await;
    gateway.terminate().await;
}

/// How many are applied at once.
const MANY: usize = 5_000;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn thousands_of_mappings_at_once_are_all_served() {
    let scene = Scene::start().await;
    scene.apply(&scene.all()).await;
    let mut gateway = scene.gateway(ADMIN);
    gateway.ready().await;

    let mapping = |number| {
        json!({
            "apiVersion": "getambassador.io/v3alpha1",
            "kind": "Mapping",
            "metadata": {"name": format!("m-{number}")},
            "spec": {
                "hostname": "*", "prefix": format!("/m-{number}/"), "service": "web",
                "resolver": "endpoint",
            },
        })
    };
    let kubernetes = &scene.kubernetes;
    kubernetes.create((0..MANY).map(mapping)).await.unwrap();
    for number in [MANY - 1, 0, 1, MANY / 2] {
        let path = format!("/m-{number}/");
        let served = async || scene.status(&path).await == Some(200);
        kubernetes.until("it is served", served).await.unwrap();
    }
    gateway.terminate().await;
}
