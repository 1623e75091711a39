//! Who may ask for what: `envoy.extensions.filters.http.rbac.v3.RBAC`.

use std::collections::BTreeMap;

use nuncio_envoy_api::envoy::config::core::v3::CidrRange;
use nuncio_envoy_api::envoy::config::rbac::v3 as rbac_config;
use nuncio_envoy_api::envoy::extensions::filters::http::rbac::v3::Rbac;
use nuncio_envoy_api::envoy::extensions::filters::network::http_connection_manager::v3::HttpFilter;
use nuncio_model::filter::{AccessAction, AddressAccess, AddressOf, AddressPrincipal};
use nuncio_model::value::Domain;

use crate::filter::filter;
use crate::proto::{authority_is, uint32};

const RBAC: &str = "envoy.filters.http.rbac";

/// Envoy's reason for a request that asked for a host its connection was not made for:
/// `rbac_access_denied_matched_policy[…]` with the name of the policy below.
pub(crate) const MISDIRECTED_DETAILS: &str =
    "rbac_access_denied_matched_policy[misdirected_request]";
const MISDIRECTED_POLICY: &str = "misdirected_request";

/// Denies requests whose `:authority` is none of these domains. `None` when every host is one.
pub(crate) fn misdirected_requests(domains: &[Domain]) -> Option<HttpFilter> {
    if domains.iter().any(Domain::is_any) {
        return None;
    }
    let served = rbac_config::Permission {
        rule: Some(rbac_config::permission::Rule::OrRules(
            rbac_config::permission::Set {
                rules: domains.iter().map(asks_for).collect(),
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

fn asks_for(domain: &Domain) -> rbac_config::Permission {
    rbac_config::Permission {
        rule: Some(rbac_config::permission::Rule::Header(authority_is(domain))),
    }
}

/// Emissary's policies of `ip_allow` and `ip_deny`, by name.
pub(crate) fn address_access(access: &AddressAccess) -> Rbac {
    let (action, name) = match access.action {
        AccessAction::Allow => (rbac_config::rbac::Action::Allow, "ambassador-ip-allow"),
        AccessAction::Deny => (rbac_config::rbac::Action::Deny, "ambassador-ip-deny"),
    };
    let policy = rbac_config::Policy {
        permissions: vec![rbac_config::Permission {
            rule: Some(rbac_config::permission::Rule::Any(true)),
        }],
        principals: access.principals.iter().map(principal).collect(),
        ..Default::default()
    };
    // A policy needs a principal; without policies nobody is allowed.
    let policies = (!access.principals.is_empty()).then(|| (name.to_owned(), policy));
    Rbac {
        rules: Some(rbac_config::Rbac {
            action: action.into(),
            policies: policies.into_iter().collect(),
            ..Default::default()
        }),
        ..Default::default()
    }
}

fn principal(principal: &AddressPrincipal) -> rbac_config::Principal {
    use rbac_config::principal::Identifier;
    let range = CidrRange {
        address_prefix: principal.range.address.to_string(),
        prefix_len: uint32(principal.range.prefix_len.into()),
    };
    rbac_config::Principal {
        identifier: Some(match principal.whose {
            AddressOf::Peer => Identifier::DirectRemoteIp(range),
            AddressOf::Client => Identifier::RemoteIp(range),
        }),
    }
}
