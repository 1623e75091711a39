//! The upstream of the quick start.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use clap::Parser;
use nuncio_echo::Echo;
use tokio::signal::unix::{SignalKind, signal};

/// A small upstream that says what it was asked.
///
/// Every request is answered with JSON: the upstream's name, and the method, path, headers and body
/// that reached it. HTTP/1.1, HTTP/2, gRPC and WebSocket on one port.
#[derive(Parser, Debug)]
#[command(name = "nuncio-echo", version)]
struct Args {
    /// Address to listen on, and the name to answer with. May be given several times.
    #[arg(long, value_name = "ADDR=NAME", required = true, value_parser = listen)]
    listen: Vec<(SocketAddr, String)>,

    /// Certificate chain in PEM, to serve TLS.
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    tls_cert: Option<PathBuf>,

    /// Its key in PEM.
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    tls_key: Option<PathBuf>,
}

fn listen(text: &str) -> Result<(SocketAddr, String), String> {
    let (address, name) = text.split_once('=').unwrap_or((text, "echo"));
    let address = address
        .parse()
        .map_err(|_| "write an address and a port, as in 127.0.0.1:9001=quote".to_owned())?;
    Ok((address, name.to_owned()))
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    match run(Args::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("nuncio-echo: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run(args: Args) -> anyhow::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let read = |path: &PathBuf| {
        std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))
    };
    let tls = match (&args.tls_cert, &args.tls_key) {
        (Some(cert), Some(key)) => Some((read(cert)?, read(key)?)),
        _ => None,
    };
    let mut running = Vec::new();
    for (address, name) in args.listen {
        let mut echo = Echo::new(&name);
        if let Some((cert, key)) = &tls {
            echo = echo.tls(cert, key);
        }
        let started = echo.start(address).await.with_context(|| {
            format!("cannot listen on {address}; stop what holds the port, or give another")
        })?;
        eprintln!("nuncio-echo: {name} listens on {}", started.address());
        running.push(started);
    }
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    Ok(())
}
