//! Everything at once, for as long as one likes: `NUNCIO_SOAK_SECONDS`, or `make soak`.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::symlink;
use std::time::{Duration, Instant};

use super::*;

/// Without the variable: enough for every step to happen.
const SHORT: u64 = 12;

/// From here on a run is long: nuncio is killed more often, and its memory is held to a limit.
const LONG: u64 = 120;

/// How much of the memory after the first third may come or go until the end.
const FLAT: f64 = 0.05;

/// Kinds of change, and how many resources of each there are at most.
const KINDS: u64 = 8;
const EACH: u64 = 12;

/// Pseudo-random numbers, the same in every run (xorshift64*).
struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 32) % limit
    }
}

/// What is written, in the test's own books.
struct Soak {
    scene: Scene,
    random: Random,
    /// The numbers of the Mappings that are there.
    mappings: BTreeSet<u64>,
    files: BTreeSet<String>,
    changes: u64,
}

impl Soak {
    /// One valid change, of any kind.
    async fn change(&mut self) {
        self.changes += 1;
        let (kind, number) = (self.random.below(KINDS), self.random.below(EACH));
        let file = format!("soak-{kind}-{number}.yaml");
        let name = format!("soak-{number}");
        if self.random.below(3) == 0 && self.files.remove(&file) {
            self.scene.gateway.remove(&file);
            if kind == 0 {
                self.mappings.remove(&number);
            }
        } else {
            let (scene, changes) = (&self.scene, self.changes);
            let upstream = match self.random.below(2) {
                0 => &scene.quote,
                _ => &scene.hello,
            };
            let text = match kind {
                0 => {
                    self.mappings.insert(number);
                    let timeout = format!(", timeout_ms: {}", 3000 + changes);
                    mapping(&name, &format!("/{name}/"), upstream, &timeout)
                }
                1 => host(&name, &format!("{name}.example"), None),
                2 => {
                    let hostname = format!("tls-{number}.example");
                    let pair = certs::self_signed(&[&hostname]);
                    let secret_name = format!("tls-{number}");
                    let host_name = format!("tls-{name}");
                    [
                        tls_secret(&secret_name, &pair),
                        host(&host_name, &hostname, Some(&secret_name)),
                    ]
                    .concat()
                }
                // A canary of what is under load.
                3 => mapping(
                    &format!("canary-{number}"),
                    "/steady/",
                    upstream,
                    ", weight: 5",
                ),
                4 => service(&format!("service-{number}"), upstream),
                5 => format!(
                    "apiVersion: networking.k8s.io/v1\nkind: Ingress\nmetadata:\n  name: {name}\n  \
                     annotations: {{kubernetes.io/ingress.class: ambassador}}\nspec:\n  rules:\n  \
                     - host: ingress-{number}.example\n    http:\n      paths:\n      \
                     - {{path: /, pathType: Prefix, backend: {{service: {{name: service-{number}, \
                     port: {{number: 80}}}}}}}}\n"
                ),
                6 => tls_secret("a", &certs::self_signed(&["a.example"])),
                _ => mapping(
                    &format!("headers-{number}"),
                    &format!("/headers-{number}/"),
                    upstream,
                    &format!(", add_response_headers: {{x-change: {{value: \"{changes}\"}}}}"),
                ),
            };
            match kind {
                // The certificate of those who are connected.
                6 => self.scene.gateway.write("secret.yaml", &text),
                _ => {
                    self.scene.gateway.write(&file, &text);
                    self.files.insert(file);
                }
            }
        }
        self.scene.gateway.settled().await;
    }

    /// What is written is what clients see.
    async fn converged(&self) {
        let mut client = Client::connect(&self.scene.http, Protocol::Http1)
            .await
            .unwrap();
        for number in 0..EACH {
            let path = format!("/soak-{number}/");
            let status = client.get("b.example", &path).await.unwrap().status;
            let there = self.mappings.contains(&number);
            assert_eq!(status, if there { 200 } else { 404 }, "{path}");
        }
    }

    /// Every kind of wrong resource appears, becomes another wrong one, and goes.
    async fn wrong_ones(&self) {
        let gateway = &self.scene.gateway;
        let before = gateway.errors().await;
        let mut silent = Vec::new();
        for (first, second) in wrong() {
            for text in [first, second] {
                gateway.write("wrong.yaml", text);
                gateway.settled().await;
                let said = [gateway.errors().await, gateway.notices().await].concat();
                if !said.contains("wrong") {
                    silent.push(text);
                }
            }
            gateway.remove("wrong.yaml");
            gateway.settled().await;
            assert_eq!(gateway.errors().await, before, "after {second}");
        }
        assert!(silent.is_empty(), "nothing is said of {silent:#?}");
    }

    /// The disk is full: a device that says so to every write stands where the state is written.
    async fn full_disk(&mut self) {
        let new = self.scene.gateway.path("state/kept.new");
        let deadline = Instant::now() + Duration::from_secs(30);
        // A write may be under way.
        while symlink("/dev/full", &new).is_err() {
            assert!(Instant::now() < deadline, "there is never no write");
        }
        self.change().await;
        let gateway = &self.scene.gateway;
        let said = async || gateway.notices().await.contains("No space left on device");
        gateway.until(said).await;
        self.change().await;
        let gateway = &self.scene.gateway;
        let said = async || gateway.notices().await.contains("cannot be kept");
        gateway.until(async || !said().await).await;
    }

    /// nuncio is killed, its state is damaged, and a change waits for the next one.
    async fn kill_nuncio(&mut self, damage: bool) {
        let envoy = self.scene.gateway.envoy_pid().await;
        self.scene.gateway.kill9().await;
        if damage {
            fs::write(self.scene.gateway.path("state/kept"), "nuncio kept 1\n?").unwrap();
        }
        self.scene.gateway.restart().await;
        self.change().await;
        assert_eq!(
            self.scene.gateway.envoy_pid().await,
            envoy,
            "it is the same Envoy"
        );
    }

    /// Envoy is killed: for a moment nobody listens, and what is answered is answered right.
    async fn kill_envoy(&mut self) -> Duration {
        let loads = self.scene.load();
        let killed = Instant::now();
        let envoy = self.scene.gateway.envoy_pid().await;
        self.scene.gateway.kill_envoy().await;
        let other = async || {
            self.scene
                .gateway
                .try_envoy_pid()
                .is_some_and(|pid| pid != envoy)
        };
        self.scene.gateway.until(other).await;
        let answers = async || {
            let client = Client::connect(&self.scene.http, Protocol::Http1).await;
            match client {
                Ok(mut client) => client.get("a.example", "/steady/").await.is_ok(),
                Err(_) => false,
            }
        };
        self.scene.gateway.until(answers).await;
        let took = killed.elapsed();
        for load in loads {
            let report = load.stop().await;
            let wrong = report.by_status.iter().find(|(status, _)| **status != 200);
            assert_eq!(wrong, None, "{:?}", report.by_status);
        }
        self.change().await;
        took
    }
}

fn service(name: &str, upstream: &Running) -> String {
    let (ip, port) = (upstream.address().ip(), upstream.address().port());
    format!(
        "apiVersion: v1\nkind: Service\nmetadata: {{name: {name}}}\n\
         spec: {{ports: [{{name: web, port: 80}}]}}\n---\n\
         apiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\n\
         metadata: {{name: {name}-1, labels: {{kubernetes.io/service-name: {name}}}}}\n\
         addressType: IPv4\nports: [{{name: web, port: {port}}}]\n\
         endpoints: [{{addresses: [\"{ip}\"]}}]\n"
    )
}

/// Wrong resources, kind by kind, each in two ways. All have `wrong` in their names.
fn wrong() -> Vec<(&'static str, &'static str)> {
    vec![
        ("wrong: [", "wrong: {"),
        (
            "apiVersion: v1\nkind: wrong\n",
            "apiVersion: v1\nkind: wrong\nmetadata: {name: 7}\n",
        ),
        (
            "apiVersion: getambassador.io/v3alpha1\nkind: Mapping\nmetadata: {name: wrong}\nspec: {hostname: \"*\", prefix: \"/[\", prefix_regex: true, service: a}\n",
            "apiVersion: getambassador.io/v3alpha1\nkind: Mapping\nmetadata: {name: wrong}\nspec: {hostname: \"*\", prefix: /w/, service: a, timeout_ms: soon}\n",
        ),
        (
            "apiVersion: getambassador.io/v3alpha1\nkind: Host\nmetadata: {name: wrong}\nspec: {hostname: \"a b\"}\n",
            "apiVersion: getambassador.io/v3alpha1\nkind: Host\nmetadata: {name: wrong}\nspec: {hostname: w.example, tlsSecret: {name: missing}}\n",
        ),
        (
            "apiVersion: getambassador.io/v3alpha1\nkind: Listener\nmetadata: {name: wrong}\nspec: {port: 0, protocol: HTTP, securityModel: XFP, hostBinding: {namespace: {from: ALL}}}\n",
            "apiVersion: getambassador.io/v3alpha1\nkind: Listener\nmetadata: {name: wrong}\nspec: {port: 1, protocol: TALK, securityModel: XFP, hostBinding: {namespace: {from: ALL}}}\n",
        ),
        (
            "apiVersion: getambassador.io/v3alpha1\nkind: TCPMapping\nmetadata: {name: wrong}\nspec: {service: a}\n",
            "apiVersion: getambassador.io/v3alpha1\nkind: TCPMapping\nmetadata: {name: wrong}\nspec: {port: many, service: a}\n",
        ),
        (
            "apiVersion: getambassador.io/v3alpha1\nkind: TLSContext\nmetadata: {name: wrong}\nspec: {hosts: 7, secret: missing}\n",
            "apiVersion: getambassador.io/v3alpha1\nkind: TLSContext\nmetadata: {name: wrong}\nspec: {hosts: [w.example], secret: 8}\n",
        ),
        (
            "apiVersion: getambassador.io/v3alpha1\nkind: Module\nmetadata: {name: wrong}\nspec: {config: {}}\n",
            "apiVersion: getambassador.io/v3alpha1\nkind: Module\nmetadata: {name: wrong}\nspec: {config: 7}\n",
        ),
        (
            "apiVersion: networking.k8s.io/v1\nkind: Ingress\nmetadata: {name: wrong, annotations: {kubernetes.io/ingress.class: ambassador}}\nspec: {rules: 7}\n",
            "apiVersion: networking.k8s.io/v1\nkind: Ingress\nmetadata: {name: wrong, annotations: {kubernetes.io/ingress.class: ambassador}}\nspec: {rules: [{host: w.example, http: {paths: [{path: w, pathType: Prefix, backend: {service: {name: a, port: {number: 80}}}}]}}]}\n",
        ),
        (
            "apiVersion: v1\nkind: Service\nmetadata: {name: wrong}\nspec: {ports: 7}\n",
            "apiVersion: v1\nkind: Service\nmetadata: {name: wrong}\nspec: {ports: [{port: many}]}\n",
        ),
    ]
}

/// Resident memory of a process in KiB.
fn memory(pid: i32) -> f64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let text = line.unwrap().trim().trim_end_matches(" kB");
    text.parse().unwrap()
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn soak() {
    let seconds = std::env::var("NUNCIO_SOAK_SECONDS");
    let seconds = seconds.map_or(SHORT, |text| text.parse().expect("a number of seconds"));
    let long = seconds >= LONG;
    let mut soak = Soak {
        scene: Scene::start().await,
        random: Random(0x5EED),
        mappings: BTreeSet::new(),
        files: BTreeSet::new(),
        changes: 0,
    };
    let loads = soak.scene.load();

    // Two thirds of the time: changes alone, and what they leave behind in memory.
    let started = Instant::now();
    let mut memories = Vec::new();
    while started.elapsed() < Duration::from_secs(seconds * 2 / 3) {
        soak.change().await;
        memories.push(memory(soak.scene.gateway.pid()));
    }
    soak.converged().await;
    let third = memories.len() / 3;
    let warm = median(memories[third..2 * third].to_vec());
    let end = median(memories[2 * third..].to_vec());
    eprintln!(
        "soak: {} changes; memory {:.1} MiB, then {:.1} MiB",
        soak.changes,
        warm / 1024.0,
        end / 1024.0
    );
    if long {
        assert!((end / warm - 1.0).abs() < FLAT, "memory: {memories:?}");
    }

    soak.wrong_ones().await;
    soak.full_disk().await;
    for kill in 0..if long { 20 } else { 2 } {
        soak.kill_nuncio(kill % 2 == 1).await;
    }
    while started.elapsed() < Duration::from_secs(seconds) {
        soak.change().await;
    }
    soak.converged().await;
    nothing_failed(loads).await;

    for _ in 0..if long { 5 } else { 1 } {
        let took = soak.kill_envoy().await;
        eprintln!("soak: Envoy was killed, and answered again after {took:?}");
        soak.converged().await;
    }

    // The state folder goes: what runs goes on.
    let loads = soak.scene.load();
    let envoy = soak.scene.gateway.envoy_pid().await;
    fs::remove_dir_all(soak.scene.gateway.path("state")).unwrap();
    while loads.iter().any(|load| load.sent() <= 200) {
        soak.change().await;
    }
    let gateway = &soak.scene.gateway;
    let said = async || gateway.notices().await.contains("cannot be kept");
    gateway.until(said).await;
    soak.converged().await;
    nothing_failed(loads).await;
    soak.scene.gateway.terminate_with(envoy).await;
}
