use serde_json::{Map, Value, json};

use super::{Conversion, Lost};

/// The domain of the labels that `rate_limits` become: v0 has no other.
const DOMAIN: &str = "ambassador";

/// The headers that v0 sends to an AuthService beside those of every version.
const AUTH_HEADERS: &[&str] = &[
    "forwarded",
    "host",
    "proxy-authenticate",
    "set-cookie",
    "www-authenticate",
    "x-b3-flags",
    "x-b3-parentspanid",
    "x-b3-sampled",
    "x-b3-spanid",
    "x-b3-traceid",
    "x-gateway-proto",
    "x-ot-span-context",
];

impl Conversion {
    /// What only v0 has.
    pub(super) fn v0(&mut self, kind: &str) {
        match kind {
            "Mapping" => {
                self.circuit_breaker();
                self.rate_limits();
            }
            "AuthService" => self.allowed_headers(),
            _ => {}
        }
    }

    /// The name of a resource of a kind that no later version has.
    fn circuit_breaker(&mut self) {
        if self.fields.remove("circuit_breaker").is_some() {
            self.lost.push(Lost {
                field: "spec.circuit_breaker".to_owned(),
                message: "there are no CircuitBreakers to name: no limit holds".to_owned(),
                help: "write its limits in the Mapping: circuit_breakers: [{max_connections: …}]"
                    .to_owned(),
            });
        }
    }

    /// Each limit becomes a group of labels.
    fn rate_limits(&mut self) {
        let limits = match self.fields.remove("rate_limits") {
            None | Some(Value::Null) => return,
            Some(Value::Array(limits)) => limits,
            Some(_) => {
                self.lost
                    .push(limit_is_wrong("spec.rate_limits".to_owned()));
                return;
            }
        };
        let labels = self.fields.entry("labels").or_insert(Value::Null);
        if labels.is_null() {
            *labels = json!({});
        }
        let Some(labels) = labels.as_object_mut() else {
            return;
        };
        let groups = labels.entry(DOMAIN).or_insert_with(|| json!([]));
        let Some(groups) = groups.as_array_mut() else {
            return;
        };
        for (index, limit) in limits.into_iter().enumerate() {
            let old = format!("spec.rate_limits[{index}]");
            let Value::Object(mut limit) = limit else {
                self.lost.push(limit_is_wrong(old));
                continue;
            };
            let name = format!("v0_ratelimit_{:02}", index + 1);
            let new = format!("spec.labels.{DOMAIN}[{}].{name}", groups.len());
            let mut specifiers = vec![
                json!({"source_cluster": {"key": "source_cluster"}}),
                json!({"destination_cluster": {"key": "destination_cluster"}}),
                json!({"remote_address": {"key": "remote_address"}}),
            ];
            if let Some(descriptor) = limit.remove("descriptor").filter(|v| !v.is_null()) {
                self.origins.add(
                    format!("{new}[{}].generic_key.value", specifiers.len()),
                    format!("{old}.descriptor"),
                );
                specifiers.push(json!({"generic_key": {"value": descriptor}}));
            }
            let headers = match limit.remove("headers") {
                None | Some(Value::Null) => Vec::new(),
                Some(Value::Array(headers)) => headers,
                Some(other) => vec![other],
            };
            for (index, header) in headers.into_iter().enumerate() {
                for part in ["key", "header_name"] {
                    self.origins.add(
                        format!("{new}[{}].request_headers.{part}", specifiers.len()),
                        format!("{old}.headers[{index}]"),
                    );
                }
                specifiers.push(json!({"request_headers": {
                    "key": header, "header_name": header, "omit_if_not_present": true,
                }}));
            }
            self.origins.add(new, old);
            groups.push(Value::Object(Map::from_iter([(name, specifiers.into())])));
        }
    }

    /// `allowed_headers` go both ways.
    fn allowed_headers(&mut self) {
        let headers = match self.fields.remove("allowed_headers") {
            Some(Value::Array(headers)) => headers,
            None | Some(Value::Null) => Vec::new(),
            Some(_) => {
                self.lost.push(Lost {
                    field: "spec.allowed_headers".to_owned(),
                    message: "it is not a list: no header is allowed by it".to_owned(),
                    help: "write allowed_headers: [x-name]".to_owned(),
                });
                Vec::new()
            }
        };
        for name in AUTH_HEADERS {
            self.append("allowed_request_headers", (*name).into(), None);
        }
        for (index, header) in headers.into_iter().enumerate() {
            for field in ["allowed_request_headers", "allowed_authorization_headers"] {
                self.append(field, header.clone(), Some(index));
            }
        }
    }

    /// One header more in a list, from an item of `allowed_headers`.
    fn append(&mut self, field: &str, header: Value, item: Option<usize>) {
        let list = self.fields.entry(field).or_insert(Value::Null);
        if list.is_null() {
            *list = json!([]);
        }
        let Value::Array(list) = list else {
            return;
        };
        if let Some(item) = item {
            self.origins.add(
                format!("spec.{field}[{}]", list.len()),
                format!("spec.allowed_headers[{item}]"),
            );
        }
        list.push(header);
    }
}

fn limit_is_wrong(field: String) -> Lost {
    Lost {
        field,
        message: "it is not as a rate limit is written: requests are NOT limited by it".to_owned(),
        help: "write rate_limits: [{descriptor: x, headers: [x-name]}]".to_owned(),
    }
}
