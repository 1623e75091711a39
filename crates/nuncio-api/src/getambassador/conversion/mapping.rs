use serde_json::{Map, Value, json};

use super::{Conversion, FieldOrigins, Lost, label};
use crate::path::join;

/// The `host` under which v2 stores a Mapping that has no hostname in v3alpha1, where an absent
/// one would mean every name.
pub(super) const NO_HOST: &str = "_skip_mapping_with_empty_host_";

/// What must match for a header that only has to be there.
pub(super) const ANY: &str = ".*";

impl Conversion {
    pub(super) fn mapping(&mut self) {
        self.hostname();
        self.tls("service");
        self.presence("headers", "regex_headers", "v2BoolHeaders");
        self.presence(
            "query_parameters",
            "regex_query_parameters",
            "v2BoolQueryParameters",
        );
        self.string_or_list("remove_request_headers");
        self.string_or_list("remove_response_headers");
        for field in ["add_request_headers", "add_response_headers"] {
            if let Some(Value::Object(headers)) = self.fields.get_mut(field) {
                for (name, header) in headers {
                    let at = join(&format!("spec.{field}"), name);
                    added_header(&mut self.origins, at, header);
                }
            }
        }
        if let Some(Value::Object(cors)) = self.fields.get_mut("cors") {
            self::cors(&mut self.origins, cors);
        }
        if let Some(labels) = self.fields.get_mut("labels") {
            label::labels(&mut self.origins, labels);
        }
    }

    /// A host that is no regular expression becomes a glob; absent, it is every name.
    fn hostname(&mut self) {
        if self.fields.get("host_regex") == Some(&Value::Bool(true)) {
            if let Some(host) = self.fields.remove("hostname") {
                self.fields.insert("host".to_owned(), host);
            }
            return;
        }
        match self.fields.get("hostname") {
            Some(Value::String(host)) if host == NO_HOST => {
                self.fields.remove("hostname");
            }
            Some(Value::String(host)) if !host.is_empty() => {}
            None | Some(Value::Null | Value::String(_)) => {
                self.fields.insert("hostname".to_owned(), "*".into());
            }
            Some(_) => {}
        }
    }

    /// `true` for a header or a query parameter that has to be there, whatever its value.
    fn presence(&mut self, exact: &str, regex: &str, kept: &str) {
        let Some(Value::Object(conditions)) = self.fields.get_mut(exact) else {
            return;
        };
        let mut present = Vec::new();
        conditions.retain(|name, value| match value {
            Value::Bool(true) => {
                present.push(name.clone());
                false
            }
            Value::Bool(false) => {
                self.lost.push(Lost {
                    field: join(&format!("spec.{exact}"), name),
                    message: format!(
                        "false is no condition: requests match with {name} and without it"
                    ),
                    help: "remove it".to_owned(),
                });
                false
            }
            value => !value.is_null(),
        });
        if conditions.is_empty() {
            self.fields.remove(exact);
        }
        if present.is_empty() {
            return;
        }
        let regexes = self.fields.entry(regex).or_insert(Value::Null);
        if regexes.is_null() {
            *regexes = json!({});
        }
        if let Value::Object(regexes) = regexes {
            for name in &present {
                if !regexes.contains_key(name) {
                    regexes.insert(name.clone(), ANY.into());
                    self.origins.add(
                        join(&format!("spec.{regex}"), name),
                        join(&format!("spec.{exact}"), name),
                    );
                }
            }
        }
        self.fields.insert(kept.to_owned(), present.into());
    }
}

/// A header to add may be written as its value.
fn added_header(origins: &mut FieldOrigins, at: String, header: &mut Value) {
    match header {
        Value::String(value) => {
            *header = json!({"value": value, "v2Representation": "string"});
            origins.add(format!("{at}.value"), at);
        }
        Value::Null => *header = json!({"v2Representation": "null"}),
        _ => {}
    }
}

/// Lists may be written as one text. Emissary does not trim what stands between the commas of
/// `origins`, and then no origin but the first ever matches.
fn cors(origins: &mut FieldOrigins, cors: &mut Map<String, Value>) {
    for field in ["origins", "methods", "headers", "exposed_headers"] {
        let Some(value @ Value::String(_)) = cors.get_mut(field) else {
            continue;
        };
        let text = value.as_str().unwrap_or_default();
        let items: Vec<Value> = text
            .split(',')
            .map(str::trim)
            .filter(|item| !item.is_empty())
            .map(Into::into)
            .collect();
        for index in 0..items.len() {
            let at = format!("spec.cors.{field}");
            origins.add(format!("{at}[{index}]"), at);
        }
        *value = items.into();
        if field == "origins" {
            cors.insert("v2CommaSeparatedOrigins".to_owned(), true.into());
        }
    }
}
