//! How soon a changed endpoint is served, from the file written to the first answer that comes from
//! it: alone, while one route changes after the other, and while all of them do at once.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::Context;
use nuncio_echo::client::{Client, Protocol, Target};
use nuncio_echo::{Echo, free_port};
use nuncio_xds::Status;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::figure::{Figure, Figures, percentile};
use crate::gateway::{Gateway, in_time, listens};
use crate::manifests::{self, Change, PROBED};
use crate::usage::milliseconds;

pub(crate) const NAME: &str = "busy";

/// The upstreams that take turns.
const NAMES: [&str; 2] = ["one", "two"];

/// While all routes change a change takes seconds: so many fewer of them are measured.
const STORM_ROUNDS: usize = 10;

/// Between two changes of the endpoint.
const QUIET: Duration = Duration::from_millis(20);

pub(crate) async fn measure(
    folder: &Path,
    size: usize,
    envoy: &Path,
    rounds: usize,
) -> anyhow::Result<Vec<Figure>> {
    let state = tempfile::tempdir()?;
    let any_port = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let one = Echo::new(NAMES[0]).start(any_port).await?;
    let two = Echo::new(NAMES[1]).start(any_port).await?;
    let port = free_port();
    manifests::services(folder, size, port)?;
    manifests::probed(folder, one.address())?;
    let mut gateway = Gateway::start(folder, state.path(), envoy).await?;
    let scene = Scene {
        folder: folder.to_owned(),
        size,
        address: (Ipv4Addr::LOCALHOST, port).into(),
        endpoints: [one.address(), two.address()],
        status: gateway.ads().status(),
        rounds,
    };
    let measuring = tokio::spawn(scene.measure());
    let measured = tokio::select! {
        never = gateway.follow() => match never {},
        measured = in_time(async { measuring.await? }) => measured,
    };
    gateway.stop().await;
    measured
}

#[derive(Clone)]
struct Scene {
    folder: PathBuf,
    size: usize,
    /// Of Envoy's listener.
    address: SocketAddr,
    endpoints: [SocketAddr; NAMES.len()],
    status: watch::Receiver<Status>,
    rounds: usize,
}

impl Scene {
    async fn measure(self) -> anyhow::Result<Vec<Figure>> {
        let mut figures = Figures::new(NAME, self.size);
        listens(self.address).await;
        let mut client = Client::connect(&Target::cleartext(self.address), Protocol::Http1).await?;
        self.times(&mut client, self.rounds).await?;
        let alone = self.times(&mut client, self.rounds).await?;
        add(&mut figures, "alone", &alone);
        for (what, storm) in [
            ("one route after the other", false),
            ("all routes again and again", true),
        ] {
            let changing = Changing::start(self.clone(), storm);
            let rounds = match storm {
                true => self.rounds.div_ceil(STORM_ROUNDS),
                false => self.rounds,
            };
            let times = self.times(&mut client, rounds).await?;
            let changes = changing.end().await?;
            add(&mut figures, what, &times);
            figures.add(format!("{what}: changes meanwhile"), "", changes as f64);
        }
        Ok(figures.finish())
    }

    async fn times(&self, client: &mut Client, rounds: usize) -> anyhow::Result<Vec<f64>> {
        let mut times = Vec::new();
        for round in 1..=rounds {
            tokio::time::sleep(QUIET).await;
            let now = round % NAMES.len();
            let written = Instant::now();
            manifests::probed(&self.folder, self.endpoints[now])?;
            loop {
                let answer = client.get("bench.example", &format!("/{PROBED}/")).await?;
                let upstream = answer.headers.get("x-echo-upstream");
                if upstream.context("the echo says who it is")? == NAMES[now] {
                    break;
                }
            }
            times.push(milliseconds(written.elapsed()));
        }
        Ok(times)
    }

    /// Changes routes, each time that Envoy has taken the last change up.
    async fn change(&mut self, round: usize, storm: bool) -> anyhow::Result<()> {
        let before = self.status.borrow_and_update().newest;
        match storm {
            true => manifests::storm(&self.folder, self.size, round)?,
            false => manifests::change(&self.folder, Change::Mapping, round)?,
        }
        let taken_up =
            |status: &Status| status.newest > before && status.acknowledged >= status.newest;
        self.status.wait_for(taken_up).await?;
        Ok(())
    }
}

/// Routes that change until it is ended.
struct Changing {
    end: watch::Sender<bool>,
    task: JoinHandle<anyhow::Result<usize>>,
}

impl Changing {
    fn start(mut scene: Scene, storm: bool) -> Self {
        let end = watch::Sender::new(false);
        let ended = end.subscribe();
        let task = tokio::spawn(async move {
            let mut round = 0;
            while !*ended.borrow() {
                round += 1;
                scene.change(round, storm).await?;
            }
            Ok(round)
        });
        Self { end, task }
    }

    /// How many changes there were.
    async fn end(self) -> anyhow::Result<usize> {
        self.end.send_replace(true);
        self.task.await?
    }
}

fn add(figures: &mut Figures, what: &str, times: &[f64]) {
    for (name, percent) in [("median", 50), ("99 %", 99)] {
        figures.add(format!("{what}: {name}"), "ms", percentile(times, percent));
    }
}
