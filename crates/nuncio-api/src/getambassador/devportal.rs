use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// `DevPortal.spec`: what a developer portal shows.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct DevPortal {
    /// Which nuncio takes it, by `AMBASSADOR_ID`; `default` when absent.
    pub ambassador_id: Option<Vec<String>>,
    /// Whether it is the one that is shown when none is asked for.
    pub default: Option<bool>,
    /// Where its pages come from.
    pub content: Option<DevPortalContent>,
    /// Documentation that no Mapping names.
    pub docs: Option<Vec<DevPortalDocs>>,
    /// Which Mappings it shows.
    pub selector: Option<DevPortalSelector>,
    /// How services are named; `namespace.name` when absent.
    pub naming_scheme: Option<NamingScheme>,
    /// What can be searched.
    pub search: Option<DevPortalSearch>,
    /// Whether the servers of an OpenAPI document stay as they are.
    pub preserve_servers: Option<bool>,
}

/// A git repository with the pages.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct DevPortalContent {
    /// Where the repository is.
    pub url: Option<String>,
    /// Its branch.
    pub branch: Option<String>,
    /// The folder in it.
    pub dir: Option<String>,
}

/// The documentation of a service that is not found through a Mapping.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct DevPortalDocs {
    /// The service that is documented.
    pub service: Option<String>,
    /// Where its OpenAPI document is.
    pub url: Option<String>,
    /// Longest time for it, in milliseconds.
    pub timeout_ms: Option<i64>,
}

/// Whose documentation is shown.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct DevPortalSelector {
    /// Namespaces of the Mappings.
    pub match_namespaces: Option<Vec<String>>,
    /// Labels that must all be there.
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
    /// Whether there is a search.
    pub enabled: Option<bool>,
    /// What is searched; `title-only` when absent.
    #[serde(rename = "type")]
    pub type_: Option<SearchType>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum SearchType {
    TitleOnly,
    AllContent,
}
