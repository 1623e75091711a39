//! Envoy's processor time for a request to the first and the last of many routes, beside the same
//! routes written by hand.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;

use anyhow::Context;
use nuncio::supervisor::{Handle, StateDir};
use nuncio_echo::client::{Client, Protocol, Target};
use nuncio_echo::{Echo, free_port};
use serde_json::Value;

use crate::figure::{Figure, Figures, median};
use crate::gateway::{Gateway, in_time, listens, pid, start_envoy};
use crate::manifests::Filters;
use crate::{manifests, plain, usage};

pub(crate) const NAME: &str = "routing";

/// How often each kind of request has its turn: what else the machine does hits all of them.
const TURNS: usize = 20;

pub(crate) async fn measure(
    folder: &Path,
    size: usize,
    envoy: &Path,
    requests: usize,
) -> anyhow::Result<Vec<Figure>> {
    let costs = costs(folder, size, Filters::default(), envoy, requests).await?;
    Ok(costs.add_to(Figures::new(NAME, size)))
}

/// With filters that ask somebody about every request.
pub(crate) async fn costs(
    folder: &Path,
    size: usize,
    filters: Filters,
    envoy: &Path,
    requests: usize,
) -> anyhow::Result<Costs> {
    let states = tempfile::tempdir()?;
    let any_port = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let upstream = Echo::new("upstream").start(any_port).await?;
    let port = free_port();
    manifests::routes(folder, size, port, upstream.address())?;
    manifests::filters(folder, filters)?;
    let gateway = Gateway::start(folder, &states.path().join("nuncio"), envoy).await?;
    let state = states.path().join("plain");
    let ports = [port, free_port()];
    let plain = |prefixes: &[String], admin: &Path| {
        plain::bootstrap(admin, ports[1], upstream.address(), prefixes, filters)
    };
    let costs = beside_plain(&gateway, ports, plain, &state, envoy, requests).await;
    gateway.stop().await;
    costs
}

/// Processor time for a request to the first and to the last route, in microseconds.
pub(crate) struct Costs {
    pub(crate) nuncio: [f64; 2],
    pub(crate) plain: [f64; 2],
}

async fn beside_plain(
    gateway: &Gateway,
    [port, plain_port]: [u16; 2],
    plain: impl FnOnce(&[String], &Path) -> Value,
    state: &Path,
    envoy: &Path,
    requests: usize,
) -> anyhow::Result<Costs> {
    // In the order in which nuncio has Envoy try them.
    let prefixes: Vec<String> = gateway
        .served()
        .inventory
        .groups
        .iter()
        .filter(|group| !group.built_in)
        .map(|group| group.prefix.clone())
        .collect();
    let state_dir = StateDir::open(state)?;
    let bootstrap = plain(&prefixes, &state_dir.admin_socket());
    let plain = start_envoy(envoy, state_dir, bootstrap).await?;
    let compared = compare(
        gateway.envoy(),
        port,
        &plain,
        plain_port,
        &prefixes,
        requests,
    );
    let costs = in_time(compared).await;
    plain.stop_now().await;
    costs
}

async fn compare(
    nuncio: &Handle,
    port: u16,
    plain: &Handle,
    plain_port: u16,
    prefixes: &[String],
    requests: usize,
) -> anyhow::Result<Costs> {
    let ends = [prefixes.first(), prefixes.last()];
    let [Some(first), Some(last)] = ends else {
        anyhow::bail!("there are no routes");
    };
    let mut subjects = Vec::new();
    for (envoy, port) in [(nuncio, port), (plain, plain_port)] {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        listens(address).await;
        for path in [first, last] {
            let target = Target::cleartext(address);
            subjects.push(Subject {
                envoy: pid(envoy)?,
                client: Client::connect(&target, Protocol::Http1).await?,
                path: path.clone(),
                costs: Vec::new(),
            });
        }
    }
    let batch = requests.div_ceil(TURNS);
    for subject in &mut subjects {
        // Connections to the upstream are made, caches are filled.
        subject.take_turn(batch).await?;
        subject.costs.clear();
    }
    for _ in 0..TURNS {
        for subject in &mut subjects {
            subject.take_turn(batch).await?;
        }
    }
    let mut costs = subjects.into_iter().map(|subject| median(subject.costs));
    let mut next = || costs.next().context("every subject has had its turns");
    Ok(Costs {
        nuncio: [next()?, next()?],
        plain: [next()?, next()?],
    })
}

/// One connection that asks for one path.
struct Subject {
    envoy: u32,
    client: Client,
    path: String,
    costs: Vec<f64>,
}

impl Subject {
    async fn take_turn(&mut self, requests: usize) -> anyhow::Result<()> {
        let before = usage::workers(self.envoy)?;
        for _ in 0..requests {
            let answer = self.client.get("bench.example", &self.path).await?;
            anyhow::ensure!(
                answer.status == 200,
                "{} is answered with {}",
                self.path,
                answer.status
            );
        }
        let used = usage::workers(self.envoy)? - before;
        self.costs.push(used.as_secs_f64() * 1e6 / requests as f64);
        Ok(())
    }
}

impl Costs {
    fn add_to(&self, mut figures: Figures) -> Vec<Figure> {
        for (end, name) in ["first", "last"].into_iter().enumerate() {
            let (nuncio, plain) = (self.nuncio[end], self.plain[end]);
            figures.add(format!("{name}: nuncio (worker CPU)"), "µs", nuncio);
            figures.add(format!("{name}: by hand (worker CPU)"), "µs", plain);
            figures.add(format!("{name}: nuncio / by hand"), "", nuncio / plain);
        }
        figures.finish()
    }
}
