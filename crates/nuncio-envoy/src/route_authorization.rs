//! Who is asked about a route alone: filters that do nothing where a route says nothing, and what routes have
//! them do.
//!
//! It is a composite, which takes a whole filter from a route. What a route may say of `ext_authz` itself leaves
//! out which headers go along. Before it a script measures bodies: what came while an earlier filter waited for
//! an answer `ext_authz` cuts off, whatever it was told of longer bodies.

use nuncio_envoy_api::envoy::config::common::mutation_rules::v3::HeaderMutationRules;
use nuncio_envoy_api::envoy::config::core::v3 as core;
use nuncio_envoy_api::envoy::extensions::filters::http::composite::v3 as composite;
use nuncio_envoy_api::envoy::extensions::filters::http::ext_authz::v3 as ext_authz;
use nuncio_envoy_api::envoy::extensions::filters::http::lua::v3 as lua;
use nuncio_envoy_api::envoy::extensions::filters::network::http_connection_manager::v3::HttpFilter as Entry;
use nuncio_envoy_api::envoy::r#type::matcher::v3 as matcher;
use nuncio_envoy_api::google::protobuf::{Any, Struct, Value, value};
use nuncio_envoy_api::pack;
use nuncio_envoy_api::xds::core::v3::TypedExtensionConfig;
use nuncio_envoy_api::xds::r#type::matcher::v3::Matcher;
use nuncio_envoy_api::xds::r#type::matcher::v3::matcher::{OnMatch, on_match};
use nuncio_model::external::{
    AUTHORIZATION, ROUTE_AUTHORIZATION, RouteAuthProtocol, RouteAuthorization,
};

use crate::external::{http_uri, names, sent_body};
use crate::filter::filter;
use crate::proto::{bool_value, duration, inline_string};

/// Headers of an answer that are about the answer itself: a request that took them over would not be the one
/// that came.
const OF_THE_ANSWER: &str = "connection|content-.*|date|host|keep-alive|proxy-.*|server|te|trailer|\
    transfer-encoding|upgrade";

/// The filter that measures bodies.
const BODY_LIMIT: &str = "envoy.filters.http.lua.route";

/// Its script, by name.
const SCRIPT: (&str, &str) = (
    "body-limit",
    r#"function envoy_on_request(handle)
  local body = handle:body()
  if body and body:length() > handle:filterContext():get("limit") then
    handle:respond({[":status"] = "413"}, "Payload Too Large")
  end
end
"#,
);

pub(crate) fn filters() -> [Entry; 2] {
    let (name, script) = SCRIPT;
    let measures = lua::Lua {
        source_codes: [(name.to_owned(), inline_string(script))].into(),
        ..Default::default()
    };
    [
        filter(BODY_LIMIT, &measures),
        filter(ROUTE_AUTHORIZATION, &composite::Composite::default()),
    ]
}

/// What a route has of its own for these filters.
pub(crate) fn of_route(asked: &RouteAuthorization) -> Vec<(String, Any)> {
    let limit = asked.body.map(|body| body_limit(body.max_bytes));
    let limit = limit.map(|settings| (BODY_LIMIT.to_owned(), settings));
    let asks = (ROUTE_AUTHORIZATION.to_owned(), asks(asked));
    limit.into_iter().chain([asks]).collect()
}

fn body_limit(bytes: u32) -> Any {
    let limit = Value {
        kind: Some(value::Kind::NumberValue(bytes.into())),
    };
    pack(&lua::LuaPerRoute {
        r#override: Some(lua::lua_per_route::Override::Name(SCRIPT.0.to_owned())),
        filter_context: Some(Struct {
            fields: [("limit".to_owned(), limit)].into(),
        }),
        ..Default::default()
    })
}

fn asks(asked: &RouteAuthorization) -> Any {
    // One filter alone: of a chain within a composite Envoy 1.40 does not wait for the second.
    let action = composite::ExecuteFilterAction {
        typed_config: Some(core::TypedExtensionConfig {
            name: AUTHORIZATION.to_owned(),
            typed_config: Some(pack(&authorization(asked))),
        }),
        ..Default::default()
    };
    let always = OnMatch {
        on_match: Some(on_match::OnMatch::Action(TypedExtensionConfig {
            name: "ask".to_owned(),
            typed_config: Some(pack(&action)),
        })),
        ..Default::default()
    };
    pack(&composite::CompositePerRoute {
        matcher: Some(Matcher {
            on_no_match: Some(Box::new(always)),
            matcher_type: None,
        }),
    })
}

fn authorization(asked: &RouteAuthorization) -> ext_authz::ExtAuthz {
    use core::grpc_service::{EnvoyGrpc, TargetSpecifier};
    use ext_authz::ext_authz::Services;
    let mut message = ext_authz::ExtAuthz {
        with_request_body: asked.body.as_ref().map(sent_body),
        allowed_headers: asked.request_headers.as_deref().map(names),
        ..Default::default()
    };
    message.services = Some(match &asked.protocol {
        RouteAuthProtocol::Grpc { authority } => {
            message.transport_api_version = core::ApiVersion::V3.into();
            Services::GrpcService(core::GrpcService {
                timeout: duration(asked.timeout),
                // Else it is the cluster's name, which is no host.
                target_specifier: Some(TargetSpecifier::EnvoyGrpc(EnvoyGrpc {
                    cluster_name: asked.cluster.to_string(),
                    authority: authority.to_string(),
                    ..Default::default()
                })),
                ..Default::default()
            })
        }
        RouteAuthProtocol::Http {
            path_prefix,
            response_headers,
        } => {
            message.decoder_header_mutation_rules = Some(HeaderMutationRules {
                disallow_system: bool_value(true),
                disallow_expression: Some(expression(match response_headers {
                    Some(_) => "host",
                    None => OF_THE_ANSWER,
                })),
                ..Default::default()
            });
            let upstream = response_headers.as_deref().map_or_else(every_name, names);
            let path_prefix = path_prefix.as_ref().map(ToString::to_string);
            Services::HttpService(ext_authz::HttpService {
                server_uri: Some(http_uri(&asked.cluster, asked.timeout)),
                path_prefix: path_prefix.unwrap_or_default(),
                authorization_response: Some(ext_authz::AuthorizationResponse {
                    allowed_upstream_headers: Some(upstream),
                    ..Default::default()
                }),
                ..Default::default()
            })
        }
    });
    message
}

fn every_name() -> matcher::ListStringMatcher {
    use matcher::string_matcher::MatchPattern;
    matcher::ListStringMatcher {
        patterns: vec![matcher::StringMatcher {
            match_pattern: Some(MatchPattern::SafeRegex(expression(".*"))),
            ignore_case: false,
        }],
    }
}

fn expression(regex: &str) -> matcher::RegexMatcher {
    matcher::RegexMatcher {
        regex: regex.to_owned(),
        engine_type: None,
    }
}
