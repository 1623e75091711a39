//! A gateway with traffic of all kinds.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use nuncio_echo::client::{Client, Protocol, Target};
use nuncio_echo::{Echo, Running, certs};

use crate::prometheus::Prometheus;
use crate::support::{Gateway, free_port};

/// What one round sends: Host, path, expected status, how often.
pub(crate) const ROUND: [(&str, &str, u16, u32); 6] = [
    ("a.example", "/shop/", 200, 40),
    ("a.example", "/shop/?x-echo-status=404", 404, 10),
    ("a.example", "/shop/?x-echo-status=500", 500, 5),
    // Nobody listens; it is tried twice.
    ("a.example", "/gone/", 503, 4),
    ("a.example", "/nothing/", 404, 6),
    // Of TLS, and slow.
    ("b.example", "/news/?x-echo-delay=150", 200, 10),
];

/// Open connections: without TLS, and with.
pub(crate) const OPEN: [usize; 2] = [2, 3];

pub(crate) struct Scene {
    pub(crate) gateway: Gateway,
    http: Target,
    https: Target,
    _upstream: Running,
    _taken: [TcpListener; 2],
    taken_later: u16,
    open: Vec<Client>,
}

fn listener(name: &str, port: u16, protocol: &str) -> String {
    format!(
        "apiVersion: getambassador.io/v3alpha1\nkind: Listener\nmetadata: {{name: {name}}}\n\
         spec: {{port: {port}, protocol: {protocol}, securityModel: XFP, statsPrefix: {name}, \
         hostBinding: {{namespace: {{from: ALL}}}}}}\n---\n"
    )
}

fn mapping(name: &str, hostname: &str, service: &str, more: &str) -> String {
    format!(
        "apiVersion: getambassador.io/v3alpha1\nkind: Mapping\nmetadata: {{name: {name}}}\n\
         spec: {{hostname: {hostname}, prefix: /{name}/, service: \"{service}\", \
         stats_name: {name}{more}}}\n---\n"
    )
}

impl Scene {
    pub(crate) async fn start() -> Self {
        let any_port: SocketAddr = (Ipv4Addr::LOCALHOST, 0).into();
        let upstream = Echo::new("echo").start(any_port).await.unwrap();
        let service = upstream.address().to_string();
        let taken = [(); 2].map(|()| TcpListener::bind(any_port).unwrap());
        let [refused, taken_later] = taken
            .each_ref()
            .map(|held| held.local_addr().unwrap().port());
        let pair = certs::self_signed(&["b.example"]);
        let (http, https) = (free_port(), free_port());
        let manifests = [
            listener("cleartext", http, "HTTP"),
            listener("tls", https, "HTTPS"),
            listener("refused", refused, "HTTP"),
            format!(
                "apiVersion: v1\nkind: Secret\nmetadata: {{name: b}}\ntype: kubernetes.io/tls\n\
                 data: {{tls.crt: {}, tls.key: {}}}\n---\n",
                STANDARD.encode(&pair.cert_pem),
                STANDARD.encode(&pair.key_pem)
            ),
            "apiVersion: getambassador.io/v3alpha1\nkind: Host\nmetadata: {name: a}\n\
             spec: {hostname: a.example, requestPolicy: {insecure: {action: Route}}}\n---\n\
             apiVersion: getambassador.io/v3alpha1\nkind: Host\nmetadata: {name: b}\n\
             spec: {hostname: b.example, tlsSecret: {name: b}}\n---\n"
                .to_owned(),
            mapping("shop", "a.example", &service, ""),
            mapping("news", "b.example", &service, ""),
            mapping(
                "gone",
                "a.example",
                &format!("127.0.0.1:{}", free_port()),
                ", retry_policy: {retry_on: connect-failure, num_retries: 1}",
            ),
            mapping("wrong", "a.example", &service, ", timeout_ms: soon"),
        ]
        .concat();
        let gateway = Gateway::start(&[("all.yaml", manifests)]).await;
        let address = |port| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        Self {
            gateway,
            http: Target::cleartext(address(http)),
            https: Target::tls(address(https), "b.example"),
            _upstream: upstream,
            _taken: taken,
            taken_later,
            open: Vec::new(),
        }
    }

    async fn client(&self, host: &str) -> Client {
        let (target, protocol) = match host {
            "b.example" => (&self.https, Protocol::Http1),
            _ => (&self.http, Protocol::Http1),
        };
        Client::connect(target, protocol).await.unwrap()
    }

    async fn round(&self) {
        for (host, path, status, times) in ROUND {
            let mut client = self.client(host).await;
            for _ in 0..times {
                let answer = client.get(host, path).await.unwrap();
                assert_eq!(answer.status, status, "{host}{path}");
            }
        }
    }

    /// Envoy makes a statistic when it is first needed. Every one is there after this, so that what
    /// comes after it counts.
    pub(crate) async fn warm_up(&self) {
        self.round().await;
        let (gateway, times) = (&self.gateway, times("shop"));
        gateway
            .until(async || {
                let count = "envoy_cluster_upstream_rq_time_count{envoy_cluster_name=\"shop\"}";
                gateway.metric(count).await == u64::from(times)
            })
            .await;
    }

    /// A second round, open connections, and a Listener that Envoy refuses; until all of it is scraped.
    pub(crate) async fn exercise(&mut self, prometheus: &Prometheus) {
        self.round().await;
        for (host, count) in ["a.example", "b.example"].into_iter().zip(OPEN) {
            for _ in 0..count {
                let client = self.client(host).await;
                self.open.push(client);
            }
        }
        self.gateway
            .write("later.yaml", &listener("later", self.taken_later, "HTTP"));
        self.gateway.settled().await;
        let open = OPEN.iter().sum::<usize>() as f64;
        for (query, wanted) in [
            (
                "envoy_cluster_upstream_rq_time_count{envoy_cluster_name=\"shop\"}",
                f64::from(2 * times("shop")),
            ),
            (
                "sum(envoy_http_downstream_cx_active{envoy_http_conn_manager_prefix=~\"cleartext|tls\"})",
                open,
            ),
            ("sum(nuncio_resources{state=\"refused\"})", 2.0),
            (
                "nuncio_changes_total - nuncio_change_to_acknowledged_seconds_count",
                0.0,
            ),
        ] {
            let holds = |rows: &[_]| matches!(rows, [(_, value)] if *value == wanted);
            prometheus.until(query, holds).await;
        }
    }

    /// Kills Envoy, and waits until Prometheus knows that it was started again.
    pub(crate) async fn restart_envoy(&self, prometheus: &Prometheus) {
        let pid = self.gateway.envoy_pid().await;
        let pid = rustix::process::Pid::from_raw(pid).unwrap();
        rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
        for query in [
            "nuncio_envoy_restarts_total",
            "round(increase(nuncio_envoy_restarts_total[2m]))",
            "nuncio_envoy_up and on () envoy_server_live == 1",
        ] {
            let holds = |rows: &[_]| matches!(rows, [(_, value)] if *value == 1.0);
            prometheus.until(query, holds).await;
        }
    }
}

/// Requests to this Mapping in a round.
pub(crate) fn times(mapping: &str) -> u32 {
    let to = ROUND.iter().filter(|(_, path, ..)| path.contains(mapping));
    to.map(|(.., times)| times).sum()
}
