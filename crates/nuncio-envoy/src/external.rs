//! The filters that ask services about requests: `ext_authz` and `ratelimit`, and what tables and
//! routes say of them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use nuncio_envoy_api::envoy::config::core::v3 as core;
use nuncio_envoy_api::envoy::config::ratelimit::v3::RateLimitServiceConfig;
use nuncio_envoy_api::envoy::config::route::v3 as rds;
use nuncio_envoy_api::envoy::extensions::filters::http::ext_authz::v3 as ext_authz;
use nuncio_envoy_api::envoy::extensions::filters::http::lua::v3 as lua;
use nuncio_envoy_api::envoy::extensions::filters::http::ratelimit::v3 as ratelimit;
use nuncio_envoy_api::envoy::r#type::matcher::v3 as matcher;
use nuncio_envoy_api::envoy::r#type::v3::HttpStatus;
use nuncio_envoy_api::google::protobuf::Any;
use nuncio_envoy_api::pack;
use nuncio_model::external::{
    AUTHORIZATION, Asks, AuthFilter, AuthProtocol, Authorization, HttpAuthorization, Label,
    RATE_LIMIT, RateLimit, RouteAuth, SentBody,
};
use nuncio_model::filter::Refusal;
use nuncio_model::route::{Action, Forward};

use crate::proto::{duration, inline_string};
use crate::route::disabled;

pub(crate) fn authorization(asked: &Authorization) -> ext_authz::ExtAuthz {
    use ext_authz::ext_authz::Services;
    let mut message = ext_authz::ExtAuthz {
        failure_mode_allow: asked.failure_mode_allow,
        with_request_body: asked.body.as_ref().map(sent_body),
        // What it adds to a request may be what a route asks for.
        clear_route_cache: true,
        status_on_error: asked.status_on_error.map(|status| HttpStatus {
            code: status.code().into(),
        }),
        ..Default::default()
    };
    match &asked.protocol {
        AuthProtocol::Grpc => {
            message.transport_api_version = core::ApiVersion::V3.into();
            message.services = Some(Services::GrpcService(grpc_service(
                &asked.cluster,
                Some(asked.timeout),
            )));
        }
        AuthProtocol::Http(http) => {
            message.allowed_headers = Some(names(&http.request_headers));
            message.services = Some(Services::HttpService(http_service(asked, http)));
        }
    }
    message
}

fn http_service(asked: &Authorization, http: &HttpAuthorization) -> ext_authz::HttpService {
    let response_headers = || Some(names(&http.response_headers));
    ext_authz::HttpService {
        server_uri: Some(http_uri(&asked.cluster, asked.timeout)),
        path_prefix: http
            .path_prefix
            .as_ref()
            .map(ToString::to_string)
            .unwrap_or_default(),
        authorization_request: (!http.add_headers.is_empty()).then(|| {
            ext_authz::AuthorizationRequest {
                headers_to_add: http
                    .add_headers
                    .iter()
                    .map(|(name, value)| core::HeaderValue {
                        key: name.to_string(),
                        value: value.to_string(),
                        ..Default::default()
                    })
                    .collect(),
                ..Default::default()
            }
        }),
        authorization_response: Some(ext_authz::AuthorizationResponse {
            allowed_upstream_headers: response_headers(),
            allowed_client_headers: response_headers(),
            ..Default::default()
        }),
        ..Default::default()
    }
}

pub(crate) fn http_uri(cluster: &str, timeout: Duration) -> core::HttpUri {
    core::HttpUri {
        // Required, and not looked at: the cluster counts.
        uri: format!("http://{cluster}"),
        timeout: duration(timeout),
        http_upstream_type: Some(core::http_uri::HttpUpstreamType::Cluster(
            cluster.to_owned(),
        )),
    }
}

pub(crate) fn sent_body(body: &SentBody) -> ext_authz::BufferSettings {
    ext_authz::BufferSettings {
        max_request_bytes: body.max_bytes,
        allow_partial_message: body.allow_partial,
        ..Default::default()
    }
}

/// The names of headers, whatever their case.
pub(crate) fn names(names: &[Arc<str>]) -> matcher::ListStringMatcher {
    use matcher::string_matcher::MatchPattern;
    let exact = |name: &Arc<str>| matcher::StringMatcher {
        match_pattern: Some(MatchPattern::Exact(name.to_string())),
        ignore_case: true,
    };
    matcher::ListStringMatcher {
        patterns: names.iter().map(exact).collect(),
    }
}

fn grpc_service(cluster: &str, timeout: Option<Duration>) -> core::GrpcService {
    use core::grpc_service::{EnvoyGrpc, TargetSpecifier};
    core::GrpcService {
        timeout: timeout.and_then(duration),
        target_specifier: Some(TargetSpecifier::EnvoyGrpc(EnvoyGrpc {
            cluster_name: cluster.to_owned(),
            ..Default::default()
        })),
        ..Default::default()
    }
}

/// A script that answers every request but the probes, in Emissary's words.
pub(crate) fn refusal(refusal: &Refusal) -> lua::Lua {
    let message = format!(
        "the {} AuthService is misconfigured; see the logs for more information",
        refusal.key
    );
    let script = format!(
        r#"local message = {}
function envoy_on_request(handle)
  local headers = handle:headers()
  local path = headers:get(":path")
  if path == "/ambassador/v0/check_alive" or path == "/ambassador/v0/check_ready" then
    return
  end
  local id = (headers:get("x-request-id") or ""):gsub('[%c"\\]', "")
  handle:respond(
    {{[":status"] = "500", ["content-type"] = "application/json"}},
    '{{\n  "message": "' .. message .. '",\n  "request_id": "' .. id ..
      '",\n  "status_code": 500\n}}\n')
end
"#,
        lua_string(&message)
    );
    lua::Lua {
        default_source_code: Some(inline_string(&script)),
        ..Default::default()
    }
}

/// A string of Lua, whose content can stand in one of JSON.
fn lua_string(text: &str) -> String {
    let mut quoted = String::from("\"");
    for c in text.chars().filter(|c| !c.is_control()) {
        match c {
            // Escaped for JSON, and both for Lua.
            '"' | '\\' => {
                quoted.push_str("\\\\\\");
                quoted.push(c);
            }
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}

pub(crate) fn rate_limit(asked: &RateLimit) -> ratelimit::RateLimit {
    ratelimit::RateLimit {
        domain: asked.domain.to_string(),
        request_type: "both".to_owned(),
        timeout: duration(asked.timeout),
        failure_mode_deny: asked.failure_mode_deny,
        rate_limited_as_resource_exhausted: asked.resource_exhausted,
        rate_limit_service: Some(RateLimitServiceConfig {
            grpc_service: Some(grpc_service(&asked.cluster, None)),
            transport_api_version: core::ApiVersion::V3.into(),
        }),
        ..Default::default()
    }
}

/// Switches off what is not asked.
pub(crate) fn of_table(asks: &Asks) -> BTreeMap<String, Any> {
    let off = [
        (AUTHORIZATION, asks.authorization == AuthFilter::Off),
        (RATE_LIMIT, asks.rate_limit.is_none()),
    ];
    off.into_iter()
        .filter(|(_, off)| *off)
        .map(|(name, _)| (name.to_owned(), disabled()))
        .collect()
}

/// What a route has of its own for the authorization. A redirect comes before it.
pub(crate) fn of_route(action: &Action, asks: &Asks) -> Option<(String, Any)> {
    use ext_authz::ext_authz_per_route::Override;
    let auth = match action {
        Action::Redirect(_) => &RouteAuth::Bypassed,
        Action::Forward(forward) => &forward.checks.as_ref()?.auth,
        Action::DirectResponse { .. } => return None,
    };
    let settings = match (auth, asks.authorization) {
        (RouteAuth::Asked, _) | (_, AuthFilter::Off) => return None,
        (RouteAuth::Bypassed, AuthFilter::Refuses) => pack(&lua::LuaPerRoute {
            r#override: Some(lua::lua_per_route::Override::Disabled(true)),
            ..Default::default()
        }),
        (RouteAuth::Extended(_), AuthFilter::Refuses) => return None,
        (RouteAuth::Bypassed, AuthFilter::Asks) => pack(&ext_authz::ExtAuthzPerRoute {
            r#override: Some(Override::Disabled(true)),
        }),
        (RouteAuth::Extended(extensions), AuthFilter::Asks) => {
            let text =
                |(name, value): (&Arc<str>, &Arc<str>)| (name.to_string(), value.to_string());
            pack(&ext_authz::ExtAuthzPerRoute {
                r#override: Some(Override::CheckSettings(ext_authz::CheckSettings {
                    context_extensions: extensions.iter().map(text).collect(),
                    ..Default::default()
                })),
            })
        }
    };
    Some((AUTHORIZATION.to_owned(), settings))
}

/// The descriptors of the domain that counts.
pub(crate) fn rate_limits(forward: &Forward, asks: &Asks) -> Vec<rds::RateLimit> {
    let descriptors = || {
        let labels = &forward.checks.as_ref()?.labels;
        labels.get(asks.rate_limit.as_ref()?)
    };
    let descriptors = descriptors().into_iter().flatten();
    descriptors
        .map(|labels| rds::RateLimit {
            actions: labels.iter().map(rate_limit_action).collect(),
            ..Default::default()
        })
        .collect()
}

fn rate_limit_action(label: &Label) -> rds::rate_limit::Action {
    use rds::rate_limit::action::{
        ActionSpecifier, DestinationCluster, GenericKey, RemoteAddress, RequestHeaders,
        SourceCluster,
    };
    rds::rate_limit::Action {
        action_specifier: Some(match label {
            Label::SourceCluster => ActionSpecifier::SourceCluster(SourceCluster {}),
            Label::DestinationCluster => ActionSpecifier::DestinationCluster(DestinationCluster {}),
            Label::RemoteAddress => ActionSpecifier::RemoteAddress(RemoteAddress {}),
            Label::RequestHeader { key, header } => {
                ActionSpecifier::RequestHeaders(RequestHeaders {
                    header_name: header.to_string(),
                    descriptor_key: key.to_string(),
                    ..Default::default()
                })
            }
            Label::GenericKey { key, value } => ActionSpecifier::GenericKey(GenericKey {
                descriptor_key: key.to_string(),
                descriptor_value: value.to_string(),
                ..Default::default()
            }),
        }),
    }
}

#[cfg(test)]
mod tests {
    use nuncio_envoy_api::envoy::r#type::v3::StatusCode;
    use nuncio_model::value::{self, LuaScript};

    use super::*;

    #[test]
    fn statuses_are_those_of_envoy() {
        for code in -1..700 {
            let known = StatusCode::try_from(code).is_ok();
            let allowed = value::HttpStatus::new(code.into()).is_ok();
            assert_eq!(allowed, known && code >= 200, "{code}");
        }
    }

    #[test]
    fn the_script_is_one_whatever_the_name() {
        for key in ["auth.default.1", "a\"b\\c\n]].x.1"] {
            let lua = refusal(&Refusal { key: key.into() });
            let source = lua.default_source_code.and_then(|source| source.specifier);
            let Some(core::data_source::Specifier::InlineString(script)) = source else {
                panic!("no script");
            };
            assert!(LuaScript::new(&script).is_ok(), "{script}");
        }
    }
}
