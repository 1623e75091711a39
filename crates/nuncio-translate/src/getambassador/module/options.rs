//! Settings of connection managers.

use std::sync::Arc;
use std::time::Duration;

use nuncio_model::Reason;
use nuncio_model::listener::{
    AccessLog, AccessLogFormat, CertificateDetails, ForwardedCertificate, HeaderCase, HttpOptions,
    LogFields, LogValue, UnderscoreHeaders,
};
use nuncio_model::value::{FormatString, LogFormat};

use super::{Keys, log_format, path};
use crate::fields::mistake::Mistake;
use crate::fields::values::milliseconds;

/// The most that Envoy takes of `max_request_headers_kb`.
const MAX_REQUEST_HEADERS_KB: u32 = 8192;

/// Emissary's line for each request.
const LOG_LINE: &str = "ACCESS [%START_TIME%] \
    \"%REQ(:METHOD)% %REQ(X-ENVOY-ORIGINAL-PATH?:PATH)% %PROTOCOL%\" \
    %RESPONSE_CODE% %RESPONSE_FLAGS% %BYTES_RECEIVED% %BYTES_SENT% %DURATION% \
    %RESP(X-ENVOY-UPSTREAM-SERVICE-TIME)% \"%REQ(X-FORWARDED-FOR)%\" \"%REQ(USER-AGENT)%\" \
    \"%REQ(X-REQUEST-ID)%\" \"%REQ(:AUTHORITY)%\" \"%UPSTREAM_HOST%\"\n";

/// The same as an object.
const LOG_FIELDS: &[(&str, &str)] = &[
    ("start_time", "%START_TIME%"),
    ("method", "%REQ(:METHOD)%"),
    ("path", "%REQ(X-ENVOY-ORIGINAL-PATH?:PATH)%"),
    ("protocol", "%PROTOCOL%"),
    ("response_code", "%RESPONSE_CODE%"),
    ("response_flags", "%RESPONSE_FLAGS%"),
    ("bytes_received", "%BYTES_RECEIVED%"),
    ("bytes_sent", "%BYTES_SENT%"),
    ("duration", "%DURATION%"),
    (
        "upstream_service_time",
        "%RESP(X-ENVOY-UPSTREAM-SERVICE-TIME)%",
    ),
    ("x_forwarded_for", "%REQ(X-FORWARDED-FOR)%"),
    ("user_agent", "%REQ(USER-AGENT)%"),
    ("request_id", "%REQ(X-REQUEST-ID)%"),
    ("authority", "%REQ(:AUTHORITY)%"),
    ("upstream_host", "%UPSTREAM_HOST%"),
    ("upstream_cluster", "%UPSTREAM_CLUSTER%"),
    ("upstream_local_address", "%UPSTREAM_LOCAL_ADDRESS%"),
    ("downstream_local_address", "%DOWNSTREAM_LOCAL_ADDRESS%"),
    ("downstream_remote_address", "%DOWNSTREAM_REMOTE_ADDRESS%"),
    ("requested_server_name", "%REQUESTED_SERVER_NAME%"),
    (
        "istio_policy_status",
        "%DYNAMIC_METADATA(istio.mixer:status)%",
    ),
    (
        "upstream_transport_failure_reason",
        "%UPSTREAM_TRANSPORT_FAILURE_REASON%",
    ),
];

const DATADOG_FIELDS: &[(&str, &str)] = &[
    ("dd.trace_id", "%REQ(X-DATADOG-TRACE-ID)%"),
    ("dd.span_id", "%REQ(X-DATADOG-PARENT-ID)%"),
];

pub(super) fn default() -> HttpOptions {
    HttpOptions {
        server_name: "envoy".into(),
        use_remote_address: true,
        preserve_external_request_id: false,
        merge_slashes: false,
        reject_escaped_slashes: false,
        strip_matching_host_port: false,
        accept_http_10: false,
        allow_chunked_length: false,
        header_case: HeaderCase::Lower,
        headers_with_underscores: UnderscoreHeaders::Allow,
        max_request_headers_kb: None,
        idle_timeout: None,
        client_certificate: None,
        client_certificate_details: CertificateDetails::default(),
        suppress_envoy_headers: false,
        access_log: AccessLog {
            path: "/dev/fd/1".into(),
            format: AccessLogFormat::Text(line()),
        },
        log_services: Arc::default(),
        tracing: None,
    }
}

fn line() -> LogFormat {
    LogFormat::new(LOG_LINE).expect("invariant: the operators are Envoy's")
}

/// What Emissary adds to its object for Datadog.
pub(in crate::getambassador) fn with_datadog(log: &mut AccessLog) {
    let AccessLogFormat::Json(log_fields) = &mut log.format else {
        return;
    };
    if *log_fields == fields() {
        log_fields.extend(formats(DATADOG_FIELDS));
    }
}

fn fields() -> LogFields {
    formats(LOG_FIELDS).collect()
}

fn formats(fields: &'static [(&str, &str)]) -> impl Iterator<Item = (Arc<str>, LogValue)> + use<> {
    fields.iter().map(|(name, text)| {
        let format = LogFormat::new(text).expect("invariant: the operators are Envoy's");
        ((*name).into(), LogValue::Text(format))
    })
}

impl Keys<'_, '_, '_> {
    pub(super) fn options(&mut self) -> HttpOptions {
        let config = self.config;
        let default = default();
        let is = |value: Option<bool>| value == Some(true);
        let details = config.set_current_client_cert_details.clone();
        let details = details.unwrap_or_default();
        HttpOptions {
            server_name: self.server_name().unwrap_or(default.server_name),
            use_remote_address: config.use_remote_address.unwrap_or(true),
            preserve_external_request_id: is(config.preserve_external_request_id),
            merge_slashes: is(config.merge_slashes),
            reject_escaped_slashes: is(config.reject_requests_with_escaped_slashes),
            strip_matching_host_port: is(config.strip_matching_host_port),
            accept_http_10: is(config.enable_http10),
            allow_chunked_length: is(config.allow_chunked_length),
            header_case: self.header_case(),
            headers_with_underscores: self
                .word(
                    "headers_with_underscores_action",
                    config.headers_with_underscores_action.as_deref(),
                    &[
                        ("ALLOW", UnderscoreHeaders::Allow),
                        ("REJECT_REQUEST", UnderscoreHeaders::RejectRequest),
                        ("DROP_HEADER", UnderscoreHeaders::DropHeader),
                    ],
                )
                .unwrap_or_default(),
            max_request_headers_kb: self.max_request_headers_kb(),
            idle_timeout: self.idle_timeout(),
            client_certificate: self.word(
                "forward_client_cert_details",
                config.forward_client_cert_details.as_deref(),
                &[
                    ("SANITIZE", ForwardedCertificate::Sanitize),
                    ("FORWARD_ONLY", ForwardedCertificate::ForwardOnly),
                    ("APPEND_FORWARD", ForwardedCertificate::AppendForward),
                    ("SANITIZE_SET", ForwardedCertificate::SanitizeSet),
                    (
                        "ALWAYS_FORWARD_ONLY",
                        ForwardedCertificate::AlwaysForwardOnly,
                    ),
                ],
            ),
            client_certificate_details: CertificateDetails {
                subject: details.subject,
                cert: details.cert,
                chain: details.chain,
                dns: details.dns,
                uri: details.uri,
            },
            suppress_envoy_headers: is(config.suppress_envoy_headers),
            access_log: self.access_log(default.access_log),
            log_services: default.log_services,
            tracing: default.tracing,
        }
    }

    fn server_name(&mut self) -> Option<Arc<str>> {
        let text = self.config.server_name.as_deref();
        let text = text.filter(|text| !text.is_empty())?;
        let plain = FormatString::new(&text.replace('%', "%%"));
        self.take(plain.map_err(Mistake::at(path("server_name"))))?;
        Some(text.into())
    }

    fn max_request_headers_kb(&mut self) -> Option<u32> {
        let kilobytes =
            self.positive("max_request_headers_kb", self.config.max_request_headers_kb)?;
        self.take(if kilobytes <= MAX_REQUEST_HEADERS_KB {
            Ok(kilobytes)
        } else {
            Err(Mistake::new(
                path("max_request_headers_kb"),
                format!("{kilobytes} is out of range"),
                format!("write a whole number from 1 to {MAX_REQUEST_HEADERS_KB}"),
            ))
        })
    }

    fn idle_timeout(&mut self) -> Option<Duration> {
        let read = milliseconds(
            &path("listener_idle_timeout_ms"),
            self.config.listener_idle_timeout_ms,
        );
        self.take(read).flatten()
    }

    pub(super) fn overrides_header_case(&self) -> bool {
        let names = self.config.header_case_overrides.as_deref();
        names.is_some_and(|names| !names.is_empty()) && self.config.proper_case != Some(true)
    }

    /// Emissary's Envoy once wrote the names of `header_case_overrides` as they are listed. Envoy
    /// itself can pass each name on as the other side wrote it, which serves the same ends.
    fn header_case(&mut self) -> HeaderCase {
        let at = self.object.at(path("header_case_overrides"));
        let proper = self.config.proper_case == Some(true);
        if self.overrides_header_case() {
            self.context
                .report
                .warning(
                    &at,
                    Reason::NotSupported,
                    "Envoy cannot write the names of headers as they are listed; each is passed on \
                     as the client or the upstream wrote it",
                )
                .help("write proper_case: true for names such as X-Request-Id");
            return HeaderCase::Preserved;
        }
        if proper && self.config.header_case_overrides.is_some() {
            self.context
                .report
                .warning(
                    &at,
                    Reason::Conflict,
                    "header_case_overrides is ignored because proper_case is set",
                )
                .help("remove one of them");
        }
        if proper {
            HeaderCase::ProperWords
        } else {
            HeaderCase::Lower
        }
    }

    fn access_log(&mut self, default: AccessLog) -> AccessLog {
        #[derive(Clone, Copy)]
        enum Kind {
            Text,
            Json,
        }
        let config = self.config;
        let kind = self
            .word(
                "envoy_log_type",
                config.envoy_log_type.as_deref(),
                &[
                    ("text", Kind::Text),
                    ("json", Kind::Json),
                    // Envoy keeps the types of values in both.
                    ("typed_json", Kind::Json),
                ],
            )
            .unwrap_or(Kind::Text);
        let given = config.envoy_log_format.as_ref();
        let format = match kind {
            Kind::Text => {
                let text = given.and_then(|format| {
                    let read = log_format::line(format);
                    self.take(read)
                });
                AccessLogFormat::Text(text.unwrap_or_else(line))
            }
            Kind::Json => {
                let given = given.and_then(|format| {
                    let read = log_format::fields(format);
                    self.take(read)
                });
                AccessLogFormat::Json(given.unwrap_or_else(fields))
            }
        };
        AccessLog {
            path: self.log_path().unwrap_or(default.path),
            format,
        }
    }

    fn log_path(&mut self) -> Option<Arc<str>> {
        let text = self.config.envoy_log_path.as_deref();
        let text = text.filter(|text| !text.is_empty())?;
        let is_file = text.starts_with('/') && !text.ends_with('/') && !text.contains('\0');
        self.take(if is_file {
            Ok(text.into())
        } else {
            Err(Mistake::new(
                path("envoy_log_path"),
                format!("\"{text}\" is not the whole path of a file"),
                "write a path that begins with /, such as /dev/fd/1",
            ))
        })
    }
}
