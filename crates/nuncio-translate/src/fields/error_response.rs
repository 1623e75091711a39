//! `error_response_overrides`: what is answered in place of an error, whoever made it.
//!
//! Emissary needed an Envoy of its own for it; this is Envoy's custom response filter.

use std::sync::Arc;

use nuncio_api::getambassador::{ErrorResponseBody, ErrorResponseOverride};
use nuncio_model::filter::{ADDRESS_ACCESS, BodyFormat, ErrorResponse, FilterConfig, HttpFilter};
use nuncio_model::value::{FormatString, Invalid, LogFormat};
use nuncio_model::{Gateway, Origin, Reason};
use serde_json::Value;

use super::mistake::Mistake;
use super::values::field_of;

/// Routes with error responses of their own need a filter, whatever the Module has.
pub(crate) fn with_filter(filters: &mut Vec<Arc<str>>, made: &mut Gateway, origin: &Origin) {
    let config = FilterConfig::RouteErrorResponses;
    let name: Arc<str> = config.name().into();
    if filters.contains(&name) {
        return;
    }
    let last = filters.last().map(|last| &**last);
    let at = filters.len() - usize::from(last == Some(ADDRESS_ACCESS));
    filters.insert(at, Arc::clone(&name));
    let filter = HttpFilter {
        origin: origin.clone(),
        config,
    };
    made.filters.insert(name, Arc::new(filter));
}

/// Overrides that stand at `field`, and those that are wrong.
pub(crate) fn read_all(
    file: &mut impl FnMut(&str) -> Result<Arc<str>, Invalid>,
    field: &str,
    specs: &[ErrorResponseOverride],
) -> (Vec<ErrorResponse>, Vec<Mistake>) {
    let mut responses: Vec<ErrorResponse> = Vec::new();
    let mut mistakes = Vec::new();
    for (index, spec) in specs.iter().enumerate() {
        let field = format!("{field}[{index}]");
        match read(file, &field, spec) {
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
    file: &mut impl FnMut(&str) -> Result<Arc<str>, Invalid>,
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
        body: format(file, &at, body)?,
    })
}

fn format(
    file: &mut impl FnMut(&str) -> Result<Arc<str>, Invalid>,
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
            let content = file(path).map_err(Mistake::at(field.clone()))?;
            Ok(BodyFormat::Text(text(field, &content)?))
        }
        _ => Err(Mistake::new(
            at,
            "exactly one of text_format, json_format and text_format_source must be set",
            "remove the others",
        )),
    }
}
