//! Gateways of a real API server: each with an address of its own, or a Service, and what their status
//! says.

#![allow(clippy::unwrap_used)]

#[path = "support/kubernetes.rs"]
mod kubernetes;
mod support;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;

use k8s_openapi::api::core::v1::Service;
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::api::{ApiResource, DynamicObject, GroupVersionKind, Patch, PatchParams};
use kube::{Api, Client};
use kubernetes::{service, upstream};
use nuncio_api::gateway_api::{CONTROLLER, GROUP};
use nuncio_api::policy;
use nuncio_echo::client::{self, Protocol, Target};
use nuncio_testkube::{ADMIN, Kubernetes, own_address};
use serde_json::{Value, json};
use support::{Gateway, free_port};

/// Of this machine, as every address below 127.0.0.0/8 is.
const ADDRESSES: &str = "127.0.0.2-127.0.0.9";

const KINDS: &[(&str, &str, bool)] = &[
    ("GatewayClass", "gatewayclasses", false),
    ("Gateway", "gateways", true),
    ("HTTPRoute", "httproutes", true),
    ("UDPRoute", "udproutes", true),
    ("ReferenceGrant", "referencegrants", true),
];

/// A definition that takes any field, and has a status.
fn definition((kind, plural, namespaced): (&str, &str, bool)) -> String {
    let scope = if namespaced { "Namespaced" } else { "Cluster" };
    format!(
        "apiVersion: apiextensions.k8s.io/v1\nkind: CustomResourceDefinition\n\
         metadata:\n  name: {plural}.{GROUP}\n\
         \x20 annotations: {{api-approved.kubernetes.io: \"unapproved, for a test\"}}\n\
         spec:\n  group: {GROUP}\n  scope: {scope}\n\
         \x20 names: {{kind: {kind}, listKind: {kind}List, plural: {plural}, singular: {}}}\n\
         \x20 versions:\n  - name: v1\n    served: true\n    storage: true\n\
         \x20   subresources: {{status: {{}}}}\n\
         \x20   schema: {{openAPIV3Schema: {{type: object, \
         x-kubernetes-preserve-unknown-fields: true}}}}\n---\n",
        kind.to_lowercase()
    )
}

fn object(kind: &str, name: &str, spec: &str) -> String {
    format!("apiVersion: {GROUP}/v1\nkind: {kind}\nmetadata: {{name: {name}}}\nspec: {spec}\n---\n")
}

struct Scene {
    kubernetes: Kubernetes,
    client: Client,
    port: u16,
}

impl Scene {
    async fn start() -> Self {
        let kubernetes = Kubernetes::start().await.unwrap();
        let client = kubernetes.client().await.unwrap();
        let scene = Self {
            kubernetes,
            client,
            port: free_port(),
        };
        let definitions: String = KINDS.iter().map(|kind| definition(*kind)).collect();
        scene.apply(&definitions).await;
        scene
    }

    async fn apply(&self, manifests: &str) {
        self.kubernetes.apply(manifests).await.unwrap();
    }

    fn gateway(&self) -> Gateway {
        self.gateway_with(&[("NUNCIO_GATEWAY_ADDRESSES", ADDRESSES)])
    }

    fn gateway_with(&self, variables: &[(&str, &str)]) -> Gateway {
        Gateway::of_cluster(&self.kubernetes.kubeconfig(), ADMIN, variables)
    }

    fn api(&self, kind: &str) -> Api<DynamicObject> {
        if kind == "RoutePolicy" {
            let gvk = GroupVersionKind::gvk(policy::GROUP, "v1alpha1", kind);
            let resource = ApiResource::from_gvk_with_plural(&gvk, "routepolicies");
            return Api::namespaced_with(self.client.clone(), "default", &resource);
        }
        let (_, plural, namespaced) = KINDS.iter().find(|known| known.0 == kind).unwrap();
        let gvk = GroupVersionKind::gvk(GROUP, "v1", kind);
        let resource = ApiResource::from_gvk_with_plural(&gvk, plural);
        match namespaced {
            true => Api::namespaced_with(self.client.clone(), "default", &resource),
            false => Api::all_with(self.client.clone(), &resource),
        }
    }

    async fn get(&self, kind: &str, name: &str) -> Value {
        serde_json::to_value(self.api(kind).get(name).await.unwrap()).unwrap()
    }

    /// Waits until the conditions at a place of a status are these, for the object as it is now.
    async fn says(&self, kind: &str, name: &str, place: &str, wanted: &[(&str, &str, &str)]) {
        let found = async || {
            let object = self.get(kind, name).await;
            let generation = &object["metadata"]["generation"];
            let conditions = object["status"].pointer(place).cloned();
            let conditions = conditions.unwrap_or_default();
            wanted.iter().all(|(type_, status, reason)| {
                let mut conditions = conditions.as_array().into_iter().flatten();
                conditions.any(|condition| {
                    condition["type"] == *type_
                        && condition["status"] == *status
                        && condition["reason"] == *reason
                        && condition["observedGeneration"] == *generation
                        && condition["lastTransitionTime"].is_string()
                })
            })
        };
        let what = format!("{kind} {name} {place} says {wanted:?}");
        if let Err(error) = self.kubernetes.until(&what, found).await {
            panic!("{error}\n{:#}", self.get(kind, name).await["status"]);
        }
    }

    /// The address of a Gateway that listens.
    async fn address(&self, name: &str) -> IpAddr {
        let programmed = [("Programmed", "True", "Programmed")];
        self.says("Gateway", name, "/conditions", &programmed).await;
        let gateway = self.get("Gateway", name).await;
        let address = &gateway["status"]["addresses"];
        assert_eq!(address[0]["type"], "IPAddress", "{address}");
        assert_eq!(address.as_array().unwrap().len(), 1);
        address[0]["value"].as_str().unwrap().parse().unwrap()
    }

    /// Waits until requests to an address are answered by an upstream.
    async fn answers(&self, address: IpAddr, upstream: &str) {
        self.answers_at((address, self.port).into(), upstream).await;
    }

    async fn answers_at(&self, address: SocketAddr, upstream: &str) {
        let target = Target::cleartext(address);
        let what = format!("{address} is answered by {upstream}");
        let found = async || {
            let Ok(mut client) = client::Client::connect(&target, Protocol::Http1).await else {
                return false;
            };
            let Ok(answer) = client.get("a.example", "/").await else {
                return false;
            };
            answer.status == 200 && answer.json()["upstream"] == upstream
        };
        self.kubernetes.until(&what, found).await.unwrap();
    }
}

const ACCEPTED: [(&str, &str, &str); 2] = [
    ("Accepted", "True", "Accepted"),
    ("ResolvedRefs", "True", "ResolvedRefs"),
];

#[tokio::test(flavor = "multi_thread")]
async fn each_gateway_has_an_address_and_says_what_became_of_it() {
    let scene = Scene::start().await;
    let (one, two) = (upstream("one").await, upstream("two").await);
    let http = format!(
        "listeners: [{{name: http, port: {}, protocol: HTTP, \
         allowedRoutes: {{namespaces: {{from: Selector, selector: {{matchLabels: {{team: shop}}}}}}}}}}]",
        scene.port
    );
    let gateway = |name: &str, class: &str| {
        object(
            "Gateway",
            name,
            &format!("{{gatewayClassName: {class}, {http}}}"),
        )
    };
    let route = |name: &str, parents: &str, service: &str| {
        let rules = format!("rules: [{{backendRefs: [{{name: {service}, port: 80}}]}}]");
        object(
            "HTTPRoute",
            name,
            &format!("{{parentRefs: [{parents}], {rules}}}"),
        )
    };
    scene
        .apply(
            &[
                object(
                    "GatewayClass",
                    "ours",
                    &format!("{{controllerName: {CONTROLLER}}}"),
                ),
                service("one", one.address(), "TCP"),
                service("two", two.address(), "TCP"),
                gateway("first", "emissary"),
                gateway("second", "ours"),
                gateway("theirs", "other"),
                route("one", "{name: first}", "one"),
                route("two", "{name: second}, {name: theirs}", "two"),
            ]
            .concat(),
        )
        .await;
    let nuncio = scene.gateway();

    scene
        .says("GatewayClass", "ours", "/conditions", &ACCEPTED[..1])
        .await;
    let features = scene.get("GatewayClass", "ours").await;
    let features = features["status"]["supportedFeatures"].as_array().cloned();
    assert!(features.unwrap().contains(&json!({"name": "HTTPRoute"})));
    let (first, second) = (scene.address("first").await, scene.address("second").await);
    assert_ne!(first, second);
    let none = [("Accepted", "False", "NotAllowedByListeners")];
    scene
        .says("HTTPRoute", "one", "/parents/0/conditions", &none)
        .await;

    // The namespace gets the label that the listeners ask for.
    let namespaces: Api<k8s_openapi::api::core::v1::Namespace> = Api::all(scene.client.clone());
    let label = Patch::Merge(json!({"metadata": {"labels": {"team": "shop"}}}));
    let params = PatchParams::default();
    let patched = namespaces.patch("default", &params, &label);
    patched.await.unwrap();
    scene
        .says("HTTPRoute", "one", "/parents/0/conditions", &ACCEPTED)
        .await;
    scene
        .says("HTTPRoute", "two", "/parents/0/conditions", &ACCEPTED)
        .await;
    scene.answers(first, "one").await;
    scene.answers(second, "two").await;
    let attached = async || {
        let listener = scene.get("Gateway", "first").await["status"]["listeners"][0].clone();
        (&listener["name"], &listener["attachedRoutes"]) == (&json!("http"), &json!(1))
    };
    let what = "the listener counts its route";
    scene.kubernetes.until(what, attached).await.unwrap();
    assert!(scene.get("Gateway", "theirs").await["status"].is_null());

    // Only the parents that are nuncio's are its to speak of; what another controller says stays.
    let theirs = json!({
        "parentRef": {"name": "theirs"}, "controllerName": "example.com/other",
        "conditions": [],
    });
    let mut parents = scene.get("HTTPRoute", "two").await["status"]["parents"].clone();
    assert_eq!(parents.as_array().unwrap().len(), 1);
    parents.as_array_mut().unwrap().push(theirs.clone());
    let status = Patch::Merge(json!({"status": {"parents": parents}}));
    let patched = scene.api("HTTPRoute");
    let patched = patched.patch_status("two", &params, &status);
    patched.await.unwrap();
    scene
        .apply(&route(
            "two",
            "{name: second, sectionName: none}, {name: theirs}",
            "two",
        ))
        .await;
    let found = async || {
        let parents = scene.get("HTTPRoute", "two").await["status"]["parents"].clone();
        let own = parents.as_array().unwrap().iter();
        let mut own = own.filter(|parent| parent["controllerName"] == CONTROLLER);
        let reason = own.next().map(|own| own["conditions"][0]["reason"].clone());
        reason == Some(json!("NoMatchingParent")) && parents.as_array().unwrap().contains(&theirs)
    };
    scene
        .kubernetes
        .until("both controllers speak", found)
        .await
        .unwrap();
    scene.apply(&route("two", "{name: theirs}", "two")).await;
    let found =
        async || scene.get("HTTPRoute", "two").await["status"]["parents"] == json!([theirs]);
    scene
        .kubernetes
        .until("the other alone speaks", found)
        .await
        .unwrap();

    // A Gateway keeps its address, over a restart too, and whoever comes or goes.
    scene.apply(&route("two", "{name: second}", "two")).await;
    scene
        .api("Gateway")
        .delete("first", &Default::default())
        .await
        .unwrap();
    nuncio.terminate().await;
    let again: String = (0..7)
        .map(|n| gateway(&format!("more-{n}"), "ours"))
        .collect();
    scene.apply(&again).await;
    let _nuncio = scene.gateway();
    let mut addresses = vec![scene.address("second").await];
    assert_eq!(addresses, [second]);
    for n in 0..7 {
        addresses.push(scene.address(&format!("more-{n}")).await);
    }
    addresses.sort();
    addresses.dedup();
    assert_eq!(addresses.len(), 8);
    scene.answers(second, "two").await;
    scene.apply(&gateway("too-many", "ours")).await;
    let none = [("Programmed", "False", "AddressNotAssigned")];
    scene
        .says("Gateway", "too-many", "/conditions", &none)
        .await;
}

/// Answers each datagram with its own name.
async fn datagrams(name: &'static str) -> SocketAddr {
    let any_port = SocketAddr::from((own_address().unwrap(), 0));
    let socket = Arc::new(tokio::net::UdpSocket::bind(any_port).await.unwrap());
    let address = socket.local_addr().unwrap();
    tokio::spawn(async move {
        let mut buffer = [0; 64];
        while let Ok((_, from)) = socket.recv_from(&mut buffer).await {
            let _ = socket.send_to(name.as_bytes(), from).await;
        }
    });
    address
}

#[tokio::test(flavor = "multi_thread")]
async fn datagrams_go_by_weight() {
    let scene = Scene::start().await;
    let (one, two) = (datagrams("one").await, datagrams("two").await);
    let port = free_port();
    let spec = format!(
        "{{gatewayClassName: emissary, listeners: [{{name: udp, port: {port}, protocol: UDP}}]}}"
    );
    let backends = "[{name: one, port: 80, weight: 3}, {name: two, port: 80}, \
                    {name: three, port: 80, weight: 0}]";
    let rules = format!("{{parentRefs: [{{name: udp}}], rules: [{{backendRefs: {backends}}}]}}");
    scene
        .apply(
            &[
                object("Gateway", "udp", &spec),
                object("UDPRoute", "udp", &rules),
                service("one", one, "UDP"),
                service("two", two, "UDP"),
                service("three", two, "TCP"),
            ]
            .concat(),
        )
        .await;
    let _nuncio = scene.gateway();
    let missing = [
        ("Accepted", "True", "Accepted"),
        ("ResolvedRefs", "False", "BackendNotFound"),
    ];
    scene
        .says("UDPRoute", "udp", "/parents/0/conditions", &missing)
        .await;
    let address = SocketAddr::from((scene.address("udp").await, port));

    let ask = async || {
        let socket = tokio::net::UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))
            .await
            .unwrap();
        socket.send_to(b"who?", address).await.unwrap();
        let mut buffer = [0; 64];
        let answer = socket.recv_from(&mut buffer);
        let answer = tokio::time::timeout(std::time::Duration::from_secs(1), answer).await;
        let (length, _) = answer.ok()?.ok()?;
        Some(String::from_utf8_lossy(&buffer[..length]).into_owned())
    };
    let answered = async || ask().await.is_some();
    scene
        .kubernetes
        .until("datagrams are answered", answered)
        .await
        .unwrap();
    let mut answers = Vec::new();
    // A busy machine may lose some.
    for _ in 0..4000 {
        answers.extend(ask().await);
        if answers.len() == 400 {
            break;
        }
    }
    let ones = answers.iter().filter(|answer| *answer == "one").count();
    // By the hash of the client's port: three of four, more or less.
    assert!((240..360).contains(&ones), "{ones} of {}", answers.len());
}

/// A Service or an EndpointSlice, once it is as it is to be.
async fn stands<K>(scene: &Scene, name: &str, is_it: impl Fn(&Value) -> bool) -> Value
where
    K: kube::Resource<Scope = k8s_openapi::NamespaceResourceScope>
        + Clone
        + std::fmt::Debug
        + serde::Serialize
        + serde::de::DeserializeOwned,
    K::DynamicType: Default,
{
    let api: Api<K> = Api::namespaced(scene.client.clone(), "default");
    let found = async || {
        let found = api.get_opt(name).await.unwrap();
        found.is_some_and(|found| is_it(&serde_json::to_value(found).unwrap()))
    };
    if let Err(error) = scene.kubernetes.until(name, found).await {
        panic!("{error}\n{:#?}", api.get_opt(name).await);
    }
    serde_json::to_value(api.get(name).await.unwrap()).unwrap()
}

async fn is_gone<K>(scene: &Scene, name: &str)
where
    K: kube::Resource<Scope = k8s_openapi::NamespaceResourceScope>
        + Clone
        + std::fmt::Debug
        + serde::de::DeserializeOwned,
    K::DynamicType: Default,
{
    let api: Api<K> = Api::namespaced(scene.client.clone(), "default");
    let gone = async || api.get_opt(name).await.unwrap().is_none();
    let what = format!("{name} is gone");
    scene.kubernetes.until(&what, gone).await.unwrap();
}

/// The port of nuncio's that the only one of a Service leads to.
fn target_port(service: &Value) -> SocketAddr {
    let ports = service["spec"]["ports"].as_array().unwrap();
    let [port] = &ports[..] else {
        panic!("{ports:?}");
    };
    assert_eq!(
        (&port["port"], &port["protocol"]),
        (&json!(80), &json!("TCP"))
    );
    let target = port["targetPort"].as_u64().unwrap();
    SocketAddr::from((Ipv4Addr::LOCALHOST, u16::try_from(target).unwrap()))
}

/// nuncio's own Service, and the pods behind it.
fn own(pods: &[&str]) -> String {
    let pods = pods.iter();
    let pods = pods.map(|pod| format!("{{addresses: [\"{pod}\"], conditions: {{ready: true}}}}"));
    format!(
        "apiVersion: v1\nkind: Service\n\
         metadata: {{name: own, labels: {{app.kubernetes.io/component: ambassador-service}}}}\n\
         spec: {{selector: {{app: gateway}}, ports: [{{port: 8080}}]}}\n---\n\
         apiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\n\
         metadata: {{name: own-1, labels: {{kubernetes.io/service-name: own}}}}\n\
         addressType: IPv4\nports: [{{port: 8080}}]\nendpoints: [{}]\n---\n",
        pods.collect::<Vec<_>>().join(", ")
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn each_gateway_has_a_service() {
    let scene = Scene::start().await;
    let (one, two) = (upstream("one").await, upstream("two").await);
    let gateway = |name: &str, class: &str, infrastructure: &str| {
        let spec = format!(
            "{{gatewayClassName: {class}, infrastructure: {{{infrastructure}}}, \
             listeners: [{{name: http, port: 80, protocol: HTTP}}]}}"
        );
        object("Gateway", name, &spec)
    };
    let route = |gateway: &str, service: &str| {
        let spec = format!(
            "{{parentRefs: [{{name: {gateway}}}], \
             rules: [{{backendRefs: [{{name: {service}, port: 80}}]}}]}}"
        );
        object("HTTPRoute", service, &spec)
    };
    let class = |name: &str, more: &str| {
        let spec = format!("{{controllerName: {CONTROLLER}{more}}}");
        object("GatewayClass", name, &spec)
    };
    scene
        .apply(
            &[
                own(&["10.9.8.7"]),
                service("one", one.address(), "TCP"),
                service("two", two.address(), "TCP"),
                class("ours", ""),
                gateway(
                    "web",
                    "ours",
                    "labels: {team: shop}, annotations: {a: \"1\", b: \"2\"}",
                ),
                gateway("other", "ours", ""),
                route("web", "one"),
                route("other", "two"),
            ]
            .concat(),
        )
        .await;
    let labels = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(labels.path(), "app=\"gateway\"\n").unwrap();
    let variables = [
        ("NUNCIO_GATEWAY_SERVICES", "ClusterIP"),
        ("NUNCIO_POD_LABELS_FILE", labels.path().to_str().unwrap()),
    ];
    let nuncio = scene.gateway_with(&variables);

    // Both ask for the same port and every hostname, and have it.
    let web = stands::<Service>(&scene, "web-ours", |_| true).await;
    let other = stands::<Service>(&scene, "other-ours", |_| true).await;
    let (web_port, other_port) = (target_port(&web), target_port(&other));
    assert_ne!(web_port, other_port);
    let metadata = &web["metadata"];
    assert_eq!(
        metadata["labels"],
        json!({
            "app.kubernetes.io/managed-by": "nuncio",
            "gateway.networking.k8s.io/gateway-class-name": "ours",
            "gateway.networking.k8s.io/gateway-name": "web",
            "team": "shop",
        })
    );
    assert_eq!(metadata["annotations"]["a"], "1");
    let owner = scene.get("Gateway", "web").await;
    let owners = metadata["ownerReferences"].as_array().unwrap();
    assert_eq!((owners.len(), &owners[0]["kind"]), (1, &json!("Gateway")));
    assert_eq!(owners[0]["uid"], owner["metadata"]["uid"]);
    let leads_to = |pods: &'static [&'static str]| {
        move |slice: &Value| {
            let ports = slice["ports"].as_array().unwrap();
            let endpoints = slice["endpoints"].as_array().unwrap();
            let addresses = endpoints.iter().map(|each| &each["addresses"][0]);
            ports.len() == 1 && ports[0]["port"] == web_port.port() && addresses.eq(pods.iter())
        }
    };
    let slice = stands::<EndpointSlice>(&scene, "web-ours-ipv4", leads_to(&["10.9.8.7"])).await;
    let labels = &slice["metadata"]["labels"];
    assert_eq!(labels["kubernetes.io/service-name"], "web-ours");
    assert_eq!(labels["team"], "shop");
    scene.answers_at(web_port, "one").await;
    scene.answers_at(other_port, "two").await;
    let address = scene.address("web").await.to_string();
    assert_eq!(web["spec"]["clusterIP"], *address);
    let features = scene.get("GatewayClass", "ours").await;
    let features = features["status"]["supportedFeatures"].as_array().cloned();
    assert!(
        features
            .unwrap()
            .contains(&json!({"name": "GatewayInfrastructure"}))
    );

    // Pods come and go; what others change is changed back, and what is asked for no more is gone.
    scene.apply(&own(&["10.9.8.7", "10.9.8.8"])).await;
    let both = leads_to(&["10.9.8.7", "10.9.8.8"]);
    stands::<EndpointSlice>(&scene, "web-ours-ipv4", both).await;
    let services: Api<Service> = Api::namespaced(scene.client.clone(), "default");
    let patch = Patch::Merge(json!({"metadata": {"labels": {"team": "theirs"}}}));
    let params = PatchParams::default();
    services.patch("web-ours", &params, &patch).await.unwrap();
    let ours = |service: &Value| service["metadata"]["labels"]["team"] == "shop";
    stands::<Service>(&scene, "web-ours", ours).await;
    scene
        .apply(&gateway(
            "web",
            "ours",
            "labels: {team: shop}, annotations: {a: \"1\"}",
        ))
        .await;
    let annotations = |service: &Value| {
        let annotations = &service["metadata"]["annotations"];
        annotations["a"] == "1" && annotations["b"].is_null()
    };
    stands::<Service>(&scene, "web-ours", annotations).await;

    // A restart changes nothing, whoever else is there.
    nuncio.terminate().await;
    let before = services.get("web-ours").await.unwrap();
    services
        .delete("other-ours", &Default::default())
        .await
        .unwrap();
    scene.apply(&gateway("aaa", "ours", "")).await;
    let _nuncio = scene.gateway_with(&variables);
    stands::<Service>(&scene, "aaa-ours", |_| true).await;
    let again = stands::<Service>(&scene, "other-ours", |_| true).await;
    assert_eq!(target_port(&again), other_port);
    let after = services.get("web-ours").await.unwrap();
    assert_eq!(
        before.metadata.resource_version,
        after.metadata.resource_version
    );
    scene.answers_at(web_port, "one").await;

    // What it is like is said by a ConfigMap, of a class and of a Gateway.
    let parameters = |name: &str, text: &str| {
        format!(
            "apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: {name}}}\n\
             data: {{service: \"{text}\"}}\n---\n"
        )
    };
    let of_class =
        ", parametersRef: {group: \"\", kind: ConfigMap, name: class, namespace: default}";
    let of_gateway = "parametersRef: {group: \"\", kind: ConfigMap, name: gateway}";
    scene
        .apply(
            &[
                parameters("class", "type: NodePort"),
                class("ours", of_class),
            ]
            .concat(),
        )
        .await;
    let node_port = |service: &Value| service["spec"]["type"] == "NodePort";
    stands::<Service>(&scene, "web-ours", node_port).await;
    scene
        .apply(
            &[
                parameters("gateway", "types: a"),
                gateway("web", "ours", of_gateway),
            ]
            .concat(),
        )
        .await;
    let wrong = [("Accepted", "False", "InvalidParameters")];
    scene.says("Gateway", "web", "/conditions", &wrong).await;
    stands::<Service>(&scene, "web-ours", node_port).await;
    scene.apply(&parameters("gateway", "type: ClusterIP")).await;
    let cluster_ip = |service: &Value| service["spec"]["type"] == "ClusterIP";
    let service = stands::<Service>(&scene, "web-ours", cluster_ip).await;
    assert_eq!(target_port(&service), web_port);
    scene
        .says("Gateway", "web", "/conditions", &ACCEPTED[..1])
        .await;

    // Of another class it has another Service, and of another controller's none.
    scene.apply(&gateway("web", "emissary", "")).await;
    stands::<Service>(&scene, "web-emissary", |_| true).await;
    is_gone::<Service>(&scene, "web-ours").await;
    is_gone::<EndpointSlice>(&scene, "web-ours-ipv4").await;
    scene.apply(&gateway("web", "theirs", "")).await;
    is_gone::<Service>(&scene, "web-emissary").await;

    // One that is somebody's is left alone.
    scene
        .apply(
            &[
                "apiVersion: v1\nkind: Service\nmetadata: {name: taken-ours}\n\
                 spec: {ports: [{port: 1234}]}\n---\n"
                    .to_owned(),
                gateway("taken", "ours", ""),
            ]
            .concat(),
        )
        .await;
    let taken = [("Programmed", "False", "AddressNotAssigned")];
    scene.says("Gateway", "taken", "/conditions", &taken).await;
    let service = services.get("taken-ours").await.unwrap();
    assert_eq!(service.spec.unwrap().ports.unwrap()[0].port, 1234);
}

/// A RoutePolicy is followed as soon as its kind is defined, and says whether it is in effect.
#[tokio::test(flavor = "multi_thread")]
async fn a_policy_says_whether_it_is_in_effect() {
    let scene = Scene::start().await;
    let upstream = upstream("one").await;
    let listeners = format!("[{{name: http, port: {}, protocol: HTTP}}]", scene.port);
    let manifests = [
        service("one", upstream.address(), "TCP"),
        object(
            "Gateway",
            "web",
            &format!("{{gatewayClassName: emissary, listeners: {listeners}}}"),
        ),
        object(
            "HTTPRoute",
            "web",
            "{parentRefs: [{name: web}], rules: [{backendRefs: [{name: one, port: 80}]}]}",
        ),
    ];
    scene.apply(&manifests.concat()).await;
    let mut gateway = scene.gateway_with(&[]);
    gateway.ready().await;
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, scene.port));
    scene.answers_at(address, "one").await;
    let path_becomes = async |wanted: &str| {
        let found = async || {
            let target = Target::cleartext(address);
            let mut client = client::Client::connect(&target, Protocol::Http1)
                .await
                .unwrap();
            let answer = client.get("a.example", "/old/a").await.unwrap();
            assert_eq!(answer.status, 200);
            answer.json()["path"] == wanted
        };
        let what = format!("/old/a becomes {wanted}");
        scene.kubernetes.until(&what, found).await.unwrap();
    };
    path_becomes("/old/a").await;

    let definitions = policy::crd::crds();
    let definitions: Vec<String> = definitions.iter().map(Value::to_string).collect();
    scene.apply(&definitions.join("\n---\n")).await;
    let policy = |kind: &str, rewrite: &str| {
        format!(
            "apiVersion: {}/v1alpha1\nkind: RoutePolicy\nmetadata: {{name: web}}\n\
             spec:\n  targetRefs: [{{group: {GROUP}, kind: {kind}, name: web}}]\n\
             \x20 regex_rewrite: {rewrite}\n---\n",
            policy::GROUP
        )
    };
    let rewrite = "{pattern: \"^/old/\", substitution: /new/}";
    let of_service = scene.kubernetes.apply(&policy("Service", rewrite)).await;
    let refused = format!("{:#}", of_service.unwrap_err());
    assert!(refused.contains("spec.targetRefs[0].kind"), "{refused}");

    let place = "/ancestors/0/conditions";
    scene.apply(&policy("HTTPRoute", rewrite)).await;
    let accepted = [("Accepted", "True", "Accepted")];
    scene.says("RoutePolicy", "web", place, &accepted).await;
    path_becomes("/new/a").await;
    let found = scene.get("RoutePolicy", "web").await;
    let ancestor = &found["status"]["ancestors"][0];
    assert_eq!(ancestor["ancestorRef"]["kind"], "Gateway", "{ancestor}");
    assert_eq!(ancestor["controllerName"], CONTROLLER, "{ancestor}");

    let wrong = policy("HTTPRoute", "{pattern: \"(\", substitution: /new/}");
    scene.apply(&wrong).await;
    let invalid = [("Accepted", "False", "Invalid")];
    scene.says("RoutePolicy", "web", place, &invalid).await;
    path_becomes("/old/a").await;
    scene.apply(&policy("Gateway", rewrite)).await;
    path_becomes("/new/a").await;
    let api = scene.api("RoutePolicy");
    api.delete("web", &Default::default()).await.unwrap();
    path_becomes("/old/a").await;
    gateway.terminate().await;
}
