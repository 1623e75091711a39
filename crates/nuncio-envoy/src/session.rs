//! Sessions: the filter that sends a client back to the endpoint that answered it before, and what routes
//! say of it.

use nuncio_envoy_api::envoy::config::core::v3 as core;
use nuncio_envoy_api::envoy::extensions::filters::http::stateful_session::v3 as filter;
use nuncio_envoy_api::envoy::extensions::http::stateful_session::cookie::v3::CookieBasedSessionState;
use nuncio_envoy_api::envoy::extensions::http::stateful_session::header::v3::HeaderBasedSessionState;
use nuncio_envoy_api::envoy::r#type::http::v3::{Cookie, CookieAttribute};
use nuncio_envoy_api::google::protobuf::Any;
use nuncio_envoy_api::pack;
use nuncio_model::route::Session;

use crate::proto::duration;

pub(crate) const FILTER: &str = "envoy.filters.http.stateful_session";

/// Does nothing where a route says nothing.
pub(crate) fn filter() -> filter::StatefulSession {
    filter::StatefulSession::default()
}

pub(crate) fn of_route(session: &Session) -> Any {
    use filter::stateful_session_per_route::Override;
    let (name, state) = match session {
        Session::Cookie {
            name,
            path,
            ttl,
            secure,
        } => {
            let secure = secure.then(|| CookieAttribute {
                name: "Secure".to_owned(),
                value: String::new(),
            });
            let state = CookieBasedSessionState {
                cookie: Some(Cookie {
                    name: name.to_string(),
                    ttl: ttl.and_then(duration),
                    path: path.to_string(),
                    attributes: secure.into_iter().collect(),
                }),
            };
            ("envoy.http.stateful_session.cookie", pack(&state))
        }
        Session::Header(name) => {
            let state = HeaderBasedSessionState {
                name: name.to_string(),
            };
            ("envoy.http.stateful_session.header", pack(&state))
        }
    };
    pack(&filter::StatefulSessionPerRoute {
        r#override: Some(Override::StatefulSession(filter::StatefulSession {
            session_state: Some(core::TypedExtensionConfig {
                name: name.to_owned(),
                typed_config: Some(state),
            }),
            ..Default::default()
        })),
    })
}
