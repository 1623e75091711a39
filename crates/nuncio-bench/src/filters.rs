//! Envoy's processor time for a request that others are asked about, beside the same filters
//! written by hand.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;

use nuncio_echo::Echo;
use nuncio_ratelimit::{Options, Server};

use crate::figure::{Figure, Figures};
use crate::manifests::{DOMAIN, Filters, LABEL};
use crate::routing;

pub(crate) const NAME: &str = "filters";

pub(crate) async fn measure(
    folder: &Path,
    size: usize,
    envoy: &Path,
    requests: usize,
) -> anyhow::Result<Vec<Figure>> {
    let any_port = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let auth = Echo::new("auth").start(any_port).await?;
    let limits = folder.join("limits.yaml");
    fs::write(&limits, limit())?;
    let service = Server::bind(Options {
        limits,
        listen: any_port,
        http: any_port,
        merge_domains: false,
        near_limit_ratio: 0.8,
        key_prefix: String::new(),
        shadow_mode: false,
        headers: None,
        redis: None,
    })
    .await?;
    let rate_limit = Some(service.grpc_address()?);
    let service = tokio::spawn(service.run(std::future::pending()));
    let auth = Some(auth.address());

    let mut figures = Figures::new(NAME, size);
    for (name, filters) in [
        (
            "auth",
            Filters {
                auth,
                rate_limit: None,
            },
        ),
        (
            "rate limit",
            Filters {
                auth: None,
                rate_limit,
            },
        ),
        ("both", Filters { auth, rate_limit }),
    ] {
        let folder = folder.join(name);
        fs::create_dir(&folder)?;
        let costs = routing::costs(&folder, size, filters, envoy, requests).await?;
        let ([nuncio, _], [plain, _]) = (costs.nuncio, costs.plain);
        figures.add(format!("{name}: nuncio (worker CPU)"), "µs", nuncio);
        figures.add(format!("{name}: by hand (worker CPU)"), "µs", plain);
        let throughput = plain / nuncio;
        figures.add(
            format!("{name}: throughput, nuncio / by hand"),
            "",
            throughput,
        );
    }
    anyhow::ensure!(!service.is_finished(), "the rate limit service ended");
    service.abort();
    Ok(figures.finish())
}

/// Which nobody reaches.
fn limit() -> String {
    format!(
        "domain: {DOMAIN}\ndescriptors:\n- key: {LABEL}\n  \
         rate_limit: {{unit: second, requests_per_unit: 1000000}}\n"
    )
}
