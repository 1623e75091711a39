//! The Module `ambassador`: of its keys, those that switch the built-in routes.

use nuncio_model::Reason;
use serde_json::Value;

use super::Context;

/// The Module that counts is the first of this name.
const NAME: &str = "ambassador";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Module {
    pub(super) liveness_probe: bool,
    pub(super) readiness_probe: bool,
    pub(super) diagnostics: bool,
    /// Whether dots in the names of a TLSContext's Secrets separate a namespace.
    pub(super) tls_secret_namespacing: bool,
}

impl Default for Module {
    fn default() -> Self {
        Self {
            liveness_probe: true,
            readiness_probe: true,
            diagnostics: true,
            tls_secret_namespacing: true,
        }
    }
}

pub(super) fn read(context: &mut Context<'_>) -> Module {
    let mut module = Module::default();
    let mut found = false;
    for object in context.store.modules.by_rkey() {
        let origin = object.origin();
        if object.name() != NAME {
            context
                .report
                .warning(
                    &origin,
                    Reason::NotSupported,
                    format!("nuncio reads only the Module {NAME}"),
                )
                .help(format!("name it {NAME}, or remove it"));
            continue;
        }
        if std::mem::replace(&mut found, true) {
            context
                .report
                .warning(
                    &origin,
                    Reason::Duplicate,
                    format!("another Module {NAME} came first and counts"),
                )
                .help("keep one Module");
            continue;
        }
        let config = match object.spec.get("config") {
            Some(Value::Object(config)) => config,
            _ => {
                context
                    .report
                    .error(
                        &object.at("spec.config"),
                        Reason::MissingField,
                        "a Module has an object config",
                    )
                    .help("write config: and the settings below it");
                continue;
            }
        };
        for (key, value) in config {
            let at = object.at(format!("spec.config.{key}"));
            let switch = match key.as_str() {
                "liveness_probe" => &mut module.liveness_probe,
                "readiness_probe" => &mut module.readiness_probe,
                "diagnostics" => &mut module.diagnostics,
                _ => {
                    context
                        .report
                        .warning(
                            &at,
                            Reason::NotSupported,
                            format!("nuncio does not honour {key} of a Module yet"),
                        )
                        .help("the default of Envoy or of Emissary holds");
                    continue;
                }
            };
            // An object that does not say whether leaves the route on: Emissary turned it off.
            match value.get("enabled") {
                Some(Value::Bool(enabled)) => *switch = *enabled,
                None if value.is_object() => {}
                _ => context
                    .report
                    .error(
                        &at,
                        Reason::InvalidValue,
                        format!("{key} is not an object with enabled: true or false"),
                    )
                    .help(format!("write {key}: {{enabled: true}}")),
            }
            for other in value
                .as_object()
                .into_iter()
                .flatten()
                .map(|(name, _)| name)
                .filter(|name| *name != "enabled")
            {
                context
                    .report
                    .warning(
                        &at.field(format!("spec.config.{key}.{other}")),
                        Reason::NotSupported,
                        format!("nuncio does not honour {key}.{other} yet"),
                    )
                    .help("the default of Emissary holds");
            }
        }
    }
    module
}
