//! Traffic cases: `tests/traffic/<area>/<name>.yaml` has manifests, requests, and what must come of
//! them through the real Envoy. See `tests/traffic/README.md`.

#![allow(clippy::unwrap_used)]

mod support;

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, StatusCode};
use http_body_util::Full;
use libtest_mimic::{Arguments, Failed, Trial};
use nuncio_echo::certs::{self, Authority, Pair};
use nuncio_echo::client::{Client, Protocol, Target, WebSocket};
use nuncio_echo::{Echo, Running};
use serde::Deserialize;
use serde_json::Value;
use support::{Gateway, free_port};
use tempfile::TempDir;

/// Gateways that run at once.
const AT_ONCE: usize = 4;

fn main() -> ExitCode {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/traffic");
    let mut files = Vec::new();
    for area in fs::read_dir(root)
        .unwrap()
        .map(|entry| entry.unwrap().path())
    {
        if area.is_dir() {
            let cases = fs::read_dir(area).unwrap();
            files.extend(cases.map(|entry| entry.unwrap().path()));
        }
    }
    files.sort();
    let trials = files.into_iter().map(|file| {
        let area = file.parent().unwrap().file_name().unwrap();
        let name = file.file_stem().unwrap();
        let name = format!("{}::{}", area.display(), name.display());
        Trial::test(name, move || run(&file))
    });
    let mut arguments = Arguments::from_args();
    arguments.test_threads.get_or_insert(AT_ONCE);
    libtest_mimic::run(&arguments, trials.collect()).exit_code()
}

fn run(file: &PathBuf) -> Result<(), Failed> {
    let text = fs::read_to_string(file)?;
    let documents = nuncio_api::yaml::documents(&text)
        .map_err(|error| format!("{}: {error:?}", file.display()))?;
    let case: Case = serde_path_to_error::deserialize(documents[0].clone())
        .map_err(|error| format!("{}: {error}", file.display()))?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()?;
    runtime.block_on(case.run())
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    #[serde(default)]
    variables: BTreeMap<String, String>,
    /// Of each upstream, whether it serves TLS. `$NAME` in the manifests is its address.
    #[serde(default)]
    upstreams: BTreeMap<String, Upstream>,
    /// Secrets with a self-signed certificate for these names.
    #[serde(default)]
    secrets: BTreeMap<String, Vec<String>>,
    /// Authorities by name: a Secret with the certificate and the list of what is revoked, and one
    /// for each certificate that it issues.
    #[serde(default)]
    authorities: BTreeMap<String, AuthoritySpec>,
    /// Files that resources can name, in the folder `$files`.
    #[serde(default)]
    files: BTreeMap<String, String>,
    /// `$http` and `$https` are ports.
    manifests: String,
    requests: Vec<Step>,
    /// The file with the labels of nuncio's pod.
    pod_labels: Option<String>,
    /// What keys of the diagnostics must be at the end.
    #[serde(default)]
    diagnostics: BTreeMap<String, Value>,
    /// A part of each entry that diagnostics must have; there are no others.
    #[serde(default)]
    errors: Vec<String>,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
struct Upstream {
    #[serde(default)]
    tls: bool,
    /// What it answers unless it is asked for something else.
    status: Option<u16>,
    /// It answers with the head of the request as it came.
    #[serde(default)]
    raw: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct AuthoritySpec {
    issues: Vec<String>,
    #[serde(default)]
    revokes: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Step {
    /// A method and a URL; the port of the URL is `$http` or `$https` by its scheme.
    send: String,
    #[serde(default)]
    via: Via,
    /// The server name, when it is not the URL's host.
    sni: Option<String>,
    /// The authority, when it is not the URL's.
    host: Option<String>,
    /// The Secret whose certificate the client shows.
    certificate: Option<String>,
    /// The client that a PROXY protocol header names.
    proxied_for: Option<IpAddr>,
    #[serde(default)]
    headers: BTreeMap<String, String>,
    #[serde(default)]
    body: String,
    /// What is sent in place of a request, line by line; the answer is everything that comes back.
    raw: Option<String>,
    /// A header that is another one each time.
    vary: Option<String>,
    /// How often, one after the other; or all at once.
    times: Option<usize>,
    at_once: Option<usize>,
    expect: Expect,
}

#[derive(Clone, Copy, Default, Deserialize, PartialEq)]
#[serde(rename_all = "lowercase")]
enum Via {
    #[default]
    Http1,
    Http2,
    Http3,
    Grpc,
    Websocket,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Expect {
    status: Option<u16>,
    /// Response headers; null is an absent one.
    #[serde(default)]
    headers: BTreeMap<String, Option<String>>,
    /// Parts of response headers.
    #[serde(default)]
    header_has: BTreeMap<String, String>,
    /// A part of the body.
    body: Option<String>,
    /// A part of a file in `$files`, once it is there.
    #[serde(default)]
    files: BTreeMap<String, String>,
    /// The Secret whose certificate is shown.
    certificate: Option<String>,
    /// The protocol that the server chose in ALPN; empty is none.
    alpn: Option<String>,
    /// No answer: the connection fails with this in the error.
    fails: Option<String>,
    /// The upstream that answers, and what reached it.
    upstream: Option<String>,
    #[serde(default)]
    seen: SeenExpect,
    /// Another upstream that gets a copy.
    mirrored_to: Option<String>,
    grpc_status: Option<String>,
    /// How many requests each upstream, or status, answers: between two numbers.
    #[serde(default)]
    shares: BTreeMap<String, [usize; 2]>,
    /// Whether one upstream answers all of them.
    #[serde(default)]
    same_upstream: bool,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct SeenExpect {
    /// A part of the head as it came.
    head: Option<String>,
    method: Option<String>,
    path: Option<String>,
    host: Option<String>,
    protocol: Option<String>,
    sni: Option<String>,
    body: Option<String>,
    /// Request headers, several values with `, ` between them; null is an absent one.
    #[serde(default)]
    headers: BTreeMap<String, Option<String>>,
    /// Parts of request headers.
    #[serde(default)]
    header_has: BTreeMap<String, String>,
}

/// What a case runs on.
struct Scene {
    gateway: Gateway,
    upstreams: HashMap<String, Running>,
    pairs: HashMap<String, Pair>,
    http: u16,
    https: u16,
    files: TempDir,
}

/// What came of one request.
struct Answer {
    status: u16,
    headers: HeaderMap,
    body: Bytes,
    certificate: Option<Vec<u8>>,
    alpn: Option<String>,
    grpc_status: Option<String>,
}

impl Answer {
    /// The whole of an answer, of which only the status is read.
    fn raw(bytes: &[u8]) -> Result<Self, String> {
        let text = String::from_utf8_lossy(bytes);
        let status = text.split(' ').nth(1).and_then(|code| code.parse().ok());
        Ok(Self {
            status: status.ok_or_else(|| format!("it is not an answer: {text}"))?,
            headers: HeaderMap::new(),
            body: Bytes::copy_from_slice(bytes),
            certificate: None,
            alpn: None,
            grpc_status: None,
        })
    }
}

impl Case {
    async fn run(&self) -> Result<(), Failed> {
        let scene = self.start().await;
        for step in &self.requests {
            if let Err(error) = scene.step(step).await {
                let errors = scene.gateway.errors().await;
                return Err(format!("{}: {error}\n{errors}", step.send).into());
            }
        }
        let errors: Value = serde_json::from_str(&scene.gateway.errors().await)?;
        let errors: Vec<String> = errors
            .as_array()
            .or_else(|| errors["errors"].as_array())
            .ok_or("diagnostics have no errors")?
            .iter()
            .map(ToString::to_string)
            .collect();
        let missing = |part: &&String| !errors.iter().any(|error| error.contains(part.as_str()));
        let missing: Vec<_> = self.errors.iter().filter(missing).collect();
        if !missing.is_empty() || errors.len() != self.errors.len() {
            return Err(format!("missing: {missing:?}\nof: {errors:#?}").into());
        }
        for (key, expected) in &self.diagnostics {
            let path = format!("/ambassador/v0/diag/?json=true&filter={key}");
            let (_, actual) = scene.gateway.admin_get(&path).await.ok_or("no answer")?;
            let actual: Value = serde_json::from_str(&actual)?;
            if actual != *expected {
                return Err(format!("{key} of the diagnostics is {actual}").into());
            }
        }
        Ok(())
    }

    async fn start(&self) -> Scene {
        let (http, https) = (free_port(), free_port());
        let files = tempfile::tempdir().unwrap();
        for (name, content) in &self.files {
            fs::write(files.path().join(name), content).unwrap();
        }
        let mut manifests = self
            .manifests
            .replace("$files", &files.path().display().to_string())
            .replace("$https", &https.to_string())
            .replace("$http", &http.to_string());
        let mut upstreams = HashMap::new();
        for (name, upstream) in &self.upstreams {
            let mut echo = Echo::new(name);
            if upstream.tls {
                let pair = certs::self_signed(&["upstream.example"]);
                echo = echo.tls(&pair.cert_pem, &pair.key_pem);
            }
            if let Some(status) = upstream.status {
                echo = echo.status(StatusCode::from_u16(status).unwrap());
            }
            if upstream.raw {
                echo = echo.raw();
            }
            let any_port = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
            let running = echo.start(any_port).await.unwrap();
            let address = running.address();
            manifests = manifests
                .replace(&format!("${name}.port"), &address.port().to_string())
                .replace(&format!("${name}"), &address.to_string());
            upstreams.insert(name.clone(), running);
        }
        let mut pairs = HashMap::new();
        for (name, names) in &self.secrets {
            let names: Vec<&str> = names.iter().map(String::as_str).collect();
            let pair = certs::self_signed(&names);
            manifests.push_str(&secret(name, &pair));
            pairs.insert(name.clone(), pair);
        }
        for (name, spec) in &self.authorities {
            let authority = Authority::new(name);
            let mut revoked = Vec::new();
            for (serial, issued) in (1..).zip(&spec.issues) {
                let pair = authority.issue(serial, &[issued.as_str()]);
                manifests.push_str(&secret(issued, &pair));
                pairs.insert(issued.clone(), pair);
                if spec.revokes.contains(issued) {
                    revoked.push(serial);
                }
            }
            manifests.push_str(&secret(name, authority.pair()));
            let list = STANDARD.encode(authority.revoke(&revoked));
            manifests.push_str(&format!(
                "\n---\napiVersion: v1\nkind: Secret\nmetadata: {{name: {name}-revoked}}\n\
                 data: {{crl.pem: {list}}}\n"
            ));
        }
        let mut variables: Vec<(&str, &str)> = self
            .variables
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()))
            .collect();
        let folder = tempfile::tempdir().unwrap();
        let labels = folder.path().join("labels");
        if let Some(text) = &self.pod_labels {
            fs::write(&labels, text).unwrap();
            variables.push(("NUNCIO_POD_LABELS_FILE", labels.to_str().unwrap()));
        }
        Scene {
            gateway: Gateway::start_with(&[("case.yaml", manifests)], &variables).await,
            upstreams,
            pairs,
            http,
            https,
            files,
        }
    }
}

fn secret(name: &str, pair: &Pair) -> String {
    format!(
        "\n---\napiVersion: v1\nkind: Secret\nmetadata: {{name: {name}}}\ntype: kubernetes.io/tls\n\
         data: {{tls.crt: {}, tls.key: {}}}\n",
        STANDARD.encode(&pair.cert_pem),
        STANDARD.encode(&pair.key_pem)
    )
}

impl Scene {
    async fn step(&self, step: &Step) -> Result<(), String> {
        let answers = self.send(step).await;
        let mut counts: BTreeMap<String, usize> = BTreeMap::new();
        for answer in answers {
            let answer = match (answer, &step.expect.fails) {
                (Ok(answer), None) => answer,
                (Ok(answer), Some(_)) => return Err(format!("it is answered: {}", answer.status)),
                (Err(error), Some(part)) if error.contains(part) => continue,
                (Err(error), _) => return Err(error),
            };
            let body: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
            if let Some(upstream) = body["upstream"].as_str() {
                *counts.entry(upstream.to_owned()).or_default() += 1;
            }
            *counts.entry(answer.status.to_string()).or_default() += 1;
            self.check(&step.expect, &answer, &body)?;
        }
        let upstreams = counts
            .keys()
            .filter(|who| self.upstreams.contains_key(*who));
        if step.expect.same_upstream && upstreams.count() != 1 {
            return Err(format!("several upstreams answer: {counts:?}"));
        }
        for (who, [least, most]) in &step.expect.shares {
            let count = counts.get(who).copied().unwrap_or(0);
            if !(*least..=*most).contains(&count) {
                return Err(format!("{who} has {count}: {counts:?}"));
            }
        }
        for (name, part) in &step.expect.files {
            let file = self.files.path().join(name);
            let there = async || fs::read_to_string(&file).is_ok_and(|text| text.contains(part));
            self.gateway.until(there).await;
        }
        if let Some(name) = &step.expect.mirrored_to {
            let path = step.expect.seen.path.clone();
            self.upstreams[name]
                .wait_for(|seen| path.as_ref().is_none_or(|path| seen.path == *path))
                .await;
        }
        Ok(())
    }

    async fn send(&self, step: &Step) -> Vec<Result<Answer, String>> {
        let times = step.times.unwrap_or(1);
        if let Some(at_once) = step.at_once {
            let sending = (0..at_once).map(|_| self.send_one(step, 1));
            let all = futures::future::join_all(sending).await;
            return all.into_iter().flatten().collect();
        }
        self.send_one(step, times).await
    }

    async fn send_one(&self, step: &Step, times: usize) -> Vec<Result<Answer, String>> {
        let mut answers = Vec::new();
        let host = match &step.host {
            Some(host) => host.replace("$http", &self.http.to_string()),
            None => step.url().authority().unwrap().to_string(),
        };
        match self.connection(step).await {
            Err(error) => answers.push(Err(error)),
            Ok(mut connection) => {
                for nth in 0..times {
                    answers.push(connection.ask(step, &host, nth).await);
                }
            }
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
        };
        Client::connect(&target, protocol)
            .await
            .map(Connection::Client)
            .map_err(|error| error.to_string())
    }

    fn check(&self, expect: &Expect, answer: &Answer, body: &Value) -> Result<(), String> {
        let text = String::from_utf8_lossy(&answer.body).into_owned();
        let same = |what: &str, actual: Option<String>, expected: &Option<String>| {
            if expected.is_some() && actual != *expected {
                return Err(format!("{what} is {actual:?}, not {expected:?}\n{text}"));
            }
            Ok(())
        };
        let status = expect.status.map(|status| status.to_string());
        same("status", Some(answer.status.to_string()), &status)?;
        same(
            "grpc-status",
            answer.grpc_status.clone(),
            &expect.grpc_status,
        )?;
        let string = |value: &Value| value.as_str().map(str::to_owned);
        same("upstream", string(&body["upstream"]), &expect.upstream)?;
        let seen = &expect.seen;
        if let Some(part) = &seen.head
            && !body["head"].as_str().unwrap_or_default().contains(part)
        {
            return Err(format!("what reached it is {text}"));
        }
        same("method", string(&body["method"]), &seen.method)?;
        same("path", string(&body["path"]), &seen.path)?;
        same("host", string(&body["host"]), &seen.host)?;
        same("protocol", string(&body["protocol"]), &seen.protocol)?;
        same("sni", string(&body["tls"]["sni"]), &seen.sni)?;
        same("body", string(&body["body"]), &seen.body)?;
        for (name, expected) in &seen.headers {
            let values = body["headers"][name].as_array().map(|values| {
                let values: Vec<_> = values.iter().filter_map(Value::as_str).collect();
                values.join(", ")
            });
            if values != *expected {
                return Err(format!("{name} reached it as {values:?}\n{text}"));
            }
        }
        for (name, part) in &seen.header_has {
            let value = body["headers"][name][0].as_str().unwrap_or_default();
            if !value.contains(part) {
                return Err(format!("{name} reached it as {value:?}"));
            }
        }
        for (name, part) in &expect.header_has {
            let value = answer.headers.get(name.as_str());
            let value = value.and_then(|v| v.to_str().ok()).unwrap_or_default();
            if !value.contains(part) {
                return Err(format!("response header {name} is {value:?}"));
            }
        }
        for (name, expected) in &expect.headers {
            let values = answer.headers.get_all(name.as_str());
            let values: Vec<_> = values.iter().filter_map(|v| v.to_str().ok()).collect();
            let values = (!values.is_empty()).then(|| values.join(", "));
            if values != *expected {
                return Err(format!("response header {name} is {values:?}"));
            }
        }
        if let Some(part) = &expect.body
            && !text.contains(part)
        {
            return Err(format!("the body is {text}"));
        }
        let alpn = answer.alpn.clone().unwrap_or_default();
        same("alpn", Some(alpn), &expect.alpn)?;
        if let Some(secret) = &expect.certificate
            && answer.certificate.as_deref() != Some(&self.pairs[secret].cert_der[..])
        {
            return Err(format!("the certificate is not that of {secret}"));
        }
        Ok(())
    }
}

enum Connection {
    Raw(Target),
    Client(Client),
    WebSocket(Target),
}

impl Connection {
    async fn ask(&mut self, step: &Step, host: &str, nth: usize) -> Result<Answer, String> {
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
                return Ok(Answer {
                    status: 101,
                    headers: HeaderMap::new(),
                    body: body.into(),
                    certificate: None,
                    alpn: None,
                    grpc_status: None,
                });
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
        for (name, value) in &step.headers {
            let name = HeaderName::try_from(name).unwrap();
            let value = HeaderValue::try_from(value).unwrap();
            request.headers_mut().insert(name, value);
        }
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

impl Step {
    fn method(&self) -> Method {
        self.send.split_once(' ').unwrap().0.parse().unwrap()
    }

    fn url(&self) -> http::Uri {
        self.send.split_once(' ').unwrap().1.parse().unwrap()
    }
}
