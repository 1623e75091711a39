//! Which endpoints are left out: `health_checks` and `outlier_detection`.

use std::time::Duration;

use nuncio_api::getambassador::{
    GrpcHealthCheck, HealthCheck as HealthCheckSpec, HttpHealthCheck,
    OutlierDetection as OutlierDetectionSpec, OutlierDetectionSettings,
};
use nuncio_api::yaml;
use nuncio_model::cluster::{HealthCheck, HealthProbe, OutlierDetection};
use nuncio_model::value::{HostLiteral, PathLiteral};

use super::mistake::Mistake;
use super::request::header_edits;
use super::values::{duration, unsigned};

const DEFAULT_TIMEOUT: Duration = Duration::from_secs(3);
const DEFAULT_INTERVAL: Duration = Duration::from_secs(5);
/// Envoy's own default of `base_ejection_time`.
const EJECTION_TIME: Duration = Duration::from_secs(30);

/// One health check, which stands at `field`.
pub(crate) fn health_check(field: &str, spec: &HealthCheckSpec) -> Result<HealthCheck, Mistake> {
    let time = |name: &str, text: &Option<String>, default| match text.as_deref() {
        None | Some("") => Ok(default),
        Some(text) => positive(&format!("{field}.{name}"), text),
    };
    let threshold = |name: &str, value, default| {
        let field = format!("{field}.{name}");
        match unsigned(&field, value)? {
            None => Ok(default),
            Some(0) => Err(Mistake::new(
                field,
                "no check at all decides nothing",
                "write a number from 1",
            )),
            Some(value) => Ok(value),
        }
    };
    let layer = &spec.health_check;
    let at = format!("{field}.health_check");
    let probe = match (&layer.http, &layer.grpc) {
        (Some(http), None) => http_probe(&format!("{at}.http"), http)?,
        (None, Some(grpc)) => grpc_probe(&format!("{at}.grpc"), grpc)?,
        _ => {
            return Err(Mistake::new(
                at,
                "a health check is either http or grpc",
                "write health_check: {http: {path: /healthz}}",
            ));
        }
    };
    Ok(HealthCheck {
        timeout: time("timeout", &spec.timeout, DEFAULT_TIMEOUT)?,
        interval: time("interval", &spec.interval, DEFAULT_INTERVAL)?,
        healthy_threshold: threshold("healthy_threshold", spec.healthy_threshold, 1)?,
        unhealthy_threshold: threshold("unhealthy_threshold", spec.unhealthy_threshold, 2)?,
        probe,
    })
}

fn http_probe(field: &str, spec: &HttpHealthCheck) -> Result<HealthProbe, Mistake> {
    let path = spec.path.as_deref().unwrap_or_default();
    if path.is_empty() {
        return Err(Mistake::new(
            format!("{field}.path"),
            "it does not say what to ask for",
            "write a path, such as /healthz",
        ));
    }
    let edits = header_edits(
        field,
        "request",
        Some(&spec.add_request_headers),
        Some(&spec.remove_request_headers),
    )?;
    let mut expected_statuses = Vec::new();
    for (index, range) in spec.expected_statuses.iter().enumerate() {
        let wrong = || {
            Mistake::new(
                format!("{field}.expected_statuses[{index}]"),
                format!("{} to {} are no statuses", range.min, range.max),
                "write min and max, from 100 to 599",
            )
        };
        let status = |value: i64| u16::try_from(value).map_err(|_| wrong());
        let (min, max) = (status(range.min)?, status(range.max)?);
        if min < 100 || max > 599 || min > max {
            return Err(wrong());
        }
        expected_statuses.push((min, max + 1));
    }
    Ok(HealthProbe::Http {
        path: PathLiteral::new(path).map_err(Mistake::at(format!("{field}.path")))?,
        host: host(&format!("{field}.hostname"), spec.hostname.as_deref())?,
        add_headers: edits.add,
        remove_headers: edits.remove,
        expected_statuses,
    })
}

fn grpc_probe(field: &str, spec: &GrpcHealthCheck) -> Result<HealthProbe, Mistake> {
    Ok(HealthProbe::Grpc {
        service: spec.upstream_name.as_deref().unwrap_or_default().into(),
        authority: host(&format!("{field}.authority"), spec.authority.as_deref())?,
    })
}

fn host(field: &str, text: Option<&str>) -> Result<Option<HostLiteral>, Mistake> {
    text.filter(|text| !text.is_empty())
        .map(|text| HostLiteral::new(text).map_err(Mistake::at(field)))
        .transpose()
}

fn positive(field: &str, text: &str) -> Result<Duration, Mistake> {
    let time = duration(field, text)?;
    if time.is_zero() {
        return Err(Mistake::new(
            field,
            "it must be longer than nothing",
            "write a number and a unit, such as 3s or 250ms",
        ));
    }
    Ok(time)
}

/// Emissary's API has a text there and never did anything with it; here the text, or an object, has
/// Envoy's own settings.
pub(crate) fn outlier_detection(
    field: &str,
    spec: &OutlierDetectionSpec,
) -> Result<OutlierDetection, Mistake> {
    let settings = match spec {
        OutlierDetectionSpec::Settings(settings) => settings.clone(),
        OutlierDetectionSpec::Text(text) => settings_in(text).ok_or_else(|| {
            Mistake::new(
                field,
                "it does not hold Envoy's settings of outlier detection",
                "write an object, or the same as text: {consecutive_5xx: 5, interval: 10s, \
                 base_ejection_time: 30s, max_ejection_percent: 50}",
            )
        })?,
    };
    let number = |name: &str, value: Option<i64>| -> Result<Option<u32>, Mistake> {
        unsigned(&format!("{field}.{name}"), value)
    };
    let time = |name: &str, text: &Option<String>| {
        text.as_deref()
            .map(|text| positive(&format!("{field}.{name}"), text))
            .transpose()
    };
    let percent = number("max_ejection_percent", settings.max_ejection_percent)?;
    if percent.is_some_and(|percent| percent > 100) {
        return Err(Mistake::new(
            format!("{field}.max_ejection_percent"),
            "there is no share of more than 100 percent",
            "write a number from 0 to 100",
        ));
    }
    let base_ejection_time = time("base_ejection_time", &settings.base_ejection_time)?;
    let max_ejection_time = time("max_ejection_time", &settings.max_ejection_time)?;
    if max_ejection_time.is_some_and(|max| max < base_ejection_time.unwrap_or(EJECTION_TIME)) {
        return Err(Mistake::new(
            format!("{field}.max_ejection_time"),
            "an endpoint is left out for at least base_ejection_time, which is 30s when absent",
            "write a longer time, or a shorter base_ejection_time",
        ));
    }
    Ok(OutlierDetection {
        consecutive_5xx: number("consecutive_5xx", settings.consecutive_5xx)?,
        consecutive_gateway_failure: number(
            "consecutive_gateway_failure",
            settings.consecutive_gateway_failure,
        )?,
        consecutive_local_origin_failure: number(
            "consecutive_local_origin_failure",
            settings.consecutive_local_origin_failure,
        )?,
        interval: time("interval", &settings.interval)?,
        base_ejection_time,
        max_ejection_time,
        max_ejection_percent: percent,
        split_external_local_origin_errors: settings.split_external_local_origin_errors
            == Some(true),
    })
}

fn settings_in(text: &str) -> Option<OutlierDetectionSettings> {
    let mut documents = yaml::documents(text).ok()?;
    let settings = documents.pop().filter(|_| documents.is_empty())?;
    serde_json::from_value(settings).ok()
}
