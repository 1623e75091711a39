//! One [`Route`] → `envoy.config.route.v3.Route`.

use std::collections::BTreeMap;
use std::sync::Arc;

use nuncio_envoy_api::envoy::config::core::v3 as core;
use nuncio_envoy_api::envoy::config::route::v3 as rds;
use nuncio_envoy_api::envoy::extensions::filters::http::cors::v3 as cors;
use nuncio_envoy_api::google::protobuf::Any;
use nuncio_envoy_api::pack;
use nuncio_model::external::Asks;
use nuncio_model::filter::{ERROR_RESPONSES, ROUTE_ERROR_RESPONSES};
use nuncio_model::route::{
    Action, Cors, ErrorResponses, Forward, HashPolicy, HeaderAddition, HeaderEdits, HeaderMatch,
    HostRewrite, Mirror, PathMatch, PathRewrite, QueryParameterMatch, Redirect, RedirectPath,
    RedirectScheme, RedirectStatus, RetryPolicy, Route, RouteMatch,
};

use nuncio_model::value::Fraction;

use crate::cluster::routing_priority;
use crate::proto::{
    bool_value, duration, regex, regex_and_substitute, runtime_fraction, string_matcher, uint32,
};
use crate::{error_response, external, filter, route_authorization, session};

/// A route of a table about whose requests this is asked.
pub(crate) fn route(route: &Route, asks: &Asks) -> rds::Route {
    let mut typed_per_filter_config = BTreeMap::new();
    if let Some(policy) = &route.cors {
        typed_per_filter_config.insert(filter::CORS.to_owned(), cors_policy(policy));
    }
    typed_per_filter_config.extend(external::of_route(&route.action, asks));
    if let Some(asked) = &route.authorization {
        typed_per_filter_config.extend(route_authorization::of_route(asked));
    }
    let action = match &route.action {
        Action::Forward(forward) => {
            match &forward.error_responses {
                ErrorResponses::Inherited => {}
                ErrorResponses::Off => {
                    typed_per_filter_config.insert(ERROR_RESPONSES.to_owned(), disabled());
                }
                ErrorResponses::Own(responses) => {
                    typed_per_filter_config.insert(ERROR_RESPONSES.to_owned(), disabled());
                    typed_per_filter_config.insert(
                        ROUTE_ERROR_RESPONSES.to_owned(),
                        pack(&error_response::filter(responses)),
                    );
                }
            }
            if let Some(session) = &forward.session {
                let session = session::of_route(session);
                typed_per_filter_config.insert(session::FILTER.to_owned(), session);
            }
            rds::route::Action::Route(route_action(forward, asks))
        }
        Action::Redirect(redirect) => rds::route::Action::Redirect(redirect_action(redirect)),
        Action::DirectResponse { status, body } => {
            rds::route::Action::DirectResponse(rds::DirectResponseAction {
                status: (*status).into(),
                body: (!body.is_empty()).then(|| core::DataSource {
                    specifier: Some(core::data_source::Specifier::InlineString(body.to_string())),
                    ..Default::default()
                }),
                ..Default::default()
            })
        }
    };
    rds::Route {
        r#match: Some(route_match(&route.matches)),
        action: Some(action),
        typed_per_filter_config,
        request_headers_to_add: headers_to_add(&route.request_headers),
        request_headers_to_remove: headers_to_remove(&route.request_headers),
        response_headers_to_add: headers_to_add(&route.response_headers),
        response_headers_to_remove: headers_to_remove(&route.response_headers),
        ..Default::default()
    }
}

fn route_match(matches: &RouteMatch) -> rds::RouteMatch {
    use rds::route_match::PathSpecifier;
    rds::RouteMatch {
        path_specifier: Some(match &matches.path {
            PathMatch::Prefix(prefix) => PathSpecifier::Prefix(prefix.to_string()),
            PathMatch::Segments(path) => PathSpecifier::PathSeparatedPrefix(path.to_string()),
            PathMatch::Exact(path) => PathSpecifier::Path(path.to_string()),
            PathMatch::Regex(pattern) => PathSpecifier::SafeRegex(regex(pattern)),
            PathMatch::Connect => {
                PathSpecifier::ConnectMatcher(rds::route_match::ConnectMatcher {})
            }
        }),
        case_sensitive: if matches.case_sensitive {
            None // Envoy's default
        } else {
            bool_value(false)
        },
        headers: matches.headers.iter().map(header_matcher).collect(),
        query_parameters: matches
            .query_parameters
            .iter()
            .map(query_parameter_matcher)
            .collect(),
        runtime_fraction: matches.fraction.as_ref().map(|fraction| {
            runtime_fraction(
                fraction.share,
                fraction.runtime_key.as_deref().unwrap_or_default(),
            )
        }),
        ..Default::default()
    }
}

fn header_matcher(header: &HeaderMatch) -> rds::HeaderMatcher {
    rds::HeaderMatcher {
        name: header.name.to_string(),
        header_match_specifier: Some(rds::header_matcher::HeaderMatchSpecifier::StringMatch(
            string_matcher(&header.value),
        )),
        ..Default::default()
    }
}

fn query_parameter_matcher(parameter: &QueryParameterMatch) -> rds::QueryParameterMatcher {
    use rds::query_parameter_matcher::QueryParameterMatchSpecifier;
    rds::QueryParameterMatcher {
        name: parameter.name.to_string(),
        query_parameter_match_specifier: Some(QueryParameterMatchSpecifier::StringMatch(
            string_matcher(&parameter.value),
        )),
    }
}

fn route_action(forward: &Forward, asks: &Asks) -> rds::RouteAction {
    use rds::route_action::{ClusterSpecifier, HostRewriteSpecifier, UpgradeConfig};
    let mut action = rds::RouteAction {
        cluster_specifier: Some(ClusterSpecifier::Cluster(forward.cluster.to_string())),
        timeout: duration(forward.timeout),
        idle_timeout: forward.idle_timeout.and_then(duration),
        retry_policy: forward.retry.as_ref().map(retry_policy),
        request_mirror_policies: forward.mirrors.iter().map(mirror_policy).collect(),
        upgrade_configs: forward
            .upgrades
            .iter()
            .map(|upgrade| UpgradeConfig {
                upgrade_type: upgrade.to_string(),
                ..Default::default()
            })
            .collect(),
        priority: routing_priority(forward.priority).into(),
        hash_policy: forward.hash_policy.iter().map(hash_policy).collect(),
        rate_limits: external::rate_limits(forward, asks),
        host_rewrite_specifier: match &forward.host_rewrite {
            HostRewrite::None => None,
            HostRewrite::Literal(host) => {
                Some(HostRewriteSpecifier::HostRewriteLiteral(host.to_string()))
            }
            HostRewrite::Auto => bool_value(true).map(HostRewriteSpecifier::AutoHostRewrite),
        },
        ..Default::default()
    };
    match &forward.path_rewrite {
        PathRewrite::None => {}
        PathRewrite::Prefix(path) => action.prefix_rewrite = path.to_string(),
        PathRewrite::Regex {
            pattern,
            substitution,
        } => action.regex_rewrite = Some(regex_and_substitute(pattern, substitution)),
    }
    action
}

fn hash_policy(policy: &HashPolicy) -> rds::route_action::HashPolicy {
    use rds::route_action::hash_policy::{ConnectionProperties, Cookie, Header, PolicySpecifier};
    rds::route_action::HashPolicy {
        policy_specifier: Some(match policy {
            HashPolicy::Cookie { name, path, ttl } => PolicySpecifier::Cookie(Cookie {
                name: name.to_string(),
                path: path.to_string(),
                ttl: ttl.and_then(duration),
                ..Default::default()
            }),
            HashPolicy::Header(name) => PolicySpecifier::Header(Header {
                header_name: name.to_string(),
                ..Default::default()
            }),
            HashPolicy::SourceIp => {
                PolicySpecifier::ConnectionProperties(ConnectionProperties { source_ip: true })
            }
        }),
        ..Default::default()
    }
}

/// Switches a filter off for a route, also one that is not there.
pub(crate) fn disabled() -> Any {
    pack(&rds::FilterConfig {
        disabled: true,
        ..Default::default()
    })
}

fn retry_policy(retry: &RetryPolicy) -> rds::RetryPolicy {
    rds::RetryPolicy {
        retry_on: retry.retry_on.join(","),
        num_retries: retry.num_retries.and_then(uint32),
        per_try_timeout: retry.per_try_timeout.and_then(duration),
        retriable_status_codes: retry.statuses.iter().copied().map(u32::from).collect(),
        retry_back_off: retry.back_off.map(|base| rds::retry_policy::RetryBackOff {
            base_interval: duration(base),
            ..Default::default()
        }),
        ..Default::default()
    }
}

fn mirror_policy(mirror: &Mirror) -> rds::route_action::RequestMirrorPolicy {
    rds::route_action::RequestMirrorPolicy {
        cluster: mirror.cluster.to_string(),
        runtime_fraction: Some(runtime_fraction(mirror.share, "")),
        ..Default::default()
    }
}

fn redirect_action(redirect: &Redirect) -> rds::RedirectAction {
    use rds::redirect_action::{
        PathRewriteSpecifier, RedirectResponseCode, SchemeRewriteSpecifier,
    };
    rds::RedirectAction {
        scheme_rewrite_specifier: redirect.scheme.map(|scheme| match scheme {
            RedirectScheme::Https => SchemeRewriteSpecifier::HttpsRedirect(true),
            RedirectScheme::Http => SchemeRewriteSpecifier::SchemeRedirect("http".to_owned()),
        }),
        host_redirect: redirect
            .host
            .as_ref()
            .map(ToString::to_string)
            .unwrap_or_default(),
        port_redirect: redirect.port.map(u32::from).unwrap_or_default(),
        path_rewrite_specifier: match &redirect.path {
            RedirectPath::Keep => None,
            RedirectPath::Full(path) => Some(PathRewriteSpecifier::PathRedirect(path.to_string())),
            RedirectPath::Prefix(path) => {
                Some(PathRewriteSpecifier::PrefixRewrite(path.to_string()))
            }
            RedirectPath::Regex {
                pattern,
                substitution,
            } => Some(PathRewriteSpecifier::RegexRewrite(regex_and_substitute(
                pattern,
                substitution,
            ))),
        },
        response_code: match redirect.status {
            RedirectStatus::MovedPermanently => RedirectResponseCode::MovedPermanently,
            RedirectStatus::Found => RedirectResponseCode::Found,
            RedirectStatus::SeeOther => RedirectResponseCode::SeeOther,
            RedirectStatus::TemporaryRedirect => RedirectResponseCode::TemporaryRedirect,
            RedirectStatus::PermanentRedirect => RedirectResponseCode::PermanentRedirect,
        }
        .into(),
        ..Default::default()
    }
}

fn cors_policy(policy: &Cors) -> Any {
    pack(&cors::CorsPolicy {
        allow_origin_string_match: policy.allow_origins.iter().map(string_matcher).collect(),
        allow_methods: list(&policy.allow_methods),
        allow_headers: list(&policy.allow_headers),
        expose_headers: list(&policy.expose_headers),
        max_age: policy.max_age.as_deref().unwrap_or_default().to_owned(),
        allow_credentials: policy
            .allow_credentials
            .then_some(true)
            .and_then(bool_value),
        forward_not_matching_preflights: (policy.answers_others)
            .then(|| bool_value(false))
            .flatten(),
        filter_enabled: Some(runtime_fraction(Fraction::ALL, "")),
        ..Default::default()
    })
}

fn list(items: &[Arc<str>]) -> String {
    items.join(", ")
}

pub(crate) fn headers_to_add(edits: &HeaderEdits) -> Vec<core::HeaderValueOption> {
    header_values(&edits.add)
}

pub(crate) fn header_values(additions: &[HeaderAddition]) -> Vec<core::HeaderValueOption> {
    use core::header_value_option::HeaderAppendAction;
    additions
        .iter()
        .map(|addition| core::HeaderValueOption {
            header: Some(core::HeaderValue {
                key: addition.name.to_string(),
                value: addition.value.to_string(),
                ..Default::default()
            }),
            append_action: if addition.append {
                HeaderAppendAction::AppendIfExistsOrAdd
            } else {
                HeaderAppendAction::OverwriteIfExistsOrAdd
            }
            .into(),
            ..Default::default()
        })
        .collect()
}

pub(crate) fn headers_to_remove(edits: &HeaderEdits) -> Vec<String> {
    edits.remove.iter().map(ToString::to_string).collect()
}
