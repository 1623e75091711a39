//! LogService: who is sent an entry of the access log for each request.
//!
//! Each that is right has its part; Emissary takes the first alone. One that is wrong costs itself:
//! requests pass as ever, and the access log of the Module has them.

use std::sync::Arc;
use std::time::Duration;

use nuncio_api::getambassador::{
    LogDriver, LogHeader, LogService as Spec, Mapping, ProtocolVersion,
};
use nuncio_model::Reason;
use nuncio_model::listener::HttpOptions;
use nuncio_model::log::{LogEntries, LogService};
use nuncio_model::value::HeaderName;

use super::Context;
use super::cluster::ClusterSpec;
use super::clusters::Clusters;
use super::envoy_admin;
use crate::fields::mistake::Mistake;
use crate::fields::values::unsigned;
use crate::store::Object;

/// How Emissary's entries name their log.
const LOG_NAME: &str = "logservice";

const DEFAULT_FLUSH_INTERVAL: i64 = 1;
const DEFAULT_BUFFER_BYTES: u32 = 16384;

pub(super) fn read(context: &mut Context<'_>, clusters: &mut Clusters) {
    let store = context.store;
    let mut services = Vec::new();
    for object in store.log_services.by_rkey() {
        match log_service(context, clusters, object) {
            Ok(service) => services.push(service),
            Err(mistake) => mistake.report(&mut context.report, object),
        }
    }
    if !services.is_empty() {
        context.module.options = Arc::new(HttpOptions {
            log_services: services.into(),
            ..HttpOptions::clone(&context.module.options)
        });
    }
}

/// Those that are told of connections which carry no requests.
pub(super) fn of_connections(context: &Context<'_>) -> Arc<[LogService]> {
    let services = context.module.options.log_services.iter();
    services
        .filter(|service| service.entries == LogEntries::Tcp)
        .cloned()
        .collect()
}

fn log_service(
    context: &mut Context<'_>,
    clusters: &mut Clusters,
    object: &Object<Spec>,
) -> Result<LogService, Mistake> {
    let spec = &object.spec;
    let service = spec
        .service
        .as_deref()
        .filter(|service| !service.is_empty());
    if service.is_none() {
        return Err(Mistake::because(
            "spec.service",
            Reason::MissingField,
            "service must be present for a remote log service!",
            "write the service that takes the entries, such as als.default:3000",
        ));
    }
    if spec.protocol_version != Some(ProtocolVersion::V3) {
        return Err(Mistake::because(
            "spec.protocol_version",
            Reason::NotSupported,
            "LogService: protocol_version v2 is unsupported, protocol_version must be \"v3\"",
            "write protocol_version: v3, of a service that speaks it",
        ));
    }
    let Some(driver) = spec.driver else {
        return Err(Mistake::because(
            "spec.driver",
            Reason::MissingField,
            "it is missing",
            "write driver: http for entries of requests, or tcp for those of connections",
        ));
    };
    let headers = spec.driver_config.as_ref();
    let headers = headers.and_then(|config| config.additional_log_headers.as_deref());
    let entries = entries(driver, headers.unwrap_or_default())?;
    let seconds = spec.flush_interval_time.unwrap_or(DEFAULT_FLUSH_INTERVAL);
    let flush_interval = match u32::try_from(seconds) {
        Ok(seconds) if seconds > 0 => Duration::from_secs(seconds.into()),
        _ => {
            return Err(Mistake::new(
                "spec.flush_interval_time",
                format!("{seconds} seconds is not a time that entries can wait"),
                "write seconds as a whole number from 1",
            ));
        }
    };
    let buffer_bytes = unsigned(
        "spec.flush_interval_byte_size",
        spec.flush_interval_byte_size,
    )?;
    // Envoy speaks nothing but gRPC with it; without `grpc: true` Emissary's never reach it.
    let upstream = object.as_if(Mapping {
        service: spec.service.clone(),
        stats_name: spec.stats_name.clone(),
        cluster_tag: Some("logging".to_owned()),
        grpc: Some(true),
        ..Mapping::default()
    });
    let cluster = Arc::new(ClusterSpec::of_mapping(context, &upstream)?);
    if cluster.is_envoy_admin() {
        return Err(envoy_admin::no_service());
    }
    Ok(LogService {
        cluster: clusters.name_later(&cluster),
        log_name: LOG_NAME.into(),
        entries,
        flush_interval,
        buffer_bytes: buffer_bytes.unwrap_or(DEFAULT_BUFFER_BYTES),
    })
}

fn entries(driver: LogDriver, headers: &[LogHeader]) -> Result<LogEntries, Mistake> {
    const FIELD: &str = "spec.driver_config.additional_log_headers";
    if driver == LogDriver::Tcp {
        return match headers.is_empty() {
            true => Ok(LogEntries::Tcp),
            false => Err(Mistake::new(
                FIELD,
                "additional_log_headers are not supported in tcp mode",
                "write driver: http, or remove them",
            )),
        };
    }
    let mut request_headers = Vec::new();
    let mut response_headers = Vec::new();
    let mut response_trailers = Vec::new();
    for (index, header) in headers.iter().enumerate() {
        let field = format!("{FIELD}[{index}].header_name");
        let name = header
            .header_name
            .as_deref()
            .filter(|name| !name.is_empty());
        let name = name.ok_or_else(|| {
            Mistake::because(
                field.clone(),
                Reason::MissingField,
                "Please provide a header name for every additional log header!",
                "write header_name, or remove the item",
            )
        })?;
        let name = HeaderName::new(name).map_err(Mistake::at(field))?;
        for (during, names) in [
            (header.during_request, &mut request_headers),
            (header.during_response, &mut response_headers),
            (header.during_trailer, &mut response_trailers),
        ] {
            if during.unwrap_or(true) {
                names.push(name.clone());
            }
        }
    }
    Ok(LogEntries::Http {
        request_headers,
        response_headers,
        response_trailers,
    })
}
