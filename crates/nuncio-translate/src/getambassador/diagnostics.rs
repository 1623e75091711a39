//! Routes as Emissary's diagnostics show them (`route_info`).

use serde::Serialize;

use super::group::{Group, Member, MemberKind};

/// One group of Mappings. The names of the fields are Emissary's, which its users' scripts read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RouteInfo {
    pub _route: GroupInfo,
    pub _source: String,
    pub _group_id: String,
    pub key: String,
    pub prefix: String,
    pub rewrite: String,
    pub method: String,
    pub headers: Vec<HeaderInfo>,
    pub clusters: Vec<RouteCluster>,
    pub host: String,
    pub precedence: i64,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct GroupInfo {
    pub group_id: String,
    pub kind: &'static str,
    pub name: String,
    pub mappings: Vec<MappingInfo>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct MappingInfo {
    pub name: String,
    pub namespace: String,
    pub location: String,
    pub cluster_name: String,
    pub cluster_service: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct HeaderInfo {
    pub name: String,
    pub value: String,
    pub regex: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RouteCluster {
    pub name: String,
    pub service: String,
    pub weight: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub type_label: Option<&'static str>,
}

pub(super) fn route_info(group: &Group) -> RouteInfo {
    let criteria = &group.criteria;
    let value_of = |name: &str| {
        let mut headers = criteria.headers.iter();
        headers.find(|c| c.name == name).map(|c| c.value.clone())
    };
    let host = value_of(":authority").unwrap_or_else(|| "*".to_owned());
    let redirect = group.members.iter().any(|m| m.kind == MemberKind::Redirect);
    let first = group.members.iter().find(|m| m.kind != MemberKind::Shadow);
    RouteInfo {
        key: format!("http://{host}{}", criteria.prefix),
        prefix: criteria.prefix.clone(),
        rewrite: match first {
            Some(first) if !redirect => first.rewrite.clone(),
            _ => String::new(),
        },
        method: value_of(":method").unwrap_or_else(|| "*".to_owned()),
        headers: criteria
            .headers
            .iter()
            .filter(|c| !c.name.starts_with(':'))
            .map(|c| HeaderInfo {
                name: c.name.clone(),
                value: c.value.clone(),
                regex: c.regex,
            })
            .collect(),
        clusters: group.members.iter().map(cluster).collect(),
        host,
        precedence: criteria.precedence,
        _source: first.map(|first| first.rkey.clone()).unwrap_or_default(),
        _group_id: group.id.clone(),
        _route: GroupInfo {
            group_id: group.id.clone(),
            kind: "IRHTTPMappingGroup",
            name: group.name.clone(),
            mappings: group.members.iter().map(mapping).collect(),
        },
    }
}

fn cluster(member: &Member) -> RouteCluster {
    RouteCluster {
        name: member.cluster.as_deref().unwrap_or_default().to_owned(),
        service: member.service.clone(),
        weight: member.weight,
        type_label: match member.kind {
            MemberKind::Route => None,
            MemberKind::Shadow => Some("shadow"),
            MemberKind::Redirect => Some("redirect"),
        },
    }
}

fn mapping(member: &Member) -> MappingInfo {
    let id = &member.origin.resource;
    MappingInfo {
        name: member.name.clone(),
        namespace: id.namespace.to_string(),
        location: member.rkey.clone(),
        cluster_name: member.cluster.as_deref().unwrap_or_default().to_owned(),
        cluster_service: member.service.clone(),
    }
}
