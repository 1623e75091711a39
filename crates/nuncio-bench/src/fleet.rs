//! Many Envoys elsewhere, simulated, each over mutual TLS: what they take, and how soon a change is
//! with all of them. Both ends of every connection are in this process.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use anyhow::Context;
use nuncio::engine::Engine;
use nuncio_echo::certs::{Authority, Pair};
use nuncio_envoy_api::envoy::config::core::v3::Node;
use nuncio_envoy_api::envoy::service::discovery::v3::DeltaDiscoveryRequest;
use nuncio_envoy_api::envoy::service::discovery::v3::aggregated_discovery_service_client::AggregatedDiscoveryServiceClient;
use nuncio_envoy_api::resource::{ResourceType, Snapshot};
use nuncio_sources::Folder;
use nuncio_translate::{Scope, Settings, Store};
use nuncio_xds::{AdsServer, Options, TlsFiles};
use rustix::process::{Resource, getrlimit, setrlimit};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::{Certificate, ClientTlsConfig, Endpoint, Identity};

use crate::change::rounds;
use crate::figure::{Figure, Figures, median};
use crate::gateway::in_time;
use crate::manifests::{self, Change};
use crate::usage::{memory, milliseconds};

pub(crate) const NAME: &str = "fleet";

/// How many Mappings each Envoy gets.
pub(crate) const MAPPINGS: usize = 1000;

/// The name of the server.
const SERVER: &str = "nuncio.example";

pub(crate) async fn measure(folder: &Path, size: usize) -> anyhow::Result<Vec<Figure>> {
    allow_descriptors()?;
    let files = tempfile::tempdir()?;
    let authority = Authority::new("bench");
    let ads = AdsServer::new(Options::default());
    let address = serve(&ads, files.path(), &authority).await?;

    let settings = Settings::new(&Scope::default());
    let mut engine = Engine::new(Store::new(Scope::default()), settings);
    let mut manifests = Folder::new(vec![folder.to_owned()]);
    let first = manifests.scan().context("a first scan answers")?;
    let served = engine.apply(first);
    let first = ads.set_snapshot(Arc::clone(&served.snapshot));

    let mut figures = Figures::new(NAME, size);
    let before = memory()?;
    let started = Instant::now();
    let client = Client {
        address,
        authority: authority.pair().clone(),
        identity: authority.issue(2, &["envoy"]),
    };
    for number in 0..size {
        tokio::spawn(client.connect(number, &served.snapshot)?);
    }
    in_time(acknowledged(&ads, size, first)).await?;
    let connected = milliseconds(started.elapsed());
    figures.add("all connected and served", "ms", connected);
    let each = (memory()?.saturating_sub(before)) as f64 / size as f64 / 1024.0;
    figures.add("memory for each, both ends", "KiB", each);
    for change in Change::ALL {
        let mut times = Vec::new();
        for round in 1..=rounds(MAPPINGS) {
            manifests::change(folder, change, round)?;
            let changes = manifests.scan().context("a change is found")?;
            let served = engine.apply(changes);
            let set = Instant::now();
            let number = ads.set_snapshot(Arc::clone(&served.snapshot));
            in_time(acknowledged(&ads, size, number)).await?;
            times.push(milliseconds(set.elapsed()));
        }
        let name = format!("{}: snapshot to acknowledged by all", change.name());
        figures.add(name, "ms", median(times));
    }
    Ok(figures.finish())
}

async fn acknowledged(ads: &AdsServer, size: usize, number: u64) -> anyhow::Result<()> {
    let mut status = ads.status();
    status
        .wait_for(|status| status.others.streams == size && status.others.acknowledged >= number)
        .await?;
    Ok(())
}

async fn serve(
    ads: &AdsServer,
    folder: &Path,
    authority: &Authority,
) -> anyhow::Result<SocketAddr> {
    let files = TlsFiles {
        certificate: folder.join("cert"),
        key: folder.join("key"),
        client_ca: folder.join("ca"),
    };
    let pair = authority.issue(1, &[SERVER]);
    fs::write(&files.certificate, pair.cert_pem)?;
    fs::write(&files.key, pair.key_pem)?;
    fs::write(&files.client_ca, &authority.pair().cert_pem)?;
    let any_port = (Ipv4Addr::LOCALHOST, 0).into();
    let bound = ads.bind_for_others(any_port, files).await?;
    let address = bound.address().context("it has an address")?;
    tokio::spawn(bound.serve(std::future::pending()));
    Ok(address)
}

/// Every Envoy is two descriptors of this process.
fn allow_descriptors() -> anyhow::Result<()> {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    setrlimit(Resource::Nofile, limit).context("cannot open that many connections")
}

struct Client {
    address: SocketAddr,
    authority: Pair,
    identity: Pair,
}

impl Client {
    /// An Envoy that asks for everything and says yes to it.
    fn connect(
        &self,
        number: usize,
        snapshot: &Snapshot,
    ) -> anyhow::Result<impl Future<Output = anyhow::Result<()>> + use<>> {
        let tls = ClientTlsConfig::new()
            .ca_certificate(Certificate::from_pem(&self.authority.cert_pem))
            .identity(Identity::from_pem(
                &self.identity.cert_pem,
                &self.identity.key_pem,
            ))
            .domain_name(SERVER);
        let endpoint =
            Endpoint::from_shared(format!("https://{}", self.address))?.tls_config(tls)?;
        let subscriptions =
            ResourceType::ALL.map(|resource_type| subscription(resource_type, snapshot));
        Ok(async move {
            let (requests, stream) = mpsc::channel(2 * ResourceType::ALL.len());
            let mut node = Some(Node {
                id: format!("envoy-{number}"),
                ..Node::default()
            });
            for mut subscription in subscriptions {
                subscription.node = node.take();
                requests.send(subscription).await?;
            }
            let channel = endpoint.connect().await?;
            let mut client = AggregatedDiscoveryServiceClient::new(channel);
            let stream = ReceiverStream::new(stream);
            let responses = client.delta_aggregated_resources(stream).await?;
            let mut responses = responses.into_inner();
            while let Some(response) = responses.message().await? {
                requests
                    .send(DeltaDiscoveryRequest {
                        type_url: response.type_url,
                        response_nonce: response.nonce,
                        ..DeltaDiscoveryRequest::default()
                    })
                    .await?;
            }
            Ok(())
        })
    }
}

/// Clusters and listeners are asked for as such, all others by their names.
fn subscription(resource_type: ResourceType, snapshot: &Snapshot) -> DeltaDiscoveryRequest {
    let names = match resource_type {
        ResourceType::Cluster | ResourceType::Listener => Vec::new(),
        _ => {
            let names = snapshot.of(resource_type).keys();
            names.map(ToString::to_string).collect()
        }
    };
    DeltaDiscoveryRequest {
        type_url: resource_type.type_url().to_owned(),
        resource_names_subscribe: names,
        ..DeltaDiscoveryRequest::default()
    }
}
