//! Envoys elsewhere, and one that has very much: simulated, because of their number and size.

#![allow(clippy::unwrap_used)]

use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use nuncio_echo::certs::{Authority, Pair};
use nuncio_envoy_api::envoy::config::core::v3::Node;
use nuncio_envoy_api::envoy::service::discovery::v3::aggregated_discovery_service_client::AggregatedDiscoveryServiceClient;
use nuncio_envoy_api::envoy::service::discovery::v3::{
    DeltaDiscoveryRequest, DeltaDiscoveryResponse,
};
use nuncio_envoy_api::resource::{Resource, ResourceType, Snapshot};
use nuncio_xds::{AdsServer, BoundServer, Options, TlsFiles};
use tempfile::TempDir;
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity};

const SOON: Duration = Duration::from_secs(20);

/// A client that subscribes to clusters and listeners and says yes to all.
struct Simulated {
    requests: mpsc::Sender<DeltaDiscoveryRequest>,
    responses: Streaming<DeltaDiscoveryResponse>,
    has: HashMap<String, String>,
}

impl Simulated {
    async fn connect(channel: Channel, node: &str, has: &BTreeMap<String, String>) -> Self {
        let (requests, stream) = mpsc::channel(8);
        let first = DeltaDiscoveryRequest {
            node: Some(Node {
                id: node.to_owned(),
                ..Node::default()
            }),
            type_url: ResourceType::Cluster.type_url().to_owned(),
            initial_resource_versions: has.clone(),
            ..DeltaDiscoveryRequest::default()
        };
        requests.send(first).await.unwrap();
        let listeners = DeltaDiscoveryRequest {
            type_url: ResourceType::Listener.type_url().to_owned(),
            ..DeltaDiscoveryRequest::default()
        };
        requests.send(listeners).await.unwrap();
        let mut client = AggregatedDiscoveryServiceClient::new(channel);
        let responses = client
            .delta_aggregated_resources(ReceiverStream::new(stream))
            .await
            .unwrap()
            .into_inner();
        Self {
            requests,
            responses,
            has: HashMap::new(),
        }
    }

    /// Takes responses up until one has something: how many resources, and how many removals.
    /// The answer to a wildcard may be empty.
    async fn next(&mut self) -> (usize, usize) {
        loop {
            let counts = self.take_up().await;
            if counts != (0, 0) {
                return counts;
            }
        }
    }

    async fn take_up(&mut self) -> (usize, usize) {
        let response = timeout(SOON, self.responses.message()).await;
        let response = response.expect("a response").unwrap().unwrap();
        let counts = (response.resources.len(), response.removed_resources.len());
        for resource in response.resources {
            self.has.insert(resource.name, resource.version);
        }
        let acknowledged = DeltaDiscoveryRequest {
            type_url: response.type_url,
            response_nonce: response.nonce,
            ..DeltaDiscoveryRequest::default()
        };
        self.requests.send(acknowledged).await.unwrap();
        counts
    }
}

fn snapshot(count: usize, changed: &[usize]) -> Snapshot {
    let mut snapshot = Snapshot::default();
    for index in 0..count {
        let body = format!("{index} {}", changed.contains(&index));
        let name = format!("cluster-with-a-name-of-usual-length-{index}");
        let resource = Arc::new(Resource::new(Bytes::from(body)));
        snapshot.insert(ResourceType::Cluster, name.into(), resource);
    }
    snapshot
}

fn versions(snapshot: &Snapshot) -> BTreeMap<String, String> {
    let clusters = snapshot.of(ResourceType::Cluster).iter();
    clusters
        .map(|(name, resource)| (name.to_string(), resource.version.to_string()))
        .collect()
}

fn serve(bound: BoundServer) {
    tokio::spawn(bound.serve(std::future::pending()));
}

/// What an Envoy says when it finds nuncio again is a message of many megabytes.
#[tokio::test]
async fn an_envoy_with_100_000_clusters_gets_what_differs() {
    const COUNT: usize = 100_000;
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("xds.sock");
    let ads = AdsServer::new(Options::default());
    ads.set_snapshot(Arc::new(snapshot(COUNT, &[5, 77_777])));
    serve(ads.bind(&socket).unwrap());

    let channel = Endpoint::from_shared(format!("unix://{}", socket.display()))
        .unwrap()
        .connect()
        .await
        .unwrap();
    let has = versions(&snapshot(COUNT, &[]));
    let size: usize = has
        .iter()
        .map(|(name, version)| name.len() + version.len())
        .sum();
    assert!(size > 4 * 1024 * 1024, "{size} bytes would pass by default");
    let mut client = Simulated::connect(channel, "big", &has).await;
    assert_eq!(client.next().await.0, 1);
    assert_eq!(client.next().await.0, 1);
    let mut status = ads.status();
    let all = status.wait_for(|status| status.acknowledged == 1);
    timeout(SOON, all)
        .await
        .expect("nothing more is sent")
        .unwrap();
    assert_eq!(ads.counters().resources[ResourceType::Cluster as usize], 2);
    assert_eq!(client.has.len(), 2);
}

/// Certificates of both sides, and a server that uses them.
struct Fixture {
    folder: TempDir,
    authority: Authority,
    ads: AdsServer,
    port: u16,
}

impl Fixture {
    async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let authority = Authority::new("authority");
        write(folder.path(), "", &authority.issue(1, &["nuncio.example"]));
        std::fs::write(folder.path().join("ca"), &authority.pair().cert_pem).unwrap();
        let ads = AdsServer::new(Options::default());
        let bound = ads
            .bind_for_others("127.0.0.1:0".parse().unwrap(), files(folder.path()))
            .await
            .unwrap();
        let port = bound.address().unwrap().port();
        serve(bound);
        Self {
            folder,
            authority,
            ads,
            port,
        }
    }

    async fn connect(&self, trusts: &Pair, is: Option<&Pair>) -> Result<Channel, String> {
        let mut tls = ClientTlsConfig::new()
            .ca_certificate(Certificate::from_pem(&trusts.cert_pem))
            .domain_name("nuncio.example");
        if let Some(is) = is {
            tls = tls.identity(Identity::from_pem(&is.cert_pem, &is.key_pem));
        }
        Endpoint::from_shared(format!("https://127.0.0.1:{}", self.port))
            .unwrap()
            .tls_config(tls)
            .unwrap()
            .connect()
            .await
            .map_err(|error| format!("{error:?}"))
    }

    /// Whether a client with this certificate gets an answer.
    async fn serves(&self, trusts: &Pair, is: Option<&Pair>) -> bool {
        let Ok(channel) = self.connect(trusts, is).await else {
            return false;
        };
        // With TLS 1.3 a client learns only now that it is refused.
        let (_requests, stream) = mpsc::channel::<DeltaDiscoveryRequest>(1);
        let mut client = AggregatedDiscoveryServiceClient::new(channel);
        let answer = client.delta_aggregated_resources(ReceiverStream::new(stream));
        timeout(SOON, answer).await.expect("an answer").is_ok()
    }
}

fn files(folder: &Path) -> TlsFiles {
    TlsFiles {
        certificate: folder.join("cert"),
        key: folder.join("key"),
        client_ca: folder.join("ca"),
    }
}

/// Writes a certificate and its key.
fn write(folder: &Path, prefix: &str, pair: &Pair) {
    std::fs::write(folder.join(format!("{prefix}cert")), &pair.cert_pem).unwrap();
    std::fs::write(folder.join(format!("{prefix}key")), &pair.key_pem).unwrap();
}

#[tokio::test]
async fn envoys_elsewhere_are_served_each_what_it_lacks() {
    let fixture = Fixture::start().await;
    fixture.ads.set_snapshot(Arc::new(snapshot(3, &[])));
    let own = fixture.authority.issue(2, &["envoy"]);
    let authority = fixture.authority.pair();
    let connect = async |name: &str, has: &Snapshot| {
        let channel = fixture.connect(authority, Some(&own)).await.unwrap();
        Simulated::connect(channel, name, &versions(has)).await
    };
    let mut fresh = connect("a", &Snapshot::default()).await;
    assert_eq!(fresh.next().await, (3, 0));
    // Of the same name, as every pod of a careless Deployment: still one of its own.
    let mut same = connect("a", &snapshot(3, &[2])).await;
    assert_eq!(same.next().await, (1, 0));

    fixture.ads.set_snapshot(Arc::new(snapshot(3, &[0])));
    for client in [&mut fresh, &mut same] {
        assert_eq!(client.next().await, (1, 0));
    }
    let mut status = fixture.ads.status();
    let both =
        status.wait_for(|status| status.others.streams == 2 && status.others.acknowledged == 2);
    timeout(SOON, both)
        .await
        .expect("both have answered")
        .unwrap();
}

#[tokio::test]
async fn who_cannot_say_who_it_is_gets_nothing() {
    let fixture = Fixture::start().await;
    let authority = fixture.authority.pair();
    let own = fixture.authority.issue(2, &["envoy"]);
    let stranger = Authority::new("stranger");
    let strange = stranger.issue(2, &["envoy"]);
    assert!(fixture.serves(authority, Some(&own)).await);
    assert!(!fixture.serves(authority, Some(&strange)).await);
    assert!(!fixture.serves(authority, None).await);
    assert!(!fixture.serves(stranger.pair(), Some(&own)).await);
    assert!(fixture.serves(authority, Some(&own)).await);
}

#[tokio::test]
async fn certificates_are_read_again_when_they_change() {
    let fixture = Fixture::start().await;
    let authority = fixture.authority.pair();
    let own = fixture.authority.issue(2, &["envoy"]);
    let folder = fixture.folder.path();
    // Half of a change: the certificates before go on.
    let other = Authority::new("other");
    let renewed = other.issue(3, &["nuncio.example"]);
    std::fs::write(folder.join("key"), &renewed.key_pem).unwrap();
    assert!(fixture.serves(authority, Some(&own)).await);
    std::fs::write(folder.join("cert"), &renewed.cert_pem).unwrap();
    assert!(!fixture.serves(authority, Some(&own)).await);
    assert!(fixture.serves(other.pair(), Some(&own)).await);
    // Another authority of clients.
    std::fs::write(folder.join("ca"), &other.pair().cert_pem).unwrap();
    assert!(!fixture.serves(other.pair(), Some(&own)).await);
    let theirs = other.issue(4, &["envoy"]);
    assert!(fixture.serves(other.pair(), Some(&theirs)).await);
}

#[tokio::test]
async fn files_that_cannot_be_used_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let authority = Authority::new("authority");
    let pair = authority.issue(1, &["nuncio.example"]);
    let refused = async || {
        let ads = AdsServer::new(Options::default());
        let bound = ads.bind_for_others("127.0.0.1:0".parse().unwrap(), files(folder.path()));
        bound.await.err().unwrap().to_string()
    };
    let ca = folder.path().join("ca");
    assert!(
        refused()
            .await
            .starts_with(&format!("cannot read {}", ca.display()))
    );
    std::fs::write(&ca, "").unwrap();
    assert_eq!(
        refused().await,
        format!("there is no certificate in {}", ca.display())
    );
    std::fs::write(&ca, &authority.pair().cert_pem).unwrap();
    write(folder.path(), "", &pair);
    let other = authority.issue(2, &["nuncio.example"]);
    std::fs::write(folder.path().join("key"), &other.key_pem).unwrap();
    assert!(refused().await.contains("cannot be used"));
}
