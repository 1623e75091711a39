//! What a RoutePolicy says, read into checked values.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use nuncio_api::getambassador::HealthCheck as HealthCheckSpec;
use nuncio_api::policy::RoutePolicy;
use nuncio_model::cluster::{CircuitBreaker, HealthCheck, Keepalive, OutlierDetection};
use nuncio_model::external::{Checks, Labels};
use nuncio_model::route::{ErrorResponses, HashPolicy, PathRewrite, Priority, RetryPolicy};

use crate::fields::load_balancer::{self, LoadBalancing};
use crate::fields::mistake::Mistake;
use crate::fields::request::{self, CONNECT};
use crate::fields::values::{milliseconds, priority};
use crate::fields::{connection, error_response, health, labels};
use crate::gateway_api::Context;
use crate::store::Object;

/// What several policies say of a rule's requests and backends; of each field the nearest.
#[derive(Clone, Debug, Default, PartialEq)]
pub(in crate::gateway_api) struct Settings {
    bypass_auth: Option<bool>,
    auth_context_extensions: Option<BTreeMap<String, String>>,
    labels: Option<Labels>,
    pub(in crate::gateway_api) timeout: Option<Duration>,
    pub(in crate::gateway_api) idle_timeout: Option<Duration>,
    pub(in crate::gateway_api) retry: Option<RetryPolicy>,
    pub(in crate::gateway_api) path_rewrite: Option<PathRewrite>,
    pub(in crate::gateway_api) upgrades: Option<Vec<Arc<str>>>,
    pub(in crate::gateway_api) priority: Option<Priority>,
    pub(in crate::gateway_api) error_responses: Option<ErrorResponses>,
    pub(in crate::gateway_api) backend: BackendSettings,
}

/// What they say of backends.
#[derive(Clone, Debug, Default, PartialEq)]
pub(in crate::gateway_api) struct BackendSettings {
    /// The policies that say something of them. The same ones say the same of a backend.
    pub(in crate::gateway_api) from: Vec<Arc<str>>,
    pub(in crate::gateway_api) load_balancing: Option<LoadBalancing>,
    pub(in crate::gateway_api) circuit_breakers: Option<Vec<CircuitBreaker>>,
    pub(in crate::gateway_api) connect_timeout: Option<Duration>,
    pub(in crate::gateway_api) idle_timeout: Option<Duration>,
    pub(in crate::gateway_api) max_connection_duration: Option<Duration>,
    pub(in crate::gateway_api) keepalive: Option<Keepalive>,
    pub(in crate::gateway_api) health_checks: Option<Vec<HealthCheck>>,
    pub(in crate::gateway_api) outlier_detection: Option<OutlierDetection>,
}

/// Takes each field that a nearer policy has.
macro_rules! prefer {
    ($nearer:expr => $own:expr, $($field:ident)*) => {
        $(if $nearer.$field.is_some() {
            $own.$field.clone_from(&$nearer.$field);
        })*
    };
}

impl Settings {
    /// Takes up what a nearer policy says.
    pub(in crate::gateway_api) fn overlay(&mut self, nearer: &Self) {
        prefer!(nearer => self,
            bypass_auth auth_context_extensions labels timeout idle_timeout retry path_rewrite upgrades
            priority error_responses
        );
        let (own, nearer) = (&mut self.backend, &nearer.backend);
        prefer!(nearer => own,
            load_balancing circuit_breakers connect_timeout idle_timeout max_connection_duration
            keepalive health_checks outlier_detection
        );
        own.from.extend(nearer.from.iter().cloned());
    }

    /// What services are asked about requests.
    pub(in crate::gateway_api) fn checks(&self) -> Option<Box<Checks>> {
        let checks = Checks {
            auth: request::auth(self.bypass_auth, self.auth_context_extensions.as_ref()),
            labels: self.labels.clone().unwrap_or_default(),
        };
        (checks != Checks::default()).then(|| Box::new(checks))
    }

    pub(in crate::gateway_api) fn hash_policy(&self) -> Option<HashPolicy> {
        self.backend.load_balancing.as_ref()?.hash.clone()
    }
}

/// Reads a policy; `Err` is all that is wrong with it.
pub(in crate::gateway_api) fn read(
    context: &mut Context<'_>,
    object: &Object<RoutePolicy>,
) -> Result<Settings, Vec<Mistake>> {
    let spec = &object.spec;
    let mut wrong = Mistakes::default();
    let labels = spec.labels.as_ref().map(|given| {
        let (labels, mistakes) = labels::descriptors("spec.labels", given, &BTreeMap::new());
        wrong.0.extend(mistakes);
        labels
    });
    let own = spec.error_response_overrides.as_ref().map(|given| {
        let field = "spec.error_response_overrides";
        let (responses, mistakes) =
            error_response::read_all(&mut |path| context.file(path), field, given);
        wrong.0.extend(mistakes);
        ErrorResponses::Own(responses)
    });
    let time = |name: &str, value| milliseconds(&format!("spec.{name}"), value);
    let settings = Settings {
        bypass_auth: spec.bypass_auth,
        auth_context_extensions: spec.auth_context_extensions.clone(),
        labels,
        timeout: wrong.take(time("timeout_ms", spec.timeout_ms)),
        idle_timeout: wrong.take(time("idle_timeout_ms", spec.idle_timeout_ms)),
        retry: wrong.read(&spec.retry_policy, |retry| {
            request::retry_policy("spec.retry_policy", retry)
        }),
        path_rewrite: wrong.read(&spec.regex_rewrite, |rewrite| {
            request::regex_rewrite("spec.regex_rewrite", rewrite)
        }),
        upgrades: wrong.read(&spec.allow_upgrade, |given| upgrades(given)),
        priority: wrong.read(&spec.priority, |text| {
            priority("spec.priority", Some(text.as_str()))
        }),
        error_responses: match (spec.bypass_error_response_overrides, own) {
            (Some(true), _) => Some(ErrorResponses::Off),
            (Some(false), None) => Some(ErrorResponses::Inherited),
            (_, own) => own,
        },
        backend: BackendSettings {
            from: Vec::new(),
            load_balancing: wrong.read(&spec.load_balancer, |balancer| {
                load_balancer::read("spec.load_balancer", balancer)
            }),
            circuit_breakers: wrong.read(&spec.circuit_breakers, |breakers| {
                connection::circuit_breakers("spec.circuit_breakers", breakers)
            }),
            connect_timeout: wrong.take(connection::connect_timeout(
                "spec.connect_timeout_ms",
                spec.connect_timeout_ms,
            )),
            idle_timeout: wrong.take(time(
                "cluster_idle_timeout_ms",
                spec.cluster_idle_timeout_ms,
            )),
            max_connection_duration: wrong.take(time(
                "cluster_max_connection_lifetime_ms",
                spec.cluster_max_connection_lifetime_ms,
            )),
            keepalive: wrong.read(&spec.keepalive, |keepalive| {
                connection::keepalive("spec.keepalive", keepalive)
            }),
            health_checks: wrong.read(&spec.health_checks, |checks| health_checks(checks)),
            outlier_detection: wrong.read(&spec.outlier_detection, |detection| {
                health::outlier_detection("spec.outlier_detection", detection)
            }),
        },
    };
    match wrong.0.is_empty() {
        true => Ok(settings.named(object)),
        false => Err(wrong.0),
    }
}

/// What is wrong with a policy.
#[derive(Default)]
struct Mistakes(Vec<Mistake>);

impl Mistakes {
    fn take<T>(&mut self, read: Result<Option<T>, Mistake>) -> Option<T> {
        read.unwrap_or_else(|mistake| {
            self.0.push(mistake);
            None
        })
    }

    fn read<S, T>(
        &mut self,
        spec: &Option<S>,
        read: impl FnOnce(&S) -> Result<T, Mistake>,
    ) -> Option<T> {
        self.take(spec.as_ref().map(read).transpose())
    }
}

impl Settings {
    fn named(mut self, object: &Object<RoutePolicy>) -> Self {
        if self.backend != BackendSettings::default() {
            let name = format!("{}/{}", object.namespace(), object.name());
            self.backend.from.push(name.into());
        }
        self
    }
}

fn upgrades(given: &[String]) -> Result<Vec<Arc<str>>, Mistake> {
    let field = "spec.allow_upgrade";
    let upgrades = request::upgrades(field, given)?;
    if upgrades.iter().any(|upgrade| &**upgrade == CONNECT) {
        return Err(Mistake::new(
            field,
            "a request to CONNECT has no path, and no route takes it",
            "remove CONNECT; a Mapping with prefix: / can have it",
        ));
    }
    Ok(upgrades)
}

fn health_checks(specs: &[HealthCheckSpec]) -> Result<Vec<HealthCheck>, Mistake> {
    let read = |(index, spec)| health::health_check(&format!("spec.health_checks[{index}]"), spec);
    specs.iter().enumerate().map(read).collect()
}
