//! HTTP filters: the fixed list of every connection manager.

use std::collections::BTreeMap;

use nuncio_envoy_api::envoy::config::rbac::v3 as rbac_config;
use nuncio_envoy_api::envoy::config::route::v3 as rds;
use nuncio_envoy_api::envoy::extensions::filters::http::cors::v3::Cors;
use nuncio_envoy_api::envoy::extensions::filters::http::health_check::v3::HealthCheck;
use nuncio_envoy_api::envoy::extensions::filters::http::rbac::v3::Rbac;
use nuncio_envoy_api::envoy::extensions::filters::http::router::v3::Router;
use nuncio_envoy_api::envoy::extensions::filters::network::http_connection_manager::v3::{
    HttpFilter, http_filter::ConfigType,
};
use nuncio_envoy_api::envoy::r#type::matcher::v3::{StringMatcher, string_matcher::MatchPattern};
use nuncio_envoy_api::pack;
use nuncio_model::value::Domain;

use crate::proto::bool_value;

pub(crate) const CORS: &str = "envoy.filters.http.cors";
const RBAC: &str = "envoy.filters.http.rbac";
const ROUTER: &str = "envoy.filters.http.router";
const HEALTH_CHECK: &str = "envoy.filters.http.health_check";

/// Envoy's reason for a request that asked for a host its connection was not made for:
/// `rbac_access_denied_matched_policy[…]` with the name of the policy below.
pub(crate) const MISDIRECTED_DETAILS: &str =
    "rbac_access_denied_matched_policy[misdirected_request]";
const MISDIRECTED_POLICY: &str = "misdirected_request";

pub(crate) fn cors() -> HttpFilter {
    filter(CORS, &Cors {})
}

pub(crate) fn router() -> HttpFilter {
    filter(ROUTER, &Router::default())
}

/// Answers requests for a path: whether Envoy serves, or drains.
pub(crate) fn health_check(path: &str) -> HttpFilter {
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

/// Denies requests whose `:authority` is none of these domains. `None` when every host is one.
pub(crate) fn misdirected_requests(domains: &[Domain]) -> Option<HttpFilter> {
    if domains.iter().any(Domain::is_any) {
        return None;
    }
    let served = rbac_config::Permission {
        rule: Some(rbac_config::permission::Rule::OrRules(
            rbac_config::permission::Set {
                rules: domains.iter().map(authority_is).collect(),
            },
        )),
    };
    let policy = rbac_config::Policy {
        permissions: vec![rbac_config::Permission {
            rule: Some(rbac_config::permission::Rule::NotRule(Box::new(served))),
        }],
        principals: vec![rbac_config::Principal {
            identifier: Some(rbac_config::principal::Identifier::Any(true)),
        }],
        ..Default::default()
    };
    Some(filter(
        RBAC,
        &Rbac {
            rules: Some(rbac_config::Rbac {
                action: rbac_config::rbac::Action::Deny.into(),
                policies: BTreeMap::from([(MISDIRECTED_POLICY.to_owned(), policy)]),
                ..Default::default()
            }),
            ..Default::default()
        },
    ))
}

/// As virtual hosts match: without regard to case.
fn authority_is(domain: &Domain) -> rbac_config::Permission {
    let text = domain.as_str();
    let pattern = if let Some(suffix) = text.strip_prefix('*') {
        MatchPattern::Suffix(suffix.to_owned())
    } else if let Some(prefix) = text.strip_suffix('*') {
        MatchPattern::Prefix(prefix.to_owned())
    } else {
        MatchPattern::Exact(text.to_owned())
    };
    rbac_config::Permission {
        rule: Some(rbac_config::permission::Rule::Header(rds::HeaderMatcher {
            name: ":authority".to_owned(),
            header_match_specifier: Some(rds::header_matcher::HeaderMatchSpecifier::StringMatch(
                StringMatcher {
                    ignore_case: true,
                    match_pattern: Some(pattern),
                },
            )),
            ..Default::default()
        })),
    }
}

fn filter<M: prost::Message + prost::Name>(name: &str, config: &M) -> HttpFilter {
    HttpFilter {
        name: name.to_owned(),
        config_type: Some(ConfigType::TypedConfig(pack(config))),
        ..Default::default()
    }
}
