//! Follows one service.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBuilder};
use nuncio_model::cluster::Endpoint;
use nuncio_model::consul::{ConsulAnswer, ConsulService};
use tokio::net::lookup_host;
use tokio::sync::mpsc;

use super::agent::Agents;
use super::answer::{Instance, next_index};

/// Between two tries, the first time and at most.
const FIRST_PAUSE: Duration = Duration::from_millis(200);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// Follows a service for as long as anybody listens.
pub(super) async fn follow(
    agents: Arc<Agents>,
    service: Arc<ConsulService>,
    before: Option<ConsulAnswer>,
    news: mpsc::Sender<(Arc<ConsulService>, ConsulAnswer)>,
) {
    let builder = ExponentialBuilder::new()
        .with_min_delay(FIRST_PAUSE)
        .with_max_delay(LONGEST_PAUSE)
        .with_factor(2.0)
        .with_jitter()
        .without_max_times();
    let mut pauses = builder.build();
    let mut known = before.unwrap_or_default();
    let mut said = false;
    let mut index = 0;
    loop {
        let asked = async {
            let answer = agents.ask(&service, index).await?;
            Ok::<_, String>((endpoints(answer.instances).await?, answer.index))
        };
        let (answer, failed) = match asked.await {
            Ok((endpoints, answered)) => {
                index = next_index(index, answered);
                let answer = ConsulAnswer {
                    endpoints,
                    problem: None,
                };
                (answer, false)
            }
            Err(problem) => {
                index = 0;
                let answer = ConsulAnswer {
                    endpoints: known.endpoints.clone(),
                    problem: Some(problem),
                };
                (answer, true)
            }
        };
        if !said || answer != known {
            known = answer.clone();
            said = true;
            if news.send((Arc::clone(&service), answer)).await.is_err() {
                return;
            }
        }
        match failed {
            true => tokio::time::sleep(pauses.next().unwrap_or(LONGEST_PAUSE)).await,
            false => pauses = builder.build(),
        }
    }
}

/// Names are looked up, once for each answer.
async fn endpoints(instances: Vec<Instance>) -> Result<Vec<Endpoint>, String> {
    let mut endpoints = BTreeSet::new();
    for instance in instances {
        if let Some(endpoint) = instance.endpoint() {
            endpoints.insert(endpoint);
            continue;
        }
        let Instance { host, port } = instance;
        let found = lookup_host((host.as_str(), port)).await;
        let found = found.map_err(|error| format!("{host} is not found: {error}"))?;
        endpoints.extend(found.map(|found| Endpoint {
            address: found.ip(),
            port,
        }));
    }
    Ok(endpoints.into_iter().collect())
}
