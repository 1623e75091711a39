//! TracingService: what is recorded of requests, and who gets it.
//!
//! There is one or none. One that is wrong costs the spans, and nothing of the traffic; Emissary
//! hands `config` to Envoy as it is, which then does not start for a key that the driver lacks.

use std::sync::Arc;

use nuncio_api::getambassador::{
    CollectorEndpointVersion, CustomTag as CustomTagSpec, Mapping, PropagationMode, TagSource,
    TraceConfig, TraceSampling, TracingDriver, TracingService,
};
use nuncio_model::Reason;
use nuncio_model::listener::HttpOptions;
use nuncio_model::runtime::{Runtime, RuntimeValue};
use nuncio_model::tracing::{CustomTag, Provider, TagValue, Tracing, Zipkin, ZipkinFormat};
use nuncio_model::value::{HeaderName, HostLiteral, PathLiteral, RuntimeKey};

use super::Context;
use super::cluster::ClusterSpec;
use super::clusters::Clusters;
use super::diagnostics::ServiceInfo;
use super::envoy_admin;
use super::module;
use crate::fields::mistake::Mistake;
use crate::store::Object;

const ZIPKIN_PATH: &str = "/api/v2/spans";

/// Emissary's name of the gateway in traces.
const SERVICE_NAME: &str = "ambassador";

pub(super) fn read(context: &mut Context<'_>, clusters: &mut Clusters) {
    let objects = context.store.tracing_services.by_rkey();
    let [object] = objects[..] else {
        for object in &objects {
            let count = objects.len();
            let message = format!("exactly one TracingService is supported, got {count}");
            context
                .report
                .error(&object.origin(), Reason::Duplicate, message)
                .help("keep one of them: until then no request is traced");
        }
        return;
    };
    match tracing(context, clusters, object) {
        Ok((tracing, sampling)) => {
            let mut options = HttpOptions::clone(&context.module.options);
            if matches!(tracing.provider, Provider::Datadog { .. }) {
                module::with_datadog(&mut options.access_log);
            }
            options.tracing = Some(tracing);
            context.module.options = Arc::new(options);
            context.gateway.runtime.extend(sampling);
        }
        Err(mistake) => mistake.report(&mut context.report, object),
    }
}

fn tracing(
    context: &mut Context<'_>,
    clusters: &mut Clusters,
    object: &Object<TracingService>,
) -> Result<(Tracing, Runtime), Mistake> {
    let spec = &object.spec;
    let service = spec
        .service
        .as_deref()
        .filter(|service| !service.is_empty());
    if service.is_none() {
        return Err(Mistake::because(
            "spec.service",
            Reason::MissingField,
            "service field is required in TracingService",
            "write the service that takes the spans, such as zipkin.tracing:9411",
        ));
    }
    let Some(driver) = spec.driver else {
        return Err(Mistake::because(
            "spec.driver",
            Reason::MissingField,
            "driver field is required in TracingService",
            "write zipkin, datadog or opentelemetry",
        ));
    };
    let config = Config {
        context,
        object,
        config: &spec.config.clone().unwrap_or_default(),
    };
    let provider = config.provider(driver)?;
    let custom_tags = custom_tags(context, object)?;
    let sampling = sampling(spec.sampling.as_ref())?;
    let upstream = object.as_if(Mapping {
        service: spec.service.clone(),
        stats_name: spec.stats_name.clone(),
        cluster_tag: Some("tracing".to_owned()),
        grpc: Some(driver == TracingDriver::Opentelemetry),
        ..Mapping::default()
    });
    let cluster = Arc::new(ClusterSpec::of_mapping(context, &upstream)?);
    if cluster.is_envoy_admin() {
        return Err(envoy_admin::no_service());
    }
    let upstream = Arc::clone(&cluster.upstream);
    let cluster = clusters.name_later(&cluster);
    context.services.push(ServiceInfo {
        kind: match provider {
            Provider::Zipkin(_) => "TracingService (zipkin)",
            Provider::Datadog { .. } => "TracingService (datadog)",
            Provider::OpenTelemetry { .. } => "TracingService (opentelemetry)",
        },
        rkey: Arc::clone(&object.rkey),
        upstream,
        cluster: Arc::clone(&cluster),
        of: 1,
    });
    let tracing = Tracing {
        cluster,
        provider,
        custom_tags,
    };
    Ok((tracing, sampling))
}

/// `config`: what each driver takes of it, and where to say what it does not.
struct Config<'c, 's, 'a> {
    context: &'c mut Context<'s>,
    object: &'a Object<TracingService>,
    config: &'a TraceConfig,
}

impl Config<'_, '_, '_> {
    fn provider(self, driver: TracingDriver) -> Result<Provider, Mistake> {
        let name = match driver {
            TracingDriver::Lightstep => {
                return Err(Mistake::because(
                    "spec.driver",
                    Reason::NotSupported,
                    "as of v3.4+ the 'lightstep' driver is no longer supported in the \
                     TracingService, please see docs for migration options",
                    "Envoy has no Lightstep any more: write driver: opentelemetry, and in service \
                     an OpenTelemetry collector that exports to it",
                ));
            }
            TracingDriver::Zipkin => "zipkin",
            TracingDriver::Datadog => "datadog",
            TracingDriver::Opentelemetry => "opentelemetry",
        };
        self.refuse_others(driver, name)?;
        if self.config.collector_cluster.is_some() {
            self.context
                .report
                .notice(
                    &self.object.at("spec.config.collector_cluster"),
                    Reason::NoEffect,
                    "collector_cluster has no effect: Envoy's cluster is that of service",
                )
                .help("it can be removed");
        }
        match driver {
            TracingDriver::Datadog => Ok(Provider::Datadog {
                service_name: self.service_name(),
                collector_hostname: self.hostname()?,
            }),
            TracingDriver::Opentelemetry => Ok(Provider::OpenTelemetry {
                service_name: self.service_name(),
            }),
            _ => self.zipkin().map(Provider::Zipkin),
        }
    }

    /// Envoy knows none of these with this driver.
    fn refuse_others(&self, driver: TracingDriver, name: &str) -> Result<(), Mistake> {
        use TracingDriver::{Datadog, Opentelemetry, Zipkin};
        let config = self.config;
        let keys: [(&str, bool, &[TracingDriver]); 8] = [
            ("access_token_file", config.access_token_file.is_some(), &[]),
            (
                "collector_endpoint",
                config.collector_endpoint.is_some(),
                &[Zipkin],
            ),
            (
                "collector_endpoint_version",
                config.collector_endpoint_version.is_some(),
                &[Zipkin],
            ),
            (
                "collector_hostname",
                config.collector_hostname.is_some(),
                &[Zipkin, Datadog],
            ),
            (
                "propagation_modes",
                config.propagation_modes.is_some(),
                &[Zipkin],
            ),
            (
                "trace_id_128bit",
                config.trace_id_128bit.is_some(),
                &[Zipkin],
            ),
            (
                "shared_span_context",
                config.shared_span_context.is_some(),
                &[Zipkin],
            ),
            (
                "service_name",
                config.service_name.is_some(),
                &[Datadog, Opentelemetry],
            ),
        ];
        let set = keys.into_iter().filter(|(_, set, _)| *set);
        let mut others = set.filter(|(_, _, drivers)| !drivers.contains(&driver));
        let Some((key, _, drivers)) = others.next() else {
            return Ok(());
        };
        let whose = match drivers {
            [] => "Lightstep's, which Envoy has no longer",
            [Zipkin] => "zipkin's",
            [Zipkin, ..] => "zipkin's and datadog's",
            _ => "datadog's and opentelemetry's",
        };
        Err(Mistake::because(
            format!("spec.config.{key}"),
            Reason::NotSupported,
            format!("the driver {name} has no {key}"),
            format!("remove it: it is {whose}"),
        ))
    }

    fn zipkin(&self) -> Result<Zipkin, Mistake> {
        let config = self.config;
        let path = given(&config.collector_endpoint).unwrap_or(ZIPKIN_PATH);
        if !path.starts_with('/') {
            return Err(Mistake::new(
                "spec.config.collector_endpoint",
                format!("\"{path}\" is not a path"),
                format!("write a path such as {ZIPKIN_PATH}, and the host in service"),
            ));
        }
        let path = PathLiteral::new(path).map_err(Mistake::at("spec.config.collector_endpoint"))?;
        let format = match config.collector_endpoint_version {
            None | Some(CollectorEndpointVersion::HttpJson) => ZipkinFormat::Json,
            Some(CollectorEndpointVersion::HttpProto) => ZipkinFormat::Protobuf,
            Some(CollectorEndpointVersion::HttpJsonV1) => {
                return Err(Mistake::because(
                    "spec.config.collector_endpoint_version",
                    Reason::NotSupported,
                    "collector_endpoint_version must be one of HTTP_JSON, HTTP_PROTO",
                    "write HTTP_JSON, and /api/v2/spans in collector_endpoint: Envoy has no \
                     version 1 any more",
                ));
            }
        };
        let modes = config.propagation_modes.as_deref().unwrap_or_default();
        let unknown = |mode: &PropagationMode| {
            matches!(mode, PropagationMode::Envoy | PropagationMode::Lightstep)
        };
        if let Some(index) = modes.iter().position(unknown) {
            return Err(Mistake::because(
                format!("spec.config.propagation_modes[{index}]"),
                Reason::NotSupported,
                "the driver zipkin has no such headers",
                "write B3, or TRACE_CONTEXT to have traceparent beside them",
            ));
        }
        Ok(Zipkin {
            path,
            format,
            collector_hostname: self.hostname()?,
            trace_id_128bit: config.trace_id_128bit.unwrap_or(true),
            shared_span_context: config.shared_span_context,
            w3c: modes.contains(&PropagationMode::TraceContext),
        })
    }

    fn hostname(&self) -> Result<Option<HostLiteral>, Mistake> {
        given(&self.config.collector_hostname)
            .map(HostLiteral::new)
            .transpose()
            .map_err(Mistake::at("spec.config.collector_hostname"))
    }

    fn service_name(&self) -> Arc<str> {
        given(&self.config.service_name)
            .unwrap_or(SERVICE_NAME)
            .into()
    }
}

fn given(text: &Option<String>) -> Option<&str> {
    text.as_deref().filter(|text| !text.is_empty())
}

/// `tag_headers` are tags of headers, of their names; Emissary's API server makes them so when they
/// come from v2, and then they count only where there are no `custom_tags`.
fn custom_tags(
    context: &mut Context<'_>,
    object: &Object<TracingService>,
) -> Result<Vec<CustomTag>, Mistake> {
    let spec = &object.spec;
    let headers = spec.tag_headers.as_deref().unwrap_or_default();
    if let Some(tags) = &spec.custom_tags {
        if !headers.is_empty() {
            context
                .report
                .warning(
                    &object.at("spec.tag_headers"),
                    Reason::NoEffect,
                    "tag_headers has no effect beside custom_tags",
                )
                .help("write them into custom_tags, each with request_header, or remove them");
        }
        let tags = tags.iter().enumerate();
        return tags.map(|(index, tag)| custom_tag(index, tag)).collect();
    }
    let headers = headers.iter().enumerate();
    headers
        .map(|(index, name)| {
            let field = format!("spec.tag_headers[{index}]");
            let header = HeaderName::new(name).map_err(Mistake::at(field))?;
            Ok(CustomTag {
                name: name.as_str().into(),
                value: TagValue::RequestHeader {
                    name: header,
                    default: None,
                },
            })
        })
        .collect()
}

fn custom_tag(index: usize, spec: &CustomTagSpec) -> Result<CustomTag, Mistake> {
    const EMPTY: &str = "it must not be empty";
    let at = |field: &str| format!("spec.custom_tags[{index}]{field}");
    let not_empty = |field: &str, text: &str, help: &str| match text.is_empty() {
        true => Err(Mistake::new(at(field), EMPTY, help)),
        false => Ok(Arc::from(text)),
    };
    let default = |source: &TagSource| given(&source.default_value).map(Arc::from);
    let name = not_empty(".tag", &spec.tag, "write the name of the tag")?;
    let value = match (&spec.literal, &spec.environment, &spec.request_header) {
        (Some(literal), None, None) => {
            let value = not_empty(".literal.value", &literal.value, "write a text")?;
            TagValue::Literal(value)
        }
        (None, Some(source), None) => TagValue::Environment {
            name: not_empty(
                ".environment.name",
                &source.name,
                "write the name of a variable",
            )?,
            default: default(source),
        },
        (None, None, Some(source)) => TagValue::RequestHeader {
            name: HeaderName::new(&source.name).map_err(Mistake::at(at(".request_header.name")))?,
            default: default(source),
        },
        _ => {
            return Err(Mistake::new(
                at(""),
                "a tag has exactly one source",
                "write one of literal, environment and request_header",
            ));
        }
    };
    Ok(CustomTag { name, value })
}

/// As flags of the runtime, which Envoy reads for each request: a share in the connection manager
/// would be part of the listener, and another share drain its connections.
fn sampling(spec: Option<&TraceSampling>) -> Result<Runtime, Mistake> {
    let Some(spec) = spec else {
        return Ok(Runtime::new());
    };
    let shares = [
        ("client", "tracing.client_enabled", spec.client),
        ("random", "tracing.random_sampling", spec.random),
        ("overall", "tracing.global_enabled", spec.overall),
    ];
    let given = shares
        .into_iter()
        .filter_map(|(field, key, share)| Some((field, key, share?)));
    given
        .map(|(field, key, share)| {
            let percent = u32::try_from(share).ok().filter(|share| *share <= 100);
            let percent = percent.ok_or_else(|| {
                Mistake::new(
                    format!("spec.sampling.{field}"),
                    format!("{share} is not a share in per cent"),
                    "write a whole number from 0 to 100",
                )
            })?;
            let key = RuntimeKey::new(key).expect("invariant: the key is Envoy's");
            Ok((key, RuntimeValue::Number(percent)))
        })
        .collect()
}
