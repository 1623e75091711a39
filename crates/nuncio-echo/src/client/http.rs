use std::io;

use bytes::Bytes;
use http::{HeaderMap, Request, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};

use super::http3::Http3;
use super::{Connection, Session, Target};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    Http1,
    Http2,
    /// Over QUIC: the port is one of UDP.
    Http3,
}

/// One connection.
pub struct Client {
    sender: Sender,
    /// With TLS.
    session: Option<Session>,
}

enum Sender {
    Http1(http1::SendRequest<Full<Bytes>>),
    Http2(http2::SendRequest<Full<Bytes>>),
    Http3(Box<Http3>),
}

/// A whole response.
#[derive(Clone, Debug)]
pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Bytes,
    pub trailers: HeaderMap,
}

impl Answer {
    /// The body as JSON, or null.
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }
}

impl Client {
    pub async fn connect(target: &Target, protocol: Protocol) -> io::Result<Self> {
        match protocol {
            Protocol::Http1 => {
                let Connection { stream, session } = target.connect(&["http/1.1"]).await?;
                let (sender, driver) = http1::handshake(TokioIo::new(stream))
                    .await
                    .map_err(io::Error::other)?;
                // Its end shows in the sender.
                tokio::spawn(async move { driver.with_upgrades().await });
                Ok(Self::new(Sender::Http1(sender), session))
            }
            Protocol::Http2 => {
                let Connection { stream, session } = target.connect(&["h2"]).await?;
                let executor = TokioExecutor::new();
                let (sender, driver) = http2::handshake(executor, TokioIo::new(stream))
                    .await
                    .map_err(io::Error::other)?;
                tokio::spawn(driver);
                Ok(Self::new(Sender::Http2(sender), session))
            }
            Protocol::Http3 => {
                let connection = Http3::connect(target).await?;
                let session = connection.session();
                Ok(Self::new(
                    Sender::Http3(Box::new(connection)),
                    Some(session),
                ))
            }
        }
    }

    fn new(sender: Sender, session: Option<Session>) -> Self {
        Self { sender, session }
    }

    /// Sends a request whose URI is a path; `host` is its authority.
    pub async fn send(&mut self, host: &str, request: Request<Full<Bytes>>) -> io::Result<Answer> {
        let (mut parts, body) = request.into_parts();
        if !matches!(self.sender, Sender::Http1(_)) {
            let scheme = if self.session.is_some() {
                "https"
            } else {
                "http"
            };
            let path = parts.uri.path_and_query().map_or("/", |p| p.as_str());
            if let Ok(uri) = format!("{scheme}://{host}{path}").parse() {
                parts.uri = uri;
            }
        }
        let response = match &mut self.sender {
            Sender::Http1(sender) => {
                if !parts.headers.contains_key(http::header::HOST)
                    && let Ok(host) = host.parse()
                {
                    parts.headers.insert(http::header::HOST, host);
                }
                sender.ready().await.map_err(io::Error::other)?;
                sender
                    .send_request(Request::from_parts(parts, body))
                    .await
                    .map_err(io::Error::other)?
            }
            Sender::Http2(sender) => {
                sender.ready().await.map_err(io::Error::other)?;
                sender
                    .send_request(Request::from_parts(parts, body))
                    .await
                    .map_err(io::Error::other)?
            }
            Sender::Http3(connection) => {
                let Ok(body) = body.collect().await;
                let request = Request::from_parts(parts, body.to_bytes());
                return connection.send(request).await;
            }
        };
        let (parts, body) = response.into_parts();
        let body = body.collect().await.map_err(io::Error::other)?;
        let trailers = body.trailers().cloned().unwrap_or_default();
        Ok(Answer {
            status: parts.status,
            headers: parts.headers,
            body: body.to_bytes(),
            trailers,
        })
    }

    /// A GET without more.
    pub async fn get(&mut self, host: &str, path: &str) -> io::Result<Answer> {
        let mut request = Request::new(Full::default());
        *request.uri_mut() = path.parse().unwrap_or_default();
        self.send(host, request).await
    }

    /// The same connection once more, for requests at once; of HTTP/2 only.
    pub fn shared(&self) -> Option<Self> {
        let Sender::Http2(sender) = &self.sender else {
            return None;
        };
        Some(Self {
            sender: Sender::Http2(sender.clone()),
            session: self.session.clone(),
        })
    }

    pub fn is_open(&self) -> bool {
        match &self.sender {
            Sender::Http1(sender) => !sender.is_closed(),
            Sender::Http2(sender) => !sender.is_closed(),
            Sender::Http3(connection) => connection.is_open(),
        }
    }

    /// What the server showed, in DER.
    pub fn certificate(&self) -> Option<&[u8]> {
        self.session.as_ref()?.certificate.as_deref()
    }

    pub fn alpn(&self) -> Option<&str> {
        self.session.as_ref()?.alpn.as_deref()
    }
}
