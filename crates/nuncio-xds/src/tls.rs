//! The server's side of mutual TLS: who may connect, and who nuncio is to them.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, pem};
use tokio_rustls::rustls::server::{VerifierBuilderError, WebPkiClientVerifier};
use tokio_rustls::rustls::{self, RootCertStore, ServerConfig, crypto::ring};
use tokio_rustls::server::TlsStream;

/// How long a client may take to say who it is.
const HANDSHAKE: Duration = Duration::from_secs(10);

/// How many connections wait for the server to take them up.
const BACKLOG: usize = 64;

/// Files in PEM. They are read again when they change; connections that are open go on.
#[derive(Clone, Debug)]
pub struct TlsFiles {
    /// The server's certificate, followed by those between it and its authority.
    pub certificate: PathBuf,
    pub key: PathBuf,
    /// The authorities that vouch for clients.
    pub client_ca: PathBuf,
}

/// Why files cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    #[error("cannot read {}: {source}", path.display())]
    Read { path: PathBuf, source: pem::Error },
    #[error("there is no certificate in {}", .0.display())]
    Empty(PathBuf),
    #[error("{} and {} cannot be used: {source}", certificate.display(), key.display())]
    Certificate {
        certificate: PathBuf,
        key: PathBuf,
        source: rustls::Error,
    },
    #[error("{} has a certificate that cannot be used: {source}", path.display())]
    ClientCa {
        path: PathBuf,
        source: rustls::Error,
    },
    #[error("{} cannot be used: {source}", path.display())]
    Verifier {
        path: PathBuf,
        source: VerifierBuilderError,
    },
}

impl TlsFiles {
    fn read(&self) -> Result<Arc<ServerConfig>, TlsError> {
        let provider = Arc::new(ring::default_provider());
        let path = self.client_ca.clone();
        let mut authorities = RootCertStore::empty();
        for authority in certificates(&path)? {
            authorities
                .add(authority)
                .map_err(|source| TlsError::ClientCa {
                    path: path.clone(),
                    source,
                })?;
        }
        let verifier = WebPkiClientVerifier::builder_with_provider(
            Arc::new(authorities),
            Arc::clone(&provider),
        )
        .build()
        .map_err(|source| TlsError::Verifier { path, source })?;
        let key = PrivateKeyDer::from_pem_file(&self.key).map_err(|source| TlsError::Read {
            path: self.key.clone(),
            source,
        })?;
        let chain = certificates(&self.certificate)?;
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map(|builder| builder.with_client_cert_verifier(verifier))
            .and_then(|builder| builder.with_single_cert(chain, key));
        let mut config = config.map_err(|source| TlsError::Certificate {
            certificate: self.certificate.clone(),
            key: self.key.clone(),
            source,
        })?;
        config.alpn_protocols = vec![b"h2".to_vec()];
        Ok(Arc::new(config))
    }

    fn look(&self) -> [Option<Look>; 3] {
        [&self.certificate, &self.key, &self.client_ca].map(|path| look(path))
    }
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let certificates: Result<Vec<_>, _> =
        CertificateDer::pem_file_iter(path).and_then(Iterator::collect);
    let certificates = certificates.map_err(|source| TlsError::Read {
        path: path.to_owned(),
        source,
    })?;
    match certificates.is_empty() {
        true => Err(TlsError::Empty(path.to_owned())),
        false => Ok(certificates),
    }
}

/// What a file looks like from outside: inode, size and time of the last change.
type Look = (u64, u64, i64, i64);

fn look(path: &Path) -> Option<Look> {
    let found = fs::metadata(path).ok()?;
    Some((found.ino(), found.size(), found.mtime(), found.mtime_nsec()))
}

/// The certificates of now.
#[derive(Debug)]
pub(crate) struct Certificates {
    files: TlsFiles,
    current: Mutex<([Option<Look>; 3], Arc<ServerConfig>)>,
}

impl Certificates {
    pub(crate) fn read(files: TlsFiles) -> Result<Self, TlsError> {
        // Before the content: what is written meanwhile is then another look.
        let look = files.look();
        let config = files.read()?;
        Ok(Self {
            files,
            current: Mutex::new((look, config)),
        })
    }

    /// Reads the files again if they are others now. Those that cannot be used are said once, and
    /// the ones before go on.
    fn current(&self) -> TlsAcceptor {
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        let look = self.files.look();
        if look != current.0 {
            current.0 = look;
            match self.files.read() {
                Ok(config) => current.1 = config,
                Err(error) => {
                    tracing::error!("other Envoys are served with the certificates before: {error}")
                }
            }
        }
        TlsAcceptor::from(Arc::clone(&current.1))
    }
}

/// Takes connections for as long as somebody takes them up, each when its client has said who it
/// is. A slow or wrong client holds up none of the others.
pub(crate) fn accept(
    listener: TcpListener,
    certificates: Certificates,
) -> mpsc::Receiver<io::Result<TlsStream<TcpStream>>> {
    let (taken, connections) = mpsc::channel(BACKLOG);
    tokio::spawn(async move {
        loop {
            let (stream, from) = tokio::select! {
                accepted = listener.accept() => match accepted {
                    Ok(accepted) => accepted,
                    Err(error) => {
                        // Out of descriptors, say: the next try would fail as fast.
                        tracing::warn!("cannot take a connection of another Envoy: {error}");
                        tokio::time::sleep(Duration::from_millis(100)).await;
                        continue;
                    }
                },
                () = taken.closed() => return,
            };
            let acceptor = certificates.current();
            let taken = taken.clone();
            tokio::spawn(async move {
                let _ = stream.set_nodelay(true);
                match tokio::time::timeout(HANDSHAKE, acceptor.accept(stream)).await {
                    Ok(Ok(stream)) => drop(taken.send(Ok(stream)).await),
                    Ok(Err(error)) => tracing::warn!(%from, "an Envoy is refused: {error}"),
                    Err(_) => tracing::warn!(%from, "an Envoy is refused: it says nothing"),
                }
            });
        }
    });
    connections
}
