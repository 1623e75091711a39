//! Envoy's rate limit protocol, version 3.

use std::sync::Arc;
use std::time::Instant;

use nuncio_envoy_api::envoy::service::ratelimit::v3::rate_limit_service_server::RateLimitService;
use nuncio_envoy_api::envoy::service::ratelimit::v3::{RateLimitRequest, RateLimitResponse};
use tonic::{Request, Response, Status};

use crate::limiter::{Limiter, Undecided};
use crate::metrics::{Metrics, add};

pub(crate) struct Service {
    pub(crate) limiter: Arc<Limiter>,
    pub(crate) metrics: Arc<Metrics>,
}

#[tonic::async_trait]
impl RateLimitService for Service {
    async fn should_rate_limit(
        &self,
        request: Request<RateLimitRequest>,
    ) -> Result<Response<RateLimitResponse>, Status> {
        let began = Instant::now();
        let decided = self.limiter.decide(request.get_ref()).await;
        self.metrics.answered_after(began.elapsed());
        decided.map(Response::new).map_err(|undecided| {
            let counter = match undecided {
                Undecided::Redis(_) => &self.metrics.redis_errors,
                Undecided::Request(_) | Undecided::Rules(_) => &self.metrics.service_errors,
            };
            add(counter, 1);
            let message = undecided.to_string();
            match undecided {
                Undecided::Request(_) => Status::invalid_argument(message),
                Undecided::Rules(_) | Undecided::Redis(_) => Status::unavailable(message),
            }
        })
    }
}
