//! HTTP/3: requests on a QUIC connection.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use h3::client::SendRequest;
use http::{HeaderMap, Request};
use quinn::crypto::rustls::QuicClientConfig;
use quinn::{ClientConfig, Connection, Endpoint, TransportConfig};
use rustls::pki_types::CertificateDer;

use super::{Answer, Session, Target};

/// After which a server that says nothing is given up.
const SILENCE: Duration = Duration::from_secs(5);

pub(super) struct Http3 {
    connection: Connection,
    sender: SendRequest<h3_quinn::OpenStreams, Bytes>,
    /// Holds the socket.
    _endpoint: Endpoint,
}

impl Http3 {
    pub(super) async fn connect(target: &Target) -> io::Result<Self> {
        let Some(name) = &target.tls else {
            return Err(invalid("HTTP/3 is always encrypted"));
        };
        let tls = crate::tls::client_config(&["h3"], target.certificate.as_ref(), false)?;
        let mut config = ClientConfig::new(Arc::new(
            QuicClientConfig::try_from(tls).map_err(io::Error::other)?,
        ));
        let mut transport = TransportConfig::default();
        let silence = SILENCE.try_into().map_err(io::Error::other)?;
        transport.max_idle_timeout(Some(silence));
        transport.keep_alive_interval(Some(SILENCE / 5));
        config.transport_config(Arc::new(transport));
        let local: SocketAddr = if target.address.is_ipv4() {
            (Ipv4Addr::UNSPECIFIED, 0).into()
        } else {
            (Ipv6Addr::UNSPECIFIED, 0).into()
        };
        let endpoint = Endpoint::client(local)?;
        let connection = endpoint
            .connect_with(config, target.address, name)
            .map_err(invalid)?
            .await?;
        let (mut driver, sender) = h3::client::new(h3_quinn::Connection::new(connection.clone()))
            .await
            .map_err(io::Error::other)?;
        // Its end shows in the connection.
        tokio::spawn(async move { driver.wait_idle().await });
        Ok(Self {
            connection,
            sender,
            _endpoint: endpoint,
        })
    }

    /// Sends a request with a whole URI.
    pub(super) async fn send(&mut self, request: Request<Bytes>) -> io::Result<Answer> {
        let (parts, body) = request.into_parts();
        let mut stream = self
            .sender
            .send_request(Request::from_parts(parts, ()))
            .await
            .map_err(io::Error::other)?;
        if !body.is_empty() {
            stream.send_data(body).await.map_err(io::Error::other)?;
        }
        stream.finish().await.map_err(io::Error::other)?;
        let response = stream.recv_response().await.map_err(io::Error::other)?;
        let mut body = BytesMut::new();
        while let Some(mut data) = stream.recv_data().await.map_err(io::Error::other)? {
            body.extend_from_slice(&data.copy_to_bytes(data.remaining()));
        }
        let trailers = stream.recv_trailers().await.map_err(io::Error::other)?;
        let (parts, ()) = response.into_parts();
        Ok(Answer {
            status: parts.status,
            headers: parts.headers,
            body: body.freeze(),
            trailers: trailers.unwrap_or_else(HeaderMap::new),
        })
    }

    pub(super) fn is_open(&self) -> bool {
        self.connection.close_reason().is_none()
    }

    pub(super) fn session(&self) -> Session {
        let chain = self.connection.peer_identity();
        let chain = chain.and_then(|chain| chain.downcast::<Vec<CertificateDer<'static>>>().ok());
        Session {
            certificate: chain
                .and_then(|chain| chain.first().map(|first| Arc::from(first.as_ref()))),
            alpn: Some("h3".to_owned()),
        }
    }
}

fn invalid(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, error)
}
