//! What became of the resources, as the diagnostics show it: what the gateway itself no longer
//! says, because it knows no resources.

use std::collections::BTreeMap;
use std::sync::Arc;

use nuncio_api::getambassador::{InsecureAction, TlsContext};
use nuncio_model::route::{Action, PathMatch};
use nuncio_model::{Named, Origin, ResourceId};

use super::Context;
use super::clusters::Clusters;
use super::group::{Group, Member, MemberKind, group_id};
use super::host::Host;
use super::mapping::Criterion;
use super::resolver;
use super::tcpmapping::TcpGroup;
use crate::store::Object;

/// Everything that is in effect, by resource.
#[derive(Clone, Debug, Default)]
pub struct Inventory {
    /// In the order in which they match.
    pub groups: HttpGroups,
    pub tcp_groups: Vec<TcpGroupInfo>,
    /// By hostname.
    pub hosts: Vec<HostInfo>,
    /// What is behind each cluster, by its name.
    pub upstreams: Named<Upstream>,
    pub resolvers: Vec<ResolverInfo>,
    /// Those that are asked about requests.
    pub services: Vec<ServiceInfo>,
    pub tls_contexts: Vec<Arc<Object<TlsContext>>>,
    pub access: Access,
}

/// Groups, each put together for who looks.
#[derive(Clone, Default)]
pub struct HttpGroups(Vec<Arc<Group>>);

impl HttpGroups {
    pub fn len(&self) -> usize {
        self.0.len()
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn iter(&self) -> impl ExactSizeIterator<Item = &HttpGroup> {
        self.0.iter().map(|group| group.info())
    }
}

impl std::ops::Index<usize> for HttpGroups {
    type Output = HttpGroup;

    fn index(&self, index: usize) -> &HttpGroup {
        self.0[index].info()
    }
}

impl PartialEq for HttpGroups {
    fn eq(&self, other: &Self) -> bool {
        self.iter().eq(other.iter())
    }
}

impl std::fmt::Debug for HttpGroups {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

/// Who may look at the diagnostics on nuncio's own port.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Access {
    #[default]
    Everybody,
    /// Only who is on the same machine, or in the same pod.
    Local,
}

/// Mappings that share their requests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpGroup {
    /// Emissary's: a hash of its criteria.
    pub id: String,
    pub name: String,
    pub prefix: String,
    pub path: PathKind,
    pub case_sensitive: bool,
    /// What requests must have, `:authority` and `:method` included.
    pub headers: Vec<Condition>,
    pub query_parameters: Vec<Condition>,
    pub host: String,
    pub method: String,
    pub precedence: i64,
    pub rewrite: String,
    pub labels: BTreeMap<String, String>,
    /// Nobody wrote it: a probe, or nuncio's diagnostics.
    pub built_in: bool,
    /// At least one.
    pub members: Vec<MemberInfo>,
}

impl HttpGroup {
    /// Whom the group is named after.
    pub fn first(&self) -> &MemberInfo {
        let mut members = self.members.iter();
        let first = members.find(|member| member.kind != MemberKind::Shadow);
        first.unwrap_or(&self.members[0])
    }

    /// What a request must have beside its host and its method.
    pub fn conditions(&self) -> impl Iterator<Item = &Condition> {
        let headers = self.headers.iter();
        headers.filter(|header| !header.name.starts_with(':'))
    }
}

/// How `prefix` is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PathKind {
    Prefix,
    Segments,
    Exact,
    Regex,
}

/// A header or a query parameter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Condition {
    pub name: String,
    pub value: String,
    pub regex: bool,
}

/// One Mapping of a group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemberInfo {
    pub resource: Arc<ResourceId>,
    /// Of the Mapping, also where it was made of another resource.
    pub name: String,
    /// Emissary's key.
    pub rkey: String,
    pub service: String,
    /// `None` is a redirect.
    pub cluster: Option<Arc<str>>,
    /// In percent.
    pub weight: u32,
    pub kind: MemberKind,
    pub rewrite: String,
}

/// TCPMappings that share their connections.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TcpGroupInfo {
    pub id: String,
    pub name: String,
    pub address: String,
    pub port: u16,
    /// The server name whose TLS ends here.
    pub host: Option<String>,
    /// At least one.
    pub members: Vec<MemberInfo>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostInfo {
    pub name: String,
    pub namespace: String,
    pub origin: Origin,
    pub hostname: String,
    /// The secret, by Envoy's name for it, that TLS is terminated with.
    pub certificate: Option<Arc<str>>,
    /// Whether clients must show a certificate.
    pub client_certificate: bool,
    pub insecure: InsecureAction,
    /// Nobody wrote it as a Host.
    pub made: bool,
}

/// What a cluster was made for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Upstream {
    /// As it is written.
    pub service: String,
    pub host: String,
    pub port: u16,
    pub resolver: Arc<str>,
}

/// A service that is asked about requests, or a part of one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceInfo {
    pub kind: &'static str,
    /// Its key.
    pub rkey: Arc<str>,
    pub upstream: Arc<Upstream>,
    pub cluster: Arc<str>,
    /// How many there are that take turns.
    pub of: usize,
}

/// A resolver that is used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResolverInfo {
    pub kind: &'static str,
    pub name: Arc<str>,
    /// Its key; `None` where it comes with nuncio.
    pub rkey: Option<String>,
}

pub(super) fn inventory(
    context: &Context<'_>,
    clusters: &Clusters,
    groups: &[Arc<Group>],
    tcp_groups: &[TcpGroup],
    hosts: &[Host],
) -> Inventory {
    let store = context.store;
    let written = store.tls_contexts.by_rkey().into_iter();
    Inventory {
        groups: HttpGroups(groups.to_vec()),
        tcp_groups: tcp_groups.iter().map(TcpGroup::info).collect(),
        hosts: hosts.iter().map(host).collect(),
        resolvers: clusters
            .resolvers()
            .map(|name| resolver::info(store, name))
            .collect(),
        services: context.services.clone(),
        upstreams: clusters.upstreams().clone(),
        tls_contexts: written
            .chain(store.module_tls_contexts())
            .cloned()
            .collect(),
        access: context.module.diagnostics_access,
    }
}

pub(super) fn http_group(group: &Group) -> HttpGroup {
    let criteria = &group.criteria;
    let value_of = |name: &str| {
        let mut headers = criteria.headers.iter();
        headers.find(|c| c.name == name).map(|c| c.value.clone())
    };
    let matches = &group.routes[0].matches;
    let redirect = group
        .routes
        .iter()
        .any(|route| matches!(route.action, Action::Redirect(_)));
    let mut members = group.members.iter();
    let first = members.find(|member| member.kind != MemberKind::Shadow);
    HttpGroup {
        id: group_id(criteria),
        name: format!("GROUP: {}", group.name()),
        prefix: criteria.prefix.clone(),
        path: match matches.path {
            // A group's first route is none of CONNECT alone.
            PathMatch::Prefix(_) | PathMatch::Connect => PathKind::Prefix,
            PathMatch::Segments(_) => PathKind::Segments,
            PathMatch::Exact(_) => PathKind::Exact,
            PathMatch::Regex(_) => PathKind::Regex,
        },
        case_sensitive: matches.case_sensitive,
        headers: criteria.headers.iter().map(condition).collect(),
        query_parameters: criteria.query_parameters.iter().map(condition).collect(),
        host: value_of(":authority").unwrap_or_else(|| "*".to_owned()),
        method: value_of(":method").unwrap_or_else(|| "*".to_owned()),
        precedence: criteria.precedence,
        rewrite: first
            .filter(|_| !redirect)
            .map(|first| first.rewrite().to_owned())
            .unwrap_or_default(),
        labels: group.labels.clone(),
        built_in: group.built_in,
        members: group.members.iter().map(member).collect(),
    }
}

fn condition(criterion: &Criterion) -> Condition {
    Condition {
        name: criterion.name.clone(),
        value: criterion.value.clone(),
        regex: criterion.regex,
    }
}

fn member(member: &Member) -> MemberInfo {
    MemberInfo {
        resource: Arc::clone(&member.object.id),
        name: member.object.name().to_owned(),
        rkey: member.object.rkey.to_string(),
        service: member.object.spec.service.clone().unwrap_or_default(),
        cluster: member.cluster.clone(),
        weight: member.weight,
        kind: member.kind,
        rewrite: member.rewrite().to_owned(),
    }
}

fn host(host: &Host) -> HostInfo {
    let termination = host.tls.as_ref().map(|tls| &tls.termination);
    HostInfo {
        name: host.name.clone(),
        namespace: host.namespace.clone(),
        origin: host.origin.clone(),
        hostname: host.hostname.to_string(),
        certificate: termination.map(|tls| Arc::clone(&tls.certificate)),
        client_certificate: termination.is_some_and(|tls| tls.clients.required),
        insecure: host.insecure,
        made: host.made,
    }
}
