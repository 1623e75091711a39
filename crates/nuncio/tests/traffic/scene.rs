//! A gateway with its upstreams, and requests to it.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Request, StatusCode};
use http_body_util::Full;
use nuncio_echo::certs::{self, Authority, Pair};
use nuncio_echo::client::{Client, Protocol, Target, Tunnel, WebSocket};
use nuncio_echo::{Echo, Running};
use tempfile::TempDir;
use tokio::sync::oneshot;

use crate::case::{Case, Expect, Step, Upstream, Via};
use crate::check::Answer;
use crate::support::{DEADLINE, Gateway, LOOK, free_port, tls_secret};

/// What a case runs on.
pub(crate) struct Scene {
    pub(crate) gateway: Gateway,
    upstreams: HashMap<String, Running>,
    pairs: HashMap<String, Pair>,
    http: u16,
    https: u16,
    files: TempDir,
    _limiter: Option<Limiter>,
}

/// A rate limit service; it ends when this is dropped.
struct Limiter {
    address: SocketAddr,
    _end: oneshot::Sender<()>,
}

impl Scene {
    pub(crate) async fn start(case: &Case) -> Self {
        let (http, https) = (free_port(), free_port());
        let files = tempfile::tempdir().unwrap();
        for (name, content) in &case.files {
            fs::write(files.path().join(name), content).unwrap();
        }
        let mut manifests = case
            .manifests
            .replace("$files", &files.path().display().to_string())
            .replace("$https", &https.to_string())
            .replace("$http", &http.to_string());
        let mut pairs = HashMap::new();
        for (name, names) in &case.secrets {
            let names: Vec<&str> = names.iter().map(String::as_str).collect();
            pairs.insert(name.clone(), certs::self_signed(&names));
        }
        for (name, spec) in &case.authorities {
            let authority = Authority::new(name);
            let mut revoked = Vec::new();
            for (serial, issued) in (1..).zip(&spec.issues) {
                let names: Vec<&str> = [issued]
                    .into_iter()
                    .chain(&spec.uri)
                    .map(|n| &**n)
                    .collect();
                pairs.insert(issued.clone(), authority.issue(serial, &names));
                if spec.revokes.contains(issued) {
                    revoked.push(serial);
                }
            }
            pairs.insert(name.clone(), authority.pair().clone());
            let list = STANDARD.encode(authority.revoke(&revoked));
            manifests.push_str(&format!(
                "\n---\napiVersion: v1\nkind: Secret\nmetadata: {{name: {name}-revoked}}\n\
                 data: {{crl.pem: {list}}}\n"
            ));
        }
        let mut upstreams = HashMap::new();
        for (name, upstream) in &case.upstreams {
            let any_port = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
            let running = echo(name, upstream, &pairs).start(any_port).await.unwrap();
            let address = running.address();
            manifests = manifests
                .replace(&format!("${name}.port"), &address.port().to_string())
                .replace(&format!("${name}"), &address.to_string());
            upstreams.insert(name.clone(), running);
        }
        let limiter = match &case.limits {
            None => None,
            Some(limits) => Some(limiter(files.path(), limits).await),
        };
        if let Some(limiter) = &limiter {
            manifests = manifests.replace("$limits", &limiter.address.to_string());
        }
        for (name, pair) in &pairs {
            manifests.push_str(&tls_secret(name, pair));
            write(files.path(), name, pair);
        }
        let mut variables: Vec<(&str, &str)> = case
            .variables
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()))
            .collect();
        let folder = tempfile::tempdir().unwrap();
        let labels = folder.path().join("labels");
        if let Some(text) = &case.pod_labels {
            fs::write(&labels, text).unwrap();
            variables.push(("NUNCIO_POD_LABELS_FILE", labels.to_str().unwrap()));
        }
        Self {
            gateway: Gateway::start_with(&[("case.yaml", manifests)], &variables).await,
            upstreams,
            pairs,
            http,
            https,
            files,
            _limiter: limiter,
        }
    }

    /// Sends what a step says and looks at what comes of it.
    pub(crate) async fn step(&self, step: &Step) -> Result<(), String> {
        let taken = async {
            let answers = self.send(step).await;
            self.check(&step.expect, answers)?;
            self.wait(&step.expect).await;
            Ok(())
        };
        match tokio::time::timeout(DEADLINE, taken).await {
            Ok(result) => result,
            Err(_) => Err("it takes too long".to_owned()),
        }
    }

    fn check(&self, expect: &Expect, answers: Vec<Result<Answer, String>>) -> Result<(), String> {
        let mut counts: BTreeMap<String, usize> = BTreeMap::new();
        for answer in answers {
            let answer = match (answer, &expect.fails) {
                (Ok(answer), None) => answer,
                (Ok(answer), Some(_)) => return Err(format!("it is answered: {}", answer.status)),
                (Err(error), Some(part)) if error.contains(part) => continue,
                (Err(error), _) => return Err(error),
            };
            if let Some(upstream) = answer.said()["upstream"].as_str() {
                *counts.entry(upstream.to_owned()).or_default() += 1;
            }
            *counts.entry(answer.status.to_string()).or_default() += 1;
            expect.check(&answer, &self.pairs)?;
        }
        let upstreams = counts
            .keys()
            .filter(|who| self.upstreams.contains_key(*who));
        if expect.same_upstream && upstreams.count() != 1 {
            return Err(format!("several upstreams answer: {counts:?}"));
        }
        for (who, [least, most]) in &expect.shares {
            let count = counts.get(who).copied().unwrap_or(0);
            if !(*least..=*most).contains(&count) {
                return Err(format!("{who} has {count}: {counts:?}"));
            }
        }
        Ok(())
    }

    /// Waits for what comes in its own time.
    async fn wait(&self, expect: &Expect) {
        for (name, part) in &expect.files {
            let file = self.files.path().join(name);
            let there = async || fs::read_to_string(&file).is_ok_and(|text| text.contains(part));
            self.gateway.until(there).await;
        }
        for (name, meant) in &expect.reaches {
            let upstream = &self.upstreams[name];
            let times = meant.times.unwrap_or(1);
            let enough = |_: &_| {
                let seen = upstream.seen();
                seen.iter().filter(|seen| meant.is(seen)).count() >= times
            };
            upstream.wait_for(enough).await;
        }
        for (name, connections) in &expect.closes {
            self.upstreams[name].wait_for_closed(*connections).await;
        }
    }

    async fn send(&self, step: &Step) -> Vec<Result<Answer, String>> {
        let host = match &step.host {
            Some(host) => host.replace("$http", &self.http.to_string()),
            None => step.url().authority().unwrap().to_string(),
        };
        if let Some(at_once) = step.at_once {
            let sending = (0..at_once).map(async |nth| {
                let mut connection = self.connection(step).await?;
                connection.ask(step, &host, nth, &HeaderMap::new()).await
            });
            return futures::future::join_all(sending).await;
        }
        let mut connection = match self.connection(step).await {
            Ok(connection) => connection,
            Err(error) => return vec![Err(error)],
        };
        if let Some(at_once) = step.multiplexed {
            let mut answers = vec![connection.ask(step, &host, 0, &HeaderMap::new()).await];
            let sending = (0..at_once).map(async |nth| {
                let mut connection = connection.shared().ok_or("it is not HTTP/2")?;
                connection.ask(step, &host, nth, &HeaderMap::new()).await
            });
            answers.extend(futures::future::join_all(sending).await);
            return answers;
        }
        let mut answers = Vec::new();
        let mut returned = HeaderMap::new();
        for nth in 0..step.times.unwrap_or(1) {
            let answer = connection.ask(step, &host, nth, &returned).await;
            for (from, to) in &step.returns {
                let to = HeaderName::try_from(to).unwrap();
                let value = answer
                    .as_ref()
                    .ok()
                    .and_then(|answer| answer.headers.get(from));
                if let Some(value) = value.filter(|_| !returned.contains_key(&to)) {
                    // Of a cookie its attributes stay where they are.
                    let value = value.to_str().unwrap().split(';').next().unwrap();
                    returned.insert(to, HeaderValue::try_from(value).unwrap());
                }
            }
            answers.push(answer);
        }
        answers
    }

    async fn connection(&self, step: &Step) -> Result<Connection, String> {
        let url = step.url();
        let tls = url.scheme_str() == Some("https");
        let port = if tls { self.https } else { self.http };
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let host = url.host().unwrap().to_owned();
        let mut target = if tls {
            Target::tls(address, step.sni.clone().unwrap_or(host))
        } else {
            Target::cleartext(address)
        };
        target.tls12 = step.tls12;
        target.proxied_for = step.proxied_for;
        let certificate = step.certificate.as_ref();
        target.certificate = certificate.map(|name| self.pairs[name].clone());
        if step.raw.is_some() {
            return Ok(Connection::Raw(target));
        }
        let protocol = match step.via {
            Via::Http1 => Protocol::Http1,
            Via::Http2 | Via::Grpc => Protocol::Http2,
            Via::Http3 => Protocol::Http3,
            Via::Websocket => return Ok(Connection::WebSocket(target)),
            Via::Connect => return Ok(Connection::Tunnel(target, Protocol::Http1)),
            Via::ConnectHttp2 => return Ok(Connection::Tunnel(target, Protocol::Http2)),
        };
        Client::connect(&target, protocol)
            .await
            .map(Connection::Client)
            .map_err(|error| error.to_string())
    }
}

/// Starts a rate limit service on limits, which counts in memory, and waits until it has read them.
async fn limiter(folder: &Path, limits: &str) -> Limiter {
    let file = folder.join("limits.yaml");
    fs::write(&file, limits).unwrap();
    let any_port = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let server = nuncio_ratelimit::Server::bind(nuncio_ratelimit::Options {
        limits: file,
        listen: any_port,
        http: any_port,
        merge_domains: false,
        near_limit_ratio: 0.8,
        key_prefix: String::new(),
        shadow_mode: false,
        headers: Some(nuncio_ratelimit::Headers::default()),
        redis: None,
    });
    let server = server.await.unwrap();
    let address = server.grpc_address().unwrap();
    let http = server.http_address().unwrap();
    let (end, ended) = oneshot::channel::<()>();
    tokio::spawn(server.run(async {
        let _ = ended.await;
    }));
    let ready = async || {
        let client = Client::connect(&Target::cleartext(http), Protocol::Http1).await;
        let answer = client.ok()?.get("localhost", "/healthcheck").await.ok()?;
        (answer.status == StatusCode::OK).then_some(())
    };
    while ready().await.is_none() {
        tokio::time::sleep(LOOK).await;
    }
    Limiter { address, _end: end }
}

fn echo(name: &str, upstream: &Upstream, pairs: &HashMap<String, Pair>) -> Echo {
    let mut echo = Echo::new(name);
    if upstream.tls {
        let pair = match &upstream.certificate {
            Some(name) => pairs[name].clone(),
            None => certs::self_signed(&["upstream.example"]),
        };
        echo = echo.tls(&pair.cert_pem, &pair.key_pem);
    }
    if let Some(authority) = &upstream.clients_of {
        echo = echo.client_ca(&pairs[authority].cert_pem);
    }
    let statuses = upstream.statuses.iter();
    echo = echo.statuses(
        statuses
            .map(|status| StatusCode::from_u16(*status).unwrap())
            .collect(),
    );
    if upstream.raw {
        echo = echo.raw();
    }
    if upstream.silent {
        echo = echo.silent();
    }
    echo
}

/// The same as files.
fn write(files: &Path, name: &str, pair: &Pair) {
    fs::write(files.join(format!("{name}.crt")), &pair.cert_pem).unwrap();
    fs::write(files.join(format!("{name}.key")), &pair.key_pem).unwrap();
}

enum Connection {
    Raw(Target),
    Client(Client),
    WebSocket(Target),
    Tunnel(Target, Protocol),
}

impl Connection {
    fn shared(&self) -> Option<Self> {
        match self {
            Self::Client(client) => client.shared().map(Self::Client),
            Self::Raw(_) | Self::WebSocket(_) | Self::Tunnel(..) => None,
        }
    }

    /// With headers beside those of the step.
    async fn ask(
        &mut self,
        step: &Step,
        host: &str,
        nth: usize,
        more: &HeaderMap,
    ) -> Result<Answer, String> {
        let url = step.url();
        let path = url.path_and_query().unwrap().to_string();
        let client = match self {
            Self::Client(client) => client,
            Self::Raw(target) => {
                let raw = step.raw.as_deref().unwrap_or_default();
                let raw = raw.trim_end().replace('\n', "\r\n") + "\r\n\r\n";
                let answer = target.raw(raw.as_bytes()).await;
                let answer = answer.map_err(|error| error.to_string())?;
                return Answer::raw(&answer);
            }
            Self::WebSocket(target) => {
                let socket = WebSocket::connect(target, host, &path).await;
                let mut socket = socket.map_err(|error| error.to_string())?;
                let body = socket.echo("hello").await;
                let body = body.map_err(|error| error.to_string())?;
                return Ok(Answer::bare(101, body));
            }
            Self::Tunnel(target, protocol) => {
                let tunnel = Tunnel::connect(target, *protocol, host, headers(step)).await;
                let mut tunnel = match tunnel.map_err(|error| error.to_string())? {
                    Ok(tunnel) => tunnel,
                    Err(status) => return Ok(Answer::bare(status.as_u16(), "")),
                };
                let body = tunnel.echo(b"hello").await;
                return Ok(Answer::bare(200, body.map_err(|error| error.to_string())?));
            }
        };
        let certificate = client.certificate().map(<[u8]>::to_vec);
        let alpn = client.alpn().map(str::to_owned);
        if step.via == Via::Grpc {
            let answer = client
                .grpc(host, &path, step.body.as_bytes())
                .await
                .map_err(|error| error.to_string())?;
            return Ok(Answer {
                status: answer.status.as_u16(),
                headers: answer.headers,
                body: answer.messages.concat().into(),
                certificate,
                alpn,
                grpc_status: answer.grpc_status,
            });
        }
        let mut request = Request::new(Full::new(Bytes::from(step.body.clone())));
        *request.method_mut() = step.method();
        *request.uri_mut() = path.parse().unwrap();
        *request.headers_mut() = headers(step);
        request.headers_mut().extend(more.clone());
        if let Some(name) = &step.vary {
            let name = HeaderName::try_from(name).unwrap();
            request.headers_mut().insert(name, nth.into());
        }
        let answer = client
            .send(host, request)
            .await
            .map_err(|error| format!("{error:?}"))?;
        Ok(Answer {
            status: answer.status.as_u16(),
            headers: answer.headers,
            body: answer.body,
            certificate,
            alpn,
            grpc_status: None,
        })
    }
}

fn headers(step: &Step) -> HeaderMap {
    let named = |(name, value): (&String, &String)| {
        let value = HeaderValue::try_from(value).unwrap();
        (HeaderName::try_from(name).unwrap(), value)
    };
    step.headers.iter().map(named).collect()
}
