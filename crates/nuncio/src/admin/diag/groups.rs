//! `groups` and `route_info`: Mappings that share their requests, in the order in which they match.

use std::collections::BTreeMap;

use nuncio_translate::getambassador::{Condition, HttpGroup, MemberInfo, MemberKind, TcpGroupInfo};
use serde::Serialize;

use super::clusters::{self, ClusterInfo};
use super::document::{About, Document};
use super::scene::Scene;

#[derive(Serialize)]
#[serde(untagged)]
pub(super) enum GroupInfo<'a> {
    Http(HttpGroupInfo<'a>),
    Tcp(TcpGroup<'a>),
}

#[derive(Serialize)]
pub(super) struct HttpGroupInfo<'a> {
    _active: bool,
    _errored: bool,
    _rkey: &'a str,
    _referenced_by: Vec<&'a str>,
    kind: &'static str,
    group_id: &'a str,
    name: &'a str,
    namespace: &'a str,
    location: &'a str,
    prefix: &'a str,
    rewrite: &'a str,
    headers: Vec<ConditionInfo<'a>>,
    query_parameters: Vec<ConditionInfo<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    host: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    method: Option<&'a str>,
    precedence: i64,
    metadata_labels: &'a BTreeMap<String, String>,
    mappings: Vec<MappingInfo<'a>>,
}

#[derive(Serialize)]
pub(super) struct TcpGroup<'a> {
    _active: bool,
    _errored: bool,
    _rkey: &'a str,
    _referenced_by: Vec<&'a str>,
    kind: &'static str,
    group_id: &'a str,
    name: &'a str,
    namespace: &'a str,
    location: &'a str,
    address: &'a str,
    port: u16,
    #[serde(skip_serializing_if = "Option::is_none")]
    host: Option<&'a str>,
    mappings: Vec<MappingInfo<'a>>,
}

#[derive(Serialize)]
struct ConditionInfo<'a> {
    name: &'a str,
    value: &'a str,
    regex: bool,
}

#[derive(Serialize)]
struct MappingInfo<'a> {
    _active: bool,
    _errored: bool,
    _rkey: &'a str,
    _weight: u32,
    location: &'a str,
    name: &'a str,
    namespace: &'a str,
    service: &'a str,
    cluster_service: &'a str,
    cluster_name: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    prefix: Option<&'a str>,
    #[serde(skip_serializing_if = "str::is_empty")]
    rewrite: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    host: Option<&'a str>,
}

#[derive(Serialize)]
pub(super) struct RouteInfo<'a> {
    _route: HttpGroupInfo<'a>,
    _source: &'a str,
    _group_id: &'a str,
    key: String,
    prefix: &'a str,
    rewrite: &'a str,
    method: &'a str,
    headers: Vec<ConditionInfo<'a>>,
    clusters: Vec<ClusterInfo<'a>>,
    host: &'a str,
    precedence: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    diag_class: Option<&'a str>,
}

/// By `grp-<id>`.
pub(super) fn groups(scene: &Scene) -> BTreeMap<String, GroupInfo<'_>> {
    let inventory = &scene.served.inventory;
    let http = inventory.groups.iter();
    let tcp = inventory.tcp_groups.iter();
    http.map(|group| {
        (
            format!("grp-{}", group.id),
            GroupInfo::Http(http_group(group)),
        )
    })
    .chain(tcp.map(|group| {
        (
            format!("grp-{}", group.id),
            GroupInfo::Tcp(tcp_group(group)),
        )
    }))
    .collect()
}

pub(super) fn route_info<'a>(document: &Document<'a>) -> Vec<RouteInfo<'a>> {
    let groups = &document.scene.served.inventory.groups;
    let shown = match document.about {
        About::Everything => 0..groups.len(),
        About::Group(index) => index..index + 1,
        _ => 0..0,
    };
    let scene = document.scene;
    shown.map(|index| route(scene, &groups[index])).collect()
}

fn route<'a>(scene: &'a Scene, group: &'a HttpGroup) -> RouteInfo<'a> {
    let host = match host(group) {
        Some(host) => host,
        None => &scene.host,
    };
    let slash = if group.prefix.starts_with('/') {
        ""
    } else {
        "/"
    };
    RouteInfo {
        _source: &group.first().rkey,
        _group_id: &group.id,
        key: format!("{}://{host}{slash}{}", scene.scheme, group.prefix),
        prefix: &group.prefix,
        rewrite: &group.rewrite,
        method: &group.method,
        headers: group.conditions().map(condition).collect(),
        clusters: group
            .members
            .iter()
            .map(|member| clusters::of_member(scene, member))
            .collect(),
        host: &group.host,
        precedence: group.precedence,
        diag_class: group
            .labels
            .get("ambassador_diag_class")
            .map(String::as_str),
        _route: http_group(group),
    }
}

fn host(group: &HttpGroup) -> Option<&str> {
    Some(&*group.host).filter(|host| *host != "*")
}

fn http_group(group: &HttpGroup) -> HttpGroupInfo<'_> {
    let first = group.first();
    HttpGroupInfo {
        _active: true,
        _errored: false,
        _rkey: &first.rkey,
        _referenced_by: rkeys(&group.members),
        kind: "IRHTTPMappingGroup",
        group_id: &group.id,
        name: &group.name,
        namespace: &first.resource.namespace,
        location: &first.rkey,
        prefix: &group.prefix,
        rewrite: &group.rewrite,
        headers: group.headers.iter().map(condition).collect(),
        query_parameters: group.query_parameters.iter().map(condition).collect(),
        host: host(group),
        method: Some(&*group.method).filter(|method| *method != "*"),
        precedence: group.precedence,
        metadata_labels: &group.labels,
        mappings: group
            .members
            .iter()
            .map(|member| MappingInfo {
                prefix: Some(&group.prefix),
                host: host(group),
                ..mapping(member)
            })
            .collect(),
    }
}

fn tcp_group(group: &TcpGroupInfo) -> TcpGroup<'_> {
    let first = &group.members[0];
    TcpGroup {
        _active: true,
        _errored: false,
        _rkey: &first.rkey,
        _referenced_by: rkeys(&group.members),
        kind: "IRTCPMappingGroup",
        group_id: &group.id,
        name: &group.name,
        namespace: &first.resource.namespace,
        location: &first.rkey,
        address: &group.address,
        port: group.port,
        host: group.host.as_deref(),
        mappings: group.members.iter().map(mapping).collect(),
    }
}

fn rkeys(members: &[MemberInfo]) -> Vec<&str> {
    members.iter().map(|member| &*member.rkey).collect()
}

fn mapping(member: &MemberInfo) -> MappingInfo<'_> {
    MappingInfo {
        _active: true,
        _errored: false,
        _rkey: &member.rkey,
        _weight: member.weight,
        location: &member.rkey,
        name: &member.name,
        namespace: &member.resource.namespace,
        service: &member.service,
        cluster_service: &member.service,
        cluster_name: member.cluster.as_deref(),
        prefix: None,
        rewrite: match member.kind {
            MemberKind::Redirect => "",
            MemberKind::Route | MemberKind::Shadow => &member.rewrite,
        },
        host: None,
    }
}

fn condition(condition: &Condition) -> ConditionInfo<'_> {
    ConditionInfo {
        name: &condition.name,
        value: &condition.value,
        regex: condition.regex,
    }
}
