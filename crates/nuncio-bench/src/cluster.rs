//! From the objects of a real API server to the first request that is served.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Context;
use nuncio_api::getambassador::crd::{CrdOptions, crds};
use nuncio_echo::client::{Client, Protocol, Target};
use nuncio_echo::{Echo, free_port};
use nuncio_sources::cluster::{Connection, Limits};
use nuncio_sources::{Cluster, Watcher};
use nuncio_testkube::NOBODY;
use serde_json::{Value, json};

use crate::figure::{Figure, Figures};
use crate::gateway::{Gateway, in_time, listens};
use crate::rest::Audited;
use crate::usage::{memory, milliseconds};

pub(crate) const NAME: &str = "cluster";

/// What is asked for first.
const HOST: &str = "bench.example";
const PATH: &str = "/probed/";

/// Objects beside those of each Mapping.
const BASE: usize = 3;

/// `rest` is how long requests are counted while nothing changes.
pub(crate) async fn measure(
    size: usize,
    envoy: &Path,
    rest: Duration,
) -> anyhow::Result<Vec<Figure>> {
    let audit = tempfile::tempdir()?;
    let audited = Audited::start(audit.path()).await?;
    let kubernetes = &audited.kubernetes;
    let upstream = Echo::new("bench")
        .start((Ipv4Addr::LOCALHOST, 0).into())
        .await?;
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()));
    let definitions: Vec<String> = crds(&CrdOptions { conversion: None })
        .iter()
        .map(Value::to_string)
        .collect();
    kubernetes.apply(&definitions.join("\n---\n")).await?;
    let base = base(address.port(), upstream.address());
    // So that all kinds are there when there are many objects at a time.
    kubernetes.apply(&base).await?;
    kubernetes.create((0..size).flat_map(of_mapping)).await?;

    let (files, nothing) = (tempfile::tempdir()?, tempfile::tempdir()?);
    let mut figures = Figures::new(NAME, size);
    let before = memory()?;
    let started = Instant::now();
    let connection = Connection::by_kubeconfig(&kubernetes.kubeconfig(), Some(NOBODY)).await?;
    let client = connection.client();
    let limits = Limits::default();
    let mut cluster = Cluster::start(connection, limits, files.path().join("kept"));
    let first = in_time(async {
        let first = cluster.next().await;
        let objects = first.upserted.len();
        anyhow::ensure!(
            objects >= 3 * size + BASE,
            "only {objects} objects: {first:?}"
        );
        Ok(first)
    })
    .await?;
    figures.add("to all objects", "ms", milliseconds(started.elapsed()));
    let watcher = Watcher::new(vec![nothing.path().to_owned()])?;
    let gateway = Gateway::start_on(first, watcher, files.path(), envoy).await?;
    let answered = in_time(async {
        listens(address).await;
        let mut client = Client::connect(&Target::cleartext(address), Protocol::Http1).await?;
        Ok(client.get(HOST, PATH).await?.status)
    })
    .await;
    figures.add(
        "to the first request",
        "ms",
        milliseconds(started.elapsed()),
    );
    figures.add(
        "memory",
        "MiB",
        (memory()? - before) as f64 / f64::from(1 << 20),
    );
    let asked = audited
        .asked_a_minute(&cluster, client, gateway.served(), rest)
        .await;
    gateway.stop().await;
    let status = answered.context("no request was served")?;
    anyhow::ensure!(status == 200, "the first answer is {status}");
    figures.add("API requests a minute at rest", "", asked?);
    Ok(figures.finish())
}

fn base(port: u16, upstream: SocketAddr) -> String {
    let objects = [
        json!({
            "apiVersion": "getambassador.io/v3alpha1",
            "kind": "Listener",
            "metadata": {"name": "bench"},
            "spec": {
                "port": port, "protocol": "HTTP", "securityModel": "XFP",
                "hostBinding": {"namespace": {"from": "ALL"}},
            },
        }),
        json!({
            "apiVersion": "getambassador.io/v3alpha1",
            "kind": "Host",
            "metadata": {"name": "bench"},
            "spec": {
                "hostname": "*", "requestPolicy": {"insecure": {"action": "Route"}},
            },
        }),
        mapping("probed", &upstream.to_string()),
    ];
    objects.map(|object| object.to_string()).join("\n---\n")
}

fn mapping(name: &str, service: &str) -> Value {
    json!({
        "apiVersion": "getambassador.io/v3alpha1",
        "kind": "Mapping",
        "metadata": {"name": name},
        "spec": {"hostname": "*", "prefix": format!("/{name}/"), "service": service},
    })
}

/// A Mapping, its Service and where that leads.
fn of_mapping(number: usize) -> [Value; 3] {
    let name = format!("m-{number}");
    let service = json!({
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name},
        // The range of the API server is too small for an address each.
        "spec": {"clusterIP": "None", "ports": [{"name": "http", "port": 80}]},
    });
    let slice = json!({
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {
            "name": format!("{name}-1"), "labels": {"kubernetes.io/service-name": name},
        },
        "addressType": "IPv4",
        "ports": [{"name": "http", "port": 80}],
        "endpoints": [{"addresses": ["10.0.0.1"]}],
    });
    [mapping(&name, &name), service, slice]
}
