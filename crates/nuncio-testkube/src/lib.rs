//! A real Kubernetes API for tests and measurements: etcd, kube-apiserver and, where wanted, some
//! controllers, each on a free loopback port. There are no nodes, so no pod ever runs.
//!
//! Several can run side by side. All of it ends with the process that started it, however that
//! ends, and what it wrote is in a temporary folder.
//!
//! The programs are those of `scripts/install-kubernetes.sh`; `KUBERNETES_BIN` names their folder.

mod objects;
mod process;

use std::fs;
use std::net::{IpAddr, Ipv4Addr, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use nuncio_echo::free_port;
use tempfile::TempDir;
use tokio::time::{Instant, sleep};

pub use process::Process;

/// Longest wait for something that must come, also on a busy machine.
pub const DEADLINE: Duration = Duration::from_secs(60);

/// Between two looks at what has no event that could be awaited from outside the process.
const LOOK: Duration = Duration::from_millis(50);

/// How often ports are chosen anew that somebody took meanwhile.
const TRIES: usize = 3;

/// Who may do everything, and the context of the kubeconfig.
pub const ADMIN: &str = "admin";

/// A user without any rights, and the context of the kubeconfig.
pub const NOBODY: &str = "nobody";

/// Those that make of an object what others need of it. None of them makes pods.
const CONTROLLERS: &str = "namespace-controller,garbage-collector-controller,\
    serviceaccount-controller,root-ca-certificate-publisher-controller,endpoints-controller,\
    endpointslice-controller,endpointslice-mirroring-controller,deployment-controller,\
    replicaset-controller,clusterrole-aggregation-controller";

/// A running API. Dropped, all of it ends.
#[derive(Debug)]
pub struct Kubernetes {
    controllers: Option<Process>,
    api_server: Option<Process>,
    _etcd: Process,
    programs: PathBuf,
    options: Vec<String>,
    etcd_port: u16,
    port: u16,
    /// Removed when nobody writes into it any more.
    folder: TempDir,
}

impl Kubernetes {
    /// Starts etcd and the API server, and waits until it is ready.
    pub async fn start() -> anyhow::Result<Self> {
        Self::start_with(&[]).await
    }

    /// The same, with more options of the API server.
    pub async fn start_with(options: &[&str]) -> anyhow::Result<Self> {
        let programs = programs()?;
        let mut last = None;
        for _ in 0..TRIES {
            match Self::try_start(programs.clone(), options).await {
                Ok(started) => return Ok(started),
                Err(error) => last = Some(error),
            }
        }
        Err(last.context("invariant: there is a try")?)
    }

    async fn try_start(programs: PathBuf, options: &[&str]) -> anyhow::Result<Self> {
        let folder = tempfile::Builder::new().prefix("testkube-").tempdir()?;
        let (etcd_port, peer_port, port) = (free_port(), free_port(), free_port());
        let pki = folder.path().join("pki");
        fs::create_dir(&pki)?;
        let tokens = [(ADMIN, "system:masters"), (NOBODY, "")]
            .map(|(user, groups)| format!("{},{user},{user},{groups}\n", token(user)));
        fs::write(pki.join("tokens.csv"), tokens.concat())?;
        let key = rcgen::KeyPair::generate()?;
        fs::write(pki.join("accounts.key"), key.serialize_pem())?;
        fs::write(pki.join("accounts.pub"), key.public_key_pem())?;

        let (client, peer) = (url("http", etcd_port), url("http", peer_port));
        let data = folder.path().join("etcd").display().to_string();
        // The data is thrown away: it need not reach a disk.
        let etcd = Process::start(
            &programs.join("etcd"),
            &[
                format!("--data-dir={data}"),
                "--unsafe-no-fsync".to_owned(),
                "--log-level=warn".to_owned(),
                format!("--listen-client-urls={client}"),
                format!("--advertise-client-urls={client}"),
                format!("--listen-peer-urls={peer}"),
                format!("--initial-advertise-peer-urls={peer}"),
                format!("--initial-cluster=default={peer}"),
            ],
            folder.path(),
        )?;
        let mut kubernetes = Self {
            controllers: None,
            api_server: None,
            _etcd: etcd,
            programs,
            options: options.iter().map(|option| (*option).to_owned()).collect(),
            etcd_port,
            port,
            folder,
        };
        kubernetes.start_api_server().await?;
        Ok(kubernetes)
    }

    /// Starts the API server again, on the same port and with the same objects, and waits until
    /// it is ready.
    pub async fn start_api_server(&mut self) -> anyhow::Result<()> {
        ensure!(self.api_server.is_none(), "the API server runs already");
        let pki = self.path("pki").display().to_string();
        let mut options = vec![
            format!("--etcd-servers={}", url("http", self.etcd_port)),
            "--bind-address=127.0.0.1".to_owned(),
            "--advertise-address=127.0.0.1".to_owned(),
            // A loopback address is no endpoint of the Service kubernetes.
            "--endpoint-reconciler-type=none".to_owned(),
            format!("--secure-port={}", self.port),
            format!("--cert-dir={pki}"),
            format!("--token-auth-file={pki}/tokens.csv"),
            "--service-cluster-ip-range=10.96.0.0/16".to_owned(),
            "--service-account-issuer=https://kubernetes.default.svc".to_owned(),
            format!("--service-account-key-file={pki}/accounts.pub"),
            format!("--service-account-signing-key-file={pki}/accounts.key"),
            "--authorization-mode=RBAC".to_owned(),
            "--allow-privileged".to_owned(),
            "--enable-priority-and-fairness=false".to_owned(),
            "--profiling=false".to_owned(),
        ];
        options.extend(self.options.iter().cloned());
        let program = self.programs.join("kube-apiserver");
        let api_server = Process::start(&program, &options, self.folder.path())?;
        self.api_server = Some(api_server);
        let deadline = Instant::now() + DEADLINE;
        loop {
            if self.is_ready().await {
                return Ok(());
            }
            if let Some(api_server) = &mut self.api_server
                && let Some(status) = api_server.ended()?
            {
                let log = api_server.log();
                self.api_server = None;
                bail!("kube-apiserver ended: {status}\n{log}");
            }
            ensure!(
                Instant::now() < deadline,
                "kube-apiserver is not ready\n{}",
                self.log()
            );
            sleep(LOOK).await;
        }
    }

    /// Ends the API server without a word, as a machine that fails does. Its objects stay.
    pub async fn kill_api_server(&mut self) -> anyhow::Result<()> {
        let api_server = self.api_server.take();
        api_server.context("no API server runs")?.kill().await
    }

    /// Starts controllers beside it, and waits until they have begun their work.
    pub async fn start_controllers(&mut self) -> anyhow::Result<()> {
        let pki = self.path("pki").display().to_string();
        let controllers = Process::start(
            &self.programs.join("kube-controller-manager"),
            &[
                format!("--kubeconfig={}", self.kubeconfig().display()),
                "--leader-elect=false".to_owned(),
                "--secure-port=0".to_owned(),
                format!("--service-account-private-key-file={pki}/accounts.key"),
                format!("--root-ca-file={pki}/apiserver.crt"),
                format!("--controllers={CONTROLLERS}"),
                "--profiling=false".to_owned(),
            ],
            self.folder.path(),
        )?;
        self.controllers = Some(controllers);
        let accounts: kube::Api<k8s_openapi::api::core::v1::ServiceAccount> =
            kube::Api::namespaced(self.client().await?, "default");
        self.until("the controllers work", async || {
            accounts.get("default").await.is_ok()
        })
        .await
    }

    /// The API server's process, while it runs.
    pub fn api_server(&self) -> Option<&Process> {
        self.api_server.as_ref()
    }

    /// Where it is reached.
    pub fn url(&self) -> String {
        url("https", self.port)
    }

    /// A kubeconfig with the contexts [`ADMIN`], the current one, and [`NOBODY`].
    pub fn kubeconfig(&self) -> PathBuf {
        self.path("kubeconfig")
    }

    /// kubectl, as [`ADMIN`].
    pub fn kubectl(&self) -> Command {
        let mut command = Command::new(self.programs.join("kubectl"));
        command
            .env("KUBECONFIG", self.kubeconfig())
            // What it finds out of API servers it keeps there.
            .env("HOME", self.folder.path());
        command
    }

    /// Host and port.
    pub fn address(&self) -> (String, u16) {
        (Ipv4Addr::LOCALHOST.to_string(), self.port)
    }

    /// What says who somebody is: [`ADMIN`] or [`NOBODY`].
    pub fn token(&self, user: &str) -> String {
        token(user)
    }

    /// Who vouches for the API server, as PEM.
    pub fn authority(&self) -> anyhow::Result<String> {
        Ok(fs::read_to_string(self.path("pki/apiserver.crt"))?)
    }

    /// A client that may do everything.
    pub async fn client(&self) -> anyhow::Result<Client> {
        self.client_of(ADMIN).await
    }

    /// A client of [`ADMIN`] or [`NOBODY`].
    pub async fn client_of(&self, user: &str) -> anyhow::Result<Client> {
        let kubeconfig = Kubeconfig::read_from(self.kubeconfig())?;
        let options = KubeConfigOptions {
            context: Some(user.to_owned()),
            ..KubeConfigOptions::default()
        };
        let mut config = Config::from_custom_kubeconfig(kubeconfig, &options).await?;
        // What nobody is refused is what a test is about.
        config.default_retry = user == ADMIN;
        Ok(Client::try_from(config)?)
    }

    /// What the API server has said.
    pub fn log(&self) -> String {
        self.api_server
            .as_ref()
            .map_or_else(String::new, Process::log)
    }

    /// Waits until something holds that has no event of its own.
    pub async fn until(&self, what: &str, holds: impl AsyncFn() -> bool) -> anyhow::Result<()> {
        let deadline = Instant::now() + DEADLINE;
        while !holds().await {
            ensure!(Instant::now() < deadline, "it never holds that {what}");
            sleep(LOOK).await;
        }
        Ok(())
    }

    async fn is_ready(&self) -> bool {
        // The API server makes its certificate at its first start.
        if !self.kubeconfig().exists() && self.write_kubeconfig().is_err() {
            return false;
        }
        let (Ok(client), Ok(request)) = (
            self.client().await,
            http::Request::get("/readyz").body(Vec::new()),
        ) else {
            return false;
        };
        client.request_text(request).await.is_ok()
    }

    fn write_kubeconfig(&self) -> anyhow::Result<()> {
        let authority = self.path("pki/apiserver.crt");
        ensure!(authority.exists(), "there is no certificate yet");
        let users = [ADMIN, NOBODY];
        let contexts = users.map(
            |user| serde_json::json!({"name": user, "context": {"cluster": "test", "user": user}}),
        );
        let users =
            users.map(|user| serde_json::json!({"name": user, "user": {"token": token(user)}}));
        let cluster = serde_json::json!({
            "server": self.url(), "certificate-authority": authority,
        });
        let kubeconfig = serde_json::json!({
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": ADMIN,
            "contexts": contexts,
            "clusters": [{"name": "test", "cluster": cluster}],
            "users": users,
        });
        fs::write(self.kubeconfig(), kubeconfig.to_string())?;
        Ok(())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }
}

/// An address of this machine that may stand in an EndpointSlice: the API server refuses those of
/// the loopback. What is sent there does not leave the machine either.
pub fn own_address() -> anyhow::Result<IpAddr> {
    // Connecting by UDP sends nothing; it only chooses the way, also to an address that is nobody's.
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
    socket
        .connect((Ipv4Addr::new(192, 0, 2, 1), 9))
        .context("this machine has no address but those of the loopback")?;
    Ok(socket.local_addr()?.ip())
}

/// The folder of the programs that `make test` builds.
fn programs() -> anyhow::Result<PathBuf> {
    let folder = std::env::var_os("KUBERNETES_BIN").context(
        "KUBERNETES_BIN names no folder: run `make test`, or export what \
         scripts/install-kubernetes.sh prints",
    )?;
    let folder = Path::new(&folder).to_owned();
    let has = folder.join("kube-apiserver").is_file();
    ensure!(has, "there is no kube-apiserver in {}", folder.display());
    Ok(folder)
}

/// Nobody but this machine's users can reach it.
fn token(user: &str) -> String {
    format!("token-of-{user}")
}

fn url(scheme: &str, port: u16) -> String {
    format!("{scheme}://{}:{port}", Ipv4Addr::LOCALHOST)
}
