//! A real Envoy, a server for it on a Unix socket, and upstreams.

use std::fs::File;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use nuncio_xds::{AdsServer, Options, Status};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UnixStream};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::CertificateDer;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

/// Far below the 15 s for which Envoy waits where it was not answered.
pub const SOON: Duration = Duration::from_secs(5);

fn envoy_binary() -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let path = std::env::var_os("NUNCIO_ENVOY")
        .map_or_else(|| root.join(".tools/envoy-1.40.0/envoy"), PathBuf::from);
    assert!(
        path.exists(),
        "no Envoy at {}: run `make envoy`, or set NUNCIO_ENVOY",
        path.display()
    );
    path
}

/// A folder with a server's socket and an Envoy that uses it.
pub struct Fixture {
    folder: TempDir,
    envoy: Option<Child>,
    pub server: Server,
}

impl Fixture {
    /// Starts both; Envoy is left without a snapshot.
    pub fn start(options: Options) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let server = Server::start(&folder.path().join("xds.sock"), options);
        let mut fixture = Self {
            folder,
            envoy: None,
            server,
        };
        fixture.start_envoy();
        fixture
    }

    fn start_envoy(&mut self) {
        let bootstrap = self.path("bootstrap.json");
        std::fs::write(&bootstrap, self.bootstrap().to_string()).unwrap();
        let log = File::create(self.path("envoy.log")).unwrap();
        let envoy = Command::new(envoy_binary())
            .arg("--config-path")
            .arg(bootstrap)
            .args(["--concurrency", "1", "--disable-hot-restart"])
            .args(["--log-level", "warning"])
            .args(
                std::env::var("ENVOY_LOG").map(|levels| format!("--component-log-level={levels}")),
            )
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        self.envoy = Some(envoy);
    }

    /// Ends the server as a crash would, and binds the socket anew with nothing known.
    pub async fn replace_server(&mut self, options: Options) {
        self.server.stop().await;
        self.server = Server::start(&self.path("xds.sock"), options);
    }

    /// Ends Envoy, and starts another with the same name.
    pub fn replace_envoy(&mut self) {
        self.end_envoy();
        self.start_envoy();
    }

    fn end_envoy(&mut self) {
        if let Some(mut envoy) = self.envoy.take() {
            let _ = envoy.kill();
            let _ = envoy.wait();
        }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// What Envoy's admin interface answers.
    pub async fn admin(&self, path: &str) -> String {
        let mut stream = UnixStream::connect(self.path("admin.sock")).await.unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nhost: admin\r\nconnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut response = String::new();
        stream.read_to_string(&mut response).await.unwrap();
        response
    }

    /// Waits until an answer of the admin interface holds a text. It tells of no changes, so it
    /// is asked again and again.
    pub async fn until_admin(&self, path: &str, text: &str) {
        let seen = async { while !self.admin(path).await.contains(text) {} };
        if timeout(SOON, seen).await.is_err() {
            panic!("not within {SOON:?}: \"{text}\" in {path}");
        }
    }

    /// Waits until an upstream answers on a port.
    pub async fn until_answer(&self, port: u16, body: &str) {
        let answer = async { while get(port).await.is_none_or(|(_, b)| b != body) {} };
        if timeout(SOON, answer).await.is_err() {
            panic!("not within {SOON:?}: an answer \"{body}\"");
        }
    }

    fn bootstrap(&self) -> Value {
        let ads = json!({ "ads": {}, "resource_api_version": "V3" });
        json!({
            "node": { "id": "test", "cluster": "test" },
            "admin": { "address": { "pipe": { "path": self.path("admin.sock") } } },
            "dynamic_resources": {
                "ads_config": {
                    "api_type": "DELTA_GRPC",
                    "transport_api_version": "V3",
                    "set_node_on_first_message_only": true,
                    "grpc_services": [{ "envoy_grpc": {
                        "cluster_name": "xds",
                        "retry_policy": { "retry_back_off": {
                            "base_interval": "0.05s", "max_interval": "0.1s"
                        } }
                    } }]
                },
                "cds_config": ads,
                "lds_config": ads
            },
            "static_resources": { "clusters": [{
                "name": "xds",
                "type": "STATIC",
                "typed_extension_protocol_options": {
                    "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
                        "@type": "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
                        "explicit_http_config": { "http2_protocol_options": {} }
                    }
                },
                "load_assignment": { "cluster_name": "xds", "endpoints": [{ "lb_endpoints": [{
                    "endpoint": { "address": { "pipe": { "path": self.path("xds.sock") } } }
                }] }] }
            }] },
            "layered_runtime": { "layers": [{
                "name": "runtime",
                "rtds_layer": { "name": "runtime", "rtds_config": ads }
            }] },
            "cluster_manager": { "enable_deferred_cluster_creation": true }
        })
    }
}

impl Drop for Fixture {
    fn drop(&mut self) {
        self.end_envoy();
        if std::thread::panicking() {
            let log = std::fs::read_to_string(self.path("envoy.log")).unwrap_or_default();
            eprintln!("--- Envoy's log\n{log}");
            eprintln!("--- Status\n{:#?}", *self.server.ads.status().borrow());
        }
    }
}

/// A server on its socket.
pub struct Server {
    pub ads: AdsServer,
    stop: Option<oneshot::Sender<()>>,
    task: JoinHandle<()>,
}

impl Server {
    fn start(socket: &Path, options: Options) -> Self {
        let ads = AdsServer::new(options);
        let bound = ads.bind(socket).unwrap();
        let (stop, stopped) = oneshot::channel();
        let task = tokio::spawn(async move {
            let stopped = async {
                let _ = stopped.await;
            };
            bound.serve(stopped).await.unwrap();
        });
        Self {
            ads,
            stop: Some(stop),
            task,
        }
    }

    pub async fn stop(&mut self) {
        drop(self.stop.take());
        timeout(SOON, &mut self.task)
            .await
            .expect("the server ends")
            .unwrap();
    }

    /// Waits until the status is as wanted.
    pub async fn until(&self, what: &str, mut wanted: impl FnMut(&Status) -> bool) -> Status {
        let mut status = self.ads.status();
        match timeout(SOON, status.wait_for(|status| wanted(status))).await {
            Ok(status) => status.unwrap().clone(),
            Err(_) => panic!("not within {SOON:?}: {what}"),
        }
    }

    /// Gives Envoy a snapshot and waits until it has answered all of it.
    pub async fn apply(&self, snapshot: nuncio_envoy_api::resource::Snapshot) -> Status {
        let number = self.ads.set_snapshot(Arc::new(snapshot));
        self.until("acknowledged", |status| status.acknowledged >= number)
            .await
    }
}

/// An upstream that answers every request with its name, after a delay.
pub async fn upstream(name: &'static str, delay: Duration) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut seen = Vec::new();
                let mut buffer = [0; 4096];
                while let Ok(read @ 1..) = stream.read(&mut buffer).await {
                    seen.extend_from_slice(&buffer[..read]);
                    while let Some(at) = seen.windows(4).position(|w| w == b"\r\n\r\n") {
                        seen.drain(..at + 4);
                        tokio::time::sleep(delay).await;
                        let length = name.len();
                        let answer =
                            format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n{name}");
                        if stream.write_all(answer.as_bytes()).await.is_err() {
                            return;
                        }
                    }
                }
            });
        }
    });
    address
}

/// Asks for `/`: status and body. `None` if there is nobody.
pub async fn get(port: u16) -> Option<(u16, String)> {
    let stream = TcpStream::connect(("127.0.0.1", port)).await.ok()?;
    ask(stream).await
}

/// The same over TLS, trusting a certificate for `test`.
pub async fn get_tls(port: u16, certificate: &str) -> Option<(u16, String)> {
    let mut roots = RootCertStore::empty();
    let certificate = CertificateDer::from_pem_slice(certificate.as_bytes()).unwrap();
    roots.add(certificate).unwrap();
    let config = ClientConfig::builder()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let stream = TcpStream::connect(("127.0.0.1", port)).await.ok()?;
    let stream = TlsConnector::from(Arc::new(config))
        .connect("test".try_into().unwrap(), stream)
        .await
        .ok()?;
    ask(stream).await
}

/// A connection that stays open.
pub struct Connection(TcpStream);

impl Connection {
    pub async fn open(port: u16) -> Self {
        Self(TcpStream::connect(("127.0.0.1", port)).await.unwrap())
    }

    /// Asks for `/`; the status. `None` where the answer says that the connection ends.
    pub async fn get(&mut self) -> Option<u16> {
        let request = b"GET / HTTP/1.1\r\nhost: test\r\n\r\n";
        self.0.write_all(request).await.ok()?;
        let mut seen = Vec::new();
        loop {
            let read = self.0.read_buf(&mut seen).await.ok()?;
            let text = String::from_utf8_lossy(&seen);
            if let Some((head, body)) = text.split_once("\r\n\r\n") {
                let header = |name| head.lines().find_map(|line| line.strip_prefix(name));
                let length: usize = header("content-length: ")?.parse().ok()?;
                if body.len() == length {
                    let ends = header("connection: ") == Some("close");
                    return (!ends).then(|| head.split(' ').nth(1)?.parse().ok())?;
                }
            }
            if read == 0 {
                return None;
            }
        }
    }
}

async fn ask(mut stream: impl AsyncRead + AsyncWrite + Unpin) -> Option<(u16, String)> {
    let request = b"GET / HTTP/1.1\r\nhost: test\r\nconnection: close\r\n\r\n";
    stream.write_all(request).await.ok()?;
    let mut response = String::new();
    stream.read_to_string(&mut response).await.ok()?;
    let (head, body) = response.split_once("\r\n\r\n")?;
    let status = head.split(' ').nth(1)?.parse().ok()?;
    Some((status, body.to_owned()))
}

/// A certificate for `test`, and its key.
pub fn certificate() -> (String, String) {
    let made = rcgen::generate_simple_self_signed(["test".to_owned()]).unwrap();
    (made.cert.pem(), made.signing_key.serialize_pem())
}
