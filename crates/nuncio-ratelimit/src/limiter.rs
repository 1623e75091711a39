//! A request to its answer.
//!
//! ```text
//!  descriptors ──▶ rules ──▶ keys of windows ──▶ counters ──▶ statuses ──▶ one code
//! ```

use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{SystemTime, UNIX_EPOCH};

use nuncio_envoy_api::envoy::config::core::v3::HeaderValue;
use nuncio_envoy_api::envoy::extensions::common::ratelimit::v3::RateLimitDescriptor;
use nuncio_envoy_api::envoy::service::ratelimit::v3::rate_limit_response::{
    Code, DescriptorStatus, RateLimit,
};
use nuncio_envoy_api::envoy::service::ratelimit::v3::{RateLimitRequest, RateLimitResponse};
use nuncio_envoy_api::envoy::r#type::v3::RateLimitUnit;
use nuncio_envoy_api::google::protobuf::Duration;

use crate::counters::{Counters, Hit, OverLimit, RedisError};
use crate::file::Quota;
use crate::metrics::{Metrics, RuleStats, add};
use crate::rules::{Found, Rules};
use crate::unit::Unit;

/// What Envoy's API says is the most; sums stay far from overflowing.
const MOST_HITS: u64 = 1_000_000_000;

/// Decides by the rules that were set last.
#[derive(Debug)]
pub(crate) struct Limiter {
    rules: RwLock<Arc<InEffect>>,
    counters: Counters,
    over_limit: Option<OverLimit>,
    metrics: Arc<Metrics>,
    settings: Settings,
}

#[derive(Debug)]
pub(crate) struct InEffect {
    pub(crate) rules: Rules,
    /// Why a domain that is not known may have limits all the same: a file was never good.
    pub(crate) incomplete: Option<String>,
}

#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub(crate) near_limit_ratio: f32,
    pub(crate) key_prefix: String,
    pub(crate) shadow_mode: bool,
    pub(crate) headers: Option<Headers>,
}

/// Headers of every answer, which say how much is left.
#[derive(Clone, Debug)]
pub struct Headers {
    pub limit: String,
    pub remaining: String,
    pub reset: String,
}

impl Default for Headers {
    fn default() -> Self {
        Self {
            limit: "RateLimit-Limit".to_owned(),
            remaining: "RateLimit-Remaining".to_owned(),
            reset: "RateLimit-Reset".to_owned(),
        }
    }
}

/// Why there is no decision.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Undecided {
    #[error("{0}")]
    Request(String),
    #[error("{0}")]
    Rules(String),
    #[error(transparent)]
    Redis(#[from] RedisError),
}

/// A descriptor, and the limit that it is under.
struct Checked<'rules> {
    status: Outcome<'rules>,
    hits: u64,
}

enum Outcome<'rules> {
    NoLimit,
    Unlimited(Found<'rules>),
    Limited(Limited<'rules>),
}

struct Limited<'rules> {
    found: Found<'rules>,
    requests: u32,
    unit: Unit,
    /// Over the limit without asking.
    known_over: bool,
}

impl Limiter {
    pub(crate) fn new(
        counters: Counters,
        over_limit: Option<OverLimit>,
        metrics: Arc<Metrics>,
        settings: Settings,
    ) -> Self {
        Self {
            rules: RwLock::new(Arc::new(InEffect {
                rules: Rules::default(),
                incomplete: Some("the limits have not been read yet".to_owned()),
            })),
            counters,
            over_limit,
            metrics,
            settings,
        }
    }

    pub(crate) fn set_rules(&self, rules: InEffect) {
        *self.rules.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(rules);
    }

    pub(crate) async fn decide(
        &self,
        request: &RateLimitRequest,
    ) -> Result<RateLimitResponse, Undecided> {
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, |since| since.as_secs());
        self.decide_at(request, now).await
    }

    pub(crate) async fn decide_at(
        &self,
        request: &RateLimitRequest,
        now: u64,
    ) -> Result<RateLimitResponse, Undecided> {
        let in_effect = Arc::clone(&self.rules.read().unwrap_or_else(PoisonError::into_inner));
        let mut checked = self.check(request, &in_effect)?;
        let mut hits = Vec::with_capacity(checked.len());
        // Where there is a counter to be asked, its key is kept if it may be over the limit.
        let mut keys = Vec::new();
        for (descriptor, checked) in request.descriptors.iter().zip(&mut checked) {
            let Outcome::Limited(limited) = &mut checked.status else {
                continue;
            };
            add(&limited.found.stats.total_hits, checked.hits);
            let window = limited.unit.seconds();
            let window_start = now - now % window;
            let key = self.key(request, descriptor, &limited.found, window_start);
            if let Some(over_limit) = &self.over_limit {
                limited.known_over = over_limit.contains(&key);
                if limited.known_over {
                    continue;
                }
                keys.push(key.clone());
            }
            hits.push(Hit {
                key,
                hits: checked.hits,
                window_end: window_start + window,
                window,
            });
        }
        let counts = self.counters.add(hits, now).await?;
        Ok(self.answer(&checked, &counts, keys, now))
    }

    /// Which limit each descriptor is under.
    fn check<'rules>(
        &self,
        request: &RateLimitRequest,
        in_effect: &'rules InEffect,
    ) -> Result<Vec<Checked<'rules>>, Undecided> {
        if request.domain.is_empty() {
            return Err(Undecided::Request("the request has no domain".to_owned()));
        }
        if request.descriptors.is_empty() {
            return Err(Undecided::Request(
                "the request has no descriptor".to_owned(),
            ));
        }
        let known = in_effect.rules.knows(&request.domain);
        if let Some(reason) = in_effect.incomplete.as_ref().filter(|_| !known) {
            return Err(Undecided::Rules(reason.clone()));
        }
        let mut checked = Vec::with_capacity(request.descriptors.len());
        for descriptor in &request.descriptors {
            let hits = hits(request, descriptor)?;
            let status = match self.find(request, descriptor, known, &in_effect.rules)? {
                None => Outcome::NoLimit,
                Some(found) => match found.quota {
                    Quota::Unlimited => Outcome::Unlimited(found),
                    Quota::Per { requests, unit } => Outcome::Limited(Limited {
                        found,
                        requests,
                        unit,
                        known_over: false,
                    }),
                },
            };
            checked.push(Checked { status, hits });
        }
        replace(&mut checked);
        Ok(checked)
    }

    fn find<'rules>(
        &self,
        request: &RateLimitRequest,
        descriptor: &RateLimitDescriptor,
        known: bool,
        rules: &'rules Rules,
    ) -> Result<Option<Found<'rules>>, Undecided> {
        if !known {
            self.metrics.unknown_domain(&request.domain);
            return Ok(None);
        }
        let Some(asked) = &descriptor.limit else {
            return Ok(rules.find(&request.domain, descriptor, &self.metrics));
        };
        let unit = RateLimitUnit::try_from(asked.unit)
            .ok()
            .and_then(Unit::from_override)
            .ok_or_else(|| {
                let message = format!("{} is no unit of a limit", asked.unit);
                Undecided::Request(message)
            })?;
        let path = descriptor
            .entries
            .iter()
            .map(|entry| match entry.value.as_str() {
                "" => entry.key.clone(),
                value => format!("{}_{value}", entry.key),
            });
        let domain = self.metrics.rule(&request.domain, &[]);
        let stats = self
            .metrics
            .dynamic(&request.domain, path.collect(), &domain);
        Ok(Some(Found {
            quota: Quota::Per {
                requests: asked.requests_per_unit,
                unit,
            },
            name: "",
            replaces: &[],
            shadow_mode: false,
            quota_mode: false,
            stats,
            shared: Vec::new(),
        }))
    }

    /// The same as envoyproxy/ratelimit's, so that both can count in one Redis.
    fn key(
        &self,
        request: &RateLimitRequest,
        descriptor: &RateLimitDescriptor,
        found: &Found<'_>,
        window_start: u64,
    ) -> Box<str> {
        let entries = descriptor.entries.iter();
        let size: usize = entries
            .map(|entry| entry.key.len() + entry.value.len() + 2)
            .sum();
        let mut key = String::with_capacity(
            self.settings.key_prefix.len() + request.domain.len() + size + 21,
        );
        key.push_str(&self.settings.key_prefix);
        key.push_str(&request.domain);
        key.push('_');
        for (index, entry) in descriptor.entries.iter().enumerate() {
            key.push_str(&entry.key);
            key.push('_');
            let shared = found.shared.iter().find(|(shared, _)| *shared == index);
            key.push_str(shared.map_or(&entry.value, |(_, value)| value));
            key.push('_');
        }
        key.push_str(&window_start.to_string());
        key.into_boxed_str()
    }

    fn answer(
        &self,
        checked: &[Checked<'_>],
        counts: &[u64],
        keys: Vec<Box<str>>,
        now: u64,
    ) -> RateLimitResponse {
        let mut counts = counts.iter();
        let mut keys = keys.into_iter();
        let mut response = RateLimitResponse {
            statuses: Vec::with_capacity(checked.len()),
            ..RateLimitResponse::default()
        };
        let mut over_limit = false;
        // Which status the headers are of: the one with the least left.
        let mut least: Option<(u32, u32, Unit)> = None;
        for Checked { status, hits } in checked {
            let limited = match status {
                Outcome::NoLimit => {
                    response.statuses.push(status_without_limit(0));
                    continue;
                }
                Outcome::Unlimited(_) => {
                    response.statuses.push(status_without_limit(u32::MAX));
                    continue;
                }
                Outcome::Limited(limited) => limited,
            };
            let stats = &limited.found.stats;
            let limit = u64::from(limited.requests);
            let over = if limited.known_over {
                add(&stats.over_limit, *hits);
                add(&stats.over_limit_with_local_cache, *hits);
                Some(*hits)
            } else {
                let after = *counts.next().expect("invariant: a count for each hit");
                let key = keys.next();
                let over = self.count(stats, limit, after, *hits);
                if let (Some(_), Some(cache), Some(key)) = (over, &self.over_limit, key) {
                    let window = limited.unit.seconds();
                    cache.insert(key, now - now % window + window, now);
                }
                if over.is_none() {
                    let remaining = u32::try_from(limit - after).expect("invariant: below a u32");
                    let status = limited.status(Code::Ok, remaining, now);
                    if least.is_none_or(|(least, ..)| remaining < least) && remaining < u32::MAX {
                        least = Some((remaining, limited.requests, limited.unit));
                    }
                    response.statuses.push(status);
                    continue;
                }
                over
            };
            let found = &limited.found;
            if found.shadow_mode {
                add(&stats.shadow_mode, over.unwrap_or(0));
            }
            let blocked = !found.shadow_mode && !found.quota_mode;
            if blocked || least.is_none_or(|(least, ..)| least > 0) {
                least = Some((0, limited.requests, limited.unit));
            }
            over_limit |= blocked;
            let code = if blocked { Code::OverLimit } else { Code::Ok };
            let mut status = limited.status(code, 0, now);
            if found.quota_mode && !found.shadow_mode {
                status.duration_until_reset = None;
            }
            response.statuses.push(status);
        }
        if let (Some(headers), Some((remaining, requests, unit))) = (&self.settings.headers, least)
        {
            let header = |key: &str, value: u64| HeaderValue {
                key: key.to_owned(),
                value: value.to_string(),
                ..HeaderValue::default()
            };
            response.response_headers_to_add = vec![
                header(&headers.limit, requests.into()),
                header(&headers.remaining, remaining.into()),
                header(&headers.reset, until_reset(unit, now)),
            ];
        }
        if over_limit && self.settings.shadow_mode {
            over_limit = false;
            self.metrics.shadowed.fetch_add(1, Ordering::Relaxed);
        }
        response.set_overall_code(if over_limit {
            Code::OverLimit
        } else {
            Code::Ok
        });
        response
    }

    /// Counts what hits mean for their rule; how many of them are over the limit, if it is.
    fn count(&self, stats: &RuleStats, limit: u64, after: u64, hits: u64) -> Option<u64> {
        let before = after.saturating_sub(hits);
        // In the precision of envoyproxy/ratelimit.
        #[allow(
            clippy::cast_precision_loss,
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss
        )]
        let near = (limit as f32 * self.settings.near_limit_ratio).floor() as u64;
        if after <= limit {
            add(&stats.near_limit, after.saturating_sub(near.max(before)));
            add(&stats.within_limit, hits);
            return None;
        }
        if before >= limit {
            add(&stats.over_limit, hits);
            return Some(hits);
        }
        add(&stats.over_limit, after - limit);
        add(&stats.near_limit, limit - near.max(before).min(limit));
        Some(after - limit)
    }
}

impl Limited<'_> {
    fn status(&self, code: Code, limit_remaining: u32, now: u64) -> DescriptorStatus {
        DescriptorStatus {
            code: code.into(),
            current_limit: Some(RateLimit {
                name: self.found.name.to_owned(),
                requests_per_unit: self.requests,
                unit: self.unit.as_answer().into(),
            }),
            limit_remaining,
            duration_until_reset: Some(Duration {
                seconds: i64::try_from(until_reset(self.unit, now)).unwrap_or(i64::MAX),
                nanos: 0,
            }),
            ..DescriptorStatus::default()
        }
    }
}

fn status_without_limit(limit_remaining: u32) -> DescriptorStatus {
    DescriptorStatus {
        code: Code::Ok.into(),
        limit_remaining,
        ..DescriptorStatus::default()
    }
}

fn until_reset(unit: Unit, now: u64) -> u64 {
    unit.seconds() - now % unit.seconds()
}

fn hits(request: &RateLimitRequest, descriptor: &RateLimitDescriptor) -> Result<u64, Undecided> {
    let hits = match &descriptor.hits_addend {
        // Zero asks without counting.
        Some(hits) => hits.value,
        None => u64::from(request.hits_addend.max(1)),
    };
    if descriptor.is_negative_hits && hits > 0 {
        let message = "hits are never given back: is_negative_hits is not supported";
        return Err(Undecided::Request(message.to_owned()));
    }
    if hits > MOST_HITS {
        let message = format!("{hits} hits are more than a request may have ({MOST_HITS})");
        return Err(Undecided::Request(message));
    }
    Ok(hits)
}

/// A limit that another one of the request replaces is none.
fn replace(checked: &mut [Checked<'_>]) {
    let replaced: Vec<&str> = checked
        .iter()
        .filter_map(|checked| match &checked.status {
            Outcome::Limited(Limited { found, .. }) | Outcome::Unlimited(found) => {
                Some(found.replaces)
            }
            Outcome::NoLimit => None,
        })
        .flatten()
        .map(String::as_str)
        .collect();
    if replaced.is_empty() {
        return;
    }
    for checked in checked {
        if let Outcome::Limited(limited) = &checked.status
            && replaced.contains(&limited.found.name)
        {
            checked.status = Outcome::NoLimit;
        }
    }
}
