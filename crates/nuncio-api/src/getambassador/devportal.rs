use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// `DevPortal.spec`: what a developer portal shows.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct DevPortal {
    pub ambassador_id: Option<Vec<String>>,
    pub default: Option<bool>,
    pub content: Option<DevPortalContent>,
    pub docs: Option<Vec<DevPortalDocs>>,
    pub selector: Option<DevPortalSelector>,
    pub naming_scheme: Option<NamingScheme>,
    pub search: Option<DevPortalSearch>,
    pub preserve_servers: Option<bool>,
}

/// A git repository with the pages.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct DevPortalContent {
    pub url: Option<String>,
    pub branch: Option<String>,
    pub dir: Option<String>,
}

/// The documentation of a service that is not found through a Mapping.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct DevPortalDocs {
    pub service: Option<String>,
    pub url: Option<String>,
    pub timeout_ms: Option<i64>,
}

/// Whose documentation is shown.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct DevPortalSelector {
    pub match_namespaces: Option<Vec<String>>,
    pub match_labels: Option<BTreeMap<String, String>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum NamingScheme {
    #[serde(rename = "namespace.name")]
    NamespaceName,
    #[serde(rename = "name.prefix")]
    NamePrefix,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct DevPortalSearch {
    pub enabled: Option<bool>,
    #[serde(rename = "type")]
    pub type_: Option<SearchType>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum SearchType {
    TitleOnly,
    AllContent,
}
