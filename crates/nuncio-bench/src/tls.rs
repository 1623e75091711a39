//! What many Hosts with certificates cost Envoy: a filter chain for each, as nuncio has them, beside one
//! chain that asks for the certificate of a name when a client does
//! (`envoy.tls.certificate_selectors.on_demand_secret`).

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use anyhow::Context;
use bytes::Bytes;
use nuncio::supervisor::{Handle, StateDir};
use nuncio_echo::certs::self_signed;
use nuncio_echo::client::{Client, Protocol, Target};
use nuncio_echo::free_port;
use nuncio_envoy::{BootstrapConfig, XdsServer, bootstrap};
use nuncio_envoy_api::envoy::extensions::transport_sockets::tls::v3::Secret;
use nuncio_envoy_api::resource::{Resource, ResourceType, Snapshot};
use nuncio_xds::{AdsServer, Options};
use prost::Message;
use serde_json::{Value, json};

use crate::figure::{Figure, Figures, median};
use crate::gateway::{Gateway, in_time, listens, pid, start_envoy};
use crate::usage::milliseconds;
use crate::{manifests, usage};

pub(crate) const NAME: &str = "tls";

/// How many Hosts are added, one after the other.
const ADDED: usize = 5;

/// How many names are asked for that nobody serves.
const STRANGERS: usize = 5_000;

pub(crate) async fn measure(
    folder: &Path,
    size: usize,
    envoy: &Path,
) -> anyhow::Result<Vec<Figure>> {
    let states = tempfile::tempdir()?;
    let port = free_port();
    let certificate = self_signed(&["bench.example"]);
    let pair = (certificate.cert_pem.as_str(), certificate.key_pem.as_str());
    manifests::tls_hosts(folder, size, port, pair)?;
    let mut figures = Figures::new(NAME, size);

    let mut gateway = Gateway::start(folder, &states.path().join("chains"), envoy).await?;
    let measured = chains(&mut figures, folder, size, port, pair, &mut gateway);
    let measured = in_time(measured).await;
    let secrets = gateway.served().snapshot.of(ResourceType::Secret).values();
    let secret = secrets.map(|secret| secret.body.clone()).next();
    gateway.stop().await;
    measured?;

    let secret = secret.context("there is no Secret")?;
    let state = states.path().join("on-demand");
    in_time(on_demand(&mut figures, size, secret, &state, envoy)).await?;
    Ok(figures.finish())
}

async fn chains(
    figures: &mut Figures,
    folder: &Path,
    size: usize,
    port: u16,
    pair: (&str, &str),
    gateway: &mut Gateway,
) -> anyhow::Result<()> {
    let process = pid(gateway.envoy())?;
    let mut added = Added::default();
    for number in size..size + ADDED {
        let before = (Instant::now(), usage::main_thread(process)?);
        manifests::tls_host(folder, number, pair)?;
        gateway.take_up(&manifests::name(number)).await?;
        added.times.push(milliseconds(before.0.elapsed()));
        let used = usage::main_thread(process)? - before.1;
        added.main_thread.push(milliseconds(used));
    }
    added.add_to(figures, "chain for each");
    figures.add(
        "chain for each: memory of Envoy",
        "MiB",
        usage::memory_of(process)? as f64 / 1048576.0,
    );
    handshakes(figures, "chain for each", process, port, size).await
}

/// What a Host that is added costs Envoy's main thread, and how long it takes to be there.
#[derive(Default)]
struct Added {
    times: Vec<f64>,
    main_thread: Vec<f64>,
}

impl Added {
    fn add_to(self, figures: &mut Figures, layout: &str) {
        let main_thread = median(self.main_thread);
        figures.add(
            format!("{layout}: Host added (main thread)"),
            "ms",
            main_thread,
        );
        figures.add(
            format!("{layout}: until it is there"),
            "ms",
            median(self.times),
        );
    }
}

/// A handshake for each Host, one after the other.
async fn handshakes(
    figures: &mut Figures,
    layout: &str,
    envoy: u32,
    port: u16,
    size: usize,
) -> anyhow::Result<()> {
    let before = usage::workers(envoy)?;
    for number in 0..size {
        handshake(port, number).await?;
    }
    let used = usage::workers(envoy)? - before;
    figures.add(
        format!("{layout}: handshake (worker CPU)"),
        "µs",
        used.as_secs_f64() * 1e6 / size as f64,
    );
    Ok(())
}

async fn handshake(port: u16, number: usize) -> anyhow::Result<()> {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let target = Target::tls(address, manifests::tls_name(number));
    Client::connect(&target, Protocol::Http1).await?;
    Ok(())
}

async fn on_demand(
    figures: &mut Figures,
    size: usize,
    secret: Bytes,
    state: &Path,
    envoy: &Path,
) -> anyhow::Result<()> {
    let state_dir = StateDir::open(state)?;
    let xds_socket = state_dir.xds_socket();
    let ads = AdsServer::new(Options::default());
    let mut snapshot = Snapshot::default();
    for number in 0..size {
        insert(&mut snapshot, &secret, number)?;
    }
    ads.set_snapshot(Arc::new(snapshot.clone()));
    let bound = ads.bind(&xds_socket).context("cannot listen for Envoy")?;
    let xds_server = tokio::spawn(async move {
        // Its end shows in what is awaited from Envoy.
        let _ = bound.serve(std::future::pending()).await;
    });
    let port = free_port();
    let mut bootstrap = bootstrap::bootstrap(&BootstrapConfig {
        node_id: "bench".to_owned(),
        node_cluster: "bench".to_owned(),
        xds: XdsServer::Socket(xds_socket),
        admin_socket: Some(state_dir.admin_socket()),
        max_heap_bytes: None,
        max_downstream_connections: 50_000,
        stats_sink: None,
    });
    bootstrap["static_resources"]["listeners"] = json!([listener(port)]);
    let running = start_envoy(envoy, state_dir, bootstrap).await?;
    let measured = asked_for(figures, size, &secret, snapshot, &ads, port, &running).await;
    running.stop_now().await;
    xds_server.abort();
    measured
}

async fn asked_for(
    figures: &mut Figures,
    size: usize,
    secret: &Bytes,
    mut snapshot: Snapshot,
    ads: &AdsServer,
    port: u16,
    envoy: &Handle,
) -> anyhow::Result<()> {
    listens(SocketAddr::from((Ipv4Addr::LOCALHOST, port))).await;
    let process = pid(envoy)?;
    // The first of a name waits for the certificate; what is compared are those that do not.
    for number in 0..size {
        handshake(port, number).await?;
    }
    let mut added = Added::default();
    for number in size..size + ADDED {
        let before = (Instant::now(), usage::main_thread(process)?);
        insert(&mut snapshot, secret, number)?;
        ads.set_snapshot(Arc::new(snapshot.clone()));
        handshake(port, number).await?;
        added.times.push(milliseconds(before.0.elapsed()));
        let used = usage::main_thread(process)? - before.1;
        added.main_thread.push(milliseconds(used));
    }
    added.add_to(figures, "on demand");
    figures.add(
        "on demand: memory of Envoy",
        "MiB",
        usage::memory_of(process)? as f64 / 1048576.0,
    );
    handshakes(figures, "on demand", process, port, size).await?;
    let before = usage::memory_of(process)?;
    // Whoever asks for a name that nobody serves leaves something behind in Envoy.
    for number in (size + ADDED..).take(STRANGERS) {
        let served = handshake(port, number).await;
        anyhow::ensure!(served.is_err(), "{number} is served without a certificate");
    }
    let left = usage::memory_of(process)?.saturating_sub(before);
    figures.add(
        "on demand: memory for a name nobody serves",
        "KiB",
        left as f64 / 1024.0 / STRANGERS as f64,
    );
    Ok(())
}

/// The certificate by the name that a client asks for.
fn insert(snapshot: &mut Snapshot, secret: &Bytes, number: usize) -> anyhow::Result<()> {
    let mut secret = Secret::decode(secret.clone())?;
    secret.name = manifests::tls_name(number);
    let resource = Resource::new(secret.encode_to_vec().into());
    let name = secret.name.into();
    snapshot.insert(ResourceType::Secret, name, Arc::new(resource));
    Ok(())
}

fn listener(port: u16) -> Value {
    const TLS: &str = "type.googleapis.com/envoy.extensions.transport_sockets.tls";
    const FILTERS: &str = "type.googleapis.com/envoy.extensions.filters";
    let selector = json!({
        "@type": format!("{TLS}.cert_selectors.on_demand_secret.v3.Config"),
        "config_source": { "ads": {}, "resource_api_version": "V3" },
        "certificate_mapper": {
            "name": "envoy.tls.certificate_mappers.sni",
            "typed_config": {
                "@type": format!("{TLS}.cert_mappers.sni.v3.SNI"),
                "default_value": "none"
            }
        }
    });
    let connection_manager = json!({
        "@type": format!("{FILTERS}.network.http_connection_manager.v3.HttpConnectionManager"),
        "stat_prefix": "ingress",
        "http_filters": [{
            "name": "envoy.filters.http.router",
            "typed_config": { "@type": format!("{FILTERS}.http.router.v3.Router") }
        }],
        "route_config": {}
    });
    json!({
        "name": "https",
        "address": { "socket_address": { "address": "127.0.0.1", "port_value": port } },
        "listener_filters": [{
            "name": "envoy.filters.listener.tls_inspector",
            "typed_config": { "@type": format!("{FILTERS}.listener.tls_inspector.v3.TlsInspector") }
        }],
        "filter_chains": [{
            "filters": [{
                "name": "envoy.filters.network.http_connection_manager",
                "typed_config": connection_manager
            }],
            "transport_socket": {
                "name": "envoy.transport_sockets.tls",
                "typed_config": {
                    "@type": format!("{TLS}.v3.DownstreamTlsContext"),
                    // The selector is asked in each handshake: none may be resumed.
                    "disable_stateless_session_resumption": true,
                    "disable_stateful_session_resumption": true,
                    "common_tls_context": {
                        "alpn_protocols": ["h2", "http/1.1"],
                        "custom_tls_certificate_selector": {
                            "name": "envoy.tls.certificate_selectors.on_demand_secret",
                            "typed_config": selector
                        }
                    }
                }
            }
        }]
    })
}
