//! Places to run an Envoy in, and clients of it.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use nuncio::supervisor::{Config, Handle, State, StateDir, Supervisor};
use serde_json::{Value, json};

/// Set for a copy of this test program that only starts Envoy and waits to be killed.
pub(crate) const HELPER: &str = "NUNCIO_TEST_SUPERVISOR_HELPER";

pub(crate) const RUNNING: &str = "helper: Envoy runs";

pub(crate) const LONG: Duration = Duration::from_secs(30);
pub(crate) const PAUSE: Duration = Duration::from_millis(10);

pub(crate) fn envoy() -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let path = std::env::var_os("NUNCIO_ENVOY")
        .map_or_else(|| root.join(".tools/envoy-1.40.0/envoy"), PathBuf::from);
    assert!(
        path.exists(),
        "these tests need Envoy, and there is none at {}: run `make envoy`",
        path.display()
    );
    path
}

/// A state folder and a port of its own.
pub(crate) struct Place {
    pub(crate) temp: tempfile::TempDir,
    pub(crate) state: PathBuf,
    pub(crate) port: u16,
    pub(crate) drain_time: Duration,
}

impl Place {
    pub(crate) fn new() -> Self {
        let temp = tempfile::tempdir().unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        Self {
            state: temp.path().join("state"),
            temp,
            port: listener.local_addr().unwrap().port(),
            drain_time: LONG,
        }
    }

    pub(crate) fn config(&self, answer: &str) -> Config {
        let state_dir = StateDir::open(&self.state).unwrap();
        Config {
            envoy: envoy(),
            bootstrap: bootstrap(&state_dir.admin_socket(), self.port, answer),
            state_dir,
            drain_time: self.drain_time,
            concurrency: Some(1),
            base_id: None,
            stats_flush_interval: Duration::from_secs(5),
            log_level: "warning".to_owned(),
            extra_args: Vec::new(),
        }
    }

    pub(crate) async fn start(&self, answer: &str) -> Handle {
        Supervisor::start(self.config(answer)).await.unwrap()
    }

    /// Starts Envoy from another process, and kills that as soon as Envoy runs.
    pub(crate) fn start_and_be_killed(&self, answer: &str) {
        Helper::start(self, answer).wait_until_running();
    }

    /// Ends the supervision, not Envoy.
    pub(crate) async fn release(&self, handle: Handle) {
        drop(handle);
        eventually(|| !self.state.join("lock").exists()).await;
    }

    /// The Envoys with this state folder.
    pub(crate) fn processes(&self) -> Vec<u32> {
        self.processes_where(|args, path| args.get(2) == Some(&path))
    }

    /// The processes whose arguments have the path of the bootstrap.
    pub(crate) fn processes_where(&self, matches: impl Fn(&[&str], &str) -> bool) -> Vec<u32> {
        let bootstrap = self.state.canonicalize().unwrap().join("bootstrap.json");
        let mut found = Vec::new();
        for entry in fs::read_dir("/proc").unwrap().flatten() {
            let Ok(pid) = entry.file_name().to_string_lossy().parse() else {
                continue;
            };
            let command = fs::read(entry.path().join("cmdline")).unwrap_or_default();
            let command = String::from_utf8_lossy(&command).into_owned();
            let args: Vec<_> = command.split('\0').collect();
            if matches(&args, bootstrap.to_str().unwrap()) {
                found.push(pid);
            }
        }
        found
    }

    pub(crate) fn shared_memory(&self) -> PathBuf {
        let base_id = fs::read_to_string(self.state.join("base-id")).unwrap();
        format!("/dev/shm/envoy_shared_memory_{}0", base_id.trim()).into()
    }

    /// Nothing of Envoy is left: no process (nor its keeper), no file, no socket.
    pub(crate) fn assert_clean(&self) {
        let processes = self.processes_where(|args, path| args.contains(&path));
        assert_eq!(processes, Vec::<u32>::new());
        let left: Vec<_> = fs::read_dir(&self.state)
            .unwrap()
            .map(|entry| entry.unwrap().file_name())
            .collect();
        assert!(left.is_empty(), "left behind: {left:?}");
    }
}

impl Drop for Place {
    /// A test that failed must not leave its Envoy behind.
    fn drop(&mut self) {
        if self.state.exists() {
            for pid in self.processes() {
                kill(pid, "KILL");
            }
        }
    }
}

pub(crate) struct Helper(pub(crate) Child);

impl Helper {
    pub(crate) fn start(place: &Place, answer: &str) -> Self {
        let child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "helper_process", "--nocapture"])
            .env(
                HELPER,
                format!("{} {} {answer}", place.state.display(), place.port),
            )
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        Self(child)
    }

    /// Waits until it says so. What else it and Envoy write is passed on.
    pub(crate) fn wait_until_running(&mut self) {
        let stderr = self.0.stderr.take().unwrap();
        let mut lines = BufReader::new(stderr).lines().map(Result::unwrap);
        let running = lines.by_ref().any(|line| {
            eprintln!("{line}");
            line == RUNNING
        });
        assert!(running, "the helper ended");
        // Envoy inherited the pipe, and must never wait for somebody to empty it.
        std::thread::spawn(move || lines.for_each(|line| eprintln!("{line}")));
    }
}

impl Drop for Helper {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

pub(crate) fn bootstrap(admin: &Path, port: u16, answer: &str) -> Value {
    let hcm = "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.\
               HttpConnectionManager";
    json!({
        "admin": { "address": { "pipe": { "path": admin } } },
        "static_resources": { "listeners": [{
            "name": "web",
            "address": { "socket_address": { "address": "127.0.0.1", "port_value": port } },
            "filter_chains": [{ "filters": [{
                "name": "hcm",
                "typed_config": {
                    "@type": hcm,
                    "stat_prefix": "web",
                    "http_filters": [
                        {
                            "name": "fault",
                            "typed_config": {
                                "@type": "type.googleapis.com/\
                                          envoy.extensions.filters.http.fault.v3.HTTPFault",
                                "delay": {
                                    "header_delay": {},
                                    "percentage": { "numerator": 100 }
                                }
                            }
                        },
                        {
                            "name": "router",
                            "typed_config": {
                                "@type": "type.googleapis.com/\
                                          envoy.extensions.filters.http.router.v3.Router"
                            }
                        }
                    ],
                    "route_config": { "name": "routes", "virtual_hosts": [{
                        "name": "all",
                        "domains": ["*"],
                        "routes": [{
                            "match": { "prefix": "/" },
                            "direct_response": {
                                "status": 200,
                                "body": { "inline_string": answer }
                            }
                        }]
                    }] }
                }
            }] }]
        }] }
    })
}

/// An HTTP/1.1 client that keeps its connection.
pub(crate) struct Client(pub(crate) TcpStream);

impl Client {
    pub(crate) fn connect(port: u16) -> std::io::Result<Self> {
        let stream = TcpStream::connect(("127.0.0.1", port))?;
        stream.set_read_timeout(Some(LONG))?;
        Ok(Self(stream))
    }

    pub(crate) fn send(&mut self, delay: Duration) -> std::io::Result<()> {
        let delay = delay.as_millis();
        let delay = if delay == 0 {
            String::new()
        } else {
            format!("x-envoy-fault-delay-request: {delay}\r\n")
        };
        write!(self.0, "GET / HTTP/1.1\r\nhost: test\r\n{delay}\r\n")
    }

    /// Head and body of the answer.
    pub(crate) fn receive(&mut self) -> std::io::Result<(String, String)> {
        let mut head = Vec::new();
        let mut byte = [0];
        while !head.ends_with(b"\r\n\r\n") {
            self.0.read_exact(&mut byte)?;
            head.push(byte[0]);
        }
        let head = String::from_utf8(head).unwrap();
        let length = head
            .lines()
            .find_map(|line| line.strip_prefix("content-length: "))
            .map_or(0, |length| length.parse().unwrap());
        let mut body = vec![0; length];
        self.0.read_exact(&mut body)?;
        Ok((head, String::from_utf8(body).unwrap()))
    }

    pub(crate) fn get(&mut self) -> std::io::Result<(String, String)> {
        self.send(Duration::ZERO)?;
        self.receive()
    }
}

/// The answer to one request on a connection of its own.
pub(crate) fn get(port: u16) -> std::io::Result<String> {
    Ok(Client::connect(port)?.get()?.1)
}

/// Envoy's admin interface answers a little before its listeners accept.
pub(crate) async fn serves(handle: &Handle) {
    let deadline = Instant::now() + LONG;
    while !matches!(handle.admin().get("/ready").await, Ok((status, _)) if status == 200) {
        assert!(Instant::now() < deadline, "Envoy does not become ready");
        tokio::time::sleep(PAUSE).await;
    }
}

/// Waits until Envoy has taken up a request.
pub(crate) async fn eventually_active(handle: &Handle) {
    let deadline = Instant::now() + LONG;
    loop {
        let path = "/stats?filter=http.web.downstream_rq_active";
        let (_, stats) = handle.admin().get(path).await.unwrap();
        if stats.trim_ascii().ends_with(b": 1") {
            return;
        }
        assert!(Instant::now() < deadline, "no request arrives");
        tokio::time::sleep(PAUSE).await;
    }
}

pub(crate) async fn eventually(mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + LONG;
    while !holds() {
        assert!(Instant::now() < deadline, "it does not come to be");
        tokio::time::sleep(PAUSE).await;
    }
}

/// One request after the other, none of which may fail.
pub(crate) struct Load {
    stop: mpsc::Sender<()>,
    thread: JoinHandle<(u32, String)>,
}

impl Load {
    pub(crate) fn start(port: u16) -> Self {
        let (stop, stopped) = mpsc::channel();
        let thread = std::thread::spawn(move || {
            let (mut requests, mut last) = (0, String::new());
            let mut client = Client::connect(port).unwrap();
            while stopped.try_recv().is_err() {
                let (head, body) = client.get().expect("a request fails");
                assert!(head.starts_with("HTTP/1.1 200"), "{head}");
                requests += 1;
                last = body;
                if head.contains("connection: close") || requests % 10 == 0 {
                    client = Client::connect(port).expect("a connection is refused");
                }
            }
            (requests, last)
        });
        Self { stop, thread }
    }

    /// How many requests were answered, and the last answer.
    pub(crate) fn end(self) -> (u32, String) {
        // When the thread has failed it listens no more, and joining says why.
        let _ = self.stop.send(());
        self.thread.join().unwrap()
    }
}

pub(crate) fn pid(handle: &Handle) -> u32 {
    match *handle.state().borrow() {
        State::Running { pid, .. } => pid,
        ref state => panic!("not running: {state:?}"),
    }
}

pub(crate) fn kill(pid: u32, signal: &str) {
    let status = Command::new("kill")
        .args([format!("-{signal}"), pid.to_string()])
        .status()
        .unwrap();
    assert!(status.success());
}
