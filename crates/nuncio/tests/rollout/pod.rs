//! `nuncio init` as the first process of a PID namespace, as a container has it.

use std::fs::{self, File};
use std::path::Path;
use std::process::Stdio;
use std::time::Instant;

use nuncio_echo::client::{Client, Protocol, Target, WebSocket};
use nuncio_echo::free_port;
use rustix::process::{Pid, Signal, geteuid, kill_process};
use tempfile::TempDir;
use tokio::process::{Child, Command};

use super::support::{DEADLINE, envoy};
use super::{HOST, load, local, manifests, mapping, nothing_failed, upstream};

/// Dropped, everything in the namespace ends.
struct Pod {
    child: Child,
    folder: TempDir,
    admin: u16,
}

impl Pod {
    async fn start(manifests: &str) -> Self {
        let folder = tempfile::Builder::new()
            .prefix("nuncio-")
            .tempdir()
            .unwrap();
        fs::create_dir(folder.path().join("manifests")).unwrap();
        fs::write(folder.path().join("manifests/base.yaml"), manifests).unwrap();
        let admin = free_port();
        let log = File::create(folder.path().join("log")).unwrap();
        let mut command = Command::new("unshare");
        if !geteuid().is_root() {
            command.args(["--user", "--map-root-user"]);
        }
        let child = command
            .args(["--pid", "--fork", "--kill-child", "--mount-proc", "--"])
            .arg(env!("CARGO_BIN_EXE_nuncio"))
            .arg("init")
            .arg("--manifests")
            .arg(folder.path().join("manifests"))
            .arg("--state-dir")
            .arg(folder.path().join("state"))
            .args(["--admin", &format!("127.0.0.1:{admin}")])
            .args(["--bind", "127.0.0.1", "--concurrency", "1"])
            .arg("--envoy")
            .arg(envoy())
            .env("AMBASSADOR_READY_PORT", "0")
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .kill_on_drop(true)
            .spawn()
            .expect("unshare is there (util-linux)");
        let mut pod = Self {
            child,
            folder,
            admin,
        };
        pod.ready().await;
        pod
    }

    fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).unwrap()
    }

    async fn ready(&mut self) {
        let deadline = Instant::now() + DEADLINE;
        while !self.is_ready().await {
            let ended = self.child.try_wait().unwrap();
            assert!(
                ended.is_none(),
                "nuncio init does not run in a PID namespace of its own; where unshare may not \
                 make one, allow user namespaces or run the tests as root\n{}",
                self.log()
            );
            assert!(Instant::now() < deadline, "not ready\n{}", self.log());
            tokio::time::sleep(super::support::LOOK).await;
        }
    }

    async fn is_ready(&self) -> bool {
        let answer = async {
            let target = Target::cleartext(local(self.admin));
            let mut client = Client::connect(&target, Protocol::Http1).await?;
            client.get("localhost", "/ambassador/v0/check_ready").await
        };
        answer.await.is_ok_and(|answer| answer.status == 200)
    }

    /// The process of `nuncio COMMAND`, as this side of the namespace numbers it.
    fn process(&self, command: &str) -> Option<Pid> {
        let state = self.folder.path().join("state");
        fs::read_dir("/proc").unwrap().find_map(|entry| {
            let name = entry.ok()?.file_name().into_string().ok()?;
            let pid = Pid::from_raw(name.parse().ok()?)?;
            let line = fs::read(format!("/proc/{name}/cmdline")).ok()?;
            let mut arguments = line.split(|byte| *byte == 0);
            let is_nuncio =
                Path::new(std::str::from_utf8(arguments.next()?).ok()?).ends_with("nuncio");
            let is_meant = is_nuncio && arguments.next()? == command.as_bytes();
            let state = state.to_str()?.as_bytes();
            (is_meant && arguments.any(|argument| argument == state)).then_some(pid)
        })
    }

    fn kill_nuncio(&self) {
        let nuncio = self.process("run").expect("nuncio runs");
        kill_process(nuncio, Signal::KILL).unwrap();
    }

    fn ask_to_end(&self) {
        let init = self.process("init").expect("init runs");
        kill_process(init, Signal::TERM).unwrap();
    }

    /// Waits for an orderly end.
    async fn ended(mut self) {
        let status = tokio::time::timeout(DEADLINE, self.child.wait()).await;
        let status = status.unwrap_or_else(|_| panic!("it does not end\n{}", self.log()));
        assert_eq!(status.unwrap().code(), Some(0), "{}", self.log());
        let left: Vec<_> = fs::read_dir(self.folder.path().join("state"))
            .unwrap()
            .map(|entry| entry.unwrap().file_name())
            .filter(|name| name != "kept")
            .collect();
        assert!(left.is_empty(), "left behind: {left:?}\n{}", self.log());
    }
}

impl Drop for Pod {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("{}", self.log());
        }
    }
}

/// A request that is under way when the pod is asked to end, and its answer.
async fn slow_request(target: &Target) -> tokio::task::JoinHandle<u16> {
    let mut client = Client::connect(target, Protocol::Http1).await.unwrap();
    // So that it is under way when the next one is answered.
    client.get(HOST, "/steady/").await.unwrap();
    tokio::spawn(async move {
        let answer = client.get(HOST, "/steady/?x-echo-delay=1500").await;
        answer.unwrap().status.as_u16()
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn in_a_pod_envoy_outlives_nuncio_and_is_drained_in_the_end() {
    let (quote, port) = (upstream().await, free_port());
    let mut pod = Pod::start(&manifests(port, &quote)).await;
    let target = Target::cleartext(local(port));
    let mut socket = WebSocket::connect(&target, HOST, "/ws/").await.unwrap();
    let loads = load(&target);
    for kill in 0..3 {
        pod.kill_nuncio();
        // What is written meanwhile counts when the next one is there.
        let name = format!("new-{kill}");
        let file = pod.folder.path().join(format!("manifests/{name}.yaml"));
        fs::write(file, mapping(&name, &quote, "")).unwrap();
        let deadline = Instant::now() + DEADLINE;
        loop {
            let mut client = Client::connect(&target, Protocol::Http1).await.unwrap();
            let answer = client.get(HOST, &format!("/{name}/")).await.unwrap();
            if answer.status == 200 {
                break;
            }
            assert!(Instant::now() < deadline, "{}", pod.log());
            tokio::time::sleep(super::support::LOOK).await;
        }
        pod.ready().await;
    }
    nothing_failed(loads).await;
    assert_eq!(socket.echo("survived").await.unwrap(), "survived");
    drop(socket);
    let slow = slow_request(&target).await;
    quote
        .wait_for(|request| request.path.contains("x-echo-delay"))
        .await;
    pod.ask_to_end();
    assert_eq!(slow.await.unwrap(), 200);
    pod.ended().await;
}

/// Then there is nobody but init to drain Envoy.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pod_whose_nuncio_is_dead_is_drained_too() {
    let (quote, port) = (upstream().await, free_port());
    let pod = Pod::start(&manifests(port, &quote)).await;
    let slow = slow_request(&Target::cleartext(local(port))).await;
    quote
        .wait_for(|request| request.path.contains("x-echo-delay"))
        .await;
    pod.kill_nuncio();
    pod.ask_to_end();
    assert_eq!(slow.await.unwrap(), 200);
    pod.ended().await;
}
