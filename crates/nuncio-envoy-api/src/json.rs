//! Protobuf's JSON form, as people write Envoy's configuration: snake_case names, nested messages
//! of any type spelled out under `@type`.

use std::sync::LazyLock;

use bytes::Bytes;
use prost_reflect::{
    DescriptorPool, DeserializeOptions, DynamicMessage, MessageDescriptor, SerializeOptions,
};
use serde_json::Value;

use crate::google::protobuf::Any;

static POOL: LazyLock<DescriptorPool> = LazyLock::new(|| {
    DescriptorPool::decode(include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin")).as_slice())
        .expect("invariant: the descriptors were made by build.rs")
});

/// Why a message has no JSON form, or JSON no message.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("the type \"{0}\" is not part of this API")]
    UnknownType(String),
    #[error("not an encoded {type_name}: {source}")]
    Decode {
        type_name: String,
        source: prost::DecodeError,
    },
    #[error("not a {type_name} in JSON: {source}")]
    Json {
        type_name: String,
        source: serde_json::Error,
    },
}

/// The JSON form of a packed message, its `@type` included.
pub fn to_json(any: &Any) -> Result<Value, Error> {
    let mut json = body_to_json(&any.type_url, &any.value)?;
    if let Value::Object(fields) = &mut json {
        fields.insert("@type".to_owned(), Value::String(any.type_url.clone()));
    }
    Ok(json)
}

/// The JSON form of an encoded message whose type is known from elsewhere.
pub fn body_to_json(type_url: &str, body: &Bytes) -> Result<Value, Error> {
    let descriptor = descriptor(type_url)?;
    let type_name = descriptor.full_name().to_owned();
    let message =
        DynamicMessage::decode(descriptor, body.clone()).map_err(|source| Error::Decode {
            type_name: type_name.clone(),
            source,
        })?;
    message
        .serialize_with_options(
            serde_json::value::Serializer,
            &SerializeOptions::new().use_proto_field_name(true),
        )
        .map_err(|source| Error::Json { type_name, source })
}

/// Reads a message of a type from its JSON form.
pub fn from_json<M: prost::Message + prost::Name + Default>(json: &Value) -> Result<M, Error> {
    let descriptor = descriptor(&M::type_url())?;
    let type_name = descriptor.full_name().to_owned();
    let message =
        DynamicMessage::deserialize_with_options(descriptor, json, &DeserializeOptions::new())
            .map_err(|source| Error::Json {
                type_name: type_name.clone(),
                source,
            })?;
    message
        .transcode_to()
        .map_err(|source| Error::Decode { type_name, source })
}

fn descriptor(type_url: &str) -> Result<MessageDescriptor, Error> {
    let name = type_url.rsplit_once('/').map_or(type_url, |(_, name)| name);
    POOL.get_message_by_name(name)
        .ok_or_else(|| Error::UnknownType(type_url.to_owned()))
}
