//! [`ErrorResponse`]s → `envoy.extensions.filters.http.custom_response.v3.CustomResponse`.

use std::collections::BTreeMap;

use nuncio_envoy_api::envoy::config::core::v3 as core;
use nuncio_envoy_api::envoy::extensions::filters::http::custom_response::v3::CustomResponse;
use nuncio_envoy_api::envoy::extensions::http::custom_response::local_response_policy::v3 as local;
use nuncio_envoy_api::envoy::r#type::matcher::v3::HttpResponseStatusCodeMatchInput;
use nuncio_envoy_api::pack;
use nuncio_envoy_api::xds::core::v3::TypedExtensionConfig;
use nuncio_envoy_api::xds::r#type::matcher::v3::{Matcher, matcher};
use nuncio_model::filter::{BodyFormat, ErrorResponse};

use crate::proto::{inline_string, json_object};

/// The settings of the filter, and of a route that has its own.
pub(crate) fn filter(responses: &[ErrorResponse]) -> CustomResponse {
    use matcher::matcher_tree::{MatchMap, TreeType};
    let map: BTreeMap<String, matcher::OnMatch> = responses
        .iter()
        .map(|response| (response.status.to_string(), on_match(response)))
        .collect();
    CustomResponse {
        custom_response_matcher: (!map.is_empty()).then(|| Matcher {
            matcher_type: Some(matcher::MatcherType::MatcherTree(matcher::MatcherTree {
                input: Some(TypedExtensionConfig {
                    name: "status".to_owned(),
                    typed_config: Some(pack(&HttpResponseStatusCodeMatchInput {})),
                }),
                tree_type: Some(TreeType::ExactMatchMap(MatchMap { map })),
            })),
            ..Default::default()
        }),
    }
}

fn on_match(response: &ErrorResponse) -> matcher::OnMatch {
    // The type that a body format has does not become the answer's.
    let content_type = match (&response.content_type, &response.body) {
        (Some(given), _) => given.as_str(),
        (None, BodyFormat::Text(_)) => "text/plain",
        (None, BodyFormat::Json(_)) => "application/json",
    };
    let policy = local::LocalResponsePolicy {
        body_format: Some(body_format(response)),
        response_headers_to_add: vec![core::HeaderValueOption {
            header: Some(core::HeaderValue {
                key: "content-type".to_owned(),
                value: content_type.to_owned(),
                ..Default::default()
            }),
            append_action: core::header_value_option::HeaderAppendAction::OverwriteIfExistsOrAdd
                .into(),
            ..Default::default()
        }],
        response_code_details_action: Some(
            local::local_response_policy::ResponseCodeDetailsAction::PreserveResponseCodeDetails(
                true,
            ),
        ),
        ..Default::default()
    };
    matcher::OnMatch {
        on_match: Some(matcher::on_match::OnMatch::Action(TypedExtensionConfig {
            name: "respond".to_owned(),
            typed_config: Some(pack(&policy)),
        })),
        ..Default::default()
    }
}

fn body_format(response: &ErrorResponse) -> core::SubstitutionFormatString {
    use core::substitution_format_string::Format;
    core::SubstitutionFormatString {
        format: Some(match &response.body {
            BodyFormat::Text(text) => Format::TextFormatSource(inline_string(text.as_str())),
            BodyFormat::Json(fields) => Format::JsonFormat(json_object(fields)),
        }),
        ..Default::default()
    }
}
