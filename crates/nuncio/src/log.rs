//! nuncio's own log, on standard error.

use std::io::{IsTerminal, stderr};

use tracing_subscriber::EnvFilter;

/// Sets the log up, as text or as JSON.
pub(crate) fn init(level: &str, json: bool) {
    let level = match level {
        "warning" => "warn",
        known @ ("error" | "warn" | "info" | "debug" | "trace") => known,
        _ => "info",
    };
    // What kube's client logs says neither of what nor to whom: who uses it says that.
    let filter = EnvFilter::new(format!(
        "warn,kube_client::client=off,nuncio={level},nuncio_apiext={level},nuncio_ratelimit={level},nuncio_xds={level}"
    ));
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_target(false)
        .with_writer(stderr)
        .with_ansi(stderr().is_terminal());
    if json {
        builder.json().init();
    } else {
        builder.init();
    }
}
