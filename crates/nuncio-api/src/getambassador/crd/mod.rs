//! The CustomResourceDefinitions of getambassador.io, made of the types.
//!
//! They take the place of Emissary's in a cluster that has those, with the same versions, the same
//! stored one and the same names, and take whatever those take. What is wrong with an object beyond
//! its types is said by the validating webhook in better words than a schema has; so there are few
//! constraints here, and none that Emissary has not, but what no object in effect can break. Nothing
//! has a default: an absent field often means what a Module says.

mod older;
pub(crate) mod status;
pub(crate) mod structural;

use schemars::JsonSchema;
use serde_json::{Value, json};

use super::conversion::Version;
use super::{
    AuthService, ConsulResolver, DevPortal, GROUP, Host, KubernetesResolver, Listener, LogService,
    Mapping, RateLimitService, TcpMapping, TlsContext, TracingService,
};
use structural::{field, structural};

/// The label by which Emissary's programs find their CRDs.
pub const PART_OF: (&str, &str) = ("app.kubernetes.io/part-of", "emissary-ingress");

/// Where the API server has objects converted.
pub const CONVERT_PATH: &str = "/webhooks/crd-convert";

/// What to print.
#[derive(Clone, Debug)]
pub struct CrdOptions {
    /// The Service that converts; `None` for v3alpha1 alone, which needs none.
    pub conversion: Option<WebhookService>,
}

/// A Service that the API server asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WebhookService {
    pub namespace: String,
    pub name: String,
    pub port: u16,
}

/// One kind and how it is named.
pub struct Kind {
    pub kind: &'static str,
    /// Lower case, as in URLs.
    pub plural: &'static str,
    /// Begins with the `a` of Emissary's category, so that it is no other API's.
    short: &'static str,
    about: &'static str,
    columns: &'static [Column],
    required: &'static [&'static str],
    spec: fn() -> Value,
}

/// Name, type, and path; the name in older versions where it is another.
struct Column(
    &'static str,
    &'static str,
    &'static str,
    Option<&'static str>,
);

const AGE: Column = Column("Age", "date", ".metadata.creationTimestamp", None);
const SERVICE: Column = Column("Dest Service", "string", ".spec.service", None);
const READY: Column = Column(
    "Accepted",
    "string",
    ".status.conditions[?(@.type==\"Accepted\")].status",
    None,
);

/// The kinds of Emissary's CRDs.
pub const KINDS: &[Kind] = &[
    Kind {
        kind: "AuthService",
        plural: "authservices",
        short: "aauth",
        about: "AuthService asks a service about each request before it goes on.",
        columns: &[
            Column("Auth Service", "string", ".spec.auth_service", None),
            READY,
            AGE,
        ],
        required: &["auth_service"],
        spec: of::<AuthService>,
    },
    Kind {
        kind: "ConsulResolver",
        plural: "consulresolvers",
        short: "aconsul",
        about: "ConsulResolver finds the endpoints of services in Consul.",
        columns: &[
            Column("Address", "string", ".spec.address", None),
            Column("Datacenter", "string", ".spec.datacenter", None),
            READY,
            AGE,
        ],
        required: &[],
        spec: of::<ConsulResolver>,
    },
    Kind {
        kind: "DevPortal",
        plural: "devportals",
        short: "adev",
        about: "DevPortal says what a developer portal shows.",
        columns: &[READY, AGE],
        required: &[],
        spec: of::<DevPortal>,
    },
    Kind {
        kind: "Host",
        plural: "hosts",
        short: "ahost",
        about: "Host is a name that is served, with its certificate.",
        columns: &[
            Column("Hostname", "string", ".spec.hostname", None),
            Column("State", "string", ".status.state", None),
            Column("Phase Completed", "string", ".status.phaseCompleted", None),
            Column("Phase Pending", "string", ".status.phasePending", None),
            AGE,
        ],
        required: &[],
        spec: of::<Host>,
    },
    Kind {
        kind: "KubernetesEndpointResolver",
        plural: "kubernetesendpointresolvers",
        short: "aendpoint",
        about: "KubernetesEndpointResolver sends requests to the endpoints of a Service.",
        columns: &[READY, AGE],
        required: &[],
        spec: of::<KubernetesResolver>,
    },
    Kind {
        kind: "KubernetesServiceResolver",
        plural: "kubernetesserviceresolvers",
        short: "aservice",
        about: "KubernetesServiceResolver sends requests to the address of a Service.",
        columns: &[READY, AGE],
        required: &[],
        spec: of::<KubernetesResolver>,
    },
    Kind {
        kind: "Listener",
        plural: "listeners",
        short: "alistener",
        about: "Listener is a port that is listened on.",
        columns: &[
            Column("Port", "string", ".spec.port", None),
            Column("Protocol", "string", ".spec.protocol", None),
            Column("Stack", "string", ".spec.protocolStack", None),
            Column("StatsPrefix", "string", ".spec.statsPrefix", None),
            Column("Security", "string", ".spec.securityModel", None),
            Column("L7Depth", "string", ".spec.l7Depth", None),
            READY,
            AGE,
        ],
        required: &["port", "securityModel"],
        spec: listener,
    },
    Kind {
        kind: "LogService",
        plural: "logservices",
        short: "alog",
        about: "LogService is sent what the access log has.",
        columns: &[SERVICE, READY, AGE],
        required: &[],
        spec: of::<LogService>,
    },
    Kind {
        kind: "Mapping",
        plural: "mappings",
        short: "amap",
        about: "Mapping says which requests go to which service.",
        columns: &[
            Column(
                "Source Host",
                "string",
                ".spec.hostname",
                Some(".spec.host"),
            ),
            Column("Source Prefix", "string", ".spec.prefix", None),
            SERVICE,
            Column("State", "string", ".status.state", None),
            Column("Reason", "string", ".status.reason", None),
            AGE,
        ],
        required: &["prefix", "service"],
        spec: mapping,
    },
    Kind {
        kind: "Module",
        plural: "modules",
        short: "amod",
        about: "Module has settings for everything; the one that counts is named ambassador.",
        columns: &[READY, AGE],
        required: &[],
        spec: module,
    },
    Kind {
        kind: "RateLimitService",
        plural: "ratelimitservices",
        short: "alimit",
        about: "RateLimitService says whether there were too many requests.",
        columns: &[SERVICE, READY, AGE],
        required: &["service"],
        spec: of::<RateLimitService>,
    },
    Kind {
        kind: "TCPMapping",
        plural: "tcpmappings",
        short: "atcp",
        about: "TCPMapping says which connections go to which service.",
        columns: &[
            Column("Port", "string", ".spec.port", None),
            Column("Source Host", "string", ".spec.host", None),
            SERVICE,
            READY,
            AGE,
        ],
        required: &["port", "service"],
        spec: of::<TcpMapping>,
    },
    Kind {
        kind: "TLSContext",
        plural: "tlscontexts",
        short: "atls",
        about: "TLSContext has settings of TLS, for clients or for services.",
        columns: &[Column("Secret", "string", ".spec.secret", None), READY, AGE],
        required: &[],
        spec: tls_context,
    },
    Kind {
        kind: "TracingService",
        plural: "tracingservices",
        short: "atrace",
        about: "TracingService is sent the spans of requests.",
        columns: &[
            Column("Driver", "string", ".spec.driver", None),
            SERVICE,
            READY,
            AGE,
        ],
        required: &["driver", "service"],
        spec: of::<TracingService>,
    },
];

/// The CRDs, one for each kind.
pub fn crds(options: &CrdOptions) -> Vec<Value> {
    KINDS.iter().map(|kind| crd(kind, options)).collect()
}

/// Where `service` converts, as a CRD says it.
pub fn conversion(service: &WebhookService, ca_bundle: Option<&str>) -> Value {
    let mut client = json!({"service": {
        "namespace": service.namespace,
        "name": service.name,
        "port": service.port,
        "path": CONVERT_PATH,
    }});
    if let Some(bundle) = ca_bundle {
        client["caBundle"] = bundle.into();
    }
    json!({
        "strategy": "Webhook",
        "webhook": {"clientConfig": client, "conversionReviewVersions": ["v1"]},
    })
}

fn crd(kind: &Kind, options: &CrdOptions) -> Value {
    let served = match &options.conversion {
        Some(_) => kind.versions(),
        None => vec![Version::V3alpha1],
    };
    // What Emissary stores, so that what it stored stays readable.
    let stored = match served.contains(&Version::V2) {
        true => Version::V2,
        false => Version::V3alpha1,
    };
    let (label, value) = PART_OF;
    let mut spec = json!({
        "group": GROUP,
        "names": {
            "categories": ["ambassador-crds"],
            "kind": kind.kind,
            "listKind": format!("{}List", kind.kind),
            "plural": kind.plural,
            "shortNames": [kind.short],
            "singular": kind.kind.to_lowercase(),
        },
        "preserveUnknownFields": false,
        "scope": "Namespaced",
        "versions": served
            .iter()
            .map(|version| self::version(kind, *version, *version == stored))
            .collect::<Vec<_>>(),
    });
    if served.len() > 1
        && let Some(service) = &options.conversion
    {
        spec["conversion"] = conversion(service, None);
    }
    json!({
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {
            "name": format!("{}.{GROUP}", kind.plural),
            "labels": { label: value },
        },
        "spec": spec,
    })
}

fn version(kind: &Kind, version: Version, stored: bool) -> Value {
    let column = |Column(name, type_, path, older): &Column| {
        let path = match older {
            Some(older) if version != Version::V3alpha1 => older,
            _ => path,
        };
        json!({"name": name, "type": type_, "jsonPath": path})
    };
    let current = version == Version::V3alpha1;
    let mut spec = (kind.spec)();
    if !kind.required.is_empty() {
        spec["required"] = kind.required.into();
    }
    if !current {
        older::spec(kind.kind, &mut spec);
    }
    json!({
        "name": version.as_str(),
        "served": true,
        "storage": stored,
        "subresources": {"status": {}},
        "additionalPrinterColumns": kind.columns.iter().map(column).collect::<Vec<_>>(),
        "schema": {"openAPIV3Schema": {
            "type": "object",
            "description": kind.about,
            "properties": {
                "apiVersion": {
                    "type": "string",
                    "description": "The version of the API that the object is written in.",
                },
                "kind": {"type": "string", "description": "The kind of the object."},
                "metadata": {"type": "object"},
                "spec": spec,
                "status": status::status(kind.kind),
            },
        }},
    })
}

fn of<T: JsonSchema>() -> Value {
    structural(&schemars::schema_for!(T).to_value())
}

fn listener() -> Value {
    let mut spec = of::<Listener>();
    let port = field(&mut spec, "port");
    port["minimum"] = 1.into();
    port["maximum"] = u16::MAX.into();
    spec["x-kubernetes-validations"] = json!([{
        "rule": "has(self.protocol) || has(self.protocolStack)",
        "message": "protocol or protocolStack must say what is spoken on the port, \
                    such as protocol: HTTPS",
    }]);
    spec
}

fn mapping() -> Value {
    let mut spec = of::<Mapping>();
    for name in ["docs", "envoy_override"] {
        field(&mut spec, name)["type"] = "object".into();
    }
    spec
}

fn tls_context() -> Value {
    let mut spec = of::<TlsContext>();
    for name in ["min_tls_version", "max_tls_version"] {
        field(&mut spec, name)["enum"] = json!(["v1.0", "v1.1", "v1.2", "v1.3"]);
    }
    spec
}

/// The settings are checked one by one when they are read, so that a wrong one costs only itself.
fn module() -> Value {
    json!({
        "type": "object",
        "description": "`Module.spec`: settings for everything.",
        "properties": {
            "ambassador_id": {
                "type": "array",
                "description": "Which nuncio takes it, by `AMBASSADOR_ID`; `default` when absent.",
                "items": {"type": "string"},
            },
            "config": {
                "type": "object",
                "description": "The settings, by their names.",
                "x-kubernetes-preserve-unknown-fields": true,
            },
        },
        "required": ["config"],
    })
}

// === impl Kind ===

impl Kind {
    /// The versions that its CRD has, oldest first. v0 is known from annotations alone.
    pub fn versions(&self) -> Vec<Version> {
        super::conversion::versions(self.kind)
            .iter()
            .copied()
            .filter(|version| *version != Version::V0)
            .collect()
    }
}

#[cfg(test)]
mod tests;
