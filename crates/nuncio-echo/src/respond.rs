//! One request, one answer.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures::{SinkExt, StreamExt};
use http::header::{
    CONNECTION, CONTENT_TYPE, HOST, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, UPGRADE,
};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, Version};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full};
use hyper::body::{Frame, Incoming};
use hyper_util::rt::TokioIo;
use serde_json::json;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::Role;

use crate::authorize;
use crate::seen::{KEPT_BODY, Seen};
use crate::server::Upstream;

pub(crate) type Body = UnsyncBoxBody<Bytes, Infallible>;

/// The connection that a request came on.
pub(crate) struct Peer {
    pub(crate) connection: u64,
    pub(crate) tls: bool,
    pub(crate) sni: Option<String>,
    pub(crate) alpn: Option<String>,
}

impl Peer {
    pub(crate) fn cleartext(connection: u64) -> Self {
        Self {
            connection,
            tls: false,
            sni: None,
            alpn: None,
        }
    }
}

pub(crate) async fn respond(
    upstream: Arc<Upstream>,
    peer: Arc<Peer>,
    request: Request<Incoming>,
) -> Result<Response<Body>, Infallible> {
    if authorize::is_meant(&request) {
        return Ok(authorize::check(&upstream, request).await);
    }
    let seen = seen(&request);
    let count = upstream.seen.push(seen.clone());
    let wishes = Wishes::of(&upstream, &seen);
    if let Some(delay) = wishes.next(&upstream, "x-echo-delay") {
        tokio::time::sleep(Duration::from_millis(delay)).await;
    }
    let mut response = if is_websocket(&request) {
        websocket(request)
    } else if request.method() == Method::CONNECT {
        tunnel(request)
    } else if is_grpc(&request) {
        grpc(&upstream, request, count, &wishes).await
    } else {
        say(&upstream, &peer, request, &seen, count, &wishes).await
    };
    let name = HeaderValue::from_str(&upstream.name).unwrap_or(HeaderValue::from_static("echo"));
    response.headers_mut().insert("x-echo-upstream", name);
    for wish in wishes.all("x-echo-header") {
        if let Some((name, value)) = wish.split_once('=')
            && let (Ok(name), Ok(value)) =
                (HeaderName::try_from(name), HeaderValue::try_from(value))
        {
            response.headers_mut().append(name, value);
        }
    }
    Ok(response)
}

async fn say(
    upstream: &Upstream,
    peer: &Peer,
    request: Request<Incoming>,
    seen: &Seen,
    count: usize,
    wishes: &Wishes,
) -> Response<Body> {
    let status = wishes
        .next(upstream, "x-echo-status")
        .unwrap_or_else(|| upstream.status(count));
    let version = match request.version() {
        Version::HTTP_2 => "HTTP/2",
        Version::HTTP_10 => "HTTP/1.0",
        _ => "HTTP/1.1",
    };
    let body = body(upstream, count, request).await;
    let answer = match wishes.get("x-echo-size").and_then(|size| size.parse().ok()) {
        Some(size) => vec![b'x'; size],
        None => {
            let shown = &body[..body.len().min(KEPT_BODY)];
            let mut text = json!({
                "upstream": upstream.name,
                "method": seen.method,
                "path": seen.path,
                "host": seen.host,
                "protocol": version,
                "headers": seen.headers,
                "body": String::from_utf8_lossy(shown),
                "tls": peer.tls.then(|| json!({ "sni": peer.sni, "alpn": peer.alpn })),
                "connection": peer.connection,
                "request": count,
            })
            .to_string();
            text.push('\n');
            text.into_bytes()
        }
    };
    let mut response = Response::new(full(answer));
    *response.status_mut() = status;
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

fn is_websocket(request: &Request<Incoming>) -> bool {
    request
        .headers()
        .get(UPGRADE)
        .is_some_and(|upgrade| upgrade.as_bytes().eq_ignore_ascii_case(b"websocket"))
}

/// Sends every message back.
fn websocket(mut request: Request<Incoming>) -> Response<Body> {
    let accept = request
        .headers()
        .get(SEC_WEBSOCKET_KEY)
        .and_then(|key| HeaderValue::try_from(derive_accept_key(key.as_bytes())).ok());
    let upgrade = hyper::upgrade::on(&mut request);
    tokio::spawn(async move {
        let Ok(upgraded) = upgrade.await else { return };
        let io = TokioIo::new(upgraded);
        let mut socket = WebSocketStream::from_raw_socket(io, Role::Server, None).await;
        while let Some(Ok(message)) = socket.next().await {
            let data = message.is_text() || message.is_binary();
            if data && socket.send(message).await.is_err() {
                return;
            }
        }
    });
    let mut response = Response::new(full(Vec::new()));
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = response.headers_mut();
    headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
    if let Some(accept) = accept {
        headers.insert(SEC_WEBSOCKET_ACCEPT, accept);
    }
    response
}

/// Is whoever is asked for: sends every byte back.
fn tunnel(mut request: Request<Incoming>) -> Response<Body> {
    let upgrade = hyper::upgrade::on(&mut request);
    tokio::spawn(async move {
        let Ok(upgraded) = upgrade.await else { return };
        let (mut read, mut write) = tokio::io::split(TokioIo::new(upgraded));
        // It ends when either side does.
        let _ = tokio::io::copy(&mut read, &mut write).await;
    });
    Response::new(full(Vec::new()))
}

fn is_grpc(request: &Request<Incoming>) -> bool {
    request
        .headers()
        .get(CONTENT_TYPE)
        .is_some_and(|kind| kind.as_bytes().starts_with(b"application/grpc"))
}

/// gRPC without messages of its own: frames come back as they are.
async fn grpc(
    upstream: &Upstream,
    request: Request<Incoming>,
    count: usize,
    wishes: &Wishes,
) -> Response<Body> {
    const HEALTH: &str = "/grpc.health.v1.Health/Check";
    const NOT_FOUND: HeaderValue = HeaderValue::from_static("5");
    let path = request.uri().path().to_owned();
    let frames = body(upstream, count, request).await;
    let known = path != HEALTH || is_whole_or(&upstream.name, &frames);
    let answer = match path.as_str() {
        HEALTH if !known => Vec::new(),
        // HealthCheckResponse { status: SERVING }, not compressed.
        HEALTH => vec![0, 0, 0, 0, 2, 0x08, 0x01],
        path if path.ends_with("/Stream") => frames.repeat(3),
        _ => frames.to_vec(),
    };
    let mut trailers = HeaderMap::new();
    let status = wishes
        .get("x-echo-grpc-status")
        .and_then(|status| HeaderValue::from_str(status).ok())
        .unwrap_or(HeaderValue::from_static("0"));
    trailers.insert("grpc-status", if known { status } else { NOT_FOUND });
    let body = Full::new(Bytes::from(answer)).with_trailers(async { Some(Ok(trailers)) });
    let mut response = Response::new(body.boxed_unsync());
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    response
}

/// The body of the nth request, from 1; nothing of one that breaks off. What comes of it can be seen
/// as it comes: a stream may have no end.
async fn body(upstream: &Upstream, nth: usize, request: Request<Incoming>) -> Bytes {
    let mut incoming = request.into_body();
    let mut whole = BytesMut::new();
    while let Some(frame) = incoming.frame().await {
        match frame.map(Frame::into_data) {
            Ok(Ok(data)) => {
                upstream.seen.add_body(nth, &data);
                whole.extend_from_slice(&data);
            }
            // Trailers.
            Ok(Err(_)) => {}
            Err(_) => return Bytes::new(),
        }
    }
    whole.freeze()
}

/// Whether a framed `HealthCheckRequest` asks for the whole, or for the service with this name.
fn is_whole_or(name: &str, frame: &[u8]) -> bool {
    // Field 1 is the service: a tag, a length, the name.
    match frame.get(5..) {
        None | Some([]) => true,
        Some([0x0a, _, service @ ..]) => service == name.as_bytes(),
        Some(_) => false,
    }
}

fn full(bytes: Vec<u8>) -> Body {
    Full::new(Bytes::from(bytes)).boxed_unsync()
}

fn seen(request: &Request<Incoming>) -> Seen {
    let mut headers: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (name, value) in request.headers() {
        headers
            .entry(name.as_str().to_owned())
            .or_default()
            .push(String::from_utf8_lossy(value.as_bytes()).into_owned());
    }
    let host = request
        .headers()
        .get(HOST)
        .map(|host| String::from_utf8_lossy(host.as_bytes()).into_owned())
        .or_else(|| request.uri().authority().map(ToString::to_string))
        .unwrap_or_default();
    Seen {
        method: request.method().to_string(),
        path: request
            .uri()
            .path_and_query()
            .map_or_else(|| "*".to_owned(), ToString::to_string),
        host,
        headers,
        body: Vec::new(),
    }
}

/// What a request asks for, in headers and query parameters.
pub(crate) struct Wishes(Vec<(String, String)>);

impl Wishes {
    pub(crate) fn of(upstream: &Upstream, seen: &Seen) -> Self {
        let headers = seen
            .headers
            .iter()
            .flat_map(|(name, values)| values.iter().map(move |value| (&**name, &**value)));
        let query = seen.path.split_once('?').map_or("", |(_, query)| query);
        let query = query.split('&').filter_map(|pair| pair.split_once('='));
        let all = Self(
            headers
                .chain(query)
                .filter(|(name, _)| name.starts_with("x-echo-"))
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .collect(),
        );
        match all.get("x-echo-at") {
            Some(name) if name != upstream.name => Self(Vec::new()),
            _ => all,
        }
    }

    /// The next of a list of values, the last one for ever.
    pub(crate) fn next<T: FromStr>(&self, upstream: &Upstream, name: &str) -> Option<T> {
        let values: Vec<&str> = self.get(name)?.split(',').map(str::trim).collect();
        let key = self.get("x-echo-key").unwrap_or_default();
        let nth = upstream.nth(format!("{name}:{key}"));
        values.get(nth).or(values.last())?.parse().ok()
    }

    fn get(&self, name: &str) -> Option<&str> {
        self.all(name).next()
    }

    pub(crate) fn all(&self, name: &str) -> impl Iterator<Item = &str> {
        self.0
            .iter()
            .filter(move |(wish, _)| wish == name)
            .map(|(_, value)| value.as_str())
    }
}
