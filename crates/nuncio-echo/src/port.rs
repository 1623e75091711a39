//! Ports that somebody else is to listen on.

use std::net::{Ipv4Addr, TcpListener, UdpSocket};
use std::sync::atomic::{AtomicU16, Ordering};

/// Below those that the system gives to whoever connects: one that is free now would else be gone
/// when it is wanted.
const FIRST: u16 = 12_000;
const COUNT: u16 = 18_000;

static NEXT: AtomicU16 = AtomicU16::new(0);

/// A port that nobody listens on, and that this process was not told of before.
pub fn free_port() -> u16 {
    // Processes begin at places of their own.
    let begin = std::process::id().wrapping_mul(997) % u32::from(COUNT);
    loop {
        let next = u32::from(NEXT.fetch_add(1, Ordering::Relaxed) % COUNT);
        let offset = (begin + next) % u32::from(COUNT);
        let port = FIRST + u16::try_from(offset).expect("invariant: less than a u16");
        let tcp = TcpListener::bind((Ipv4Addr::UNSPECIFIED, port));
        let udp = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, port));
        if tcp.is_ok() && udp.is_ok() {
            return port;
        }
    }
}
