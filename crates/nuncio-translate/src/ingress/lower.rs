//! One Ingress: its certificates become Hosts, its paths and its default backend Mappings, with
//! the names and labels that they have in Emissary.

use std::sync::Arc;

use nuncio_api::ObjectMeta;
use nuncio_api::core::ServiceSpec;
use nuncio_api::getambassador::{
    Host, InsecureAction, InsecureRequestPolicy, LabelSelector, Mapping, RequestPolicy, SecretRef,
};
use nuncio_api::ingress::{
    HttpIngressPath, Ingress, IngressBackend, IngressServiceBackend, IngressTls,
};
use nuncio_model::value::{Invalid, PathSegments};
use nuncio_model::{Origin, Reason};

use super::Ingresses;
use crate::getambassador::MadeMapping;
use crate::store::{Object, Store};

/// The label of everything that is made of an Ingress with TLS; its Hosts take what has it.
const LABEL: &str = "a10r-k8s-ingress";

/// One label of a name, for which a wildcard stands.
const ONE_LABEL: &str = "[a-z0-9]([-a-z0-9]*[a-z0-9])?";

/// Below it cert-manager has a path for each challenge.
const ACME_CHALLENGE: &str = "/.well-known/acme-challenge/";

/// Exact paths come before all others.
const EXACT_PRECEDENCE: i64 = 1;

pub(super) fn lower(store: &Store, object: &Arc<Object<Ingress>>, into: &mut Ingresses) {
    let (namespace, name) = (object.namespace(), object.name());
    let mut meta = ObjectMeta {
        namespace: namespace.to_owned(),
        labels: object.meta.labels.clone(),
        ..ObjectMeta::default()
    };
    if !object.spec.tls.is_empty() {
        let label = format!("a10r-ingress-{name}-{namespace}");
        meta.labels.insert(LABEL.to_owned(), label);
    }
    Lowering {
        store,
        object,
        meta,
        into,
    }
    .lower();
}

struct Lowering<'a> {
    store: &'a Store,
    object: &'a Object<Ingress>,
    /// Of everything that is made, but for the name.
    meta: ObjectMeta,
    into: &'a mut Ingresses,
}

/// Where requests go.
struct Backend {
    service: String,
    /// There is no such Service or port.
    unavailable: bool,
}

/// What a path matches.
struct Path {
    prefix: String,
    exact: bool,
    segments: Option<PathSegments>,
    rewrite: &'static str,
}

/// The hosts of a rule.
enum RuleHost {
    /// A hostname of a Mapping.
    Name(String),
    /// One label more than this name, which begins with `*.`.
    Wildcard(String),
    /// Those of the Ingress's own certificates.
    Own,
}

impl<'a> Lowering<'a> {
    fn lower(mut self) {
        let spec = &self.object.spec;
        for (index, tls) in spec.tls.iter().enumerate() {
            self.hosts(index, tls);
        }
        if let Some(backend) = &spec.default_backend {
            let part = "spec.defaultBackend";
            if let Some(backend) = self.backend(backend, part) {
                let name = format!("{}-default-backend", self.object.name());
                let path = Path {
                    prefix: "/".to_owned(),
                    exact: false,
                    segments: None,
                    rewrite: "",
                };
                let host = RuleHost::Name("*".to_owned());
                self.mapping(name, part.to_owned(), path, &host, backend);
            }
        }
        for (i, rule) in spec.rules.iter().enumerate() {
            let host = match self.rule_host(rule.host.as_deref()) {
                Ok(host) => host,
                Err(what) => {
                    self.refuse(format!("spec.rules[{i}].host"), Reason::InvalidValue, what);
                    continue;
                }
            };
            for (j, path) in rule.http.iter().flat_map(|http| &http.paths).enumerate() {
                self.path(i, j, path, &host);
            }
        }
    }

    /// The names of one certificate. Cleartext requests for them are served too.
    fn hosts(&mut self, index: usize, tls: &IngressTls) {
        let part = format!("spec.tls[{index}]");
        let Some(secret) = given(tls.secret_name.as_deref()) else {
            let hosts = match tls.hosts.as_slice() {
                [] => "any name".to_owned(),
                hosts => hosts.join(", "),
            };
            self.into
                .report
                .notice(
                    &self.at(part),
                    Reason::NoEffect,
                    format!("it names no Secret: this Ingress has no certificate for {hosts}"),
                )
                .help("write secretName, or a Host with that hostname and a tlsSecret");
            return;
        };
        let every = ["*".to_owned()];
        let hosts = match tls.hosts.as_slice() {
            [] => &every,
            hosts => hosts,
        };
        for (number, hostname) in hosts.iter().enumerate() {
            if hostname.is_empty() {
                let what = Invalid::new("it is empty", "write a name, or no hosts for every name");
                self.refuse(
                    format!("{part}.hosts[{number}]"),
                    Reason::InvalidValue,
                    what,
                );
                continue;
            }
            let host = Host {
                hostname: Some(hostname.clone()),
                mapping_selector: Some(LabelSelector {
                    match_labels: self
                        .meta
                        .labels
                        .get_key_value(LABEL)
                        .map(|(key, value)| (key.clone(), value.clone()))
                        .into_iter()
                        .collect(),
                    ..LabelSelector::default()
                }),
                tls_secret: Some(SecretRef {
                    name: secret.to_owned(),
                    namespace: None,
                }),
                request_policy: Some(RequestPolicy {
                    insecure: Some(InsecureRequestPolicy {
                        action: Some(InsecureAction::Route),
                        additional_port: None,
                    }),
                }),
                ..Host::default()
            };
            let name = format!("{}-{index}-{number}", self.object.name());
            let host = self.made(name, part.clone(), host);
            self.into.made.hosts.push(host);
        }
    }

    fn path(&mut self, i: usize, j: usize, path: &HttpIngressPath, host: &RuleHost) {
        let part = format!("spec.rules[{i}].http.paths[{j}]");
        let matches = match read_path(path) {
            Ok(matches) => matches,
            Err((field, reason, what)) => {
                return self.refuse(format!("{part}.{field}"), reason, what);
            }
        };
        let Some(backend) = self.backend(&path.backend, &format!("{part}.backend")) else {
            return;
        };
        let name = format!("{}-{i}-{j}", self.object.name());
        self.mapping(name, part, matches, host, backend);
    }

    fn mapping(
        &mut self,
        name: String,
        part: String,
        path: Path,
        host: &RuleHost,
        backend: Backend,
    ) {
        let mut mapping = Mapping {
            prefix: Some(path.prefix),
            rewrite: Some(path.rewrite.to_owned()),
            service: Some(backend.service),
            ..Mapping::default()
        };
        if path.exact {
            mapping.prefix_exact = Some(true);
            mapping.precedence = Some(EXACT_PRECEDENCE);
        }
        let mut wildcard = None;
        match host {
            RuleHost::Own => {}
            RuleHost::Name(name) => mapping.hostname = Some(name.clone()),
            RuleHost::Wildcard(glob) => {
                let name = glob.trim_start_matches("*.").replace('.', "\\.");
                mapping.host = Some(format!("^{ONE_LABEL}\\.{name}$"));
                mapping.host_regex = Some(true);
                wildcard = Some(glob.clone());
            }
        }
        let object = Arc::new(self.made(name, part, mapping));
        self.into.made.mappings.push(MadeMapping {
            object,
            segments: path.segments,
            wildcard,
            unavailable: backend.unavailable,
        });
    }

    fn rule_host(&self, host: Option<&str>) -> Result<RuleHost, Invalid> {
        let Some(host) = given(host).filter(|host| *host != "*") else {
            // Without any Host of its own nothing would take the rule.
            let own = self.object.spec.tls.iter();
            let mut own = own.filter(|tls| given(tls.secret_name.as_deref()).is_some());
            return Ok(match own.next() {
                Some(_) => RuleHost::Own,
                None => RuleHost::Name("*".to_owned()),
            });
        };
        let host = host.to_ascii_lowercase();
        let name = host.strip_prefix("*.").unwrap_or(&host);
        let is_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.');
        if name.is_empty() || !name.chars().all(is_name) {
            return Err(Invalid::new(
                format!("\"{host}\" is not the host of a rule"),
                "write a name without scheme, port or path; a wildcard is the whole first label, \
                 as in *.example.com",
            ));
        }
        Ok(match host.starts_with("*.") {
            true => RuleHost::Wildcard(host),
            false => RuleHost::Name(host),
        })
    }

    /// A backend, or `None` for one that names nothing, which is said.
    fn backend(&mut self, backend: &IngressBackend, field: &str) -> Option<Backend> {
        if backend.resource.is_some() {
            self.refuse(
                format!("{field}.resource"),
                Reason::NotSupported,
                Invalid::new(
                    "nuncio forwards requests to Services, not to other resources: this path is \
                     left out",
                    "write service in place of resource",
                ),
            );
            return None;
        }
        let Some(service) = backend.service.as_ref().filter(|s| !s.name.is_empty()) else {
            self.refuse(
                format!("{field}.service"),
                Reason::MissingField,
                Invalid::new(
                    "it names no Service: this path is left out",
                    "write service: {name: shop, port: {number: 80}}",
                ),
            );
            return None;
        };
        let port = &service.port;
        match (given(port.name.as_deref()), port.number.unwrap_or(0)) {
            (None, 0) => {
                self.refuse(
                    format!("{field}.service.port"),
                    Reason::MissingField,
                    Invalid::new(
                        "it names no port: this path is left out",
                        "write port: {number: 80}, or the name of one of the Service's ports",
                    ),
                );
                None
            }
            (Some(name), 0) => Some(self.named_port(service, name, field)),
            (name, number) => {
                if name.is_some() {
                    self.into
                        .report
                        .warning(
                            &self.at(format!("{field}.service.port.name")),
                            Reason::NoEffect,
                            "the name of the port is ignored because its number is set",
                        )
                        .help("remove one of them");
                }
                Some(self.numbered_port(service, number, field))
            }
        }
    }

    fn numbered_port(
        &mut self,
        service: &IngressServiceBackend,
        number: u16,
        field: &str,
    ) -> Backend {
        let spec = self.service(service, field);
        // Whoever resolves the Service says which ports it has.
        let lacks = |spec: &ServiceSpec| {
            has_ports(spec) && !spec.ports.iter().any(|port| port.port == number)
        };
        Backend {
            service: format!("{}.{}:{number}", service.name, self.object.namespace()),
            unavailable: spec.is_none_or(lacks),
        }
    }

    fn named_port(&mut self, service: &IngressServiceBackend, name: &str, field: &str) -> Backend {
        let namespace = self.object.namespace();
        let spec = self.service(service, field);
        let ports = spec.map_or(&[][..], |spec| &spec.ports);
        let found = ports
            .iter()
            .find(|port| port.name.as_deref() == Some(name))
            .map(|port| port.port);
        if spec.is_some() && found.is_none() {
            let names: Vec<&str> = ports.iter().filter_map(|p| p.name.as_deref()).collect();
            let names = match names.as_slice() {
                [] => "its ports have no names".to_owned(),
                names => format!("only {}", names.join(", ")),
            };
            self.refuse(
                format!("{field}.service.port.name"),
                Reason::RefNotFound,
                Invalid::new(
                    format!(
                        "Service {namespace}/{} has no port {name}, {names}: requests are \
                         answered with 503",
                        service.name
                    ),
                    "write the name of one of its ports, or number",
                ),
            );
        }
        // A name that stands for no number still needs one to be told from other services.
        let number = found.or(ports.first().map(|port| port.port)).unwrap_or(80);
        Backend {
            service: format!("{}.{namespace}:{number}", service.name),
            unavailable: found.is_none(),
        }
    }

    /// The Service of a backend. Where there is none, requests are answered with 503: a name that
    /// is looked up by DNS might be one of somebody else.
    fn service(&mut self, service: &IngressServiceBackend, field: &str) -> Option<&'a ServiceSpec> {
        let namespace = self.object.namespace();
        let found = self.store.services.get(namespace, &service.name);
        if found.is_none() {
            self.refuse(
                format!("{field}.service.name"),
                Reason::RefNotFound,
                Invalid::new(
                    format!(
                        "there is no Service {namespace}/{}: requests are answered with 503",
                        service.name
                    ),
                    "add the Service, or write the name of another in this namespace",
                ),
            );
        }
        found.map(|found| &found.spec)
    }

    fn made<T>(&self, name: String, part: String, spec: T) -> Object<T> {
        Object {
            id: Arc::clone(&self.object.id),
            meta: Arc::new(ObjectMeta {
                name,
                ..self.meta.clone()
            }),
            source: self.object.source.clone(),
            rkey: Arc::clone(&self.object.rkey),
            part: Some(part.into()),
            spec,
        }
    }

    fn at(&self, field: String) -> Origin {
        self.object.at(field)
    }

    fn refuse(&mut self, field: String, reason: Reason, what: Invalid) {
        self.into
            .report
            .error(&self.at(field), reason, what.message)
            .help(what.help);
    }
}

/// Exact and Prefix mean what Kubernetes says, and leave the path of a request alone. A path that
/// leaves it to the gateway means what it means in Emissary: a prefix by characters, in whose place
/// `/` stands, but for the challenges of ACME.
fn read_path(path: &HttpIngressPath) -> Result<Path, (&'static str, Reason, Invalid)> {
    let text = given(path.path.as_deref()).unwrap_or("/");
    let invalid = |what| ("path", Reason::InvalidValue, what);
    let segments = PathSegments::new(text);
    let path = match path.path_type.as_deref() {
        Some("Exact") => Path {
            prefix: segments.map(|_| text.to_owned()).map_err(invalid)?,
            exact: true,
            segments: None,
            rewrite: "",
        },
        Some("Prefix") => {
            let segments = segments.map_err(invalid)?;
            Path {
                prefix: segments
                    .as_ref()
                    .map_or("/", PathSegments::as_str)
                    .to_owned(),
                exact: false,
                segments,
                rewrite: "",
            }
        }
        Some("ImplementationSpecific") => {
            if !text.starts_with('/') {
                return Err(invalid(Invalid::new(
                    format!("\"{text}\" does not begin with a slash"),
                    "write a path such as /shop",
                )));
            }
            Path {
                prefix: text.to_owned(),
                exact: false,
                segments: None,
                // A solver looks for its challenge at the path that was asked for.
                rewrite: if text.starts_with(ACME_CHALLENGE) {
                    ""
                } else {
                    "/"
                },
            }
        }
        other => {
            let help = "write Prefix, Exact or ImplementationSpecific";
            let (reason, message) = match other {
                None => (Reason::MissingField, "it is missing".to_owned()),
                Some(other) => (
                    Reason::InvalidValue,
                    format!("\"{other}\" is not a type of path"),
                ),
            };
            return Err(("pathType", reason, Invalid::new(message, help)));
        }
    };
    Ok(path)
}

/// Whether a Service is reached at its ports alone: one without an address of its own may be asked
/// at any.
fn has_ports(spec: &ServiceSpec) -> bool {
    spec.type_.as_deref() != Some("ExternalName") && spec.cluster_ip.as_deref() != Some("None")
}

fn given(text: Option<&str>) -> Option<&str> {
    text.filter(|text| !text.is_empty())
}
