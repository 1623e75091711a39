//! Envoy's protocol of authorization over gRPC (`envoy.service.auth.v3`).

use std::sync::Arc;
use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use nuncio_envoy_api::envoy::config::core::v3::{HeaderValue as Header, HeaderValueOption};
use nuncio_envoy_api::envoy::service::auth::v3::check_response::HttpResponse;
use nuncio_envoy_api::envoy::service::auth::v3::{
    CheckRequest, CheckResponse, DeniedHttpResponse, OkHttpResponse,
};
use nuncio_envoy_api::envoy::r#type::v3::HttpStatus;
use nuncio_envoy_api::google::rpc::Status;
use prost::Message;
use serde_json::json;

use crate::respond::{Body, Wishes};
use crate::seen::Seen;
use crate::server::Upstream;

const CHECK: &str = "/envoy.service.auth.v3.Authorization/Check";

/// What stands before a message of gRPC: whether it is compressed, and its length.
const PREFIX: usize = 5;

const PERMISSION_DENIED: i32 = 7;

pub(crate) fn is_meant(request: &Request<Incoming>) -> bool {
    request.uri().path() == CHECK
}

/// Says whether the request that is asked about may pass.
pub(crate) async fn check(upstream: &Arc<Upstream>, request: Request<Incoming>) -> Response<Body> {
    let body = match request.into_body().collect().await {
        Ok(body) => body.to_bytes(),
        Err(_) => Bytes::new(),
    };
    let message = body.get(PREFIX..).unwrap_or_default();
    let Ok(asked) = CheckRequest::decode(message) else {
        return answer(None);
    };
    let attributes = asked.attributes.unwrap_or_default();
    let http = attributes.request.unwrap_or_default().http;
    let http = http.unwrap_or_default();
    let context = attributes.context_extensions.into_iter();
    let context = context.map(|(name, value)| (format!("x-echo-context-{name}"), value));
    let headers = http.headers.into_iter().chain(context);
    let seen = Seen {
        method: http.method,
        path: http.path,
        host: http.host,
        headers: headers.map(|(name, value)| (name, vec![value])).collect(),
        body: http.body.clone().into_bytes(),
    };
    let count = upstream.seen.push(seen.clone());
    let wishes = Wishes::of(upstream, &seen);
    if let Some(delay) = wishes.next(upstream, "x-echo-delay") {
        tokio::time::sleep(Duration::from_millis(delay)).await;
    }
    let status = wishes.next(upstream, "x-echo-status");
    let status = status.unwrap_or_else(|| upstream.status(count));
    let headers = wishes.all("x-echo-header").filter_map(header).collect();
    let allowed = status == StatusCode::OK;
    answer(Some(CheckResponse {
        status: Some(Status {
            code: if allowed { 0 } else { PERMISSION_DENIED },
            ..Default::default()
        }),
        http_response: Some(if allowed {
            HttpResponse::OkResponse(OkHttpResponse {
                headers,
                ..Default::default()
            })
        } else {
            HttpResponse::DeniedResponse(DeniedHttpResponse {
                status: Some(HttpStatus {
                    code: i32::from(status.as_u16()),
                }),
                headers,
                body: json!({
                    "upstream": upstream.name,
                    "method": seen.method,
                    "path": seen.path,
                    "host": seen.host,
                    "headers": seen.headers,
                    "body": http.body,
                })
                .to_string(),
            })
        }),
        ..Default::default()
    }))
}

fn header(wish: &str) -> Option<HeaderValueOption> {
    let (name, value) = wish.split_once('=')?;
    Some(HeaderValueOption {
        header: Some(Header {
            key: name.to_owned(),
            value: value.to_owned(),
            ..Default::default()
        }),
        ..Default::default()
    })
}

/// Without an answer the question was none.
fn answer(response: Option<CheckResponse>) -> Response<Body> {
    let status = if response.is_some() { "0" } else { "3" };
    let mut frame = BytesMut::new();
    if let Some(response) = response {
        let message = response.encode_to_vec();
        frame.put_u8(0);
        frame.put_u32(u32::try_from(message.len()).unwrap_or(u32::MAX));
        frame.extend_from_slice(&message);
    }
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", HeaderValue::from_static(status));
    let body = Full::new(frame.freeze()).with_trailers(async { Some(Ok(trailers)) });
    let mut response = Response::new(body.boxed_unsync());
    let kind = HeaderValue::from_static("application/grpc");
    response.headers_mut().insert(CONTENT_TYPE, kind);
    response
}
