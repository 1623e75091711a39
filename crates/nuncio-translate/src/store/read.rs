//! From an object as its source gave it to a typed one.

use std::sync::Arc;

use nuncio_api::core::{LoadBalancerStatus, ServiceSpec};
use nuncio_api::getambassador::ModuleConfig;
use nuncio_api::{ObjectKey, RawObject};
use nuncio_api::{getambassador, ingress};
use nuncio_model::{Entry, Origin, Reason, Report, ResourceId};
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};
use serde_path_to_error::Segment;

use super::kinds::{self, Refusal};
use super::schema::{Schema, Step, Unknown, join};
use super::{DISCOVERY_GROUP, Object, SERVICE_NAME_LABEL, Store};

impl Store {
    /// Puts an object into its table, or says why not.
    pub(super) fn read(&mut self, object: RawObject, rkey: String) {
        let key = object.key();
        let id = Arc::new(ResourceId::new(
            key.group.as_str(),
            key.kind.as_str(),
            key.namespace.as_str(),
            key.name.as_str(),
        ));
        let mut reader = Reader {
            origin: Origin::new(id),
            rkey,
            report: Report::default(),
        };
        let source = object.source.clone();
        if !self.read_typed(object, &key, &mut reader) && !reader.report.is_empty() {
            self.unread.insert(key.clone(), source);
        }
        self.note(&key, reader.report.entries().to_vec());
    }

    /// Whether the object is in a table now.
    fn read_typed(&mut self, object: RawObject, key: &ObjectKey, reader: &mut Reader) -> bool {
        match (key.group.as_str(), key.kind.as_str()) {
            (getambassador::GROUP, kind) => {
                if !self
                    .scope
                    .accepts_id(ambassador_id(&object.body).as_deref())
                    || !reader.is_read(kinds::check(kind, object.version()).err())
                {
                    return false;
                }
                let schemas = &self.schemas;
                match kind {
                    "Listener" => reader
                        .spec(object, Some(&schemas.listener))
                        .map(|o| self.listeners.insert(o)),
                    "Host" => reader
                        .spec(object, Some(&schemas.host))
                        .map(|o| self.hosts.insert(o)),
                    "Mapping" => reader
                        .spec(object, Some(&schemas.mapping))
                        .map(|o| self.mappings.insert(o)),
                    "TCPMapping" => reader
                        .spec(object, Some(&schemas.tcp_mapping))
                        .map(|o| self.tcp_mappings.insert(o)),
                    "KubernetesServiceResolver" => reader
                        .spec(object, Some(&schemas.kubernetes_resolver))
                        .map(|o| self.service_resolvers.insert(o)),
                    "KubernetesEndpointResolver" => reader
                        .spec(object, Some(&schemas.kubernetes_resolver))
                        .map(|o| self.endpoint_resolvers.insert(o)),
                    "TLSContext" => reader
                        .spec(object, Some(&schemas.tls_context))
                        .map(|o| self.tls_contexts.insert(o)),
                    _ => reader.spec(object, None).map(|o| self.modules.insert(o)),
                }
            }
            ("", "Service") => reader.service(object).map(|o| self.services.insert(o)),
            ("", "Endpoints") => reader.whole(object).map(|o| self.endpoints.insert(o)),
            ("", "Secret") => reader.whole(object).map(|o| self.secrets.insert(o)),
            ("", "ConfigMap") => reader.whole(object).map(|o| self.config_maps.insert(o)),
            ("", "Namespace") => reader
                .typed(object, |_| Ok(()))
                .map(|o| self.namespaces.insert(o)),
            (DISCOVERY_GROUP, "EndpointSlice") => reader.whole(object).map(|slice| {
                if let Some(service) = slice.meta.labels.get(SERVICE_NAME_LABEL) {
                    self.slices_of
                        .entry((slice.meta.namespace.clone(), service.clone()))
                        .or_default()
                        .insert(slice.meta.name.clone());
                }
                self.endpoint_slices.insert(slice);
            }),
            (ingress::GROUP, "Ingress") if object.version() == kinds::INGRESS_VERSION => reader
                .spec(object, Some(&self.schemas.ingress))
                .map(|o| self.ingresses.insert(o)),
            // Its older version has the same fields.
            (ingress::GROUP, "IngressClass") => reader
                .spec(object, Some(&self.schemas.ingress_class))
                .map(|o| self.ingress_classes.insert(o)),
            (ingress::GROUP | kinds::OLD_INGRESS_GROUP, "Ingress") => {
                if self.is_meant(&object.meta) {
                    reader.is_read(kinds::old_ingress(&object));
                }
                None
            }
            (group, kind) => {
                reader.is_read(kinds::other(group, object.version(), kind));
                None
            }
        }
        .is_some()
    }
}

struct Reader {
    origin: Origin,
    rkey: String,
    report: Report,
}

/// What a value is not, in words that a person can use.
struct Mistake {
    field: String,
    reason: Reason,
    message: String,
}

impl Mistake {
    fn report(self, report: &mut Report, origin: &Origin, help: &str) {
        report
            .error(&origin.field(self.field), self.reason, self.message)
            .help(help);
    }
}

impl Reader {
    /// Says why an object of a kind or version is not read, if it is not.
    fn is_read(&mut self, refusal: Option<Refusal>) -> bool {
        let Some(refusal) = refusal else {
            return true;
        };
        let at = self.origin.field(refusal.field);
        let mut entry = Entry::new(&at, refusal.severity, Reason::NotSupported, refusal.message);
        entry.help(refusal.help);
        self.report.push(entry);
        false
    }

    /// A kind whose content is in `spec`.
    fn spec<T: DeserializeOwned>(
        &mut self,
        object: RawObject,
        schema: Option<&Schema>,
    ) -> Option<Object<T>> {
        let mut unknown = Vec::new();
        let typed = self.typed(object, |body| {
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
            if let Some(schema) = schema {
                unknown = schema.unknown_fields(&spec);
            }
            deserialize(spec, "spec", schema)
        });
        report_unknown(&mut self.report, &self.origin, unknown);
        typed
    }

    /// A Service. What its status says concerns no request: it costs only itself.
    fn service(&mut self, mut object: RawObject) -> Option<Object<ServiceSpec>> {
        let status = object
            .body
            .get_mut("status")
            .and_then(|status| status.get_mut("loadBalancer"))
            .map(Value::take);
        let mut service = self.spec::<ServiceSpec>(object, None)?;
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

    /// A kind whose content stands beside `metadata`.
    fn whole<T: DeserializeOwned>(&mut self, object: RawObject) -> Option<Object<T>> {
        self.typed(object, |body| {
            body.remove("metadata");
            deserialize(Value::Object(std::mem::take(body)), "", None)
        })
    }

    fn typed<T>(
        &mut self,
        object: RawObject,
        read: impl FnOnce(&mut Map<String, Value>) -> Result<T, Mistake>,
    ) -> Option<Object<T>> {
        let mut body = match object.body {
            Value::Object(body) => body,
            _ => Map::new(),
        };
        body.values_mut().for_each(strip_nulls);
        match read(&mut body) {
            Ok(spec) => Some(Object {
                id: Arc::clone(&self.origin.resource),
                meta: object.meta,
                source: object.source,
                rkey: std::mem::take(&mut self.rkey),
                part: None,
                spec,
            }),
            Err(mistake) => {
                mistake.report(
                    &mut self.report,
                    &self.origin,
                    "the resource is left out until this is mended",
                );
                None
            }
        }
    }
}

fn report_unknown(report: &mut Report, origin: &Origin, unknown: Vec<Unknown>) {
    for field in unknown {
        let entry = report.warning(
            &origin.field(field.path),
            Reason::UnknownField,
            format!(
                "{} has no such field: it has no effect",
                origin.resource.kind
            ),
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
    report_unknown(&mut report, &origin, unknown);
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

fn ambassador_id(body: &Value) -> Option<Vec<String>> {
    let spec = body.get("spec")?;
    match spec.get("ambassador_id").or(spec.get("ambassadorId"))? {
        Value::String(id) => Some(vec![id.clone()]),
        Value::Array(ids) => Some(
            ids.iter()
                .filter_map(|id| id.as_str().map(str::to_owned))
                .collect(),
        ),
        _ => None,
    }
}

fn deserialize<T: DeserializeOwned>(
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
