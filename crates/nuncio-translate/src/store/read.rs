//! From an object as its source gave it to a typed one.

use std::sync::Arc;

use nuncio_api::core::{EndpointSlice, LoadBalancerStatus, ServiceSpec};
use nuncio_api::getambassador::conversion::{self, FieldOrigins, Version, to_v3alpha1};
use nuncio_api::getambassador::{Host, ModuleConfig};
use nuncio_api::path::join;
use nuncio_api::{ObjectKey, RawObject};
use nuncio_api::{gateway_api, getambassador, ingress, policy};
use nuncio_model::{Entry, Origin, Reason, Report, ResourceId};
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};
use serde_path_to_error::Segment;

use super::kinds::{self, Refusal};
use super::plain::Plain;
use super::schema::{self, Schema, Step, Unknown};
use super::tls_module;
use super::{DISCOVERY_GROUP, OWN_SERVICE_LABEL, Object, Read, SERVICE_NAME_LABEL, Store};

impl Store {
    /// Puts an object into its table, or says why not.
    pub(super) fn read(
        &mut self,
        object: RawObject,
        plain: Option<Plain>,
        id: Arc<ResourceId>,
        rkey: impl Into<Arc<str>>,
    ) {
        let key = object.key();
        let mut reader = Reader {
            origin: Origin::new(id),
            rkey: rkey.into(),
            report: Report::default(),
            origins: FieldOrigins::default(),
        };
        if let Some(plain) = plain {
            self.put(object, plain, &reader);
            self.keep_left_out(&key);
            return;
        }
        if self.read_typed(object.clone(), &key, &mut reader) {
            if !reader.origins.is_empty() {
                self.origins.insert(key.clone(), reader.origins);
            }
        } else if !reader.report.is_empty() {
            let host = named_host(&object, &reader);
            self.unread_hosts
                .extend(host.map(|host| (key.clone(), host)));
            let source = (object.source, object.meta.generation);
            self.unread.insert(key.clone(), source);
        }
        self.keep_left_out(&key);
        self.note(&key, reader.report.entries().to_vec());
    }

    /// Puts an object into its table that is read already.
    fn put(&mut self, object: RawObject, plain: Plain, reader: &Reader) {
        match plain {
            Plain::Mapping(spec) => {
                if self.scope.accepts_id(spec.ambassador_id.as_deref()) {
                    self.mappings.insert(reader.object(object, *spec));
                }
            }
            Plain::Service(spec) => self.put_service(reader.object(object, spec)),
            Plain::EndpointSlice(spec) => self.put_slice(reader.object(object, spec)),
        }
    }

    fn put_service(&mut self, service: Object<ServiceSpec>) {
        let (label, component) = OWN_SERVICE_LABEL;
        if service
            .meta
            .labels
            .get(label)
            .is_some_and(|said| said == component)
        {
            self.tracker.change(Read::OwnServices);
            let name = (service.meta.namespace.clone(), service.meta.name.clone());
            self.own_services.insert(name);
        }
        self.services.insert(service);
    }

    fn put_slice(&mut self, slice: Object<EndpointSlice>) {
        if let Some(service) = slice.meta.labels.get(SERVICE_NAME_LABEL) {
            self.tracker.change(Read::SlicesOf {
                namespace: slice.namespace(),
                service,
            });
            self.slices_of
                .entry((slice.meta.namespace.clone(), service.clone()))
                .or_default()
                .insert(slice.meta.name.clone(), ());
        }
        self.endpoint_slices.insert(slice);
    }

    /// Whether the object is in a table now.
    fn read_typed(&mut self, object: RawObject, key: &ObjectKey, reader: &mut Reader) -> bool {
        let mut body = object.body.to_value();
        match (key.group.as_str(), key.kind.as_str()) {
            (getambassador::GROUP, kind) => {
                if !self.scope.accepts_id(ambassador_id(&body).as_deref()) {
                    return false;
                }
                let version = match kinds::check(kind, object.version()) {
                    Ok(version) => version,
                    Err(refusal) => {
                        reader.refuse(Some(refusal));
                        return false;
                    }
                };
                reader.refuse(kinds::not_honoured(kind));
                reader.convert(kind, version, &mut body);
                let current = schema::of(kind, Version::V3alpha1);
                match kind {
                    "Listener" => reader
                        .spec(object, body, current)
                        .map(|o| self.listeners.insert(o)),
                    "Host" => reader
                        .spec(object, body, current)
                        .map(|o| self.hosts.insert(o)),
                    "Mapping" => reader
                        .spec(object, body, current)
                        .map(|o| self.mappings.insert(o)),
                    "TCPMapping" => reader
                        .spec(object, body, current)
                        .map(|o| self.tcp_mappings.insert(o)),
                    "KubernetesServiceResolver" => reader
                        .spec(object, body, current)
                        .map(|o| self.service_resolvers.insert(o)),
                    "KubernetesEndpointResolver" => reader
                        .spec(object, body, current)
                        .map(|o| self.endpoint_resolvers.insert(o)),
                    "ConsulResolver" => reader
                        .spec(object, body, current)
                        .map(|o| self.consul_resolvers.insert(o)),
                    "TLSContext" => reader
                        .spec(object, body, current)
                        .map(|o| self.tls_contexts.insert(o)),
                    "AuthService" => reader
                        .spec(object, body, current)
                        .map(|o| self.auth_services.insert(o)),
                    "RateLimitService" => reader
                        .spec(object, body, current)
                        .map(|o| self.rate_limit_services.insert(o)),
                    "TracingService" => reader
                        .spec(object, body, current)
                        .map(|o| self.tracing_services.insert(o)),
                    "LogService" => reader
                        .spec(object, body, current)
                        .map(|o| self.log_services.insert(o)),
                    "DevPortal" => reader
                        .spec(object, body, current)
                        .map(|o| self.dev_portals.insert(o)),
                    _ => reader.spec(object, body, current).map(|o| {
                        if o.name() == tls_module::NAME {
                            let made = tls_module::contexts(&o, &mut reader.report);
                            self.module_tls_contexts.insert(key.clone(), made);
                        }
                        self.modules.insert(o);
                    }),
                }
            }
            ("", "Service") => reader
                .service(object, body)
                .map(|service| self.put_service(service)),
            ("", "Endpoints") => reader.whole(object, body).map(|o| self.endpoints.insert(o)),
            ("", "Secret") => reader.whole(object, body).map(|o| self.secrets.insert(o)),
            ("", "ConfigMap") => reader
                .whole(object, body)
                .map(|o| self.config_maps.insert(o)),
            ("", "Namespace") => reader
                .typed(object, body, |_| Ok(()))
                .map(|o| self.namespaces.insert(o)),
            (DISCOVERY_GROUP, "EndpointSlice") => reader
                .whole(object, body)
                .map(|slice| self.put_slice(slice)),
            (ingress::GROUP, "Ingress") if object.version() == kinds::INGRESS_VERSION => reader
                .checked_spec(object, body, schema::ingress())
                .map(|o| self.ingresses.insert(o)),
            // Its older version has the same fields.
            (ingress::GROUP, "IngressClass") => reader
                .checked_spec(object, body, schema::ingress_class())
                .map(|o| self.ingress_classes.insert(o)),
            (gateway_api::GROUP, "Gateway") => reader
                .gateway(object, body)
                .map(|o| self.gateways.insert(o)),
            (gateway_api::GROUP, "GatewayClass") => reader
                .checked_spec(object, body, schema::gateway_api("GatewayClass"))
                .map(|o| self.gateway_classes.insert(o)),
            (gateway_api::GROUP, "ListenerSet") => reader
                .checked_spec(object, body, schema::gateway_api("ListenerSet"))
                .map(|o| self.listener_sets.insert(o)),
            (gateway_api::GROUP, "HTTPRoute") => reader
                .checked_spec(object, body, schema::gateway_api("HTTPRoute"))
                .map(|o| self.http_routes.insert(o)),
            (gateway_api::GROUP, "GRPCRoute") => reader
                .checked_spec(object, body, schema::gateway_api("GRPCRoute"))
                .map(|o| self.grpc_routes.insert(o)),
            (gateway_api::GROUP, "TLSRoute") => reader
                .checked_spec(object, body, schema::gateway_api("TLSRoute"))
                .map(|o| self.tls_routes.insert(o)),
            (gateway_api::GROUP, "TCPRoute") => reader
                .checked_spec(object, body, schema::gateway_api("TCPRoute"))
                .map(|o| self.tcp_routes.insert(o)),
            (gateway_api::GROUP, "UDPRoute") => reader
                .checked_spec(object, body, schema::gateway_api("UDPRoute"))
                .map(|o| self.udp_routes.insert(o)),
            (gateway_api::GROUP, "ReferenceGrant") => reader
                .checked_spec(object, body, schema::gateway_api("ReferenceGrant"))
                .map(|o| self.reference_grants.insert(o)),
            (gateway_api::GROUP, "BackendTLSPolicy") => reader
                .checked_spec(object, body, schema::gateway_api("BackendTLSPolicy"))
                .map(|o| self.backend_tls_policies.insert(o)),
            (policy::GROUP, "RoutePolicy") => reader
                .checked_spec(object, body, schema::route_policy())
                .map(|o| self.route_policies.insert(o)),
            (ingress::GROUP | kinds::OLD_INGRESS_GROUP, "Ingress") => {
                if self.is_meant(&object.meta) {
                    reader.refuse(kinds::old_ingress(&object));
                }
                None
            }
            (group, kind) => {
                reader.refuse(kinds::other(group, object.version(), kind));
                None
            }
        }
        .is_some()
    }
}

/// A Host of which nothing is known but its name.
fn named_host(object: &RawObject, reader: &Reader) -> Option<Arc<Object<Host>>> {
    if object.group() != getambassador::GROUP || &*object.kind != "Host" {
        return None;
    }
    let body = object.body.to_value();
    let hostname = match body.get("spec")?.get("hostname") {
        None | Some(Value::Null) => None,
        Some(hostname) => Some(hostname.as_str()?.to_owned()),
    };
    Some(Arc::new(Object {
        id: Arc::clone(&reader.origin.resource),
        meta: object.meta.clone(),
        source: object.source.clone(),
        rkey: reader.rkey.clone(),
        part: None,
        spec: Host {
            hostname,
            ..Host::default()
        },
    }))
}

struct Reader {
    origin: Origin,
    rkey: Arc<str>,
    report: Report,
    /// Where what is read was written.
    origins: FieldOrigins,
}

/// What a value is not, in words that a person can use.
pub(super) struct Mistake {
    field: String,
    reason: Reason,
    message: String,
}

impl Mistake {
    pub(super) fn report(self, report: &mut Report, origin: &Origin, help: &str) {
        report
            .error(&origin.field(self.field), self.reason, self.message)
            .help(help);
    }
}

impl Reader {
    fn object<T>(&self, object: RawObject, spec: T) -> Object<T> {
        Object {
            id: Arc::clone(&self.origin.resource),
            meta: object.meta,
            source: object.source,
            rkey: Arc::clone(&self.rkey),
            part: None,
            spec,
        }
    }

    /// Says why an object is not read, or not honoured, if there is a reason.
    fn refuse(&mut self, refusal: Option<Refusal>) {
        let Some(refusal) = refusal else {
            return;
        };
        let at = self.origin.field(refusal.field);
        let mut entry = Entry::new(&at, refusal.severity, Reason::NotSupported, refusal.message);
        entry.help(refusal.help);
        self.report.push(entry);
    }

    /// Makes the spec one of v3alpha1, and says what that loses.
    fn convert(&mut self, kind: &str, version: Version, body: &mut Value) {
        let Some(spec) = body.get_mut("spec") else {
            return;
        };
        if let Some(schema) = schema::of(kind, version) {
            let mut unknown = schema.unknown_fields(spec);
            let mut whose = kind.to_owned();
            if version != Version::V3alpha1 {
                whose = format!("{whose} of {}/{}", getambassador::GROUP, version.as_str());
                for field in &mut unknown {
                    if let Some(name) = conversion::former_name(kind, &field.path) {
                        field.nearest = Some(name.to_owned());
                    }
                }
            }
            report_unknown(&mut self.report, &self.origin, &whose, unknown);
        }
        let converted = to_v3alpha1(kind, version, spec.take());
        *spec = converted.spec;
        self.origins = converted.origins;
        for lost in converted.lost {
            self.report
                .warning(
                    &self.origin.field(lost.field),
                    Reason::NoEffect,
                    lost.message,
                )
                .help(lost.help);
        }
    }

    /// A kind whose content is in `spec`.
    fn spec<T: DeserializeOwned>(
        &mut self,
        object: RawObject,
        body: Value,
        schema: Option<&Schema>,
    ) -> Option<Object<T>> {
        self.typed(object, body, |body| {
            let spec = match body.remove("spec") {
                None => Value::Object(Map::new()),
                Some(spec) => spec,
            };
            if !spec.is_object() {
                return Err(Mistake {
                    field: "spec".to_owned(),
                    reason: Reason::InvalidValue,
                    message: "it is not an object".to_owned(),
                });
            }
            deserialize(spec, "spec", schema)
        })
    }

    /// The same, of an API that has one version.
    fn checked_spec<T: DeserializeOwned>(
        &mut self,
        object: RawObject,
        body: Value,
        schema: &Schema,
    ) -> Option<Object<T>> {
        if let Some(spec) = body.get("spec") {
            let unknown = schema.unknown_fields(spec);
            report_unknown(&mut self.report, &self.origin, &object.kind, unknown);
        }
        self.spec(object, body, Some(schema))
    }

    /// A Service. What its status says concerns no request: it costs only itself.
    fn service(&mut self, object: RawObject, mut body: Value) -> Option<Object<ServiceSpec>> {
        let status = body
            .get_mut("status")
            .and_then(|status| status.get_mut("loadBalancer"))
            .map(Value::take);
        let mut service = self.spec::<ServiceSpec>(object, body, None)?;
        if let Some(mut status) = status {
            strip_nulls(&mut status);
            match deserialize::<LoadBalancerStatus>(status, "status.loadBalancer", None) {
                Ok(status) => service.spec.load_balancer = status,
                Err(mistake) => self
                    .report
                    .warning(
                        &self.origin.field(mistake.field),
                        mistake.reason,
                        mistake.message,
                    )
                    .help("its addresses are not shown until this is mended"),
            }
        }
        Some(service)
    }

    /// A Gateway. Addresses in its status that cannot be read are as none: they are given anew.
    fn gateway(
        &mut self,
        object: RawObject,
        mut body: Value,
    ) -> Option<Object<gateway_api::Gateway>> {
        let assigned = body
            .get_mut("status")
            .and_then(|status| status.get_mut("addresses"))
            .map(Value::take);
        let schema = schema::gateway_api("Gateway");
        let mut gateway = self.checked_spec::<gateway_api::Gateway>(object, body, schema)?;
        if let Some(assigned) = assigned {
            gateway.spec.assigned = serde_json::from_value(assigned).unwrap_or_default();
        }
        Some(gateway)
    }

    /// A kind whose content stands beside `metadata`.
    fn whole<T: DeserializeOwned>(&mut self, object: RawObject, body: Value) -> Option<Object<T>> {
        self.typed(object, body, |body| {
            body.remove("metadata");
            deserialize(Value::Object(std::mem::take(body)), "", None)
        })
    }

    fn typed<T>(
        &mut self,
        object: RawObject,
        body: Value,
        read: impl FnOnce(&mut Map<String, Value>) -> Result<T, Mistake>,
    ) -> Option<Object<T>> {
        let mut body = match body {
            Value::Object(body) => body,
            _ => Map::new(),
        };
        body.values_mut().for_each(strip_nulls);
        match read(&mut body) {
            Ok(spec) => Some(self.object(object, spec)),
            Err(mistake) => {
                let field = self.origins.written(&mistake.field).into_owned();
                Mistake { field, ..mistake }.report(
                    &mut self.report,
                    &self.origin,
                    "the resource is left out until this is mended",
                );
                None
            }
        }
    }
}

pub(super) fn report_unknown(
    report: &mut Report,
    origin: &Origin,
    whose: &str,
    unknown: Vec<Unknown>,
) {
    for field in unknown {
        let entry = report.warning(
            &origin.field(field.path),
            Reason::UnknownField,
            format!("{whose} has no such field: it has no effect"),
        );
        if let Some(near) = field.nearest {
            entry.help(format!("did you mean {near}?"));
        }
    }
}

/// Reads the keys of a Module one by one: a wrong one costs itself alone.
pub(super) fn by_key(
    object: &Object<Value>,
    schema: &Schema,
) -> (Option<ModuleConfig>, Vec<Entry>) {
    const PATH: &str = "spec.config";
    let mut report = Report::default();
    let origin = object.origin();
    let Some(Value::Object(config)) = object.spec.get("config") else {
        report
            .error(
                &origin.field(PATH),
                Reason::MissingField,
                "a Module has an object config",
            )
            .help("write config: and the settings below it");
        return (None, report.entries().to_vec());
    };
    let unknown = schema.unknown_fields_at(PATH, &Value::Object(config.clone()));
    report_unknown(&mut report, &origin, "Module", unknown);
    let mut right = Map::new();
    for (key, value) in config {
        let alone = Value::Object(Map::from_iter([(key.clone(), value.clone())]));
        match deserialize::<ModuleConfig>(alone, PATH, Some(schema)) {
            Ok(_) => {
                right.insert(key.clone(), value.clone());
            }
            Err(mistake) => mistake.report(
                &mut report,
                &origin,
                "the key has no effect until this is mended; all others are in effect",
            ),
        }
    }
    let config = deserialize(Value::Object(right), PATH, Some(schema)).ok();
    (config, report.entries().to_vec())
}

/// The API server drops fields that are null; so a null is an absent field here too.
fn strip_nulls(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            fields.retain(|_, value| !value.is_null());
            fields.values_mut().for_each(strip_nulls);
        }
        Value::Array(items) => items.iter_mut().for_each(strip_nulls),
        _ => {}
    }
}

/// In any version: a text or a list, and of Hosts under two names.
fn ambassador_id(body: &Value) -> Option<Vec<String>> {
    let spec = body.get("spec")?;
    let text = |id: &Value| id.as_str().map(str::to_owned);
    let ids = |field| match spec.get(field)? {
        Value::Array(ids) => Some(ids.iter().filter_map(text).collect::<Vec<_>>()),
        id => text(id).map(|id| vec![id]),
    };
    match (ids("ambassador_id"), ids("ambassadorId")) {
        (Some(ids), Some(more)) => Some([ids, more].concat()),
        (ids, more) => ids.or(more),
    }
}

pub(super) fn deserialize<T: DeserializeOwned>(
    value: Value,
    root: &str,
    schema: Option<&Schema>,
) -> Result<T, Mistake> {
    serde_path_to_error::deserialize(value).map_err(|error| {
        let mut steps: Vec<Step> = error.path().iter().filter_map(step).collect();
        let message = error.into_inner().to_string();
        let missing = message
            .strip_prefix("missing field `")
            .and_then(|rest| rest.strip_suffix('`'));
        if let Some(missing) = missing {
            steps.push(Step::Field(missing.to_owned()));
        }
        let field = steps.iter().fold(root.to_owned(), |path, step| match step {
            Step::Field(name) => join(&path, name),
            Step::Item(index) => format!("{path}[{index}]"),
        });
        if missing.is_some() {
            return Mistake {
                field,
                reason: Reason::MissingField,
                message: "it is missing".to_owned(),
            };
        }
        let mut message = plain_words(&message);
        if let Some(expected) = schema.and_then(|schema| schema.describe(&steps))
            && let Some(at) = message.find(", expected ")
        {
            message.truncate(at);
            message = format!("{message}, expected {expected}");
        }
        Mistake {
            field,
            reason: Reason::InvalidValue,
            message,
        }
    })
}

fn step(segment: &Segment) -> Option<Step> {
    match segment {
        Segment::Seq { index } => Some(Step::Item(*index)),
        Segment::Map { key } | Segment::Enum { variant: key } => Some(Step::Field(key.clone())),
        Segment::Unknown => None,
    }
}

/// Serde's words without the names of Rust's types.
fn plain_words(message: &str) -> String {
    const WORDS: &[(&str, &str)] = &[
        ("expected i64", "expected a whole number"),
        (
            "expected u32",
            "expected a whole number that is not negative",
        ),
        ("expected u16", "expected a whole number from 0 to 65535"),
        ("expected a boolean", "expected true or false"),
        ("expected a sequence", "expected a list"),
        ("expected a map", "expected an object"),
        ("invalid type: ", "found "),
        ("invalid value: ", "found "),
        ("unknown variant ", "found "),
        ("integer `", "the number `"),
        ("floating point `", "the number `"),
        ("found sequence", "found a list"),
        ("found map", "found an object"),
        ("found string ", "found the text "),
        ("found boolean ", "found "),
    ];
    let mut message = message.to_owned();
    for (from, to) in WORDS {
        message = message.replace(from, to);
    }
    match message.find("expected struct ") {
        Some(at) => format!("{}expected an object", &message[..at]),
        None => message,
    }
}
