//! Random requests, sent to Envoy and explained.

use std::collections::HashMap;
use std::net::{Ipv4Addr, SocketAddr};

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Method, Uri};
use http_body_util::Full;
use nuncio_echo::client::{Answer, Client, Protocol, Target};
use nuncio_explain::Request;

use crate::dice::Dice;
use crate::manifests::{Manifests, Places, VALUES, path};

#[derive(Clone, Debug)]
pub(crate) struct Asked {
    pub(crate) method: &'static str,
    /// With TLS, for the server of this name.
    pub(crate) secure: bool,
    pub(crate) name: String,
    pub(crate) port: u16,
    pub(crate) authority: String,
    pub(crate) path: String,
    pub(crate) headers: Vec<(&'static str, String)>,
    pub(crate) http2: bool,
}

/// Headers that may come several times.
const REPEATED: &[&str] = &[
    "x-one",
    "x-two",
    "X-One",
    "accept",
    "cookie",
    "user-agent",
    "authorization",
    "x_under",
    "cache-control",
    "x-forwarded-host",
    "accept-language",
    "referer",
];

const ORIGINS: &[&str] = &["http://o.example", "http://p.example", "http://q.example"];

impl Asked {
    pub(crate) fn new(dice: &mut Dice, places: &Places, manifests: &Manifests, id: usize) -> Self {
        let (port, secure) = match dice.below(10) {
            0..4 => (places.http, false),
            4..6 => (places.https, true),
            6 => (places.https, false),
            7 => (places.deep, false),
            8 => (places.secure, false),
            _ => (places.insecure, dice.percent(50)),
        };
        let name = manifests.hosts[dice.below(manifests.hosts.len())].clone();
        let authority = match dice.below(20) {
            0 => format!("{name}:{port}"),
            1 => format!("{name}:{}", dice.pick(&["80", "443", "81"])),
            2 => name.to_ascii_uppercase(),
            3 => "nowhere.example".to_owned(),
            4 => manifests.hosts[dice.below(manifests.hosts.len())].clone(),
            _ => name.clone(),
        };
        let name = if secure && dice.percent(3) {
            "nowhere.example".to_owned()
        } else {
            name
        };
        let query = match dice.below(8) {
            0 => format!("?q={}", dice.pick(VALUES)),
            1 => format!("?r={}&q=1", dice.pick(VALUES)),
            2 => "?".to_owned(),
            3 => "?x=/../a//b%2F".to_owned(),
            _ => String::new(),
        };
        let mut headers = vec![("x-id", id.to_string())];
        for _ in 0..dice.below(4) {
            headers.push((dice.pick(REPEATED), dice.pick(VALUES).to_owned()));
        }
        let mut method = dice.pick(&["GET", "GET", "GET", "POST", "PUT", "HEAD", "OPTIONS"]);
        if dice.percent(35) {
            headers.push(("origin", dice.pick(ORIGINS).to_owned()));
            if dice.percent(50) {
                method = "OPTIONS";
                headers.push(("access-control-request-method", "GET".to_owned()));
            }
        }
        // Who speaks HTTP/2 says the scheme itself.
        let proxied = dice.percent(10);
        if proxied {
            let scheme = dice.pick(&["http", "https", "https", "ftp"]);
            headers.push(("x-forwarded-proto", scheme.to_owned()));
        }
        if dice.percent(15) {
            let header = dice.pick(&["x-inner=1", "x-inner=2", "cache-control=no-store"]);
            headers.push(("x-echo-header", header.to_owned()));
        }
        if dice.percent(10) {
            let status = dice.pick(&["404", "503", "418"]);
            headers.push(("x-echo-status", status.to_owned()));
        }
        let upgrade = dice.percent(12);
        if upgrade {
            method = "GET";
            let protocol = dice.pick(&["websocket", "websocket", "WebSocket", "other"]);
            headers.push(("upgrade", protocol.to_owned()));
            headers.push(("connection", dice.pick(&["upgrade", "Upgrade"]).to_owned()));
            headers.push(("sec-websocket-version", "13".to_owned()));
            headers.push(("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==".to_owned()));
        }
        Self {
            method,
            secure,
            name,
            port,
            authority,
            path: format!("{}{query}", path(dice)),
            headers,
            http2: !secure && !upgrade && !proxied && dice.percent(30),
        }
    }

    /// For `explain`.
    pub(crate) fn question(&self) -> Request {
        let scheme = if self.secure { "https" } else { "http" };
        let url = format!("{scheme}://{}{}", self.name, self.path);
        let headers = self.headers.iter();
        let headers = headers.map(|(name, value)| format!("{name}: {value}"));
        let host = format!("host: {}", self.authority);
        let mut request = Request::parse(self.method, &url, headers.chain([host])).unwrap();
        request.listener_port = Some(self.port);
        request.client = Some(Ipv4Addr::LOCALHOST.into());
        request
    }

    fn request(&self) -> http::Request<Full<Bytes>> {
        let mut request = http::Request::new(Full::default());
        *request.method_mut() = Method::from_bytes(self.method.as_bytes()).unwrap();
        *request.uri_mut() = self.path.parse::<Uri>().unwrap();
        for (name, value) in &self.headers {
            let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
            let value = HeaderValue::from_str(value).unwrap();
            request.headers_mut().append(name, value);
        }
        request
    }
}

/// Connections that are kept.
#[derive(Default)]
pub(crate) struct Connections(HashMap<(u16, Option<String>, bool), Client>);

impl Connections {
    /// `None` where nobody lets the client in.
    pub(crate) async fn send(&mut self, asked: &Asked) -> Option<Answer> {
        let name = asked.secure.then(|| asked.name.clone());
        let key = (asked.port, name, asked.http2);
        let kept = self.0.remove(&key).filter(Client::is_open);
        let mut client = match kept {
            Some(client) => client,
            None => connect(asked).await?,
        };
        let answer = client.send(&asked.authority, asked.request()).await.ok()?;
        let upgraded = answer.status == http::StatusCode::SWITCHING_PROTOCOLS;
        let closes = answer
            .headers
            .get("connection")
            .is_some_and(|value| value == "close");
        if !upgraded && !closes {
            self.0.insert(key, client);
        }
        Some(answer)
    }
}

async fn connect(asked: &Asked) -> Option<Client> {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, asked.port));
    let target = match asked.secure {
        true => Target::tls(address, asked.name.clone()),
        false => Target::cleartext(address),
    };
    let protocol = match asked.http2 {
        true => Protocol::Http2,
        false => Protocol::Http1,
    };
    Client::connect(&target, protocol).await.ok()
}
