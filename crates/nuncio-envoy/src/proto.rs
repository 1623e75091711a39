//! Small messages that every encoder needs.

use std::net::IpAddr;
use std::sync::Arc;

use nuncio_envoy_api::envoy::config::core::v3 as core;
use nuncio_envoy_api::envoy::config::route::v3 as rds;
use nuncio_envoy_api::envoy::extensions::http::header_formatters::preserve_case::v3::PreserveCaseFormatterConfig;
use nuncio_envoy_api::envoy::r#type::matcher::v3 as matcher;
use nuncio_envoy_api::envoy::r#type::v3 as percent;
use nuncio_envoy_api::google::protobuf::value::Kind;
use nuncio_envoy_api::google::protobuf::{BoolValue, Duration, Struct, UInt32Value, Value};
use nuncio_envoy_api::pack;
use nuncio_model::listener::HeaderCase;
use nuncio_model::route::StringMatch;
use nuncio_model::value::{Domain, Fraction, LogFormat, Regex};

pub(crate) fn bool_value(value: bool) -> Option<BoolValue> {
    Some(BoolValue { value })
}

pub(crate) fn uint32(value: u32) -> Option<UInt32Value> {
    Some(UInt32Value { value })
}

pub(crate) fn duration(duration: std::time::Duration) -> Option<Duration> {
    Some(Duration {
        seconds: i64::try_from(duration.as_secs()).unwrap_or(i64::MAX),
        nanos: i32::try_from(duration.subsec_nanos())
            .expect("invariant: a second has a billion nanoseconds"),
    })
}

pub(crate) fn socket_address(address: IpAddr, port: u16) -> core::Address {
    use core::socket_address::PortSpecifier;
    core::Address {
        address: Some(core::address::Address::SocketAddress(core::SocketAddress {
            address: address.to_string(),
            port_specifier: Some(PortSpecifier::PortValue(port.into())),
            ..Default::default()
        })),
    }
}

pub(crate) fn named_address(host: &str, port: u16) -> core::Address {
    use core::socket_address::PortSpecifier;
    core::Address {
        address: Some(core::address::Address::SocketAddress(core::SocketAddress {
            address: host.to_owned(),
            port_specifier: Some(PortSpecifier::PortValue(port.into())),
            ..Default::default()
        })),
    }
}

pub(crate) fn pipe(path: &str) -> core::Address {
    core::Address {
        address: Some(core::address::Address::Pipe(core::Pipe {
            path: path.to_owned(),
            ..Default::default()
        })),
    }
}

/// A request for this domain, as virtual hosts match it: without regard to case.
pub(crate) fn authority_is(domain: &Domain) -> rds::HeaderMatcher {
    use matcher::string_matcher::MatchPattern;
    use rds::header_matcher::HeaderMatchSpecifier;
    let text = domain.as_str();
    let pattern = if domain.is_any() {
        None
    } else if let Some(suffix) = text.strip_prefix('*') {
        Some(MatchPattern::Suffix(suffix.to_owned()))
    } else if let Some(prefix) = text.strip_suffix('*') {
        Some(MatchPattern::Prefix(prefix.to_owned()))
    } else {
        Some(MatchPattern::Exact(text.to_owned()))
    };
    rds::HeaderMatcher {
        name: ":authority".to_owned(),
        header_match_specifier: Some(match pattern {
            Some(_) => HeaderMatchSpecifier::StringMatch(matcher::StringMatcher {
                ignore_case: true,
                match_pattern: pattern,
            }),
            None => HeaderMatchSpecifier::PresentMatch(true),
        }),
        ..Default::default()
    }
}

/// The aggregated stream that everything comes by.
pub(crate) fn ads() -> core::ConfigSource {
    core::ConfigSource {
        resource_api_version: core::ApiVersion::V3.into(),
        config_source_specifier: Some(core::config_source::ConfigSourceSpecifier::Ads(
            core::AggregatedConfigSource {},
        )),
        ..Default::default()
    }
}

/// A service that Envoy itself asks, by the cluster that it is.
pub(crate) fn grpc_service(cluster: &str) -> core::GrpcService {
    use core::grpc_service::{EnvoyGrpc, TargetSpecifier};
    core::GrpcService {
        target_specifier: Some(TargetSpecifier::EnvoyGrpc(EnvoyGrpc {
            cluster_name: cluster.to_owned(),
            ..Default::default()
        })),
        ..Default::default()
    }
}

/// Without `google_re2`: its size limit is deprecated, the runtime's is in the bootstrap.
pub(crate) fn regex(regex: &Regex) -> matcher::RegexMatcher {
    matcher::RegexMatcher {
        regex: regex.as_str().to_owned(),
        engine_type: None,
    }
}

pub(crate) fn regex_and_substitute(
    pattern: &Regex,
    substitution: &str,
) -> matcher::RegexMatchAndSubstitute {
    matcher::RegexMatchAndSubstitute {
        pattern: Some(regex(pattern)),
        substitution: substitution.to_owned(),
    }
}

pub(crate) fn string_matcher(value: &StringMatch) -> matcher::StringMatcher {
    use matcher::string_matcher::MatchPattern;
    matcher::StringMatcher {
        ignore_case: false,
        match_pattern: Some(match value {
            StringMatch::Exact(text) => MatchPattern::Exact(text.to_string()),
            StringMatch::Prefix(text) => MatchPattern::Prefix(text.to_string()),
            StringMatch::Suffix(text) => MatchPattern::Suffix(text.to_string()),
            StringMatch::Regex(pattern) => MatchPattern::SafeRegex(regex(pattern)),
        }),
    }
}

pub(crate) fn fractional_percent(fraction: Fraction) -> percent::FractionalPercent {
    use percent::fractional_percent::DenominatorType;
    let (numerator, denominator) = match fraction.whole_percent() {
        Some(percent) => (percent, DenominatorType::Hundred),
        None => (fraction.millionths(), DenominatorType::Million),
    };
    percent::FractionalPercent {
        numerator,
        denominator: denominator.into(),
    }
}

pub(crate) fn runtime_fraction(
    fraction: Fraction,
    runtime_key: &str,
) -> core::RuntimeFractionalPercent {
    core::RuntimeFractionalPercent {
        default_value: Some(fractional_percent(fraction)),
        runtime_key: runtime_key.to_owned(),
    }
}

pub(crate) fn runtime_flag(value: bool) -> core::RuntimeFeatureFlag {
    core::RuntimeFeatureFlag {
        default_value: bool_value(value),
        // Envoy wants a key; nobody sets this one.
        runtime_key: "nuncio.unset".to_owned(),
    }
}

pub(crate) fn inline_string(text: &str) -> core::DataSource {
    core::DataSource {
        specifier: Some(core::data_source::Specifier::InlineString(text.to_owned())),
        ..Default::default()
    }
}

/// A JSON object whose values are texts with operators.
pub(crate) fn json_object(fields: &[(Arc<str>, LogFormat)]) -> Struct {
    let value = |text: &LogFormat| Value {
        kind: Some(Kind::StringValue(text.to_string())),
    };
    Struct {
        fields: fields
            .iter()
            .map(|(name, text)| (name.to_string(), value(text)))
            .collect(),
    }
}

/// How the names of headers are written in HTTP/1.
pub(crate) fn header_key_format(
    case: HeaderCase,
) -> Option<core::http1_protocol_options::HeaderKeyFormat> {
    use core::http1_protocol_options::HeaderKeyFormat;
    use core::http1_protocol_options::header_key_format::{HeaderFormat, ProperCaseWords};
    let format = match case {
        HeaderCase::Lower => return None,
        HeaderCase::ProperWords => HeaderFormat::ProperCaseWords(ProperCaseWords {}),
        HeaderCase::Preserved => HeaderFormat::StatefulFormatter(core::TypedExtensionConfig {
            name: "preserve_case".to_owned(),
            typed_config: Some(pack(&PreserveCaseFormatterConfig::default())),
        }),
    };
    Some(HeaderKeyFormat {
        header_format: Some(format),
    })
}
