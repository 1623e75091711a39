use std::io;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, TE};
use http::{HeaderMap, HeaderValue, Method, Request, StatusCode};
use http_body_util::Full;

use super::Client;

/// What came of a gRPC call.
#[derive(Clone, Debug)]
pub struct GrpcAnswer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    /// `grpc-status`, from the trailers or, without a body, from the headers.
    pub grpc_status: Option<String>,
    /// Each message without its frame.
    pub messages: Vec<Bytes>,
}

impl Client {
    /// Calls a method with one message.
    pub async fn grpc(&mut self, host: &str, path: &str, message: &[u8]) -> io::Result<GrpcAnswer> {
        let length = u32::try_from(message.len()).unwrap_or(u32::MAX);
        let mut frame = vec![0];
        frame.extend(length.to_be_bytes());
        frame.extend(message);
        let mut request = Request::new(Full::new(Bytes::from(frame)));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = path.parse().unwrap_or_default();
        let headers = request.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
        headers.insert(TE, HeaderValue::from_static("trailers"));
        let answer = self.send(host, request).await?;
        let grpc_status = answer
            .trailers
            .get("grpc-status")
            .or(answer.headers.get("grpc-status"))
            .map(|status| String::from_utf8_lossy(status.as_bytes()).into_owned());
        Ok(GrpcAnswer {
            status: answer.status,
            headers: answer.headers,
            grpc_status,
            messages: messages(answer.body),
        })
    }
}

fn messages(mut body: Bytes) -> Vec<Bytes> {
    let mut messages = Vec::new();
    while body.len() >= 5 {
        let length = u32::from_be_bytes([body[1], body[2], body[3], body[4]]) as usize;
        let end = (5 + length).min(body.len());
        messages.push(body.slice(5..end));
        body = body.slice(end..);
    }
    messages
}
