//! `labels` of a Mapping: what rate limits count by.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// By domain. Each group is counted on its own.
pub type Labels = BTreeMap<String, Vec<LabelGroup>>;

/// A group of labels, which count together.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(
    try_from = "BTreeMap<String, Vec<LabelSpecifier>>",
    into = "BTreeMap<String, Vec<LabelSpecifier>>"
)]
#[schemars(with = "BTreeMap<String, Vec<LabelSpecifier>>")]
pub struct LabelGroup {
    /// For people.
    pub name: String,
    /// Its labels, in the order in which they are sent.
    ///
    /// Envoy: `RateLimit.actions`.
    pub specifiers: Vec<LabelSpecifier>,
}

/// One label.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "SpecifierFields", into = "SpecifierFields")]
#[schemars(with = "SpecifierFields")]
pub enum LabelSpecifier {
    SourceCluster,
    DestinationCluster,
    RemoteAddress,
    RequestHeaders(RequestHeadersLabel),
    GenericKey(GenericKeyLabel),
}

/// The value of a header.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RequestHeadersLabel {
    /// Name of the label.
    ///
    /// Envoy: `RequestHeaders.descriptor_key`.
    pub key: String,
    /// Name of the header.
    ///
    /// Envoy: `RequestHeaders.header_name`.
    pub header_name: String,
    /// Without the header its group does not count, whatever this says.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub omit_if_not_present: Option<bool>,
}

/// A value that is always the same.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct GenericKeyLabel {
    /// Name of the label; `generic_key` when absent.
    ///
    /// Envoy: `GenericKey.descriptor_key`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// The value.
    ///
    /// Envoy: `GenericKey.descriptor_value`.
    pub value: String,
    /// Whether it was a mere text in v2.
    #[serde(rename = "v2Shorthand", skip_serializing_if = "Option::is_none")]
    pub v2_shorthand: Option<bool>,
}

/// A specifier as it is written: exactly one of the fields.
#[derive(Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
struct SpecifierFields {
    /// Name of the gateway.
    ///
    /// Envoy: `RateLimit.Action.source_cluster`.
    #[serde(skip_serializing_if = "Option::is_none")]
    source_cluster: Option<SourceClusterFields>,
    /// Name of the cluster that the request goes to.
    ///
    /// Envoy: `RateLimit.Action.destination_cluster`.
    #[serde(skip_serializing_if = "Option::is_none")]
    destination_cluster: Option<DestinationClusterFields>,
    /// Address of the client.
    ///
    /// Envoy: `RateLimit.Action.remote_address`.
    #[serde(skip_serializing_if = "Option::is_none")]
    remote_address: Option<RemoteAddressFields>,
    /// The value of a header.
    ///
    /// Envoy: `RateLimit.Action.request_headers`.
    #[serde(skip_serializing_if = "Option::is_none")]
    request_headers: Option<RequestHeadersLabel>,
    /// A value that is always the same.
    ///
    /// Envoy: `RateLimit.Action.generic_key`.
    #[serde(skip_serializing_if = "Option::is_none")]
    generic_key: Option<GenericKeyLabel>,
}

/// Says the name of the label once more.
macro_rules! fields_with_key {
    ($fields:ident, $key:ident, $variant:ident) => {
        #[derive(Serialize, Deserialize, JsonSchema)]
        struct $fields {
            /// The name of the field that it stands in.
            key: $key,
        }

        #[derive(Serialize, Deserialize, JsonSchema)]
        #[serde(rename_all = "snake_case")]
        enum $key {
            $variant,
        }
    };
}

fields_with_key!(SourceClusterFields, SourceClusterKey, SourceCluster);
fields_with_key!(
    DestinationClusterFields,
    DestinationClusterKey,
    DestinationCluster
);
fields_with_key!(RemoteAddressFields, RemoteAddressKey, RemoteAddress);

// === impl LabelGroup ===

impl TryFrom<BTreeMap<String, Vec<LabelSpecifier>>> for LabelGroup {
    type Error = String;

    fn try_from(group: BTreeMap<String, Vec<LabelSpecifier>>) -> Result<Self, String> {
        let count = group.len();
        let mut groups = group.into_iter();
        match (groups.next(), groups.next()) {
            (Some((name, specifiers)), None) => Ok(Self { name, specifiers }),
            _ => Err(format!("a group of labels has one name, not {count}")),
        }
    }
}

impl From<LabelGroup> for BTreeMap<String, Vec<LabelSpecifier>> {
    fn from(group: LabelGroup) -> Self {
        BTreeMap::from([(group.name, group.specifiers)])
    }
}

// === impl LabelSpecifier ===

impl TryFrom<SpecifierFields> for LabelSpecifier {
    type Error = &'static str;

    fn try_from(fields: SpecifierFields) -> Result<Self, &'static str> {
        let mut given = [
            fields.source_cluster.map(|_| Self::SourceCluster),
            fields.destination_cluster.map(|_| Self::DestinationCluster),
            fields.remote_address.map(|_| Self::RemoteAddress),
            fields.request_headers.map(Self::RequestHeaders),
            fields.generic_key.map(Self::GenericKey),
        ]
        .into_iter()
        .flatten();
        match (given.next(), given.next()) {
            (Some(specifier), None) => Ok(specifier),
            _ => Err(
                "a label is exactly one of source_cluster, destination_cluster, remote_address, \
                 request_headers, generic_key",
            ),
        }
    }
}

impl From<LabelSpecifier> for SpecifierFields {
    fn from(specifier: LabelSpecifier) -> Self {
        let mut fields = Self::default();
        match specifier {
            LabelSpecifier::SourceCluster => {
                let key = SourceClusterKey::SourceCluster;
                fields.source_cluster = Some(SourceClusterFields { key });
            }
            LabelSpecifier::DestinationCluster => {
                let key = DestinationClusterKey::DestinationCluster;
                fields.destination_cluster = Some(DestinationClusterFields { key });
            }
            LabelSpecifier::RemoteAddress => {
                let key = RemoteAddressKey::RemoteAddress;
                fields.remote_address = Some(RemoteAddressFields { key });
            }
            LabelSpecifier::RequestHeaders(label) => fields.request_headers = Some(label),
            LabelSpecifier::GenericKey(label) => fields.generic_key = Some(label),
        }
        fields
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn what_is_read_is_written_again() {
        let labels = json!({"ambassador": [{"all": [
            {"source_cluster": {"key": "source_cluster"}},
            {"destination_cluster": {"key": "destination_cluster"}},
            {"remote_address": {"key": "remote_address"}},
            {"request_headers": {"key": "k", "header_name": "h", "omit_if_not_present": true}},
            {"generic_key": {"value": "v", "v2Shorthand": true}},
            {"generic_key": {"key": "k", "value": "v"}},
        ]}]});
        let read: Labels = serde_json::from_value(labels.clone()).unwrap();
        assert_eq!(serde_json::to_value(read).unwrap(), labels);
    }

    #[test]
    fn a_wrong_one_is_refused() {
        let refused = |specifier: Value| {
            let labels = json!({"a": [{"g": [specifier]}]});
            serde_json::from_value::<Labels>(labels).is_err()
        };
        for wrong in [
            json!({}),
            json!("remote_address"),
            json!({"remote_address": {}}),
            json!({"remote_address": {"key": "x"}}),
            json!({"request_headers": {"key": "k"}}),
            json!({"generic_key": {"key": "k"}}),
            json!({"generic_key": {"value": "v"}, "remote_address": {"key": "remote_address"}}),
        ] {
            assert!(refused(wrong.clone()), "{wrong}");
        }
        for group in [json!({}), json!({"a": [], "b": []})] {
            assert!(serde_json::from_value::<LabelGroup>(group).is_err());
        }
    }
}
