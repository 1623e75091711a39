//! The webhooks beside a real API server.

#![allow(clippy::unwrap_used)]

#[path = "support/cases.rs"]
mod cases;
mod support;

use std::time::{Duration, SystemTime};

use futures::{StreamExt as _, stream};
use k8s_openapi::api::admissionregistration::v1::ValidatingWebhookConfiguration;
use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::Client;
use kube::api::{Api, DynamicObject, Patch, PatchParams, PostParams};
use nuncio_api::getambassador::GROUP;
use nuncio_api::getambassador::conversion::{ID_PREFIX, Version, from_v3alpha1, to_v3alpha1};
use nuncio_api::getambassador::crd::{CrdOptions, KINDS, crds};
use nuncio_api::policy;
use nuncio_api::yaml::documents;
use nuncio_apiext::{Authority, CONFIGURATION, SECRET};
use nuncio_echo::free_port;
use nuncio_testkube::Kubernetes;
use serde_json::{Value, json};
use support::{
    Balancer, NAMESPACE, Replica, apply, create, get, objects, ours, service, texts, until,
};

/// Without null and without empty objects, which the API server may leave out.
fn plain(value: &Value) -> Value {
    match value {
        Value::Object(fields) => {
            let fields = fields
                .iter()
                .map(|(name, value)| (name.clone(), plain(value)));
            Value::Object(fields.filter(|(_, value)| !value.is_null()).collect())
        }
        Value::Array(items) => items.iter().map(plain).collect(),
        value => value.clone(),
    }
}

fn written(object: &Value) -> (String, String, Version) {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let version = text(&object["apiVersion"]);
    let version = Version::parse(version.rsplit('/').next().unwrap()).unwrap();
    (
        text(&object["kind"]),
        text(&object["metadata"]["name"]),
        version,
    )
}

/// An object of every kind that Emissary stored, under its CRDs, is read at each version under ours,
/// and comes back as it was when it is written as v3alpha1.
#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_of_emissary_is_upgraded_in_place() {
    let kubernetes = Kubernetes::start().await.unwrap();
    let client = kubernetes.client().await.unwrap();
    let service = service(&client, free_port()).await;
    apply(
        &client,
        &documents(include_str!("emissary/crds.yaml")).unwrap(),
    )
    .await;
    let stored = documents(include_str!("emissary/objects.yaml")).unwrap();
    for object in &stored {
        // The API server takes objects of the stored version without asking anybody.
        create(&client, object)
            .await
            .unwrap_or_else(|error| panic!("{object}: {error}"));
    }

    apply(&client, &ours(&service)).await;
    let replica = Replica::start(&client, &service, service.port);
    replica.ready().await;

    for object in &stored {
        let (kind, name, _) = written(object);
        let new = get(&client, &kind, "v3alpha1", &name).await;
        let expected = to_v3alpha1(&kind, Version::V2, object["spec"].clone()).spec;
        let mut expected = plain(&expected);
        if let Value::Object(fields) = &mut expected {
            // v3alpha1 has no place for what is not known.
            fields.remove("of_an_older_version");
        }
        assert_eq!(plain(&new["spec"]), expected, "{kind} {name}");
        let old = get(&client, &kind, "v2", &name).await;
        assert_eq!(old["spec"], object["spec"], "{kind} {name}");
        if kind != "Host" {
            let oldest = get(&client, &kind, "v1", &name).await;
            assert_eq!(oldest["spec"], object["spec"], "{kind} {name}");
        }
    }
    let mapping = get(&client, "Mapping", "v3alpha1", "mapping").await;
    let [expected] = &documents(include_str!("emissary/mapping-v3alpha1.yaml")).unwrap()[..] else {
        panic!("one document");
    };
    assert_eq!(&mapping["spec"], expected);

    // Who writes a status, as v3alpha1, leaves the rest as it was.
    for (kind, name, status) in [
        (
            "Mapping",
            "mapping",
            json!({"state": "Running", "observedGeneration": 1}),
        ),
        (
            "Host",
            "host",
            json!({"state": "Error", "errorReason": "no such Secret"}),
        ),
        (
            "TLSContext",
            "context",
            json!({"conditions": [{"type": "Accepted", "status": "True"}]}),
        ),
    ] {
        let api = objects(&client, kind, "v3alpha1");
        let params = PatchParams::default();
        let patch = json!({"status": status});
        api.patch_status(name, &params, &Patch::Merge(patch))
            .await
            .unwrap();
        let old = get(&client, kind, "v2", name).await;
        let before = stored
            .iter()
            .find(|object| object["kind"] == kind && object["metadata"]["name"] == name);
        let mut before = before.unwrap().clone();
        if let Value::Object(fields) = &mut before["spec"] {
            fields.remove("of_an_older_version");
        }
        assert_eq!(old["spec"], before["spec"], "{kind}");
        assert_eq!(old["status"], status, "{kind}");
        assert_eq!(
            old["metadata"]["annotations"],
            before["metadata"]["annotations"]
        );
    }
    replica.stop().await;
}

/// Creates an object under another name; what it says if it does not come back as it was.
async fn differs(client: &Client, index: usize, mut object: Value) -> Option<String> {
    let name = format!("o{index}");
    let metadata = &mut object["metadata"];
    *metadata = json!({
        "name": name, "labels": metadata["labels"], "annotations": metadata["annotations"],
    });
    let (kind, _, version) = written(&object);
    if let Err(error) = create(client, &object).await {
        return Some(format!("{object}: {error}"));
    }
    let new = to_v3alpha1(&kind, version, object["spec"].clone()).spec;
    let mut expected = match kind.as_str() {
        "Listener" => new,
        kind => to_v3alpha1(kind, Version::V2, from_v3alpha1(kind, Version::V2, new)).spec,
    };
    let mut found = get(client, &kind, "v3alpha1", &name).await["spec"].take();
    if version != Version::V3alpha1 {
        // Absent is absent in v2.
        for spec in [&mut found, &mut expected] {
            spec.as_object_mut()?.remove("ambassador_id");
        }
    }
    let (found, expected) = (plain(&found), plain(&expected));
    (found != expected).then(|| format!("{object}: {found} is not {expected}"))
}

/// Every object that the cases have in effect goes through the API server in its version and comes
/// back as it was: no field is dropped by a schema or lost by a conversion.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_written_is_read_again() {
    let kubernetes = Kubernetes::start().await.unwrap();
    let client = kubernetes.client().await.unwrap();
    let service = service(&client, free_port()).await;
    apply(&client, &ours(&service)).await;
    let replica = Replica::start(&client, &service, service.port);
    replica.ready().await;
    let in_effect = cases::all().into_iter().flat_map(|case| {
        // A schema drops what it does not know.
        let unknown = cases::reported(&case.input, |entry| entry["reason"] == "UnknownField");
        let fine = move |object: &Value| {
            let name = cases::name(object);
            !case.in_error.contains(&name) && !unknown.contains(&name)
        };
        case.objects.into_iter().filter(fine)
    });
    let outcomes: Vec<Option<String>> = stream::iter(in_effect.enumerate())
        .map(|(index, object)| differs(&client, index, object))
        .buffered(16)
        .collect()
        .await;
    let seen = outcomes.len();
    let different: Vec<String> = outcomes.into_iter().flatten().collect();
    assert_eq!(different, [""; 0]);
    assert!(seen > 300, "{seen}");
    replica.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn v3alpha1_alone_is_taken_until_v2_is_stored() {
    let kubernetes = Kubernetes::start().await.unwrap();
    let client = kubernetes.client().await.unwrap();
    let alone = crds(&CrdOptions { conversion: None });
    apply(&client, &alone).await;
    let service = service(&client, free_port()).await;
    let mapping = json!({
        "apiVersion": format!("{GROUP}/v3alpha1"), "kind": "Mapping", "metadata": {"name": "m"},
        "spec": {"hostname": "*", "prefix": "/", "service": "a"},
    });
    create(&client, &mapping).await.unwrap();
    // Older versions can come later, and what was stored is read and changed.
    apply(&client, &ours(&service)).await;
    let replica = Replica::start(&client, &service, service.port);
    replica.ready().await;
    let old = get(&client, "Mapping", "v2", "m").await;
    assert_eq!(
        old["spec"],
        json!({"ambassador_id": [format!("{ID_PREFIX}default")], "prefix": "/", "service": "a"})
    );
    let patch = Patch::Merge(json!({"spec": {"service": "b"}}));
    let api = objects(&client, "Mapping", "v3alpha1");
    api.patch("m", &PatchParams::default(), &patch)
        .await
        .unwrap();
    // It is stored as v2 now: that cannot be taken away.
    let api: Api<CustomResourceDefinition> = Api::all(client.clone());
    let mappings = alone
        .iter()
        .find(|crd| crd["metadata"]["name"] == "mappings.getambassador.io");
    let refused = api
        .patch(
            "mappings.getambassador.io",
            &PatchParams::apply("kubectl").force(),
            &Patch::Apply(mappings.unwrap()),
        )
        .await
        .unwrap_err();
    assert!(refused.to_string().contains("storedVersions"), "{refused}");
    replica.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_could_not_be_served_is_refused_in_words() {
    let kubernetes = Kubernetes::start().await.unwrap();
    let client = kubernetes.client().await.unwrap();
    let service = service(&client, free_port()).await;
    apply(&client, &ours(&service)).await;
    apply(&client, &policy::crd::crds()).await;
    let wrong = |name: &str, weight: i64| {
        json!({
            "apiVersion": format!("{GROUP}/v3alpha1"), "kind": "Mapping",
            "metadata": {"name": name},
            "spec": {"hostname": "*", "prefix": "/", "service": "a", "weight": weight},
        })
    };
    // Nobody answers: nothing is held up.
    let listener = json!({
        "apiVersion": format!("{GROUP}/v3alpha1"), "kind": "Listener", "metadata": {"name": "l"},
        "spec": {"port": 8080, "protocol": "HTTP", "securityModel": "XFP"},
    });
    create(&client, &listener).await.unwrap();

    let replica = Replica::start(&client, &service, service.port);
    replica.ready().await;
    let configurations: Api<ValidatingWebhookConfiguration> = Api::all(client.clone());
    until("validation", async || {
        configurations.get_opt(CONFIGURATION).await.unwrap()
    })
    .await;
    // The API server takes a moment to follow its own configuration.
    let refused = until("refused", async || {
        match create(&client, &wrong("m", -1)).await {
            Ok(_) => {
                objects(&client, "Mapping", "v3alpha1")
                    .delete("m", &Default::default())
                    .await
                    .unwrap();
                None
            }
            Err(error) => Some(error),
        }
    })
    .await;
    let kube::Error::Api(status) = refused else {
        panic!("{refused}");
    };
    assert_eq!(status.code, 422, "{status:?}");
    let (before, said) = status.message.split_once("denied the request: ").unwrap();
    assert_eq!(before, "admission webhook \"validation.getambassador.io\" ");
    assert!(
        said.starts_with("Mapping default/m: spec.weight: "),
        "{said}"
    );
    assert!(said.ends_with(" [InvalidValue]"), "{said}");

    // What `kubectl apply` prints, as docs/crds.md has it.
    let policy = json!({
        "apiVersion": "gateway.nuncio.dev/v1alpha1", "kind": "RoutePolicy",
        "metadata": {"name": "retry"},
        "spec": {"retry_policy": {"retry_on": "sometimes"}},
    });
    for (object, expected) in [
        (wrong("quote", -1), "Mapping default/quote: spec.weight: "),
        (
            policy,
            "RoutePolicy default/retry: spec.retry_policy.retry_on: ",
        ),
    ] {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), object.to_string()).unwrap();
        let mut kubectl = kubernetes.kubectl();
        let output = kubectl.args(["apply", "-f"]).arg(file.path()).output();
        let printed = String::from_utf8(output.unwrap().stderr).unwrap();
        assert!(
            printed.starts_with("The request is invalid: ")
                && printed.contains(&format!("denied the request: {expected}")),
            "{printed}"
        );
    }

    // A schema's own words, for what has the wrong type.
    let mut typed = wrong("m", 1);
    typed["spec"]["timeout_ms"] = "soon".into();
    let error = create(&client, &typed).await.unwrap_err().to_string();
    assert!(error.contains("spec.timeout_ms"), "{error}");
    let mut listener = listener;
    listener["metadata"]["name"] = "other".into();
    listener["spec"].as_object_mut().unwrap().remove("protocol");
    let error = create(&client, &listener).await.unwrap_err().to_string();
    assert!(
        error.contains("protocol or protocolStack must say"),
        "{error}"
    );

    // v1 and v2 are looked at as they are written.
    let mut old = wrong("m", -1);
    old["apiVersion"] = format!("{GROUP}/v1").into();
    let error = create(&client, &old).await.unwrap_err().to_string();
    assert!(
        error.contains("Mapping default/m: spec.weight: "),
        "{error}"
    );
    replica.stop().await;
    // Without it, nothing is refused, and what is wrong may be labelled afterwards.
    let mut alone = wrong("stays", -1);
    alone["apiVersion"] = format!("{GROUP}/v2").into();
    create(&client, &alone).await.unwrap();
    let replica = Replica::start(&client, &service, service.port);
    replica.ready().await;
    let api = objects(&client, "Mapping", "v3alpha1");
    let patch = |patch: Value| {
        let api = api.clone();
        async move {
            api.patch("stays", &PatchParams::default(), &Patch::Merge(patch))
                .await
        }
    };
    patch(json!({"metadata": {"labels": {"a": "b"}}}))
        .await
        .unwrap();
    patch(json!({"spec": {"service": "b"}})).await.unwrap();
    let error = patch(json!({"spec": {"weight": -2}}))
        .await
        .unwrap_err()
        .to_string();
    assert!(error.contains("spec.weight"), "{error}");
    replica.stop().await;
}

fn ca_bundles(crds: Vec<CustomResourceDefinition>) -> Vec<String> {
    let ours = crds
        .into_iter()
        .filter(|crd| crd.spec.group == GROUP && crd.spec.versions.len() > 1);
    ours.map(|crd| {
        let webhook = crd
            .spec
            .conversion
            .and_then(|conversion| conversion.webhook);
        let bundle = webhook.and_then(|webhook| webhook.client_config?.ca_bundle);
        bundle.map_or_else(String::new, |bundle| String::from_utf8(bundle.0).unwrap())
    })
    .collect()
}

async fn bundles(client: &Client) -> Vec<String> {
    let api: Api<CustomResourceDefinition> = Api::all(client.clone());
    ca_bundles(api.list(&Default::default()).await.unwrap().items)
}

/// Two replicas make one authority, and take a new one into use while every conversion goes on.
#[tokio::test(flavor = "multi_thread")]
async fn replicas_agree_and_an_authority_is_renewed_without_a_failure() {
    let kubernetes = Kubernetes::start().await.unwrap();
    let client = kubernetes.client().await.unwrap();
    let service = service(&client, free_port()).await;
    apply(&client, &ours(&service)).await;
    let secrets: Api<Secret> = Api::namespaced(client.clone(), NAMESPACE);
    let secret = async || texts(secrets.get(SECRET).await.unwrap().data);

    let one = Replica::start(&client, &service, free_port());
    let two = Replica::start(&client, &service, free_port());
    let balancer = Balancer::start(service.port, vec![one.webhooks, two.webhooks]).await;
    one.ready().await;
    two.ready().await;
    assert_eq!(
        one.probe("/probes/live").await,
        Some((200, "Living!\n".to_owned()))
    );
    let first = secret().await;
    assert!(
        bundles(&client)
            .await
            .iter()
            .all(|bundle| *bundle == first["tls.crt"])
    );
    let mapping = json!({
        "apiVersion": format!("{GROUP}/v2"), "kind": "Mapping", "metadata": {"name": "m"},
        "spec": {"prefix": "/", "service": "a"},
    });
    create(&client, &mapping).await.unwrap();

    // One that ends in a day, in the place of the first, as if a year had passed.
    let day = Duration::from_secs(24 * 3600);
    let ending = Authority::generate(SystemTime::now(), day).unwrap();
    let patch = json!({"stringData": {"tls.crt": ending.certificate, "tls.key": ending.key, "old.crt": first["tls.crt"], "old.key": first["tls.key"]}});
    secrets
        .patch(SECRET, &PatchParams::default(), &Patch::Merge(patch))
        .await
        .unwrap();

    let api = objects(&client, "Mapping", "v1");
    let mut conversions = 0;
    until("another authority", async || {
        // A list is read from the store, and converted, each time.
        api.list(&Default::default()).await.unwrap();
        conversions += 1;
        let now = secret().await;
        let renewed = now["tls.crt"] != ending.certificate && now["old.crt"] == ending.certificate;
        let all = bundles(&client).await;
        (renewed
            && all
                .iter()
                .all(|bundle| *bundle == format!("{}{}", now["tls.crt"], now["old.crt"])))
        .then_some(())
    })
    .await;
    let now = secret().await;
    // Both replicas come to sign with the new one.
    for replica in [&one, &two] {
        until("signed by the new one", async || {
            api.list(&Default::default()).await.unwrap();
            conversions += 1;
            support::trusts(replica.webhooks, &now["tls.crt"])
                .await
                .then_some(())
        })
        .await;
    }
    assert!(conversions > 3, "{conversions}");

    // What cannot be used is replaced.
    let patch = json!({"stringData": {"tls.crt": "x", "tls.key": "x"}});
    secrets
        .patch(SECRET, &PatchParams::default(), &Patch::Merge(patch))
        .await
        .unwrap();
    until("a usable authority", async || {
        let now = secret().await;
        let all = bundles(&client).await;
        (now["tls.crt"] != "x" && all.iter().all(|bundle| bundle.starts_with(&now["tls.crt"])))
            .then_some(())
    })
    .await;
    get(&client, "Mapping", "v3alpha1", "m").await;
    one.stop().await;
    two.stop().await;
    drop(balancer);
}

/// Where others manage the authority and the CRDs nothing is written, and what they say counts.
#[tokio::test(flavor = "multi_thread")]
async fn what_others_manage_is_left_to_them() {
    let kubernetes = Kubernetes::start().await.unwrap();
    let client = kubernetes.client().await.unwrap();
    let service = service(&client, free_port()).await;
    apply(&client, &ours(&service)).await;
    let managed = nuncio_apiext::Managed {
        service: service.clone(),
        authority: false,
        crds: false,
        validation: false,
        crd_selector: "app.kubernetes.io/part-of=emissary-ingress".to_owned(),
        settling: Duration::from_secs(1),
    };
    let replica = Replica::start_with(&client, managed, service.port);
    until("alive", async || replica.probe("/probes/live").await).await;
    let secrets: Api<Secret> = Api::namespaced(client.clone(), NAMESPACE);
    let theirs = Authority::generate(SystemTime::now(), nuncio_apiext::CA_LIFE).unwrap();
    assert_eq!(replica.probe("/probes/ready").await.unwrap().0, 500);
    assert!(secrets.get_opt(SECRET).await.unwrap().is_none());
    let secret: Secret = serde_json::from_value(json!({
        "metadata": {"name": SECRET}, "type": "kubernetes.io/tls",
        "stringData": {"tls.crt": theirs.certificate, "tls.key": theirs.key},
    }))
    .unwrap();
    secrets
        .create(&PostParams::default(), &secret)
        .await
        .unwrap();
    until("signed by theirs", async || {
        support::trusts(service.port, &theirs.certificate)
            .await
            .then_some(())
    })
    .await;
    // Nobody told the CRDs yet.
    assert_eq!(replica.probe("/probes/ready").await.unwrap().0, 500);
    let told: Vec<Value> = ours(&service)
        .into_iter()
        .map(|mut crd| {
            if crd["spec"].get("conversion").is_some() {
                let bundle = k8s_openapi::ByteString(theirs.certificate.clone().into());
                crd["spec"]["conversion"]["webhook"]["clientConfig"]["caBundle"] =
                    serde_json::to_value(bundle).unwrap();
            }
            crd
        })
        .collect();
    apply(&client, &told).await;
    replica.ready().await;
    let configurations: Api<ValidatingWebhookConfiguration> = Api::all(client.clone());
    assert!(
        configurations
            .get_opt(CONFIGURATION)
            .await
            .unwrap()
            .is_none()
    );
    let created: DynamicObject = serde_json::from_value(json!({
        "apiVersion": format!("{GROUP}/v1"), "kind": "TLSContext", "metadata": {"name": "c"},
        "spec": {"ambassador_id": "a", "secret": "s"},
    }))
    .unwrap();
    objects(&client, "TLSContext", "v1")
        .create(&PostParams::default(), &created)
        .await
        .unwrap();
    assert_eq!(KINDS.len(), 14);
    replica.stop().await;
}
