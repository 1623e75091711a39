//! Which endpoints are left out: health checks and outlier detection.

use nuncio_envoy_api::envoy::config::cluster::v3 as cds;
use nuncio_envoy_api::envoy::config::core::v3 as core;
use nuncio_envoy_api::envoy::r#type::v3::Int64Range;
use nuncio_model::cluster::{HealthCheck, HealthProbe, OutlierDetection};

use crate::proto::{duration, uint32};
use crate::route::header_values;

pub(crate) fn health_check(check: &HealthCheck) -> core::HealthCheck {
    use core::health_check::{GrpcHealthCheck, HealthChecker, HttpHealthCheck};
    let checker = match &check.probe {
        HealthProbe::Http {
            path,
            host,
            add_headers,
            remove_headers,
            expected_statuses,
        } => HealthChecker::HttpHealthCheck(HttpHealthCheck {
            path: path.to_string(),
            host: host.as_ref().map(ToString::to_string).unwrap_or_default(),
            request_headers_to_add: header_values(add_headers),
            request_headers_to_remove: remove_headers.iter().map(ToString::to_string).collect(),
            expected_statuses: expected_statuses
                .iter()
                .map(|(start, end)| Int64Range {
                    start: (*start).into(),
                    end: (*end).into(),
                })
                .collect(),
            ..Default::default()
        }),
        HealthProbe::Grpc { service, authority } => {
            HealthChecker::GrpcHealthCheck(GrpcHealthCheck {
                service_name: service.to_string(),
                authority: authority
                    .as_ref()
                    .map(ToString::to_string)
                    .unwrap_or_default(),
                ..Default::default()
            })
        }
    };
    core::HealthCheck {
        timeout: duration(check.timeout),
        interval: duration(check.interval),
        // Envoy begins with once a minute, until requests come.
        no_traffic_interval: duration(check.interval),
        healthy_threshold: uint32(check.healthy_threshold),
        unhealthy_threshold: uint32(check.unhealthy_threshold),
        health_checker: Some(checker),
        ..Default::default()
    }
}

pub(crate) fn outlier_detection(outlier: &OutlierDetection) -> cds::OutlierDetection {
    cds::OutlierDetection {
        consecutive_5xx: outlier.consecutive_5xx.and_then(uint32),
        consecutive_gateway_failure: outlier.consecutive_gateway_failure.and_then(uint32),
        consecutive_local_origin_failure: outlier.consecutive_local_origin_failure.and_then(uint32),
        // Envoy counts gateway failures but does not act on them unless it is told to.
        enforcing_consecutive_gateway_failure: outlier
            .consecutive_gateway_failure
            .and_then(|_| uint32(100)),
        interval: outlier.interval.and_then(duration),
        base_ejection_time: outlier.base_ejection_time.and_then(duration),
        max_ejection_time: outlier.max_ejection_time.and_then(duration),
        max_ejection_percent: outlier.max_ejection_percent.and_then(uint32),
        split_external_local_origin_errors: outlier.split_external_local_origin_errors,
        ..Default::default()
    }
}
