//! The Module `ambassador`: defaults of Mappings, and what holds for every connection.
//!
//! Each key is read for itself. One that is wrong is an error and has no effect; Emissary stops at
//! the first, so that a bad retry policy switches the address filter off, and bad circuit breakers
//! drop every Mapping.

mod defaults;
mod filters;
mod labels;
mod log_format;
mod options;
mod runtime;

use std::sync::Arc;

use nuncio_api::getambassador::{BuiltInRoute, ModuleConfig};
use nuncio_model::Reason;
use nuncio_model::listener::HttpOptions;
use nuncio_model::value::PathLiteral;
use serde_json::Value;

use super::Context;
use super::diagnostics::Access;
use super::service::ServiceName;
use crate::fields::mistake::Mistake;
use crate::store::{AUTH_MODULE, Object, TLS_MODULE};

pub(super) use defaults::{Defaults, fill};
pub(super) use options::with_datadog;

/// The Module that counts is the first of this name.
const NAME: &str = "ambassador";

#[derive(Clone, Debug)]
pub(super) struct Module {
    pub(super) built_in: BuiltIn,
    pub(super) diagnostics_access: Access,
    /// Whether dots in the names of a TLSContext's Secrets separate a namespace.
    pub(super) tls_secret_namespacing: bool,
    pub(super) defaults: Defaults,
    pub(super) options: Arc<HttpOptions>,
    pub(super) buffer_limit: Option<u32>,
    /// Names of the gateway's filters, in the order in which requests meet them.
    pub(super) filters: Vec<Arc<str>>,
}

/// The routes to nuncio itself.
#[derive(Clone, Debug)]
pub(super) struct BuiltIn {
    pub(super) liveness_probe: Probe,
    pub(super) readiness_probe: Probe,
    pub(super) diagnostics: Probe,
}

#[derive(Clone, Debug)]
pub(super) struct Probe {
    pub(super) enabled: bool,
    pub(super) prefix: PathLiteral,
    /// What the upstream gets in place of the prefix.
    pub(super) rewrite: PathLiteral,
    /// `None` is nuncio.
    pub(super) service: Option<String>,
}

impl Probe {
    fn new(prefix: &str) -> Self {
        let prefix = PathLiteral::new(prefix).expect("invariant: the prefix is one line");
        Self {
            enabled: true,
            rewrite: prefix.clone(),
            prefix,
            service: None,
        }
    }
}

impl Default for Module {
    fn default() -> Self {
        Self {
            built_in: BuiltIn {
                liveness_probe: Probe::new("/ambassador/v0/check_alive"),
                readiness_probe: Probe::new("/ambassador/v0/check_ready"),
                diagnostics: Probe::new("/ambassador/v0/"),
            },
            diagnostics_access: Access::default(),
            tls_secret_namespacing: true,
            defaults: Defaults::default(),
            options: Arc::new(options::default()),
            buffer_limit: None,
            filters: Vec::new(),
        }
    }
}

pub(super) fn read(context: &mut Context<'_>) -> Module {
    let mut counts = None;
    for object in context.store.modules.by_rkey() {
        if matches!(object.name(), TLS_MODULE | AUTH_MODULE) {
            continue;
        }
        if object.name() != NAME {
            context
                .report
                .warning(
                    &object.origin(),
                    Reason::NotSupported,
                    format!("nuncio reads only the Module {NAME}"),
                )
                .help(format!("name it {NAME}, or remove it"));
        } else if counts.is_none() {
            counts = Some(object);
        } else {
            context
                .report
                .warning(
                    &object.origin(),
                    Reason::Duplicate,
                    format!("another Module {NAME} came first and counts"),
                )
                .help("keep one Module");
        }
    }
    let Some(object) = counts else {
        return Module {
            filters: filters::without_module(context),
            ..Module::default()
        };
    };
    let (config, problems) = context.store.module_config(object);
    context.report.extend(problems);
    let Some(config) = config else {
        return Module::default();
    };
    Keys {
        context,
        object,
        config: &config,
    }
    .read()
}

/// The keys of a Module, and where to say what is wrong with them.
struct Keys<'c, 's, 'a> {
    context: &'c mut Context<'s>,
    object: &'a Object<Value>,
    config: &'a ModuleConfig,
}

impl Keys<'_, '_, '_> {
    fn read(mut self) -> Module {
        let default = Module::default();
        self.without_effect();
        self.runtime_flags();
        let defaults = self.config.defaults.as_ref();
        let tls_secret_namespacing = defaults.and_then(|defaults| defaults.tls_secret_namespacing);
        Module {
            built_in: self.built_in(default.built_in),
            diagnostics_access: match &self.config.diagnostics {
                Some(BuiltInRoute {
                    enabled: Some(false),
                    allow_non_local,
                    ..
                }) if *allow_non_local != Some(true) => Access::Local,
                _ => Access::Everybody,
            },
            tls_secret_namespacing: tls_secret_namespacing
                .unwrap_or(default.tls_secret_namespacing),
            defaults: self.defaults(),
            options: Arc::new(self.options()),
            buffer_limit: self.positive("buffer_limit_bytes", self.config.buffer_limit_bytes),
            filters: self.filters(),
        }
    }

    /// The value of a key, unless it is wrong, which is said.
    fn take<T>(&mut self, value: Result<T, Mistake>) -> Option<T> {
        match value {
            Ok(value) => Some(value),
            Err(mistake) => {
                mistake.report(&mut self.context.report, self.object);
                None
            }
        }
    }

    /// A number from 1.
    fn positive(&mut self, key: &str, value: Option<i64>) -> Option<u32> {
        let value = value?;
        self.take(match u32::try_from(value) {
            Ok(number) if number > 0 => Ok(number),
            _ => Err(Mistake::new(
                path(key),
                format!("{value} is out of range"),
                "write a whole number from 1 to 4294967295",
            )),
        })
    }

    /// One of a few words.
    fn word<T: Copy>(&mut self, key: &str, text: Option<&str>, words: &[(&str, T)]) -> Option<T> {
        let text = text.filter(|text| !text.is_empty())?;
        let found = words
            .iter()
            .find(|(word, _)| word.eq_ignore_ascii_case(text));
        let known: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
        self.take(found.map(|(_, value)| *value).ok_or_else(|| {
            Mistake::new(
                path(key),
                format!("\"{text}\" is none of the values that it can have"),
                format!("write one of {}", known.join(", ")),
            )
        }))
    }

    fn built_in(&mut self, default: BuiltIn) -> BuiltIn {
        let config = self.config;
        BuiltIn {
            liveness_probe: self.probe(
                "liveness_probe",
                config.liveness_probe.as_ref(),
                default.liveness_probe,
            ),
            readiness_probe: self.probe(
                "readiness_probe",
                config.readiness_probe.as_ref(),
                default.readiness_probe,
            ),
            diagnostics: self.probe(
                "diagnostics",
                config.diagnostics.as_ref(),
                default.diagnostics,
            ),
        }
    }

    /// An object that does not say whether leaves the route on; Emissary turned it off.
    fn probe(&mut self, key: &str, spec: Option<&BuiltInRoute>, default: Probe) -> Probe {
        let Some(spec) = spec else {
            return default;
        };
        let of_diagnostics = key == "diagnostics";
        if spec.allow_non_local.is_some() && !(of_diagnostics && spec.enabled == Some(false)) {
            let why = match of_diagnostics {
                true => "diagnostics are enabled, so that everybody has them",
                false => "a probe has an answer for everybody who reaches --admin",
            };
            self.context
                .report
                .notice(
                    &self.object.at(format!("{}.allow_non_local", path(key))),
                    Reason::NoEffect,
                    format!("allow_non_local has no effect: {why}"),
                )
                .help("it can be removed; enabled: false takes the route away from Listeners");
        }
        let given = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
        let mut literal = |name: &str, text: Option<String>, default: PathLiteral| {
            let field = format!("{}.{name}", path(key));
            text.and_then(|text| self.take(PathLiteral::new(&text).map_err(Mistake::at(field))))
                .unwrap_or(default)
        };
        let prefix = literal("prefix", given(&spec.prefix), default.prefix);
        let rewrite = literal("rewrite", given(&spec.rewrite), default.rewrite);
        let service = given(&spec.service).and_then(|service| {
            let field = format!("{}.service", path(key));
            let name = ServiceName::parse(&service, None).map_err(Mistake::at(field));
            self.take(name).map(|_| service)
        });
        Probe {
            enabled: spec.enabled.unwrap_or(true),
            prefix,
            rewrite,
            service,
        }
    }

    /// Keys that Emissary takes and does nothing with, or that mean nothing here.
    fn without_effect(&mut self) {
        let config = self.config;
        for (key, value, why) in [
            (
                "admin_port",
                &config.admin_port,
                "Envoy's admin listens on no port; a Mapping to 127.0.0.1:8001 reaches it",
            ),
            (
                "ambassador_id",
                &config.ambassador_id,
                "it stands in spec, beside config",
            ),
            (
                "auth_enabled",
                &config.auth_enabled,
                "an AuthService says so by being there",
            ),
            (
                "debug_mode",
                &config.debug_mode,
                "diagnostics always show everything",
            ),
            (
                "envoy_validation_timeout",
                &config.envoy_validation_timeout,
                "each resource is checked for itself, and nothing waits for it",
            ),
            (
                "prune_unreachable_routes",
                &config.prune_unreachable_routes,
                "routes that no Host takes are never sent",
            ),
            (
                "regex_max_size",
                &config.regex_max_size,
                "regular expressions may be as large as Envoy can bear",
            ),
            ("regex_type", &config.regex_type, "Envoy only has RE2"),
            (
                "service_port",
                &config.service_port,
                "write a Listener for each port",
            ),
            (
                "statsd",
                &config.statsd,
                "the variables STATSD_ENABLED and STATSD_HOST switch it on",
            ),
            (
                "tls",
                &config.tls,
                "write tlsSecret in a Host, and TLSContexts",
            ),
            (
                "use_proxy_proto",
                &config.use_proxy_proto,
                "write protocol: HTTPPROXY or HTTPSPROXY in a Listener",
            ),
            (
                "x_forwarded_proto_redirect",
                &config.x_forwarded_proto_redirect,
                "write requestPolicy.insecure.action: Redirect in a Host",
            ),
        ] {
            if value.is_some() {
                self.context
                    .report
                    .notice(
                        &self.object.at(path(key)),
                        Reason::NoEffect,
                        format!("{key} has no effect: {why}"),
                    )
                    .help("it can be removed");
            }
        }
        // Documented as the default of `l7Depth`, and never so since Listeners exist. To trust what
        // clients send must be somebody's decision, so it does not begin to count here.
        if config.xff_num_trusted_hops.is_some() {
            self.context
                .report
                .warning(
                    &self.object.at(path("xff_num_trusted_hops")),
                    Reason::NoEffect,
                    "xff_num_trusted_hops has no effect, as in Emissary since 2.0",
                )
                .help("write l7Depth in each Listener behind proxies that are to be trusted");
        }
    }
}

/// The path of a key.
fn path(key: &str) -> String {
    format!("spec.config.{key}")
}
