//! What is written back into a cluster: a real API server, and who writes.

#![allow(clippy::unwrap_used)]

mod support;

use std::fs;

use k8s_openapi::api::core::v1::Service;
use k8s_openapi::api::events::v1::Event;
use kube::Api;
use kube::api::{ApiResource, DynamicObject, GroupVersionKind, ListParams, Patch, PatchParams};
use nuncio_api::getambassador::crd::{CrdOptions, KINDS, crds};
use nuncio_testkube::{ADMIN, Kubernetes, NOBODY};
use serde_json::{Value, json};
use support::{Gateway, free_port};

/// One object of every kind, but for the Mapping.
fn base(port: u16, tcp_port: u16) -> String {
    let object = |kind: &str, name: &str, spec: &str| {
        format!(
            "apiVersion: getambassador.io/v3alpha1\nkind: {kind}\nmetadata: {{name: {name}}}\n\
             spec: {spec}\n---\n"
        )
    };
    [
        object(
            "Listener",
            "http",
            &format!(
                "{{port: {port}, protocol: HTTP, securityModel: XFP, \
                 hostBinding: {{namespace: {{from: ALL}}}}}}"
            ),
        ),
        object(
            "Host",
            "all",
            "{hostname: \"*\", requestPolicy: {insecure: {action: Route}}}",
        ),
        object(
            "TCPMapping",
            "tcp",
            &format!("{{port: {tcp_port}, service: web}}"),
        ),
        object("TLSContext", "tls", "{}"),
        object("Module", "ambassador", "{config: {}}"),
        object("KubernetesEndpointResolver", "endpoint", "{}"),
        object("KubernetesServiceResolver", "service", "{}"),
        object("ConsulResolver", "consul", "{datacenter: dc1}"),
        object("AuthService", "auth", "{auth_service: web}"),
        object(
            "RateLimitService",
            "limit",
            "{service: web, protocol_version: v3}",
        ),
        object("TracingService", "trace", "{service: web, driver: zipkin}"),
        object("LogService", "log", "{service: web, driver: http}"),
        object("DevPortal", "portal", "{}"),
    ]
    .concat()
}

fn mapping(name: &str, spec: &str) -> String {
    format!(
        "apiVersion: getambassador.io/v3alpha1\nkind: Mapping\nmetadata: {{name: {name}}}\n\
         spec: {{hostname: \"*\", service: web, {spec}}}\n---\n"
    )
}

const WEB: &str = "apiVersion: v1\nkind: Service\nmetadata: {name: web}\n\
    spec: {ports: [{port: 80}]}\n---\n";

const WRONG: &str = "prefix: \"(\", prefix_regex: true";

struct Scene {
    kubernetes: Kubernetes,
    client: kube::Client,
    port: u16,
}

impl Scene {
    async fn start() -> Self {
        Self::with(&crds(&CrdOptions { conversion: None })).await
    }

    async fn with(definitions: &[Value]) -> Self {
        Self::on(Kubernetes::start().await.unwrap(), definitions).await
    }

    async fn on(kubernetes: Kubernetes, definitions: &[Value]) -> Self {
        let client = kubernetes.client().await.unwrap();
        let scene = Self {
            kubernetes,
            client,
            port: free_port(),
        };
        for definition in definitions {
            scene.apply(&definition.to_string()).await;
        }
        scene
    }

    async fn apply(&self, manifests: &str) {
        self.kubernetes.apply(manifests).await.unwrap();
    }

    async fn apply_base(&self) {
        self.apply(&[WEB, &base(self.port, free_port())].concat())
            .await;
    }

    fn gateway(&self, name: &str) -> Gateway {
        let variables = [("NUNCIO_POD_NAME", name)];
        Gateway::of_cluster(&self.kubernetes.kubeconfig(), ADMIN, &variables)
    }

    fn api(&self, kind: &str) -> Api<DynamicObject> {
        let mut kinds = KINDS.iter();
        let (group, version, plural) = match kinds.find(|known| known.kind == kind) {
            Some(known) => ("getambassador.io", "v3alpha1", known.plural),
            None => ("networking.k8s.io", "v1", "ingresses"),
        };
        let gvk = GroupVersionKind::gvk(group, version, kind);
        let resource = ApiResource::from_gvk_with_plural(&gvk, plural);
        Api::namespaced_with(self.client.clone(), "default", &resource)
    }

    async fn get(&self, kind: &str, name: &str) -> Value {
        serde_json::to_value(self.api(kind).get(name).await.unwrap()).unwrap()
    }

    /// Waits until the condition of an object, as its generation is now, is this one.
    async fn says(&self, kind: &str, name: &str, status: &str, reason: &str) -> Value {
        let found = async || {
            let object = self.get(kind, name).await;
            let condition = &object["status"]["conditions"][0];
            object["metadata"]["generation"] == condition["observedGeneration"]
                && object["metadata"]["generation"] == object["status"]["observedGeneration"]
                && (&condition["status"], &condition["reason"]) == (&json!(status), &json!(reason))
        };
        let what = format!("{kind} {name} is {status}, {reason}");
        let found = self.kubernetes.until(&what, found).await;
        let object = self.get(kind, name).await;
        found.unwrap_or_else(|error| panic!("{error}: {:#}", object["status"]));
        object
    }

    /// Type, reason and note of the Events about an object, by their time.
    async fn events(&self, name: &str) -> Vec<(String, String, String)> {
        let api: Api<Event> = Api::namespaced(self.client.clone(), "default");
        let mut events = api.list(&ListParams::default()).await.unwrap().items;
        events.retain(|event| {
            let about = event.regarding.as_ref();
            about.is_some_and(|about| about.name.as_deref() == Some(name) && about.uid.is_some())
        });
        events.sort_by_key(|event| event.event_time.clone());
        let said = events.into_iter().map(|event| {
            (
                event.type_.unwrap_or_default(),
                event.reason.unwrap_or_default(),
                event.note.unwrap_or_default(),
            )
        });
        said.collect()
    }

    async fn versions(&self) -> Vec<String> {
        let mut versions = Vec::new();
        for kind in KINDS {
            let objects = self
                .api(kind.kind)
                .list(&ListParams::default())
                .await
                .unwrap();
            versions.extend(objects.items.into_iter().map(|object| {
                format!(
                    "{} {} {}",
                    kind.kind,
                    object.metadata.name.unwrap(),
                    object.metadata.resource_version.unwrap()
                )
            }));
        }
        versions
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_kind_says_what_became_of_it() {
    let scene = Scene::start().await;
    scene.apply_base().await;
    scene.apply(&mapping("a", "prefix: /a/")).await;
    let mut gateway = scene.gateway("one");
    gateway.ready().await;

    let running = scene.says("Mapping", "a", "True", "Accepted").await;
    assert_eq!(running["status"]["state"], "Running");
    assert_eq!(running["status"]["attachedTo"], json!(["Host default/all"]));
    let host = scene.says("Host", "all", "True", "Accepted").await;
    assert_eq!(host["status"]["state"], "Ready");
    assert_eq!(host["status"]["tlsCertificateSource"], "None");
    assert_eq!(
        host["status"]["attachedTo"],
        json!(["Listener default/http"])
    );
    scene.says("Listener", "http", "True", "Accepted").await;
    scene.says("TCPMapping", "tcp", "True", "Accepted").await;
    for kind in KINDS {
        let objects = scene.api(kind.kind);
        let all_say = async || {
            let listed = objects.list(&ListParams::default()).await.unwrap().items;
            let said = |object: &DynamicObject| {
                let condition = &object.data["status"]["conditions"][0];
                condition["type"] == "Accepted"
                    && condition["observedGeneration"] == json!(object.metadata.generation)
            };
            !listed.is_empty() && listed.iter().all(said)
        };
        scene.kubernetes.until(kind.kind, all_say).await.unwrap();
    }

    // Refused, in the words of the report, and back again.
    scene.apply(&mapping("a", WRONG)).await;
    let refused = scene.says("Mapping", "a", "False", "InvalidValue").await;
    assert_eq!(refused["status"]["state"], "Inactive");
    let reason = refused["status"]["reason"].as_str().unwrap();
    let message = refused["status"]["conditions"][0]["message"]
        .as_str()
        .unwrap();
    assert!(
        message.contains(reason) && !reason.is_empty(),
        "{refused:#}"
    );
    assert_eq!(refused["status"]["attachedTo"], Value::Null);
    scene.apply(&mapping("a", "prefix: /b/")).await;
    let repaired = scene.says("Mapping", "a", "True", "Accepted").await;
    assert_eq!(repaired["status"]["state"], "Running");
    assert_eq!(repaired["status"]["reason"], "");

    let said = async || scene.events("a").await.len() == 2;
    scene.kubernetes.until("both are said", said).await.unwrap();
    let events = scene.events("a").await;
    assert_eq!((&*events[0].0, &*events[0].1), ("Warning", "InvalidValue"));
    assert_eq!(events[0].2, message);
    assert_eq!((&*events[1].0, &*events[1].1), ("Normal", "Accepted"));

    // A Host whose certificate is missing.
    scene
        .apply(
            "apiVersion: getambassador.io/v3alpha1\nkind: Host\nmetadata: {name: tls}\n\
             spec: {hostname: tls.example, tlsSecret: {name: missing}}\n",
        )
        .await;
    let host = scene.says("Host", "tls", "False", "RefNotFound").await;
    assert_eq!(host["status"]["state"], "Error");
    assert!(
        host["status"]["errorReason"]
            .as_str()
            .unwrap()
            .contains("missing")
    );
    assert!(host["status"]["errorTimestamp"].is_string());
    gateway.terminate().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_there_is_not_written_again() {
    let scene = Scene::start().await;
    scene.apply_base().await;
    scene.apply(&mapping("a", "prefix: /a/")).await;
    scene.apply(&mapping("b", WRONG)).await;
    let mut gateway = scene.gateway("one");
    gateway.ready().await;
    let settled = async |gateway: &Gateway| {
        let at_rest = async || {
            gateway.metric("nuncio_status_leader").await == 1
                && gateway.metric("nuncio_status_waiting").await == 0
        };
        scene
            .kubernetes
            .until("it is at rest", at_rest)
            .await
            .unwrap();
    };
    scene.says("Mapping", "a", "True", "Accepted").await;
    scene.says("Mapping", "b", "False", "InvalidValue").await;
    scene
        .says("DevPortal", "portal", "False", "NotSupported")
        .await;
    settled(&gateway).await;

    // What is written is no change: only the Mapping is.
    let changes = gateway.metric("nuncio_changes_total").await;
    let writes = gateway.metric("nuncio_status_writes_total").await;
    scene.apply(&mapping("b", "prefix: /b/")).await;
    scene.says("Mapping", "b", "True", "Accepted").await;
    scene.apply(&mapping("b", WRONG)).await;
    scene.says("Mapping", "b", "False", "InvalidValue").await;
    assert_eq!(gateway.metric("nuncio_changes_total").await, changes + 2);
    assert_eq!(
        gateway.metric("nuncio_status_writes_total").await,
        writes + 2
    );

    // After a restart all of it is looked at, and nothing written.
    let versions = scene.versions().await;
    gateway.terminate().await;
    let mut gateway = scene.gateway("two");
    gateway.ready().await;
    settled(&gateway).await;
    scene.apply(&mapping("c", "prefix: /c/")).await;
    scene.says("Mapping", "c", "True", "Accepted").await;
    settled(&gateway).await;
    assert_eq!(gateway.metric("nuncio_status_writes_total").await, 1);
    let others = scene.versions().await.into_iter();
    let others = others.filter(|version| !version.starts_with("Mapping c "));
    assert_eq!(others.collect::<Vec<_>>(), versions);

    // What somebody else writes over it is put right.
    let over = json!({"status": {"state": "Inactive"}});
    let params = PatchParams::default();
    let mappings = scene.api("Mapping");
    mappings
        .patch_status("a", &params, &Patch::Merge(&over))
        .await
        .unwrap();
    let right = async || scene.get("Mapping", "a").await["status"]["state"] == "Running";
    scene
        .kubernetes
        .until("it is right again", right)
        .await
        .unwrap();
    gateway.terminate().await;
}

/// What is still to be written when the API server goes away is written when it is back, each once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_to_be_written_outlives_the_api_server() {
    const MAPPINGS: usize = 200;
    let mut scene = Scene::start().await;
    let all: String = (0..MAPPINGS)
        .map(|number| mapping(&format!("m{number}"), &format!("prefix: /m{number}/")))
        .collect();
    scene.apply(&[WEB, &all].concat()).await;
    let variables = [("NUNCIO_POD_NAME", "one"), ("NUNCIO_STATUS_WRITES", "20")];
    let kubeconfig = scene.kubernetes.kubeconfig();
    let mut gateway = Gateway::of_cluster(&kubeconfig, ADMIN, &variables);
    gateway.ready().await;
    let written = async || gateway.metric("nuncio_status_writes_total").await;
    let begun = async || written().await >= 10;
    scene
        .kubernetes
        .until("some is written", begun)
        .await
        .unwrap();
    scene.kubernetes.kill_api_server().await.unwrap();
    assert!(written().await < MAPPINGS as u64, "nothing was left to do");
    scene.kubernetes.start_api_server().await.unwrap();

    // Of one whose answer got lost it is seen that it was written: it is not counted, or written twice.
    let mappings = scene.api("Mapping");
    let done = async || {
        let Ok(all) = mappings.list(&ListParams::default()).await else {
            return false;
        };
        let of_this = |object: &&DynamicObject| {
            // There is no Listener.
            object.data["status"]["conditions"][0]["reason"] == "NotBound"
        };
        all.items.iter().filter(of_this).count() >= MAPPINGS
            && gateway.metric("nuncio_status_waiting").await == 0
    };
    scene
        .kubernetes
        .until("all is written", done)
        .await
        .unwrap();
    let most = MAPPINGS as u64 + 1;
    assert!(written().await <= most, "{} writes", written().await);
    gateway.terminate().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_replica_writes_and_another_takes_over() {
    let scene = Scene::start().await;
    scene.apply_base().await;
    scene.apply(&mapping("a", "prefix: /a/")).await;
    let mut first = scene.gateway("one");
    first.ready().await;
    scene.says("Mapping", "a", "True", "Accepted").await;
    let mut second = scene.gateway("two");
    second.ready().await;
    assert_eq!(second.metric("nuncio_status_leader").await, 0);
    scene.apply(&mapping("b", "prefix: /b/")).await;
    scene.says("Mapping", "b", "True", "Accepted").await;
    assert_eq!(second.metric("nuncio_status_writes_total").await, 0);

    first.kill9().await;
    let leads = async || second.metric("nuncio_status_leader").await == 1;
    scene
        .kubernetes
        .until("the other leads", leads)
        .await
        .unwrap();
    scene.apply(&mapping("b", WRONG)).await;
    scene.says("Mapping", "b", "False", "InvalidValue").await;

    // Who ends in order does not leave others waiting.
    let mut third = scene.gateway("three");
    third.ready().await;
    second.terminate().await;
    scene.apply(&mapping("b", "prefix: /c/")).await;
    scene.says("Mapping", "b", "True", "Accepted").await;
    assert_eq!(third.metric("nuncio_status_leader").await, 1);
    third.terminate().await;
}

/// What nuncio wrote goes with that; what another writes stays.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_object_that_becomes_anothers_says_nothing_of_this_one() {
    let scene = Scene::start().await;
    scene.apply_base().await;
    let anothers = "ambassador_id: [other], prefix: /b/";
    scene.apply(&mapping("a", "prefix: /a/")).await;
    scene.apply(&mapping("b", anothers)).await;
    let says = json!({"status": {"state": "Running", "reason": "says another"}});
    let params = PatchParams::default();
    scene
        .api("Mapping")
        .patch_status("b", &params, &Patch::Merge(&says))
        .await
        .unwrap();
    let mut gateway = scene.gateway("one");
    gateway.ready().await;
    scene.says("Mapping", "a", "True", "Accepted").await;
    scene.says("Module", "ambassador", "True", "Accepted").await;

    scene.apply(&mapping("a", anothers)).await;
    let module = "apiVersion: getambassador.io/v3alpha1\nkind: Module\n\
        metadata: {name: ambassador}\nspec: {ambassador_id: [other], config: {}}\n";
    scene.apply(module).await;
    let says_nothing = async |kind, name| {
        let status = scene.get(kind, name).await["status"].clone();
        status.is_null() || status == json!({})
    };
    let taken_back =
        async || says_nothing("Mapping", "a").await && says_nothing("Module", "ambassador").await;
    scene
        .kubernetes
        .until("what was said is taken back", taken_back)
        .await
        .unwrap();
    // Also when it is another's that changes.
    let changed = format!("{anothers}, timeout_ms: 1");
    scene.apply(&mapping("b", &changed)).await;
    scene.apply(&mapping("a", "prefix: /a/")).await;
    scene.says("Mapping", "a", "True", "Accepted").await;
    let status = scene.get("Mapping", "b").await["status"].clone();
    assert_eq!(status, says["status"]);
    gateway.terminate().await;
}

/// Has the API server note who asks for what.
const POLICY: &str = "apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules: [{level: Metadata}]
";

/// Lets nobody do everything.
const ALL_RIGHTS: &str = "apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: nobody}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: cluster-admin}
subjects: [{apiGroup: rbac.authorization.k8s.io, kind: User, name: nobody}]
";

/// How many requests in a row must be renewals.
const AT_REST: usize = 3;

/// Watches aside, which are asked for anew every five minutes or so, an API server at rest hears of the
/// Lease alone.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn at_rest_the_api_server_is_asked_for_the_lease_alone() {
    let folder = tempfile::tempdir().unwrap();
    let (policy, log) = (folder.path().join("policy"), folder.path().join("log"));
    fs::write(&policy, POLICY).unwrap();
    let options = [
        format!("--audit-policy-file={}", policy.display()),
        format!("--audit-log-path={}", log.display()),
    ];
    let options = options.each_ref().map(String::as_str);
    let kubernetes = Kubernetes::start_with(&options).await.unwrap();
    let scene = Scene::on(kubernetes, &crds(&CrdOptions { conversion: None })).await;
    scene.apply(ALL_RIGHTS).await;
    scene.apply_base().await;
    scene.apply(&mapping("a", "prefix: /a/")).await;
    scene.apply(&mapping("b", WRONG)).await;
    let variables = [("NUNCIO_POD_NAME", "one")];
    let kubeconfig = scene.kubernetes.kubeconfig();
    let mut gateway = Gateway::of_cluster(&kubeconfig, NOBODY, &variables);
    gateway.ready().await;
    scene.says("Mapping", "a", "True", "Accepted").await;
    scene.says("Mapping", "b", "False", "InvalidValue").await;

    let asked = || -> Vec<String> {
        let log = fs::read_to_string(&log).unwrap();
        // The last line may not be whole yet.
        let events = log
            .lines()
            .filter_map(|line| serde_json::from_str::<Value>(line).ok());
        let own = events.filter(|event| event["user"]["username"] == NOBODY);
        own.map(|event| {
            let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
            let at = event["requestReceivedTimestamp"].as_str().unwrap();
            let (verb, of) = (text(&event["verb"]), text(&event["objectRef"]["resource"]));
            format!("{at} {verb} {of}")
        })
        .collect()
    };
    let is_at_rest = async || {
        let mut asked = asked();
        asked.sort();
        let last = asked.iter().rev().take(AT_REST);
        last.filter(|asked| asked.ends_with(" update leases"))
            .count()
            == AT_REST
    };
    let rests = scene.kubernetes.until("it rests", is_at_rest).await;
    rests.unwrap_or_else(|error| panic!("{error}: {:#?}", asked()));
    gateway.terminate().await;
}

/// A user's rights: to read everything, and to write this.
fn role(may_write: &str) -> String {
    format!(
        "apiVersion: rbac.authorization.k8s.io/v1\nkind: ClusterRole\nmetadata: {{name: nuncio}}\n\
         rules:\n\
         - {{apiGroups: [\"*\"], resources: [\"*\"], verbs: [get, list, watch]}}\n\
         - {{apiGroups: [coordination.k8s.io], resources: [leases], verbs: [create, update]}}\n\
         - {{apiGroups: [getambassador.io], resources: [{may_write}], verbs: [patch]}}\n---\n\
         apiVersion: rbac.authorization.k8s.io/v1\nkind: ClusterRoleBinding\n\
         metadata: {{name: nuncio}}\n\
         roleRef: {{apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: nuncio}}\n\
         subjects: [{{apiGroup: rbac.authorization.k8s.io, kind: User, name: nobody}}]\n"
    )
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_may_not_be_written_is_said_and_costs_only_itself() {
    let scene = Scene::start().await;
    scene.apply(&role("hosts/status")).await;
    scene.apply_base().await;
    scene.apply(&mapping("a", "prefix: /a/")).await;
    let mut gateway = Gateway::of_cluster(&scene.kubernetes.kubeconfig(), NOBODY, &[]);
    gateway.ready().await;
    scene.says("Host", "all", "True", "Accepted").await;
    let said = async || {
        let notices = gateway.notices().await;
        notices.contains("nuncio may not write mappings/status.getambassador.io: ")
            && notices.contains("resources: [mappings/status], verbs: [patch]")
            && notices.contains("nuncio may not write events.events.k8s.io: ")
    };
    scene.kubernetes.until("it is said", said).await.unwrap();

    scene.apply(&role("hosts/status, mappings/status")).await;
    scene.says("Mapping", "a", "True", "Accepted").await;
    let over = async || {
        !gateway
            .notices()
            .await
            .contains("may not write mappings/status")
    };
    gateway.until(over).await;
    gateway.terminate().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ingresses_have_the_addresses_of_the_gateways_service() {
    let scene = Scene::start().await;
    scene.apply_base().await;
    scene
        .apply(
            "apiVersion: v1\nkind: Service\n\
             metadata: {name: gateway, labels: {app.kubernetes.io/component: ambassador-service}}\n\
             spec: {type: LoadBalancer, selector: {app: gateway}, ports: [{port: 80}]}\n---\n\
             apiVersion: networking.k8s.io/v1\nkind: IngressClass\nmetadata: {name: ambassador}\n\
             spec: {controller: getambassador.io/ingress-controller}\n---\n\
             apiVersion: networking.k8s.io/v1\nkind: Ingress\nmetadata: {name: web}\n\
             spec: {ingressClassName: ambassador, rules: [{http: {paths: [{path: /i/, \
             pathType: Prefix, backend: {service: {name: nowhere, port: {name: none}}}}]}}]}\n---\n\
             apiVersion: networking.k8s.io/v1\nkind: Ingress\nmetadata: {name: other}\n\
             spec: {ingressClassName: other, defaultBackend: {service: {name: web, \
             port: {number: 80}}}}\n",
        )
        .await;
    let labels = tempfile::NamedTempFile::new().unwrap();
    fs::write(labels.path(), "app=\"gateway\"\n").unwrap();
    let variables = [("NUNCIO_POD_LABELS_FILE", labels.path().to_str().unwrap())];
    let mut gateway = Gateway::of_cluster(&scene.kubernetes.kubeconfig(), ADMIN, &variables);
    gateway.ready().await;

    // It gets its address later, and another one.
    let services: Api<Service> = Api::namespaced(scene.client.clone(), "default");
    let params = PatchParams::default();
    for address in ["192.0.2.1", "192.0.2.2"] {
        let status = json!({"status": {"loadBalancer": {"ingress": [{"ip": address}]}}});
        let patch = Patch::Merge(&status);
        services
            .patch_status("gateway", &params, &patch)
            .await
            .unwrap();
        let has = async || {
            let ingress = scene.get("Ingress", "web").await;
            ingress["status"]["loadBalancer"]["ingress"] == json!([{"ip": address}])
        };
        scene
            .kubernetes
            .until("it has the address", has)
            .await
            .unwrap();
    }
    let other = scene.get("Ingress", "other").await;
    assert_eq!(other["status"]["loadBalancer"], json!({}));

    // What is wrong with an Ingress, or in an annotation, has no status: an Event says it.
    let said = async || !scene.events("web").await.is_empty();
    scene
        .kubernetes
        .until("the Ingress has an Event", said)
        .await
        .unwrap();
    let annotation = "apiVersion: getambassador.io/v3alpha1\\nkind: Mapping\\nname: annotated\\n\
                      prefix: '('\\nprefix_regex: true\\nservice: web\\nhostname: '*'\\n";
    scene
        .apply(&format!(
            "apiVersion: v1\nkind: Service\nmetadata: {{name: web, annotations: \
             {{getambassador.io/config: \"{annotation}\"}}}}\nspec: {{ports: [{{port: 80}}]}}\n"
        ))
        .await;
    let of_service = async || {
        let events = scene.events("web").await;
        events
            .iter()
            .any(|(_, _, note)| note.starts_with("Mapping default/annotated: "))
    };
    scene
        .kubernetes
        .until("the Service has an Event", of_service)
        .await
        .unwrap();

    // One that becomes another controller's is not reached here any more.
    scene
        .apply(
            "apiVersion: networking.k8s.io/v1\nkind: Ingress\nmetadata: {name: web}\n\
             spec: {ingressClassName: other, defaultBackend: {service: {name: web, \
             port: {number: 80}}}}\n",
        )
        .await;
    let taken_back = async || {
        let ingress = scene.get("Ingress", "web").await;
        ingress["status"]["loadBalancer"] == json!({})
    };
    scene
        .kubernetes
        .until("its address is taken back", taken_back)
        .await
        .unwrap();
    gateway.terminate().await;
}

/// Where the definitions are Emissary's, only Emissary's own fields have a place.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_definitions_of_emissary_get_what_they_have_a_place_for() {
    let mut definitions = crds(&CrdOptions { conversion: None });
    for definition in &mut definitions {
        let kind = definition["spec"]["names"]["kind"].clone();
        let version = &mut definition["spec"]["versions"][0];
        let schema = &mut version["schema"]["openAPIV3Schema"];
        match kind.as_str() {
            Some("Mapping") => {
                let status = &mut schema["properties"]["status"];
                *status = json!({"type": "object", "properties": {
                    "state": status["properties"]["state"],
                    "reason": status["properties"]["reason"],
                }});
            }
            Some("TLSContext") => {
                schema["properties"]["status"] = json!({"type": "object", "properties": {}});
                version["subresources"] = json!({});
            }
            _ => {}
        }
    }
    let scene = Scene::with(&definitions).await;
    scene.apply_base().await;
    scene.apply(&mapping("a", "prefix: /a/")).await;
    let mut gateway = scene.gateway("one");
    gateway.ready().await;
    let runs = async || {
        scene.get("Mapping", "a").await["status"] == json!({"state": "Running", "reason": ""})
    };
    scene
        .kubernetes
        .until("the Mapping runs", runs)
        .await
        .unwrap();
    let said = async || {
        let notices = gateway.notices().await;
        notices.contains("mappings.getambassador.io has no place for conditions")
            && notices.contains("tlscontexts.getambassador.io has no place for a status")
    };
    scene.kubernetes.until("it is said", said).await.unwrap();
    gateway.terminate().await;
}
