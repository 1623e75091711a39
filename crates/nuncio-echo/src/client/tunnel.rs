use std::io;

use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response, StatusCode};
use http_body_util::Empty;
use hyper::body::Incoming;
use hyper::client::conn::{http1, http2};
use hyper::upgrade::Upgraded;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::{Protocol, Target};

/// A connection through a proxy, by CONNECT.
pub struct Tunnel(TokioIo<Upgraded>);

impl Tunnel {
    /// Asks for a connection to an authority; the answer where that is refused.
    pub async fn connect(
        target: &Target,
        protocol: Protocol,
        authority: &str,
        headers: HeaderMap,
    ) -> io::Result<Result<Self, StatusCode>> {
        let mut request = Request::new(Empty::<Bytes>::new());
        *request.method_mut() = Method::CONNECT;
        *request.uri_mut() = authority.parse().map_err(io::Error::other)?;
        *request.headers_mut() = headers;
        let response: Response<Incoming> = if protocol == Protocol::Http2 {
            let connection = target.connect(&["h2"]).await?;
            let stream = TokioIo::new(connection.stream);
            let handshake = http2::handshake(TokioExecutor::new(), stream).await;
            let (mut sender, driver) = handshake.map_err(io::Error::other)?;
            tokio::spawn(driver);
            sender
                .send_request(request)
                .await
                .map_err(io::Error::other)?
        } else {
            let host = authority.parse().map_err(io::Error::other)?;
            request.headers_mut().insert(http::header::HOST, host);
            let connection = target.connect(&["http/1.1"]).await?;
            let handshake = http1::handshake(TokioIo::new(connection.stream)).await;
            let (mut sender, driver) = handshake.map_err(io::Error::other)?;
            tokio::spawn(driver.with_upgrades());
            sender
                .send_request(request)
                .await
                .map_err(io::Error::other)?
        };
        if response.status() != StatusCode::OK {
            return Ok(Err(response.status()));
        }
        let upgraded = hyper::upgrade::on(response).await;
        Ok(Ok(Self(TokioIo::new(upgraded.map_err(io::Error::other)?))))
    }

    /// Sends bytes and returns what comes back, as many.
    pub async fn echo(&mut self, bytes: &[u8]) -> io::Result<Vec<u8>> {
        self.0.write_all(bytes).await?;
        self.0.flush().await?;
        let mut back = vec![0; bytes.len()];
        self.0.read_exact(&mut back).await?;
        Ok(back)
    }
}
