//! RTDS: [`Runtime`] → `service.runtime.v3.Runtime`.

use nuncio_envoy_api::envoy::service::runtime::v3 as rtds;
use nuncio_envoy_api::google::protobuf::{Struct, Value, value::Kind};
use nuncio_envoy_api::resource::Resource;
use nuncio_model::runtime::{Runtime, RuntimeValue};

use crate::resource;

/// The bootstrap's layer, and the resource that fills it. Envoy asks for it before anything else,
/// so it is served even when it is empty: on a new stream Envoy then says that it has it.
pub const LAYER: &str = "nuncio";

/// Encodes the runtime.
pub fn runtime(runtime: &Runtime) -> Resource {
    let kind = |value: &RuntimeValue| match value {
        RuntimeValue::Bool(flag) => Kind::BoolValue(*flag),
        RuntimeValue::Number(number) => Kind::NumberValue(number.get()),
        RuntimeValue::Text(text) => Kind::StringValue(text.to_string()),
    };
    let fields = runtime.iter().map(|(key, value)| {
        let value = Value {
            kind: Some(kind(value)),
        };
        (key.to_string(), value)
    });
    resource(&rtds::Runtime {
        name: LAYER.to_owned(),
        layer: Some(Struct {
            fields: fields.collect(),
        }),
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use nuncio_envoy_api::json::body_to_json;
    use nuncio_envoy_api::resource::ResourceType;
    use nuncio_model::Gateway;
    use nuncio_model::value::{FiniteNumber, RuntimeKey};
    use serde_json::json;

    use super::{LAYER, RuntimeValue};

    fn layer(gateway: &Gateway) -> serde_json::Value {
        let snapshot = crate::encode(gateway);
        let runtime = &snapshot.of(ResourceType::Runtime)[LAYER];
        body_to_json(ResourceType::Runtime.type_url(), &runtime.body).unwrap()
    }

    #[test]
    fn an_empty_runtime_is_served_too() {
        let empty = json!({ "name": "nuncio", "layer": {} });
        assert_eq!(layer(&Gateway::default()), empty);
    }

    #[test]
    fn values_keep_their_types() {
        let number = FiniteNumber::new(7.0).unwrap();
        let values = [
            ("a.flag", RuntimeValue::Bool(false)),
            ("a.number", RuntimeValue::Number(number)),
            ("a.text", RuntimeValue::Text("x".into())),
        ];
        let gateway = Gateway {
            runtime: values
                .into_iter()
                .map(|(key, value)| (RuntimeKey::new(key).unwrap(), value))
                .collect(),
            ..Gateway::default()
        };
        let expected = json!({ "a.flag": false, "a.number": 7.0, "a.text": "x" });
        assert_eq!(layer(&gateway)["layer"], expected);
    }
}
