//! `error_response_overrides`: what is answered in place of an error, whoever made it.
//!
//! Emissary needed an Envoy of its own for it; this is Envoy's custom response filter.

use std::sync::Arc;

use nuncio_api::getambassador::{ErrorResponseBody, ErrorResponseOverride};
use nuncio_model::Reason;
use nuncio_model::filter::{BodyFormat, ErrorResponse};
use nuncio_model::value::{FormatString, LogFormat};
use serde_json::Value;

use super::Context;
use super::mistake::Mistake;
use super::values::field_of;

/// Overrides that stand at `field`, and those that are wrong.
pub(super) fn read_all(
    context: &mut Context<'_>,
    field: &str,
    specs: &[ErrorResponseOverride],
) -> (Vec<ErrorResponse>, Vec<Mistake>) {
    let mut responses: Vec<ErrorResponse> = Vec::new();
    let mut mistakes = Vec::new();
    for (index, spec) in specs.iter().enumerate() {
        let field = format!("{field}[{index}]");
        match read(context, &field, spec) {
            Ok(response) if responses.iter().any(|r| r.status == response.status) => {
                mistakes.push(Mistake::because(
                    format!("{field}.on_status_code"),
                    Reason::Duplicate,
                    format!("{} has an override before, which counts", response.status),
                    "remove one of them",
                ));
            }
            Ok(response) => responses.push(response),
            Err(mistake) => mistakes.push(mistake),
        }
    }
    (responses, mistakes)
}

/// One override, which stands at `field`.
fn read(
    context: &mut Context<'_>,
    field: &str,
    spec: &ErrorResponseOverride,
) -> Result<ErrorResponse, Mistake> {
    let status = spec
        .on_status_code
        .and_then(|code| u16::try_from(code).ok());
    let Some(status) = status.filter(|status| (400..600).contains(status)) else {
        return Err(Mistake::new(
            format!("{field}.on_status_code"),
            "it is not the status of an error",
            "write a whole number from 400 to 599",
        ));
    };
    let at = format!("{field}.body");
    let Some(body) = &spec.body else {
        return Err(Mistake::new(
            at,
            "it does not say what to answer",
            "write body: {text_format: \"…\"}, or json_format or text_format_source",
        ));
    };
    let content_type = body.content_type.as_deref().filter(|text| !text.is_empty());
    Ok(ErrorResponse {
        status,
        content_type: content_type
            .map(|text| FormatString::new(text).map_err(Mistake::at(format!("{at}.content_type"))))
            .transpose()?,
        body: format(context, &at, body)?,
    })
}

fn format(
    context: &mut Context<'_>,
    at: &str,
    body: &ErrorResponseBody,
) -> Result<BodyFormat, Mistake> {
    let text = |field: String, text: &str| LogFormat::new(text).map_err(Mistake::at(field));
    match (
        &body.text_format,
        &body.json_format,
        &body.text_format_source,
    ) {
        (Some(format), None, None) => {
            Ok(BodyFormat::Text(text(format!("{at}.text_format"), format)?))
        }
        (None, Some(fields), None) => {
            let path = format!("{at}.json_format");
            let mut values: Vec<(Arc<str>, LogFormat)> = Vec::new();
            for (name, value) in fields {
                let field = field_of(&path, name);
                let value = match value {
                    Value::String(text) => text.clone(),
                    Value::Bool(_) | Value::Number(_) => value.to_string(),
                    _ => {
                        return Err(Mistake::new(
                            field,
                            "json_format only supports string values",
                            "write a text, a number, or true or false",
                        ));
                    }
                };
                values.push((name.as_str().into(), text(field, &value)?));
            }
            Ok(BodyFormat::Json(values))
        }
        (None, None, Some(source)) => {
            let field = format!("{at}.text_format_source.filename");
            let path = source.filename.as_deref().unwrap_or_default();
            let content = context.file(path).map_err(Mistake::at(field.clone()))?;
            Ok(BodyFormat::Text(text(field, &content)?))
        }
        _ => Err(Mistake::new(
            at,
            "exactly one of text_format, json_format and text_format_source must be set",
            "remove the others",
        )),
    }
}
