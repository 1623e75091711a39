//! From v3alpha1 back to v2 and v1, which have the same fields.

use serde_json::{Map, Value, json};

use super::mapping::{ANY, NO_HOST};
use super::tls::split_scheme;
use super::{ID_PREFIX, RENAMED, Renamed, Version, label, within};

/// The spec of a kind in an older version, made of the one in v3alpha1; of v3alpha1 itself it is
/// left as it is. [`to_v3alpha1`](super::to_v3alpha1) makes the same of it again, but for what means
/// nothing: a `host` beside a `hostname`, and empty fields where absent ones mean the same.
///
/// As in Emissary an absent `ambassador_id` comes back as `[default]`, which means the same, and
/// each id gets [`ID_PREFIX`].
pub fn from_v3alpha1(kind: &str, version: Version, spec: Value) -> Value {
    let mut fields = match spec {
        Value::Object(fields) if version != Version::V3alpha1 => fields,
        spec => return spec,
    };
    match kind {
        "AuthService" => explicit_tls(&mut fields, "auth_service"),
        "Mapping" => mapping(&mut fields),
        "RateLimitService" | "TCPMapping" => explicit_tls(&mut fields, "service"),
        _ => {}
    }
    ambassador_id(&mut fields);
    for Renamed {
        within: parent,
        old,
        new,
        ..
    } in RENAMED.iter().filter(|field| field.kind == kind)
    {
        if let Some(fields) = within(&mut fields, parent)
            && let Some(value) = fields.remove(*new)
        {
            fields.insert((*old).to_owned(), value);
        }
    }
    Value::Object(fields)
}

fn ambassador_id(fields: &mut Map<String, Value>) {
    let ids = fields.entry("ambassador_id").or_insert(Value::Null);
    if ids.is_null() {
        *ids = json!(["default"]);
    }
    for id in ids.as_array_mut().into_iter().flatten() {
        if let Value::String(id) = id
            && !id.starts_with(ID_PREFIX)
        {
            id.insert_str(0, ID_PREFIX);
        }
    }
}

fn mapping(fields: &mut Map<String, Value>) {
    hostname(fields);
    explicit_tls(fields, "service");
    presence(fields, "headers", "regex_headers", "v2BoolHeaders");
    presence(
        fields,
        "query_parameters",
        "regex_query_parameters",
        "v2BoolQueryParameters",
    );
    for field in ["add_request_headers", "add_response_headers"] {
        let headers = fields.get_mut(field).and_then(Value::as_object_mut);
        headers
            .into_iter()
            .flat_map(Map::values_mut)
            .for_each(added_header);
    }
    if let Some(Value::Object(cors)) = fields.get_mut("cors") {
        self::cors(cors);
    }
    if let Some(labels) = fields.get_mut("labels") {
        label::each(labels, label::older);
    }
}

/// `host` counts only without `hostname`. Without both a Mapping is no Host's in v3alpha1, and every
/// Host's in v2, unless its host says so.
fn hostname(fields: &mut Map<String, Value>) {
    let filled = |fields: &Map<String, Value>, name: &str| {
        fields
            .get(name)
            .is_some_and(|value| !value.is_null() && value != "")
    };
    if filled(fields, "hostname") {
        fields.remove("host");
        if let Some(regex) = fields.get_mut("host_regex") {
            *regex = false.into();
        }
        if fields["hostname"] == "*" {
            fields.remove("hostname");
        }
        return;
    }
    fields.remove("hostname");
    if fields.get("host_regex") != Some(&Value::Bool(true)) && !filled(fields, "host") {
        fields.insert("host".to_owned(), NO_HOST.into());
    }
}

/// `tls` and the scheme of the service, as they once were, as long as that means the same.
fn explicit_tls(fields: &mut Map<String, Value>, service: &str) {
    let explicit = fields.remove("v2ExplicitTLS").unwrap_or_default();
    let explicit = |name: &str| explicit.get(name).and_then(Value::as_str);
    let written = fields.get(service).and_then(Value::as_str);
    let parts = written.map(split_scheme);
    let parts = parts.map(|(scheme, rest)| (scheme.to_owned(), rest.to_owned()));
    let https = |scheme: &str| scheme.eq_ignore_ascii_case("https://");
    let empty = fields
        .get("tls")
        .is_none_or(|tls| tls.is_null() || tls == "");
    let originates = !empty || parts.as_ref().is_none_or(|(scheme, _)| https(scheme));
    let mut decides = !empty;
    if empty {
        let tls = match explicit("tls") {
            Some("null") => Some(Value::Null),
            Some("string") => Some("".into()),
            Some("bool:false") => Some(false.into()),
            Some("bool:true") if originates => {
                decides = true;
                Some(true.into())
            }
            _ => None,
        };
        fields.remove("tls");
        fields.extend(tls.map(|tls| ("tls".to_owned(), tls)));
    }
    if let (Some(scheme), Some((_, rest))) = (explicit("serviceScheme"), parts)
        && (decides || https(scheme) == originates)
    {
        fields.insert(service.to_owned(), format!("{scheme}{rest}").into());
    }
}

/// Conditions that were `true` become so again, where nothing else has taken their place.
fn presence(fields: &mut Map<String, Value>, exact: &str, regex: &str, kept: &str) {
    let Some(Value::Array(names)) = fields.remove(kept) else {
        return;
    };
    let mut regexes = match fields.remove(regex) {
        Some(Value::Object(regexes)) => regexes,
        other => {
            fields.extend(other.map(|other| (regex.to_owned(), other)));
            return;
        }
    };
    let conditions = fields.entry(exact).or_insert(Value::Null);
    if conditions.is_null() {
        *conditions = json!({});
    }
    if let Value::Object(conditions) = conditions {
        for name in names.iter().filter_map(Value::as_str) {
            let Some(expression) = regexes.get(name) else {
                continue;
            };
            if conditions.contains_key(name) {
                continue;
            }
            if expression == ANY {
                regexes.remove(name);
            }
            conditions.insert(name.to_owned(), true.into());
        }
        if conditions.is_empty() {
            fields.remove(exact);
        }
    }
    if !regexes.is_empty() {
        fields.insert(regex.to_owned(), Value::Object(regexes));
    }
}

fn added_header(header: &mut Value) {
    let Value::Object(fields) = header else {
        return;
    };
    let shape = fields.remove("v2Representation").unwrap_or_default();
    let append = fields.get("append").is_some_and(|append| !append.is_null());
    let value = fields.get("value").cloned().unwrap_or_default();
    if append {
        return;
    }
    match (shape.as_str(), value.as_str()) {
        (Some("string"), Some(_)) => *header = value,
        (Some("null"), None | Some("")) => *header = Value::Null,
        _ => {}
    }
}

fn cors(cors: &mut Map<String, Value>) {
    let separated = cors.remove("v2CommaSeparatedOrigins") == Some(Value::Bool(true));
    let Some(Value::Array(origins)) = cors.get("origins").filter(|_| separated) else {
        return;
    };
    let plain = |origin: &Value| {
        let text = origin.as_str()?;
        let kept = !text.is_empty() && !text.contains(',') && text.trim() == text;
        kept.then(|| text.to_owned())
    };
    if let Some(origins) = origins.iter().map(plain).collect::<Option<Vec<_>>>() {
        cors.insert("origins".to_owned(), origins.join(",").into());
    }
}

#[cfg(test)]
mod tests;
