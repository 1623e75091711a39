//! Of the rights that the chart gives there is none that nuncio does not use.

use std::collections::BTreeSet;
use std::fs;

use kube::Api;
use kube::api::{DynamicObject, GroupVersionKind};
use kube::core::ApiResource;
use nuncio_api::getambassador::crd::KINDS;
use nuncio_testkube::Kubernetes;
use serde_json::{Value, json};

use crate::cluster::{apply, cluster_of, definition, kubeconfig_of};
use crate::render::Rendered;
use crate::support::Gateway;

/// Has the API server note who asks for what.
const POLICY: &str = "apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules: [{level: Metadata}]
";

/// Verb, API group and resource, its subresource after a slash.
type Right = (String, String, String);

fn spec(kind: &str) -> Value {
    match kind {
        "Listener" => json!({
            "port": nuncio_echo::free_port(), "protocol": "HTTP", "securityModel": "XFP",
            "hostBinding": {"namespace": {"from": "ALL"}},
        }),
        "Host" => json!({"hostname": "*"}),
        "Mapping" => json!({"hostname": "*", "prefix": "/a/", "service": "web"}),
        "TCPMapping" => json!({"port": nuncio_echo::free_port(), "service": "web"}),
        "Module" => json!({"config": {}}),
        "ConsulResolver" => json!({"datacenter": "dc1"}),
        "AuthService" => json!({"auth_service": "web"}),
        "RateLimitService" => json!({"service": "web", "protocol_version": "v3"}),
        "TracingService" => json!({"service": "web", "driver": "zipkin"}),
        "LogService" => json!({"service": "web", "driver": "http", "driver_config": {}}),
        _ => json!({}),
    }
}

fn object(kind: &str, spec: &Value) -> Value {
    json!({
        "apiVersion": "getambassador.io/v3alpha1",
        "kind": kind,
        "metadata": {"name": "any", "namespace": "edge"},
        "spec": spec,
    })
}

/// What the rules of a release allow.
fn given(release: &Rendered) -> BTreeSet<Right> {
    let roles = release
        .0
        .iter()
        .filter(|object| matches!(object["kind"].as_str(), Some("ClusterRole" | "Role")));
    let texts = |list: &Value| -> Vec<String> {
        let list = list.as_array().unwrap().iter();
        list.map(|text| text.as_str().unwrap().to_owned()).collect()
    };
    let mut rights = BTreeSet::new();
    for rule in roles.flat_map(|role| role["rules"].as_array().unwrap()) {
        for group in texts(&rule["apiGroups"]) {
            for resource in texts(&rule["resources"]) {
                for verb in texts(&rule["verbs"]) {
                    rights.insert((verb, group.clone(), resource.clone()));
                }
            }
        }
    }
    rights
}

/// What a user has asked for, by the API server's log.
fn used(log: &str, user: &str) -> BTreeSet<Right> {
    let mut rights = BTreeSet::new();
    for line in log.lines() {
        // The last line may not be whole yet.
        let Ok(event) = serde_json::from_str::<Value>(line) else {
            continue;
        };
        if event["user"]["username"] != user {
            continue;
        }
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let (verb, of) = (text(&event["verb"]), &event["objectRef"]);
        let group = text(&of["apiGroup"]);
        match of["subresource"].as_str() {
            Some(part) => {
                rights.insert((verb, group, format!("{}/{part}", text(&of["resource"]))));
            }
            None => {
                rights.insert((verb.clone(), group.clone(), "*".to_owned()));
                rights.insert((verb, group, text(&of["resource"])));
            }
        }
    }
    rights
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_right_is_unused() {
    let folder = tempfile::tempdir().unwrap();
    let (policy, log) = (folder.path().join("policy"), folder.path().join("log"));
    fs::write(&policy, POLICY).unwrap();
    let options = [
        format!("--audit-policy-file={}", policy.display()),
        format!("--audit-log-path={}", log.display()),
    ];
    let options = options.each_ref().map(String::as_str);
    let kubernetes = cluster_of(Kubernetes::start_with(&options).await.unwrap()).await;
    let labels = folder.path().join("labels");
    fs::write(&labels, "app=\"rights\"\n").unwrap();
    let own = json!({
        "apiVersion": "v1", "kind": "Service",
        "metadata": {
            "name": "own", "namespace": "edge",
            "labels": {"app.kubernetes.io/component": "ambassador-service"},
        },
        "spec": {"type": "LoadBalancer", "selector": {"app": "rights"}, "ports": [{"port": 80}]},
    });
    let ingress = json!({
        "apiVersion": "networking.k8s.io/v1", "kind": "Ingress",
        "metadata": {
            "name": "web", "namespace": "edge",
            "annotations": {"kubernetes.io/ingress.class": "ambassador"},
        },
        "spec": {"defaultBackend": {"service": {"name": "web", "port": {"number": 80}}}},
    });
    let mut objects = vec![
        definition("gateway.getambassador.io", "v1alpha1", "Filter", "filters"),
        own,
        ingress,
    ];
    objects.extend(KINDS.iter().map(|kind| object(kind.kind, &spec(kind.kind))));
    // Its status says that there is no such Gateway.
    let target =
        json!({"group": "gateway.networking.k8s.io", "kind": "Gateway", "name": "nowhere"});
    objects.push(json!({
        "apiVersion": "gateway.nuncio.dev/v1alpha1",
        "kind": "RoutePolicy",
        "metadata": {"name": "any", "namespace": "edge"},
        "spec": {"targetRefs": [target]},
    }));
    let release = Rendered::of("used", &[]);
    objects.extend(release.0.iter().cloned());
    apply(&kubernetes, &objects).await;
    let gvk = GroupVersionKind::gvk("", "v1", "Service");
    let services: Api<DynamicObject> = Api::namespaced_with(
        kubernetes.client().await.unwrap(),
        "edge",
        &ApiResource::from_gvk(&gvk),
    );
    let status = json!({"status": {"loadBalancer": {"ingress": [{"ip": "192.0.2.1"}]}}});
    let patch = kube::api::Patch::Merge(&status);
    services
        .patch_status("own", &kube::api::PatchParams::default(), &patch)
        .await
        .unwrap();

    let account = "used-emissary-ingress";
    let file = folder.path().join("kubeconfig");
    let kubeconfig = kubeconfig_of(&kubernetes, account).await;
    fs::write(&file, kubeconfig.to_string()).unwrap();
    let variables = [
        ("AMBASSADOR_NAMESPACE", "edge"),
        ("NUNCIO_POD_LABELS_FILE", labels.to_str().unwrap()),
    ];
    let mut gateway = Gateway::of_cluster(&file, account, &variables);
    gateway.ready().await;

    let user = format!("system:serviceaccount:edge:{account}");
    let unused = || -> Vec<Right> {
        let used = used(&fs::read_to_string(&log).unwrap_or_default(), &user);
        given(&release).difference(&used).cloned().collect()
    };
    // An Event that is there already is made more of when the same happens again.
    let (right, wrong) = (
        json!({"hostname": "*", "prefix": "/a/", "service": "web"}),
        json!({"hostname": "*", "prefix": "(", "prefix_regex": true, "service": "web"}),
    );
    let mut turns = [&wrong, &right].into_iter().cycle();
    let deadline = std::time::Instant::now() + nuncio_testkube::DEADLINE;
    while !unused().is_empty() {
        assert!(
            std::time::Instant::now() < deadline,
            "{:?}\n{}",
            unused(),
            gateway.log()
        );
        let spec = turns.next().unwrap();
        apply(&kubernetes, &[object("Mapping", spec)]).await;
        tokio::time::sleep(std::time::Duration::from_millis(200)).await;
    }
    gateway.terminate().await;
}
