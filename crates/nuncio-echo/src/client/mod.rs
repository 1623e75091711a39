//! Clients for tests: each is one connection, and says whether it is still open.

mod grpc;
mod http;
mod load;
mod websocket;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

pub use self::grpc::GrpcAnswer;
pub use self::http::{Answer, Client, Protocol};
pub use self::load::{Load, LoadReport, RequestSpec};
pub use self::websocket::WebSocket;

/// How to connect.
#[derive(Clone, Debug)]
pub struct Target {
    pub address: SocketAddr,
    /// The server name to ask for, for TLS.
    pub tls: Option<String>,
}

impl Target {
    pub fn cleartext(address: SocketAddr) -> Self {
        Self { address, tls: None }
    }

    pub fn tls(address: SocketAddr, server_name: impl Into<String>) -> Self {
        Self {
            address,
            tls: Some(server_name.into()),
        }
    }

    async fn connect(&self, alpn: &[&str]) -> io::Result<Connection> {
        let stream = TcpStream::connect(self.address).await?;
        stream.set_nodelay(true)?;
        let Some(name) = &self.tls else {
            return Ok(Connection {
                stream: Box::new(stream),
                certificate: None,
                alpn: None,
            });
        };
        let name = ServerName::try_from(name.clone())
            .map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error))?;
        let connector = TlsConnector::from(crate::tls::client_config(alpn));
        let stream = connector.connect(name, stream).await?;
        let session = stream.get_ref().1;
        let certificate = session
            .peer_certificates()
            .and_then(|chain| chain.first())
            .map(|certificate| Arc::from(certificate.as_ref()));
        let alpn = session
            .alpn_protocol()
            .map(|name| String::from_utf8_lossy(name).into_owned());
        Ok(Connection {
            stream: Box::new(stream),
            certificate,
            alpn,
        })
    }
}

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

struct Connection {
    stream: Box<dyn Stream>,
    /// What the server showed, in DER.
    certificate: Option<Arc<[u8]>>,
    alpn: Option<String>,
}
