//! Listening, and serving each connection.

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use http::StatusCode;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use serde_json::json;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;

use crate::respond::{self, Peer};
use crate::seen::{Seen, SeenLog};
use crate::tls;

/// An upstream to be started.
#[derive(Clone, Debug)]
pub struct Echo {
    name: String,
    tls: Option<(String, String)>,
    client_ca: Option<String>,
    statuses: Vec<StatusCode>,
    raw: bool,
    silent: bool,
}

impl Echo {
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            tls: None,
            client_ca: None,
            statuses: Vec::new(),
            raw: false,
            silent: false,
        }
    }

    /// Serves TLS with this certificate, both in PEM.
    #[must_use]
    pub fn tls(mut self, cert_pem: &str, key_pem: &str) -> Self {
        self.tls = Some((cert_pem.to_owned(), key_pem.to_owned()));
        self
    }

    /// Serves with TLS only clients whose certificates are of this authority, in PEM.
    #[must_use]
    pub fn client_ca(mut self, ca_pem: &str) -> Self {
        self.client_ca = Some(ca_pem.to_owned());
        self
    }

    /// Answers one request with each of these statuses and all others with the last, unless the
    /// request asks for another.
    #[must_use]
    pub fn statuses(mut self, statuses: Vec<StatusCode>) -> Self {
        self.statuses = statuses;
        self
    }

    /// Lets connections come and says nothing on them.
    #[must_use]
    pub fn silent(mut self) -> Self {
        self.silent = true;
        self
    }

    /// Answers with the head of the request as it came, in `head`, and with a header `X-Raw`. One
    /// request a connection, in cleartext.
    #[must_use]
    pub fn raw(mut self) -> Self {
        self.raw = true;
        self
    }

    /// Listens on an address; port 0 takes a free one.
    pub async fn start(self, address: SocketAddr) -> io::Result<Running> {
        let acceptor = self
            .tls
            .map(|(cert, key)| tls::server_config(&cert, &key, self.client_ca.as_deref()))
            .transpose()?
            .map(|config| TlsAcceptor::from(Arc::new(config)));
        let listener = TcpListener::bind(address).await?;
        let running = Running {
            address: listener.local_addr()?,
            seen: SeenLog::default(),
            closed: Arc::new(watch::Sender::new(0)),
            stop: watch::Sender::new(false),
        };
        let upstream = Arc::new(Upstream {
            name: self.name,
            seen: running.seen.clone(),
            closed: Arc::clone(&running.closed),
            statuses: self.statuses,
            given: Mutex::default(),
            raw: self.raw,
            silent: self.silent,
        });
        let stop = running.stop.subscribe();
        tokio::spawn(accept(listener, acceptor, upstream, stop));
        Ok(running)
    }
}

/// A running upstream; it ends when this is dropped.
#[derive(Debug)]
pub struct Running {
    address: SocketAddr,
    seen: SeenLog,
    closed: Arc<watch::Sender<usize>>,
    stop: watch::Sender<bool>,
}

impl Running {
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Everything it was asked.
    pub fn seen(&self) -> Vec<Seen> {
        self.seen.all()
    }

    /// Waits for a request, also one that came already.
    pub async fn wait_for(&self, is_meant: impl Fn(&Seen) -> bool) -> Seen {
        self.seen.wait_for(is_meant).await
    }

    /// Waits until so many connections have ended.
    pub async fn wait_for_closed(&self, connections: usize) {
        let mut closed = self.closed.subscribe();
        closed
            .wait_for(|closed| *closed >= connections)
            .await
            .expect("invariant: the sender is held here");
    }
}

/// What all connections of an upstream share.
pub(crate) struct Upstream {
    pub(crate) name: String,
    pub(crate) seen: SeenLog,
    closed: Arc<watch::Sender<usize>>,
    statuses: Vec<StatusCode>,
    /// How many values of a list each key has had.
    given: Mutex<HashMap<String, usize>>,
    raw: bool,
    silent: bool,
}

impl Upstream {
    /// What the nth request is answered with, from 1.
    pub(crate) fn status(&self, nth: usize) -> StatusCode {
        let status = self.statuses.get(nth - 1).or(self.statuses.last());
        status.copied().unwrap_or(StatusCode::OK)
    }

    /// How often this was asked for a key before.
    pub(crate) fn nth(&self, key: String) -> usize {
        let mut given = self
            .given
            .lock()
            .expect("invariant: nothing panics while it holds the counts");
        let count = given.entry(key).or_default();
        *count += 1;
        *count - 1
    }
}

async fn accept(
    listener: TcpListener,
    acceptor: Option<TlsAcceptor>,
    upstream: Arc<Upstream>,
    mut stop: watch::Receiver<bool>,
) {
    let connections = AtomicU64::new(0);
    loop {
        let stream = tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => stream,
                // The connection ended before it was taken.
                Err(_) => continue,
            },
            _ = stop.changed() => return,
        };
        let connection = connections.fetch_add(1, Ordering::Relaxed);
        let (upstream, acceptor, stop) = (Arc::clone(&upstream), acceptor.clone(), stop.clone());
        tokio::spawn(async move {
            let closed = Arc::clone(&upstream.closed);
            match acceptor {
                _ if upstream.silent => silent(stream, stop).await,
                None if upstream.raw => raw(stream, &upstream).await,
                None => serve(stream, Peer::cleartext(connection), upstream, stop).await,
                Some(acceptor) => serve_tls(stream, connection, &acceptor, upstream, stop).await,
            }
            closed.send_modify(|closed| *closed += 1);
        });
    }
}

/// Holds a connection until the other side gives up.
async fn silent(mut stream: TcpStream, mut stop: watch::Receiver<bool>) {
    let mut sink = tokio::io::sink();
    tokio::select! {
        _ = tokio::io::copy(&mut stream, &mut sink) => {}
        _ = stop.changed() => {}
    }
}

/// How the connection ended shows on the other side.
async fn raw(mut stream: TcpStream, upstream: &Upstream) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        match stream.read_u8().await {
            Ok(byte) => head.push(byte),
            Err(_) => return,
        }
    }
    let body = json!({ "upstream": upstream.name, "head": String::from_utf8_lossy(&head) });
    let body = body.to_string();
    let answer = format!(
        "HTTP/1.1 200 OK\r\nX-Raw: yes\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    let _ = stream.write_all(answer.as_bytes()).await;
}

async fn serve_tls(
    stream: TcpStream,
    connection: u64,
    acceptor: &TlsAcceptor,
    upstream: Arc<Upstream>,
    stop: watch::Receiver<bool>,
) {
    // A handshake that fails is the client's to tell.
    let Ok(stream) = acceptor.accept(stream).await else {
        return;
    };
    let session = stream.get_ref().1;
    let peer = Peer {
        connection,
        sni: session.server_name().map(str::to_owned),
        alpn: session
            .alpn_protocol()
            .map(|name| String::from_utf8_lossy(name).into_owned()),
        tls: true,
    };
    serve(stream, peer, upstream, stop).await;
}

async fn serve(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    peer: Peer,
    upstream: Arc<Upstream>,
    mut stop: watch::Receiver<bool>,
) {
    let peer = Arc::new(peer);
    let service = service_fn(move |request| {
        respond::respond(Arc::clone(&upstream), Arc::clone(&peer), request)
    });
    let builder = auto::Builder::new(TokioExecutor::new());
    let connection = builder.serve_connection_with_upgrades(TokioIo::new(stream), service);
    tokio::select! {
        // How it ended shows on the other side.
        _ = connection => {}
        _ = stop.changed() => {}
    }
}
