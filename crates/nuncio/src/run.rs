//! `nuncio run`: the pieces put together.
//!
//! ```text
//!  Source ──▶ Engine ──▶ AdsServer ──▶ Envoy ◀── Supervisor
//!                │           │                       │
//!                 └───────────┴── overview, admin ◀───┘
//! ```

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context;
use nuncio_envoy::{BootstrapConfig, StatsFormat, StatsSink, XdsServer, bootstrap};
use nuncio_model::Reason;
use nuncio_ratelimit::Server;
use nuncio_sources::ChangeSet;
use nuncio_status::{Scene, StatusWriter};
use nuncio_translate::{Settings, Store};
use nuncio_xds::{AdsServer, Options, TlsFiles};
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::admin::{self, Admin};
use crate::cli::RunArgs;
use crate::consul;
use crate::engine::{Engine, Served};
use crate::environment::{Environment, Statsd, without_effect};
use crate::gauges::Gauges;
use crate::identity::Identity;
use crate::keeper::Keeper;
use crate::overview::ReportLog;
use crate::pod;
use crate::quarantine::{Isolation, Validator};
use crate::signals::Ends;
use crate::source::Source;
use crate::status;
use crate::supervisor::{self, AdminClient, Handle, StateDir, StateDirError, Supervisor};

/// Connections of clients beyond which Envoy takes no more: well below what file descriptors and
/// memory allow, so that it is a limit and not a crash.
pub(crate) const MAX_DOWNSTREAM_CONNECTIONS: u64 = 50_000;

/// How often files that resources name are looked at.
const FILES_LOOKED_AT: Duration = Duration::from_secs(1);

pub fn run(args: RunArgs) -> ExitCode {
    let environment = Environment::read();
    let mut args = args;
    if environment.as_ref().is_ok_and(|read| read.debug) {
        args.log_level = "debug".to_owned();
    }
    let json = environment.as_ref().is_ok_and(|read| read.json_logging);
    crate::log::init(&args.log_level, json);
    let environment = match environment {
        Ok(environment) => environment,
        Err(wrong) => {
            tracing::error!("{wrong}");
            return ExitCode::FAILURE;
        }
    };
    for (name, why) in without_effect(|name| std::env::var_os(name).is_some()) {
        tracing::info!("{name} is set and has no effect: {why}");
    }
    let runtime = match tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime,
        Err(error) => {
            tracing::error!("cannot start: {error}");
            return ExitCode::FAILURE;
        }
    };
    match runtime.block_on(serve(args, environment)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn serve(args: RunArgs, environment: Environment) -> anyhow::Result<()> {
    let mut ends = Ends::new()?;
    let scope = environment.scope.clone();
    let pod_labels = pod::labels(args.pod_labels.as_deref())?;
    let envoy = match args.no_envoy {
        true => None,
        false => Some(envoy_program(args.envoy.as_deref())?),
    };
    let state_dir = state_dir(&args)?;
    let admin_listener = admin::bind(args.admin.unwrap_or(environment.admin)).await?;
    let limiter = crate::ratelimit::within(&args).await?;
    let settings = Settings {
        bind_address: args.bind,
        gateway_addresses: args.gateway_addresses.clone().unwrap_or_default().0.into(),
        gateway_services: args.gateway_services,
        rate_limit: limiter.as_ref().map(Server::grpc_address).transpose()?,
        admin: reachable(admin_listener.local_addr()?),
        strict_label_selectors: environment.strict_label_selectors,
        ready: environment.ready,
        envoy_admin: state_dir.admin_socket().to_string_lossy().into(),
        pod_labels,
        ..Settings::new(&scope)
    };
    let identity = Arc::new(Identity {
        statsd: environment.statsd.is_some(),
        ..Identity::new(scope.clone(), environment.cluster_id.clone())
    });

    let limits_metrics: Option<Arc<dyn Fn() -> String + Send + Sync>> = match &limiter {
        Some(limiter) => Some(Arc::new(limiter.metrics())),
        None => None,
    };
    let mut limiters = JoinSet::new();
    if let Some(limiter) = limiter {
        // It serves to the end: Envoy asks for as long as it drains.
        limiters.spawn(limiter.run(std::future::pending()));
    }

    // The first configuration is there before Envoy is: it starts with it, or is taken over and
    // told only what differs.
    let store = Store::new(scope).in_zone(pod::zone(settings.pod_labels.as_ref()));
    let mut engine = Engine::new(store, settings);
    let mut source = Source::start(&args, &environment, state_dir.kept()).await?;
    let keeper = Keeper::start(source.contents(), state_dir.kept());
    if let Some(cluster) = source.cluster() {
        let (secrets, changes) = (cluster.secrets(), keeper.changes());
        engine.follow_secrets(Box::new(move |wanted| {
            let came = secrets.follow(wanted);
            changes.send_replace(());
            came
        }));
    }
    let status = status::start(&source, &args, &environment, &identity);
    let mut consul = consul::Services::start(environment.consul, state_dir.kept_consul());
    let first = tokio::select! {
        changes = source.next() => changes,
        () = ends.next() => {
            end_left_behind(&state_dir, &args, &mut ends).await;
            return Ok(());
        }
    };
    let ads = AdsServer::new(Options::default());
    let gauges = Arc::new(Gauges::new(&identity));
    let mut nothing_known = says_nothing(&first);
    let mut served = match nothing_known {
        true => tokio::task::block_in_place(|| engine.apply(first)),
        false => take_up(&ads, &gauges, || engine.apply(first)),
    };
    // No Envoy hears of services without endpoints before this.
    let mut news = consul.follow(&engine.consul());
    news.extend(consul.first().await);
    if !news.is_empty() {
        served = take_up(&ads, &gauges, || engine.consul_said(news));
    }
    keeper.changed();
    tracing::info!(
        listeners = served.gateway.listeners.len(),
        routes = served.inventory.groups.len(),
        clusters = served.gateway.clusters.len(),
        "read what there is"
    );

    let mut xds_servers = JoinSet::new();
    if let Some((address, files)) = for_others(&args) {
        let bound = ads.bind_for_others(address, files).await;
        let bound = bound
            .with_context(|| format!("cannot listen on {address} (--xds-listen) for Envoys"))?;
        xds_servers.spawn(bound.serve(std::future::pending()));
    }
    let xds_socket = state_dir.xds_socket();
    if envoy.is_some() {
        let bound = ads
            .bind(&xds_socket)
            .with_context(|| format!("cannot listen on {}", xds_socket.display()))?;
        xds_servers.spawn(bound.serve(std::future::pending()));
    }
    let stats_sink = match environment.statsd {
        Some(statsd) => stats_sink(statsd).await,
        None => None,
    };
    let stats_flush_interval = stats_sink
        .as_ref()
        .map_or(bootstrap::STATS_FLUSH_INTERVAL, |sink| sink.flush_interval);
    let bootstrap = bootstrap::bootstrap(&BootstrapConfig {
        node_id: identity.scope.ambassador_id.clone(),
        node_cluster: identity.node_cluster(),
        xds: XdsServer::Socket(xds_socket),
        admin_socket: Some(state_dir.admin_socket()),
        max_heap_bytes: crate::memory::limit(),
        max_downstream_connections: MAX_DOWNSTREAM_CONNECTIONS,
        stats_sink,
    });
    let mut isolation = Isolation::new(envoy.clone().map(|envoy| Validator {
        envoy,
        bootstrap: Arc::new(bootstrap.clone()),
        file: state_dir.inquiry(),
    }));
    let elsewhere = watch::Sender::new(supervisor::State::Elsewhere);
    let no_restarts = watch::Sender::new(0);
    let envoy_admin = AdminClient::new(state_dir.admin_socket());
    let start = |envoy| {
        Supervisor::start(supervisor::Config {
            envoy,
            state_dir,
            bootstrap,
            drain_time: Duration::from_secs(args.drain_time),
            concurrency: args.concurrency,
            base_id: environment.base_id,
            stats_flush_interval,
            log_level: if environment.debug_envoy {
                "trace"
            } else {
                envoy_log_level(&args.log_level)
            }
            .to_owned(),
            extra_args: Vec::new(),
        })
    };
    let envoy = match envoy {
        None => None,
        // A signal waits until there is an Envoy to be ended in order.
        Some(program) => Some(start(program).await?),
    };

    let nothing_written = watch::Sender::new(Vec::new());
    let draining = watch::Sender::new(false);
    let admin = Admin {
        identity,
        served: engine.served(),
        xds: ads.status(),
        counters: ads.clone(),
        envoy: match &envoy {
            Some(envoy) => envoy.state(),
            None => elsewhere.subscribe(),
        },
        envoy_restarts: match &envoy {
            Some(envoy) => envoy.restarts(),
            None => no_restarts.subscribe(),
        },
        envoy_admin,
        not_kept: keeper.problem(),
        not_written: match &status {
            Some(status) => status.troubles(),
            None => nothing_written.subscribe(),
        },
        status: status.as_ref().map(StatusWriter::figures),
        draining: draining.subscribe(),
        gauges: Arc::clone(&gauges),
        banner: environment.banner,
        patches: Arc::default(),
        limits_metrics,
    };
    let scenes = status.as_ref().map(StatusWriter::scenes);
    tokio::spawn(pass_report_on(admin.clone(), scenes));
    let mut admin_server = tokio::spawn(admin::serve(admin_listener, admin));
    tokio::spawn(observe_acknowledged(ads.status(), Arc::clone(&gauges)));

    let mut xds = ads.status();
    xds.mark_changed();
    let mut files = tokio::time::interval(FILES_LOOKED_AT);
    let shutdown_delay = Duration::from_secs(args.shutdown_delay);
    // Changes are taken up to the end: a drain may be long.
    let mut end = std::pin::pin!(async {
        ends.next().await;
        draining.send_replace(true);
        if let Some(status) = &status {
            status.give_up();
        }
        if let Some(envoy) = &envoy {
            shut_down(envoy, shutdown_delay, &mut ends).await;
        }
    });
    let result = loop {
        tokio::select! {
            changes = source.next() => {
                // An Envoy that runs keeps what it has until there is something to say.
                if nothing_known && says_nothing(&changes) {
                    tokio::task::block_in_place(|| engine.apply(changes));
                    continue;
                }
                nothing_known = false;
                let written = status::written(&changes);
                let served = take_up(&ads, &gauges, || engine.apply(changes));
                keeper.changed();
                if let Some(status) = &status {
                    status.written(served.change, written);
                }
            }
            news = consul.next() => {
                take_up(&ads, &gauges, || engine.consul_said(news));
            }
            Ok(()) = xds.changed() => {
                let status = xds.borrow_and_update().clone();
                if engine.look_at_ports(&status, Instant::now()) {
                    take_up(&ads, &gauges, || engine.with_other_ports());
                }
                isolation.look(&engine, &status);
            }
            () = until(engine.next_try_of_ports()) => {
                take_up(&ads, &gauges, || engine.try_ports(Instant::now()));
            }
            found = isolation.found() => {
                if engine.found(found) {
                    take_up(&ads, &gauges, || engine.leave_out());
                }
                isolation.look(&engine, &xds.borrow());
            }
            _ = files.tick() => {
                if engine.files_changed() {
                    take_up(&ads, &gauges, || engine.read_files_again());
                }
            }
            () = &mut end => break Ok(()),
            ended = &mut admin_server => break Err(match ended {
                Ok(Err(error)) => anyhow::anyhow!("the admin server ended: {error}"),
                _ => anyhow::anyhow!("the admin server ended"),
            }),
            Some(ended) = limiters.join_next() => break Err(match ended {
                Ok(Err(error)) => error.into(),
                _ => anyhow::anyhow!("the rate limit service ended"),
            }),
        }
        let news = consul.follow(&engine.consul());
        if !news.is_empty() {
            take_up(&ads, &gauges, || engine.consul_said(news));
        }
    };
    if result.is_err()
        && let Some(envoy) = &envoy
    {
        let drained = envoy.drain_and_stop().await;
        tracing::info!(?drained, "ended");
    }
    // It has something of the keeper.
    drop(engine);
    keeper.finish().await;
    if let Some(status) = &status {
        status.finish().await;
    }
    consul.finish().await;
    xds_servers.abort_all();
    result
}

async fn until(time: Option<Instant>) {
    match time {
        Some(time) => tokio::time::sleep_until(time.into()).await,
        None => std::future::pending().await,
    }
}

/// Whether all that could be found out is that nothing can be read.
fn says_nothing(changes: &ChangeSet) -> bool {
    let mut problems = changes.problems.iter();
    let unread = |reason| matches!(reason, Reason::Unreadable | Reason::Forbidden);
    changes.upserted.is_empty() && problems.any(|problem| unread(problem.reason))
}

/// Translation keeps a core busy, and may wait for Secrets; the ADS server has the others meanwhile.
fn take_up(ads: &AdsServer, gauges: &Gauges, publish: impl FnOnce() -> Arc<Served>) -> Arc<Served> {
    let arrived = Instant::now();
    gauges.changes.inc();
    let served = tokio::task::block_in_place(publish);
    gauges.translation.observe(arrived.elapsed().as_secs_f64());
    gauges.expect(ads.set_snapshot(Arc::clone(&served.snapshot)), arrived);
    // Envoy may have answered already, above all when nothing is to be sent.
    gauges.acknowledged(ads.status().borrow().acknowledged);
    served
}

async fn observe_acknowledged(
    mut status: watch::Receiver<nuncio_xds::Status>,
    gauges: Arc<Gauges>,
) {
    loop {
        let acknowledged = status.borrow_and_update().acknowledged;
        gauges.acknowledged(acknowledged);
        if status.changed().await.is_err() {
            return;
        }
    }
}

/// Where Envoys elsewhere are served, and with which certificates.
fn for_others(args: &RunArgs) -> Option<(SocketAddr, TlsFiles)> {
    let files = TlsFiles {
        certificate: args.xds_cert.clone()?,
        key: args.xds_key.clone()?,
        client_ca: args.xds_client_ca.clone()?,
    };
    Some((args.xds_listen?, files))
}

/// Ends Envoy in order: serves on until those who look at readiness have had the time to see that
/// it is gone, then drains. A second signal ends it at once.
async fn shut_down(envoy: &Handle, delay: Duration, ends: &mut Ends) {
    let in_order = async {
        if !delay.is_zero() {
            tracing::info!("not ready any more; serving on for {delay:?} (--shutdown-delay)");
            tokio::time::sleep(delay).await;
        }
        tracing::info!("finishing requests under way; a second signal ends at once");
        envoy.drain_and_stop().await
    };
    let drained = tokio::select! {
        drained = in_order => drained,
        () = ends.next() => envoy.stop_now().await,
    };
    tracing::info!(?drained, "ended");
}

/// The same for an Envoy that an earlier nuncio left, and that none has taken over.
pub(crate) async fn end_left_behind(state_dir: &StateDir, args: &RunArgs, ends: &mut Ends) {
    let end = async |drain_time| {
        let flush = bootstrap::STATS_FLUSH_INTERVAL;
        if let Some(drained) = supervisor::drain_left_behind(state_dir, drain_time, flush).await {
            tracing::info!(?drained, "ended the Envoy of an earlier nuncio");
        }
    };
    let in_order = async {
        tokio::time::sleep(Duration::from_secs(args.shutdown_delay)).await;
        end(Duration::from_secs(args.drain_time)).await;
    };
    tokio::select! {
        () = in_order => {}
        () = ends.next() => end(Duration::ZERO).await,
    }
}

/// Says in the log what the report says, as it changes, and passes it on to who writes status.
async fn pass_report_on(mut admin: Admin, scenes: Option<watch::Sender<Arc<Scene>>>) {
    let mut log = ReportLog::default();
    loop {
        admin.served.mark_unchanged();
        admin.xds.mark_unchanged();
        admin.envoy.mark_unchanged();
        admin.not_kept.mark_unchanged();
        admin.not_written.mark_unchanged();
        let served = Arc::clone(&admin.served.borrow());
        let report = admin.report_of(&served);
        log.update(&report);
        if let Some(scenes) = &scenes {
            scenes.send_replace(Arc::new(status::scene(&served, report)));
        }
        let gone = tokio::select! {
            changed = admin.served.changed() => changed,
            changed = admin.xds.changed() => changed,
            changed = admin.envoy.changed() => changed,
            changed = admin.not_kept.changed() => changed,
            // Without who writes status it never changes.
            Ok(()) = admin.not_written.changed() => Ok(()),
        };
        if gone.is_err() {
            return;
        }
    }
}

fn envoy_program(given: Option<&Path>) -> anyhow::Result<PathBuf> {
    if let Some(given) = given {
        return Ok(given.to_owned());
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .map(|folder| folder.join("envoy"))
        .find(|program| program.is_file())
        .context(
            "there is no envoy in PATH; give its path with --envoy, or install it into the \
             project with `make envoy`",
        )
}

pub(crate) fn state_dir(args: &RunArgs) -> Result<StateDir, StateDirError> {
    StateDir::open(&args.state_dir.clone().unwrap_or_else(default_state_dir))
}

/// Where a user's services keep their state.
fn default_state_dir() -> PathBuf {
    let var = |name| std::env::var_os(name).filter(|value| !value.is_empty());
    if let Some(home) = var("XDG_STATE_HOME") {
        return PathBuf::from(home).join("nuncio");
    }
    match var("HOME") {
        Some(home) => PathBuf::from(home).join(".local/state/nuncio"),
        None => PathBuf::from("/var/lib/nuncio"),
    }
}

fn envoy_log_level(level: &str) -> &'static str {
    match level {
        "trace" => "trace",
        "debug" => "info",
        "error" => "error",
        _ => "warning",
    }
}

/// Looks the host up, once: the address is part of Envoy's bootstrap.
async fn stats_sink(statsd: Statsd) -> Option<StatsSink> {
    let Statsd { host, port, .. } = &statsd;
    let found = match tokio::net::lookup_host((host.as_str(), *port)).await {
        // The least, so that the next start finds the same; IPv4 before IPv6.
        Ok(found) => found.min(),
        Err(error) => {
            tracing::warn!(
                "no statistics are sent: STATSD_HOST is \"{host}\", which is not found: {error}"
            );
            None
        }
    };
    Some(StatsSink {
        address: found?,
        flush_interval: statsd.flush_interval,
        format: if statsd.dogstatsd {
            StatsFormat::DogStatsd {
                entity_id: statsd.entity_id,
            }
        } else {
            StatsFormat::Statsd
        },
    })
}

/// Where Envoy finds who listens on an address: on all of them is on the loopback one too.
fn reachable(bound: SocketAddr) -> SocketAddr {
    let ip = match bound.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, bound.port())
}
