//! The short way of the kinds of which there are many: straight from the text to a typed object,
//! where there is nothing to say of it. Whatever is not as plain goes the long way, which finds the
//! words, and gives the same object.

use std::fmt;
use std::marker::PhantomData;

use nuncio_api::RawObject;
use nuncio_api::core::{EndpointSlice, LoadBalancerStatus, ServiceSpec};
use nuncio_api::getambassador::conversion::Version;
use nuncio_api::getambassador::{self, Mapping};
use rayon::prelude::*;
use serde::Deserialize;
use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserializer, MapAccess, Visitor};

use super::DISCOVERY_GROUP;

/// An object that is read.
pub(super) enum Plain {
    Mapping(Box<Mapping>),
    Service(ServiceSpec),
    EndpointSlice(EndpointSlice),
}

/// Fewer are read by one core: another costs as much.
const FEW: usize = 128;

/// Reads objects, several at a time. `None` is one that is to go the long way.
pub(super) fn read_all(objects: &[RawObject]) -> Vec<Option<Plain>> {
    let objects = objects.par_iter().with_min_len(FEW);
    objects.map(read).collect()
}

fn read(object: &RawObject) -> Option<Plain> {
    let text = object.body.text();
    // A field that is null counts as one that is absent, which is for the long way.
    if text.contains("null") {
        return None;
    }
    match (object.group(), &*object.kind) {
        (getambassador::GROUP, "Mapping") if object.version() == Version::V3alpha1.as_str() => {
            let MappingDocument { spec } = serde_json::from_str(text).ok()?;
            (!spec.unknown).then(|| Plain::Mapping(Box::new(spec.read)))
        }
        ("", "Service") => {
            let ServiceDocument { spec, status } = serde_json::from_str(text).ok()?;
            Some(Plain::Service(ServiceSpec {
                load_balancer: status.load_balancer,
                ..spec.read
            }))
        }
        (DISCOVERY_GROUP, "EndpointSlice") => {
            let slice = serde_json::from_str(text).ok()?;
            Some(Plain::EndpointSlice(slice))
        }
        _ => None,
    }
}

#[derive(Deserialize)]
struct MappingDocument {
    spec: Fields<Mapping>,
}

#[derive(Deserialize)]
struct ServiceDocument {
    spec: Fields<ServiceSpec>,
    #[serde(default)]
    status: Status,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Status {
    load_balancer: LoadBalancerStatus,
}

/// What is read of an object's fields: serde would take a list of them too.
struct Fields<T> {
    read: T,
    /// Whether there is a field that the type does not have.
    unknown: bool,
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Fields<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(FieldsVisitor(PhantomData))
    }
}

struct FieldsVisitor<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for FieldsVisitor<T> {
    type Value = Fields<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, fields: A) -> Result<Fields<T>, A::Error> {
        let mut unknown = false;
        let fields = MapAccessDeserializer::new(fields);
        let read = serde_ignored::deserialize(fields, |_| unknown = true)?;
        Ok(Fields { read, unknown })
    }
}
