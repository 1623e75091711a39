//! Connections to upstreams: how many, how long, and how they are kept.

use std::time::Duration;

use nuncio_api::getambassador::{CircuitBreaker as CircuitBreakerSpec, KeepAlive};
use nuncio_model::cluster::{CircuitBreaker, Keepalive};

use super::mistake::Mistake;
use super::values::{milliseconds, priority, unsigned};

/// `connect_timeout_ms`.
pub(crate) fn connect_timeout(
    field: &str,
    value: Option<i64>,
) -> Result<Option<Duration>, Mistake> {
    let timeout = milliseconds(field, value)?;
    if timeout.is_some_and(|timeout| timeout.is_zero()) {
        return Err(Mistake::new(
            field,
            "a connection cannot be made in no time",
            "write milliseconds as a whole number from 1, such as 3000",
        ));
    }
    Ok(timeout)
}

/// Breakers in a list that stands at `field`.
pub(crate) fn circuit_breakers(
    field: &str,
    breakers: &[CircuitBreakerSpec],
) -> Result<Vec<CircuitBreaker>, Mistake> {
    breakers
        .iter()
        .enumerate()
        .map(|(index, breaker)| {
            let at = |name: &str| format!("{field}[{index}].{name}");
            let number = |name: &str, value| unsigned(&at(name), value);
            Ok(CircuitBreaker {
                priority: priority(&at("priority"), breaker.priority.as_deref())?,
                max_connections: number("max_connections", breaker.max_connections)?,
                max_pending_requests: number("max_pending_requests", breaker.max_pending_requests)?,
                max_requests: number("max_requests", breaker.max_requests)?,
                max_retries: number("max_retries", breaker.max_retries)?,
            })
        })
        .collect()
}

/// Mappings say `idle_time` and Emissary reads `time`, so that it only has an effect in a Module;
/// here both count everywhere.
pub(crate) fn keepalive(field: &str, spec: &KeepAlive) -> Result<Keepalive, Mistake> {
    let number = |name: &str, value| unsigned(&format!("{field}.{name}"), value);
    Ok(Keepalive {
        idle_time: number("idle_time", spec.idle_time)?.or(number("time", spec.time)?),
        interval: number("interval", spec.interval)?,
        probes: number("probes", spec.probes)?,
    })
}
