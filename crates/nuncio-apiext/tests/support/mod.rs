//! A real API server, and `apiext` beside it.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use k8s_openapi::api::core::v1::{Namespace, Service};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::Client;
use kube::api::{Api, ApiResource, DynamicObject, Patch, PatchParams, PostParams};
use nuncio_api::getambassador::GROUP;
use nuncio_api::getambassador::crd::{CrdOptions, KINDS, WebhookService, crds};
use nuncio_apiext::{Addresses, Managed};
use nuncio_echo::client::{Client as HttpClient, Protocol, Target};
use nuncio_echo::free_port;
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

pub(crate) const NAMESPACE: &str = "emissary-system";
pub(crate) const SERVICE: &str = "emissary-apiext";

/// How long anything may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(90);

/// Waits until something is so.
pub(crate) async fn until<T>(what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let end = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = look().await {
            return found;
        }
        assert!(Instant::now() < end, "{what}: not in {PATIENCE:?}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// A Service that leads to this machine, where the API server looks for webhooks.
pub(crate) async fn service(client: &Client, port: u16) -> WebhookService {
    let namespaces: Api<Namespace> = Api::all(client.clone());
    let namespace: Namespace =
        serde_json::from_value(json!({"metadata": {"name": NAMESPACE}})).unwrap();
    namespaces
        .create(&PostParams::default(), &namespace)
        .await
        .unwrap();
    let services: Api<Service> = Api::namespaced(client.clone(), NAMESPACE);
    let service: Service = serde_json::from_value(json!({
        "metadata": {"name": SERVICE},
        "spec": {"type": "ExternalName", "externalName": "localhost"},
    }))
    .unwrap();
    services
        .create(&PostParams::default(), &service)
        .await
        .unwrap();
    WebhookService {
        namespace: NAMESPACE.to_owned(),
        name: SERVICE.to_owned(),
        port,
    }
}

/// Our CRDs, converted by a Service.
pub(crate) fn ours(service: &WebhookService) -> Vec<Value> {
    crds(&CrdOptions {
        conversion: Some(service.clone()),
    })
}

/// Applies CRDs and waits until the API server serves them.
pub(crate) async fn apply(client: &Client, crds: &[Value]) {
    let api: Api<CustomResourceDefinition> = Api::all(client.clone());
    let params = PatchParams::apply("kubectl").force();
    for crd in crds {
        let name = crd["metadata"]["name"].as_str().unwrap();
        let applied = api.patch(name, &params, &Patch::Apply(crd)).await;
        applied.unwrap_or_else(|error| panic!("{name}: {error}"));
    }
    for crd in crds {
        let name = crd["metadata"]["name"].as_str().unwrap();
        until(name, async || {
            let found = api.get(name).await.unwrap();
            let conditions = found.status?.conditions.unwrap_or_default();
            let is = |type_: &str| {
                conditions
                    .iter()
                    .any(|found| found.type_ == type_ && found.status == "True")
            };
            assert!(!is("NonStructuralSchema"), "{conditions:?}");
            (is("Established") && is("NamesAccepted")).then_some(())
        })
        .await;
    }
}

/// The objects of a kind in a version.
pub(crate) fn objects(client: &Client, kind: &str, version: &str) -> Api<DynamicObject> {
    let plural = KINDS
        .iter()
        .find(|found| found.kind == kind)
        .unwrap()
        .plural;
    let resource = ApiResource {
        group: GROUP.to_owned(),
        version: version.to_owned(),
        api_version: format!("{GROUP}/{version}"),
        kind: kind.to_owned(),
        plural: plural.to_owned(),
    };
    Api::namespaced_with(client.clone(), "default", &resource)
}

/// Creates an object in the version that it is written in.
pub(crate) async fn create(client: &Client, object: &Value) -> Result<Value, kube::Error> {
    let kind = object["kind"].as_str().unwrap();
    let (_, version) = object["apiVersion"]
        .as_str()
        .unwrap()
        .split_once('/')
        .unwrap();
    let object: DynamicObject = serde_json::from_value(object.clone()).unwrap();
    let created = objects(client, kind, version)
        .create(&PostParams::default(), &object)
        .await?;
    Ok(serde_json::to_value(created).unwrap())
}

/// An object as it is in a version, asked for until it can be.
pub(crate) async fn get(client: &Client, kind: &str, version: &str, name: &str) -> Value {
    let api = objects(client, kind, version);
    let mut error = String::new();
    let end = Instant::now() + PATIENCE;
    while Instant::now() < end {
        match api.get(name).await {
            Ok(found) => return serde_json::to_value(found).unwrap(),
            Err(found) => error = found.to_string(),
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("{kind} {name} in {version}: {error}");
}

/// A replica that runs.
pub(crate) struct Replica {
    pub(crate) webhooks: u16,
    probes: u16,
    stop: oneshot::Sender<()>,
    running: JoinHandle<anyhow::Result<()>>,
}

impl Replica {
    /// One that the API server asks directly, or through a [`Balancer`].
    pub(crate) fn start(client: &Client, service: &WebhookService, webhooks: u16) -> Self {
        let managed = Managed {
            service: service.clone(),
            authority: true,
            crds: true,
            validation: true,
            crd_selector: "app.kubernetes.io/part-of=emissary-ingress".to_owned(),
            settling: Duration::from_secs(1),
        };
        Self::start_with(client, managed, webhooks)
    }

    pub(crate) fn start_with(client: &Client, managed: Managed, webhooks: u16) -> Self {
        let probes = free_port();
        let (stop, stopped) = oneshot::channel();
        let local = |port| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let addresses = Addresses {
            webhooks: local(webhooks),
            probes: local(probes),
        };
        let stopped = async {
            let _ = stopped.await;
        };
        let run = nuncio_apiext::run(client.clone(), managed, addresses, stopped, async {});
        Self {
            webhooks,
            probes,
            stop,
            running: tokio::spawn(run),
        }
    }

    /// What a probe answers: its status and text.
    pub(crate) async fn probe(&self, path: &str) -> Option<(u16, String)> {
        let target = Target::cleartext((Ipv4Addr::LOCALHOST, self.probes).into());
        let mut client = HttpClient::connect(&target, Protocol::Http1).await.ok()?;
        let answer = client.get("probes", path).await.ok()?;
        let text = String::from_utf8(answer.body.to_vec()).unwrap();
        Some((answer.status.as_u16(), text))
    }

    pub(crate) async fn ready(&self) {
        until("ready", async || {
            let (status, text) = self.probe("/probes/ready").await?;
            (status == 200).then(|| assert_eq!(text, "Ready!\n"))
        })
        .await;
    }

    pub(crate) async fn stop(self) {
        self.stop.send(()).unwrap();
        self.running.await.unwrap().unwrap();
    }
}

/// Leads connections to replicas in turn, as a Service does.
pub(crate) struct Balancer(JoinHandle<()>);

impl Balancer {
    pub(crate) async fn start(port: u16, replicas: Vec<u16>) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port))
            .await
            .unwrap();
        let next = Arc::new(AtomicUsize::new(0));
        Self(tokio::spawn(async move {
            loop {
                let (mut client, _) = listener.accept().await.unwrap();
                let replica = replicas[next.fetch_add(1, Ordering::Relaxed) % replicas.len()];
                tokio::spawn(async move {
                    if let Ok(mut server) = TcpStream::connect((Ipv4Addr::LOCALHOST, replica)).await
                    {
                        let _ = tokio::io::copy_bidirectional(&mut client, &mut server).await;
                    }
                });
            }
        }))
    }
}

impl Drop for Balancer {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// What of a Secret is text.
pub(crate) fn texts(
    data: Option<BTreeMap<String, k8s_openapi::ByteString>>,
) -> BTreeMap<String, String> {
    let data = data.unwrap_or_default().into_iter();
    data.map(|(name, bytes)| (name, String::from_utf8(bytes.0).unwrap()))
        .collect()
}

/// Whether a server shows a certificate that an authority signed.
pub(crate) async fn trusts(port: u16, authority: &str) -> bool {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(authority.as_bytes()) {
        roots.add(certificate.unwrap()).unwrap();
    }
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let Ok(stream) = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await else {
        return false;
    };
    let name = ServerName::try_from(format!("{SERVICE}.{NAMESPACE}.svc")).unwrap();
    let connector = TlsConnector::from(Arc::new(config));
    connector.connect(name, stream).await.is_ok()
}
