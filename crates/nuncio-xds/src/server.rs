//! Sessions on sockets, and how far they are.

use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::Path;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use nuncio_envoy_api::envoy::service::discovery::v3::aggregated_discovery_service_server::{
    AggregatedDiscoveryService, AggregatedDiscoveryServiceServer,
};
use nuncio_envoy_api::envoy::service::discovery::v3::{
    DeltaDiscoveryRequest, DeltaDiscoveryResponse, DiscoveryRequest, DiscoveryResponse,
};
use nuncio_envoy_api::resource::{ResourceType, Snapshot};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::{mpsc, watch};
use tokio_stream::wrappers::{ReceiverStream, UnixListenerStream};
use tokio_stream::{Stream, StreamExt};
use tonic::transport::server::Connected;
use tonic::{Request, Response, Status as GrpcStatus, Streaming};

use crate::memory::{Memories, Tenant};
use crate::session::{Options, Session};
use crate::status::{Refusal, Status, StreamStatus, Streams};
use crate::tls::{self, Certificates, TlsError, TlsFiles};

/// Envoy names every cluster it has when it reconnects: 1.4 MB at 20,000. tonic's 4 MiB would
/// refuse it for ever beyond some 58,000.
const MAX_MESSAGE: usize = 256 * 1024 * 1024;

/// How much may be under way; a large configuration is one message.
const WINDOW: u32 = 16 * 1024 * 1024;

/// Long, because a large change keeps Envoy's main thread busy.
const KEEPALIVE: Duration = Duration::from_secs(60);

/// How long the end of a server waits for its connections.
const GOODBYE: Duration = Duration::from_secs(1);

/// The server; clones are the same one.
#[derive(Clone)]
pub struct AdsServer {
    shared: Arc<Shared>,
}

struct Shared {
    options: Options,
    memories: Mutex<Memories>,
    /// The snapshot that counts, and its number. Before the first nothing is sent: an Envoy that
    /// is taken over would lose all that it has.
    snapshot: watch::Sender<Option<(u64, Arc<Snapshot>)>>,
    /// There is a socket for an Envoy of nuncio's own.
    has_own: AtomicBool,
    streams: Mutex<Streams>,
    next_stream: AtomicU64,
    first_config_answered: Mutex<bool>,
    status: watch::Sender<Status>,
    counters: Mutex<Counters>,
}

/// Since the server was made, in the order of [`ResourceType::ALL`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    pub responses: [u64; ResourceType::ALL.len()],
    pub resources: [u64; ResourceType::ALL.len()],
    pub removals: [u64; ResourceType::ALL.len()],
    pub nacks: [u64; ResourceType::ALL.len()],
    pub requests: [u64; ResourceType::ALL.len()],
}

impl AdsServer {
    pub fn new(options: Options) -> Self {
        Self {
            shared: Arc::new(Shared {
                options,
                memories: Mutex::default(),
                snapshot: watch::Sender::default(),
                has_own: AtomicBool::new(false),
                streams: Mutex::default(),
                next_stream: AtomicU64::new(0),
                first_config_answered: Mutex::default(),
                status: watch::Sender::default(),
                counters: Mutex::default(),
            }),
        }
    }

    /// Makes a snapshot the one that counts; returns its number, counted from 1.
    pub fn set_snapshot(&self, snapshot: Arc<Snapshot>) -> u64 {
        let mut number = 0;
        self.shared.snapshot.send_modify(|current| {
            number = current.as_ref().map_or(0, |(number, _)| *number) + 1;
            *current = Some((number, snapshot));
        });
        self.shared.publish();
        number
    }

    pub fn status(&self) -> watch::Receiver<Status> {
        self.shared.status.subscribe()
    }

    pub fn counters(&self) -> Counters {
        *lock(&self.shared.counters)
    }

    /// Binds the socket, in place of one that a dead server left. Nobody but this user may
    /// connect.
    pub fn bind(&self, path: &Path) -> io::Result<BoundServer> {
        match std::fs::symlink_metadata(path) {
            Ok(found) if found.file_type().is_socket() => std::fs::remove_file(path)?,
            Ok(_) => return Err(io::ErrorKind::AlreadyExists.into()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
        let listener = UnixListener::bind(path)?;
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))?;
        self.shared.has_own.store(true, Ordering::Relaxed);
        Ok(BoundServer {
            server: self.clone(),
            socket: Socket::Own(listener),
        })
    }

    /// Listens for Envoys elsewhere. Only those may connect that an authority of the files vouches
    /// for.
    pub async fn bind_for_others(
        &self,
        address: SocketAddr,
        files: TlsFiles,
    ) -> Result<BoundServer, BindError> {
        let certificates = Certificates::read(files)?;
        Ok(BoundServer {
            server: self.clone(),
            socket: Socket::Others(TcpListener::bind(address).await?, Box::new(certificates)),
        })
    }
}

/// Why other Envoys cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    #[error(transparent)]
    Tls(#[from] TlsError),
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// A server whose socket takes connections.
pub struct BoundServer {
    server: AdsServer,
    socket: Socket,
}

enum Socket {
    Own(UnixListener),
    Others(TcpListener, Box<Certificates>),
}

impl BoundServer {
    /// The address on which it listens for other Envoys.
    pub fn address(&self) -> Option<SocketAddr> {
        match &self.socket {
            Socket::Own(_) => None,
            Socket::Others(listener, _) => listener.local_addr().ok(),
        }
    }

    /// Serves until `shutdown`, then ends all streams.
    pub async fn serve(
        self,
        shutdown: impl Future<Output = ()>,
    ) -> Result<(), tonic::transport::Error> {
        let shared = self.server.shared;
        match self.socket {
            Socket::Own(listener) => {
                serve(shared, true, UnixListenerStream::new(listener), shutdown).await
            }
            Socket::Others(listener, certificates) => {
                let connections = tls::accept(listener, *certificates);
                serve(shared, false, ReceiverStream::new(connections), shutdown).await
            }
        }
    }
}

async fn serve<C>(
    shared: Arc<Shared>,
    own: bool,
    connections: impl Stream<Item = io::Result<C>>,
    shutdown: impl Future<Output = ()>,
) -> Result<(), tonic::transport::Error>
where
    C: AsyncRead + AsyncWrite + Connected + Unpin + Send + 'static,
{
    let stop = watch::Sender::new(false);
    let mut stopped = stop.subscribe();
    let service = Service {
        shared,
        own,
        stop: stop.subscribe(),
    };
    let service = AggregatedDiscoveryServiceServer::new(service)
        .max_decoding_message_size(MAX_MESSAGE)
        .max_encoding_message_size(MAX_MESSAGE);
    let serve = tonic::transport::Server::builder()
        .initial_stream_window_size(WINDOW)
        .initial_connection_window_size(WINDOW)
        .http2_keepalive_interval(Some(KEEPALIVE))
        .http2_keepalive_timeout(Some(KEEPALIVE))
        .add_service(service)
        .serve_with_incoming_shutdown(connections, async move {
            let _ = stopped.wait_for(|stopped| *stopped).await;
        });
    tokio::pin!(serve);
    tokio::select! {
        result = &mut serve => return result,
        () = shutdown => {}
    }
    stop.send_replace(true);
    // An Envoy that reads nothing must not hold back the end.
    tokio::time::timeout(GOODBYE, serve).await.unwrap_or(Ok(()))
}

/// The streams of one socket.
struct Service {
    shared: Arc<Shared>,
    own: bool,
    stop: watch::Receiver<bool>,
}

type ResponseStream<T> = Pin<Box<dyn Stream<Item = Result<T, GrpcStatus>> + Send>>;

#[tonic::async_trait]
impl AggregatedDiscoveryService for Service {
    type StreamAggregatedResourcesStream = ResponseStream<DiscoveryResponse>;
    type DeltaAggregatedResourcesStream = ResponseStream<DeltaDiscoveryResponse>;

    async fn stream_aggregated_resources(
        &self,
        _: Request<Streaming<DiscoveryRequest>>,
    ) -> Result<Response<Self::StreamAggregatedResourcesStream>, GrpcStatus> {
        Err(GrpcStatus::unimplemented(
            "nuncio serves delta ADS: set api_type to DELTA_GRPC",
        ))
    }

    async fn delta_aggregated_resources(
        &self,
        request: Request<Streaming<DeltaDiscoveryRequest>>,
    ) -> Result<Response<Self::DeltaAggregatedResourcesStream>, GrpcStatus> {
        // One response for each type at most is under way.
        let (responses, stream) = mpsc::channel(ResourceType::ALL.len());
        let shared = Arc::clone(&self.shared);
        let own = self.own;
        let mut stop = self.stop.clone();
        tokio::spawn(async move {
            tokio::select! {
                () = shared.run_stream(own, request.into_inner(), responses) => {}
                _ = stop.wait_for(|stopped| *stopped) => {}
            }
        });
        Ok(Response::new(Box::pin(ReceiverStream::new(stream).map(Ok))))
    }
}

impl Shared {
    async fn run_stream(
        &self,
        own: bool,
        mut requests: Streaming<DeltaDiscoveryRequest>,
        responses: mpsc::Sender<DeltaDiscoveryResponse>,
    ) {
        // Envoy says who it is in the first message only.
        let Some(Ok(mut first)) = requests.next().await else {
            return;
        };
        let node = first.node.take().map_or_else(String::new, |node| node.id);
        let mut stream = StreamGuard::new(self, own, &node);
        tracing::debug!(stream = stream.id, node, "Envoy connected");
        let mut snapshots = self.snapshot.subscribe();
        snapshots.mark_changed();
        let mut next = Some(first);
        loop {
            let session = &mut stream.session;
            let timer = session.next_timer();
            let to_send = tokio::select! {
                biased;
                changed = snapshots.changed() => {
                    if changed.is_err() {
                        break;
                    }
                    match snapshots.borrow_and_update().clone() {
                        None => continue,
                        Some((number, snapshot)) => {
                            session.on_snapshot(number, snapshot, Instant::now())
                        }
                    }
                },
                Some(request) = async { next.take() } => {
                    self.on_request(session, request)
                }
                request = requests.next() => match request {
                    Some(Ok(request)) => self.on_request(session, request),
                    Some(Err(status)) => {
                        tracing::debug!(stream = stream.id, %status, "the stream broke");
                        break;
                    }
                    None => break,
                },
                () = sleep_until(timer) => session.on_timer(Instant::now()),
            };
            self.count(session, &to_send);
            self.note(stream.id, own, &stream.session);
            for response in to_send {
                if responses.send(response).await.is_err() {
                    return;
                }
            }
        }
    }

    fn on_request(
        &self,
        session: &mut Session,
        request: DeltaDiscoveryRequest,
    ) -> Vec<DeltaDiscoveryResponse> {
        if let Some(resource_type) = ResourceType::from_type_url(&request.type_url) {
            lock(&self.counters).requests[resource_type as usize] += 1;
        }
        session.on_request(request, Instant::now())
    }

    fn count(&self, session: &mut Session, responses: &[DeltaDiscoveryResponse]) {
        let mut counters = lock(&self.counters);
        for resource_type in session.take_nacks() {
            counters.nacks[resource_type as usize] += 1;
        }
        for response in responses {
            if let Some(resource_type) = ResourceType::from_type_url(&response.type_url) {
                let at = resource_type as usize;
                counters.responses[at] += 1;
                counters.resources[at] += response.resources.len() as u64;
                counters.removals[at] += response.removed_resources.len() as u64;
            }
        }
    }

    fn note(&self, id: u64, own: bool, session: &Session) {
        let mut refused: Vec<Refusal> = session
            .refused()
            .map(|(resource_type, name, refused)| Refusal {
                resource_type,
                name: Arc::clone(name),
                version: Arc::clone(&refused.version),
                detail: refused.detail.clone(),
                since: refused.since(),
                may_pass: refused.may_pass(),
                instead: own.then(|| session.accepted(resource_type, name)).flatten(),
            })
            .collect();
        refused.sort();
        let status = StreamStatus {
            own,
            acknowledged: session.acknowledged(),
            refused,
            held: ResourceType::ALL.map(|t| session.held(t)),
        };
        let news = lock(&self.streams).put(id, status);
        if news {
            self.publish();
        }
    }

    fn publish(&self) {
        // Held to the end: a status that was read before another must not be published after it.
        let mut answered = lock(&self.first_config_answered);
        let (newest, snapshot) = self.snapshot.borrow().clone().unwrap_or_default();
        let has_own = self.has_own.load(Ordering::Relaxed);
        let mut status = lock(&self.streams).status(newest, &snapshot, has_own);
        *answered |= status.acknowledged > 0;
        status.first_config_answered = *answered;
        self.status.send_if_modified(|current| {
            let changed = *current != status;
            *current = status;
            changed
        });
    }
}

/// A stream is among those that are connected for as long as it runs, however it ends.
struct StreamGuard<'a> {
    shared: &'a Shared,
    id: u64,
    tenant: Tenant,
    session: Session,
}

impl<'a> StreamGuard<'a> {
    fn new(shared: &'a Shared, own: bool, node: &str) -> Self {
        let id = shared.next_stream.fetch_add(1, Ordering::Relaxed);
        let (tenant, memory) = match own {
            true => lock(&shared.memories).of(node),
            false => lock(&shared.memories).of_other(node),
        };
        let status = StreamStatus {
            own,
            ..StreamStatus::default()
        };
        lock(&shared.streams).put(id, status);
        shared.publish();
        Self {
            shared,
            id,
            tenant,
            session: Session::new(memory, shared.options.clone()),
        }
    }
}

impl Drop for StreamGuard<'_> {
    fn drop(&mut self) {
        self.session.close();
        lock(&self.shared.memories).leave(&self.tenant);
        lock(&self.shared.streams).remove(self.id);
        self.shared.publish();
        tracing::debug!(stream = self.id, "Envoy disconnected");
    }
}

async fn sleep_until(time: Option<Instant>) {
    match time {
        Some(time) => tokio::time::sleep_until(time.into()).await,
        None => std::future::pending().await,
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex
        .lock()
        .expect("invariant: nothing panics while it holds the lock")
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicBool;

    use super::*;

    /// Changes and answers come at the same time; an answer that was published stays so.
    #[test]
    fn the_newest_status_is_published_last() {
        let server = AdsServer::new(Options::default());
        let shared = &server.shared;
        lock(&shared.streams).put(0, StreamStatus::default());
        let done = AtomicBool::new(false);
        let went_back = std::thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| {
                    while !done.load(Ordering::Relaxed) {
                        shared.publish();
                    }
                });
            }
            let went_back = (1..=20_000).find(|round| {
                let status = StreamStatus {
                    acknowledged: *round,
                    ..StreamStatus::default()
                };
                lock(&shared.streams).put(0, status);
                shared.publish();
                (0..3).any(|_| shared.status.borrow().acknowledged < *round)
            });
            done.store(true, Ordering::Relaxed);
            went_back
        });
        assert_eq!(went_back, None);
    }
}
