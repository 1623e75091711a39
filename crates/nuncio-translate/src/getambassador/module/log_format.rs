//! `envoy_log_format`: a line, or an object of any form.

use nuncio_model::listener::{LogFields, LogValue};
use nuncio_model::value::LogFormat;
use serde_json::Value;

use super::path;
use crate::fields::mistake::Mistake;
use crate::fields::values::field_of;

const KEY: &str = "envoy_log_format";

/// Envoy reads no message that is nested deeper than a hundred, and each object is three.
const DEEPEST: usize = 16;

pub(super) fn line(format: &Value) -> Result<LogFormat, Mistake> {
    let Value::String(text) = format else {
        return Err(Mistake::new(
            path(KEY),
            "with envoy_log_type: text it is a text",
            "write a line with Envoy's operators, or envoy_log_type: json",
        ));
    };
    let line = match text.ends_with('\n') {
        true => text.clone(),
        false => format!("{text}\n"),
    };
    LogFormat::new(&line).map_err(Mistake::at(path(KEY)))
}

pub(super) fn fields(format: &Value) -> Result<LogFields, Mistake> {
    match value(format, &path(KEY), DEEPEST)? {
        LogValue::Object(fields) => Ok(fields),
        _ => Err(Mistake::new(
            path(KEY),
            "with envoy_log_type: json or typed_json it is an object",
            "write a name and a text with Envoy's operators for each field",
        )),
    }
}

fn value(value: &Value, field: &str, deeper: usize) -> Result<LogValue, Mistake> {
    let Some(deeper) = deeper.checked_sub(1) else {
        return Err(Mistake::new(
            field,
            format!("it is nested deeper than {DEEPEST}"),
            "write it flatter",
        ));
    };
    Ok(match value {
        Value::Null => LogValue::Null,
        Value::Bool(given) => LogValue::Bool(*given),
        // As Envoy has all numbers.
        Value::Number(number) => LogValue::Number(number.as_f64().unwrap_or_default()),
        Value::String(text) => LogValue::Text(LogFormat::new(text).map_err(Mistake::at(field))?),
        Value::Array(items) => {
            let items = items.iter().enumerate();
            let items = items
                .map(|(at, item)| self::value(item, &format!("{field}[{at}]"), deeper))
                .collect::<Result<_, _>>()?;
            LogValue::List(items)
        }
        Value::Object(fields) => {
            let fields = fields
                .iter()
                .map(|(name, item)| {
                    let item = self::value(item, &field_of(field, name), deeper)?;
                    Ok((name.as_str().into(), item))
                })
                .collect::<Result<_, Mistake>>()?;
            LogValue::Object(fields)
        }
    })
}
