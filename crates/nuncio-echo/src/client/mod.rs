//! Clients for tests: each is one connection, and says whether it is still open.

mod grpc;
mod http;
mod http3;
mod load;
mod tunnel;
mod websocket;

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::certs::Pair;

pub use self::grpc::GrpcAnswer;
pub use self::http::{Answer, Client, Protocol};
pub use self::load::{Load, LoadReport, RequestSpec};
pub use self::tunnel::Tunnel;
pub use self::websocket::WebSocket;

/// How to connect.
#[derive(Clone, Debug)]
pub struct Target {
    pub address: SocketAddr,
    /// The server name to ask for, for TLS.
    pub tls: Option<String>,
    /// Who to be, by a PROXY protocol header.
    pub proxied_for: Option<IpAddr>,
    /// The certificate to show.
    pub certificate: Option<Pair>,
    /// Whether TLS 1.2 is the newest that it speaks.
    pub tls12: bool,
}

impl Target {
    pub fn cleartext(address: SocketAddr) -> Self {
        Self {
            address,
            tls: None,
            proxied_for: None,
            certificate: None,
            tls12: false,
        }
    }

    pub fn tls(address: SocketAddr, server_name: impl Into<String>) -> Self {
        Self {
            address,
            tls: Some(server_name.into()),
            proxied_for: None,
            certificate: None,
            tls12: false,
        }
    }

    /// Connects as a load balancer that speaks the PROXY protocol does for a client.
    #[must_use]
    pub fn proxied_for(mut self, client: IpAddr) -> Self {
        self.proxied_for = Some(client);
        self
    }

    /// Shows a certificate when it is asked for one.
    #[must_use]
    pub fn with_certificate(mut self, pair: Pair) -> Self {
        self.certificate = Some(pair);
        self
    }

    /// Sends bytes and reads everything until the other side closes the connection.
    pub async fn raw(&self, bytes: &[u8]) -> io::Result<Vec<u8>> {
        let mut connection = self.connect(&[]).await?;
        connection.stream.write_all(bytes).await?;
        let mut answer = Vec::new();
        connection.stream.read_to_end(&mut answer).await?;
        Ok(answer)
    }

    async fn connect(&self, alpn: &[&str]) -> io::Result<Connection> {
        let mut stream = TcpStream::connect(self.address).await?;
        stream.set_nodelay(true)?;
        if let Some(client) = self.proxied_for {
            let header = proxy_header(client, stream.local_addr()?, self.address);
            stream.write_all(header.as_bytes()).await?;
        }
        let Some(name) = &self.tls else {
            return Ok(Connection {
                stream: Box::new(stream),
                session: None,
            });
        };
        let name = ServerName::try_from(name.clone())
            .map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error))?;
        let config = crate::tls::client_config(alpn, self.certificate.as_ref(), self.tls12)?;
        let connector = TlsConnector::from(config);
        let stream = connector.connect(name, stream).await?;
        let tls = stream.get_ref().1;
        let session = Session {
            certificate: tls
                .peer_certificates()
                .and_then(|chain| chain.first())
                .map(|certificate| Arc::from(certificate.as_ref())),
            alpn: tls
                .alpn_protocol()
                .map(|name| String::from_utf8_lossy(name).into_owned()),
        };
        Ok(Connection {
            stream: Box::new(stream),
            session: Some(session),
        })
    }
}

/// Version 1 of the PROXY protocol.
fn proxy_header(client: IpAddr, local: SocketAddr, address: SocketAddr) -> String {
    let family = if client.is_ipv4() { "TCP4" } else { "TCP6" };
    format!(
        "PROXY {family} {client} {} {} {}\r\n",
        address.ip(),
        local.port(),
        address.port()
    )
}

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

struct Connection {
    stream: Box<dyn Stream>,
    session: Option<Session>,
}

/// What came of a TLS handshake.
#[derive(Clone)]
struct Session {
    /// What the server showed, in DER.
    certificate: Option<Arc<[u8]>>,
    alpn: Option<String>,
}
