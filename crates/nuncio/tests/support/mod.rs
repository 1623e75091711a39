//! A running gateway: the real binary with the real Envoy, on a folder of its own.

#![allow(dead_code, unreachable_pub, clippy::unwrap_used)]

use std::ffi::OsString;
use std::fs::{self, File};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use nuncio_echo::certs::Pair;
use nuncio_echo::client::{Client, Protocol, Target};
pub use nuncio_echo::free_port;
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::process::{Child, Command};

/// Longest wait for something that must come.
pub const DEADLINE: Duration = Duration::from_secs(20);

/// Between two looks at what has no event that could be awaited from outside the process.
pub const LOOK: Duration = Duration::from_millis(10);

/// A Secret as a document of its own.
pub fn tls_secret(name: &str, pair: &Pair) -> String {
    format!(
        "\n---\napiVersion: v1\nkind: Secret\nmetadata: {{name: {name}}}\ntype: kubernetes.io/tls\n\
         data: {{tls.crt: {}, tls.key: {}}}\n---\n",
        STANDARD.encode(&pair.cert_pem),
        STANDARD.encode(&pair.key_pem)
    )
}

/// The Envoy program that `make test` installs.
pub fn envoy() -> PathBuf {
    if let Some(envoy) = std::env::var_os("NUNCIO_ENVOY") {
        return envoy.into();
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let versions = fs::read_to_string(root.join("versions.env")).unwrap();
    let version = versions
        .lines()
        .find_map(|line| line.strip_prefix("ENVOY_VERSION="))
        .expect("versions.env names a version");
    let envoy = root.join(format!(".tools/envoy-{version}/envoy"));
    assert!(envoy.is_file(), "Envoy is not installed: run `make envoy`");
    envoy
}

/// A program that `make test` builds with Go: what the variable says, or that of `tests/NAME` in the
/// version of this module.
pub fn built_with_go(variable: &str, name: &str, module: &str) -> PathBuf {
    if let Some(program) = std::env::var_os(variable) {
        return program.into();
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let required = fs::read_to_string(root.join(format!("tests/{name}/go.mod"))).unwrap();
    let version = required
        .lines()
        .find_map(|line| line.trim().strip_prefix(module)?.strip_prefix(' '))
        .and_then(|line| line.split(' ').next())
        .expect("go.mod names a version");
    let program = root.join(format!(".tools/{name}-{version}/{name}"));
    assert!(
        program.is_file(),
        "{name} is not installed: run scripts/install-{name}.sh, or set {variable}"
    );
    program
}

/// A nuncio and its Envoy. Dropped, both are ended and nothing of them stays.
pub struct Gateway {
    child: Child,
    admin: SocketAddr,
    /// What runs it; empty where nothing stands between.
    launcher: Vec<OsString>,
    /// Where it has resources from, as the command line says it.
    source: Vec<OsString>,
    variables: Vec<(String, String)>,
    folder: TempDir,
    runs: u32,
    markers: AtomicU32,
}

impl Gateway {
    /// Starts on these files and waits until it is ready.
    pub async fn start(files: &[(&str, String)]) -> Self {
        Self::start_with(files, &[]).await
    }

    /// Starts with variables of the environment.
    pub async fn start_with(files: &[(&str, String)], variables: &[(&str, &str)]) -> Self {
        Self::start_under(Vec::new(), files, variables).await
    }

    /// Starts under a program that becomes nuncio.
    pub async fn start_under(
        launcher: Vec<OsString>,
        files: &[(&str, String)],
        variables: &[(&str, &str)],
    ) -> Self {
        let folder = folder();
        let manifests = folder.path().join("manifests");
        fs::create_dir(&manifests).unwrap();
        for (name, content) in files {
            fs::write(manifests.join(name), content).unwrap();
        }
        let source = vec!["--manifests".into(), manifests.into()];
        let mut gateway = Self::spawn(folder, launcher, source, variables);
        gateway.ready().await;
        gateway
    }

    /// Starts on a cluster, and waits for nothing.
    pub fn of_cluster(kubeconfig: &Path, context: &str, variables: &[(&str, &str)]) -> Self {
        let mut source = vec!["--kubeconfig".into(), kubeconfig.into()];
        source.extend(["--context".into(), context.into()]);
        Self::spawn(folder(), Vec::new(), source, variables)
    }

    /// Starts under a program that becomes nuncio, without being told of resources, and waits for
    /// nothing.
    pub fn launched(launcher: Vec<OsString>, variables: &[(&str, &str)]) -> Self {
        Self::spawn(folder(), launcher, Vec::new(), variables)
    }

    fn spawn(
        folder: TempDir,
        launcher: Vec<OsString>,
        source: Vec<OsString>,
        variables: &[(&str, &str)],
    ) -> Self {
        let admin = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()));
        let variables: Vec<(String, String)> = variables
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect();
        Self {
            child: spawn(folder.path(), &launcher, &source, admin, &variables, 0),
            admin,
            launcher,
            source,
            variables,
            folder,
            runs: 0,
            markers: AtomicU32::new(0),
        }
    }

    pub fn admin(&self) -> SocketAddr {
        self.admin
    }

    /// Writes a file of the manifests, as one change.
    pub fn write(&self, name: &str, content: &str) {
        let new = self.folder.path().join(format!(".{name}.new"));
        fs::write(&new, content).unwrap();
        fs::rename(new, self.manifest(name)).unwrap();
    }

    pub fn remove(&self, name: &str) {
        fs::remove_file(self.manifest(name)).unwrap();
    }

    /// Waits until Envoy has answered everything that was written.
    pub async fn settled(&self) {
        // A resource that is left out, so that the report names it: by then all before it was taken
        // up, and counted.
        let name = format!("marker-{}", self.markers.fetch_add(1, Ordering::Relaxed));
        let marker = format!(
            "apiVersion: getambassador.io/v3alpha1\nkind: Module\nmetadata: {{name: {name}}}\n\
             spec: {{config: {{}}}}\n"
        );
        self.write("marker.yaml", &marker);
        self.until(async || self.notices().await.contains(&format!("{name}:")))
            .await;
        self.until(async || {
            let changes = self.metric("nuncio_changes_total").await;
            let acknowledged = "nuncio_change_to_acknowledged_seconds_count";
            self.metric(acknowledged).await >= changes
        })
        .await;
    }

    /// The body of a GET on the admin port, and its status.
    pub async fn admin_get(&self, path: &str) -> Option<(u16, String)> {
        let target = Target::cleartext(self.admin);
        let mut client = Client::connect(&target, Protocol::Http1).await.ok()?;
        let answer = client.get("localhost", path).await.ok()?;
        let body = String::from_utf8_lossy(&answer.body).into_owned();
        Some((answer.status.as_u16(), body))
    }

    /// The report's errors, as the diagnostics have them.
    pub async fn errors(&self) -> String {
        let path = "/ambassador/v0/diag/?json=true&filter=errors";
        self.admin_get(path)
            .await
            .expect("the admin port answers")
            .1
    }

    /// Its warnings and notices.
    pub async fn notices(&self) -> String {
        let path = "/ambassador/v0/diag/?json=true&filter=notices";
        self.admin_get(path)
            .await
            .expect("the admin port answers")
            .1
    }

    /// Waits until something holds that has no event of its own.
    pub async fn until(&self, holds: impl AsyncFn() -> bool) {
        let deadline = Instant::now() + DEADLINE;
        while !holds().await {
            assert!(Instant::now() < deadline, "it never holds\n{}", self.log());
            tokio::time::sleep(LOOK).await;
        }
    }

    pub async fn metric(&self, name: &str) -> u64 {
        let (_, text) = self
            .admin_get("/metrics")
            .await
            .expect("the admin port answers");
        text.lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.parse().ok())
            .unwrap_or(0)
    }

    pub async fn ready(&mut self) {
        let deadline = Instant::now() + DEADLINE;
        loop {
            if let Some((200, _)) = self.check_ready().await {
                return;
            }
            let ended = self.child.try_wait().unwrap();
            assert!(ended.is_none(), "nuncio ended: {ended:?}\n{}", self.log());
            assert!(
                Instant::now() < deadline,
                "nuncio is not ready\n{}",
                self.log()
            );
            tokio::time::sleep(LOOK).await;
        }
    }

    /// What Envoy's own admin interface answers to a POST.
    pub async fn envoy_post(&self, path: &str) -> String {
        let socket = self.folder.path().join("state/admin.sock");
        let mut stream = UnixStream::connect(socket).await.unwrap();
        let request = format!("POST {path} HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    }

    /// What the state folder says of Envoy's process.
    pub fn record(&self) -> serde_json::Value {
        let record = fs::read_to_string(self.folder.path().join("state/envoy.json")).unwrap();
        serde_json::from_str(&record).unwrap()
    }

    pub async fn envoy_pid(&self) -> i32 {
        i32::try_from(self.record()["pid"].as_i64().unwrap()).unwrap()
    }

    /// SIGKILL for Envoy.
    pub async fn kill_envoy(&self) {
        signal(self.envoy_pid().await, Signal::KILL);
    }

    pub async fn kill9(&mut self) {
        self.child.kill().await.unwrap();
    }

    /// Starts nuncio again after it ended.
    pub async fn restart(&mut self) {
        self.start_again();
        self.ready().await;
    }

    /// The same, without waiting for it.
    pub fn start_again(&mut self) {
        self.runs += 1;
        self.child = spawn(
            self.folder.path(),
            &self.launcher,
            &self.source,
            self.admin,
            &self.variables,
            self.runs,
        );
    }

    /// Its pid, if the state folder says one.
    pub fn try_envoy_pid(&self) -> Option<i32> {
        let record = fs::read_to_string(self.path("state/envoy.json")).ok()?;
        let record: serde_json::Value = serde_json::from_str(&record).ok()?;
        i32::try_from(record["pid"].as_i64()?).ok()
    }

    /// Ends it in order, and sees that nothing stays behind.
    pub async fn terminate(self) {
        let envoy = self.envoy_pid().await;
        self.terminate_with(envoy).await;
    }

    /// SIGTERM for nuncio.
    pub fn ask_to_end(&self) {
        signal(self.pid(), Signal::TERM);
    }

    /// Waits until nuncio has ended in order.
    pub async fn ended(&mut self) {
        let status = tokio::time::timeout(DEADLINE, self.child.wait()).await;
        let status = status.unwrap_or_else(|_| panic!("nuncio did not end\n{}", self.log()));
        assert!(status.unwrap().success(), "{}", self.log());
    }

    /// The same with the Envoy of this pid.
    pub async fn terminate_with(mut self, envoy: i32) {
        self.ask_to_end();
        self.ended().await;
        assert!(!alive(envoy), "Envoy outlived an orderly end");
        let left: Vec<_> = fs::read_dir(self.folder.path().join("state"))
            .map(|entries| entries.map(|entry| entry.unwrap().path()))
            .map(|paths| paths.filter(|path| !is_kept(path)).collect())
            .unwrap_or_default();
        assert!(left.is_empty(), "left behind: {left:?}");
    }

    pub fn pid(&self) -> i32 {
        self.child.id().map_or(0, |id| i32::try_from(id).unwrap())
    }

    pub fn manifest(&self, name: &str) -> PathBuf {
        self.folder.path().join("manifests").join(name)
    }

    /// A path in the folder that has the manifests and the state folder.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The status and the body of check_ready; `None` before the admin port answers.
    pub async fn check_ready(&self) -> Option<(u16, String)> {
        self.admin_get("/ambassador/v0/check_ready").await
    }

    /// What nuncio and Envoy said.
    pub fn log(&self) -> String {
        let logs = (0..=self.runs).map(|run| {
            let path = self.folder.path().join(format!("log-{run}"));
            fs::read_to_string(path).unwrap_or_default()
        });
        let all: Vec<String> = logs.collect();
        all.join("--- restarted ---\n")
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("{}", self.log());
        }
        // The keeper of Envoy leads its process group.
        let record = fs::read_to_string(self.folder.path().join("state/envoy.json"));
        let _ = self.child.start_kill();
        if let Ok(record) = record
            && let Ok(record) = serde_json::from_str::<serde_json::Value>(&record)
            && let Some(pid) = record["pid"].as_i64()
            && let Ok(pid) = i32::try_from(pid)
        {
            signal(pid, Signal::KILL);
        }
    }
}

/// Whether a path in the state folder is to be there for the next start.
fn is_kept(path: &Path) -> bool {
    path.ends_with("kept") || path.ends_with("kept-consul")
}

fn folder() -> TempDir {
    let mut builder = tempfile::Builder::new();
    builder.prefix("nuncio-").tempdir().unwrap()
}

fn spawn(
    folder: &Path,
    launcher: &[OsString],
    source: &[OsString],
    admin: SocketAddr,
    variables: &[(String, String)],
    run: u32,
) -> Child {
    let log = File::create(folder.join(format!("log-{run}"))).unwrap();
    let nuncio = OsString::from(env!("CARGO_BIN_EXE_nuncio"));
    let mut line = launcher.iter().chain([&nuncio]);
    Command::new(line.next().expect("at least nuncio"))
        .args(line)
        .arg("run")
        .args(source)
        .arg("--state-dir")
        .arg(folder.join("state"))
        .args(["--admin", &admin.to_string()])
        .args([
            "--bind",
            "127.0.0.1",
            "--concurrency",
            "1",
            "--drain-time",
            "10",
        ])
        .arg("--envoy")
        .arg(envoy())
        // Several run on one machine.
        .env("AMBASSADOR_READY_PORT", "0")
        .envs(variables.iter().map(|(name, value)| (name, value)))
        .stdin(Stdio::null())
        .stdout(log.try_clone().unwrap())
        .stderr(log)
        .spawn()
        .unwrap()
}

fn signal(pid: i32, signal: Signal) {
    if let Some(pid) = Pid::from_raw(pid) {
        let _ = kill_process(pid, signal);
    }
}

fn alive(pid: i32) -> bool {
    // A zombie has ended.
    fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| !stat.contains(") Z "))
}
