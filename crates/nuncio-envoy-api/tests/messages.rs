//! What the rest relies on: bytes that depend on nothing but content, and JSON both ways.

#![allow(clippy::unwrap_used)]

use bytes::Bytes;
use nuncio_envoy_api::envoy::config::cluster::v3::Cluster;
use nuncio_envoy_api::envoy::extensions::filters::http::cors::v3::Cors;
use nuncio_envoy_api::google::protobuf::{Any, Struct, Value, value::Kind};
use nuncio_envoy_api::json::{body_to_json, from_json, to_json};
use nuncio_envoy_api::pack;
use nuncio_envoy_api::resource::{Resource, ResourceType};
use prost::Message;
use serde_json::json;

fn text(text: &str) -> Value {
    Value {
        kind: Some(Kind::StringValue(text.to_owned())),
    }
}

/// Maps are sorted: the order in which they are filled leaves no trace.
#[test]
fn equal_messages_are_equal_bytes() {
    let names: Vec<String> = (0..100).map(|n| format!("name-{n}")).collect();
    let forwards = Struct {
        fields: names.iter().map(|n| (n.clone(), text(n))).collect(),
    };
    let backwards = Struct {
        fields: names.iter().rev().map(|n| (n.clone(), text(n))).collect(),
    };
    assert_eq!(forwards.encode_to_vec(), backwards.encode_to_vec());
}

#[test]
fn json_goes_both_ways_through_nested_messages() {
    let options = "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions";
    let json = json!({
        "name": "a",
        "connect_timeout": "0.250s",
        "typed_extension_protocol_options": {
            "x": {
                "@type": options,
                "explicit_http_config": { "http2_protocol_options": {} },
            },
        },
    });
    let cluster: Cluster = from_json(&json).unwrap();
    assert_eq!(cluster.name, "a");
    let body = cluster.encode_to_vec().into();
    assert_eq!(
        body_to_json(ResourceType::Cluster.type_url(), &body).unwrap(),
        json
    );
}

#[test]
fn a_packed_message_names_its_type() {
    let any = pack(&Cors::default());
    let url = "type.googleapis.com/envoy.extensions.filters.http.cors.v3.Cors";
    assert_eq!(any.type_url, url);
    assert_eq!(to_json(&any).unwrap(), json!({ "@type": url }));
}

#[test]
fn what_is_not_known_is_an_error() {
    let unknown = Any {
        type_url: "type.googleapis.com/no.such.Type".to_owned(),
        value: Bytes::new(),
    };
    let error = to_json(&unknown).unwrap_err().to_string();
    assert!(error.contains("no.such.Type"), "{error}");
    assert!(from_json::<Cluster>(&json!({ "nmae": "a" })).is_err());
    let url = ResourceType::Cluster.type_url();
    assert!(body_to_json(url, &Bytes::from_static(b"\xff\xff\xff")).is_err());
}

/// The version is of the bytes alone.
#[test]
fn equal_bodies_have_equal_versions() {
    let version = |body: &'static [u8]| Resource::new(Bytes::from_static(body)).version;
    assert_eq!(version(b"a"), version(b"a"));
    assert_ne!(version(b"a"), version(b"b"));
}
