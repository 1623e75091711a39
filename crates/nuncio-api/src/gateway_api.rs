//! `gateway.networking.k8s.io`: the kinds of the Gateway API, field by field.
//!
//! Every version of a kind has the same fields here. Words such as a protocol or a filter's type are
//! plain text: a wrong one costs its listener or its rule, not the whole object.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::getambassador::LabelSelector;

/// The API group.
pub const GROUP: &str = "gateway.networking.k8s.io";

/// Whether the kinds of a group are the Gateway API's, or policies for them: their conflicts go by age, and
/// others write into their status too.
pub fn is_group(group: &str) -> bool {
    group == GROUP || group == crate::policy::GROUP
}

/// The controller of GatewayClasses that are nuncio's.
pub const CONTROLLER: &str = "getambassador.io/gateway-controller";

/// The kinds of routes.
pub const ROUTE_KINDS: &[&str] = &["HTTPRoute", "GRPCRoute", "TLSRoute", "TCPRoute", "UDPRoute"];

macro_rules! fields {
    ($($(#[$meta:meta])* pub struct $name:ident { $($body:tt)* })*) => { $(
        $(#[$meta])*
        #[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
        #[serde(rename_all = "camelCase", default)]
        pub struct $name { $($body)* }
    )* };
}

fields! {
    /// `GatewayClass.spec`: which controller serves the Gateways of a class.
    pub struct GatewayClass {
        pub controller_name: String,
        pub parameters_ref: Option<ObjectReference>,
        pub description: Option<String>,
    }

    /// `Gateway.spec`: what is listened on.
    pub struct Gateway {
        pub gateway_class_name: String,
        pub listeners: Vec<Listener>,
        pub addresses: Vec<GatewayAddress>,
        pub infrastructure: Option<Infrastructure>,
        pub allowed_listeners: Option<AllowedListeners>,
        pub tls: Option<GatewayTls>,
        pub default_scope: Option<String>,
        /// `status.addresses`, which stands beside the `spec`: what the Gateway has been given.
        #[serde(skip)]
        pub assigned: Vec<GatewayAddress>,
    }

    /// `ListenerSet.spec`: more listeners for a Gateway.
    pub struct ListenerSet {
        pub parent_ref: ParentGatewayReference,
        pub listeners: Vec<Listener>,
    }

    pub struct ParentGatewayReference {
        pub group: Option<String>,
        pub kind: Option<String>,
        pub name: String,
        pub namespace: Option<String>,
    }

    /// A port, or some hostnames of one.
    pub struct Listener {
        pub name: String,
        /// A name, or `*.` and a name for every name below it; every name when absent.
        pub hostname: Option<String>,
        pub port: u16,
        /// `HTTP`, `HTTPS`, `TLS`, `TCP` or `UDP`.
        pub protocol: String,
        pub tls: Option<ListenerTls>,
        pub allowed_routes: Option<AllowedRoutes>,
    }

    pub struct ListenerTls {
        /// `Terminate` or `Passthrough`.
        pub mode: Option<String>,
        pub certificate_refs: Vec<ObjectReference>,
        pub options: BTreeMap<String, String>,
    }

    pub struct AllowedRoutes {
        pub namespaces: Option<FromNamespaces>,
        pub kinds: Vec<RouteGroupKind>,
    }

    /// Which namespaces something may come from.
    pub struct FromNamespaces {
        /// `All`, `Same`, `Selector` or `None`.
        pub from: Option<String>,
        pub selector: Option<LabelSelector>,
    }

    pub struct AllowedListeners {
        pub namespaces: Option<FromNamespaces>,
    }

    pub struct Infrastructure {
        pub labels: BTreeMap<String, String>,
        pub annotations: BTreeMap<String, String>,
        pub parameters_ref: Option<ObjectReference>,
    }

    /// TLS of all listeners of a Gateway, and towards its backends.
    pub struct GatewayTls {
        pub backend: Option<BackendTls>,
        pub frontend: Option<FrontendTls>,
    }

    pub struct BackendTls {
        pub client_certificate_ref: Option<ObjectReference>,
    }

    pub struct FrontendTls {
        pub default: FrontendTlsConfig,
        pub per_port: Vec<FrontendTlsPort>,
    }

    pub struct FrontendTlsPort {
        pub port: u16,
        pub tls: FrontendTlsConfig,
    }

    pub struct FrontendTlsConfig {
        pub validation: Option<FrontendTlsValidation>,
    }

    /// What clients' certificates must come from.
    pub struct FrontendTlsValidation {
        pub ca_certificate_refs: Vec<ObjectReference>,
        /// `AllowValidOnly` or `AllowInsecureFallback`.
        pub mode: Option<String>,
    }

    /// A reference to an object, of a kind that depends on where it stands.
    pub struct ObjectReference {
        pub group: Option<String>,
        pub kind: Option<String>,
        pub name: String,
        pub namespace: Option<String>,
    }

    /// `HTTPRoute.spec`
    pub struct HttpRoute {
        pub parent_refs: Vec<ParentReference>,
        pub use_default_gateways: Option<String>,
        pub hostnames: Vec<String>,
        pub rules: Option<Vec<HttpRule>>,
    }

    pub struct HttpRule {
        pub name: Option<String>,
        pub matches: Vec<HttpMatch>,
        pub filters: Vec<HttpFilter>,
        pub backend_refs: Vec<HttpBackendRef>,
        pub timeouts: Option<HttpTimeouts>,
        pub retry: Option<HttpRetry>,
        pub session_persistence: Option<SessionPersistence>,
    }

    pub struct HttpMatch {
        pub path: Option<HttpPathMatch>,
        pub headers: Vec<ValueMatch>,
        pub query_params: Vec<ValueMatch>,
        pub method: Option<String>,
    }

    pub struct HttpPathMatch {
        /// `Exact`, `PathPrefix` or `RegularExpression`.
        #[serde(rename = "type")]
        pub type_: Option<String>,
        pub value: Option<String>,
    }

    /// Of a header or a query parameter.
    pub struct ValueMatch {
        /// `Exact` or `RegularExpression`.
        #[serde(rename = "type")]
        pub type_: Option<String>,
        pub name: String,
        pub value: String,
    }

    /// One of its fields, as its type says.
    pub struct HttpFilter {
        #[serde(rename = "type")]
        pub type_: String,
        pub request_header_modifier: Option<HeaderModifier>,
        pub response_header_modifier: Option<HeaderModifier>,
        pub request_mirror: Option<RequestMirror>,
        pub request_redirect: Option<RequestRedirect>,
        pub url_rewrite: Option<UrlRewrite>,
        pub cors: Option<Cors>,
        pub external_auth: Option<ExternalAuth>,
        pub extension_ref: Option<ObjectReference>,
    }

    /// Who is asked whether a request may pass (GEP-1494).
    pub struct ExternalAuth {
        /// `HTTP` or `GRPC`.
        pub protocol: String,
        pub backend_ref: BackendObjectReference,
        pub grpc: Option<GrpcAuth>,
        pub http: Option<HttpAuth>,
        pub forward_body: Option<ForwardBody>,
    }

    pub struct GrpcAuth {
        /// Headers of the client that go along; all of them when empty.
        pub allowed_headers: Vec<String>,
    }

    pub struct HttpAuth {
        /// Stands before the path.
        pub path: Option<String>,
        /// Headers of the client that go along, beside those that always do.
        pub allowed_headers: Vec<String>,
        /// Headers of the answer that the backend gets; all of them when empty.
        pub allowed_response_headers: Vec<String>,
    }

    pub struct ForwardBody {
        /// The longest body that goes along, in bytes; none does when it is 0.
        pub max_size: u16,
    }

    pub struct HeaderModifier {
        pub set: Vec<Header>,
        pub add: Vec<Header>,
        pub remove: Vec<String>,
    }

    pub struct Header {
        pub name: String,
        pub value: String,
    }

    pub struct RequestMirror {
        pub backend_ref: BackendObjectReference,
        pub percent: Option<u32>,
        pub fraction: Option<Fraction>,
    }

    pub struct Fraction {
        pub numerator: u32,
        /// 100 when absent.
        pub denominator: Option<u32>,
    }

    pub struct RequestRedirect {
        pub scheme: Option<String>,
        pub hostname: Option<String>,
        pub path: Option<PathModifier>,
        pub port: Option<u16>,
        pub status_code: Option<u16>,
    }

    pub struct UrlRewrite {
        pub hostname: Option<String>,
        pub path: Option<PathModifier>,
    }

    pub struct PathModifier {
        /// `ReplaceFullPath` or `ReplacePrefixMatch`.
        #[serde(rename = "type")]
        pub type_: String,
        pub replace_full_path: Option<String>,
        pub replace_prefix_match: Option<String>,
    }

    pub struct Cors {
        pub allow_origins: Vec<String>,
        pub allow_credentials: Option<bool>,
        pub allow_methods: Vec<String>,
        pub allow_headers: Vec<String>,
        pub expose_headers: Vec<String>,
        /// Seconds; 5 when absent.
        pub max_age: Option<u32>,
    }

    /// A Service, and its part of the requests.
    pub struct HttpBackendRef {
        pub group: Option<String>,
        pub kind: Option<String>,
        pub name: String,
        pub namespace: Option<String>,
        pub port: Option<u16>,
        /// 1 when absent.
        pub weight: Option<u32>,
        pub filters: Vec<HttpFilter>,
    }

    pub struct BackendObjectReference {
        pub group: Option<String>,
        pub kind: Option<String>,
        pub name: String,
        pub namespace: Option<String>,
        pub port: Option<u16>,
    }

    pub struct HttpTimeouts {
        pub request: Option<String>,
        pub backend_request: Option<String>,
    }

    pub struct HttpRetry {
        pub codes: Vec<u16>,
        pub attempts: Option<u32>,
        pub backoff: Option<String>,
    }

    pub struct SessionPersistence {
        pub session_name: Option<String>,
        pub absolute_timeout: Option<String>,
        pub idle_timeout: Option<String>,
        /// `Cookie` or `Header`.
        #[serde(rename = "type")]
        pub type_: Option<String>,
        pub cookie_config: Option<CookieConfig>,
    }

    pub struct CookieConfig {
        /// `Session` or `Permanent`.
        pub lifetime_type: Option<String>,
    }

    /// `GRPCRoute.spec`
    pub struct GrpcRoute {
        pub parent_refs: Vec<ParentReference>,
        pub use_default_gateways: Option<String>,
        pub hostnames: Vec<String>,
        pub rules: Vec<GrpcRule>,
    }

    pub struct GrpcRule {
        pub name: Option<String>,
        pub matches: Vec<GrpcMatch>,
        pub filters: Vec<HttpFilter>,
        pub backend_refs: Vec<HttpBackendRef>,
        pub session_persistence: Option<SessionPersistence>,
    }

    pub struct GrpcMatch {
        pub method: Option<GrpcMethodMatch>,
        pub headers: Vec<ValueMatch>,
    }

    pub struct GrpcMethodMatch {
        /// `Exact` or `RegularExpression`.
        #[serde(rename = "type")]
        pub type_: Option<String>,
        pub service: Option<String>,
        pub method: Option<String>,
    }

    /// `TLSRoute.spec`, and that of a TCPRoute and a UDPRoute, which have no hostnames.
    pub struct StreamRoute {
        pub parent_refs: Vec<ParentReference>,
        pub use_default_gateways: Option<String>,
        pub hostnames: Vec<String>,
        pub rules: Vec<StreamRule>,
    }

    pub struct StreamRule {
        pub name: Option<String>,
        pub backend_refs: Vec<BackendRef>,
    }

    pub struct BackendRef {
        pub group: Option<String>,
        pub kind: Option<String>,
        pub name: String,
        pub namespace: Option<String>,
        pub port: Option<u16>,
        /// 1 when absent.
        pub weight: Option<u32>,
    }

    /// `ReferenceGrant.spec`: who may refer to objects of its namespace.
    pub struct ReferenceGrant {
        pub from: Vec<ReferenceGrantFrom>,
        pub to: Vec<ReferenceGrantTo>,
    }

    pub struct ReferenceGrantFrom {
        pub group: String,
        pub kind: String,
        pub namespace: String,
    }

    pub struct ReferenceGrantTo {
        pub group: String,
        pub kind: String,
        /// Every object of the kind when absent.
        pub name: Option<String>,
    }

    /// `BackendTLSPolicy.spec`: how connections to a Service are encrypted.
    pub struct BackendTlsPolicy {
        pub target_refs: Vec<PolicyTarget>,
        pub validation: BackendTlsValidation,
        pub options: BTreeMap<String, String>,
    }

    pub struct PolicyTarget {
        pub group: String,
        pub kind: String,
        pub name: String,
        pub section_name: Option<String>,
    }

    pub struct BackendTlsValidation {
        pub ca_certificate_refs: Vec<ObjectReference>,
        #[serde(rename = "wellKnownCACertificates")]
        pub well_known_ca_certificates: Option<String>,
        pub hostname: String,
        pub subject_alt_names: Vec<SubjectAltName>,
    }

    pub struct SubjectAltName {
        /// `Hostname` or `URI`.
        #[serde(rename = "type")]
        pub type_: String,
        pub hostname: Option<String>,
        pub uri: Option<String>,
    }
}

#[derive(
    Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "camelCase", default)]
pub struct RouteGroupKind {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    pub kind: String,
}

#[derive(
    Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "camelCase", default)]
pub struct GatewayAddress {
    /// `IPAddress`, `Hostname`, or a domain-prefixed word.
    #[serde(rename = "type")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub type_: Option<String>,
    pub value: String,
}

/// What a route attaches to.
#[derive(
    Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "camelCase", default)]
pub struct ParentReference {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    pub name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub section_name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
}

impl HttpBackendRef {
    pub fn object(&self) -> BackendObjectReference {
        BackendObjectReference {
            group: self.group.clone(),
            kind: self.kind.clone(),
            name: self.name.clone(),
            namespace: self.namespace.clone(),
            port: self.port,
        }
    }
}

impl BackendRef {
    pub fn object(&self) -> BackendObjectReference {
        BackendObjectReference {
            group: self.group.clone(),
            kind: self.kind.clone(),
            name: self.name.clone(),
            namespace: self.namespace.clone(),
            port: self.port,
        }
    }
}
