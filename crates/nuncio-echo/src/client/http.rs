use std::io;
use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, Request, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};

use super::Target;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    Http1,
    Http2,
}

/// One connection.
pub struct Client {
    sender: Sender,
    certificate: Option<Arc<[u8]>>,
    alpn: Option<String>,
    cleartext: bool,
}

enum Sender {
    Http1(http1::SendRequest<Full<Bytes>>),
    Http2(http2::SendRequest<Full<Bytes>>),
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
        let alpn: &[&str] = match protocol {
            Protocol::Http1 => &["http/1.1"],
            Protocol::Http2 => &["h2"],
        };
        let connection = target.connect(alpn).await?;
        let io = TokioIo::new(connection.stream);
        let sender = match protocol {
            Protocol::Http1 => {
                let (sender, driver) = http1::handshake(io).await.map_err(io::Error::other)?;
                // Its end shows in the sender.
                tokio::spawn(async move { driver.with_upgrades().await });
                Sender::Http1(sender)
            }
            Protocol::Http2 => {
                let (sender, driver) = http2::handshake(TokioExecutor::new(), io)
                    .await
                    .map_err(io::Error::other)?;
                tokio::spawn(driver);
                Sender::Http2(sender)
            }
        };
        Ok(Self {
            sender,
            certificate: connection.certificate,
            alpn: connection.alpn,
            cleartext: target.tls.is_none(),
        })
    }

    /// Sends a request whose URI is a path; `host` is its authority.
    pub async fn send(
        &mut self,
        host: &str,
        request: Request<Full<Bytes>>,
    ) -> Result<Answer, hyper::Error> {
        let (mut parts, body) = request.into_parts();
        let response = match &mut self.sender {
            Sender::Http1(sender) => {
                if !parts.headers.contains_key(http::header::HOST)
                    && let Ok(host) = host.parse()
                {
                    parts.headers.insert(http::header::HOST, host);
                }
                sender.ready().await?;
                sender
                    .send_request(Request::from_parts(parts, body))
                    .await?
            }
            Sender::Http2(sender) => {
                let scheme = if self.cleartext { "http" } else { "https" };
                let path = parts.uri.path_and_query().map_or("/", |p| p.as_str());
                if let Ok(uri) = format!("{scheme}://{host}{path}").parse() {
                    parts.uri = uri;
                }
                sender.ready().await?;
                sender
                    .send_request(Request::from_parts(parts, body))
                    .await?
            }
        };
        let (parts, body) = response.into_parts();
        let body = body.collect().await?;
        let trailers = body.trailers().cloned().unwrap_or_default();
        Ok(Answer {
            status: parts.status,
            headers: parts.headers,
            body: body.to_bytes(),
            trailers,
        })
    }

    /// A GET without more.
    pub async fn get(&mut self, host: &str, path: &str) -> Result<Answer, hyper::Error> {
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
            certificate: self.certificate.clone(),
            alpn: self.alpn.clone(),
            cleartext: self.cleartext,
        })
    }

    pub fn is_open(&self) -> bool {
        match &self.sender {
            Sender::Http1(sender) => !sender.is_closed(),
            Sender::Http2(sender) => !sender.is_closed(),
        }
    }

    /// What the server showed, in DER.
    pub fn certificate(&self) -> Option<&[u8]> {
        self.certificate.as_deref()
    }

    pub fn alpn(&self) -> Option<&str> {
        self.alpn.as_deref()
    }
}
