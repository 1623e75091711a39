//! A load balancer for connections that follows readiness, as a Service does.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use nuncio_echo::client::{Client, Protocol, Target};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

/// How often it asks whether a backend is ready.
const PROBE: Duration = Duration::from_millis(50);

/// Where a replica serves, and where it says that it is ready.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Backend {
    pub(crate) address: SocketAddr,
    pub(crate) admin: SocketAddr,
}

/// Dropped, it closes everything.
pub(crate) struct Balancer {
    address: SocketAddr,
    ready: Arc<Vec<AtomicBool>>,
    taken: Arc<Mutex<Vec<usize>>>,
    _tasks: JoinSet<()>,
}

impl Balancer {
    pub(crate) async fn start(backends: Vec<Backend>) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let ready: Vec<_> = backends.iter().map(|_| AtomicBool::new(false)).collect();
        let ready = Arc::new(ready);
        let taken = Arc::new(Mutex::new(Vec::new()));
        let mut tasks = JoinSet::new();
        for (index, backend) in backends.iter().enumerate() {
            tasks.spawn(probe(backend.admin, Arc::clone(&ready), index));
        }
        tasks.spawn(balance(
            listener,
            backends,
            Arc::clone(&ready),
            Arc::clone(&taken),
        ));
        Self {
            address,
            ready,
            taken,
            _tasks: tasks,
        }
    }

    pub(crate) fn target(&self) -> Target {
        Target::cleartext(self.address)
    }

    pub(crate) fn is_ready(&self, backend: usize) -> bool {
        self.ready[backend].load(Ordering::SeqCst)
    }

    /// Which backend each connection went to, in their order.
    pub(crate) fn taken(&self) -> Vec<usize> {
        self.taken.lock().unwrap().clone()
    }
}

async fn probe(admin: SocketAddr, ready: Arc<Vec<AtomicBool>>, backend: usize) {
    let target = Target::cleartext(admin);
    let mut ticks = tokio::time::interval(PROBE);
    loop {
        ticks.tick().await;
        let answer = async {
            let mut client = Client::connect(&target, Protocol::Http1).await?;
            client.get("localhost", "/ambassador/v0/check_ready").await
        };
        let is_ready = answer.await.is_ok_and(|answer| answer.status == 200);
        ready[backend].store(is_ready, Ordering::SeqCst);
    }
}

async fn balance(
    listener: TcpListener,
    backends: Vec<Backend>,
    ready: Arc<Vec<AtomicBool>>,
    taken: Arc<Mutex<Vec<usize>>>,
) {
    let mut connections = JoinSet::new();
    let mut next = 0;
    loop {
        let (mut client, _) = listener.accept().await.unwrap();
        let in_turn = (0..backends.len()).map(|offset| (next + offset) % backends.len());
        let Some(backend) = in_turn
            .into_iter()
            .find(|backend| ready[*backend].load(Ordering::SeqCst))
        else {
            // Nobody is ready: the client sees a connection that is closed.
            continue;
        };
        next = backend + 1;
        taken.lock().unwrap().push(backend);
        let address = backends[backend].address;
        connections.spawn(async move {
            if let Ok(mut server) = TcpStream::connect(address).await {
                let _ = tokio::io::copy_bidirectional(&mut client, &mut server).await;
            }
        });
        while connections.try_join_next().is_some() {}
    }
}
