//! `runtime_flags`: settings of Envoy's process.

use nuncio_model::Reason;
use nuncio_model::runtime::RuntimeValue;
use nuncio_model::value::RuntimeKey;
use serde_json::Value;

use super::{Keys, path};
use crate::fields::mistake::Mistake;
use crate::fields::values::field_of;

/// Flags that are numbers from 1.
const NUMBERS: &[&str] = &[
    "http.max_requests_per_io_cycle",
    "overload.premature_reset_min_stream_lifetime_seconds",
    "overload.premature_reset_total_stream_count",
];

/// Flags that are true or false. Emissary checks the type of another flag in its place, so that it
/// never has an effect there.
const SWITCHES: &[&str] = &["envoy.restart_features.send_goaway_for_premature_rst_streams"];

impl Keys<'_, '_, '_> {
    pub(super) fn runtime_flags(&mut self) {
        for (name, value) in self.config.runtime_flags.iter().flatten() {
            let read = flag(name, value);
            if let Some((key, value)) = self.take(read) {
                self.context.gateway.runtime.insert(key, value);
            }
        }
    }
}

fn flag(name: &str, value: &Value) -> Result<(RuntimeKey, RuntimeValue), Mistake> {
    let field = field_of(&path("runtime_flags"), name);
    let value = if NUMBERS.contains(&name) {
        let number = value.as_u64().filter(|number| *number > 0);
        let number = number.and_then(|number| u32::try_from(number).ok());
        let number = number.ok_or_else(|| {
            Mistake::new(
                field.clone(),
                format!("{value} is not a number from 1"),
                "write a whole number from 1 to 4294967295",
            )
        })?;
        RuntimeValue::Number(number)
    } else if SWITCHES.contains(&name) {
        let Value::Bool(value) = value else {
            return Err(Mistake::new(
                field,
                format!("{value} is not true or false"),
                "write true or false",
            ));
        };
        RuntimeValue::Bool(*value)
    } else {
        let known: Vec<&str> = NUMBERS.iter().chain(SWITCHES).copied().collect();
        return Err(Mistake::because(
            field,
            Reason::NotSupported,
            format!("{name} is not a flag that can be set, as in Emissary"),
            format!("write one of {}", known.join(", ")),
        ));
    };
    let key = RuntimeKey::new(name).map_err(Mistake::at(field))?;
    Ok((key, value))
}
