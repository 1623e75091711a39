//! The rate limit service: alone as `nuncio ratelimit`, or within `nuncio run`.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::ExitCode;

use nuncio_ratelimit::{Headers, Options, RedisSettings, Server};

use crate::cli::{CountingArgs, RatelimitArgs, RunArgs};
use crate::signals::Ends;

pub fn run(args: &RatelimitArgs) -> ExitCode {
    crate::log::init(&args.log_level, false);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build();
    let ended = runtime
        .map_err(anyhow::Error::from)
        .and_then(|runtime| runtime.block_on(serve(args)));
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn serve(args: &RatelimitArgs) -> anyhow::Result<()> {
    let mut ends = Ends::new()?;
    let options = options(&args.limits, [args.listen, args.http], &args.counting);
    let server = Server::bind(options).await?;
    tracing::info!(listen = %server.grpc_address()?, http = %server.http_address()?, "serving");
    server.run(async move { ends.next().await }).await?;
    Ok(())
}

/// The service within `nuncio run`, for the Envoy beside it, if there are limits: on ports of the
/// loopback address that are free.
pub(crate) async fn within(args: &RunArgs) -> anyhow::Result<Option<Server>> {
    let Some(limits) = &args.limits else {
        return Ok(None);
    };
    let free = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let server = Server::bind(options(limits, [free, free], &args.counting)).await?;
    Ok(Some(server))
}

fn options(limits: &Path, [listen, http]: [SocketAddr; 2], args: &CountingArgs) -> Options {
    Options {
        limits: limits.to_owned(),
        listen,
        http,
        merge_domains: args.merge_domains,
        near_limit_ratio: args.near_limit_ratio,
        key_prefix: args.key_prefix.clone().unwrap_or_default(),
        shadow_mode: args.shadow_mode,
        headers: args.response_headers.then(Headers::default),
        redis: args.redis.as_ref().map(|url| RedisSettings {
            url: url.clone(),
            ca: args.redis_ca.clone(),
            expiration_jitter: args.expiration_jitter,
            local_cache: args.local_cache,
        }),
    }
}
