//! HTTP filters: the fixed list of every connection manager, and those that users configure.
//!
//! The latter are resources of their own (ECDS): a change of one reaches the filter where it is,
//! and the listener, whose connections a change would drain, stays as it is.

use std::sync::Arc;

use nuncio_envoy_api::envoy::config::core::v3 as core;
use nuncio_envoy_api::envoy::config::route::v3 as rds;
use nuncio_envoy_api::envoy::extensions::compression::brotli::compressor::v3 as brotli;
use nuncio_envoy_api::envoy::extensions::compression::gzip::compressor::v3 as gzip;
use nuncio_envoy_api::envoy::extensions::filters::http::buffer::v3::Buffer;
use nuncio_envoy_api::envoy::extensions::filters::http::compressor::v3 as compressor;
use nuncio_envoy_api::envoy::extensions::filters::http::cors::v3::Cors;
use nuncio_envoy_api::envoy::extensions::filters::http::custom_response::v3::CustomResponse;
use nuncio_envoy_api::envoy::extensions::filters::http::ext_authz::v3::ExtAuthz;
use nuncio_envoy_api::envoy::extensions::filters::http::grpc_http1_bridge::v3 as grpc_bridge;
use nuncio_envoy_api::envoy::extensions::filters::http::grpc_stats::v3 as grpc_stats;
use nuncio_envoy_api::envoy::extensions::filters::http::grpc_web::v3::GrpcWeb;
use nuncio_envoy_api::envoy::extensions::filters::http::health_check::v3::HealthCheck;
use nuncio_envoy_api::envoy::extensions::filters::http::lua::v3::Lua;
use nuncio_envoy_api::envoy::extensions::filters::http::ratelimit::v3::RateLimit;
use nuncio_envoy_api::envoy::extensions::filters::http::rbac::v3::Rbac;
use nuncio_envoy_api::envoy::extensions::filters::http::router::v3::Router;
use nuncio_envoy_api::envoy::extensions::filters::network::http_connection_manager::v3::{
    HttpFilter as Entry, http_filter::ConfigType,
};
use nuncio_envoy_api::envoy::r#type::matcher::v3::{StringMatcher, string_matcher::MatchPattern};
use nuncio_envoy_api::google::protobuf::Any;
use nuncio_envoy_api::pack;
use nuncio_envoy_api::resource::Resource;
use nuncio_model::external::{AUTHORIZATION, RATE_LIMIT};
use nuncio_model::filter::{
    ADDRESS_ACCESS, Brotli, CompressedResponses, ERROR_RESPONSES, FilterConfig, GrpcMethods,
    GrpcStats, Gzip, GzipLevel, GzipStrategy, HttpFilter, LUA, ROUTE_ERROR_RESPONSES,
};
use prost::Name;

use crate::error_response;
use crate::external;
use crate::proto::{ads, bool_value, inline_string, runtime_flag, uint32};
use crate::rbac;
use crate::resource;

pub(crate) const CORS: &str = "envoy.filters.http.cors";
const ROUTER: &str = "envoy.filters.http.router";
const HEALTH_CHECK: &str = "envoy.filters.http.health_check";

pub(crate) fn cors() -> Entry {
    filter(CORS, &Cors {})
}

/// Deprecated for `HttpConnectionManager.Tracing.spawn_upstream_span`, which makes other spans.
#[allow(deprecated)]
pub(crate) fn router(suppress_envoy_headers: bool, start_child_span: bool) -> Entry {
    filter(
        ROUTER,
        &Router {
            suppress_envoy_headers,
            start_child_span,
            ..Default::default()
        },
    )
}

pub(crate) fn filter<M: prost::Message + Name>(name: &str, config: &M) -> Entry {
    Entry {
        name: name.to_owned(),
        config_type: Some(ConfigType::TypedConfig(pack(config))),
        ..Default::default()
    }
}

/// Answers requests for a path: whether Envoy serves, or drains.
pub(crate) fn health_check(path: &str) -> Entry {
    let header = rds::HeaderMatcher {
        name: ":path".to_owned(),
        header_match_specifier: Some(rds::header_matcher::HeaderMatchSpecifier::StringMatch(
            StringMatcher {
                match_pattern: Some(MatchPattern::Exact(path.to_owned())),
                ..Default::default()
            },
        )),
        ..Default::default()
    };
    filter(
        HEALTH_CHECK,
        &HealthCheck {
            pass_through_mode: bool_value(false),
            headers: vec![header],
            ..Default::default()
        },
    )
}

/// A filter whose settings come by themselves. Its type is told by its name.
pub(crate) fn discovered(name: &Arc<str>) -> Entry {
    Entry {
        name: name.to_string(),
        config_type: Some(ConfigType::ConfigDiscovery(core::ExtensionConfigSource {
            config_source: Some(ads()),
            type_urls: type_urls(name),
            default_config: default_settings(name),
            ..Default::default()
        })),
        ..Default::default()
    }
}

/// The types that the settings of the filter with a name may have.
fn type_urls(name: &str) -> Vec<String> {
    let type_url = match name {
        AUTHORIZATION => return vec![ExtAuthz::type_url(), Lua::type_url()],
        RATE_LIMIT => return vec![RateLimit::type_url(), Lua::type_url()],
        "envoy.filters.http.grpc_http1_bridge" => grpc_bridge::Config::type_url(),
        "envoy.filters.http.grpc_web" => GrpcWeb::type_url(),
        "envoy.filters.http.grpc_stats" => grpc_stats::FilterConfig::type_url(),
        LUA => Lua::type_url(),
        "envoy.filters.http.gzip" | "envoy.filters.http.brotli" => {
            compressor::Compressor::type_url()
        }
        "envoy.filters.http.buffer" => Buffer::type_url(),
        ERROR_RESPONSES | ROUTE_ERROR_RESPONSES => CustomResponse::type_url(),
        ADDRESS_ACCESS => Rbac::type_url(),
        other => unreachable!("invariant: {other} is the name of a filter"),
    };
    vec![type_url]
}

/// What a filter does whose settings Envoy never took; without it, it answers 500. Only a script can
/// fail when it is loaded, so only that filter does nothing then.
fn default_settings(name: &str) -> Option<Any> {
    let is_lua = name == LUA;
    is_lua.then(|| pack(&Lua::default()))
}

/// ECDS: [`HttpFilter`] → `envoy.config.core.v3.TypedExtensionConfig`.
pub fn extension_config(filter: &HttpFilter) -> Resource {
    resource(&core::TypedExtensionConfig {
        name: filter.config.name().to_owned(),
        typed_config: Some(settings(&filter.config)),
    })
}

fn settings(config: &FilterConfig) -> Any {
    match config {
        FilterConfig::GrpcHttp1Bridge => pack(&grpc_bridge::Config::default()),
        FilterConfig::GrpcWeb => pack(&GrpcWeb {}),
        FilterConfig::GrpcStats(stats) => pack(&grpc_stats_config(stats)),
        FilterConfig::Lua(script) => pack(&Lua {
            default_source_code: Some(inline_string(script.as_str())),
            ..Default::default()
        }),
        FilterConfig::Gzip(gzip) => pack(&gzip_config(gzip)),
        FilterConfig::Brotli(brotli) => pack(&brotli_config(brotli)),
        FilterConfig::Buffer { max_request_bytes } => pack(&Buffer {
            max_request_bytes: uint32(*max_request_bytes),
        }),
        FilterConfig::ErrorResponses(responses) => pack(&error_response::filter(responses)),
        FilterConfig::RouteErrorResponses => pack(&error_response::filter(&[])),
        FilterConfig::AddressAccess(access) => pack(&rbac::address_access(access)),
        FilterConfig::Authorization(asked) => pack(&external::authorization(asked)),
        FilterConfig::Refusal(refusal) => pack(&external::refusal(refusal)),
        FilterConfig::RateLimit(asked) => pack(&external::rate_limit(asked)),
        FilterConfig::Off(_) => pack(&Lua::default()),
    }
}

fn grpc_stats_config(stats: &GrpcStats) -> grpc_stats::FilterConfig {
    use grpc_stats::filter_config::PerMethodStatSpecifier;
    grpc_stats::FilterConfig {
        enable_upstream_stats: stats.upstream_stats,
        per_method_stat_specifier: Some(match &stats.methods {
            GrpcMethods::All => {
                PerMethodStatSpecifier::StatsForAllMethods(bool_value(true).unwrap_or_default())
            }
            GrpcMethods::None => {
                PerMethodStatSpecifier::StatsForAllMethods(bool_value(false).unwrap_or_default())
            }
            GrpcMethods::Of(services) => {
                PerMethodStatSpecifier::IndividualMethodStatsAllowlist(core::GrpcMethodList {
                    services: services
                        .iter()
                        .map(|service| core::grpc_method_list::Service {
                            name: service.name.to_string(),
                            method_names: service.methods.iter().map(ToString::to_string).collect(),
                        })
                        .collect(),
                })
            }
        }),
        ..Default::default()
    }
}

fn gzip_config(settings: &Gzip) -> compressor::Compressor {
    use gzip::gzip::{CompressionLevel, CompressionStrategy};
    let library = gzip::Gzip {
        memory_level: settings.memory_level.and_then(uint32),
        window_bits: settings.window_bits.and_then(uint32),
        compression_level: match settings.level {
            GzipLevel::Default => CompressionLevel::DefaultCompression.into(),
            // The enumeration's numbers are the levels.
            GzipLevel::Level(level) => level.into(),
        },
        compression_strategy: match settings.strategy {
            GzipStrategy::Default => CompressionStrategy::DefaultStrategy,
            GzipStrategy::Filtered => CompressionStrategy::Filtered,
            GzipStrategy::HuffmanOnly => CompressionStrategy::HuffmanOnly,
            GzipStrategy::Rle => CompressionStrategy::Rle,
            GzipStrategy::Fixed => CompressionStrategy::Fixed,
        }
        .into(),
        ..Default::default()
    };
    compressor::Compressor {
        compressor_library: Some(core::TypedExtensionConfig {
            name: "gzip".to_owned(),
            typed_config: Some(pack(&library)),
        }),
        ..compressed(&settings.responses)
    }
}

fn brotli_config(settings: &Brotli) -> compressor::Compressor {
    let library = brotli::Brotli {
        quality: settings.quality.and_then(uint32),
        window_bits: settings.window_bits.and_then(uint32),
        ..Default::default()
    };
    compressor::Compressor {
        compressor_library: Some(core::TypedExtensionConfig {
            name: "brotli".to_owned(),
            typed_config: Some(pack(&library)),
        }),
        choose_first: true,
        ..compressed(&settings.responses)
    }
}

/// `content_type` is deprecated for a matcher that Envoy 1.40 does not have yet.
#[allow(deprecated)]
fn compressed(responses: &CompressedResponses) -> compressor::Compressor {
    compressor::Compressor {
        response_direction_config: Some(compressor::compressor::ResponseDirectionConfig {
            common_config: Some(compressor::compressor::CommonDirectionConfig {
                enabled: Some(runtime_flag(true)),
                min_content_length: responses.min_content_length.and_then(uint32),
                content_type: responses
                    .content_types
                    .iter()
                    .map(ToString::to_string)
                    .collect(),
                ..Default::default()
            }),
            disable_on_etag_header: responses.disable_on_etag_header,
            remove_accept_encoding_header: responses.remove_accept_encoding_header,
            ..Default::default()
        }),
        ..Default::default()
    }
}
