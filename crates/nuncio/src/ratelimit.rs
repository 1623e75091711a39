//! `nuncio ratelimit`: the rate limit service alone.

use std::process::ExitCode;

use nuncio_ratelimit::{Headers, Options, RedisSettings, Server};

use crate::cli::RatelimitArgs;
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
    let server = Server::bind(options(args)).await?;
    tracing::info!(listen = %server.grpc_address()?, http = %server.http_address()?, "serving");
    server.run(async move { ends.next().await }).await?;
    Ok(())
}

fn options(args: &RatelimitArgs) -> Options {
    Options {
        limits: args.limits.clone(),
        listen: args.listen,
        http: args.http,
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
