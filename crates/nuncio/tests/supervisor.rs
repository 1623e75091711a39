//! The supervisor with a real Envoy.

#![allow(clippy::unwrap_used)]

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use nuncio::supervisor::{Config, Handle, StartError, State, StateDir, StateDirError, Supervisor};
use serde_json::{Value, json};

/// Set for a copy of this test program that only starts Envoy and waits to be killed.
const HELPER: &str = "NUNCIO_TEST_SUPERVISOR_HELPER";

const RUNNING: &str = "helper: Envoy runs";

const LONG: Duration = Duration::from_secs(30);
const PAUSE: Duration = Duration::from_millis(10);

fn envoy() -> PathBuf {
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
struct Place {
    temp: tempfile::TempDir,
    state: PathBuf,
    port: u16,
    drain_time: Duration,
}

impl Place {
    fn new() -> Self {
        let temp = tempfile::tempdir().unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        Self {
            state: temp.path().join("state"),
            temp,
            port: listener.local_addr().unwrap().port(),
            drain_time: LONG,
        }
    }

    fn config(&self, answer: &str) -> Config {
        let state_dir = StateDir::open(&self.state).unwrap();
        Config {
            envoy: envoy(),
            bootstrap: bootstrap(&state_dir.admin_socket(), self.port, answer),
            state_dir,
            drain_time: self.drain_time,
            concurrency: Some(1),
            base_id: None,
            log_level: "warning".to_owned(),
            extra_args: Vec::new(),
        }
    }

    async fn start(&self, answer: &str) -> Handle {
        Supervisor::start(self.config(answer)).await.unwrap()
    }

    /// Starts Envoy from another process, and kills that as soon as Envoy runs.
    fn start_and_be_killed(&self, answer: &str) {
        Helper::start(self, answer).wait_until_running();
    }

    /// Ends the supervision, not Envoy.
    async fn release(&self, handle: Handle) {
        drop(handle);
        eventually(|| !self.state.join("lock").exists()).await;
    }

    /// The Envoys with this state folder.
    fn processes(&self) -> Vec<u32> {
        self.processes_where(|args, path| args.get(2) == Some(&path))
    }

    /// The processes whose arguments have the path of the bootstrap.
    fn processes_where(&self, matches: impl Fn(&[&str], &str) -> bool) -> Vec<u32> {
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

    fn shared_memory(&self) -> PathBuf {
        let base_id = fs::read_to_string(self.state.join("base-id")).unwrap();
        format!("/dev/shm/envoy_shared_memory_{}0", base_id.trim()).into()
    }

    /// Nothing of Envoy is left: no process (nor its keeper), no file, no socket.
    fn assert_clean(&self) {
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

struct Helper(Child);

impl Helper {
    fn start(place: &Place, answer: &str) -> Self {
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
    fn wait_until_running(&mut self) {
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

/// Not a test: what [`Helper`] runs.
#[tokio::test]
async fn helper_process() {
    let Ok(order) = std::env::var(HELPER) else {
        return;
    };
    let order: Vec<_> = order.split(' ').collect();
    let place = Place {
        temp: tempfile::tempdir().unwrap(),
        state: order[0].into(),
        port: order[1].parse().unwrap(),
        drain_time: LONG,
    };
    let _handle = place.start(order[2]).await;
    eprintln!("{RUNNING}");
    std::future::pending().await
}

fn bootstrap(admin: &Path, port: u16, answer: &str) -> Value {
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
struct Client(TcpStream);

impl Client {
    fn connect(port: u16) -> std::io::Result<Self> {
        let stream = TcpStream::connect(("127.0.0.1", port))?;
        stream.set_read_timeout(Some(LONG))?;
        Ok(Self(stream))
    }

    fn send(&mut self, delay: Duration) -> std::io::Result<()> {
        let delay = delay.as_millis();
        let delay = if delay == 0 {
            String::new()
        } else {
            format!("x-envoy-fault-delay-request: {delay}\r\n")
        };
        write!(self.0, "GET / HTTP/1.1\r\nhost: test\r\n{delay}\r\n")
    }

    /// Head and body of the answer.
    fn receive(&mut self) -> std::io::Result<(String, String)> {
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

    fn get(&mut self) -> std::io::Result<(String, String)> {
        self.send(Duration::ZERO)?;
        self.receive()
    }
}

/// The answer to one request on a connection of its own.
fn get(port: u16) -> std::io::Result<String> {
    Ok(Client::connect(port)?.get()?.1)
}

/// Envoy's admin interface answers a little before its listeners accept.
async fn serves(handle: &Handle) {
    let deadline = Instant::now() + LONG;
    while !matches!(handle.admin().get("/ready").await, Ok((status, _)) if status == 200) {
        assert!(Instant::now() < deadline, "Envoy does not become ready");
        tokio::time::sleep(PAUSE).await;
    }
}

/// Waits until Envoy has taken up a request.
async fn eventually_active(handle: &Handle) {
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

async fn eventually(mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + LONG;
    while !holds() {
        assert!(Instant::now() < deadline, "it does not come to be");
        tokio::time::sleep(PAUSE).await;
    }
}

/// One request after the other, none of which may fail.
struct Load {
    stop: mpsc::Sender<()>,
    thread: JoinHandle<(u32, String)>,
}

impl Load {
    fn start(port: u16) -> Self {
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
    fn end(self) -> (u32, String) {
        // When the thread has failed it listens no more, and joining says why.
        let _ = self.stop.send(());
        self.thread.join().unwrap()
    }
}

fn pid(handle: &Handle) -> u32 {
    match *handle.state().borrow() {
        State::Running { pid, .. } => pid,
        ref state => panic!("not running: {state:?}"),
    }
}

fn kill(pid: u32, signal: &str) {
    let status = Command::new("kill")
        .args([format!("-{signal}"), pid.to_string()])
        .status()
        .unwrap();
    assert!(status.success());
}

#[tokio::test]
async fn it_starts_and_ends_at_once_when_idle() {
    let place = Place::new();
    let handle = place.start("one").await;
    serves(&handle).await;
    assert_eq!(get(place.port).unwrap(), "one");
    let shared_memory = place.shared_memory();
    assert!(shared_memory.exists());
    // An idle connection is no reason to wait.
    let mut idle = Client::connect(place.port).unwrap();
    idle.get().unwrap();

    let drained = handle.drain_and_stop().await;
    assert!(drained.took < Duration::from_secs(3), "{drained:?}");
    assert_eq!(drained.cut_off, 0);
    place.assert_clean();
    assert!(!shared_memory.exists());
    assert_eq!(fs::read_dir(place.temp.path()).unwrap().count(), 1);
}

#[tokio::test]
async fn a_killed_envoy_is_started_again() {
    let place = Place::new();
    let handle = place.start("one").await;
    let first = pid(&handle);
    let mut state = handle.state();
    state.mark_unchanged();
    kill(first, "KILL");

    state.changed().await.unwrap();
    let State::Exited {
        status, restarts, ..
    } = state.borrow_and_update().clone()
    else {
        panic!("not exited");
    };
    assert_eq!(status.to_string(), "killed by SIGKILL (signal 9)");
    assert_eq!(restarts, 1);
    let again = state
        .wait_for(|state| matches!(state, State::Running { .. }))
        .await
        .unwrap()
        .clone();
    assert!(
        matches!(again, State::Running { pid, epoch: 0, taken_over: false } if pid != first),
        "{again:?}"
    );
    serves(&handle).await;
    assert_eq!(get(place.port).unwrap(), "one");
    assert_eq!(place.processes(), [pid(&handle)], "the old one is reaped");
    handle.drain_and_stop().await;
    place.assert_clean();
}

#[tokio::test]
async fn a_running_envoy_is_taken_over_with_its_connections() {
    let place = Place::new();
    place.start_and_be_killed("one");
    let running = place.processes();
    assert_eq!(running.len(), 1, "Envoy outlives nuncio");
    eventually(|| get(place.port).is_ok()).await;
    let mut client = Client::connect(place.port).unwrap();
    assert_eq!(client.get().unwrap().1, "one");

    let handle = place.start("one").await;
    assert_eq!(
        *handle.state().borrow(),
        State::Running {
            pid: running[0],
            epoch: 0,
            taken_over: true
        }
    );
    assert_eq!(client.get().unwrap().1, "one");

    // It is no child of this process, and is watched all the same.
    let mut state = handle.state();
    kill(running[0], "KILL");
    state
        .wait_for(|state| matches!(state, State::Exited { .. }))
        .await
        .unwrap();
    state
        .wait_for(|state| matches!(state, State::Running { .. }))
        .await
        .unwrap();
    handle.drain_and_stop().await;
    place.assert_clean();
}

#[tokio::test]
async fn an_envoy_that_was_told_to_move_clients_on_stops_doing_so_when_taken_over() {
    let place = Place::new();
    let handle = place.start("one").await;
    serves(&handle).await;
    handle.admin().post("/healthcheck/fail").await.unwrap();
    place.release(handle).await;
    let handle = place.start("one").await;
    let (head, _) = Client::connect(place.port).unwrap().get().unwrap();
    assert!(!head.contains("connection: close"), "{head}");
    handle.drain_and_stop().await;
    place.assert_clean();
}

#[tokio::test]
async fn a_changed_bootstrap_is_a_hot_restart_that_drops_nothing() {
    let mut place = Place::new();
    // The one that is replaced goes this much later, and five seconds.
    place.drain_time = Duration::from_secs(2);
    let handle = place.start("one").await;
    serves(&handle).await;
    let old = pid(&handle);
    place.release(handle).await;

    let load = Load::start(place.port);
    let handle = place.start("two").await;
    let State::Running {
        pid,
        epoch,
        taken_over,
    } = *handle.state().borrow()
    else {
        panic!("not running");
    };
    assert_ne!(pid, old);
    assert_eq!((epoch, taken_over), (1, false));
    eventually(|| place.processes() == [pid]).await;
    let (requests, last) = load.end();
    assert!(requests > 100, "{requests}");
    assert_eq!(last, "two");
    handle.drain_and_stop().await;
    place.assert_clean();
}

#[tokio::test]
async fn a_hot_restart_that_fails_leaves_the_running_envoy_alone() {
    let place = Place::new();
    let handle = place.start("one").await;
    serves(&handle).await;
    let running = place.processes();
    place.release(handle).await;

    let mut config = place.config("one");
    config.bootstrap["static_resources"]["listeners"] = json!("none");
    let error = Supervisor::start(config).await.unwrap_err();
    assert!(matches!(error, StartError::Ended(_)), "{error}");
    assert_eq!(place.processes(), running);
    assert_eq!(get(place.port).unwrap(), "one");

    let handle = place.start("one").await;
    assert_eq!(
        pid(&handle),
        running[0],
        "it is still what would be started"
    );
    handle.drain_and_stop().await;
    place.assert_clean();
}

#[tokio::test]
async fn an_envoy_without_a_record_is_found() {
    let mut place = Place::new();
    place.drain_time = Duration::from_secs(1);
    let handle = place.start("one").await;
    serves(&handle).await;
    let old = pid(&handle);
    place.release(handle).await;
    // As if nuncio had been killed between starting Envoy and writing it down.
    fs::remove_file(place.state.join("envoy.json")).unwrap();

    let handle = place.start("one").await;
    assert!(matches!(
        *handle.state().borrow(),
        State::Running { epoch: 1, .. }
    ));
    assert_ne!(pid(&handle), old);
    // Ended while its predecessor still is there: both go.
    handle.drain_and_stop().await;
    place.assert_clean();
}

#[tokio::test]
async fn a_drain_ends_soon_after_the_last_request() {
    let place = Place::new();
    let handle = place.start("one").await;
    serves(&handle).await;
    let mut slow = Client::connect(place.port).unwrap();
    slow.send(Duration::from_millis(1500)).unwrap();
    eventually_active(&handle).await;

    let asked = Instant::now();
    let (drained, during) = tokio::join!(handle.drain_and_stop(), async {
        let mut state = handle.state();
        let draining = state.wait_for(|state| matches!(state, State::Draining { .. }));
        draining.await.unwrap();
        let failed = || {
            let (head, _) = Client::connect(place.port).unwrap().get().unwrap();
            head.contains("connection: close")
        };
        eventually(failed).await;
    });
    let () = during;
    assert_eq!(slow.receive().unwrap().1, "one");
    assert_eq!(drained.cut_off, 0);
    assert!(asked.elapsed() > Duration::from_secs(1), "{drained:?}");
    assert!(asked.elapsed() < Duration::from_secs(5), "{drained:?}");
    place.assert_clean();
}

#[tokio::test]
async fn a_drain_ends_after_the_drain_time_at_the_latest() {
    let mut place = Place::new();
    place.drain_time = Duration::from_secs(1);
    let handle = place.start("one").await;
    serves(&handle).await;
    let mut slow = Client::connect(place.port).unwrap();
    slow.send(LONG).unwrap();
    eventually_active(&handle).await;

    let drained = handle.drain_and_stop().await;
    assert_eq!(drained.cut_off, 1);
    assert!(drained.took >= Duration::from_secs(1), "{drained:?}");
    assert!(drained.took < Duration::from_secs(4), "{drained:?}");
    assert!(slow.receive().is_err());
    place.assert_clean();
}

#[tokio::test]
async fn a_drain_can_be_cut_short() {
    let place = Place::new();
    let handle = place.start("one").await;
    serves(&handle).await;
    let mut slow = Client::connect(place.port).unwrap();
    slow.send(LONG).unwrap();
    eventually_active(&handle).await;

    let asked = Instant::now();
    let patience = tokio::time::timeout(Duration::from_millis(500), handle.drain_and_stop());
    assert!(patience.await.is_err(), "a request is under way");
    let drained = handle.stop_now().await;
    assert_eq!(drained.cut_off, 1);
    assert!(asked.elapsed() < Duration::from_secs(5), "{drained:?}");
    place.assert_clean();
}

#[tokio::test]
async fn a_second_supervisor_is_refused() {
    let place = Place::new();
    let mut helper = Helper::start(&place, "one");
    helper.wait_until_running();
    let refused = StateDir::open(&place.state).unwrap_err();
    let StateDirError::InUse { pid: Some(pid), .. } = refused else {
        panic!("{refused}");
    };
    assert_eq!(pid, helper.0.id());
    assert!(
        refused.to_string().contains(&format!("(pid {pid})")),
        "{refused}"
    );
    drop(helper);
    place.start("one").await.stop_now().await;
    place.assert_clean();
}

#[tokio::test]
async fn a_long_path_of_the_state_folder_works() {
    let mut place = Place::new();
    place.state = place.temp.path().join("x".repeat(150));
    let config = place.config("one");
    let sockets = config.state_dir.admin_socket().parent().unwrap().to_owned();
    assert_ne!(sockets, place.state);
    let handle = Supervisor::start(config).await.unwrap();
    serves(&handle).await;
    let running = pid(&handle);
    place.release(handle).await;

    let handle = place.start("one").await;
    assert_eq!(pid(&handle), running);
    assert_eq!(get(place.port).unwrap(), "one");
    handle.drain_and_stop().await;
    place.assert_clean();
    assert!(!sockets.exists());
}

#[tokio::test]
async fn what_keeps_envoy_from_starting_is_said() {
    let place = Place::new();
    let mut config = place.config("one");
    config.envoy = "/nowhere/envoy".into();
    let error = Supervisor::start(config).await.unwrap_err().to_string();
    assert_eq!(
        error,
        "there is no Envoy at /nowhere/envoy: run `make envoy`, or pass --envoy PATH"
    );

    let mut config = place.config("one");
    config.envoy = "/etc/passwd".into();
    let error = Supervisor::start(config).await.unwrap_err();
    assert!(matches!(error, StartError::NotExecutable(_)), "{error}");

    let mut config = place.config("one");
    config.bootstrap = json!({ "no_such_field": 1 });
    let error = Supervisor::start(config).await.unwrap_err().to_string();
    assert!(
        error.starts_with("Envoy ended as it started (exit code 1)"),
        "{error}"
    );
    place.assert_clean();
}
