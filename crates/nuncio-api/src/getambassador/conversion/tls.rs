use serde_json::{Map, Value};

use super::Conversion;

impl Conversion {
    /// `tls` and the scheme of the service. Older versions originate TLS if `tls` is true, names a
    /// TLSContext, or the scheme is `https`; v3alpha1 has no `tls: true`.
    ///
    /// Emissary keeps no scheme of a TCPMapping, and loses an `https://` on the way back; here all
    /// kinds keep it.
    pub(super) fn tls(&mut self, service: &str) {
        let Some(tls) = self.fields.get("tls") else {
            return;
        };
        let mut explicit = Map::new();
        let written = match tls {
            Value::String(context) if context.is_empty() => "string",
            Value::String(_) => {
                self.keep_explicit(explicit);
                return;
            }
            Value::Bool(true) => "bool:true",
            Value::Bool(false) => "bool:false",
            Value::Null => "null",
            _ => return,
        };
        explicit.insert("tls".to_owned(), written.into());
        if written == "bool:true"
            && let Some(Value::String(service)) = self.fields.get_mut(service)
        {
            let (scheme, rest) = split_scheme(service);
            if !scheme.eq_ignore_ascii_case("https://") {
                explicit.insert("serviceScheme".to_owned(), scheme.into());
                *service = format!("https://{rest}");
            }
        }
        self.fields.remove("tls");
        self.keep_explicit(explicit);
    }

    fn keep_explicit(&mut self, explicit: Map<String, Value>) {
        self.fields
            .insert("v2ExplicitTLS".to_owned(), Value::Object(explicit));
    }
}

/// `http://` or `https://` as it is written, and the rest.
pub(super) fn split_scheme(service: &str) -> (&str, &str) {
    for scheme in ["https://", "http://"] {
        if service
            .get(..scheme.len())
            .is_some_and(|start| start.eq_ignore_ascii_case(scheme))
        {
            return service.split_at(scheme.len());
        }
    }
    ("", service)
}
